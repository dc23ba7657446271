"""Signals from voltages: `V_m`, spikes, and the scope that the provenance supports; spike times and firing rates."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced, precision_of
from jaxfne_xr.core.carried import carried
from jaxfne_xr.core.dispatch import along, checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    JfneError,
    Problem,
    VariableError,
    raise_problems,
    warn,
)
from jaxfne_xr.core.inputs import as_dataset, find_voltage, require_time, structure_of, times_of
from jaxfne_xr.core.labels import misaligned
from jaxfne_xr.core.numeric import native
from jaxfne_xr.core.results import finish, finish_several, is_quantified, with_unit
from jaxfne_xr.core.schema import LONG_NAMES, STRUCTURE
from jaxfne_xr.core.spikes import spikes_of
from jaxfne_xr.core.time_axis import TIME, check_dt, coords_along, own_times_problems, sampling
from jaxfne_xr.core.types import Array, ArrayLike, Scalar, Time, TimeStep, Voltage
from jaxfne_xr.core.unit_checks import converted, kind_problems, unit_problem
from jaxfne_xr.core.units import bare, is_quantity, magnitude, unit_of, units_of
from jaxfne_xr.core.values import carries_unit, positive, scalar, values_in
from jaxfne_xr.kernels.grid import exact
from jaxfne_xr.kernels.signals import dead_time
from jaxfne_xr.kernels.signals import spikes as kernels
from jaxfne_xr.kernels.signals import surrogate as surrogates

#: The kernel of each spike rule, and the number of earlier samples that it needs.
SPIKE_RULES = {"crossing": (kernels.crossing, 1), "level": (kernels.level, 0)}
#: The kernels with a gradient, by rule and surrogate. Made once: for a new `partial`, JAX would compile again.
SURROGATE_RULES = {
    (rule, name): partial(getattr(surrogates, rule), surrogate=name)
    for rule in SPIKE_RULES
    for name in surrogates.SURROGATES
}
#: Default derivative of a spike at the threshold, 1/mV: one over 20 mV, about the distance from rest to threshold of a
#: neuron. The papers on surrogates use this distance as the unit of voltage, and a slope of 1.
SLOPE = 0.05
#: Default dead time of crossings, ms. With noise of some mV an upstroke, or the downstroke a millisecond later, crosses
#: the threshold several times; no neuron fires 500 times a second for long.
REFRACTORY_MS = 2.0


@public
def to_signals(
    ds: xr.Dataset | xr.DataArray,
    dt_ms: TimeStep | None = None,
    spike_threshold: Voltage | None = 0.0,
    spike_rule: str = "crossing",
    voltage: Hashable | None = None,
    source: str | Array | None = None,
    *,
    surrogate: str | None = None,
    slope: Scalar | None = None,
    refractory: Time | None = None,
) -> xr.Dataset:
    """Detect spikes and return Signals: the membrane voltage, its spikes, and their scope.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and any other dims, in any order; NumPy-, JAX- or dask-backed; its unit in
        ``attrs["units"]`` or as a pint quantity. From `traces`, from `from_jaxley`, or made by hand.
    dt_ms : float, str or pint.Quantity, optional
        Sampling interval, ms, if `ds` has no ``time`` coordinate. If it has one, the two must agree.
    spike_threshold : float, str, pint.Quantity or None
        Threshold, mV, rounded to the precision of the data; None for no spikes.
    spike_rule : {"crossing", "level"}
        ``"crossing"``: a sample at or above the threshold after one below it, and not within the dead time of another
        spike, so that each spike counts once. ``"level"``: every sample at or above the threshold.
    voltage : str, optional
        Name of the voltage. By default the variable ``v`` or ``V_m``, else the only one in a unit of voltage.
    source : str, array (dims of the voltage), xr.DataArray or pint.Quantity, optional
        Source current, nA: the name of a variable, or data with the sizes of the voltage. A bare array is read in nA
        and copied; labelled data are shared. By default the variable ``source``, if there is one.
    surrogate : {"fast_sigmoid", "arctan", "triangle"}, optional
        Surrogate gradient: the same spikes as floats, 0.0 and 1.0, with another derivative with respect to the voltage:
        s(V - threshold) for ``"level"``; for ``"crossing"``, s of the later sample minus s of the earlier one, where
        the voltage rises. With x = V - threshold in mV, s is ``slope / (1 + 2 slope |x|)^2`` (Zenke and Ganguli 2018),
        ``slope / (1 + (pi slope x)^2)`` (Fang et al. 2021), or ``slope max(0, 1 - slope |x|)`` (Esser et al. 2016,
        Bellec et al. 2018).
    slope : float, str or pint.Quantity, optional
        s at the threshold, 1/mV; 0.05/mV by default. The area of s is 1, so that the inverse of its slope is a width.
        For ``"triangle"``, which is 0 beyond ``1 / slope``, use one over the distance from rest to threshold.
    refractory : float, str or pint.Quantity, optional
        Dead time, ms: after a spike, no other for less than this; the first crossing counts. 2 ms by default, so that a
        noisy upstroke is one spike; 0 counts every crossing. Not for ``"level"``. Derivatives of a surrogate are those
        of all crossings.

    Returns
    -------
    xr.Dataset
        ``V_m`` (mV; the values are shared with `ds`, as xarray does, unless they had to be converted), ``spikes``
        (bool, or float with a surrogate), and ``source`` (nA) if one was given; every coordinate of the voltage,
        ``time`` in ms; axial conductances, if there are any; the scope and the provenance in attrs.

    Raises
    ------
    VariableError, UnitError, DimensionError, TimeAxisError, DataError, ArgumentError
        Each with a remedy to type. There are no partial results.
    NonFiniteError
        If the voltage has NaN or Inf: how many, and where the first is. Dask data are checked when computed; there is
        no check under a JAX trace.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([[-65.0, -65.0, 20.0, 30.0, -70.0]])
    >>> signals = to_signals(jfx.traces(v, dims=("unit", "time"), dt_ms=0.1))
    >>> signals.spikes.values.tolist()
    [[False, False, True, False, False]]
    >>> signals.attrs["source_calibration_status"]
    'uncalibrated_voltage_proxy'

    With a gradient, for a voltage in JAX:

    >>> import jax
    >>> def count(v):
    ...     ds = jfx.traces(v, dims=["time"], dt_ms=0.1, quantify=False)
    ...     return ds.jfne.to_signals(surrogate="arctan", slope="0.1 / mV").spikes.data.sum()
    >>> print(count(v[0]), jax.grad(count)(jax.numpy.array(v[0])).round(5))
    1.0 [ 0.      -0.00024  0.       0.00111  0.     ]
    """
    ds = as_dataset(ds, "ds")
    name = find_voltage(ds, voltage)
    require_time(ds, name)
    if source is None and "source" in ds.data_vars:
        source = "source"
    original = ds.variables[name]
    problems = kind_problems(original, str(name))
    if spike_rule not in SPIKE_RULES:
        problems.append(
            Problem(
                where="spike_rule",
                found=repr(spike_rule),
                expected=f"one of {list(SPIKE_RULES)}",
                remedy='spike_rule="crossing"',
                error=ArgumentError,
            )
        )
    problems += _surrogate_problems(surrogate, slope, spike_threshold)
    # Collect the problems of all arguments, so that one error lists them.
    threshold = time = steepness = dead = None
    try:
        if surrogate is not None:
            steepness = positive(SLOPE if slope is None else slope, "1/mV", "slope")
    except JfneError as error:
        problems += error.problems
    try:
        threshold = None if spike_threshold is None else threshold_mV(spike_threshold)
    except JfneError as error:
        problems += error.problems
    try:
        dead = refractory_ms(refractory, spike_rule)
    except JfneError as error:
        problems += error.problems
    try:
        step = None if dt_ms is None else check_dt(scalar(dt_ms, "ms", "dt_ms"))
        time, step = sampling(ds, step)
    except JfneError as error:
        problems += error.problems
    raise_problems(problems)

    v = converted(original, "mV", LONG_NAMES["V_m"])
    variables = {"V_m": v}
    if threshold is None:
        variables["V_m"] = checked(v, str(name))
    else:
        # For dask, one check in the graph serves V_m and spikes; otherwise the kernel checks in its own pass.
        if is_dask(magnitude(v.data)):
            variables["V_m"] = v = checked(v, str(name))
        kernel, look_back = SPIKE_RULES[spike_rule]
        how: dict[str, Any] = {"look_back": look_back, "fill": False, "dtype": np.bool_}
        numbers: list[Any] = [threshold]
        if surrogate is not None:
            kernel = SURROGATE_RULES[spike_rule, surrogate]
            how |= {"fill": 0.0, "dtype": surrogates.spike_dtype(magnitude(v.data).dtype)}
            numbers.append(steepness)
        spikes = along(kernel, v, TIME, *numbers, finite=str(name), **how)
        spikes = _apart(spikes, samples_apart(dead, step))
        spikes.attrs = {"long_name": LONG_NAMES["spikes"]}
        variables["spikes"] = spikes
    if source is not None:
        raise_problems(own_times_problems(source, "source", time=time, dims=v.dims))
        variables["source"] = _source(ds, source, v)

    declared: dict[str, Any] = {}
    if surrogate is not None:
        declared = {"surrogate": surrogate, "slope_per_mV": provenance.recorded(steepness)}
    if dead and threshold is not None:
        declared["refractory_ms"] = dead
    structure = structure_of(ds)
    coords = coords_along(ds, (*v.dims, *STRUCTURE), time)
    return provenance.extend(
        xr.Dataset(variables | structure, coords, ds.attrs),
        "to_signals",
        {
            "dt_ms": step,
            "precision": str(v.dtype),
            "spike_rule": spike_rule,
            "spike_threshold_mV": threshold,
            "source": "voltage" if source is None else "current",
            **declared,
        },
        stage="signals",
    )


@public
def spike_times(signals: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """List all spikes, ordered in time.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        From `to_signals`: ``spikes`` on ``time`` and any other dims.

    Returns
    -------
    xr.Dataset
        One dim ``spike``, whose coordinates are ``time`` (ms), each other dim of ``spikes`` (its labels, or its index
        if it has no coordinate), and all other coordinates along these dims. Scope and provenance are kept. A sample
        with a count has as many rows; one with a fraction, such as a mean over trials, has one row and the coordinate
        ``weight``, and a warning says so. NaN is no spike.

    Raises
    ------
    VariableError
        If there are no ``spikes``.
    DataError
        Under a JAX trace, where the number of spikes is not known.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([[-65.0, 20.0, -70.0, -70.0], [-65.0, -65.0, -65.0, 20.0]])
    >>> times = spike_times(jfx.traces(v, dims=("unit", "time"), dt_ms=0.5).jfne.to_signals())
    >>> times.time.values.tolist(), times.unit.values.tolist()
    ([0.5, 1.5], [0, 1])
    """
    signals = as_dataset(signals, "signals")
    spikes = spikes_of(signals).numbers
    if is_traced(spikes._data):
        raise DataError.of(
            "spikes",
            found="data that JAX traces",
            expected="concrete spikes: the number of rows depends on the values",
            remedy="call spike_times outside jit and grad; inside, use firing_rate or soft_spike_times",
        )
    # np.nonzero lists the entries in the order of the first axis: with time first, spikes are ordered in time.
    time_first = spikes.transpose(TIME, ...)
    numbers = np.asarray(time_first.data)
    where = np.nonzero(numbers)
    weight = numbers[where]
    fractions = (
        bool((np.abs(weight - np.rint(weight)) > 1e-3).any()) if weight.dtype.kind == "f" else False
    )
    if fractions:
        warn(
            "spikes: fractions, such as means over trials. Each sample with some is one row of the list, and the "
            "coordinate `weight` has its number of spikes"
        )
    elif weight.dtype != bool:  # a sample with three spikes is three rows
        where = tuple(np.repeat(index, np.rint(weight).astype(int)) for index in where)
    rows = {
        dim: xr.Variable("spike", index) for dim, index in zip(time_first.dims, where, strict=True)
    }
    labels = {dim: index for dim, index in rows.items() if dim not in signals.coords}
    for name, coord in signals.coords.items():
        if set(coord.dims) <= set(rows):
            values = np.asarray(magnitude(coord.variable.data))
            labels[name] = xr.Variable(coord.dims, values)[{d: rows[d] for d in coord.dims}]
            unit = units_of(coord)
            labels[name].attrs = {**coord.attrs, **({} if unit is None else {"units": unit})}
    if fractions:
        labels["weight"] = xr.Variable("spike", weight, {"units": "1", "long_name": "spikes"})
    # what it takes to make spikes of the list again: `simulate_external`
    time, dt_ms = sampling(signals, None) if TIME in signals.coords else (np.zeros(0), None)
    sampled = {"start_ms": float(time[0]), "dt_ms": dt_ms} if len(time) else {}
    shape = {"dims": [str(d) for d in spikes.dims], "shape": [int(n) for n in spikes.shape]}
    parameters = {**shape, **sampled, "labels": _labels_of(signals, spikes.dims)}
    return finish_several(
        signals, "spike_times", {}, parameters, coords=labels, stage="spike_times"
    )


@public
def firing_rate(signals: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Compute the mean firing rate of every site over all samples.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        From `to_signals`: ``spikes`` on ``time`` and any other dims. For a window, select it first:
        ``signals.sel(time=slice(100, 600))``.

    Returns
    -------
    xr.Dataset
        ``firing_rate`` (Hz) on every dim but ``time``: the number of spikes divided by ``n * dt``, where each of the
        n observed samples stands for one interval dt; NaN, a sample that was not observed, does not count. NaN for a
        site without an observed sample. JAX-backed spikes give a JAX array; spikes with a surrogate pass on their
        gradient.

    Raises
    ------
    VariableError
        If there are no ``spikes``.
    TimeAxisError
        If there is a single sample, whose interval is not known.
    DataError
        If the values are no numbers of spikes: negative, or fractions of which the record does not say what they are.

    Warns
    -----
    UserWarning
        If the time axis has other steps than the spikes were detected at, so that some may be lost or merged.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)
    >>> rate = firing_rate(jfx.traces(v, ["time"], dt_ms=0.1).jfne.to_signals())
    >>> round(float(rate.firing_rate.data.magnitude), 9)
    100.0
    """
    signals = as_dataset(signals, "signals")
    spikes, seen = spikes_of(signals)
    time, dt_ms = times_of(signals)
    axis = spikes.get_axis_num(TIME)
    dims = tuple(d for d in spikes.dims if d != TIME)
    with precision_of(spikes.data):
        if seen is None:
            rate = spikes.data.sum(axis=axis) / (len(time) * dt_ms * 1e-3)
        else:
            n = xr.Variable(dims, seen.data.sum(axis=axis))
            total = xr.Variable(dims, spikes.data.sum(axis=axis))
            rate = (total / (n.where(n > 0, 1) * (dt_ms * 1e-3))).where(n > 0).data
    return finish(
        signals,
        "firing_rate",
        xr.Variable(dims, rate),
        "Hz",
        {"start_ms": float(time[0]), "duration_ms": len(time) * dt_ms},
        stage="firing_rate",
    )


