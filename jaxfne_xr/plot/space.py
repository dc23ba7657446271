"""Maps to scale: contacts, sensors and segments in a plane, coloured by a field."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import site_dim
from jaxfne_xr.core.schema import SENSORS, SITES
from jaxfne_xr.core.units import pretty
from jaxfne_xr.geometry.positions import position_name, sensor_dim

from ._axes import Panels, panels, picture
from ._beside import colours, foreground, legend, nice, nothing
from ._data import emptiness, places, values
from ._rows import groups_of, rows
from ._text import label, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Number of corners of the polygons that approximate circles.
CORNERS = 24
#: Width of the outline of a segment, points, which keeps thin segments visible.
OUTLINE = 0.5
#: Outline of contacts, which separates them from cells behind them.
OUTLINED: dict[str, Any] = {"edgecolors": "0.5", "linewidths": 0.4, "zorder": 3}
#: Minimum ratio of width to height of a picture, and of height to width.
LEAST_SHARE = 0.25
#: Share of the height below the data that is left free for the scale bar.
BAR_SPACE = 0.06
#: Size of contacts and sites without extent, points.
DOT = 4.0


@picture
def probe(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    cell: xr.Dataset | None = None,
    plane: str = "xz",
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw the contacts of a probe in a plane, to scale, coloured by a field, with cells behind them.

    Parameters
    ----------
    ds : xr.Dataset
        A probe, or readouts at one: ``contact`` or ``channel`` with positions ``x``, ``y``, ``z`` and optionally
        ``radius`` (um).
    variable : str, optional
        Colour of the contacts, at one time: ``lfp.sel(time=5, method="nearest")``. By default the only variable with no
        other dim than that of the contacts, if there is one.
    cell : xr.Dataset, optional
        Segments to draw behind the contacts, as by `morphology`.
    plane : str
        Two of x, y and z: the first points to the right, the second upwards.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure. ``col="time"``
        shows a few times.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes

    Raises
    ------
    VariableError, DimensionError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there are no contacts, or no positions; if the variable has other dims; if matplotlib is not installed.

    Notes
    -----
    A contact with a radius is a disc of that size, with an outline that keeps very small ones visible; one without a
    radius is a dot of arbitrary size. Colours are symmetric about zero if the field has both signs.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> ax = probe(jfx.linear_probe(8, "50 um", radius="7 um"))
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()
    ('x (µm)', 'z (µm)', 1.0)
    """
    dim = _sensors(ds, variable)
    found = coloured(ds, dim, variable, {row, col})
    axes_of = _plane(plane)
    _check_cell(cell)
    where = places(ds, dim, axes_of)
    extent = _extent(where, cell, axes_of)
    made = panels(ds, ax, row, col, _size(*extent), layout="compressed")
    box = made.axes[0].get_window_extent()
    points = 72 / made.axes[0].figure.dpi * box.height / max(extent[1], 1e-9)  # per um
    artists = []
    for axes, part in made:
        where = places(part, dim, axes_of)
        if cell is not None:
            _segments(axes, cell, axes_of, {"facecolor": "0.6", "edgecolor": "0.6"})
        radius = position_name(part, "radius", dim)
        if radius in part.coords and part[radius].dims == (dim,):
            size = places(part, dim, [radius])[:, 0]
            small = 2 * points * np.median(size) < DOT
            look = {**OUTLINED, "edgecolors": "face", "linewidths": 1.0} if small else OUTLINED
            circles = _circles(where, size)
            shape = _polygons(axes, circles, facecolors=foreground(), **look)
        else:
            shape = axes.scatter(
                where[:, 0], where[:, 1], s=2 * DOT**2, facecolors=foreground(), **OUTLINED
            )
        if found:
            artists.append((axes, shape, values(part[found].variable)))
    _finish(made, ds, found, artists, axes_of)
    return made.result


