"""Differentiable spike times and firing rates, for losses."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.dispatch import checked, whole
from jaxfne_xr.core.errors import raise_problems
from jaxfne_xr.core.inputs import as_dataset, find_voltage, require_time, times_of
from jaxfne_xr.core.provenance import recorded
from jaxfne_xr.core.results import finish, finish_several
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import AnyTime, Count, Scalar, Time, Voltage
from jaxfne_xr.core.unit_checks import in_unit, kind_problems
from jaxfne_xr.core.units import magnitude
from jaxfne_xr.core.values import positive, scalar
from jaxfne_xr.kernels.signals import soft_spikes as kernels

from .spikes import SLOPE, refractory_ms, samples_apart, threshold_mV


@public
def soft_spike_times(
    signals: xr.Dataset | xr.DataArray,
    n: Count,
    *,
    spike_threshold: Voltage = 0.0,
    fill: AnyTime | None = None,
    refractory: Time | None = None,
) -> xr.Dataset:
    """Estimate the times of the first n spikes of every site, between the samples and with a gradient.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and any other dims, in any order: Signals, or traces.
    n : int
        Number of spikes to return per site: fixed, so that it works under ``jit``.
    spike_threshold : float, str or pint.Quantity
        Threshold, mV.
    fill : float, str or pint.Quantity, optional
        Value for missing spikes of a site with fewer than n, ms; NaN by default. In a loss, pass the end of the window,
        so that a missing spike counts as a late one.
    refractory : float, str or pint.Quantity, optional
        Dead time, ms, as in `to_signals`: 2 ms by default; 0 for every crossing.

    Returns
    -------
    xr.Dataset
        ``spike_time`` (ms) with the dim ``spike`` (0 ... n - 1) instead of ``time``:
        ``t* = t[k-1] + dt (threshold - V[k-1]) / (V[k] - V[k-1])`` for each ``V[k-1] < threshold <= V[k]`` outside the
        dead time of a spike; and
        ``spike_count`` (1), the number of all spikes of a site. Entries from ``spike_count`` on are `fill`; spikes
        beyond n are not returned.

    Raises
    ------
    ArgumentError, UnitError
        If `n` is not a positive integer, or the unit of `fill` or of the threshold does not convert.
    TimeAxisError
        If there is only one sample.

    Notes
    -----
    The gradient is that of the implicit function, ``dt* = -dV(t*) / (dV/dt)``: exact, finite, and large where the
    voltage only grazes the threshold. It does not account for spikes that appear or disappear; that of
    `soft_firing_rate` does. Times have the precision of the voltage: 1 us at 10 s in float32. `spike_times` lists all
    spikes at their samples.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([[-10.0, 10.0, -30.0, 10.0], [-65.0, -65.0, -65.0, -65.0]])
    >>> made = soft_spike_times(jfx.traces(v, dims=("unit", "time"), dt_ms=1.0), 3)
    >>> made.spike_time.data.magnitude.round(3).tolist(), made.spike_count.data.magnitude.tolist()
    ([[0.5, 2.75, nan], [nan, nan, nan]], [2, 0])
    """
    signals = as_dataset(signals, "signals")
    name, v, time, dt_ms = _voltage(signals)
    threshold, dead = threshold_mV(spike_threshold), refractory_ms(refractory, "crossing")
    samples = samples_apart(dead, dt_ms)
    fill_ms = float("nan") if fill is None else scalar(fill, "ms", "fill")
    numbers = (threshold, float(time[0]), dt_ms, fill_ms)
    times = whole(
        kernels.crossing_times, v, TIME, *numbers, new_dim="spike", n=int(n), samples=samples
    )
    count = whole(kernels.crossing_count, v, TIME, threshold, samples=samples)
    return finish_several(
        signals,
        "soft_spike_times",
        {"spike_time": (times, "ms"), "spike_count": (count, "1")},
        {
            "of": name,
            "n": int(n),
            "spike_threshold_mV": threshold,
            "fill_ms": recorded(fill_ms),
            **({"refractory_ms": dead} if dead else {}),
        },
        coords={"spike": np.arange(n)},
    )


@public
def soft_firing_rate(
    signals: xr.Dataset | xr.DataArray, *, spike_threshold: Voltage = 0.0, slope: Scalar = SLOPE
) -> xr.Dataset:
    """Estimate the firing rate of every site as a smooth function of the voltage.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and any other dims, in any order: Signals, or traces.
    spike_threshold : float, str or pint.Quantity
        Threshold, mV.
    slope : float, str or pint.Quantity
        Derivative of the sigmoid at the threshold, 1/mV; its inverse is the width in mV.

    Returns
    -------
    xr.Dataset
        ``firing_rate`` (Hz) on every dim but ``time``: ``sum_k max(0, F(V[k]) - F(V[k-1])) / (n dt)`` with
        ``F(V) = 1 / (1 + exp(-4 slope (V - threshold)))``, the expected rate for a noisy threshold. It does not depend
        on the sampling interval, and approaches the rate of crossings (`firing_rate` of ``refractory=0``) as the slope
        grows. There is no dead time: noise adds what its own rises near the threshold are worth.

    Raises
    ------
    ArgumentError, UnitError
        If the slope is not positive, or the unit of the slope or of the threshold does not convert.
    TimeAxisError
        If there is only one sample.

    Notes
    -----
    The derivative is the slope of F at each peak minus that at each trough: peaks near the threshold contribute.
    `to_signals` with a surrogate has the same kind of derivative, but an integer number of spikes; here the value is
    the integral of the derivative, as line searches, second derivatives and finite-difference checks need.

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
    """Return the name of the voltage, the checked voltage in mV, the sample times and their interval in ms."""
    name = find_voltage(signals)
    require_time(signals, name)
    raise_problems(kind_problems(magnitude(signals.variables[name].data), str(name)))
    time, dt_ms = times_of(signals)
    v = in_unit(signals.variables[name], "V_m", "mV")
    return str(name), checked(v, str(name)), time, dt_ms
