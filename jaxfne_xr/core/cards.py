"""Cards: how objects are shown, as text in a terminal and as HTML in a notebook, light and dark.

A card holds the content, without its looks. Its HTML needs no script and loads nothing; all text is escaped here and
nowhere else.
"""

from __future__ import annotations

import html
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Width of a card as text.
WIDTH = 100

#: Characters that control a terminal, break a line or change the direction of text: names in a file from elsewhere may
#: hold any of them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")

#: Colours by their use; text has a contrast of at least 4.5 to its background (WCAG AA).
LIGHT = {
    "text": "#1f2328",
    "muted": "#57606a",
    "back": "#ffffff",
    "panel": "#f3f5f7",
    "line": "#c9d1d9",
    "link": "#0b57a4",
    "good": "#0f5132",
    "good-back": "#d1e7dd",
    "caution": "#5c4503",
    "caution-back": "#fff0c2",
    "bad": "#842029",
    "bad-back": "#f8d7da",
}
DARK = {
    "text": "#e6edf3",
    "muted": "#a9b4c0",
    "back": "#1b1f24",
    "panel": "#282e35",
    "line": "#4a535d",
    "link": "#8ec5ff",
    "good": "#b7f0cf",
    "good-back": "#12402b",
    "caution": "#ffe69c",
    "caution-back": "#4a3a06",
    "bad": "#ffc9cf",
    "bad-back": "#5c1a22",
}

#: CSS selectors with which Jupyter, Sphinx and VS Code mark a page as light or dark. Without them the reader's system
#: decides.
_HOSTS = {
    "light": ('[data-jp-theme-light="true"]', '[data-theme="light"]', ".vscode-light"),
    "dark": ('[data-jp-theme-light="false"]', '[data-theme="dark"]', ".vscode-dark"),
}


@dataclass(frozen=True)
class Badge:
    """A word or two in colour next to a title; `tone` is one of "good", "caution" and "bad"."""

    text: str
    tone: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under titles."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    lines: tuple[str, ...]


Content = str | Badge | Table | Code | tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A title and labelled rows that describe an object.

    Attributes
    ----------
    title : str
        What it is.
    rows : tuple of (label, content)
        A sentence, a badge, several lines, a table, or code.
    badge : Badge, optional
        Next to the title.

    Examples
    --------
    >>> print(Card("a probe", (("contacts", "16"), ("next", Code(("signals.jfne.lfp(probe)",))))))
    a probe
      contacts  16
      next      signals.jfne.lfp(probe)
    """

    title: str
    rows: tuple[tuple[str, Content], ...]
    badge: Badge | None = None

    def __str__(self) -> str:
        indent = 4 + max((len(label) for label, _ in self.rows), default=0)
        title = printable(self.title)
        lines = [title if self.badge is None else f"{title} [{printable(self.badge.text)}]"]
        for label, content in self.rows:
            for i, line in enumerate(_text(content, WIDTH - indent)):
                lines.append(f"  {label if i == 0 else '':<{indent - 4}}  {line}".rstrip())
        return "\n".join(lines)

    def html(self) -> str:
        """Return the card as HTML with its styles, for any page."""
        return f"<style>{STYLE}</style>{self.section()}"

    def section(self) -> str:
        """Return the card as HTML for a page that has the styles."""
        badge = "" if self.badge is None else " " + _badge(self.badge)
        return (
            f'<div class="jfne" role="group" aria-label="{_escape(self.title)}">'
            f'<p class="jfne-title"><strong>{_escape(self.title)}</strong>{badge}</p>'
            f"{listed(self.rows)}</div>"
        )


def printable(text: str) -> str:
    """Escape the characters of a text that would control a terminal or break a line.

    Examples
    --------
    >>> printable("V" + chr(27) + "[31m") == "V" + repr(chr(27))[1:-1] + "[31m"
    True
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _escape(text: str) -> str:
    return html.escape(printable(text))


def model_card(name: str, equation: str, parameters: Iterable[tuple[str, str]]) -> Card:
    """Make the card of a forward model: its equation, and each parameter with its unit."""
    table = Table(("parameter", "value"), tuple(parameters))
    return Card(name, (("equation", equation), ("parameters", table)))


def listed(rows: Iterable[tuple[str, Content]]) -> str:
    """Return rows of a card as HTML."""
    items = "".join(
        f"<dt>{_escape(label)}</dt><dd>{to_html(content, label)}</dd>" for label, content in rows
    )
    return f"<dl>{items}</dl>" if items else ""


