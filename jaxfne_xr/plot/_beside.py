"""What is drawn beside the data: colours, bars, legends, names along axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ._text import name, names, number

#: Colours that those who see few colours tell apart (Okabe and Ito 2008), the darkest and the palest left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: The most names to an inch of an axis.
NAMES_PER_INCH = 4
#: The most names in a legend.
MOST_GROUPS = 16


def foreground() -> str:
    """Return the colour of text, black or white by the theme."""
    from matplotlib import rcParams

    return str(rcParams["text.color"])


def colours(n: int) -> list[Any]:
    """Return colours for so many groups: the user's cycle where there is one, else ones that all can tell apart."""
    import matplotlib
    from matplotlib import rcParams, rcParamsDefault

    cycle: Sequence[Any] = COLOURS
    if rcParams["axes.prop_cycle"] != rcParamsDefault["axes.prop_cycle"]:
        cycle = rcParams["axes.prop_cycle"].by_key().get("color", COLOURS)
    if n <= len(cycle):
        return list(cycle[:n])
    return list(matplotlib.colormaps["viridis"](np.linspace(0.1, 0.9, n)))


def bare(ax: Any) -> None:
    """Take off the upper and right borders of axes."""
    ax.spines[["top", "right"]].set_visible(False)


def nothing(ax: Any, why: str) -> None:
    """Say in empty axes why they are empty."""
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", alpha=0.6)


def nice(largest: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is no larger.

    Examples
    --------
    >>> nice(3.7), nice(0.09)
    (2.0, 0.05)
    """
    ten = 10.0 ** np.floor(np.log10(largest))
    return float(f"{max(k for k in (1, 2, 5) if k * ten <= largest * (1 + 1e-9)) * ten:.0e}")


def scale_bar(ax: Any, length: float, unit: str | None, *, bottom: float, per: float = 1.0) -> None:
    """Draw a bar of `length`, beside the right end of axes whose y axis has `per` of the unit to a step."""
    from matplotlib.transforms import blended_transform_factory

    beside = blended_transform_factory(ax.transAxes, ax.transData)
    top = bottom + length / per
    ax.plot(
        [1.015, 1.015],
        [bottom, top],
        transform=beside,
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
        transform=beside,
        va="center",
        ha="left",
        fontsize="small",
    )


def legend(ax: Any, handles: Sequence[Any], labels: Iterable[Any], title: str | None) -> None:
    """Name the colours of groups, whatever the names are, beside the axes; of very many, some of them."""
    texts, font = names(labels)
    every = -(-len(texts) // MOST_GROUPS) or 1
    if every > 1:
        title = f"{title}, 1 in {every}" if title else f"1 in {every}"
    handles, texts = handles[::every], texts[::every]
    made = ax.legend(
        handles,
        ["x"] * len(handles),  # a label that begins with _ would be left out
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


def room(ax: Any, share: float = 1.0) -> int:
    """Return how many names there is room for along a share of the y axis."""
    return max(1, int(share * NAMES_PER_INCH * ax.get_window_extent().height / ax.figure.dpi))


def ticks(
    axis: Callable[..., Any], where: Any, labels: Sequence[Any], most: int, **text: Any
) -> None:
    """Label places along an axis, as many as there is room for."""
    every = -(-len(where) // most) if len(where) else 1
    texts, font = names(labels[::every], 20)
    axis(list(where[::every]), texts, **font, **text)


def edges(middle: np.ndarray) -> np.ndarray:
    """Return the borders of cells around rising middles: half way to the neighbours, the outermost as far outside.

    Examples
    --------
    >>> edges(np.array([0.0, 1.0, 3.0]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    if len(middle) == 1:
        return middle[0] + np.array([-0.5, 0.5])
    inner = (middle[1:] + middle[:-1]) / 2
    return np.concatenate([[2 * middle[0] - inner[0]], inner, [2 * middle[-1] - inner[-1]]])
