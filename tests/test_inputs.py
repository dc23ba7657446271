"""`inputs`: what a Dataset holds is found and checked in one place, and each remedy can be typed as it is."""

import re

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr import inputs

V = np.full((2, 3), -65.0)


def made(name, dims, unit=None, dtype=float):
    attrs = {} if unit is None else {"units": unit}
    return xr.Dataset({name: (dims, np.zeros((2, 3), dtype), attrs)})


def typed(remedy):
    """Return what is to be typed, without the condition that follows it."""
    return re.split(r", if that| for a single", remedy)[0]


def test_sites_lie_along_unit_or_recording():
    assert [inputs.site_dim(d) for d in (("time", "unit"), ("recording", "unit"), ("time",))] == [
        "unit",
        "unit",
        None,
    ]


def test_the_remedy_for_no_dim_of_sites_can_be_typed(refused):
    cases = [
        (made("i_membrane", ("time", "cell no")), "recording", jfx.DimensionError),
        (made("source", ("time", "cell")).isel(cell=0), "unit", jfx.VariableError),
    ]
    for ds, site, error in cases:
        (name,) = ds.data_vars
        with refused(error, f"{name}: found the dims") as caught:
            inputs.require_site_dim(ds.variables[name], name, site=site, error=error)
        fixed = eval(typed(caught.value.problems[0].remedy), {"ds": ds})
        assert inputs.require_site_dim(fixed.variables[name], name) == site


def test_the_only_variable_of_the_kind_is_offered_by_its_name(refused):
    cases = [
        (made("is it", ("unit", "time"), dtype=bool), jfx.firing_rate, "spikes"),
        (made("p", ("time", "xyz"), "nA*um"), jfx.rotate, "dipole_moment"),
        (made("s", ("frequency", "unit"), "mV^2/Hz"), jfx.band_power, None),
    ]
    for ds, function, name in cases:
        with refused(jfx.VariableError, "no such variable among") as caught:
            function(ds)
        remedy = caught.value.problems[0].remedy
        assert ("ds.rename({" in remedy) == (name is not None)
        if name:
            assert name in eval(typed(remedy), {"ds": ds})


def test_a_voltage_without_a_unit_is_told_how_to_get_one(refused):
    ds = made("membrane", ("unit", "time"))
    with refused(jfx.VariableError, "no variable in a unit of voltage") as caught:
        jfx.to_signals(ds, dt_ms=0.1)
    exec(typed(caught.value.problems[0].remedy), {"ds": ds})
    assert jfx.to_signals(ds, dt_ms=0.1).V_m.shape == (2, 3)


def test_what_has_no_time_says_so(refused):
    signals = jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals().isel(time=0)
    for function in (
        jfx.firing_rate,
        jfx.mean_V_m,
        jfx.spike_rate_hz,
        jfx.spike_count,
        jfx.summary,
    ):
        with refused(jfx.DimensionError, 'a dimension named "time"'):
            function(signals, None) if function is jfx.summary else function(signals)


@pytest.mark.parametrize(
    "function",
    [jfx.firing_rate, jfx.spike_rate_hz, jfx.synaptic_source, jfx.soft_firing_rate],
)
def test_one_sample_has_no_interval(function, refused):
    signals = jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals().isel(time=[0])
    with refused(jfx.TimeAxisError, "one sample", "select more samples"):
        function(signals)
