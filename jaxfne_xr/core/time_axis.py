"""The time axis: float64 milliseconds that increase in even steps, checked and made here only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from jaxfne_xr.kernels.grid import exact, grid

from . import foreign
from .arrays import is_traced
from .errors import DimensionError, Problem, TimeAxisError, UnitError, renaming
from .numeric import native
from .types import Array, Window
from .units import bare, convert, unit_of, units_of
from .values import LARGEST, SMALLEST, parts, scalar, values_in

TIME = "time"

#: A Dataset whose units `interp` and `reindex` keep: those of xarray alone take them off quantities.
BARE = 'ds.pint.dequantify(format="~P")'
#: How many steps are checked at a time, which fit into a cache.
_BLOCK = 1 << 15
#: Relative difference up to which two sampling intervals count as equal.
DT_TOLERANCE = 1e-6
#: Share of a sampling interval up to which two times count as equal: more than rounding, even of times in float32, and
#: too little to matter for any analysis of samples.
SAME_TIME = 0.01


def time_problem(found: str, expected: str, remedy: str) -> TimeAxisError:
    """Make the error of a time axis that cannot be used."""
    return TimeAxisError.of(TIME, found=found, expected=expected, remedy=remedy)


def check_dt(dt_ms: float, name: str = "dt_ms") -> float:
    """Return the interval, ms, that `dt_ms` stands for: 0.3 for 0.1 + 0.2; raise unless it is positive and finite.

    `name` is that of the argument.
    """
    if not SMALLEST <= dt_ms <= LARGEST:
        raise TimeAxisError.of(
            name,
            found=f"{dt_ms}",
            expected="a positive, finite sampling interval in ms",
            remedy=f'{name}=0.025, or {name}="25 us"',
        )
    return float(exact(dt_ms))


def time_variable(values: np.ndarray) -> xr.Variable:
    """Make the time coordinate of float64 values in ms."""
    return xr.IndexVariable(TIME, values, {"units": "ms", "long_name": "time"})


def time_from_dt(dt_ms: float, length: int) -> np.ndarray:
    """Compute sample times in ms from 0: the doubles nearest to k times the decimal number `dt_ms`.

    They are the numbers that someone types: ``sel(time=0.3)`` finds the fourth sample at 0.1 ms.
    """
    return grid(0, float(dt_ms), length)


def as_typed(time: np.ndarray, dt_ms: float | None, slack: float = 0.0) -> np.ndarray:
    """Return even times as the doubles nearest to decimal numbers, if they differ from those by rounding only.

    Parameters
    ----------
    time : array (time)
        Computed times, ms, in even steps.
    dt_ms : float or None
        The interval.
    slack : float
        How much each time may be rounded, ms; at least as a double is.
    """
    if dt_ms is None or not len(time):
        return time
    made = grid(exact(float(time[0]), slack), dt_ms, len(time))
    # computed times have a rounding of the product, of a conversion, and of a sum
    rounding = 4 * np.finfo(np.float64).eps * max(abs(time[0]), abs(time[-1]))
    return made if np.abs(made - time).max() <= max(slack, rounding) else time


def same_times(times: np.ndarray, others: np.ndarray) -> bool:
    """Whether two time axes, ms, are the same up to rounding: as many samples, none a hundredth of an interval apart.

    This is the rule wherever data with a ``time`` are joined or compared; the times of the first are kept.
    """
    if times.shape != others.shape:
        return False
    if not times.size:
        return True
    dt = abs(times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0
    rounding = 1e-9 * max(1.0, abs(times[0]), abs(times[-1]))
    return bool(np.abs(times - others).max() <= max(SAME_TIME * dt, 0.0 if dt else rounding))


def time_remedy(times: np.ndarray, others: np.ndarray, one: str, other: str) -> str:
    """Return what to type to give two Datasets, called `one` and `other`, the same times.

    The samples that both have; or of another interval the means of the finer one, so that no sample is dropped.
    """
    steps = [(t[-1] - t[0]) / (len(t) - 1) if len(t) > 1 else 0.0 for t in (times, others)]
    a, b = steps
    if not a or not b:
        return f"more samples, the same ones of {one} and {other}"
    if abs(a - b) * max(len(times), len(others)) <= SAME_TIME * a:
        shift = (others[0] - times[0]) / a
        k = round(shift)
        first, stop = max(k, 0), min(len(times), len(others) + k)
        if stop > first and abs(shift - k) <= SAME_TIME:
            return (
                f"{one}.isel(time=slice({first}, {stop})) and "
                f"{other}.isel(time=slice({first - k}, {stop - k})), the samples of both"
            )
        return f"{other}.assign_coords(time={one}.time), if the two began at the same moment"
    many = round(max(a, b) / min(a, b))
    finer, coarse = (times, others) if a < b else (others, times)
    name = one if a < b else other
    shape = len(finer) // many == len(coarse)
    if shape and same_times(coarse, finer[: many * len(coarse) : many]):
        return f'{name}.coarsen(time={many}, boundary="trim", coord_func="min").mean(), its means'
    return "simulate or record both with one interval; means of the finer one fit only in whole numbers of its steps"


def times_text(time: np.ndarray) -> str:
    """Describe a time axis for an error: ``"2000 samples from 0 to 199.9 ms, every 0.1 ms"``."""
    if len(time) < 2:
        return f"{len(time)} sample" + (f" at {time[0]:g} ms" if len(time) else "s")
    dt = float(exact((time[-1] - time[0]) / (len(time) - 1)))
    return f"{len(time)} samples from {time[0]:.9g} to {time[-1]:.9g} ms, every {dt:.9g} ms"


def own_times(data: Array) -> np.ndarray | None:
    """Return the sample times, ms, of a signal that carries them, such as Neo's; None for any other array."""
    found = foreign.sample_times(data)
    if found is None:
        return None
    first, interval = found
    if interval is None:
        return np.asarray(values_in(first, "ms", TIME))
    step = scalar(interval, "ms", "sampling_period")
    return grid(exact(scalar(first, "ms", "t_start")), step, data.shape[0])