@picture
def morphology(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    by: str | None = None,
    plane: str = "xz",
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw the segments of cells in a plane, to scale, coloured by group or by a variable.

    Parameters
    ----------
    ds : xr.Dataset
        From `jaxfne_xr.morphology`, or anything with ``recording`` or ``unit`` and positions: ends ``x_start`` ...
        ``z_end`` and ``diameter`` for segments, else ``x``, ``y``, ``z`` (um).
    variable : str, optional
        Colour of the segments, at one time: ``currents.sel(time=5, method="nearest")``. By default the only variable
        with no other dim than that of the segments, if there is one.
    by : str, optional
        The coordinate with the group of each segment, and its colour if there is no variable: ``"unit"``.
    plane : str
        Two of x, y and z: the first points to the right, the second upwards.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes

    Raises
    ------
    VariableError, DimensionError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there are no positions; if the variable has other dims; if matplotlib is not installed.

    Notes
    -----
    Segments are drawn with their diameter and an outline of half a point, which keeps thin ones visible. Sites without
    ends are dots of arbitrary size.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 110]], [10.0, 2.0], [-1, 0])
    >>> ax = morphology(cell)
    >>> len(ax.collections[0].get_paths()), ax.get_ylabel()
    (2, 'z (µm)')
    """
    dim = site_dim(ds.dims)
    if dim is None:
        raise DimensionError.of(
            "morphology",
            found=f"the dims {list(map(str, ds.dims))}",
            expected="recording, for segments, or unit",
            remedy="a result of jfx.morphology; or name the dim of the sites recording",
        )
    found = coloured(ds, dim, variable, {row, col})
    axes_of = _plane(plane)
    where = places(ds, dim, axes_of)
    groups = groups_of(ds, [dim], by)
    size = _size(*_extent(where, None, axes_of))
    made = panels(ds, ax, row, col, size, layout="compressed" if found else "constrained")
    palette = np.asarray(colours(len(groups.labels)) if groups.by else [foreground()], object)
    artists = []
    for axes, part in made:
        those = rows(part, [dim], groups)
        number = np.empty(len(those.order), int)
        number[those.order] = those.group
        colour = list(palette[number])
        shape = _segments(axes, part, axes_of, {"facecolor": colour, "edgecolor": colour})
        if found:
            artists.append((axes, shape, values(part[found].variable)))
    _finish(made, ds, found, artists, axes_of)
    if groups.by is not None and not found:
        handles = [made.corner.scatter([], [], color=c, marker="s", s=20) for c in palette]
        legend(made.corner, handles, groups.labels, groups.by)
    return made.result


def _plane(plane: str) -> tuple[str, str]:
    if not isinstance(plane, str) or len(plane) != 2 or len({*plane} & {*"xyz"}) != 2:
        expected = "two of x, y and z: to the right, and upwards"
        raise ArgumentError.of("plane", found=repr(plane), expected=expected, remedy='plane="xz"')
    return plane[0], plane[1]


def _sensors(ds: xr.Dataset, variable: str | None) -> str:
    """Return the dim of the sensors; if there are both contacts and channels, the one along which the variable is."""
    if not {*SENSORS} <= {*ds.dims}:
        return sensor_dim(ds)
    on = {str(n): next((d for d in SENSORS if d in x.dims), None) for n, x in ds.data_vars.items()}
    on = {n: d for n, d in on.items() if d is not None}
    if variable not in on:
        raise VariableError.of(
            "variable",
            found="none named" if variable is None else repr(variable),
            expected=f"one of {list(on)}, to choose between contacts and channels",
            remedy=f"variable={next(iter(on), 'lfp')!r}",
        )
    return str(on[variable])


def _check_cell(cell: Any) -> None:
    if cell is None or (isinstance(cell, xr.Dataset) and not {*SITES}.isdisjoint(cell.dims)):
        return
    is_dataset = isinstance(cell, xr.Dataset)
    raise ArgumentError.of(
        "cell",
        found=f"the dims {list(map(str, cell.dims))}" if is_dataset else f"a {type(cell).__name__}",
        expected="a Dataset with segments along recording, or unit",
        remedy="cell=None, or a result of jfx.morphology",
    )


def coloured(
    ds: xr.Dataset,
    dim: str,
    variable: str | None,
    facets: set[Hashable | None],
    *,
    needed: bool = False,
) -> str | None:
    """Return the variable for the colour, or None; raise if it has dims other than `dim` and the facets."""
    if dim in facets:
        expected = f"another dim, or a coordinate along {dim}"
        raise DimensionError.of(
            "row or col", found=repr(dim), expected=expected, remedy='col="time"'
        )
    allowed = {dim, *facets}
    for facet in facets:
        if facet in ds.coords:
            allowed |= set(ds[facet].dims)
    fit = [str(n) for n, x in ds.data_vars.items() if dim in x.dims and set(x.dims) <= allowed]
    fit = [n for n in fit if ds[n].dtype.kind in "fiub"]
    if variable is None and len(fit) == 1:
        variable = fit[0]
    if variable not in fit and (variable is not None or needed):
        named = variable or next((str(n) for n, x in ds.data_vars.items() if dim in x.dims), None)
        dims = ds[named].dims if named in ds.data_vars else ()
        extra = [str(d) for d in dims if d not in allowed]
        remedy = f"variable={fit[0]!r}" if fit else f'ds.assign(field=("{dim}", values))'
        if extra:
            remedy = f"ds.isel({extra[0]}=0), or a mean or a minimum over it"
        raise VariableError.of(
            "variable",
            found=f"{named!r} on {dims}" if dims else f"{named!r}, which does not exist",
            expected=f"a variable on {dim!r} alone; there are {fit}",
            remedy=remedy,
        )
    if not ds.sizes[dim]:
        found = f"an empty selection: {dim}: 0"
        remedy = "check the selection that was made before"
        raise DimensionError.of(dim, found=found, expected="something to draw", remedy=remedy)
    if variable is not None:
        raise_problems(emptiness(ds, variable))
    return variable


def _extent(
    where: np.ndarray, cell: xr.Dataset | None, axes_of: tuple[str, str]
) -> tuple[float, float]:
    """Return width and height of the region with data, um."""
    if cell is not None:
        dim = site_dim(cell.dims) or "recording"
        where = np.concatenate([where, places(cell, dim, axes_of)])
    width, height = np.ptp(where, axis=0)
    return float(width), float(height)


def _size(width: float, height: float) -> tuple[float, float]:
    """Return the size of a figure, inches, in which a picture to scale leaves no empty margin."""
    width, height = max(width, LEAST_SHARE * height, 1e-9), max(height, LEAST_SHARE * width, 1e-9)
    tall = float(np.clip(3.4 * np.sqrt(height / width), 2.6, 5.5))
    return float(np.clip(tall * width / height, 1.4, 6.0)) + 1.8, tall


def _segments(ax: Axes, ds: xr.Dataset, axes_of: tuple[str, str], colour: dict[str, Any]) -> Any:
    """Draw segments with their diameter, or dots if there are no ends; return the artist."""
    dim = str(site_dim(ds.dims))
    ends = [[a + side for a in axes_of] for side in ("_start", "_end")]
    needed = [*ends[0], *ends[1], "diameter"]
    if not all(n in ds.coords and ds[n].dims == (dim,) for n in needed):
        where = places(ds, dim, axes_of)
        return ax.scatter(where[:, 0], where[:, 1], s=DOT**2, color=colour["facecolor"])
    start, end = (places(ds, dim, names) for names in ends)
    radius = places(ds, dim, ["diameter"])[:, 0] / 2
    return _polygons(
        ax, _outlines(start, end, radius), **colour, linewidths=OUTLINE, joinstyle="round"
    )


def _outlines(start: np.ndarray, end: np.ndarray, radius: np.ndarray) -> list[np.ndarray]:
    """Return the corners of each segment in the plane: four, or those of a circle if it is seen end on."""
    along = end - start
    length = np.linalg.norm(along, axis=1)
    flat = length > 1e-9
    safe = np.where(flat, length, 1.0)
    side = np.stack([-along[:, 1], along[:, 0]], axis=1) * (radius / safe)[:, None]
    corners = np.stack([start + side, end + side, end - side, start - side], axis=1)
    made = list(corners)
    for k, circle in zip(np.flatnonzero(~flat), _circles(start[~flat], radius[~flat]), strict=True):
        made[k] = circle
    return made


def _circles(where: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the corners of polygons that approximate circles, (circle, corner, 2)."""
    angle = 2 * np.pi * np.arange(CORNERS) / CORNERS
    return where[:, None] + radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _polygons(ax: Axes, corners: Any, **options: Any) -> Any:
    from matplotlib.collections import PolyCollection

    made = ax.add_collection(PolyCollection(corners, **options))
    ax.autoscale_view()
    return made


