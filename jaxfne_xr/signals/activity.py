"""Readouts of Signals alone: series, and single numbers over all sites and a time window."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.inputs import V_m_of, as_dataset, source_of, times_of
from jaxfne_xr.core.means import averaged_dims, mean_of, window_ms_of
from jaxfne_xr.core.registry import readout
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.spikes import Spikes, raw_spikes, spikes_of
from jaxfne_xr.core.time_axis import TIME, sampling, windowed
from jaxfne_xr.core.types import Window
from jaxfne_xr.core.units import magnitude

from .sources import source


@readout(units="mV", formula="V_m")
def vm(signals: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Extract the membrane voltage as ``vm``, mV, on the dims of ``V_m``; values are shared."""
    signals = as_dataset(signals, "signals")
    v = V_m_of(signals)
    return finish(signals, "vm", xr.Variable(v.dims, magnitude(v.data)), "mV")


@readout(units="bool", formula="spikes")
def spk(signals: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Extract the spikes as ``spk`` on the dims of ``spikes``, as they are: bool, or float with a surrogate; shared."""
    signals = as_dataset(signals, "signals")
    return finish(signals, "spk", raw_spikes(signals), None)


# `source` is not only a readout: other stages start from it. It is registered here with the readouts of Signals.
readout(units="nA, or 1 for a proxy", formula="the source current, or V_m as a proxy for it")(
    source
)


@readout(units="Hz", formula="spikes / (sites * duration)")
def spike_rate_hz(
    signals: xr.Dataset | xr.DataArray, *, window: Window | None = None
) -> xr.Dataset:
    """Compute the mean firing rate over all sites and the time window, Hz.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With ``spikes``.
    window : pair of float, str or pint.Quantity, optional
        Start and stop, ms; all of the data by default.

    Returns
    -------
    xr.Dataset
        ``spike_rate_hz``: the mean of ``spikes`` over time and sites, divided by the sampling interval. Samples with
        NaN were not observed: the mean is over the others.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)
    >>> signals = jfx.traces(v, ["time"], dt_ms=0.1).jfne.to_signals()
    >>> round(spike_rate_hz(signals, window=("0 ms", "50 ms")).spike_rate_hz.data.m.item(), 9)
    100.0
    """
    signals = as_dataset(signals, "signals")
    # The interval is that of all data: a window may hold a single sample, which has none.
    chosen, (_, dt_ms) = windowed(signals, window), times_of(signals)
    spikes = spikes_of(chosen)
    mean = spikes.mean(averaged_dims(spikes.numbers))
    rate = xr.Variable(mean.dims, mean.data / (dt_ms * 1e-3))
    return finish(signals, "spike_rate_hz", rate, "Hz", window_ms_of(chosen, dt_ms))


@readout(units="1", formula="sum of spikes over time and sites")
def spike_count(signals: xr.Dataset | xr.DataArray, *, window: Window | None = None) -> xr.Dataset:
    """Count the spikes of all sites in the observed samples of the time window; see `spike_rate_hz`."""
    signals = as_dataset(signals, "signals")
    chosen = windowed(signals, window)
    spikes = spikes_of(chosen).numbers
    dims = averaged_dims(spikes)
    data = spikes.data
    with precision_of(data):
        data = data.sum(axis=tuple(spikes.get_axis_num(d) for d in dims))
    count = xr.Variable(tuple(d for d in spikes.dims if d not in dims), data)
    return finish(
        signals, "spike_count", count, "1", window_ms_of(chosen, sampling(signals, None)[1])
    )


@readout(units="1", formula="sites without a spike / sites")
def silent_fraction(
    signals: xr.Dataset | xr.DataArray, *, window: Window | None = None
) -> xr.Dataset:
    """Compute the fraction of sites that fire no spike in the time window; see `spike_rate_hz` for `window`.

    Sites without an observed sample are left out.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([[-65.0, 20.0], [-65.0, -65.0], [-65.0, -60.0], [-65.0, -70.0]])
    >>> float(silent_fraction(jfx.traces(v, ("unit", "time"), dt_ms=0.1).jfne.to_signals()).silent_fraction.data.m)
    0.75
    """
    signals = as_dataset(signals, "signals")
    chosen = windowed(signals, window)
    bare, seen = spikes_of(chosen)
    with precision_of(bare.data):
        silent = ~bare.astype(bool).any(TIME)
        silent = silent.astype("f8" if bare.dtype == np.float64 else "f4")
        observed = None if seen is None else seen.astype(bool).any(TIME).astype(silent.dtype)
        counted = silent if observed is None else silent * observed
        fraction = Spikes(counted, observed).mean(averaged_dims(silent))
    window_ms = window_ms_of(chosen, sampling(signals, None)[1])
    return finish(signals, "silent_fraction", fraction, "1", window_ms)


@readout(units="mV", formula="mean of V_m over time and sites")
def mean_V_m(signals: xr.Dataset | xr.DataArray, *, window: Window | None = None) -> xr.Dataset:
    """Compute the mean membrane voltage over time and sites, mV; see `spike_rate_hz` for `window`."""
    signals = as_dataset(signals, "signals")
    made = signals.assign(V_m=V_m_of(signals))
    return mean_of("mean_V_m", made, "V_m", "value", window)


@readout(units="nA, or 1 for a proxy", formula="mean of |source| over time and sites")
def source_abs_mean(
    source: xr.Dataset | xr.DataArray, *, window: Window | None = None
) -> xr.Dataset:
    """Compute the mean absolute source over time and sites, nA, or 1 if it is a proxy; see `spike_rate_hz`."""
    source = as_dataset(source, "source")
    name, variable = source_of(source)
    return mean_of("source_abs_mean", source.assign({name: variable}), name, "abs", window)