def own_times_problems(
    data: Array,
    name: str,
    *,
    time: Array | None = None,
    dt_ms: float | None = None,
    dims: Sequence[Hashable] = (TIME,),
) -> list[Problem]:
    """Return the problem of a signal with times of its own that differ from `time` or `dt_ms` (ms), or not along them.

    `dims` are those of its axes.
    """
    if isinstance(data, (list, tuple)) and any(own_times(x) is not None for x in data):
        several = "a list of signals with times of their own"
        remedy = 'jfx.concat([jfx.traces(s, ("time", "unit")) for s in signals], "trial")'
        return [Problem(name, several, "one signal at a time", remedy, TimeAxisError)]
    own = own_times(data)
    if own is None:
        return []
    if dims[0] != TIME:
        order = (TIME, *(str(d) for d in dims if d != TIME))
        said = f"times of its own along its first axis, and the dims {[*map(str, dims)]}"
        expected = "time first: a transposed signal of Neo has wrong times"
        remedy = f"leave out .T and name the dims {order}"
        return [Problem(name, said, expected, remedy, DimensionError)]
    other = None if time is None else np.asarray(values_in(time, "ms", TIME))
    found = None
    if other is not None and not same_times(own, np.ravel(other)):
        ends = (f"{x[0]:g} to {x[-1]:g} ms" if x.size else "none" for x in (own, np.ravel(other)))
        found = "times of its own from {}, and times from {}".format(*ends)
    elif dt_ms is not None and len(own) > 1:
        step = (own[-1] - own[0]) / (len(own) - 1)
        if abs(step - dt_ms) > DT_TOLERANCE * dt_ms:
            found = f"times of its own in steps of {step:g} ms, and dt_ms={dt_ms:g}"
    if found is None:
        return []
    expected = "the two to agree, or the times of the signal alone"
    remedy = (
        f'leave out dt_ms and time; or pass its numbers, {name}.magnitude, in "{unit_of(data)}"'
    )
    return [Problem(name, found, expected, remedy, TimeAxisError)]


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
        first, last = parts(window, "ms", "window")
    except UnitError:
        raise
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
    slack = SAME_TIME * dt_ms if dt_ms else DT_TOLERANCE
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
            remedy=renaming(ds.sizes, TIME),
        )
    length = ds.sizes[TIME]
    if length == 0:
        raise time_problem("no samples", "at least one sample", "check the selection that led here")
    if dt_ms is not None:
        dt_ms = check_dt(dt_ms)
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
    time = in_ms(np.asarray(raw), units_of(variable), given=dt_ms)
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
        few = raw.dtype.kind == "f" and raw.dtype.itemsize < 8
        slack = np.finfo(raw.dtype).eps * abs(time[0]) if few else 0.0
        return np.array([float(exact(float(time[0]), slack))]) if few else time, dt_ms
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
            _even_remedy(time, np.asarray(raw)),
        )
    if dt_ms is not None and abs(mean - dt_ms) > DT_TOLERANCE * dt_ms + rounding / (len(time) - 1):
        raise time_problem(
            f"a time coordinate with steps of {mean:.9g} ms, and dt_ms={dt_ms:.9g}",
            "the two to agree",
            'leave dt_ms out, or ds.drop_vars("time") so that dt_ms defines the times',
        )
    step = dt_ms
    if step is None:
        step = float(exact(float(mean), rounding / (len(time) - 1)))
    if raw.dtype.kind == "m" or (raw.dtype.kind == "f" and raw.dtype.itemsize < 8):
        # These were rounded unevenly; the first and last time give a more exact interval than any step.
        slack = 5e-7 if raw.dtype.kind == "m" else eps * abs(time[0])
        time = grid(exact(float(time[0]), slack), step, len(time))
    elif units_of(variable) not in (None, "ms"):
        time = as_typed(time, step)  # a conversion rounds again
    return time, step


