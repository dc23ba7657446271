"""Lines over time, one above the other: voltages, currents, potentials."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import ArgumentError
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Scalar
from jaxfne_xr.core.units import magnitude, pretty, units_of
from jaxfne_xr.core.values import scalar
from jaxfne_xr.geometry.positions import position_name

from ._axes import THIN, Panels, panels, picture
from ._beside import colours, foreground, legend, names_that_fit, nice, nothing, scale_bar, ticks
from ._data import Drawn, chosen, coordinate, drawn, places
from ._rows import Groups, Rows, groups_of, rows
from ._text import Text, label, long_name, name, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Variables that `traces` draws by default; the first one found is used.
TRACES = ("V_m", "v", "source", "i_membrane", "source_proxy", "vm", "eeg", "meg", "eeg_proxy")
#: Variables that `lfp` draws by default; the first one found is used.
POTENTIALS = ("lfp", "lfp_proxy")


@picture
def traces(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    by: str | None = "auto",
    order: str | None = None,
    scale: Scalar | None = None,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw a variable over time, one row above the other.

    Parameters
    ----------
    ds : xr.Dataset
        With ``time`` and any other dims, in any order: each combination of the others is a row.
    variable : str, optional
        By default ``V_m``, ``v`` or another variable of this package; or the only one along time.
    by : str or None
        The coordinate with the group of each row: groups are drawn together, each in its colour.
        ``"auto"``: ``population``, ``layer`` or ``area``, if there is one.
    order : str, optional
        The coordinate to order by within groups, such as ``"z"``, with the largest value on top. By default the order
        of the data, with the first row on top.
    scale : float, str or pint.Quantity, optional
        Distance between rows, in the unit of the variable. By default the range of the row with the largest range.
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
        If there is nothing to draw, or matplotlib is not installed.

    Notes
    -----
    Each row is drawn about its own median. If there are more samples than a figure can show, their minimum and maximum
    in stretches of equal length are drawn, so that no peak is lost, and a note above the axes, or below facets, says
    so; select a shorter time to see every sample.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.random.default_rng(0).normal(-65.0, 2.0, (3, 200))
    >>> ax = traces(jfx.traces(v, ("unit", "time"), dt_ms=0.1))
    >>> ax.get_xlabel(), [tick.get_text() for tick in ax.get_yticklabels()]
    ('time (ms)', ['0', '1', '2'])
    """
    chosen_name = chosen(ds, variable, TRACES, TIME)
    rest = [d for d in ds[chosen_name].dims if d not in {TIME, row, col}]
    n = int(np.prod([ds.sizes[d] for d in rest]))
    made = panels(ds, ax, row, col, (6.4, min(8.0, 1.4 + 0.35 * n)), along=TIME, sharey=False)
    groups = groups_of(ds, [d for d in ds[chosen_name].dims if d != TIME], by)
    lines = [_lines(part, chosen_name, made, groups, order) for part in made.parts]
    unit = units_of(ds[chosen_name])
    step = _step(scale, unit, [d for d, _ in lines])
    most = max(len(those.order) for _, those in lines)
    for (axes, _), (points, those) in zip(made, lines, strict=True):
        height = -np.arange(len(those.order), dtype=float)
        palette = colours(len(groups.labels)) if groups.by else [foreground()]
        _draw(axes, points, those, height, step, palette)
        ticks(
            axes.set_yticks, height, those.labels, names_that_fit(axes, len(height) / max(most, 1))
        )
    ends = [y for axes in made.axes for y in axes.dataLim.intervaly if np.isfinite(y)]
    for axes in made.axes:  # the same scale in all facets
        axes.set_ylim(min([*ends, 0.6 - most]) - 0.1, max([*ends, 0.4]) + 0.1)
    rows_are = ", ".join(map(str, rest)) or chosen_name
    _finish(ds, made, chosen_name, lines, name(rows_are), step, step)
    if groups.by is not None:
        handles = [made.corner.plot([], [], color=c)[0] for c in colours(len(groups.labels))]
        legend(made.corner, handles, groups.labels, groups.by)
    return made.result


