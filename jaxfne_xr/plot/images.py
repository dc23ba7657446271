"""Images over time: current source density by depth, and power by frequency."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.analysis.spectra import psd, segments
from jaxfne_xr.core.errors import ArgumentError, DimensionError
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Frequency, Scalar, Time
from jaxfne_xr.core.units import magnitude, product, units_of
from jaxfne_xr.core.values import scalar
from jaxfne_xr.geometry.positions import position_name

from ._axes import panels, picture
from ._beside import edges, nothing
from ._data import chosen, coordinate, drawn, places, values
from ._text import label, long_name, with_unit
from .lines import POTENTIALS, TRACES, one_dim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour map for each colour of sinks (negative values).
SINKS = {"red": "RdBu", "blue": "RdBu_r"}
DENSITIES = ("csd", "csd_proxy")
#: Number of segments in the duration, without overlap, by default.
SEGMENTS = 10
#: Share of a segment that overlaps with the next, by default.
OVERLAP = 0.9
#: Powers below this share of the largest one are drawn in the lowest colour.
LOWEST_POWER = 1e-6


@picture
def csd(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    depth: str | None = None,
    sink: str = "red",
    limit: Scalar | None = None,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw current source density as an image of time and depth, with limits symmetric about zero.

    Parameters
    ----------
    ds : xr.Dataset
        From `jaxfne_xr.csd` or `jaxfne_xr.ground_truth_csd`: ``time`` and one dim with depths, in any order.
    variable : str, optional
        By default ``csd``, or its proxy; or the only one along time.
    depth : str, optional
        The coordinate with the depth, um: by default ``depth``, which increases downwards if it is along contacts, else
        ``z``. Depths may be unevenly spaced.
    sink : {"red", "blue"}
        Colour of sinks, where current flows into cells and the density is negative. Both conventions are in use.
    limit : float, str or pint.Quantity, optional
        The density at the ends of the colour map. By default the largest absolute value; if values exceed the limit,
        the colour bar ends in arrows.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes
        The image is in its ``collections``, the colour bar in ``ax.figure.axes``.

    Raises
    ------
    VariableError, DimensionError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there is nothing to draw, no depth, two contacts at the same depth, or matplotlib is not installed.

    Notes
    -----
    Borders in the image are half-way between contacts. If there are more samples than columns of pixels, the value with
    the largest size in each column is drawn, and a note above the axes says so.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"csd": (("time", "depth"), [[1.0, -2.0], [0.0, 0.5]], {"units": "uA/mm^3"})})
    >>> ds = ds.assign_coords(time=("time", [0.0, 1.0], {"units": "ms"}), depth=("depth", [0.0, 90.0]))
    >>> ax = csd(ds, sink="blue")
    >>> ax.collections[0].get_clim(), ax.get_ylabel()
    ((-2.0, 2.0), 'depth (µm)')
    """
    if sink not in list(SINKS):
        raise ArgumentError.of(
            "sink", found=repr(sink), expected=f"one of {list(SINKS)}", remedy='sink="red"'
        )
    found = chosen(ds, variable, DENSITIES, TIME)
    rest = [d for d in ds[found].dims if d not in {TIME, row, col}]
    if len(rest) != 1:
        raise one_dim(found, [str(d) for d in rest], "contact or depth")
    dim, unit = rest[0], units_of(ds[found])
    made = panels(ds, ax, row, col, (6.4, 3.8), along=TIME)
    depths = [_depths(part, dim, depth) for part in made.parts]
    points = [drawn(part, found, TIME, made.columns)[0] for part in made.parts]
    # of the envelope, the extreme with the larger size
    shown = [np.where(-p.low > p.high, p.low, p.high) for p in points]
    largest = _limit(limit, unit, shown)
    mesh = None
    ends = []
    for axes, point, image, (_, where) in zip(made.axes, points, shown, depths, strict=True):
        order = np.argsort(where, kind="stable")
        borders = edges(where[order])
        ends += [borders[0], borders[-1]]
        mesh = axes.pcolormesh(
            _borders(point.x, coordinate(ds, TIME)),
            borders,
            image[order],
            cmap=SINKS[sink],
            vmin=-largest,
            vmax=largest,
            rasterized=True,
        )
        if not np.isfinite(image).any():
            nothing(axes, "no finite values")
    axis = depths[0][0]
    downwards = axis == "depth" and dim != "depth"  # the dim depth, of ground_truth_csd, is along z
    for axes in made.axes:
        axes.set_ylim(*sorted([min(ends), max(ends)], reverse=downwards))
    called = long_name(ds[position_name(ds, axis, dim)], axis)
    made.label(label(coordinate(ds, TIME), TIME), with_unit(called, "um"))
    more = any(np.nanmax(np.abs(x), initial=0.0) > largest for x in shown)
    # arrows for values above the limit
    extend, beyond = ("both", 0.05) if more else ("neither", 0.0)
    bar = made.colour_bar(mesh, label(ds[found].variable, found), extend=extend)
    for word, at, side in (("source", 1.02 + beyond, "bottom"), ("sink", -0.02 - beyond, "top")):
        bar.ax.text(0.5, at, word, transform=bar.ax.transAxes, ha="center", va=side)
    samples = points[0].samples
    made.note(f"largest of {samples} samples per point" if samples > 1 else "")
    return made.result


