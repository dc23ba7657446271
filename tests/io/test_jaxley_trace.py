"""Bare voltage arrays, read by a spec, become Signals in one call."""

import json
import sys

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core.units import magnitude, units_of

ureg = pint.application_registry
V = np.random.default_rng(0).normal(0, 30, (50, 4)).astype(np.float32)


def test_the_example_of_the_readme():
    trace = np.full((1000, 16), -65.0)
    signals = jfx.jaxley_trace_to_signals(trace, spec=jfx.JaxleyTraceSpec(dt_ms=0.1))
    assert signals.V_m.shape == (1000, 16)
    assert signals.attrs["model_status"] == "computational_scaffold"
    assert signals.attrs["source_calibration_status"] == "uncalibrated_jaxley_voltage_proxy"
    assert signals.attrs["field_solver_status"] == "not_computed"
    assert signals.jfne.scope.amplitude_status is False
    assert signals.jfne.validate()
    assert signals.time[-1] == pytest.approx(99.9)


@pytest.mark.parametrize(
    "array", [np.array, jnp.array, dask.array.from_array], ids=["numpy", "jax", "dask"]
)
@pytest.mark.parametrize("layout", ["time_by_unit", "unit_by_time", "recording_by_time"])
def test_layouts_are_only_names(array, layout, crossings):
    trace = V if layout == "time_by_unit" else V.T
    signals = jfx.jaxley_trace_to_signals(
        array(trace), layout=layout, dt_ms=0.1, source=array(trace)
    )
    site = "recording" if layout.startswith("recording") else "unit"
    assert set(signals.V_m.dims) == {"time", site}
    assert signals.V_m.shape == trace.shape
    for name, want in {"V_m": V, "spikes": crossings(V, 0, 0, 20), "source": V}.items():
        np.testing.assert_array_equal(magnitude(signals[name].transpose("time", site).data), want)
    assert (units_of(signals.V_m), units_of(signals.source)) == ("mV", "nA")
    lazy = array is dask.array.from_array
    assert isinstance(signals.V_m.data, dask.array.Array if lazy else pint.Quantity)
    assert isinstance(signals.source.data, dask.array.Array if lazy else pint.Quantity)
    kept = jfx.jaxley_trace_to_signals(array(trace), layout=layout, dt_ms=0.1, quantify=False)
    assert type(kept.V_m.data) is type(array(trace))


def test_arguments_go_before_the_spec():
    spec = jfx.JaxleyTraceSpec(dt_ms=0.1, layout="unit_by_time")
    signals = jfx.jaxley_trace_to_signals(V, spec=spec, dt_ms="1 ms", layout="time_by_unit")
    assert signals.V_m.dims == ("time", "unit")
    assert signals.time[1] == 1


def test_the_spec_says_unit_threshold_and_rule():
    spec = jfx.JaxleyTraceSpec(units="V", spike_threshold="-20 mV", spike_rule="level", dt_ms=1)
    signals = jfx.jaxley_trace_to_signals(V / 1000, spec=spec)
    np.testing.assert_array_equal(signals.spikes, magnitude(signals.V_m.data) >= np.float32(-20))
    without = jfx.jaxley_trace_to_signals(V, spec=jfx.JaxleyTraceSpec(spike_threshold=None))
    assert list(without.data_vars) == ["V_m"]


def test_nothing_is_shared_or_changed():
    trace, source = V.copy(), V.copy()
    signals = jfx.jaxley_trace_to_signals(trace, source=source)
    before = signals.copy(deep=True)
    np.testing.assert_array_equal(trace, V)
    trace[...] = source[...] = 99
    assert signals.identical(before)


def test_metadata_travel_in_the_provenance():
    spec = jfx.JaxleyTraceSpec(
        trace_name="run 7", backend="neuron", metadata={"seed": 3, "who": ["a", None]}
    )
    signals = jfx.jaxley_trace_to_signals(V, spec=spec)
    (step,) = [
        s for s in signals.jfne.provenance["steps"] if s["function"] == "jaxley_trace_to_signals"
    ]
    assert step["parameters"] == {
        "trace_name": "run 7",
        "backend": "neuron",
        "metadata": {"seed": 3, "who": ["a", None]},
    }
    assert signals.attrs["source_calibration_status"] == "uncalibrated_voltage_proxy"


def test_a_spec_as_json():
    spec = jfx.JaxleyTraceSpec(
        dt_ms=ureg.Quantity(25, "us"), spike_threshold="-0.02 V", metadata={"a": [1]}
    )
    plain = json.loads(json.dumps(spec.to_dict()))
    assert (plain["dt_ms"], plain["spike_threshold"]) == (0.025, -20)
    assert jfx.JaxleyTraceSpec(**plain).to_dict() == plain
    assert jfx.JaxleyTraceSpec(spike_threshold=None).to_dict()["spike_threshold"] is None


