"""Check the links and pictures of a built site: `python docs/links.py docs/_build/html`.

Sphinx checks what it resolves itself; this reads every ``href`` and ``src`` in the pages as a browser would, including
the part after ``#``. External links are not followed, and nothing may be loaded from outside the site: neither
building nor reading needs a network. If a picture has no alternative text, Sphinx uses its file name,
which does not describe it.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, the anchors in it, and what is wrong with what it shows."""

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
    """Yield each page with a link to a missing file or anchor, or with another problem."""
    root = root.resolve()
    written = [p for p in sorted(root.rglob("*.html")) if p.relative_to(root).parts[0] != "_static"]
    pages = {p: Page(p.read_text()) for p in written}  # _static holds templates of the theme
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