def _labels_of(signals: xr.Dataset, dims: Iterable[Hashable]) -> dict[str, list[Any] | None]:
    """Return the labels along dims other than time, to be recorded: None if they are numbers from 0."""
    found: dict[str, list[Any] | None] = {}
    for dim in dims:
        if dim == TIME:
            continue
        if dim not in signals.coords:
            found[str(dim)] = None
            continue
        values = np.asarray(magnitude(signals.variables[dim].data))
        kinds = {type(label) for label in values.tolist()}
        if values.dtype.kind in "iu" and np.array_equal(values, np.arange(len(values))):
            found[str(dim)] = None
        elif kinds in ({int}, {str}) or (kinds == {float} and np.isfinite(values).all()):
            found[str(dim)] = values.tolist()
    return found


def threshold_mV(value: Voltage) -> float:
    """Return the spike threshold in mV."""
    threshold = scalar(value, "mV", "spike_threshold")
    if not np.isfinite(threshold):
        raise ArgumentError.of(
            "spike_threshold",
            found=str(threshold),
            expected="a finite voltage, or None for no spikes",
            remedy='spike_threshold=0.0, or spike_threshold="-20 mV"',
        )
    return threshold


def refractory_ms(value: Time | None, spike_rule: str) -> float:
    """Return the dead time, ms, of a spike rule; by default `REFRACTORY_MS` for crossings and 0 for the level."""
    if value is None:
        return 0.0 if spike_rule == "level" else REFRACTORY_MS
    dead = scalar(value, "ms", "refractory")
    if not 0 <= dead < np.inf:
        raise ArgumentError.of(
            "refractory",
            found=f"{dead:g} ms",
            expected="a time of 0 or more",
            remedy='refractory="2 ms", or 0 to count every crossing',
        )
    if dead and spike_rule == "level":
        raise ArgumentError.of(
            "refractory",
            found=f"{dead:g} ms, for the rule 'level'",
            expected="none, since that rule marks every sample of a spike",
            remedy='spike_rule="crossing", or leave refractory out',
        )
    return dead