@picture
def lfp(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    depth: str = "z",
    scale: Scalar | None = None,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw the potentials at the contacts of a probe over time, each at its depth.

    Parameters
    ----------
    ds : xr.Dataset
        With ``time`` and ``contact``, in any order, and contacts with positions.
    variable : str, optional
        By default ``lfp``, or its proxy; or the only one along time.
    depth : str
        The coordinate with the depth of contacts, um. ``depth`` increases downwards.
    scale : float, str or pint.Quantity, optional
        Distance between contacts, in the unit of the variable. By default half the range of the contact with the
        largest range.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes

    Raises
    ------
    VariableError, DimensionError, UnitError, DataError, ArgumentError, MissingDependencyError
        As for `traces`, or if a contact has no depth.

    Notes
    -----
    The median of a contact is at its depth. If two contacts have the same depth, all are spaced evenly instead, in the
    order of their depths, which then label the axis. Long data are drawn as by `traces`.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> potential = np.random.default_rng(0).normal(size=(200, 4))
    >>> ds = jfx.linear_probe(4, "100 um").assign(lfp=(("time", "contact"), potential, {"units": "uV"}))
    >>> ax = lfp(ds.assign_coords(time=("time", 0.5 * np.arange(200), {"units": "ms"})))
    >>> ax.get_ylabel(), [text.get_text() for text in ax.texts]
    ('z (µm)', ['5 µV', 'extracellular potential'])
    """
    chosen_name = chosen(ds, variable, POTENTIALS, TIME)
    rest = [d for d in ds[chosen_name].dims if d not in {TIME, row, col}]
    dim = next((d for d in rest if d in ("contact", "channel")), rest[0] if rest else None)
    if dim is None or len(rest) != 1:
        raise one_dim(chosen_name, [str(d) for d in rest], "contact")
    places(ds, dim, [depth])
    made = panels(ds, ax, row, col, (6.4, min(8.0, 1.6 + 0.25 * ds.sizes[dim])), along=TIME)
    order = position_name(ds, depth, dim)
    lines = [_lines(part, chosen_name, made, Groups(None, [None]), order) for part in made.parts]
    unit = units_of(ds[chosen_name])
    step = _step(scale, unit, [d for d, _ in lines], rows_in_range=2.0)
    depths = [
        places(part, dim, [depth])[those.order, 0]
        for part, (_, those) in zip(made.parts, lines, strict=True)
    ]
    # contacts at the same depth, up to rounding, would be drawn over each other
    gaps = np.concatenate([-np.diff(where) for where in depths])
    even = bool(len(gaps)) and gaps.min() <= 1e-6 * max(*map(np.ptp, depths), 1e-9)
    spacing = float(np.median(gaps)) if len(gaps) and not even else 1.0
    ends = []
    for (axes, _), (points, those), where in zip(made, lines, depths, strict=True):
        height = -np.arange(len(where), dtype=float) if even else where
        _draw(axes, points, those, height, step / spacing, [foreground()])
        ends += [height[-1] - spacing, height[0] + spacing]
        ends += [y for y in axes.dataLim.intervaly if np.isfinite(y)]
        if even or ds.sizes[dim] == 1:
            ticks(axes.set_yticks, height, [f"{z:g}" for z in where], names_that_fit(axes))
    downwards = depth == "depth" and not even
    for axes in made.axes:  # the same scale in all facets
        axes.set_ylim(*sorted([min(ends), max(ends)], reverse=downwards))
    called = with_unit(long_name(ds[order], depth), "um")
    _finish(ds, made, chosen_name, lines, called, 2 * step, step / spacing)
    return made.result


def one_dim(variable: str, rest: list[str], expected: str) -> ArgumentError:
    """Return the error of a variable with more or fewer dims than a picture shows."""
    return ArgumentError.of(
        variable,
        found=f"the dims {rest} in addition to time" if rest else "no dim in addition to time",
        expected=f"one, such as {expected}",
        remedy=f'col="{rest[0]}", or ds.isel({rest[0]}=0)'
        if rest
        else f'ds.jfne.plot.traces("{variable}")',
    )


def _lines(
    part: xr.Dataset, variable: str, made: Panels, groups: Groups, order: str | None
) -> tuple[Drawn, Rows]:
    points, rest = drawn(part, variable, TIME, made.columns)
    return points, rows(part, rest, groups, order)


def _step(
    scale: Scalar | None, unit: str | None, lines: list[Drawn], rows_in_range: float = 1.0
) -> float:
    """Return the distance between rows, in the unit of the variable."""
    if scale is not None:
        step = scalar(scale, unit or "1", "scale")
        if not 0 < step < np.inf:
            found = f"{step:g} {pretty(unit or '1')}"
            raise ArgumentError.of(
                "scale", found=found, expected="a positive number", remedy="scale=None"
            )
        return step
    ranges = [_range(points) for points in lines]
    largest = max((float(r.max()) for r in ranges if r.size), default=0.0)
    return largest * 1.05 / rows_in_range or 1.0


def _range(points: Drawn) -> np.ndarray:
    """Return the range of each row with finite values."""
    if not points.low.size:
        return np.zeros(0)
    seen = np.isfinite(points.low).any(axis=1)
    return np.nanmax(points.high[seen], axis=1, initial=-np.inf) - np.nanmin(
        points.low[seen], axis=1, initial=np.inf
    )


def _draw(
    ax: Axes, points: Drawn, those: Rows, height: np.ndarray, step: float, palette: list[Any]
) -> None:
    """Draw each row about its height, in the colour of its group; `step` of the variable is one step of the axis."""
    low, high = (x[those.order] for x in (points.low, points.high))
    seen = np.isfinite(low).any(axis=1) if low.size else np.zeros(0, bool)
    if not seen.any():
        nothing(ax, "no finite values")
        return
    middle = np.zeros(len(low))
    middle[seen] = np.nanmedian((low[seen] + high[seen]) / 2, axis=1)
    x = points.x if points.samples == 1 else np.repeat(points.x, 2)
    for k in np.flatnonzero(seen):
        y = low[k] if points.samples == 1 else np.stack([low[k], high[k]], axis=1).ravel()
        finite = np.isfinite(y)
        # a line through a single point is invisible
        marker = "." if finite.sum() == 1 else None
        ax.plot(
            x,
            height[k] + (y - middle[k]) / step,
            color=palette[those.group[k]],
            lw=THIN,
            marker=marker,
            ms=4,
        )


def _finish(
    ds: xr.Dataset,
    made: Panels,
    variable: str,
    lines: list[tuple[Drawn, Rows]],
    rows_are: Text,
    step: float,
    per: float,
) -> None:
    """Add limits in time, labels, a scale bar of up to `step`, and notes."""
    time = coordinate(ds, TIME)
    x = np.asarray(magnitude(time.data), float)
    if len(x) > 1:
        for ax in made.axes:
            ax.set_xlim(x[0], x[-1])
    made.label(label(time, TIME), rows_are)
    if any(np.isfinite(p.low).any() for p, _ in lines):
        bottom, top = sorted(made.corner.get_ylim())
        # with many rows, long enough to be seen
        length = nice(max(step, per * (top - bottom) / 40))
        scale_bar(made.corner, length, units_of(ds[variable]), bottom=bottom, per=per)
    made.note(long_name(ds[variable].variable, variable), lines[0][0].note)
