"""Drawn next to the data: colours, scale bars, legends, tick labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._text import name, names, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours for all kinds of colour vision (Okabe and Ito 2008), without the darkest and the palest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Maximum number of names per inch of an axis.
NAMES_PER_INCH = 4
#: Maximum number of names in a legend.
MOST_GROUPS = 16


def foreground() -> str:
    """Return the text colour of the theme, black or white."""
    from matplotlib import rcParams

    return str(rcParams["text.color"])


def colours(n: int) -> list[Any]:
    """Return `n` colours of the user's cycle if one is set, else of `COLOURS`; of a colour map if there are too few."""
    import matplotlib
    from matplotlib import rcParams, rcParamsDefault

    cycle: Sequence[Any] = COLOURS
    if rcParams["axes.prop_cycle"] != rcParamsDefault["axes.prop_cycle"]:
        cycle = rcParams["axes.prop_cycle"].by_key().get("color", COLOURS)
    if n <= len(cycle):
        return list(cycle[:n])
    return list(matplotlib.colormaps["viridis"](np.linspace(0.1, 0.9, n)))


def bare(ax: Axes) -> None:
    """Remove the upper and right borders of axes."""
    ax.spines[["top", "right"]].set_visible(False)


def nothing(ax: Axes, why: str) -> None:
    """Write into empty axes why they are empty."""
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", alpha=0.6)


def nice(largest: float) -> float:
    """Round down to 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> nice(3.7), nice(0.09)
    (2.0, 0.05)
    """
    ten = 10.0 ** np.floor(np.log10(largest))
    return float(f"{max(k for k in (1, 2, 5) if k * ten <= largest * (1 + 1e-9)) * ten:.0e}")


def scale_bar(
    ax: Axes, length: float, unit: str | None, *, bottom: float, per: float = 1.0
) -> None:
    """Draw a bar of `length` at the right of axes; a step of their y axis is `per` of the unit."""
    from matplotlib.transforms import blended_transform_factory

    # x in shares of the axes, outside of them; y in data
    transform = blended_transform_factory(ax.transAxes, ax.transData)
    top = bottom + length / per
    ax.plot(
        [1.015, 1.015],
        [bottom, top],
        transform=transform,
        clip_on=False,
        color=foreground(),
        lw=1.5,
        solid_capstyle="butt",
        scalex=False,
        scaley=False,
    )
    ax.text(
        1.03,
        (bottom + top) / 2,
        number(length, unit),
        transform=transform,
        va="center",
        ha="left",
        fontsize="small",
    )


def legend(ax: Axes, handles: Sequence[Any], labels: Iterable[Any], title: str | None) -> None:
    """Draw a legend at the right of axes; of more than `MOST_GROUPS` names, only every n-th."""
    texts, font = names(labels)
    every = -(-len(texts) // MOST_GROUPS) or 1
    if every > 1:
        title = f"{title}, 1 in {every}" if title else f"1 in {every}"
    handles, texts = handles[::every], texts[::every]
    made = ax.legend(
        handles,
        ["x"] * len(handles),  # replaced below: matplotlib leaves out labels that begin with _
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize="small",
        handlelength=1.2,
    )
    for text, written in zip(made.get_texts(), texts, strict=True):
        text.set(text=written, **font)
    if title is not None:
        written, font = name(title)
        made.set_title(written)
        made.get_title().set(fontsize="small", **font)


def names_that_fit(ax: Axes, share: float = 1.0) -> int:
    """Return how many names fit along a share of the y axis."""
    return max(1, int(share * NAMES_PER_INCH * ax.get_window_extent().height / ax.figure.dpi))


def ticks(
    axis: Callable[..., object],
    where: Sequence[float] | np.ndarray,
    labels: Sequence[Any],
    most: int,
    **text: Any,
) -> None:
    """Label positions along an axis, at most `most` of them."""
    every = -(-len(where) // most) if len(where) else 1
    texts, font = names(labels[::every], 20)
    axis(list(where[::every]), texts, **font, **text)


def edges(middle: np.ndarray) -> np.ndarray:
    """Return the borders of cells around rising middles: half-way to neighbours, and as far on the outside.

    Examples
    --------
    >>> edges(np.array([0.0, 1.0, 3.0]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    if len(middle) == 1:
        return middle[0] + np.array([-0.5, 0.5])
    inner = (middle[1:] + middle[:-1]) / 2
    return np.concatenate([[2 * middle[0] - inner[0]], inner, [2 * middle[-1] - inner[-1]]])