def samples_apart(dead_ms: float | None, dt_ms: float | None) -> int:
    """Return the least distance of two spikes in samples: the dead time, rounded up."""
    if not dead_ms or not dt_ms:
        return 1
    return max(1, math.ceil(exact(dead_ms) / exact(dt_ms)))


def _apart(spikes: xr.Variable, samples: int) -> xr.Variable:
    """Remove crossings less than `samples` after a spike; the derivative of spikes with a surrogate stays as it is."""
    if samples <= 2:  # between two crossings there is a sample below the threshold
        return spikes
    with precision_of(spikes.data):
        crossed = spikes if spikes.dtype == bool else xr.Variable(spikes.dims, spikes.data > 0)
    samples = min(samples, spikes.sizes[TIME])  # as good as any longer time
    kept = carried(dead_time.dead_time, dead_time.on_host, crossed, TIME, samples=samples)
    if spikes.dtype == bool:
        return kept
    if not is_jax(spikes.data):
        return kept.astype(spikes.dtype)
    # the value of those that stay, with the derivative of all crossings
    with precision_of(spikes.data):
        gone = jax.lax.stop_gradient(kept.data.astype(spikes.dtype) - spikes.data)
        return xr.Variable(spikes.dims, spikes.data + gone)


def _surrogate_problems(
    surrogate: str | None, slope: Scalar | None, spike_threshold: Voltage | None
) -> list[Problem]:
    """Return the problems of a surrogate, by itself and together with its slope and the threshold."""
    known = list(surrogates.SURROGATES)
    said = []
    if surrogate is not None and surrogate not in known:
        said.append(("surrogate", repr(surrogate), f"one of {known}", f'surrogate="{known[0]}"'))
    if surrogate is None and slope is not None:
        expected = "the surrogate whose slope it is"
        said.append(("slope", f"{slope!r} and no surrogate", expected, f'surrogate="{known[0]}"'))
    if surrogate is not None and spike_threshold is None:
        found, expected = "None and a surrogate", "a threshold: without one there are no spikes"
        said.append(
            ("spike_threshold", found, expected, "spike_threshold=0.0, or leave out surrogate")
        )
    return [Problem(*parts, ArgumentError) for parts in said]


