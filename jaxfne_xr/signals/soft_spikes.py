"""Spike times and firing rates that follow the voltage smoothly, for losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.dispatch import checked, whole
from jaxfne_xr.core.errors import ArgumentError, Problem, raise_problems
from jaxfne_xr.core.inputs import (
    as_dataset,
    find_voltage,
    in_unit,
    kind_problems,
    require_time,
    times_of,
)
from jaxfne_xr.core.provenance import recorded
from jaxfne_xr.core.results import finish, finish_several
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.units import magnitude, positive, scalar
from jaxfne_xr.kernels.signals import soft_spikes as kernels

from .spikes import SLOPE, threshold_mV


def soft_spike_times(
    signals: xr.Dataset | xr.DataArray, n: int, *, spike_threshold: Any = 0.0, fill: Any = None
) -> xr.Dataset:
    """Return the times of the first n spikes of every site, between the samples, with a gradient.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and any other dims, in any order: Signals, or traces.
    n : int
        How many to return: a fixed number, so that it works under ``jit``.
    spike_threshold : float, str or pint.Quantity
        mV.
    fill : float, str or pint.Quantity, optional
        What stands where a site has fewer than n, ms. By default NaN; in a loss take the end of the window, so that a
        missing spike counts as a late one.

    Returns
    -------
    xr.Dataset
        ``spike_time`` (ms) with ``spike`` (0 ... n - 1) in the place of time,
        ``t* = t[k-1] + dt (threshold - V[k-1]) / (V[k] - V[k-1])`` for each ``V[k-1] < threshold <= V[k]``; and
        ``spike_count`` (1), the number of all spikes of a site: entries from there on are `fill`, and those beyond n
        are not returned.

    Raises
    ------
    ArgumentError, UnitError
        If n is not a positive whole number, or `fill` or the threshold is in another unit.
    TimeAxisError
        If there is only one sample.

    Notes
    -----
    The gradient is that of the implicit function, ``dt* = -dV(t*) / (dV/dt)``: exact, finite, and large where the
    voltage only grazes the threshold. That a spike comes or goes it cannot see; `soft_firing_rate` can. Times have the
    precision of the voltage: in float32, 10 s are known to 1 us. `spike_times` lists all spikes at their samples.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([[-10.0, 10.0, -30.0, 10.0], [-65.0, -65.0, -65.0, -65.0]])
    >>> made = soft_spike_times(jfx.traces(v, dims=("unit", "time"), dt_ms=0.1), 3)
    >>> made.spike_time.data.magnitude.round(3).tolist(), made.spike_count.data.magnitude.tolist()
    ([[0.05, 0.275, nan], [nan, nan, nan]], [2, 0])
    """
    signals = as_dataset(signals, "signals")
    name, v, time, dt_ms = _voltage(signals)
    problems = []
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        problems.append(
            Problem(
                where="n",
                found=repr(n),
                expected="how many spikes to return, a whole number from 1",
                remedy="n=10",
                error=ArgumentError,
            )
        )
    raise_problems(problems)
    threshold = threshold_mV(spike_threshold)
    fill_ms = float("nan") if fill is None else scalar(fill, "ms", "fill")
    numbers = (threshold, float(time[0]), dt_ms, fill_ms)
    times = whole(kernels.crossing_times, v, TIME, *numbers, new_dim="spike", n=int(n))
    count = whole(kernels.crossing_count, v, TIME, threshold)
    return finish_several(
        signals,
        "soft_spike_times",
        {"spike_time": (times, "ms"), "spike_count": (count, "1")},
        {"of": name, "n": int(n), "spike_threshold_mV": threshold, "fill_ms": recorded(fill_ms)},
        coords={"spike": np.arange(n)},
    )


def soft_firing_rate(
    signals: xr.Dataset | xr.DataArray, *, spike_threshold: Any = 0.0, slope: Any = SLOPE
) -> xr.Dataset:
    """Return the firing rate of every site as a smooth function of the voltage.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and any other dims, in any order: Signals, or traces.
    spike_threshold : float, str or pint.Quantity
        mV.
    slope : float, str or pint.Quantity
        How steep, 1/mV: the derivative of the sigmoid at the threshold. One over it is the width in mV.

    Returns
    -------
    xr.Dataset
        ``firing_rate`` (Hz) on every dim but ``time``: ``sum_k max(0, F(V[k]) - F(V[k-1])) / (n dt)`` with
        ``F(V) = 1 / (1 + exp(-4 slope (V - threshold)))``, the rate to expect where the threshold is noisy. It does not
        depend on the sampling interval, and tends to the rate of crossings, that of `firing_rate`, as the slope grows.

    Raises
    ------
    ArgumentError, UnitError
        If the slope is not positive, or it or the threshold is in another unit.
    TimeAxisError
        If there is only one sample.

    Notes
    -----
    Its derivative is the slope of F at each peak minus that at each trough: what comes near the threshold counts.
    `to_signals` with a surrogate has the same kind of derivative and a whole number of spikes; this one is the integral
    of its own derivative, as line searches, second derivatives and checks by differences need.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)
    >>> ds = jfx.traces(v, ["time"], dt_ms=0.1)
    >>> [round(float(soft_firing_rate(ds, slope=s).firing_rate.data.magnitude), 3) for s in (0.05, "0.5/mV")]
    [98.201, 100.0]
    """
    signals = as_dataset(signals, "signals")
    name, v, time, dt_ms = _voltage(signals)
    threshold, steepness = threshold_mV(spike_threshold), positive(slope, "1/mV", "slope")
    count = whole(kernels.expected_crossings, v, TIME, threshold, steepness)
    with precision_of(count):
        rate = xr.Variable(count.dims, count.data / (len(time) * dt_ms * 1e-3))
    return finish(
        signals,
        "firing_rate",
        rate,
        "Hz",
        {"of": name, "spike_threshold_mV": threshold, "slope_per_mV": recorded(steepness)},
        stage="firing_rate",
        function="soft_firing_rate",
        attrs={"long_name": "firing rate (soft)"},
    )


def _voltage(signals: xr.Dataset) -> tuple[str, xr.Variable, np.ndarray, float]:
    """Return the name of the voltage, itself in mV and checked, the sample times and their interval in ms."""
    name = find_voltage(signals)
    require_time(signals, name)
    raise_problems(kind_problems(magnitude(signals.variables[name].data), str(name)))
    time, dt_ms = times_of(signals)
    v = in_unit(signals.variables[name], "V_m", "mV")
    return str(name), checked(v, str(name)), time, dt_ms
