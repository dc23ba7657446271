"""Readouts of spikes alone, against plain NumPy."""

import numpy as np
import pytest

import jaxfne_xr as jfx


@pytest.mark.parametrize("window", [None, (0.2, 0.5)])
def test_the_fraction_of_silent_sites(backend, order, voltage, window):
    signals = backend.traces(voltage.transpose(*order), order).jfne.to_signals(spike_threshold=20.0)
    spikes = np.asarray(signals.transpose("time", "unit", "trial").spikes)
    spikes = spikes if window is None else spikes[2:5]
    want = 1 - spikes.any(axis=0).mean(axis=0)
    assert want.min() > 0 or want.max() < 1  # some are silent and some are not
    made = jfx.silent_fraction(signals, window=window)
    assert made.silent_fraction.dims == ("trial",)
    assert backend.holds(made.silent_fraction)
    assert np.abs(backend.values(made.silent_fraction) - want).max() <= 1e-6


def test_counts_and_surrogates_are_spikes():
    ds = jfx.traces(
        np.array([[-65.0, 20.0, -65.0], [-65.0, -65.0, -60.0]]), ("unit", "time"), dt_ms=0.1
    )
    for signals in (ds.jfne.to_signals(), ds.jfne.to_signals(surrogate="arctan")):
        assert float(jfx.silent_fraction(signals).silent_fraction.data.m) == 0.5
    made = jfx.compute_readout(ds.jfne.to_signals(), ["silent_fraction", "spike_count"])
    assert float(made.silent_fraction.data.m) == 0.5
