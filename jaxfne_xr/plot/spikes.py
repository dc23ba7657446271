"""Spikes: a raster by group, and the rate of each group above it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import ArgumentError, raise_problems
from jaxfne_xr.core.spikes import raw_spikes, spikes_of
from jaxfne_xr.core.time_axis import TIME, sampling
from jaxfne_xr.core.types import Time
from jaxfne_xr.core.units import magnitude
from jaxfne_xr.core.values import scalar

from ._axes import panels, picture
from ._beside import bare, colours, foreground, names_that_fit, nice, nothing, ticks
from ._data import emptiness, values
from ._rows import Groups, Rows, groups_of, rows
from ._text import name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More spikes than this are drawn as an image, with the same result at the resolution of pixels.
MOST_MARKS = 100_000
#: Approximate number of bins of the rate, by default.
BINS = 80
#: Gap between groups, as a share of the rows.
APART = 0.03
#: The variable with 1 for each observed sample, if there are others.
SEEN = "observed"
#: Share of the axes for the rate, with the gap below it.
ABOVE = 0.27


@dataclass(frozen=True)
class _Events:
    """Time (ms), number and row of spikes, the y position of each row from 0 downwards, and what was observed.

    `seen` is (row, time) in the order of the rows; None if all samples were observed.
    """

    time: np.ndarray
    number: np.ndarray
    row: np.ndarray
    height: np.ndarray
    those: Rows
    seen: np.ndarray | None = None


@picture
def raster(
    ds: xr.Dataset,
    *,
    by: str | None = "auto",
    order: str | None = None,
    rate: bool = True,
    bin: Time | None = None,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw every spike as a mark in the row of its neuron, with the rate of each group above.

    Parameters
    ----------
    ds : xr.Dataset
        Signals: ``spikes`` on ``time`` and any other dims, in any order; each combination of the others is a row.
    by : str or None
        The coordinate with the group of each row: groups are drawn apart, each in its colour. ``"auto"``:
        ``population``, ``layer`` or ``area``, if there is one.
    order : str, optional
        The coordinate to order by within groups, such as ``"z"``, with the largest value on top. By default the order
        of the data, with the first row on top.
    rate : bool
        Whether to draw the rate, in separate axes that share the time.
    bin : float, str or pint.Quantity, optional
        Bin width of the rate, ms, rounded to whole samples; by default about 1/80 of the duration.
    ax : matplotlib Axes, optional
        By default a new figure. The rate is drawn in the upper quarter.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes
        The axes of the spikes; those of the rate are in their ``child_axes``.

    Raises
    ------
    VariableError, DimensionError, TimeAxisError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there is nothing to draw, or matplotlib is not installed.

    Notes
    -----
    The rate of a group is the mean over its rows: spikes in a bin, divided by its duration and the number of rows; of
    samples that were observed, if ``spikes`` has NaN. More
    than 100 000 spikes are drawn as an image, darker for more spikes in a pixel, and a note above the axes says so.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.random.default_rng(0).random((20, 2000)) < 0.01, 20.0, -65.0)
    >>> ax = raster(jfx.traces(v, ("unit", "time"), dt_ms=0.5).jfne.to_signals())
    >>> ax.get_xlabel(), ax.child_axes[0].get_ylabel()
    ('time (ms)', 'rate (Hz)')
    """
    raw_spikes(ds)
    raise_problems(emptiness(ds, "spikes"))
    spikes, seen = spikes_of(ds)
    ds = ds.assign({"spikes": spikes} if seen is None else {"spikes": spikes, SEEN: seen})
    time, dt = sampling(ds, None)
    samples = _samples(bin, dt, len(time)) if rate and dt is not None else 0
    dims = [d for d in spikes.dims if d != TIME]
    groups = groups_of(ds, dims, by)
    n = int(np.prod([ds.sizes[d] for d in dims if d not in {row, col}]))
    made = panels(ds, ax, row, col, (6.4, 4.0 if n < 20 else 4.8), along=TIME, sharey=False)
    palette = colours(len(groups.labels)) if groups.by else [foreground()]
    said: list[str] = []
    share = 1 - ABOVE if samples else 1.0
    above = []
    for axes, part in made:
        events = _events(part, time, groups, order)
        said.append(_draw(axes, events, time, made.columns, palette, share))
        _rows(axes, events, groups, palette, share)
        if samples:
            axes.spines.left.set_bounds(axes.get_ylim()[0], 0.7)
            place = axes.get_subplotspec() if made.faceted else None
            first = place is None or place.is_first_col()
            above.append(_rate(axes, events, time, float(dt or 0.0), samples, palette, named=first))
    largest = max((ax.get_ylim()[1] for ax in above), default=None)
    for ax in above:  # the same scale in all facets
        ax.set_ylim(0, largest)
    what = ", ".join(str(d) for d in dims if d not in {row, col}) or "spikes"
    what += f", by {groups.by}" if groups.by else ""
    made.label(("time (ms)", {}), name(what, 60))
    for axes in (*made.axes, *made.blank):
        axes.yaxis.label.set_y(share / 2)
    made.note(max(said), f"rate in bins of {samples * dt:g} ms" if samples and dt else "")
    return made.result


