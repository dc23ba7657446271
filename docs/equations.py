"""Equations as inline SVG, drawn by matplotlib's mathtext when the site is built.

Reading them needs no network and no JavaScript, and they have the colour and the size of the surrounding text.
"""

import re
from html import escape

from docutils.nodes import SkipNode
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.util import logging

logger = logging.getLogger(__name__)
EM = 1000  # units of a drawing
SIZE = 1150  # of its characters: a little larger than the text, whose font has a larger x-height
FONT = FontProperties(math_fontfamily="stix")
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


def drawing(tex, style):
    """Return an equation as an SVG element, with TeX as its text."""
    path = TextPath((0, 0), f"${tex}$", size=SIZE, prop=FONT)
    strokes = "".join(
        "Z"
        if code == Path.CLOSEPOLY
        else COMMANDS[code] + " ".join(f"{round(x)} {round(-y)}" for x, y in ends.reshape(-1, 2))
        for ends, code in path.iter_segments(curves=True, simplify=False)
    )
    box = path.get_extents()
    left, top, width, height = (round(n) for n in (box.x0, -box.y1, box.width, box.height))
    size = f"width: {width / EM:.3f}em; height: auto; vertical-align: {box.y0 / EM:.3f}em"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(tex)}" fill="currentColor" '
        f'viewBox="{left} {top} {width} {height}" style="{size}; {style}"><path d="{strokes}"/></svg>'
    )


def written(node, kind, around, style):
    """Return an equation as HTML; warn with its location if it cannot be drawn."""
    tex = re.sub(r"\s+", " ", node.astext()).strip()
    try:
        return f'<{kind} style="{around}">{drawing(tex, style)}</{kind}>'
    except ValueError as error:
        logger.warning("equation: %s", str(error).strip().splitlines()[-1], location=node)
        return escape(tex)


def in_line(writer, node):
    """Write an equation within a line."""
    writer.body.append(written(node, "span", "white-space: nowrap", "max-width: none"))
    raise SkipNode


def on_its_own(writer, node):
    """Write a displayed equation."""
    writer.body.append(
        written(node, "div", "text-align: center; margin: 1rem 0", "max-width: 100%")
    )
    raise SkipNode


def setup(app):
    """Register the extension with Sphinx."""
    app.add_html_math_renderer("mathtext", (in_line, None), (on_its_own, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
