"""Say what is wrong with the links and pictures of a built site: `python docs/links.py docs/_build/html`.

Sphinx checks what it resolves itself; this reads every ``href`` and ``src`` in the pages as a browser would, and the
part after ``#`` too. Links that leave the site are not followed, and nothing may be loaded from outside of it: neither
building nor reading needs a network. Where a page gives a picture no text, Sphinx puts its file's name in the place,
which tells nobody what can be seen.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, the places in it that can be linked to, and what is wrong with what it shows."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.places, self.wrong = [], {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "img" and given.get("alt") in (None, given.get("src")):
            self.wrong.append(f"{given.get('src')} (no text)")
        loaded = given.get("href" if given.get("rel") == "stylesheet" else "src")
        if loaded and urlsplit(loaded).netloc:
            self.wrong.append(f"{loaded} (from outside)")
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def broken(root):
    """Yield each page with a link that leads to no file, or to no place in one, or with what else is wrong there."""
    root = root.resolve()
    written = [p for p in sorted(root.rglob("*.html")) if p.relative_to(root).parts[0] != "_static"]
    pages = {p: Page(p.read_text()) for p in written}  # in _static lie a theme's templates
    for path, page in pages.items():
        yield from ((path, wrong) for wrong in page.wrong)
        for target in dict.fromkeys(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            if not to.is_file() or (
                to in pages and unquote(parts.fragment) not in pages[to].places
            ):
                yield path, target


if __name__ == "__main__":
    root = Path(sys.argv[1])
    if not (root / "index.html").is_file():
        sys.exit(f"{root} has no index.html: build the site first")
    found = [f"{path.relative_to(root.resolve())}: {target}" for path, target in broken(root)]
    sys.exit(
        "Links that lead nowhere, pictures without text, things from outside:\n" + "\n".join(found)
        if found
        else 0
    )
