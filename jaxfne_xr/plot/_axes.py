"""Axes to draw in: one, given or new, or a grid of them for facets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    missing_dependency,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.units import pretty, units_of

from ._beside import bare, nothing
from ._rows import group_labels
from ._text import Text, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

#: Maximum number of facets in one figure.
MOST_PANELS = 100
#: Points of an envelope per inch: a common resolution of saved figures.
PER_INCH = 200
#: Line width of data, points.
THIN = 0.8
#: The gid that identifies the note above axes.
NOTE = "jfne.note"

P = ParamSpec("P")

#: A dim, and the index or the indices along it of one value of a facet.
Pick: TypeAlias = tuple[Hashable, int | np.ndarray]


@dataclass(frozen=True)
class Panels:
    """Where a picture is drawn.

    Attributes
    ----------
    axes : list of Axes
        One, or one for each facet with data, row by row.
    parts : list of xr.Dataset
        The data of each.
    result : Axes, or array (row, col) of Axes
        The return value of the picture.
    blank : list of Axes
        Those of facets without data.
    """

    axes: list[Axes]
    parts: list[xr.Dataset]
    result: Any
    blank: list[Axes] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Axes, xr.Dataset]]:
        return iter(zip(self.axes, self.parts, strict=True))

    @property
    def columns(self) -> int:
        """Number of points of an envelope in one of the axes."""
        ax = self.axes[0]
        inches = ax.get_window_extent().width / ax.figure.dpi
        return max(64, int(inches * max(PER_INCH, ax.figure.dpi)))

    @property
    def corner(self) -> Axes:
        """The axes with data at the upper right, for the legend and the scale bar."""
        if not self.faceted:
            return self.result
        from_the_right = self.result[:, ::-1].T.ravel()
        return next(ax for ax in from_the_right if ax not in self.blank)

    @property
    def faceted(self) -> bool:
        """Whether there is a grid of axes."""
        return isinstance(self.result, np.ndarray)

    def label(self, x: Text, y: Text) -> None:
        """Label the axes (of facets, only the outer ones), and remove the upper and right borders."""
        for ax in (*self.axes, *self.blank):
            place = ax.get_subplotspec() if self.faceted else None
            if place is None or place.is_last_row():
                ax.set_xlabel(x[0], **x[1])
            if place is None or place.is_first_col():
                ax.set_ylabel(y[0], **y[1])
            bare(ax)
            if self.faceted and ax.get_xscale() == "linear":
                _thin_out(ax)

    def colour_bar(self, mesh: Any, what: Text, **options: Any) -> Colorbar:
        """Draw one colour bar for all axes, and return it."""
        figure = self.axes[0].figure
        shared = list(self.result.ravel()) if self.faceted else self.result
        bar = figure.colorbar(mesh, ax=shared, pad=0.02, **options)
        bar.set_label(what[0], **what[1])
        bar.outline.set_visible(False)
        return bar

    def note(self, *texts: str) -> None:
        """Write a note in a small font: above the axes and their title, at the right; of facets, below the figure."""
        ax = self.axes[0]
        each, font = names(filter(None, texts), 120)
        if not each:
            return
        wide = ax.figure.bbox.width if self.faceted else ax.get_window_extent().width
        fits = sum(map(len, each)) < _characters(wide / ax.figure.dpi, "x-small")
        said = ("; " if fits else "\n").join(each)
        look: dict[str, Any] = {"ha": "right", "fontsize": "x-small", **font}
        if self.faceted:
            ax.figure.supxlabel(said, x=0.99, **look)
            return
        before = next((text for text in ax.texts if text.get_gid() == NOTE), None)
        if before is None:
            at: dict[str, Any] = {
                "xycoords": (ax.transAxes, ax.title),
                "textcoords": "offset points",
            }
            ax.annotate(said, (1, 1), (0, 1), va="bottom", gid=NOTE, **at, **look)
        elif said not in before.get_text():  # another picture in the same axes has a note already
            before.set_text(f"{before.get_text()}\n{said}")


def pyplot() -> ModuleType:
    """Import and return matplotlib.pyplot."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_dependency("matplotlib", "plot", "to draw") from error
    return plt