@picture
def spectrogram(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    segment: Time | None = None,
    overlap: float = OVERLAP,
    up_to: Frequency = "200 Hz",
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw the power of a signal as an image of time and frequency, in logarithmic colours.

    Parameters
    ----------
    ds : xr.Dataset
        With ``time`` and no other dim except facets: select one signal, ``ds.isel(contact=0)``.
    variable : str, optional
        By default ``lfp``, ``V_m`` or another that this package makes; or the only one along time.
    segment : float, str or pint.Quantity, optional
        Duration of a segment, ms: the inverse of the frequency spacing. By default a tenth of the duration.
    overlap : float
        Share of a segment that overlaps with the next: at least 0, below 1.
    up_to : float, str or pint.Quantity
        Highest frequency to draw, Hz; at most the Nyquist frequency.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes
        The image is in its ``collections``, the colour bar in ``ax.figure.axes``.

    Raises
    ------
    VariableError, DimensionError, TimeAxisError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there is nothing to draw, a segment does not fit, or matplotlib is not installed.

    Notes
    -----
    Each column is the spectrum (`jaxfne_xr.psd`, Hann window) of the segment around it. If there are more segments than
    columns of pixels, their mean power is drawn, and a note above the axes says so. The colours reach down to a
    millionth of the largest power.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(4000) * 1.0
    >>> ax = spectrogram(jfx.traces(np.sin(2 * np.pi * 50e-3 * t), ["time"], dt_ms=1.0))
    >>> ax.get_ylabel(), ax.figure.axes[1].get_ylabel()
    ('frequency (Hz)', 'power spectral density (mV²/Hz)')
    """
    from matplotlib.colors import LogNorm

    found = chosen(ds, variable, (*POTENTIALS, *TRACES), TIME)
    rest = [d for d in ds[found].dims if d not in {TIME, row, col}]
    if rest:
        raise DimensionError.of(
            found,
            found=f"the dims {[str(d) for d in rest]} in addition to time",
            expected="a single signal",
            remedy=f'ds.isel({rest[0]}=0), or col="{rest[0]}"',
        )
    n = ds.sizes[TIME]
    if segment is None:
        dt, _ = segments(ds, None, overlap, "hann", "constant")
        segment = max(2, n // SEGMENTS) * dt
    dt, cut = segments(ds, segment, overlap, "hann", "constant")
    highest = scalar(up_to, "Hz", "up_to")
    if not highest > 0:
        raise ArgumentError.of(
            "up_to",
            found=f"{highest:g} Hz",
            expected="a positive frequency",
            remedy='up_to="200 Hz"',
        )
    made = panels(ds, ax, row, col, (6.4, 3.8), along=TIME)
    images = [_powers(part, found, cut, dt, highest, made.columns) for part in made.parts]
    positive = [x[np.isfinite(x) & (x > 0)] for _, _, x, _ in images]
    top = max((float(x.max()) for x in positive if x.size), default=1.0)
    lowest = top * LOWEST_POWER
    norm = LogNorm(lowest, top)
    mesh = None
    for axes, (x, y, power, _) in zip(made.axes, images, strict=True):
        mesh = axes.pcolormesh(
            x, y, np.maximum(power, lowest), cmap="viridis", norm=norm, rasterized=True
        )
        axes.set_ylim(max(y[0], 0.0), y[-1])
        if not (power > 0).any():
            nothing(axes, "no power" if np.isfinite(power).any() else "no finite values")
    made.label(label(coordinate(ds, TIME), TIME), ("frequency (Hz)", {}))
    unit = units_of(ds[found]) or "1"
    power_unit = product(unit, unit, "1/Hz")
    made.colour_bar(mesh, with_unit("power spectral density", power_unit), extend="min")
    together = images[0][3]
    made.note(
        f"segments of {cut['nperseg'] * dt:g} ms",
        f"mean of {together} per column" if together > 1 else "",
        "blank: NaN" if any(np.isnan(x[2]).any() for x in images) else "",
    )
    return made.result


def _powers(
    part: xr.Dataset, variable: str, cut: dict[str, Any], dt: float, highest: float, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the borders of time and frequency, the power (frequency, time), and how many segments are one column."""
    x = values(part.variables[variable])
    length = cut["nperseg"]
    step = length - cut["noverlap"]
    pieces = np.lib.stride_tricks.sliding_window_view(x, length)[::step]
    together = -(-len(pieces) // columns)
    in_ms = xr.Dataset(
        {"x": (("segment", TIME), pieces, {"units": "1"})},
        {TIME: (TIME, dt * np.arange(length), {"units": "ms"})},
    )
    # segments with NaN have no spectrum, and are left blank
    whole = np.isfinite(pieces).all(axis=1)
    made = psd(in_ms.isel(segment=whole), segment=length * dt).psd
    frequency = made.frequency.values
    keep = frequency <= max(highest, frequency[1])
    power = np.zeros((int(keep.sum()), len(pieces)))
    power[:, whole] = np.asarray(magnitude(made.transpose("frequency", "segment").variable.data))[
        keep
    ]
    starts = np.arange(0, len(pieces), together)
    counts = np.diff(np.append(starts, len(pieces)))
    used = np.add.reduceat(whole.astype(int), starts)
    power = np.add.reduceat(power, starts, axis=1) / np.where(used > 0, used, np.nan)
    time = np.asarray(magnitude(coordinate(part, TIME).data), float)
    # each segment stands for the step around its middle
    borders = (length - step) / 2 + step * np.append(np.cumsum(counts) - counts, len(pieces))
    per_sample = (time[-1] - time[0]) / (len(time) - 1)
    return time[0] + borders * per_sample, edges(frequency[keep]), power, together


def _depths(ds: xr.Dataset, dim: Hashable, depth: str | None) -> tuple[str, np.ndarray]:
    """Return the name of the depth coordinate, and the depths, um."""
    here = [c for c in ("depth", "z") if c in ds.coords and ds[c].dims == (dim,)]
    axis = depth or (here[0] if here else "z")
    if axis == dim and units_of(ds[axis]) is None:
        where = values(coordinate(ds, dim))  # bare positions are read in um
    else:
        where = places(ds, dim, [axis])[:, 0]
    if len(np.unique(where)) < len(where):
        raise DimensionError.of(
            axis,
            found="two contacts at the same depth",
            expected=f"a different depth for each {dim}",
            remedy=f"select one column: ds.isel({dim}=ds.column.values == 0)",
        )
    return axis, where


def _limit(limit: Scalar | None, unit: str | None, shown: list[np.ndarray]) -> float:
    """Return the density at the end of the colour map."""
    if limit is None:
        sizes = [float(np.nanmax(np.abs(x))) for x in shown if np.isfinite(x).any()]
        return max(sizes, default=0.0) or 1.0
    largest = scalar(limit, unit or "1", "limit")
    if not 0 < largest < np.inf:
        found = f"{largest:g}"
        raise ArgumentError.of("limit", found=found, expected="a positive number", remedy="limit=1")
    return largest


def _borders(middle: np.ndarray, time: xr.Variable) -> np.ndarray:
    """Return the borders in time around the middles of points; the outer ones are those of the outer samples."""
    made = edges(middle)
    x = np.asarray(magnitude(time.data), float)
    if len(x) > 1 and len(middle) > 1:
        half = (x[-1] - x[0]) / (len(x) - 1) / 2
        made[0], made[-1] = x[0] - half, x[-1] + half
    return made
