"""Spikes from lists of spike times: the inverse of `spike_times`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    NonFiniteError,
    TimeAxisError,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.results import assemble
from jaxfne_xr.core.time_axis import SAME_TIME, TIME, check_dt, in_ms
from jaxfne_xr.core.types import Time
from jaxfne_xr.core.unit_checks import unit_problem
from jaxfne_xr.core.units import bare, magnitude, units_of
from jaxfne_xr.core.values import scalar, values_in
from jaxfne_xr.kernels.grid import exact, grid

#: The dim of a list of spikes, and the coordinate with the number of spikes that a row stands for.
SPIKE, WEIGHT = "spike", "weight"


def is_spike_list(source: object, duration: Time | None) -> bool:
    """Whether the input of a model is a list of spike times, and not an array of spikes."""
    if isinstance(source, (xr.Dataset, xr.DataArray)):
        return SPIKE in source.dims and TIME not in source.dims
    return isinstance(source, (list, tuple)) and (duration is not None or _ragged(source))


def spikes_from_list(
    source: xr.Dataset | xr.DataArray | Sequence[Any],
    sites: int,
    dt_ms: Time | None,
    duration: Time | None,
) -> xr.Dataset:
    """Make ``spikes`` on ``time`` and the other dims of a list of spike times.

    Parameters
    ----------
    source : xr.Dataset or xr.DataArray with the dim ``spike``, or a sequence of arrays
        From `spike_times`: its coordinates ``time``, ``unit`` and others along ``spike``; or the times of each site,
        ms, or as quantities.
    sites : int
        Number of sites.
    dt_ms : float, str or pint.Quantity, optional
        Sampling interval, ms; by default that of the record.
    duration : float, str or pint.Quantity, optional
        Duration, ms; by default that of the record.

    Returns
    -------
    xr.Dataset
        ``spikes``: true in the first sample at or after each time, where `to_signals` marks a crossing; of several
        spikes in one sample their number.

    Raises
    ------
    TimeAxisError, DimensionError, DataError, ArgumentError, UnitError
        If the interval or the duration is not known, a site is unknown, or a time lies outside.
    """
    if isinstance(source, (xr.Dataset, xr.DataArray)):
        ds = source if isinstance(source, xr.Dataset) else source.coords.to_dataset()
        record, epsilon = _recorded(ds), None
    else:
        (ds, epsilon), record = _as_dataset(source, sites), {}
    start = float(record.get("start_ms", 0.0))
    step, n = _sampled(record, dt_ms, duration)
    sizes = {**record.get("sizes", {TIME: n, "unit": sites}), TIME: n}
    if TIME not in ds.coords:
        found = f"the coordinates {[str(c) for c in ds.coords]}"
        expected, remedy = (
            "the time of each spike",
            'ds.assign_coords(time=("spike", times, {"units": "ms"}))',
        )
        raise VariableError.of(TIME, found=found, expected=expected, remedy=remedy)
    at = ds[TIME].variable
    if at.dtype.kind != "m":
        raise_problems(unit_problem(at, TIME, "ms"))
    times = in_ms(np.asarray(magnitude(at.data)), units_of(at))
    epsilon = _epsilon(at.data) if epsilon is None else epsilon
    index: dict[str, np.ndarray] = {TIME: _samples(times, start, step, n, epsilon)}
    coords: dict[str, Any] = {}
    for dim, size in sizes.items():
        if dim != TIME:
            index[dim], labels = _places(ds, dim, size, record)
            coords |= {} if labels is None else {dim: labels}
    made = _counted([index[d] for d in sizes], [*sizes.values()], ds)
    variable = xr.Variable(tuple(sizes), made)
    parameters = {"dims": list(sizes), "dt_ms": step, "of": "spike times"}
    new = assemble(
        {"spikes": (variable, None)},
        grid(exact(start), step, n),
        coords,
        quantify=False,
        function="spikes",
        parameters=parameters,
        stage="traces",
        origin="array",
    )
    if provenance.KEY not in ds.attrs:
        return new
    return provenance.extend(new, "spikes", parameters, stage="traces", of=ds)


def _ragged(source: Sequence[Any]) -> bool:
    """Whether a sequence is no array of numbers: its parts have several lengths."""
    try:
        return len({np.shape(part) for part in source}) > 1
    except ValueError:  # the lists inside a part have several lengths
        return True


def _epsilon(times: Any) -> float:
    """Return the relative precision of the numbers that times were given in: that of the coarsest of a list."""
    if isinstance(times, (list, tuple)):
        return max((_epsilon(t) for t in times if type(t) is not float), default=0.0)
    dtype = getattr(bare(times), "dtype", None)
    return float(np.finfo(dtype).eps) if dtype is not None and dtype.kind == "f" else 0.0


def _as_dataset(source: Sequence[Any], sites: int) -> tuple[xr.Dataset, float]:
    """Return spike times of each site as a Dataset on ``spike``, and the relative precision of the coarsest."""
    if len(source) != sites:
        raise DimensionError.of(
            "source",
            found=f"a list of {len(source)}",
            expected=f"the spike times of each of the {sites} sites of the network, an empty list for none",
            remedy=f"cfg.network(n={len(source)}), or a list of {sites} arrays",
        )
    trains = [np.asarray(values_in(train, "ms", f"source[{k}]")) for k, train in enumerate(source)]
    wrong = [k for k, train in enumerate(trains) if train.ndim != 1]
    if wrong:
        raise DimensionError.of(
            f"source[{wrong[0]}]",
            found=f"times of shape {trains[wrong[0]].shape}",
            expected="one list of times for each site",
            remedy="[times] for a single site",
        )
    unit = np.repeat(np.arange(sites), [len(train) for train in trains])
    times = np.concatenate([np.zeros(0), *trains])
    ds = xr.Dataset(coords={TIME: (SPIKE, times, {"units": "ms"}), "unit": (SPIKE, unit)})
    return ds, _epsilon(list(source))


def _recorded(ds: xr.Dataset) -> Mapping[str, Any]:
    """Return what `spike_times` recorded of the samples that a list was made of."""
    steps = reversed(provenance.steps_of(ds))
    found = (s["parameters"] for s in steps if s["function"] == "spike_times")
    record: Mapping[str, Any] = next(found, {})
    if record.get("dt_ms") is None:
        return {}
    return {**record, "sizes": dict(zip(record["dims"], record["shape"], strict=True))}


def _sampled(
    record: Mapping[str, Any], dt_ms: Time | None, duration: Time | None
) -> tuple[float, int]:
    """Return the sampling interval, ms, and the number of samples."""
    known = record.get("dt_ms")
    step = check_dt(scalar(dt_ms, "ms", "dt_ms")) if dt_ms is not None else known
    if step is None:
        expected, remedy = "the sampling interval", "model.simulate_external(times, dt_ms=0.1)"
        raise TimeAxisError.of("dt_ms", found="none", expected=expected, remedy=remedy)
    if duration is None and known is None:
        raise TimeAxisError.of(
            "duration",
            found="none, and a list of spike times does not say when the recording ended",
            expected="the duration",
            remedy=f'model.simulate_external(times, dt_ms={step:g}, duration="1 s")',
        )
    if duration is None:
        length = float(known or 0.0) * int(record["sizes"][TIME])
    else:
        length = scalar(duration, "ms", "duration")
    samples = round(length / step) if np.isfinite(length) else 0
    if samples < 1:
        found, expected = f"{length:g} ms", f"at least one sample of {step:g} ms"
        raise ArgumentError.of("duration", found=found, expected=expected, remedy='duration="1 s"')
    return float(step), samples


def _samples(times: np.ndarray, start: float, step: float, n: int, epsilon: float) -> np.ndarray:
    """Return the first sample at or after each time, of numbers with a relative precision."""
    if not np.isfinite(times).all():
        raise NonFiniteError.of(
            TIME,
            found=f"{int((~np.isfinite(times)).sum())} of {times.size} spike times not finite",
            expected="the time of each spike",
            remedy="times[np.isfinite(times)] of each site",
        )
    # A time that is a sample's up to rounding is that sample's. Numbers in 32 bits round times by more than the rule
    # for equal times allows; where they cannot tell two samples apart, the nearest sample is as good as any.
    rounding = epsilon * np.abs(times).max(initial=0.0) / step
    slack = min(SAME_TIME + rounding, 0.5)
    sample = np.ceil((times - start) / step - slack).astype(int)
    outside = (sample < 0) | (sample >= n) | (times < start - slack * step)
    if outside.any():
        last = start + (n - 1) * step
        raise DataError.of(
            TIME,
            found=f"{int(outside.sum())} of {times.size} spike times outside, the first at {times[outside][0]:g} ms",
            expected=f"times from {start:g} to {last:g} ms, that of the last sample",
            remedy=f'duration="{(np.ceil((times.max() - start) / step) + 1) * step:.9g} ms"'
            if times.min() >= start
            else "times from the start of the recording on: times[times >= 0]",
        )
    return sample


def _places(
    ds: xr.Dataset, dim: str, size: int, record: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the index of each spike along a dim, and the labels of that dim if it has any."""
    if dim not in ds.coords:
        if size == 1 or not ds.sizes.get(SPIKE):
            return np.zeros(ds.sizes.get(SPIKE, 0), int), None
        found, expected = f"no coordinate {dim!r}", f"which of the {size} each spike is of"
        remedy = f'times.assign_coords({dim}=("{SPIKE}", index))'
        raise DimensionError.of(dim, found=found, expected=expected, remedy=remedy)
    values = np.asarray(magnitude(ds[dim].variable.data))
    known = record.get("labels", {})
    if known.get(dim) is not None:
        return _found(values, np.asarray(known[dim]), dim)
    labels, index = np.unique(values, return_inverse=True)
    numbers = values.dtype.kind in "iu" and set(labels.tolist()) <= set(range(size))
    # numbers from 0, unless a list of an earlier version says only the labels of those that had spikes
    if (numbers and (dim in known or len(labels) == size or not _listed(ds))) or not values.size:
        return values.astype(int), np.arange(size)
    if len(labels) != size and numbers:
        raise DimensionError.of(
            dim,
            found=f"the labels {labels[:3].tolist()}..., of a list that does not say all {size}",
            expected=f"a spike of each of the {size}, or a list that says which labels there are",
            remedy=f"[times.time.values[times.{dim} == label] for label in labels], with duration=; "
            "or spike_times again",
        )
    if len(labels) != size:
        raise DimensionError.of(
            dim,
            found=f"{len(labels)} labels in the list, {labels[:3].tolist()}...",
            expected=f"numbers from 0 to {size - 1}, or a spike of each of the {size}: the list does not name others",
            remedy=f'times.assign_coords({dim}=("{SPIKE}", index)) with the number of each',
        )
    return index.ravel(), labels