def picture(
    draw: Callable[Concatenate[xr.Dataset, P], Any],
) -> Callable[Concatenate[xr.Dataset | xr.DataArray, P], Any]:
    """Decorate a function that draws: check its arguments, and close figures that it made before an error.

    Raises
    ------
    ArgumentError
        If the data is not a Dataset or DataArray, or another argument is not what its annotation says.
    """
    draw_checked = public(draw)

    @wraps(draw)
    def checked(ds: xr.Dataset | xr.DataArray, *args: P.args, **options: P.kwargs) -> Any:
        ds = as_dataset(ds, "ds")
        plt = pyplot()
        opened = plt.get_fignums()
        try:
            return draw_checked(ds, *args, **options)
        except BaseException:
            for number in {*plt.get_fignums()}.difference(opened):
                plt.close(number)
            raise

    return checked


def panels(
    ds: xr.Dataset,
    ax: Axes | None,
    row: Hashable | None,
    col: Hashable | None,
    size: tuple[float, float],
    *,
    along: Hashable | None = None,
    sharey: bool = True,
    layout: str = "constrained",
) -> Panels:
    """Make or check the axes to draw a Dataset in, and select the data of each.

    Parameters
    ----------
    ds : xr.Dataset
        The data to draw.
    ax : Axes or None
        None makes a new figure.
    row, col : str or None
        A dim, or a coordinate along one dim, for facets: one axes for each value.
    size : (float, float)
        Size of a new figure with one axes, inches.
    along : str, optional
        The dim along the x axis, which cannot be a facet.
    sharey : bool
        Whether facets share the y axis.
    layout : str
        Layout of a new figure: ``"compressed"`` for pictures that are to scale.

    Raises
    ------
    ArgumentError, DimensionError
        If `ax` is not an Axes, or is given with facets; if `row` or `col` is neither a dim nor a coordinate along one.
    """
    plt = pyplot()
    facets = [(key, facet) for key, facet in (("row", row), ("col", col)) if facet is not None]
    raise_problems(_ax_problems(ax, bool(facets)) + _facet_problems(ds, facets, along))
    if not facets:
        if ax is None:
            ax = plt.figure(figsize=size, layout=layout).add_subplot()
        # a spectrum leaves logarithmic scales behind, on which other data would not fit
        for axis in "xy":
            if getattr(ax, f"get_{axis}scale")() != "linear":
                ax.set(**{f"{axis}scale": "linear"})
        return Panels([ax], [ds], ax)
    down, across = (_selections(ds, facet) for facet in (row, col))
    shape = len(down), len(across)
    if not 1 <= shape[0] * shape[1] <= MOST_PANELS:
        raise ArgumentError.of(
            facets[0][0],
            found=f"{shape[0]} x {shape[1]} panels",
            expected=f"up to {MOST_PANELS}",
            remedy=f"select some first: ds.isel({facets[0][1]}=slice(0, 5))",
        )
    # facets are smaller than a single picture, but not below a readable size
    one = max(2.4, size[0] * 0.62), max(1.8, size[1] * 0.62)
    _, grid = plt.subplots(
        *shape,
        figsize=(one[0] * shape[1], one[1] * shape[0] + 0.3),
        sharex=True,
        sharey=sharey,
        squeeze=False,
        layout=layout,
    )
    made = Panels([], [], grid)
    for i, (one_row, pick_row) in enumerate(down):
        for j, (one_col, pick_col) in enumerate(across):
            part, empty = _picked(ds, pick_row, pick_col)
            if empty is None:
                made.axes.append(grid[i, j])
                made.parts.append(part)
            else:
                made.blank.append(grid[i, j])
                nothing(grid[i, j], f"no {empty}")
                if not sharey:
                    grid[i, j].set_yticks([])
            pairs = [(n, x) for n, x in ((row, one_row), (col, one_col)) if n is not None]
            texts, font = names([f"{n} = {x}{_unit(ds, n)}" for n, x in pairs], 32)
            grid[i, j].set_title("\n".join(texts), loc="left", fontsize="medium", **font)
    return made