def _finish(
    made: Panels,
    ds: xr.Dataset,
    variable: str | None,
    artists: list[tuple[Axes, Any, np.ndarray]],
    axes_of: tuple[str, str],
) -> None:
    """Add colours and their bar, labels, an equal aspect and a scale bar."""
    for ax in made.axes:
        ax.margins(0.08)
    first = made.axes[0]  # facets share limits
    bottom, top = first.get_ylim()
    limits = first.get_xlim(), (bottom - BAR_SPACE * (top - bottom), top)
    least = LEAST_SHARE * max(np.ptp(one) for one in limits)
    setters: tuple[Callable[..., object], ...] = (first.set_xlim, first.set_ylim)
    for (low, high), widen in zip(limits, setters, strict=True):
        more = max(0.0, least - (high - low)) / 2
        widen(low - more, high + more)
    for ax in made.axes:
        ax.set_aspect("equal")
    made.label(with_unit(axes_of[0], "um"), with_unit(axes_of[1], "um"))
    if variable is not None:
        colour_of = scale(np.concatenate([x for _, _, x in artists]))
        for axes, shape, x in artists:
            shape.set(array=np.ma.masked_invalid(x), **colour_of)
            # outlines of segments get the colour of the field; those of contacts, which are in front, stay
            if len(x) and hasattr(shape, "get_joinstyle") and shape.get_zorder() < 3:
                shape.set_edgecolor("face")
            if not np.isfinite(x).any():
                nothing(axes, "no finite values")
        made.colour_bar(artists[-1][1], label(ds[variable].variable, variable), shrink=0.7)
    _length_bar(made.corner)


def scale(x: np.ndarray) -> dict[str, Any]:
    """Return colour map and limits of a field: symmetric about zero if it has both signs."""
    x = x[np.isfinite(x)]
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    if low < 0 < high:
        high = max(-low, high)
        return {"cmap": "RdBu_r", "clim": (-high, high)}
    if low == high:
        low, high = low - 0.5, high + 0.5
    return {"cmap": "viridis", "clim": (low, high)}


def _length_bar(ax: Axes) -> None:
    """Draw a scale bar with its length in um at the lower right of axes that are to scale."""
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    length = nice(0.4 * (right - left))
    at = bottom + 0.02 * (top - bottom)
    ax.plot(
        [right - length, right], [at, at], color=foreground(), lw=2, solid_capstyle="butt",
        scalex=False, scaley=False, zorder=4,
    )  # fmt: skip
    text = f"{length:g} {pretty('um')}"
    ax.annotate(
        text, (right - length / 2, at), (0, 3), textcoords="offset points", ha="center",
        va="bottom", fontsize="small", zorder=4,
    )  # fmt: skip
