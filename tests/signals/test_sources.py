"""`source` and `synaptic_source`: on every kind of array, in every order of dims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.units import units_of


def through(spikes, dt, tau, weight, kernel):
    """Return the current by its definition: a sum over all earlier spikes, time first."""
    current = np.zeros(spikes.shape)
    for n in range(len(spikes)):
        for k in range(n + 1):
            s = (n - k) * dt / tau
            current[n] += spikes[k] * (np.exp(-s) if kernel == "exponential" else s * np.exp(1 - s))
    return weight * current


@pytest.fixture
def signals(backend, order, voltage):
    positions = {a: ("unit", np.arange(3.0), {"units": "um"}) for a in "xyz"}
    ds = backend.by_hand(voltage.transpose(*order).values, order).assign_coords(positions)
    return ds.jfne.to_signals()


# ------------------------------------------------------------------------------------------------ source


def test_a_voltage_stands_in_for_the_source(backend, order, signals, voltage):
    before = signals.copy(deep=True)
    made = jfx.source(signals)
    assert list(made.data_vars) == ["source_proxy"]
    assert made.source_proxy.dims == order
    assert backend.holds(made.source_proxy)
    assert (units_of(made.source_proxy), made.source_proxy.dtype) == ("1", np.float32)
    np.testing.assert_array_equal(backend.values(made.source_proxy), voltage.transpose(*order))
    assert "proxy" in made.source_proxy.attrs["long_name"]
    assert set(made.coords) == {"time", "x", "y", "z"}
    assert made.jfne.scope == signals.jfne.scope
    assert signals.identical(before)


def test_a_current_is_the_source(backend, order, voltage):
    current = backend.array(voltage.transpose(*order).values)
    signals = backend.by_hand(current, order).jfne.to_signals(source=current)
    made = jfx.source(signals)
    assert list(made.data_vars) == ["source"]
    assert backend.holds(made.source)
    assert units_of(made.source) == "nA"
    assert made.jfne.scope.source_calibration_status == "uncalibrated_current"


def test_values_are_shared():
    signals = jfx.traces(
        np.zeros((4, 2)), ("time", "unit"), dt_ms=0.1, quantify=False
    ).jfne.to_signals()
    assert np.shares_memory(jfx.source(signals).source_proxy.data, signals.V_m.data)


def test_signals_in_another_unit_are_converted(backend):
    v = np.array([[-65.0], [20.0]])
    signals = backend.by_hand(v, ("time", "unit")).jfne.to_signals(source=backend.array(v))
    tampered = backend.by_hand(v / 1000, ("time", "unit"), units="V", name="V_m")
    np.testing.assert_allclose(backend.values(jfx.source(tampered).source_proxy), v, rtol=1e-6)
    picoamperes = backend.by_hand(v * 1000, ("time", "unit"), units="pA", name="source")
    assert units_of(jfx.source(picoamperes).source) == "nA"
    np.testing.assert_allclose(
        backend.values(jfx.source(picoamperes).source), backend.values(signals.source), rtol=1e-6
    )


def test_without_a_voltage_or_a_current_there_is_no_source(refused):
    with refused(jfx.VariableError, "neither a source nor a voltage"):
        jfx.source(xr.Dataset({"a": ("time", np.zeros(3))}))
    bare = xr.Dataset({"V_m": (("time", "unit"), np.zeros((3, 2)))})
    with refused(jfx.UnitError, "V_m", "no unit"):
        jfx.source(bare)
    with refused(jfx.UnitError, "source", "'mV'"):
        jfx.source(
            bare.rename(V_m="source").assign(source=lambda x: x.source.assign_attrs(units="mV"))
        )


# --------------------------------------------------------------------------------------- synaptic_source


@pytest.mark.parametrize("kernel", ["exponential", "alpha"])
def test_synaptic_source(backend, order, signals, kernel):
    before = signals.copy(deep=True)
    made = jfx.synaptic_source(signals, kernel=kernel, tau="0.3 ms", weight="-20 pA")
    spikes = np.moveaxis(backend.values(signals.spikes), order.index("time"), 0)
    want = np.moveaxis(through(spikes, 0.1, 0.3, -0.02, kernel), 0, order.index("time"))

    assert set(made.data_vars) == {"V_m", "spikes", "source"}
    assert made.source.dims == order
    assert backend.holds(made.source)
    assert units_of(made.source) == "nA"
    got = backend.values(made.source)
    assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max()
    assert made.jfne.scope.source_calibration_status == "uncalibrated_current"
    assert made.jfne.validate()
    assert signals.identical(before)


def test_a_spike_carries_the_charge_of_its_kernel():
    v = np.where(np.arange(20_000) == 10, 20.0, -65.0)
    signals = jfx.traces(v, ["time"], dt_ms=0.01, quantify=False).jfne.to_signals()
    for kernel, charge in (("exponential", 1.0), ("alpha", np.e)):
        current = jfx.synaptic_source(signals, kernel=kernel, tau=4.0, weight=0.5).source
        # left sum of an exponential: dt / (1 - exp(-dt / tau)) is dt / 2 more than tau
        np.testing.assert_allclose(current.sum() * 0.01, charge * 4.0 * 0.5, rtol=2e-3)


def test_the_sampling_interval_makes_no_difference():
    """Exact at the samples, however far apart they are."""
    fine = np.zeros((401, 1))
    fine[::40] = 1
    made = []
    for step in (1, 4, 20):
        ds = xr.Dataset({"spikes": (("time", "unit"), fine[::step])})
        ds = ds.assign_coords(
            time=("time", 0.1 * step * np.arange(ds.sizes["time"]), {"units": "ms"})
        )
        made.append(jfx.synaptic_source(ds, kernel="alpha", tau=3.0).source[:: 20 // step])
    np.testing.assert_allclose(made[1], made[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(made[2], made[0], rtol=1e-9, atol=1e-12)


def test_a_current_is_differentiable_in_stand_ins_for_spikes():
    def charge(spikes):
        ds = xr.Dataset({"spikes": (("time", "unit"), spikes)})
        ds = ds.assign_coords(time=("time", 1.0 * np.arange(5), {"units": "ms"}))
        return jfx.synaptic_source(ds, tau=2.0, weight=3.0).source.data.sum()

    slope = jax.jit(jax.grad(charge))(jnp.zeros((5, 1)))
    want = [3 * sum(np.exp(-s / 2) for s in range(5 - k)) for k in range(5)]
    np.testing.assert_allclose(slope[:, 0], want, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"kernel": "gauss"}, jfx.ArgumentError, "['exponential', 'alpha']"),
        ({"tau": 0}, jfx.ArgumentError, "0 ms"),
        ({"tau": -5.0}, jfx.ArgumentError, "a positive, finite number"),
        ({"tau": float("inf")}, jfx.ArgumentError, "inf ms"),
        ({"tau": "5 mV"}, jfx.UnitError, "tau"),
        ({"weight": "1 mV"}, jfx.UnitError, "weight"),
    ],
)
def test_what_is_wrong_is_said(refused, options, error, said):
    signals = jfx.traces(np.zeros((3, 1)), ("time", "unit"), dt_ms=0.1).jfne.to_signals()
    with refused(error, said):
        jfx.synaptic_source(signals, **options)


def test_spikes_and_an_interval_are_needed(refused):
    signals = jfx.traces(np.zeros((3, 1)), ("time", "unit"), dt_ms=0.1).jfne.to_signals()
    with refused(jfx.VariableError, "spike_threshold"):
        jfx.synaptic_source(signals.drop_vars("spikes"))
    with refused(jfx.TimeAxisError, "one sample"):
        jfx.synaptic_source(signals.isel(time=[0]))


@given(
    spikes=st.lists(st.integers(0, 3), min_size=2, max_size=30),
    tau=st.floats(0.05, 50),
    weight=st.integers(-80, 80).map(lambda n: n / 8),
    kernel=st.sampled_from(["exponential", "alpha"]),
    cut=st.integers(1, 29),
)
def test_it_is_linear_causal_and_blind_to_chunks(spikes, tau, weight, kernel, cut):
    def current(values, **options):
        ds = xr.Dataset({"spikes": (("time", "unit"), np.asarray(values, float)[:, None])})
        ds = ds.assign_coords(time=("time", 0.1 * np.arange(len(values)), {"units": "ms"}))
        return jfx.synaptic_source(
            ds.chunk(**options) if options else ds, kernel=kernel, tau=tau, weight=weight
        ).source

    whole = current(spikes)
    scale = 1e-10 * (np.abs(whole.values).max() + 1e-300)
    np.testing.assert_allclose(current(np.multiply(spikes, 3)), 3 * whole, atol=3 * scale)
    early = np.where(np.arange(len(spikes)) < cut, spikes, 0)
    late = np.subtract(spikes, early)
    np.testing.assert_allclose(current(early) + current(late), whole, atol=scale)
    np.testing.assert_allclose(current(early)[:cut], whole[:cut], atol=scale)
    assert (current(late)[:cut] == 0).all()
    np.testing.assert_array_equal(current(spikes, time=cut).compute(), whole)