def _even_remedy(time: np.ndarray, raw: np.ndarray) -> str:
    """Return what to type to get even times of increasing ones, ms, that are stored as `raw`.

    Where samples are missing, nothing is put there but NaN; only times that vary throughout are interpolated.
    """
    steps = np.diff(time)
    many = np.rint(steps / np.sort(steps)[(len(steps) - 1) // 2])  # of the lower median
    jumps = np.flatnonzero(many > 1)
    interval = steps.sum() / max(many.sum(), 1)
    on_grid = many.min() > 0 and np.abs(steps - many * interval).max() <= SAME_TIME * interval
    kind = ""
    if raw.dtype.kind == "m":
        raw, kind = raw.astype("m8[ns]").astype(np.int64), '.astype("m8[ns]")'
    if not jumps.size or not (on_grid or jumps.size < 0.1 * len(steps)):
        ends = f"{raw[0]:.12g}, {raw[-1]:.12g}, {float(np.median(np.diff(raw))):.12g}"
        return f"resample first: {BARE}.interp(time=np.arange({ends}){kind})"
    longest = int(np.argmax(np.diff([-1, *jumps, len(time) - 1])))
    start, stop = [0, *(jumps + 1), len(time)][longest : longest + 2]
    part = f"samples without a gap: ds.isel(time=slice({start}, {stop}))"
    if not on_grid:
        return part
    total = int(many.sum())
    eps = np.finfo(raw.dtype if raw.dtype.kind == "f" else np.float64).eps
    first, last = float(raw[0]), float(raw[-1])
    step = float(exact((last - first) / total, 2 * eps * max(abs(first), abs(last)) / total))
    times = f"(np.arange({total + 1}) * {step:.15g} + {first:.12g})" + (kind or ".round(12)")
    near = f'np.timedelta64({round(step / 4)}, "ns")' if kind else f"{step / 4:.6g}"
    filled = f'{BARE}.reindex(time={times}, method="nearest", tolerance={near})'
    return f"{filled}, with NaN in the gap; or {part}"


def _steps_range(time: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest step, not finite if a time is not; without an array of all steps."""
    ends: list[float] = []
    with np.errstate(invalid="ignore"):  # infinite times
        for start in range(0, len(time) - 1, _BLOCK):
            steps = np.diff(time[start : start + _BLOCK + 1])
            ends += [steps.min(), steps.max()]
    return (float(np.min(ends)), float(np.max(ends))) if ends else (0.0, 0.0)


def in_ms(values: np.ndarray, unit: str | None, *, given: float | None = 1.0) -> np.ndarray:
    """Convert times to float64 ms; without a unit they are in ms if `given`, an interval, confirms it."""
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
