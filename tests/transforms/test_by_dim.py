"""Transformations by the names of dims, against the same thing done by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.transforms.pytrees import split

V = np.random.default_rng(1).normal(0, 30, (4, 3, 60)).astype(np.float32)


@pytest.fixture
def ds():
    coords = {
        "trial": np.arange(10, 14),
        "contrast": ("trial", np.arange(4.0)),
        "block": ("trial", np.array(list("aabb"))),
        "x": ("unit", np.arange(3.0)),
    }
    return jfx.traces(
        jnp.array(V), ("trial", "unit", "time"), dt_ms=0.1, coords=coords, quantify=False
    )


def test_vmap_is_the_loop(ds):
    def fn(ds):
        assert set(ds.dims) == {"unit", "time"}
        assert "block" not in ds.coords
        return ds.jfne.to_signals().assign(scaled=ds.v * ds.contrast)

    made = jfx.vmap(fn, dim="trial")(ds)
    one = [fn(ds.isel(trial=i).drop_vars(["trial", "block"])) for i in range(4)]
    loop = xr.concat(one, "trial")
    np.testing.assert_allclose(made.scaled.values, V * np.arange(4.0)[:, None, None], rtol=1e-6)
    np.testing.assert_array_equal(made.V_m.values, loop.V_m.values)
    np.testing.assert_array_equal(made.spikes.values, loop.spikes.values)
    assert made.V_m.dims == ("trial", "unit", "time")
    assert made.V_m.attrs["units"] == "mV"
    assert made.attrs == ds.jfne.to_signals().attrs
    for name in ("trial", "block", "x", "time"):
        xr.testing.assert_identical(made[name].variable, ds[name].variable)


@pytest.mark.slow
def test_vmap_of_arrays_and_of_several_arguments(ds):
    turned = ds.transpose("time", "trial", "unit")
    weights = jnp.arange(3.0)
    made = jfx.vmap(lambda a, b, w, scale: {"m": (a.v * b.v * xr.DataArray(w, dims="unit") * scale).mean()}, "trial")(
        ds, turned, weights, scale=2.0
    )  # fmt: skip
    expected = (V**2 * np.arange(3.0)[:, None] * 2).mean(axis=(1, 2))
    np.testing.assert_allclose(made["m"].data, expected, rtol=1e-5)
    assert made["m"].dims == ("trial",)
    bare = jfx.vmap(lambda a: a.data.sum(), "trial")(ds.v)
    np.testing.assert_allclose(bare, V.sum(axis=(1, 2)), rtol=1e-4)


@pytest.mark.slow
def test_they_nest(ds):
    twice = jfx.vmap(jfx.vmap(lambda v: (v**2).sum("time"), "unit"), "trial")(ds.v)
    assert twice.dims == ("trial", "unit")
    np.testing.assert_allclose(twice.data, (V**2).sum(axis=2), rtol=1e-5)
    slope = jfx.vmap(jfx.grad(lambda ds: (ds.v.data**2).sum()), "trial")
    for made in (
        slope(ds),
        jfx.jit(slope)(ds),
        jax.jit(lambda v: slope(ds.assign(v=ds.v.copy(data=v))).v.data)(ds.v.data),
    ):
        np.testing.assert_allclose(
            made if isinstance(made, jax.Array) else made.v.data, 2 * V, rtol=1e-6
        )


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_loop(ds, reverse):
    def step(carry, x):
        assert x.v.dims == ("trial", "unit")
        new = carry.copy(data=0.9 * carry.data + x.v.data)
        return new, new

    start = xr.zeros_like(ds.v.isel(time=0, drop=True))
    last, ys = jfx.scan(step, start, ds, dim="time", reverse=reverse)
    state, states = np.zeros((4, 3)), np.zeros(V.shape)
    for k in range(V.shape[2])[:: -1 if reverse else 1]:
        state = 0.9 * state + V[..., k]
        states[..., k] = state
    assert ys.dims == ("time", "trial", "unit")
    xr.testing.assert_identical(ys.time, ds.time)
    np.testing.assert_allclose(
        ys.transpose("trial", "unit", "time").values, states, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(last.values, state, rtol=1e-4, atol=1e-4)
    assert last.attrs == start.attrs


def test_scan_carries_datasets_and_arrays(ds):
    first = ds.isel(time=0, drop=True)

    def step(carry, x):
        box, count = carry
        return (box.assign(v=box.v.copy(data=jnp.maximum(box.v.data, x.v.data))), count + 1), None

    (peak, n), ys = jfx.scan(step, (first, 0), ds)
    assert ys is None
    assert int(n) == V.shape[2]
    np.testing.assert_array_equal(peak.v.data, V.max(axis=2))
    xr.testing.assert_identical(peak.drop_vars("v"), first.drop_vars("v"))


@pytest.mark.slow
def test_units_of_gradients(ds):
    signals = ds.jfne.to_signals()

    def loss(ds):
        return (ds.V_m**2).mean().assign_attrs(units="uV^2")

    value, slope = jfx.value_and_grad(loss)(signals)
    assert value.attrs["units"] == "uV^2"
    assert slope.V_m.attrs == {"units": "uV^2/mV"}
    assert list(slope.data_vars) == ["V_m"]  # spikes are truth values
    assert slope.attrs == {}
    np.testing.assert_allclose(slope.V_m.data, 2 * V / V.size, rtol=1e-5)
    xr.testing.assert_identical(slope.time, signals.time)
    boxed = jfx.grad(lambda ds: loss(ds).to_dataset(name="loss"))(signals)
    xr.testing.assert_identical(boxed, slope)
    array = jfx.grad(lambda v: (v.data**2).mean())(signals.V_m)
    assert isinstance(array, xr.DataArray)
    assert array.attrs == {"units": "1/mV"}


@pytest.mark.slow
def test_gradients_of_positions_and_of_several_arguments(ds):
    moved = ds.assign_coords(x=("unit", jnp.arange(3.0), {"units": "um"}))

    def loss(a, ds, b):
        return (ds.x.data**2).sum() * a + b["k"].data.sum(), {"aux": ds.v}

    given = (2.0, moved, {"k": ds.v})
    (value, aux), (of_a, of_ds, of_b) = jfx.value_and_grad(loss, (0, 1, 2), has_aux=True)(*given)
    assert float(of_a) == 5.0
    np.testing.assert_allclose(of_ds.x.data, [0.0, 4.0, 8.0])
    assert of_ds.x.attrs == {"units": "1/um"}
    assert "x" in of_ds.data_vars
    assert of_b["k"].attrs == {"units": "1/mV"}
    xr.testing.assert_identical(aux["aux"], moved.v)
    assert float(value) == pytest.approx(10 + float(V.sum()), rel=1e-4)
    slope, _ = jfx.grad(loss, 1, has_aux=True)(*given)
    xr.testing.assert_identical(slope, of_ds)


def test_labels_that_only_one_argument_has_come_back(ds):
    bare = ds.drop_vars("trial")
    for pair in ((bare, ds.drop_vars("block")), (ds.drop_vars("block"), bare)):
        made = jfx.vmap(lambda a, b: (a.v + b.v).sum(), dim="trial")(*pair)
        assert set(made.xindexes) == {"trial"}
        xr.testing.assert_identical(made.trial.variable, ds.trial.variable)
        xr.testing.assert_identical(made.block.variable, ds.block.variable)
    swapped = ds.isel(trial=[1, 0, 2, 3])
    with pytest.raises(jfx.DimensionError, match="trial: found labels"):
        jfx.vmap(lambda a, b, c: b.v + c.v, dim="trial")(bare, ds, swapped)


@pytest.fixture
def traces_of():
    def counted(fn):
        count = []

        def traced(*args, **kwargs):
            count.append(1)
            return fn(*args, **kwargs)

        return traced, count

    return counted


@pytest.mark.slow
def test_jit_traces_once_for_windows_of_one_length(ds, traces_of):
    fn, count = traces_of(lambda ds: ds.jfne.to_signals())
    run = jfx.jit(fn)
    for k in range(40):
        window = ds.isel(time=slice(k, k + 20))
        made = run(window)
        xr.testing.assert_identical(made.drop_attrs(), window.jfne.to_signals().drop_attrs())
        assert made.time.attrs == window.time.attrs
    assert len(count) == 1
    run(ds.isel(time=slice(0, 21)))
    assert len(count) == 2


@pytest.mark.parametrize("dt", [0.1, 0.025, 1 / 3, 1 / 30.0, 0.1 + 1e-13])
@pytest.mark.parametrize("start", [0.0, 1234.5, 1e6])
@pytest.mark.slow
def test_the_times_of_windows_are_told_by_their_interval(dt, start, traces_of):
    fn, count = traces_of(lambda ds: ds.isel(time=slice(2, 9)))
    run = jfx.jit(fn)
    times = start + dt * np.arange(400)
    ds = xr.Dataset({"v": ("time", jnp.arange(400.0))}, {"time": ("time", times, {"units": "ms"})})
    for k in range(0, 300, 7):
        window = ds.isel(time=slice(k, k + 100))
        xr.testing.assert_identical(run(window), window.isel(time=slice(2, 9)))
    assert len(count) == 1


@pytest.mark.slow
def test_times_that_are_values_count_from_the_start_under_jit(ds):
    start = float(ds.time[20])
    window = ds.isel(time=slice(20, 40)).map(
        lambda v: v.copy(data=v.data * 0 + np.sin(np.arange(20.0)))
    )
    here = window.jfne.soft_spike_times(2).spike_time
    inside = jfx.jit(lambda ds: ds.jfne.soft_spike_times(2).spike_time)(window)
    assert start > 0
    assert np.isfinite(here).any()
    np.testing.assert_allclose(inside + start, here, rtol=1e-5)


@pytest.mark.slow
def test_jit_puts_other_times_after_the_start(ds):
    window = ds.isel(time=slice(20, 40))
    shifted = jfx.jit(lambda ds: ds.assign_coords(time=ds.time + 0.05))(window)
    np.testing.assert_allclose(shifted.time, window.time + 0.05, rtol=1e-12)
    uneven = ds.isel(time=[0, 1, 5])
    xr.testing.assert_identical(jfx.jit(lambda ds: ds)(uneven), uneven)
    assert float(jfx.jit(lambda a, n: a * n)(2.0, n=3)) == 6.0


def test_gradient_and_value_are_one_trace_for_a_hundred_calls(ds, traces_of):
    fn, count = traces_of(lambda ds: (ds.jfne.to_signals().V_m.data ** 2).mean())
    run = jfx.jit(jfx.value_and_grad(fn))
    for k in range(100):
        run(ds.assign(v=ds.v.copy(data=ds.v.data + k)))
    assert len(count) == 1


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda ds: jfx.vmap(lambda d: d, "trial")(ds.assign(a=("unit", jnp.zeros(3)))),
         jfx.DimensionError, "only in v, not in a"),
        (jfx.vmap(lambda d: d, "tria"), jfx.DimensionError, "'trial'"),
        (lambda ds: jfx.vmap(lambda d: d, "trial")(jnp.zeros(3)), jfx.DimensionError, "none at all"),
        (lambda ds: jfx.vmap(lambda d, e: d, "trial")(ds, ds.isel(trial=slice(2))), jfx.DimensionError, "4 in"),
        (lambda ds: jfx.vmap(lambda d, e: d, "trial")(ds, ds.isel(trial=[1, 0, 2, 3])), jfx.DimensionError, "differ"),
        (jfx.vmap(lambda d: d.expand_dims(trial=3), "trial"), jfx.DimensionError, "in the result of fn"),
        (lambda ds: jfx.scan(lambda c, x: (c, x), 0.0, {"a": ds, "b": jnp.zeros(3)}), jfx.DimensionError, "without"),
        (lambda ds: jfx.scan(lambda c, x: c, 0.0, ds), jfx.ArgumentError, "(carry, y)"),
        (lambda ds: jfx.scan(lambda c, x: (c.T, x), ds.v[..., 0].drop_vars("time"), ds), jfx.DataError, "unit, trial"),
        (lambda ds: jfx.scan(lambda c, x: ({"a": c}, x), 0.0, ds), jfx.DataError, "before a step"),
        (lambda ds: jfx.scan(lambda c, x: (c.assign_attrs(units="V"), x), ds.v[..., 0].drop_vars("time"), ds),
         jfx.DataError, "'units': 'V'"),
        (lambda ds: jfx.scan(lambda c, x: (c.assign_attrs(a=1), x), ds.isel(time=0).drop_vars("time"), ds),
         jfx.DataError, "['a']"),
        (lambda ds: jfx.scan(lambda c, x: (c.drop_vars("x"), x), ds.isel(time=0).drop_vars("time"), ds),
         jfx.DataError, "coordinates"),
        (jfx.grad(lambda d: d.v.mean("time")), jfx.DimensionError, "('trial', 'unit')"),
        (jfx.grad(lambda d: d.v.data[0]), jfx.DimensionError, "of shape (3, 60)"),
        (lambda ds: jfx.grad(lambda d: d)(ds.jfne.to_signals()), jfx.DimensionError, "V_m"),
        (lambda ds: jfx.grad(lambda d: 1.0)(ds.jfne.to_signals()[["spikes"]]), jfx.DataError, "spikes (bool)"),
        (lambda ds: jfx.grad(lambda d: 1.0)(ds.jfne.quantify()), jfx.UnitError, ".jfne.to_jax()"),
        (lambda ds: jfx.jit(lambda a, b: a)(ds, ds.isel(time=slice(2, None))), jfx.TimeAxisError, "start at 0.2 ms"),
    ],
)  # fmt: skip
def test_bad_input(ds, call, error, said, refused):
    with refused(error, said):
        call(ds)


def test_float64_stays_where_64_bits_are_off(ds):
    with jax.enable_x64(True):
        wide = ds.assign(v=ds.v.copy(data=jnp.asarray(V, "f8")))
    made = jfx.vmap(lambda ds: ds.jfne.to_signals(), "trial")(wide)
    assert made.V_m.dtype == np.float64
    assert split(made)[1].leaves[0].name == "V_m"


def test_names_of_functions_are_kept():
    def loss(ds):
        """Say so."""

    for wrap in (jfx.jit, jfx.grad, jfx.value_and_grad, partial(jfx.vmap, dim="trial")):
        assert wrap(loss).__name__ == "loss"
