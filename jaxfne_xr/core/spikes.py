"""Numbers of spikes: what each sample of ``spikes`` stands for is decided here, for every function that reads them.

* Each sample holds a number of spikes: true or false, a count, or an expected number (a mean over trials).
* NaN is a sample that was not observed: rates and means are over the observed samples, and where each sample is needed,
  as for a synaptic current, NaN is refused.
* The record says at which interval spikes were detected. On an axis with other steps, whole numbers are sums over bins,
  fractions that are whole after multiplication by the number of samples are means over bins, and so are counts again.
  What may have lost or merged spikes, one at most per sample at another interval, is named in a warning, and so is what
  may count spikes several times, two in successive samples where crossings cannot be; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from . import provenance
from .arrays import is_dask, is_traced, precision_of
from .dispatch import checked, mean_over
from .errors import DataError, JfneError, NonFiniteError, Problem, raise_problems, warn
from .inputs import how_signals, require_time, variable_of
from .time_axis import SAME_TIME, TIME, in_ms
from .types import Array
from .unit_checks import kind_problems, unit_problem
from .units import magnitude, units_of

#: The functions whose record has the interval at which spikes were detected.
DETECTING = ("to_signals", "external_spikes")
#: How far a number of spikes may be from a whole one: more than the rounding of a mean in float32.
_ROUNDING = 1e-3


class Spikes(NamedTuple):
    """Spikes of Signals.

    Attributes
    ----------
    numbers : xr.Variable
        Number of spikes in each sample, bare; 0 where it was not observed.
    seen : xr.Variable or None
        1 where a sample was observed, else 0, in the precision of `numbers`; None if all were.
    """

    numbers: xr.Variable
    seen: xr.Variable | None

    def mean(self, dims: Iterable[Hashable]) -> xr.Variable:
        """Return the mean number of spikes per observed sample over some dims; NaN where none was observed."""
        dims = list(dims)
        mean = mean_over(self.numbers, dims)
        if self.seen is None:
            return mean
        share = mean_over(self.seen, dims)
        with precision_of(mean.data):
            return (mean / share.where(share > 0, 1)).where(share > 0)


def raw_spikes(signals: xr.Dataset) -> xr.Variable:
    """Return the variable ``spikes`` as it is; raise if there is none, or it has no ``time`` dim."""
    how = how_signals(signals, "spikes")
    spikes = variable_of(signals, "spikes", "Signals with spikes", how)
    require_time(signals, "spikes")
    return spikes


def spikes_of(signals: xr.Dataset) -> Spikes:
    """Return the number of spikes in each sample of Signals, and which samples were observed.

    Raises
    ------
    VariableError, DimensionError
        If there are no ``spikes``, or they have no ``time`` dim.
    DataError
        If they are not numbers of spikes: of another type, negative, infinite, or fractions of which the record does
        not say what they stand for. Values of dask and traced data are not checked, except for dask data at another
        interval.
    """
    variable = raw_spikes(signals)
    data = magnitude(variable.data)
    kind = np.dtype(data.dtype).kind
    if kind == "b":
        _warn_of_steps(_steps(signals))
        return Spikes(xr.Variable(variable.dims, data), None)
    problems = kind_problems(data, "spikes")
    if not problems and units_of(variable) is not None:
        problems += unit_problem(variable, "spikes", "1")
    raise_problems(problems)
    known = not (is_dask(data) or is_traced(data))
    if known:
        raise_problems(value_problems(np.asarray(data), variable.dims))
    numbers = xr.Variable(variable.dims, data)
    seen = None
    if kind == "f" and not (known and not np.isnan(np.asarray(data)).any()):
        with precision_of(data):
            missing = numbers != numbers  # NaN alone differs from itself
            seen = (~missing).astype(data.dtype)
            numbers = numbers.where(~missing, 0)
    many = _meaning(signals, numbers)
    with precision_of(data):
        return Spikes(numbers if many == 1 else numbers * many, seen)


def all_spikes_of(signals: xr.Dataset) -> xr.Variable:
    """Return the number of spikes in each sample, for a function that needs every sample.

    Raises
    ------
    NonFiniteError
        If a sample was not observed: now, or when dask computes it. Not checked under a JAX trace.
    """
    numbers, seen = spikes_of(signals)
    # of data that JAX differentiates, which of them are NaN may be known
    if seen is None or is_traced(seen.data):
        return numbers
    if is_dask(seen.data):
        raw = raw_spikes(signals)
        return numbers + 0 * checked(xr.Variable(raw.dims, magnitude(raw.data)), "spikes")
    missing = int((np.asarray(seen.data) == 0).sum())
    if not missing:
        return numbers
    raise NonFiniteError.of(
        "spikes",
        found=f"{missing} of {seen.size} samples that were not observed (NaN)",
        expected="a number of spikes in every sample",
        remedy="select observed samples, or signals.fillna({'spikes': 0}) if there were no spikes",
    )


def value_problems(array: np.ndarray, dims: Iterable[Hashable]) -> list[Problem]:
    """Return the problem of values that cannot be numbers of spikes: negative or infinite ones; NaN is a gap."""
    if array.dtype.kind in "bu":
        return []
    bad = (array < 0) | (array == np.inf)
    if not bad.any():
        return []
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    place = ", ".join(f"{d}={i}" for d, i in zip(dims, first, strict=True))
    return [
        Problem(
            where="spikes",
            found=f"{int(bad.sum())} of {array.size} values negative or infinite; "
            f"the first is {array[first]:g} at index {place}",
            expected="numbers of spikes: 0 or more, NaN where nothing was observed",
            remedy="signals.where(signals.spikes >= 0), or ds.jfne.to_signals(), which makes them",
            error=DataError,
        )
    ]


def unchecked(ds: xr.Dataset) -> list[str]:
    """Return what `validate` cannot tell about spikes on an axis with other steps than they were detected at."""
    try:
        steps = _steps(ds)
    except JfneError:
        return []
    if steps is None:
        return []
    return [f"whether each spike counts once ({_steps_text(*steps)})"]


def _meaning(signals: xr.Dataset, numbers: xr.Variable) -> int:
    """Return by what to multiply values to get numbers of spikes: 1, or the number of samples in a mean."""
    data = numbers.data
    steps = _steps(signals)
    if steps is None and (is_traced(data) or is_dask(data)):
        return 1
    if steps is None and _detected_at(signals) is not None:
        _warn_of_neighbours(signals, numbers)
        return 1  # fractions at the interval of detection are means over trials
    if is_traced(data):
        if np.dtype(data.dtype).kind in "iu":
            return 1  # no means
        raise DataError.of(
            "spikes",
            found=f"{_steps_text(*steps or (1, 1))}, under a JAX trace",
            expected="concrete numbers: whether these are sums or means over bins depends on the values",
            remedy="signals.jfne.firing_rate() before the samples are combined",
        )
    values = np.asarray(data)
    if _whole(values):
        if steps is not None and values.max(initial=0) <= 1:
            _warn_of_steps(steps)
        return 1
    ratio = steps[0] / steps[1] if steps else 0.0
    many = round(ratio)
    if many > 1 and abs(ratio - many) < SAME_TIME and _whole(values * many):
        return many
    found = "fractions of spikes" + (f", and {_steps_text(*steps)}" if steps else ", and no record")
    raise DataError.of(
        "spikes",
        found=found,
        expected="whole numbers, or fractions of which the record says what they are means of",
        remedy='signals.jfne.firing_rate().mean("trial") of means over trials; '
        "signals[['spikes']].coarsen(time=10).sum() for bins",
    )


def _whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or bool((np.abs(values - np.rint(values)) <= _ROUNDING).all())


def _detection(signals: xr.Dataset) -> tuple[str, dict[str, Any]]:
    """Return the function of the record that detected the spikes, and its parameters."""
    steps = reversed(provenance.steps_of(signals))
    found = ((s["function"], s["parameters"]) for s in steps if s["function"] in DETECTING)
    return next(found, ("", {}))


def _detected_at(signals: xr.Dataset) -> float | None:
    """Return the interval at which spikes were detected, ms; None if the record does not say."""
    dt_ms = _detection(signals)[1].get("dt_ms")
    return float(dt_ms) if isinstance(dt_ms, (int, float)) and dt_ms > 0 else None


def _steps(signals: xr.Dataset) -> tuple[float, float] | None:
    """Return the step of the axis and the interval of detection, ms, if they differ; else None."""
    if signals.sizes[TIME] < 2 or TIME not in signals.coords:
        return None
    detected = _detected_at(signals)
    if detected is None:
        return None
    variable = signals.variables[TIME]
    raw: Array = np.asarray(magnitude(variable[:2].data))
    time = in_ms(raw, units_of(variable))
    step = float(time[1] - time[0])
    rounding = 4 * np.finfo(raw.dtype if raw.dtype.kind == "f" else float).eps * abs(time[1])
    return None if abs(step - detected) <= SAME_TIME * detected + rounding else (step, detected)


def _steps_text(step: float, detected: float) -> str:
    return f"detected every {detected:g} ms, on a time axis with steps of {step:g} ms"


def _warn_of_steps(steps: tuple[float, float] | None) -> None:
    if steps is not None:
        warn(
            f"spikes: {_steps_text(*steps)}, and at most one in a sample. Unless these are sums over bins, which are "
            "exact, spikes between the samples are lost, or several are merged into one, and counts and rates may be "
            "too low. Sums of the spikes as they were detected: "
            f"signals[['spikes']].coarsen(time={max(2, round(steps[0] / steps[1]))}).sum()"
        )


def _warn_of_neighbours(signals: xr.Dataset, numbers: xr.Variable) -> None:
    """Warn of more than one spike in two successive samples: between two crossings there is one below the threshold."""
    function, how = _detection(signals)
    if function != "to_signals" or how.get("spike_rule") != "crossing":
        return
    values = np.moveaxis(np.asarray(numbers.data), numbers.get_axis_num(TIME), 0)
    pairs = values[1:] + values[:-1] if len(values) > 1 else values
    most = pairs.max(initial=0)
    if most > 1 + _ROUNDING:
        warn(
            f"spikes: up to {most:g} in two successive samples, where one site has one at most. Sums over sites or "
            "trials are exact; sums over windows that overlap, such as rolling(time=10).sum() or cumsum, count each "
            "spike several times, and rates are too high. Sums over time without overlap: "
            "signals[['spikes']].coarsen(time=10).sum()"
        )
