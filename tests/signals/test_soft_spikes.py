"""Spikes with a surrogate gradient, soft spike times and rates: on every kind of array, in every order of dims."""

import functools

import dask
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.units import units_of
from jaxfne_xr.kernels.signals.surrogate import SURROGATES

ureg = pint.application_registry
NAMES = list(SURROGATES)


def to_jax(v):
    with precision_of(v):
        return jnp.array(v)


def in_jax(v, dims=("time", "unit"), dt=0.1, **coords):
    return jfx.traces(v, dims, dt_ms=dt, quantify=False, coords=coords)


# ------------------------------------------------------------------------------------- spikes with a gradient


@pytest.mark.parametrize("rule", ["crossing", "level"])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_spikes_as_numbers(backend, order, voltage, rule, name):
    ds = backend.by_hand(voltage.transpose(*order).values, order)
    for threshold in (0.0, "-5.5 mV"):
        plain = ds.jfne.to_signals(spike_threshold=threshold, spike_rule=rule)
        made = ds.jfne.to_signals(
            spike_threshold=threshold, spike_rule=rule, surrogate=name, slope="0.2/mV"
        )
        assert made.spikes.dims == order
        assert backend.holds(made.spikes, unit=False)
        assert made.spikes.dtype == np.float32
        np.testing.assert_array_equal(backend.values(made.spikes), backend.values(plain.spikes))
        assert "units" not in made.spikes.attrs
        assert made.V_m.identical(plain.V_m)
        assert made.jfne.validate()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int16"])
@pytest.mark.parametrize("array", [np.array, to_jax])
def test_counts_stay_exact_in_every_precision(voltage, dtype, array):
    v = np.tile(voltage.values.astype(dtype), (2000, 1, 1))  # more than float16 can count
    ds = jfx.traces(array(v), voltage.dims, dt_ms=0.1, quantify=False)
    made, plain = ds.jfne.to_signals(surrogate="arctan"), ds.jfne.to_signals()
    assert made.spikes.dtype == (np.float64 if dtype == "float64" else np.float32)
    for read in (jfx.firing_rate, jfx.spike_count):
        got, want = (np.asarray(next(iter(read(s).values()))) for s in (made, plain))
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert (want > 2048).all()


def test_the_record_says_which_and_how_steep():
    ds = in_jax(np.zeros((4, 1)))
    step = ds.jfne.to_signals(surrogate="triangle", slope="100/V").jfne.provenance["steps"][-1]
    assert step["parameters"]["surrogate"] == "triangle"
    assert step["parameters"]["slope_per_mV"] == 0.1
    default = ds.jfne.to_signals(surrogate="arctan").jfne.provenance["steps"][-1]["parameters"]
    assert default["slope_per_mV"] == 0.05
    assert "surrogate" not in ds.jfne.to_signals().jfne.provenance["steps"][-1]["parameters"]
    seen = []

    @jax.jit
    def traced(v, slope):
        made = in_jax(v).jfne.to_signals(surrogate="arctan", slope=slope)
        seen.append(made.jfne.provenance["steps"][-1]["parameters"]["slope_per_mV"])
        return made.spikes.data.sum()

    traced(jnp.zeros((3, 1)), 0.1)
    assert seen == ["traced"]


V = np.random.default_rng(0).normal(-20, 20, (60, 3))


def rate_of(v, **how):
    return in_jax(v).jfne.to_signals(**how).jfne.firing_rate().firing_rate.data


