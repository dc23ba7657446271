"""Say which links of a built site lead nowhere: `python docs/links.py docs/_build/html`.

Sphinx checks what it resolves itself; this reads every ``href`` and ``src`` in the pages as a browser would, and the
part after ``#`` too. Links that leave the site are not followed: building needs no network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.places = [], {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def broken(root):
    """Yield each page with a link of it that leads to no file, or to no place in a page."""
    root = root.resolve()
    written = [p for p in sorted(root.rglob("*.html")) if p.relative_to(root).parts[0] != "_static"]
    pages = {p: Page(p.read_text()) for p in written}  # in _static lie a theme's templates
    for path, page in pages.items():
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
    sys.exit("Links that lead nowhere:\n" + "\n".join(found) if found else 0)