def _samples(bin: Time | None, dt: float, n: int) -> int:
    """Return the number of samples in a bin."""
    if bin is None:
        return max(1, round(nice(max(n / BINS, 1) * dt) / dt))
    duration = scalar(bin, "ms", "bin")
    samples = round(duration / dt) if np.isfinite(duration) else 0
    if not 1 <= samples <= n:
        found = f"{duration:g} ms, {samples} samples of {n}"
        expected = "at least one sample, and at most all"
        raise ArgumentError.of("bin", found=found, expected=expected, remedy='bin="5 ms"')
    return samples


def _events(part: xr.Dataset, time: np.ndarray, groups: Groups, order: str | None) -> _Events:
    variable = part.variables["spikes"]
    rest = [d for d in variable.dims if d != TIME]
    those = rows(part, rest, groups, order)
    spikes = _numbers(variable)
    where = np.nonzero(spikes)
    found = dict(zip(variable.dims, where, strict=True))
    # the inverse of `order`: the row in which each site is drawn
    place = np.empty(len(those.order), int)
    place[those.order] = np.arange(len(those.order))
    sizes = [part.sizes[d] for d in rest]
    flat = np.zeros(len(found[TIME]), int)
    for d, size in zip(rest, sizes, strict=True):
        flat = flat * size + found[d]
    gap = max(1.0, APART * len(those.order))
    # no gaps for groups of other facets
    number = np.unique(those.group, return_inverse=True)[1].ravel()
    height = -np.arange(len(those.order), dtype=float) - gap * number
    seen = None
    if SEEN in part.data_vars:
        seen = values(part.variables[SEEN].transpose(*rest, TIME)).reshape(-1, len(time))[
            those.order
        ]
    number = spikes[where].astype(float)
    return _Events(time[found[TIME]], number, place[flat], height, those, seen)


def _numbers(variable: xr.Variable) -> np.ndarray:
    """Return the number of spikes in each sample, in memory; 0 for NaN."""
    if variable.dtype.kind in "fc":
        return np.nan_to_num(values(variable), copy=False, nan=0.0)
    return np.asarray(magnitude(variable.data))


def _draw(
    ax: Axes,
    events: _Events,
    time: np.ndarray,
    columns: int,
    palette: list[Any],
    share: float,
) -> str:
    """Draw the spikes of every group in the lower share of the axes, and return a note."""
    half = (time[1] - time[0]) / 2 if len(time) > 1 else 0.5
    limits = time[0] - half, time[-1] + half
    ax.set_xlim(limits)
    bottom, top = (events.height[-1] - 0.7, 0.7) if len(events.height) else (-1.0, 1.0)
    ax.set_ylim(bottom, bottom + (top - bottom) / share)
    if not len(events.time):
        unseen = events.seen is not None and not events.seen.any()
        nothing(ax, "nothing observed" if unseen else "no spikes")
        return ""
    if len(events.time) > MOST_MARKS:
        return _image(ax, events, limits, ax.get_ylim(), columns, palette)
    window = share * ax.get_window_extent().height * 72 / ax.figure.dpi / (top - bottom)
    tall = max(0.42, 0.75 / window)  # marks are at least 1.5 points high
    group = events.those.group[events.row]
    for g in np.unique(group):
        here = group == g
        # one line with gaps (NaN) is much faster than a line for each spike
        x = np.repeat(events.time[here], 3)
        y = np.repeat(events.height[events.row[here]], 3)
        y += np.tile([-tall, tall, np.nan], int(here.sum()))
        ax.plot(x, y, color=palette[g], lw=0.8 if len(x) < 30_000 else 0.5, solid_capstyle="butt")
    return ""


