"""The dead time of `to_signals` and `soft_spike_times`: a noisy spike is one, on every kind of array, in any chunks."""

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

DT = 0.025
AT = np.arange(20, 200, 20)


def noisy(sd, seed=0, rise=1.5, at=AT):
    """Return nine action potentials with noise, at 40 kHz."""
    t = np.arange(0.0, 200.0, DT)
    v = -65.0 + sum(85.0 * np.exp(-np.abs(t - k) / rise) for k in at)
    return v + np.random.default_rng(seed).normal(0.0, sd, t.size)


def spikes_of(v, dims=("time",), dt=DT, **options):
    return jfx.traces(v, dims, dt_ms=dt, quantify=False).jfne.to_signals(**options).spikes


@pytest.mark.parametrize("sd", [0.0, 0.5, 1.0, 2.0])
def test_a_noisy_spike_is_one(sd):
    for seed in range(20):
        v = noisy(sd, seed)
        assert spikes_of(v).sum() == 9
        times = jfx.soft_spike_times(jfx.traces(v, ["time"], dt_ms=DT), 12)
        assert times.spike_count.data.magnitude == 9
        assert np.abs(times.spike_time.data.magnitude[:9] - AT).max() < 1
    assert sd < 0.5 or spikes_of(noisy(sd), refractory=0).sum() > 9


def test_spikes_further_apart_all_count():
    for interval in (2.0, 2.5, 4.0):
        t = np.arange(0, 100, DT)
        v = np.where(t % interval < 0.2, 20.0, -65.0)
        assert spikes_of(v).sum() == np.sum(np.diff(v) > 0)
    assert spikes_of(np.where(np.arange(40) % 2, 20.0, -65.0), dt=1.0).sum() == 20
    assert (
        spikes_of(np.where(np.arange(40) % 2, 20.0, -65.0), dt=1.0, refractory="3 ms").sum() == 10
    )


V = np.random.default_rng(3).normal(0, 30, (2, 3, 40))
DIMS = ("trial", "unit", "time")


def test_it_is_the_plain_loop(backend, order, crossings):
    v = xr.DataArray(V.astype("f4"), dims=DIMS).transpose(*order)
    for dead, samples in (
        ("0.3 ms", 3),
        (0.25, 3),
        (1.0, 10),
        ("2000 us", 20),
        (0, 1),
        (1e9, 10**9),
    ):
        ds = backend.by_hand(v.values, order)
        made = ds.jfne.to_signals(refractory=dead)
        want = crossings(v, 0, order.index("time"), samples)
        np.testing.assert_array_equal(backend.values(made.spikes), want, err_msg=str(dead))
        assert backend.holds(made.spikes, unit=False)
        if samples not in (1, 3):
            continue
        times = ds.jfne.soft_spike_times(25, refractory=dead)
        count = backend.values(times.spike_count.transpose("trial", "unit"))
        want = want.sum(axis=order.index("time"))
        np.testing.assert_array_equal(
            count, want if order.index("trial") < order.index("unit") else want.T
        )


@pytest.mark.parametrize(
    "chunks", [((2,), (3,), (1,) * 40), 3, ((1, 1), (3,), (5, 1, 1, 30, 3)), -1]
)
def test_chunks_make_no_difference(chunks, crossings):
    lazy = spikes_of(dask.array.from_array(V, chunks=chunks), DIMS, dt=0.1, refractory=0.5)
    assert lazy.data.chunks == dask.array.from_array(V, chunks=chunks).chunks
    np.testing.assert_array_equal(lazy, crossings(V, 0, 2, 5))
    for data in (V, dask.array.from_array(V, chunks=chunks)):
        numbers = spikes_of(data, DIMS, dt=0.1, refractory=0.5, surrogate="arctan")
        assert numbers.dtype == np.float64
        np.testing.assert_array_equal(numbers, lazy)


def test_many_chunks_are_as_many_tasks_each():
    sizes = [
        len(spikes_of(dask.array.zeros((n, 2), chunks=1), ("time", "unit")).data.dask.to_dict())
        for n in (10, 20, 40)
    ]
    assert sizes[2] - sizes[1] <= 2.1 * (sizes[1] - sizes[0])