def to_html(content: Content, label: str) -> str:
    """Return the content of a row as HTML."""
    if isinstance(content, str):
        return _escape(content)
    if isinstance(content, Badge):
        return _badge(content)
    if isinstance(content, Code):
        return _scrolling(
            f"<pre><code>{chr(10).join(map(_escape, content.lines))}</code></pre>", label
        )
    if isinstance(content, Table):
        titles = "".join(f'<th scope="col">{_escape(t)}</th>' for t in content.titles)
        rows = "".join(
            "<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>"
            for row in content.rows
        )
        table = f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
        return _scrolling(table, label)
    return "".join(f"<p>{_escape(line)}</p>" for line in content)


def _scrolling(content: str, label: str) -> str:
    """Put content that may be too wide into a box that scrolls, with the keyboard too (hence `tabindex`)."""
    return (
        f'<div class="jfne-wide" role="group" tabindex="0" aria-label="{_escape(label)}">'
        f"{content}</div>"
    )


def _badge(badge: Badge) -> str:
    return f'<span class="jfne-badge jfne-{badge.tone}">{_escape(badge.text)}</span>'


def _text(content: Content, width: int) -> list[str]:
    if isinstance(content, Badge):
        return [printable(content.text)]
    if isinstance(content, Code):
        return [*map(printable, content.lines)]
    if isinstance(content, Table):
        rows = [[*map(printable, row)] for row in (content.titles, *content.rows)]
        columns = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(
                cell + " " * (n - _columns(cell)) for cell, n in zip(row, columns, strict=True)
            ).rstrip()
            for row in rows
        ]
    lines = (content,) if isinstance(content, str) else content
    return [
        part.replace("\N{NO-BREAK SPACE}", " ")
        for line in map(printable, lines)
        for part in textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=False)
        or [""]
    ]


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a Chinese character, none for a combining accent."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(character) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _colours(colours: Mapping[str, str], scheme: str) -> str:
    named = ";".join(f"--jfne-{name}:{value}" for name, value in colours.items())
    return f"{{color-scheme:{scheme};{named}}}"


def themed(selector: str) -> str:
    """Return the CSS that gives `selector` light or dark colours, as the page or else the reader's system asks for."""
    schemes = {"light": LIGHT, "dark": DARK}
    by_page = [
        ",".join(f"{host} {selector}" for host in _HOSTS[scheme]) + _colours(colours, scheme)
        for scheme, colours in schemes.items()
    ]
    preferred = f"@media (prefers-color-scheme:dark){{{selector}{_colours(DARK, 'dark')}}}"
    # the page's own choice comes last, to override the system's
    return "\n".join([selector + _colours(LIGHT, "light"), preferred, *by_page])


# Three times, so that these rules override those of notebooks for tables and lists.
_CARD = ".jfne.jfne.jfne"

#: The styles of cards.
STYLE = (
    themed(".jfne")
    + """
CARD{box-sizing:border-box;max-width:60em;margin:.4em 0;padding:.7em 1em;border:1px solid var(--jfne-line);
border-radius:6px;color:var(--jfne-text);background:var(--jfne-back);font-family:system-ui,sans-serif;font-size:14px;
line-height:1.45;text-align:start}
CARD p{margin:0;color:inherit}
CARD .jfne-title{font-size:1.08em}
CARD .jfne-badge{display:inline-block;padding:0 .55em;border-radius:1em;font-size:.88em;font-weight:600}
CARD .jfne-good{color:var(--jfne-good);background:var(--jfne-good-back)}
CARD .jfne-caution{color:var(--jfne-caution);background:var(--jfne-caution-back)}
CARD .jfne-bad{color:var(--jfne-bad);background:var(--jfne-bad-back)}
CARD dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3em 1em;margin:.5em 0 0;padding:0}
CARD dt,CARD dd{float:none;width:auto;margin:0;padding:0;font-weight:400;overflow-wrap:anywhere;color:inherit}
CARD dt{color:var(--jfne-muted)}
CARD .jfne-wide{overflow-x:auto;max-width:100%}
CARD table{border-collapse:collapse;margin:0;width:auto;font-size:inherit;color:inherit;border:0}
CARD tr{background:none}
CARD th,CARD td{padding:.1em .9em .1em 0;text-align:start;vertical-align:top;white-space:nowrap;border:0;
max-width:none;color:inherit;background:none}
CARD td:last-child:not(:nth-child(-n+2)){white-space:normal;min-width:14em}
CARD th{color:var(--jfne-muted);font-weight:400;font-size:.9em}
CARD pre{margin:0;padding:.4em .6em;border:0;border-radius:4px;color:inherit;background:var(--jfne-panel);
overflow:visible;width:max-content;min-width:100%;box-sizing:border-box}
CARD code{font-family:ui-monospace,monospace;font-size:.92em;color:inherit;background:none;padding:0;border:0;
white-space:pre}
@media (max-width:32em){CARD dl{grid-template-columns:minmax(0,1fr);gap:0}CARD dd{margin-bottom:.4em}}
@media print{CARD{break-inside:avoid}}
""".replace("CARD", _CARD)
)