def _image(
    ax: Axes,
    events: _Events,
    x: tuple[float, float],
    y: tuple[float, float],
    columns: int,
    palette: list[Any],
) -> str:
    """Draw spikes as an image, in the colour of their group, more opaque for more spikes; return a note."""
    from matplotlib.colors import to_rgb

    box = ax.get_window_extent()
    shape = (
        max(2, min(int(box.height), int(np.ceil(y[1] - y[0])))),
        max(2, min(int(box.width), columns)),
    )
    i = ((events.height[events.row] - y[0]) / (y[1] - y[0]) * shape[0]).astype(int)
    j = ((events.time - x[0]) / (x[1] - x[0]) * shape[1]).astype(int)
    group = events.those.group[events.row]
    cell = np.minimum(i, shape[0] - 1) * shape[1] + np.minimum(j, shape[1] - 1)
    size = shape[0] * shape[1]
    count = np.bincount(cell, minlength=size)
    image = np.zeros((size, 4), np.float32)
    for g in np.unique(group):
        here = np.bincount(cell[group == g], minlength=size) > 0
        image[here, :3] = to_rgb(palette[g])
    # a percentile, so that one crowded pixel does not make all others pale
    largest = np.percentile(count[count > 0], 99)
    image[:, 3] = np.where(count > 0, 0.15 + 0.85 * np.clip(count / largest, 0, 1), 0)
    ax.imshow(image.reshape(*shape, 4), extent=(*x, *y), origin="lower", aspect="auto", zorder=2)
    return f"{len(events.time):,} spikes as an image, up to {count.max()} in a pixel"


def _rows(ax: Axes, events: _Events, groups: Groups, palette: list[Any], share: float) -> None:
    """Label the rows, or each group at the middle of its rows."""
    if groups.by is None:
        ticks(ax.set_yticks, events.height, events.those.labels, 12)
        return
    here = np.unique(events.those.group)
    middle = [events.height[events.those.group == g].mean() for g in here]
    most = names_that_fit(ax, share)
    ticks(ax.set_yticks, middle, [groups.labels[g] for g in here], most)
    for tick, g in zip(ax.yaxis.get_major_ticks(), here[:: -(-len(here) // most)], strict=True):
        tick.label1.set_color(palette[g])
    ax.tick_params(axis="y", length=0)


def _rate(
    parent: Axes,
    events: _Events,
    time: np.ndarray,
    dt: float,
    samples: int,
    palette: list[Any],
    *,
    named: bool,
) -> Any:
    """Draw the rate of every group in new axes in the upper share of `parent`, and return them."""
    ax = parent.inset_axes((0, 1.04 - ABOVE, 1, ABOVE - 0.04), sharex=parent, facecolor="none")
    ax.tick_params(axis="x", labelbottom=False, length=0)
    bare(ax)
    start = time[0] - dt / 2
    count = max(1, len(time) // samples)
    borders = start + samples * dt * np.arange(count + 1)  # an incomplete last bin is left out
    group = events.those.group[events.row]
    for g in np.unique(events.those.group):
        n, _ = np.histogram(events.time[group == g], borders, weights=events.number[group == g])
        here = events.those.group == g
        observed: Any = np.sum(here) * samples
        if events.seen is not None:
            bins = (
                events.seen[here].sum(axis=0)[: count * samples].reshape(count, samples).sum(axis=1)
            )
            observed = np.where(bins > 0, bins, np.nan)  # a gap in the line
        rate = n / (observed * dt * 1e-3)
        ax.stairs(rate, borders, color=palette[g], lw=1.0, baseline=None)
    ax.set_ylim(0, None)
    ax.set_ylabel("rate (Hz)" if named else "")
    ax.locator_params(axis="y", nbins=3)
    return ax
