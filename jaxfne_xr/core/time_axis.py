"""The time axis: float64 milliseconds that increase in even steps, checked and made here only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from .arrays import is_traced
from .errors import DimensionError, TimeAxisError, UnitError
from .numeric import native
from .types import Window
from .units import bare, convert, scalar, units_of

TIME = "time"

#: How many steps are checked at a time, which fit into a cache.
_BLOCK = 1 << 15
#: Relative difference up to which two sampling intervals count as equal.
DT_TOLERANCE = 1e-6
#: Fraction of an interval by which a sample may miss the start or the stop of a window.
WINDOW_TOLERANCE = 0.01


def time_problem(found: str, expected: str, remedy: str) -> TimeAxisError:
    """Make the error of a time axis that cannot be used."""
    return TimeAxisError.of(TIME, found=found, expected=expected, remedy=remedy)


def check_dt(dt_ms: float, name: str = "dt_ms") -> float:
    """Return `dt_ms`, passed as `name`, if it is positive and finite; raise otherwise."""
    if not (np.isfinite(dt_ms) and dt_ms > 0):
        raise TimeAxisError.of(
            name,
            found=f"{dt_ms}",
            expected="a positive, finite sampling interval in ms",
            remedy=f'{name}=0.025, or {name}="25 us"',
        )
    return dt_ms


def time_variable(values: np.ndarray) -> xr.Variable:
    """Make the time coordinate of float64 values in ms."""
    return xr.IndexVariable(TIME, values, {"units": "ms", "long_name": "time"})


def time_from_dt(dt_ms: float, length: int) -> np.ndarray:
    """Compute sample times in ms from 0: ``dt_ms * k``, float64."""
    # a product, since a running sum of `dt_ms` would drift
    return dt_ms * np.arange(length, dtype=np.float64)


def coords_along(
    ds: xr.Dataset, dims: Iterable[Hashable], time: np.ndarray | None = None
) -> xr.Coordinates:
    """Return the coordinates of `ds` that lie along `dims`, with their indexes; ``time`` in float64 ms.

    Parameters
    ----------
    ds : xr.Dataset
        Where the coordinates come from.
    dims : iterable of str
        A coordinate is kept if all its dims are among these.
    time : array (time), optional
        Sample times, ms, from `sampling`.
    """
    dims = set(dims)
    variables = {name: ds.variables[name] for name in ds.coords}
    kept = {name: v for name, v in variables.items() if dims.issuperset(v.dims)}
    indexes = {name: index for name, index in ds.xindexes.items() if name in kept}
    old = kept.get(TIME)
    usable = old is not None and old.dtype == np.float64 and old.attrs.get("units") == "ms"
    # otherwise the user's index is kept, which costs nothing
    if time is not None and not (usable and TIME in indexes):
        kept[TIME] = time_variable(time)
        indexes[TIME] = PandasIndex(time, TIME)
    return xr.Coordinates(kept, indexes=indexes)


def windowed(ds: xr.Dataset, window: Window | None) -> xr.Dataset:
    """Select the samples of a Dataset from ``window[0]`` up to, but not including, ``window[1]``.

    Parameters
    ----------
    ds : xr.Dataset
        With a ``time`` coordinate.
    window : pair of float, str, pint.Quantity or None, optional
        Start and stop, ms; None for that end of the data. All of the data if not given.

    Raises
    ------
    TimeAxisError
        If the window is empty, or extends beyond the data.
    UnitError
        If it is not in a unit of time.
    """
    if window is None:
        return ds
    try:
        first, last = window
    except (TypeError, ValueError) as error:
        raise TimeAxisError.of(
            "window",
            found=repr(window),
            expected="a start and a stop, ms",
            remedy='window=(0, 100), or window=("0 s", "0.1 s"), or None for all of the data',
        ) from error
    time, dt_ms = sampling(ds, None)
    begin, end = time[0], time[-1] + (dt_ms or 0.0)
    start, stop = (
        default if value is None else scalar(value, "ms", "window")
        for value, default in ((first, begin), (last, end))
    )
    # computed times differ from exact ones by rounding, in float32 too: a sample at the start counts, one at the stop
    # does not
    slack = WINDOW_TOLERANCE * dt_ms if dt_ms else DT_TOLERANCE
    chosen = np.flatnonzero((time >= start - slack) & (time < stop - slack))
    outside = not (begin - slack <= start and stop <= end + slack)
    if outside or not chosen.size:
        raise TimeAxisError.of(
            "window",
            found=f"{start:g} to {stop:g} ms, "
            + ("outside" if outside else "without a sample of")
            + f" data from {begin:g} to {end:g} ms",
            expected="a window inside the data, with at least one sample",
            remedy=f"window=({begin:g}, {end:g}), or None for all of it",
        )
    return ds.isel({TIME: slice(int(chosen[0]), int(chosen[-1]) + 1)})


def sampling(ds: xr.Dataset, dt_ms: float | None) -> tuple[np.ndarray, float | None]:
    """Return the sample times (float64, ms) and the interval between them (ms) of a Dataset.

    Parameters
    ----------
    ds : xr.Dataset
        With a ``time`` dimension; its coordinate, if there is one, must increase in even steps.
    dt_ms : float or None
        The interval if there is no coordinate; if there is one, the two must agree.

    Returns
    -------
    time, dt_ms
        The interval is None for a single sample whose interval is not given.

    Raises
    ------
    DimensionError
        If there is no ``time`` dimension.
    TimeAxisError
        If there are no samples, neither a coordinate nor `dt_ms`, or a coordinate with uneven steps.
    """
    if TIME not in ds.sizes:
        raise DimensionError.of(
            TIME,
            found=f"the dims {list(map(str, ds.sizes))}",
            expected='a dimension named "time"',
            remedy='ds.rename({"your_dim": "time"})',
        )
    length = ds.sizes[TIME]
    if length == 0:
        raise time_problem("no samples", "at least one sample", "check the selection that led here")
    if dt_ms is not None:
        check_dt(dt_ms)
    if TIME not in ds.coords:
        if dt_ms is None:
            raise time_problem(
                "no time coordinate",
                "one, or the interval between samples",
                "ds.jfne.to_signals(dt_ms=0.1), or "
                'ds.assign_coords(time=("time", t, {"units": "ms"}))',
            )
        return time_from_dt(dt_ms, length), dt_ms
    return even_times(ds[TIME].variable, dt_ms)


def even_times(variable: xr.Variable, dt_ms: float | None) -> tuple[np.ndarray, float | None]:
    """Return the times of a coordinate in float64 ms and their interval; raise unless they increase in even steps."""
    if is_traced(variable._data):
        raise time_problem("a traced array", "concrete numbers", "pass the times as a NumPy array")
    raw = native(bare(variable.data), TIME)
    time = _in_ms(np.asarray(raw), units_of(variable), given=dt_ms)
    least, most = _steps_range(time)
    # a time that is not finite makes a step not finite, unless there is only one
    if not np.isfinite([*time[:1], least, most]).all():
        bad = np.flatnonzero(~np.isfinite(time))
        raise time_problem(
            f"{bad.size} values not finite, the first at index {bad[0]}",
            "finite times in ms",
            "give the times again, or leave them out and pass dt_ms",
        )
    if len(time) < 2:
        return time, dt_ms
    if least <= 0:
        steps = np.diff(time)
        first = int(np.argmax(steps <= 0))
        what = "a repeated time" if steps[first] == 0 else "a step back"
        raise time_problem(
            f"{what} at index {first + 1}: {time[first]:g} ms then {time[first + 1]:g} ms",
            "increasing times",
            'ds.sortby("time"), ds.drop_duplicates("time")',
        )
    mean = (time[-1] - time[0]) / (len(time) - 1)
    # The error of one step from rounding alone: two roundings of the largest time, in the precision it was stored in.
    eps = np.finfo(raw.dtype if raw.dtype.kind == "f" else np.float64).eps
    rounding = 2 * eps * max(abs(time[0]), abs(time[-1]))
    if raw.dtype.kind == "m":  # whole nanoseconds
        rounding += 1e-6
    if max(most - mean, mean - least) > DT_TOLERANCE * mean + rounding:
        steps = np.diff(time)
        first = int(np.argmax(np.abs(steps - mean)))
        raise time_problem(
            f"uneven steps: {steps[first]:g} ms after index {first}, {mean:g} ms on average",
            "one sampling interval throughout",
            "resample first: ds.interp(time=np.arange(t0, t1, dt))",
        )
    if dt_ms is not None and abs(mean - dt_ms) > DT_TOLERANCE * dt_ms + rounding / (len(time) - 1):
        raise time_problem(
            f"a time coordinate with steps of {mean:.9g} ms, and dt_ms={dt_ms:.9g}",
            "the two to agree",
            'leave dt_ms out, or ds.drop_vars("time") so that dt_ms defines the times',
        )
    if raw.dtype == np.float32 or raw.dtype.kind == "m":
        # These were rounded unevenly; the first and last time give a more exact interval than any step.
        time = time[0] + mean * np.arange(len(time))
    return time, dt_ms if dt_ms is not None else float(mean)


def _steps_range(time: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest step, not finite if a time is not; without an array of all steps."""
    ends: list[float] = []
    with np.errstate(invalid="ignore"):  # infinite times
        for start in range(0, len(time) - 1, _BLOCK):
            steps = np.diff(time[start : start + _BLOCK + 1])
            ends += [steps.min(), steps.max()]
    return (float(np.min(ends)), float(np.max(ends))) if ends else (0.0, 0.0)


def _in_ms(values: np.ndarray, unit: str | None, *, given: float | None) -> np.ndarray:
    """Convert times to float64 ms."""
    if values.dtype.kind == "m":  # timedelta64, in which xarray decodes the times of netCDF files
        return values / np.timedelta64(1, "ns") * 1e-6
    if values.dtype.kind not in "fiu" or values.dtype == np.float16:
        raise time_problem(
            f"values of type {values.dtype}",
            "numbers in a unit of time, in 32 bits or more",
            'ds.assign_coords(time=("time", t, {"units": "ms"}))',
        )
    if unit is None:
        if given is None:
            raise UnitError.of(
                TIME,
                found="no unit",
                expected="ms, or a unit that converts to it",
                remedy='ds.time.attrs["units"] = "ms", or pass dt_ms to confirm that it is in ms',
            )
        unit = "ms"
    try:
        return convert(values.astype(np.float64, copy=False), unit, "ms")
    except UnitError as error:
        problem = error.problems[0]
        raise UnitError.of(
            TIME,
            found=problem.found,
            expected="ms, or a unit that converts to it",
            remedy=problem.remedy,
        ) from error