def _source(ds: xr.Dataset, source: str | ArrayLike, v: xr.Variable) -> xr.Variable:
    """Return the source current in nA on the dims of the voltage `v`."""
    if isinstance(source, str):
        if source not in ds.data_vars:
            raise VariableError.of(
                "source",
                found=f"{source!r}, which is not among the variables {list(map(str, ds.data_vars))}",
                expected="the name of a current, or the current itself",
                remedy='ds.jfne.to_signals(source="i")',
            )
        variable = ds.variables[source]
    elif isinstance(source, (xr.DataArray, xr.Variable)):
        variable = source.variable if isinstance(source, xr.DataArray) else source
        native(bare(variable._data), "source.data")
        if isinstance(source, xr.DataArray):
            raise_problems(misaligned(ds, source, "source"))
    else:
        data: Array = source
        if not hasattr(source, "shape"):
            data = values_in(source, "nA", "source") if carries_unit(source) else np.asarray(source)
        native(bare(data), "source")  # of known size, and without a mask
        if np.shape(data) != v.shape:
            raise _misfit(f"an array of shape {np.shape(data)}", v)
        unit = unit_of(data) if is_quantity(data) else "nA"
        data = magnitude(data)
        data = np.array(data) if isinstance(data, np.ndarray) else data
        quantified = is_quantified(v, data if is_traced(data) else None)
        variable = with_unit(xr.Variable(v.dims, data), unit, quantify=quantified)
    if dict(variable.sizes) != dict(v.sizes):
        raise _misfit(f"{dict(variable.sizes)}", v)
    problems = kind_problems(magnitude(variable.data), "source")
    problems += unit_problem(variable, "source", "nA")
    raise_problems(problems)
    return checked(converted(variable, "nA", LONG_NAMES["source"]), "source")


def _misfit(found: str, v: xr.Variable) -> DimensionError:
    return DimensionError.of(
        "source",
        found=found,
        expected=f"one value for every value of the voltage, {dict(v.sizes)}",
        remedy="select or broadcast the current first; a DataArray is matched by the names of its dims",
    )