def _ax_problems(ax: object, faceted: bool) -> list[Problem]:
    from matplotlib.axes import Axes

    plain = isinstance(ax, Axes) and "top" in ax.spines and not hasattr(ax, "zaxis")
    if ax is None or (plain and not faceted):
        return []
    what = "ax together with row or col" if plain else f"a {type(ax).__name__}"
    expected = "one plain matplotlib Axes; none with row or col, which make a new figure"
    return [Problem("ax", what, expected, "ax=plt.figure().add_subplot()", ArgumentError)]


def _facet_problems(
    ds: xr.Dataset, facets: Sequence[tuple[str, Hashable]], along: Hashable | None
) -> list[Problem]:
    fit = [str(d) for d in ds.dims if d != along]
    fit += [str(c) for c, x in ds.coords.items() if len(x.dims) == 1 and x.dims != (along,)]
    return [
        Problem(
            where=key,
            found=repr(facet),
            expected=f"a dim, or a coordinate along one: one of {list(dict.fromkeys(fit))}",
            remedy=f"{key}={fit[0]!r}" if fit else f"{key}=None",
            error=DimensionError,
        )
        for key, facet in facets
        if facet not in fit
    ]


def _selections(ds: xr.Dataset, facet: Hashable | None) -> list[tuple[Any, Pick | None]]:
    """Return each value of a facet, and its position: (dim, index or indices)."""
    if facet is None:
        return [(None, None)]
    if facet in ds.dims:
        labels = ds[facet].values if facet in ds.coords else np.arange(ds.sizes[facet])
        return [(_rounded(x), (facet, i)) for i, x in enumerate(labels[: MOST_PANELS + 1])]
    dim = ds[facet].dims[0]
    values = group_labels(ds, facet)
    found = list(dict.fromkeys(values))[: MOST_PANELS + 1]
    return [(_rounded(x), (dim, np.flatnonzero(values == x))) for x in found]


def _unit(ds: xr.Dataset, facet: Hashable) -> str:
    unit = units_of(ds[facet]) if facet in ds.coords else None
    return "" if unit is None else f" {pretty(unit)}".rstrip()


def _rounded(label: object) -> object:
    return f"{label:.6g}" if isinstance(label, (float, np.floating)) else label


def _picked(ds: xr.Dataset, *picks: Pick | None) -> tuple[xr.Dataset, Hashable | None]:
    """Apply two selections, possibly along the same dim; return the result, and the dim along which it is empty."""
    given = [p for p in picks if p is not None]
    if len(given) == 2 and given[0][0] == given[1][0]:
        given = [(given[0][0], np.intersect1d(given[0][1], given[1][1]))]
    empty = next((dim for dim, where in given if not np.size(where)), None)
    return ds.isel(dict(given)), empty


def _thin_out(ax: Axes) -> None:
    """Limit the ticks along the x axis of a narrow facet to the space for their labels."""
    from matplotlib import rcParams

    each = 1 + max(len(f"{abs(x):.3g}") for x in ax.get_xlim())
    inches = ax.get_window_extent().width / ax.figure.dpi
    most = _characters(inches, rcParams["xtick.labelsize"]) / each
    ax.locator_params(axis="x", nbins=int(np.clip(most, 1, 9)))


def _characters(inches: float, size: float | str) -> float:
    """Return how many characters fit, taking all to be as wide as digits, which are wider than the average."""
    from matplotlib.font_manager import FontProperties

    return inches * 72 / (0.65 * float(FontProperties(size=size).get_size_in_points()))
