"""Text in pictures: shortened names, fonts with the characters they need, and labels with units."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import xarray as xr

from jaxfne_xr.core.schema import LONG_NAMES
from jaxfne_xr.core.units import pretty, units_of

#: Text, and the font that it needs, as options of matplotlib.
Text: TypeAlias = tuple[str, dict[str, Any]]
#: Maximum number of characters of a name in a picture.
LONGEST = 24
#: Fonts to try if the one in use lacks a character, those with the most characters first.
FALLBACKS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Arial Unicode MS",
    "Segoe UI",
)
#: Replaces a character that no font has.
MISSING = "□"


def names(values: Iterable[object], longest: int = LONGEST) -> tuple[list[str], dict[str, Any]]:
    r"""Return names in a form that matplotlib can draw, and an option with the fonts that they need.

    Long names end in an ellipsis, ``$`` is escaped, and a character that no font has becomes a box.

    Examples
    --------
    >>> names(["pyramidal cells of layer 2/3, left", "5 $"])
    (['pyramidal cells of laye…', '5 \\$'], {})
    """
    made = [_printable(str(value)) for value in values]
    made = [name if len(name) <= longest else name[: longest - 1].rstrip() + "…" for name in made]
    if all(map(str.isascii, (name.replace("…", "") for name in made))):
        return [name.replace("$", r"\$") for name in made], {}
    found, absent = _fonts(frozenset("".join(made)), _font_in_use())
    made = ["".join(MISSING if c in absent else c for c in name) for name in made]
    option = {"fontfamily": [*_families(), *found]} if found else {}
    return [name.replace("$", r"\$") for name in made], option


def name(value: object, longest: int = LONGEST) -> Text:
    """Return one name, as `names` does."""
    (made,), option = names([value], longest)
    return made, option


def label(variable: xr.Variable | xr.DataArray, called: Hashable) -> Text:
    """Return the label of an axis, the long name of a variable with its unit, and its font option."""
    return with_unit(long_name(variable, called), units_of(variable))


def long_name(variable: xr.Variable | xr.DataArray, called: Hashable) -> str:
    """Return the long name of a variable."""
    return str(variable.attrs.get("long_name") or LONG_NAMES.get(str(called), called))


def with_unit(what: object, unit: str | None) -> Text:
    """Return the label of an axis with its unit, and its font option."""
    text, option = name(what, 60)
    if unit is None:
        return text, option
    return f"{text} ({pretty(unit)})" if pretty(unit) else f"{text}, no unit", option


def number(value: float, unit: str | None) -> str:
    """Return a number with its unit, for a scale bar or a note."""
    return f"{value:g} {pretty(unit or '1')}".rstrip()


def _printable(text: str) -> str:
    """Return text on one line, without control characters; unassigned characters become boxes."""
    kinds = [(c, unicodedata.category(c)) for c in " ".join(text.split())]
    return "".join(
        MISSING if kind in {"Cs", "Co", "Cn"} else c
        for c, kind in kinds
        if kind not in {"Cc", "Cf"}
    )


def _families() -> list[str]:
    from matplotlib import rcParams

    return list(rcParams["font.family"])


def _font_in_use() -> str:
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties()))


@lru_cache(maxsize=64)
def _fonts(characters: frozenset[str], in_use: str) -> tuple[list[str], frozenset[str]]:
    """Return font families for characters that the font in use lacks, and the characters that no font has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    lacking = characters - _has(in_use) - {" "}
    found, installed = [], set(fontManager.get_font_names())
    for family in FALLBACKS:
        if lacking and family in installed:
            more = lacking & _has(findfont(FontProperties(family=family)))
            if more:
                found.append(family)
                lacking -= more
    return found, frozenset(lacking)


@lru_cache(maxsize=32)
def _has(path: str) -> frozenset[str]:
    """Return the characters of a font."""
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(path).get_charmap()))