def numerically(f, v, h=1e-4):
    way = np.random.default_rng(1).normal(size=v.shape)
    return (f(v + h * way) - f(v - h * way)) / (2 * h), way


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["crossing", "level"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_goes_through_what_sums(x64, rule, name):
    """Against the sum over samples of weights times the surrogate, whatever comes after."""
    v = jnp.array(V)
    how = {"surrogate": name, "slope": 0.04, "spike_rule": rule, "spike_threshold": -3}
    signals_of = lambda v: in_jax(v).jfne.to_signals(**how)
    spikes, pull = jax.vjp(lambda v: signals_of(v).spikes.data, v)
    for read, weight in [
        (lambda s: s.jfne.firing_rate().firing_rate.data.sum(), 1 / (60 * 0.1e-3)),
        (lambda s: s.jfne.spk().spk.data.sum(), 1.0),
        (lambda s: s.jfne.spike_count().spike_count.data, 1.0),
        (lambda s: s.jfne.spike_rate_hz().spike_rate_hz.data, 1 / (180 * 0.1e-3)),
        (lambda s: jfx.summary(s, by=None, bin=1.0).population_rate.data.sum(), 1 / (180 * 0.1e-3)),
    ]:
        got = jax.grad(lambda v, read=read: read(signals_of(v)))(v)
        (want,) = pull(jnp.full(v.shape, weight))
        np.testing.assert_allclose(got, want, rtol=1e-9)
    assert (want != 0).any()
    current = lambda s: s.jfne.synaptic_source(tau=2.0).source.data
    got = jax.grad(lambda v: current(signals_of(v)).sum())(v)
    decay = np.exp(-0.1 / 2.0)
    after = np.array([decay ** np.arange(60 - k) for k in range(60)], dtype=object)
    (want,) = pull(jnp.array(np.array([a.sum() for a in after], float))[:, None] * jnp.ones((1, 3)))
    np.testing.assert_allclose(got, want, rtol=1e-9)
    assert spikes.sum() > 0


@pytest.mark.slow
def test_every_transformation(x64):
    v = jnp.array(V)
    f = lambda v: rate_of(v, surrogate="fast_sigmoid").sum()
    slope = jax.grad(f)(v)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    close(jax.jit(jax.grad(f))(v), slope)
    close(jax.jacfwd(f)(v), slope)
    close(jax.grad(jax.checkpoint(f))(v), slope)
    close(jax.vmap(jax.grad(f))(jnp.stack([v, v + 1]))[1], jax.grad(f)(v + 1))
    assert jnp.isfinite(jax.jvp(jax.grad(f), (v,), (v,))[1]).all()


def test_one_trace_serves_every_threshold_and_slope():
    traced = []

    @jax.jit
    def f(v):
        traced.append(1)
        return rate_of(v, surrogate="arctan").sum()

    for k in range(3):
        f(jnp.array(V + k))
    assert len(traced) == 1
    from jaxfne_xr.core.dispatch import _jax

    run = lambda k: in_jax(jnp.array(V)).jfne.to_signals(
        spike_threshold=k, surrogate="arctan", slope=0.1 + k
    )
    run(0)
    before = _jax._cache_size()
    run(1), run(2)
    assert _jax._cache_size() == before


def test_lists_and_external_spikes_take_numbers():
    signals = in_jax(V).jfne.to_signals(surrogate="arctan", spike_threshold=-10)
    plain = in_jax(V).jfne.to_signals(spike_threshold=-10)
    assert signals.jfne.spike_times().drop_attrs().equals(plain.jfne.spike_times().drop_attrs())
    model = jfx.construct(
        jfx.configuration()
        .network(n=3)
        .emitter(mode="external_spikes")
        .field(domain="point")
        .probe(name="p")
    )
    made = model.simulate_external(signals[["spikes"]])
    want = model.simulate_external(plain[["spikes"]])
    np.testing.assert_allclose(made.source, want.source, rtol=1e-6)

    def charge(v):
        spikes = in_jax(v).jfne.to_signals(surrogate="arctan").spikes.data
        return model.simulate_external(spikes, dt_ms=0.1).source.data.sum()

    assert (jax.grad(charge)(jnp.array(V)) != 0).any()


def test_a_file_keeps_them(tmp_path):
    signals = jfx.traces(V, ["time", "unit"], dt_ms=0.1).jfne.to_signals(surrogate="arctan")
    assert jfx.open(signals.jfne.to_netcdf(tmp_path / "s.nc")).identical(signals)


@pytest.mark.slow
def test_a_descent_wakes_a_silent_neuron():
    """What a surrogate is for: from no spike at all to the rate asked for."""
    t = jnp.arange(2000) * 0.1
    shape = jnp.maximum(jnp.sin(2 * jnp.pi * t / 20), 0) ** 8
    voltage = lambda gain: -65 + gain * shape

    def loss(gain):
        rate = rate_of(voltage(gain)[:, None], surrogate="arctan", spike_threshold=-50)
        return ((rate - 50.0) ** 2).mean()

    gain, start = jnp.array(5.0), loss(5.0)
    for _ in range(60):
        gain -= 1e-2 * jax.grad(loss)(gain)
    assert start == 2500
    assert loss(gain) == 0


# --------------------------------------------------------------------------------------- soft times and rates


@pytest.mark.slow
def test_soft_spike_times(backend, order, voltage):
    v = voltage.transpose(*order)
    ds = backend.by_hand(v.values, order).assign_coords(trial=["a", "b"])
    made = jfx.soft_spike_times(ds, 3, spike_threshold=-5, fill="0.9 ms")
    assert made.spike_time.dims == tuple("spike" if d == "time" else d for d in order)
    assert set(made.spike_count.dims) == {"unit", "trial"}
    assert backend.holds(made.spike_time)
    assert backend.holds(made.spike_count)
    assert (units_of(made.spike_time), units_of(made.spike_count)) == ("ms", "1")
    assert made.spike_time.dtype == np.float32
    assert made.trial.values.tolist() == ["a", "b"]
    assert made.attrs["model_status"] == "computational_scaffold"

    hard = ds.jfne.to_signals(spike_threshold=-5).jfne.spike_times()
    times, count = (
        made[n].copy(data=backend.values(made[n])) for n in ("spike_time", "spike_count")
    )
    for trial in ("a", "b"):
        for unit in range(3):
            got = times.sel(trial=trial).isel(unit=unit).values
            want = hard.time.values[(hard.trial == trial).values & (hard.unit == unit).values]
            assert count.sel(trial=trial).isel(unit=unit) == len(want)
            assert ((want[:3] - got[: len(want)] >= 0) & (want[:3] - got[: len(want)] < 0.1)).all()
            assert (got[len(want) :] == np.float32(0.9)).all()


def test_soft_firing_rate(backend, order, voltage):
    ds = backend.by_hand(voltage.transpose(*order).values, order)
    made = jfx.soft_firing_rate(ds, spike_threshold=-5, slope="0.03/mV")
    assert made.firing_rate.dims == tuple(d for d in order if d != "time")
    assert backend.holds(made.firing_rate)
    assert units_of(made.firing_rate) == "Hz"
    F = 1 / (1 + np.exp(-4 * 0.03 * (voltage.values.astype(float) + 5)))
    want = np.maximum(0, np.diff(F, axis=0)).sum(0) / (9 * 0.1e-3)
    if order.index("unit") > order.index("trial"):
        want = want.T
    got = backend.values(made.firing_rate)
    assert np.abs(got - want).max() < 2e-6 * want.max()


def test_it_tends_to_the_firing_rate(x64):
    signals = jfx.traces(V, ["time", "unit"], dt_ms=0.1).jfne.to_signals(refractory=0)
    want = signals.jfne.firing_rate().firing_rate.data.magnitude
    errors = [
        np.abs(signals.jfne.soft_firing_rate(slope=b).firing_rate.data.magnitude - want).max()
        for b in (0.1, 1.0, 1000.0)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6 * want.max()


@pytest.mark.slow
def test_gradients_of_the_soft_ones(x64):
    f = lambda v: jfx.soft_firing_rate(in_jax(v), slope=0.03).firing_rate.data.sum()
    g = lambda v: jfx.soft_spike_times(in_jax(v), 5, fill=6.0).spike_time.data.sum()
    for read in (f, g):
        want, way = numerically(read, jnp.array(V), 1e-6)
        for slope in (jax.grad(read), jax.jit(jax.grad(read))):
            assert (slope(jnp.array(V)) * way).sum() == pytest.approx(float(want), rel=1e-6)
    assert jax.vmap(f)(jnp.stack([V, V])).shape == (2,)


# ---------------------------------------------------------------------------------------------- bad input

DS = jfx.traces(V, ["time", "unit"], dt_ms=0.1)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: DS.jfne.to_signals(surrogate="relu"), jfx.ArgumentError, str(NAMES)),
        (lambda: DS.jfne.to_signals(surrogate="arctan", slope=0), jfx.ArgumentError, "positive"),
        (lambda: DS.jfne.to_signals(surrogate="arctan", slope=-1), jfx.ArgumentError, "-1 1/mV"),
        (
            lambda: DS.jfne.to_signals(surrogate="arctan", slope=float("nan")),
            jfx.ArgumentError,
            "finite",
        ),
        (lambda: DS.jfne.to_signals(surrogate="arctan", slope="2 mV"), jfx.UnitError, "1/mV"),
        (lambda: DS.jfne.to_signals(slope=0.1), jfx.ArgumentError, "no surrogate"),
        (
            lambda: DS.jfne.to_signals(spike_threshold=None, surrogate="arctan"),
            jfx.ArgumentError,
            "without one there are no spikes",
        ),
        (
            lambda: DS.jfne.to_signals(
                spike_rule="up", spike_threshold=None, surrogate="x", slope="2 mV"
            ),
            jfx.ArgumentError,
            "4 problems",
        ),
        (lambda: jfx.soft_spike_times(DS, 0), jfx.ArgumentError, "a whole number, at least 1"),
        (lambda: jfx.soft_spike_times(DS, 2.0), jfx.ArgumentError, "2.0"),
        (lambda: jfx.soft_spike_times(DS, True), jfx.ArgumentError, "True"),
        (lambda: jfx.soft_spike_times(DS, 2, fill="1 mV"), jfx.UnitError, "fill"),
        (lambda: jfx.soft_spike_times(DS, 2, spike_threshold="1 s"), jfx.UnitError, "1 s"),
        (lambda: jfx.soft_spike_times(DS.isel(time=[0]), 2), jfx.TimeAxisError, "one sample"),
        (lambda: jfx.soft_spike_times(DS.isel(time=0), 2), jfx.DimensionError, "time"),
        (lambda: jfx.soft_spike_times(DS.drop_vars("v"), 2), jfx.VariableError, "voltage"),
        (lambda: jfx.soft_spike_times(DS * np.nan, 2), jfx.NonFiniteError, "180 of 180"),
        (lambda: jfx.soft_firing_rate(DS, slope=0), jfx.ArgumentError, "positive"),
        (lambda: jfx.soft_firing_rate(DS, slope="3 mV"), jfx.UnitError, "slope"),
        (lambda: jfx.soft_firing_rate(DS.isel(time=[0])), jfx.TimeAxisError, "one sample"),
    ],
)
def test_what_is_wrong_is_said(refused, call, error, said):
    with refused(error, said):
        call()


def test_dask_says_it_when_computed():
    ds = jfx.traces(V.copy(), ["time", "unit"], dt_ms=0.1, quantify=False)
    ds.v.values[3, 1] = np.nan
    made = jfx.soft_firing_rate(ds.chunk(time=7))
    with pytest.raises(jfx.NonFiniteError, match="time=3, unit=1"):
        dask.compute(made)