def test_it_runs_under_jit_and_grad():
    def run(v):
        signals = jfx.jaxley_trace_to_signals(v, dt_ms=0.1)
        assert signals.V_m.attrs["units"] == "mV"
        return (signals.V_m.data**2).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(run))(jnp.array(V)), 2 * V, rtol=1e-6)


def test_jaxley_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxley", None)
    assert "V_m" in jfx.jaxley_trace_to_signals(V)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layout": "time_by_trial"}, jfx.ArgumentError, "time_by_trial"),
        ({"dt_ms": 0}, jfx.TimeAxisError, "positive"),
        ({"dt_ms": "0.1 mV"}, jfx.UnitError, "dt_ms"),
        ({"dt_ms": None}, jfx.UnitError, "dt_ms"),
        ({"spike_threshold": "3 ms"}, jfx.UnitError, "spike_threshold"),
        ({"spike_threshold": np.nan}, jfx.ArgumentError, "spike_threshold"),
        ({"spike_rule": "peak"}, jfx.ArgumentError, "'level'"),
        ({"units": "S/m"}, jfx.UnitError, "S/m"),
        ({"metadata": {"a": object()}}, jfx.ArgumentError, "JSON"),
        ({"metadata": {"a": float("nan")}}, jfx.ArgumentError, "JSON"),
    ],
)
def test_a_bad_spec_is_refused_when_it_is_made(refused, options, error, said):
    with refused(error, said):
        jfx.JaxleyTraceSpec(**options)


def test_all_problems_of_a_spec_come_at_once(refused):
    wrong = {"layout": "x", "dt_ms": -1, "spike_rule": "peak", "metadata": {"a": set()}}
    with refused(jfx.ArgumentError, "4 problems"):
        jfx.JaxleyTraceSpec(**wrong)
    with refused(jfx.UnitError, "spike_threshold", "1 s"):  # of the signature: before all others
        jfx.JaxleyTraceSpec(**wrong, spike_threshold="1 s")


@pytest.mark.parametrize(
    ("trace", "options", "error", "said"),
    [
        (V[:, 0], {}, jfx.DimensionError, "1 axes"),
        (V[None, None], {}, jfx.DimensionError, "4 axes"),
        (V[:0], {}, jfx.TimeAxisError, "no samples"),
        (V * np.nan, {}, jfx.NonFiniteError, "200 of 200"),
        (V * 1j, {}, jfx.DataError, "complex"),
        (V, {"dt_ms": -1}, jfx.TimeAxisError, "positive"),
        (V, {"layout": "sideways"}, jfx.ArgumentError, "sideways"),
        (V, {"source": V.T}, jfx.DimensionError, "(4, 50)"),
        (V, {"source": V * np.inf}, jfx.NonFiniteError, "source"),
    ],
)
def test_bad_input_is_refused(refused, trace, options, error, said):
    with refused(error, said):
        jfx.jaxley_trace_to_signals(trace, **options)


@pytest.mark.oracle
@pytest.mark.parametrize("layout", ["time_by_unit", "unit_by_time"])
def test_level_spikes_are_those_of_jaxfne(layout):
    from jaxfne.bridges import JaxleyTraceSpec, jaxley_trace_to_signals

    trace = V if layout == "time_by_unit" else V.T
    theirs = jaxley_trace_to_signals(
        trace, spec=JaxleyTraceSpec(dt_ms=0.1, layout=layout, spike_threshold=-7.3)
    )
    spec = jfx.JaxleyTraceSpec(dt_ms=0.1, layout=layout, spike_threshold=-7.3, spike_rule="level")
    ours = jfx.jaxley_trace_to_signals(trace, spec=spec).transpose("time", "unit")
    np.testing.assert_array_equal(ours.spikes, np.asarray(theirs.spikes).astype(bool))
    np.testing.assert_array_equal(magnitude(ours.V_m.data), theirs.V_m)
    np.testing.assert_allclose(ours.time, theirs.time_ms, rtol=1e-6)


@pytest.mark.parametrize("layout", ["time_by_unit", "unit_by_time", "recording_by_time"])
def test_a_third_axis_is_features(layout, refused, crossings):
    v = np.random.default_rng(2).normal(-20, 40, (40, 40, 2))
    signals = jfx.jaxley_trace_to_signals(v, layout=layout, dt_ms=0.1, source=v)
    time = 0 if layout == "time_by_unit" else 1
    assert signals.V_m.dims[2] == "feature"
    assert signals.V_m.dims[time] == "time"
    np.testing.assert_array_equal(signals.spikes, crossings(v, 0, time, 20))
    np.testing.assert_array_equal(magnitude(signals.source.data), v)
    for bad in (v[0, 0], v[None]):
        with refused(jfx.DimensionError, "axes", "jfx.traces(trace"):
            jfx.jaxley_trace_to_signals(bad, layout=layout)