@pytest.mark.parametrize("surrogate", [None, "arctan"])
def test_under_jax(crossings, surrogate):
    run = lambda v, dead: (
        spikes_of(v, ("unit", "time"), dt=0.1, refractory=dead, surrogate=surrogate).data
    )
    want = crossings(V, 0, 2, 5)
    mapped = jax.jit(jax.vmap(lambda v: run(v, 0.5)))(jnp.array(V))
    np.testing.assert_array_equal(mapped, want)
    if surrogate:
        # the derivative is that of all crossings
        slopes = [
            jax.grad(lambda v, dead=dead: run(v, dead).sum())(jnp.array(V[0])) for dead in (0.5, 0)
        ]
        np.testing.assert_array_equal(*slopes)
        assert slopes[0].any()


def test_it_is_recorded():
    ds = jfx.traces(V[0], ("unit", "time"), dt_ms=0.1)
    step = lambda **how: ds.jfne.to_signals(**how).jfne.provenance["steps"][-1]["parameters"]
    assert step()["refractory_ms"] == 2.0
    assert step(refractory="500 us")["refractory_ms"] == 0.5
    for without in ({"refractory": 0}, {"spike_rule": "level"}, {"spike_threshold": None}):
        assert "refractory_ms" not in step(**without)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"refractory": -1}, jfx.ArgumentError, "0 or more"),
        ({"refractory": np.inf}, jfx.ArgumentError, "inf ms"),
        ({"refractory": np.nan}, jfx.ArgumentError, "nan ms"),
        ({"refractory": "2 mV"}, jfx.UnitError, "refractory"),
        ({"refractory": 1, "spike_rule": "level"}, jfx.ArgumentError, "'level'"),
    ],
)
def test_what_is_wrong_is_said(refused, options, error, said):
    ds = jfx.traces(V[0], ("unit", "time"), dt_ms=0.1)
    with refused(error, said):
        ds.jfne.to_signals(**options)
    with refused(error, said):
        jfx.JaxleyTraceSpec(**options)
    with refused(error, said):
        jfx.configuration().emitter(**options)
    if "spike_rule" not in options:
        with refused(error, said):
            ds.jfne.soft_spike_times(3, **options)


def test_configurations_of_earlier_versions_count_every_crossing():
    base = jfx.configuration().network(n=2).field(domain="point").probe(name="p")
    new, old = base.emitter(), base.emitter(refractory=0)
    stored = old.to_dict()
    # what an earlier version stored, and its hash
    assert stored["stages"]["emitter"] == {
        "family": "custom",
        "mode": "external_voltage",
        "spike_threshold_mV": 0.0,
        "spike_rule": "crossing",
    }
    assert jfx.Configuration.from_dict(stored) == old != new
    assert jfx.Configuration.from_dict(new.to_dict()) == new
    assert "refractory_ms=0" in repr(old)
    assert "refractory" not in repr(new)
    v = noisy(1.0)[:, None] * [1, 1]
    count = lambda cfg: int(jfx.construct(cfg).simulate_external(v, dt_ms=DT).spikes.sum())
    assert count(new) == 18 < count(old)
    readouts = (model := jfx.construct(old)).compute_readout(
        signals := model.simulate_external(v, dt_ms=DT), "spk"
    )
    assert jfx.replay(jfx.bundle(model, signals, readouts))
    spec = jfx.JaxleyTraceSpec(dt_ms=DT)
    assert int(jfx.jaxley_trace_to_signals(v, spec=spec).spikes.sum()) == 18
    spec = jfx.JaxleyTraceSpec(dt_ms=DT, refractory=0)
    assert int(jfx.jaxley_trace_to_signals(v, spec=spec).spikes.sum()) == count(old)


def test_where_jax_refuses_to_broadcast_and_to_promote():
    v = jnp.asarray(np.stack([noisy(1.0, seed)[:2000] for seed in range(3)]), jnp.float32)
    want = [spikes_of(v, ("unit", "time"), **how) for how in ({}, {"surrogate": "arctan"})]
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        made = [spikes_of(v, ("unit", "time"), **how) for how in ({}, {"surrogate": "arctan"})]
    for a, b in zip(made, want, strict=True):
        assert 0 < b.sum() < 10
        np.testing.assert_array_equal(a, b)