def _found(values: np.ndarray, labels: np.ndarray, dim: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each value among labels, and the labels."""
    values = np.asarray(values.tolist(), None if values.size else labels.dtype)
    order = np.argsort(labels, kind="stable")
    place = np.searchsorted(labels[order], values).clip(max=len(labels) - 1)
    index = order[place]
    wrong = labels[index] != values
    twice = len(np.unique(labels)) < len(labels)
    if not wrong.any() and not twice:
        return index, labels
    found = f"labels {labels[:3].tolist()}... that are not unique"
    if wrong.any():
        found = f"a spike of {values[wrong][0]}, and the labels {labels[:3].tolist()}..."
    raise DimensionError.of(
        dim,
        found=found,
        expected="spikes of the sites that the list was made of, each with a label of its own",
        remedy=f"signals.assign_coords({dim}=np.arange(signals.sizes[{dim!r}])) before spike_times",
    )


def _listed(ds: xr.Dataset) -> bool:
    """Whether `spike_times` made a list."""
    return any(s["function"] == "spike_times" for s in provenance.steps_of(ds))


def _counted(index: list[np.ndarray], shape: list[int], ds: xr.Dataset) -> np.ndarray:
    """Return the number of spikes in each sample: true or false, if there are no two in one."""
    if WEIGHT in ds.coords:
        weighted = np.zeros(shape)
        np.add.at(weighted, tuple(index), np.asarray(magnitude(ds[WEIGHT].variable.data), float))
        return weighted
    counts = np.zeros(shape, np.int32)
    np.add.at(counts, tuple(index), 1)
    return counts.astype(bool) if counts.max(initial=0) <= 1 else counts
