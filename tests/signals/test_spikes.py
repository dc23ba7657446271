"""`to_signals`, `spike_times`, `firing_rate`: on every kind of array, in every order of dims."""

import dask
import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import arrays as _arrays
from jaxfne_xr.core.units import magnitude, quantity, units_of

ureg = pint.application_registry
V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])


def by_hand(v=V, dims=("unit", "time"), units="mV", dt=0.1, **coords):
    """Return the Dataset that someone would make with xarray alone."""
    ds = xr.Dataset({"v": (dims, v, {"units": units})}, coords)
    return ds.assign_coords(time=("time", dt * np.arange(ds.sizes["time"]), {"units": "ms"}))


# ------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("rule", ["crossing", "level"])
def test_voltage_and_spikes(backend, order, voltage, crossings, rule):
    v = voltage.transpose(*order)
    ds = backend.by_hand(v.values, order)
    before = ds.copy(deep=True)
    signals = ds.jfne.to_signals(spike_threshold=-5.0, spike_rule=rule, refractory=0)

    assert list(signals.data_vars) == ["V_m", "spikes"]
    assert signals.V_m.dims == signals.spikes.dims == order
    assert backend.holds(signals.V_m)
    assert backend.holds(signals.spikes, unit=False)
    assert (signals.V_m.dtype, signals.spikes.dtype) == (np.float32, bool)
    assert units_of(signals.V_m) == "mV"
    assert "units" not in signals.spikes.attrs
    np.testing.assert_array_equal(backend.values(signals.V_m), v)
    want = v >= np.float32(-5) if rule == "level" else crossings(v, -5, order.index("time"))
    np.testing.assert_array_equal(backend.values(signals.spikes), want)
    assert signals.jfne.validate()
    assert ds.identical(before)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "int32"])
def test_the_precision_is_kept(backend, voltage, crossings, dtype):
    v = voltage.values.astype(dtype)
    signals = backend.by_hand(v, voltage.dims).jfne.to_signals(spike_threshold=-5, refractory=0)
    # half precision is computed in float32
    assert signals.V_m.dtype == ("float32" if dtype == "float16" else dtype)
    np.testing.assert_array_equal(backend.values(signals.spikes), crossings(v, -5, 0))


def test_nothing_is_cast_down_to_compare(backend):
    v = [-1.0, np.nextafter(0.0, -1) - 1e-300, 1e-300]  # in float32 all of the last two are zero
    signals = backend.by_hand(v, ["time"]).jfne.to_signals(spike_rule="level")
    assert backend.values(signals.spikes).tolist() == [False, False, True]


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 1), (5, 0)])
def test_few_samples(backend, shape):
    signals = backend.by_hand(np.ones(shape, "f4"), ("time", "unit")).jfne.to_signals()
    assert signals.spikes.shape == shape
    assert not backend.values(signals.spikes).any()


@pytest.mark.parametrize("dims", [("time",), ("time", "unit", "feature"), ("a", "time", "b", "c")])
def test_any_dims(backend, dims, crossings):
    v = np.random.default_rng(0).normal(size=(4,) * len(dims)).astype("f4")
    signals = backend.by_hand(v, dims).jfne.to_signals(refractory="0.3 ms")
    np.testing.assert_array_equal(
        backend.values(signals.spikes), crossings(v, 0, dims.index("time"), 3)
    )


@pytest.mark.parametrize("block", [1, 24, 100, 1 << 20])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
def test_blocks_of_any_size_give_the_same(monkeypatch, order, voltage, crossings, block, layout):
    monkeypatch.setattr(_arrays, "BLOCK_BYTES", block)
    v = voltage.transpose(*order).values
    v = {"C": v.copy(), "F": np.asfortranarray(v), "strided": v[:, :, ::2], "reversed": v[::-1]}[
        layout
    ]
    signals = by_hand(v, order).jfne.to_signals(refractory=0.3)
    np.testing.assert_array_equal(signals.spikes, crossings(v, 0, order.index("time"), 3))


def test_volts_are_converted(backend, voltage):
    volts = backend.by_hand(voltage.values / np.float32(1000), voltage.dims, units="V")
    signals = volts.jfne.to_signals()
    assert (units_of(signals.V_m), signals.V_m.dtype) == ("mV", np.float32)
    assert backend.holds(signals.V_m)
    np.testing.assert_allclose(backend.values(signals.V_m), voltage, rtol=3e-7)


def test_values_are_shared_as_xarray_does_and_not_copied():
    ds = by_hand()
    assert np.shares_memory(ds.jfne.to_signals().V_m.data, ds.v.data)


@pytest.mark.parametrize("name", ["v", "V_m", "vm_soma"])
def test_the_voltage_is_found(name):
    ds = by_hand().rename(v=name).assign(i=("time", np.zeros(5), {"units": "nA"}))
    np.testing.assert_array_equal(ds.jfne.to_signals().V_m, V)


def test_the_voltage_may_be_named():
    ds = by_hand().assign(dend=(("unit", "time"), V + 1, {"units": "mV"}))
    np.testing.assert_array_equal(ds.jfne.to_signals().V_m, V)
    np.testing.assert_array_equal(ds.jfne.to_signals(voltage="dend").V_m, V + 1)


@pytest.mark.parametrize(
    "threshold", [-20, -20.0, "-20 mV", "-0.02 V", ureg.Quantity(-0.02, "V"), np.float32(-20)]
)
def test_the_threshold_takes_a_number_a_text_or_a_quantity(threshold):
    signals = by_hand().jfne.to_signals(spike_threshold=threshold)
    assert signals.jfne.provenance["steps"][-1]["parameters"]["spike_threshold_mV"] == -20
    assert signals.identical(by_hand().jfne.to_signals(spike_threshold=-20.0))


def test_without_a_threshold_there_are_no_spikes(backend, voltage, refused):
    ds = backend.by_hand(voltage.values, voltage.dims)
    assert list(ds.jfne.to_signals(spike_threshold=None).data_vars) == ["V_m"]
    voltage.values[1, 1, 1] = np.nan
    with refused(jfx.NonFiniteError, "NaN at index time=1, unit=1, trial=1"):
        ds = backend.by_hand(voltage.values, voltage.dims)
        backend.values(ds.jfne.to_signals(spike_threshold=None).V_m)


def test_dt_makes_the_times_where_there_are_none():
    signals = by_hand().drop_vars("time").jfne.to_signals(dt_ms="25 us")
    np.testing.assert_allclose(signals.time, 0.025 * np.arange(5), rtol=1e-15)
    assert signals.time.attrs["units"] == "ms"


def test_coordinates_and_their_indexes_are_kept():
    index = pd.MultiIndex.from_tuples([("L4", 1), ("L5", 1)], names=["layer", "n"])
    ds = by_hand(x=("unit", [1.0, 2.0], {"units": "um"}), subject="s1", other=("elsewhere", [1, 2]))
    ds = ds.assign_coords(depth=(("unit", "time"), V)).assign_coords(
        xr.Coordinates.from_pandas_multiindex(index, "unit")
    )
    signals = ds.jfne.to_signals()
    assert set(signals.coords) == set(ds.coords) - {"other"}
    assert signals.xindexes["unit"].equals(ds.xindexes["unit"])
    assert signals.sel(layer="L5").sizes["n"] == 1
    assert signals.sel(time=0.21, method="nearest").time == pytest.approx(0.2)


# -------------------------------------------------------------------------------------------------- scope


def test_scope_and_provenance():
    signals = by_hand().jfne.to_signals(spike_threshold="-20 mV", spike_rule="level")
    assert {k: v for k, v in signals.attrs.items() if k != "jaxfne_xr"} == {
        "model_status": "computational_scaffold",
        "amplitude_status": 0,
        "source_calibration_status": "uncalibrated_voltage_proxy",
        "field_solver_status": "not_computed",
    }
    (step,) = signals.jfne.provenance["steps"]
    assert step["function"] == "to_signals"
    assert (
        step["parameters"] | {"spike_rule": "level", "precision": "float64"} == step["parameters"]
    )


def test_steps_are_added_and_those_before_are_kept():
    times = jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals().jfne.spike_times()
    steps = [step["function"] for step in times.jfne.provenance["steps"]]
    assert steps == ["traces", "to_signals", "spike_times"]


# ------------------------------------------------------------------------------------------------- source


def test_a_source_of_the_same_kind(backend, order, voltage):
    v = voltage.transpose(*order)
    ds = backend.by_hand(v.values, order)
    signals = ds.jfne.to_signals(source=backend.array(v.values * 2))
    assert signals.source.dims == order
    assert backend.holds(signals.source)
    assert units_of(signals.source) == "nA"
    np.testing.assert_array_equal(backend.values(signals.source), 2 * v)
    assert signals.attrs["source_calibration_status"] == "uncalibrated_current"
    assert signals.jfne.validate()


def test_a_source_by_name_by_labels_or_as_a_quantity():
    ds = by_hand().assign(i=(("time", "unit"), 1000 * V.T, {"units": "pA"}))
    ways = (
        "i",
        ds.i,
        ds.i.variable,
        ds.i.drop_vars("time"),
        ds.i.transpose(),
        ureg.Quantity(V, "nA"),
        ureg.Quantity(V / 1000, "uA"),
        xr.DataArray(quantity(V, "nA"), dims=("unit", "time")),
        V,
        V.tolist(),
    )
    for way in ways:
        source = ds.jfne.to_signals(source=way).source.transpose("unit", "time")
        assert units_of(source) == "nA"
        np.testing.assert_allclose(magnitude(source.data), V, rtol=1e-15)


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: ureg.Quantity(a, "nA")])
@pytest.mark.parametrize("quantify", [True, False])
def test_a_source_array_stays_apart(wrap, quantify):
    current = V.copy()
    ds = jfx.traces(V, ("unit", "time"), dt_ms=0.1, quantify=quantify)
    signals = ds.jfne.to_signals(source=wrap(current))
    current[...] = 99
    np.testing.assert_array_equal(magnitude(signals.source.data), V)


def test_labels_of_a_source_may_be_in_another_unit():
    seconds = xr.DataArray(
        V, dims=("unit", "time"), coords={"time": ("time", np.arange(5) * 1e-4, {"units": "s"})}
    ).assign_attrs(units="nA")
    pinted = by_hand().pint.quantify()
    for ds in (by_hand(), pinted):
        assert "source" in ds.jfne.to_signals(source=seconds)
        current = pinted.v.copy(data=ureg.Quantity(V, "nA"))
        assert "source" in ds.jfne.to_signals(source=current)


# -------------------------------------------------------------------------------------------- spike times


def test_spike_times_are_the_spikes(backend, order, voltage, crossings):
    v = voltage.transpose(*order).values
    ds = backend.by_hand(v, order).assign_coords(unit=["a", "b", "c"], layer=("unit", [4, 5, 5]))
    times = ds.assign_coords(subject="s1").jfne.to_signals(refractory=0).jfne.spike_times()
    want = crossings(voltage.values, 0, 0)
    rows = np.argwhere(want)  # (time, unit, trial): ordered in time
    assert times.sizes == {"spike": len(rows)}
    np.testing.assert_allclose(times.time, 0.1 * rows[:, 0], rtol=1e-14)
    columns = (times.time / 0.1).round().values, times.unit.values, times.trial.values
    assert {*zip(*columns, strict=True)} == {(t, "abc"[u], k) for t, u, k in rows}
    assert (times.layer == xr.where(times.unit == "a", 4, 5)).all()
    assert (times.time.attrs["units"], times.subject) == ("ms", "s1")
    assert times.attrs["model_status"] == "computational_scaffold"


def test_spike_times_keep_the_units_of_coordinates():
    ds = by_hand(
        x=("unit", quantity(np.array([1.0, 2.0]), "um")),
        y=("unit", jnp.array([3.0, 4.0]), {"units": "um"}),
    )
    times = ds.jfne.to_signals(refractory=0).jfne.spike_times()
    assert times.x.attrs["units"] == times.y.attrs["units"] == "um"
    assert times.x.values.tolist() == [1.0, 2.0, 1.0]
    assert times.y.values.tolist() == [3.0, 4.0, 3.0]


def test_no_spikes_are_an_empty_list():
    times = by_hand().jfne.to_signals(spike_threshold=1000).jfne.spike_times()
    assert times.sizes == {"spike": 0}
    assert set(times.coords) == {"time", "unit"}


def test_spike_times_need_concrete_spikes(refused):
    with refused(jfx.DataError, "JAX traces", "firing_rate"):
        jax.jit(
            lambda v: (
                jfx.traces(v, ("unit", "time"), dt_ms=0.1)
                .jfne.to_signals()
                .jfne.spike_times()
                .time.data
            )
        )(V)


# -------------------------------------------------------------------------------------------- firing rate


def test_firing_rate_is_spikes_over_time(backend, order, voltage, crossings):
    ds = backend.by_hand(voltage.transpose(*order).values, order, dt=0.5)
    signals = ds.jfne.to_signals()  # 2 ms are four samples
    rate = signals.jfne.firing_rate().firing_rate
    assert rate.dims == tuple(d for d in order if d != "time")
    assert backend.holds(rate)
    assert units_of(rate) == "Hz"
    want = crossings(voltage.values, 0, 0, 4).sum(axis=0) / (9 * 0.5e-3)
    np.testing.assert_allclose(backend.values(rate.transpose("unit", "trial")), want, rtol=1e-6)


def test_firing_rate_of_a_window():
    v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)
    signals = jfx.traces(v, ["time"], dt_ms=0.1, coords={"subject": "s1"}).jfne.to_signals()
    rate = signals.isel(time=slice(0, 100)).jfne.firing_rate()
    assert rate.firing_rate.item().magnitude == pytest.approx(100)
    assert rate.subject == "s1"


@pytest.mark.parametrize("function", [jfx.spike_times, jfx.firing_rate])
def test_spikes_are_needed(refused, function):
    with refused(jfx.VariableError, "spikes", "to_signals()"):
        function(by_hand().jfne.to_signals(spike_threshold=None))


def test_a_rate_needs_an_interval(refused):
    with refused(jfx.TimeAxisError, "one sample"):
        by_hand().jfne.to_signals().isel(time=[0]).jfne.firing_rate()
    with refused(jfx.TimeAxisError, "no samples"):
        by_hand().jfne.to_signals().isel(time=[]).jfne.firing_rate()


# ----------------------------------------------------------------------------------------------- dask, JAX


@pytest.mark.parametrize("chunks", [1, 2, 3, (4, 2), ((1, 1), (1, 3, 1)), -1])
def test_chunks_of_any_size_give_the_same(chunks):
    lazy = by_hand(dask.array.from_array(V, chunks=chunks)).jfne.to_signals(source=V)
    assert isinstance(lazy.spikes.data, dask.array.Array)
    assert isinstance(lazy.spikes.data._meta, np.ndarray)
    xr.testing.assert_identical(lazy.compute(), by_hand().jfne.to_signals(source=V))


def test_quantified_dask_is_computed_by_dask():
    lazy = jfx.traces(
        dask.array.from_array(V, chunks=2), ("unit", "time"), dt_ms=0.1, quantify=True
    ).jfne.to_signals()
    (signals,) = dask.compute(lazy)
    xr.testing.assert_identical(
        signals, jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    )


def test_dask_signals_are_computed_by_xarray():
    lazy = jfx.traces(dask.array.from_array(V), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    want = jfx.traces(V, ("unit", "time"), dt_ms=0.1, quantify=False).jfne.to_signals()
    xr.testing.assert_identical(lazy.compute(), want)


def test_dask_says_where_in_the_whole_array(refused):
    v = np.zeros((100, 6), np.float32)
    v[73, 4] = np.inf
    lazy = by_hand(dask.array.from_array(v, chunks=(8, 5)), ("time", "unit")).jfne.to_signals()
    for variable in (lazy.V_m, lazy.spikes):
        with refused(jfx.NonFiniteError, "Inf at index time=73, unit=4"):
            variable.compute()


def test_values_that_are_not_finite(backend, order, voltage, refused):
    voltage.values[4, 2, 1] = voltage.values[6, 0, 0] = np.nan
    v = voltage.transpose(*order).values
    lazy = backend.kind is dask.array.Array
    place = ", ".join(f"{d}={i}" for d, i in zip(order, np.argwhere(np.isnan(v))[0], strict=True))
    with refused(jfx.NonFiniteError, *(["NaN"] if lazy else ["2 of 54", f"NaN at index {place}"])):
        backend.values(backend.by_hand(v, order).jfne.to_signals().spikes)


def test_jit_is_the_same(voltage):
    def run(v):
        signals = jfx.traces(v, voltage.dims, dt_ms=0.1).jfne.to_signals()
        assert signals.attrs["model_status"] == "computational_scaffold"
        return signals.V_m.data, signals.spikes.data, signals.jfne.firing_rate().firing_rate.data

    v = jnp.array(voltage.values)
    for traced, plain in zip(jax.jit(run)(v), run(np.asarray(v)), strict=True):
        np.testing.assert_allclose(traced, magnitude(plain), rtol=1e-6)


@pytest.mark.slow
def test_grad_flows_through_the_voltage_and_the_source(x64):
    def run(v, units):
        ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1, units=units)
        signals = ds.jfne.to_signals(source=v)
        return (signals.V_m.data**2).sum() + (3 * signals.source.data).sum()

    v = jnp.array(V)
    np.testing.assert_allclose(jax.grad(run)(v, "mV"), 2 * V + 3, rtol=1e-15)
    np.testing.assert_allclose(jax.grad(run)(v, "V"), 2e6 * V + 3, rtol=1e-15)
    assert jax.grad(run)(v.astype("f4"), "mV").dtype == np.float32


def test_vmap_is_one_by_one(voltage, crossings):
    def run(v):
        return jfx.traces(v, ("time", "unit"), dt_ms=0.7).jfne.to_signals().spikes.data

    spikes = jax.vmap(run, in_axes=2, out_axes=2)(jnp.array(voltage.values))
    np.testing.assert_array_equal(spikes, crossings(voltage.values, 0, 0, 3))


# ------------------------------------------------------------------------------------------ what is refused

TWO = by_hand().rename(v="soma").assign(dend=(("unit", "time"), V, {"units": "V"}))
CURRENT = by_hand().assign(g=(("unit", "time"), V, {"units": "uS"}), bare=(("unit", "time"), V))


@pytest.mark.parametrize(
    ("ds", "options", "error", "said"),
    [
        (by_hand().rename(time="t"), {}, jfx.DimensionError, '"time"'),
        (by_hand(V[:, :0]), {}, jfx.TimeAxisError, "no samples"),
        (by_hand(units="S/m"), {}, jfx.UnitError, "S/m"),
        (by_hand(units="no unit"), {}, jfx.UnitError, "cannot read"),
        (by_hand().assign(v=(("unit", "time"), V)), {}, jfx.UnitError, 'attrs["units"]'),
        (by_hand(V * 1j), {}, jfx.DataError, "complex"),
        (by_hand(V.astype(str)), {}, jfx.DataError, "<U"),
        (by_hand(V > 0), {}, jfx.DataError, "bool"),
        (TWO, {}, jfx.VariableError, "['soma', 'dend']"),
        (TWO, {"voltage": "axon"}, jfx.VariableError, "'axon'"),
        (xr.Dataset({"i": ("time", V[0], {"units": "nA"})}), {}, jfx.VariableError, "'i': 'nA'"),
        (xr.Dataset(), {}, jfx.VariableError, "no variable"),
        (CURRENT, {"voltage": "g"}, jfx.UnitError, "uS"),
        (by_hand().drop_vars("time"), {}, jfx.TimeAxisError, "dt_ms=0.1"),
        (by_hand(), {"dt_ms": 0.2}, jfx.TimeAxisError, "agree"),
        (by_hand(), {"dt_ms": 0}, jfx.TimeAxisError, "positive"),
        (by_hand(), {"dt_ms": -1}, jfx.TimeAxisError, "positive"),
        (by_hand(), {"dt_ms": np.nan}, jfx.TimeAxisError, "nan"),
        (by_hand(), {"dt_ms": "1 mV"}, jfx.UnitError, "1 mV"),
        (by_hand(), {"spike_threshold": "3 ms"}, jfx.UnitError, "3 ms"),
        (by_hand(), {"spike_threshold": ureg.Quantity(3, "ms")}, jfx.UnitError, "3 millisecond"),
        (by_hand(), {"spike_threshold": "-20"}, jfx.UnitError, "'-20'"),
        (by_hand(), {"spike_threshold": "low"}, jfx.UnitError, "'low'"),
        (by_hand(), {"spike_threshold": np.nan}, jfx.ArgumentError, "finite"),
        (by_hand(), {"spike_threshold": np.inf}, jfx.ArgumentError, "finite"),
        (by_hand(), {"spike_threshold": [1, 2]}, jfx.ArgumentError, "one number"),
        (by_hand(), {"spike_rule": "peak"}, jfx.ArgumentError, "'level'"),
        (CURRENT, {"source": "k"}, jfx.VariableError, "'k'"),
        (CURRENT, {"source": "g"}, jfx.UnitError, "uS"),
        (CURRENT, {"source": "bare"}, jfx.UnitError, "no unit"),
        (by_hand(), {"source": V.T}, jfx.DimensionError, "(5, 2)"),
        (by_hand(), {"source": V[:, :4]}, jfx.DimensionError, "(2, 4)"),
        (by_hand(), {"source": 1.0}, jfx.DimensionError, "shape ()"),
        (by_hand(), {"source": ureg.Quantity(V, "mV")}, jfx.UnitError, "mV"),
        (by_hand(), {"source": V * 1j}, jfx.DataError, "complex"),
        (by_hand(), {"source": V * np.nan}, jfx.NonFiniteError, "10 of 10"),
        (
            by_hand(),
            {"source": xr.DataArray(V, dims=("unit", "t"), attrs={"units": "nA"})},
            jfx.DimensionError,
            "'t'",
        ),
        (
            by_hand(),
            {"source": xr.DataArray(V[0], dims="time", attrs={"units": "nA"})},
            jfx.DimensionError,
            "time",
        ),
        (by_hand(), {"source": xr.DataArray(V, dims=("unit", "time"))}, jfx.UnitError, "no unit"),
        (by_hand(), {"source": by_hand(dt=0.2).v}, jfx.DimensionError, "labels"),
        (
            by_hand(unit=["a", "b"]),
            {"source": by_hand(unit=["b", "a"]).v},
            jfx.DimensionError,
            "labels",
        ),
    ],
)
def test_bad_input_is_refused_and_nothing_is_changed(refused, ds, options, error, said):
    before = ds.copy(deep=True)
    with refused(error, said):
        ds.jfne.to_signals(**options)
    assert ds.identical(before)


def test_all_problems_come_at_once_in_a_fixed_order(refused):
    with refused(jfx.DataError, "3 problems") as caught:
        by_hand(V * 1j).jfne.to_signals(dt_ms=-1, spike_rule="peak")
    assert [p.where for p in caught.value.problems] == ["v", "spike_rule", "dt_ms"]
    with refused(jfx.UnitError, "2 problems") as caught:  # arguments are checked before the data
        by_hand(V * 1j).jfne.to_signals(dt_ms="1 mV", spike_threshold="1 s")
    assert [p.where for p in caught.value.problems] == ["dt_ms", "spike_threshold"]


def test_a_constant_of_somebody_elses_jit_is_checked_and_used(refused):
    good, bad = (
        jnp.asarray(V, jnp.float32),
        jnp.asarray(np.where(V.max() == V, np.nan, V), jnp.float32),
    )

    def spikes(v, x):
        signals = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=False).jfne.to_signals()
        return x + signals.spikes.data.sum()

    assert jax.jit(lambda x: spikes(good, x))(0) == spikes(good, 0)
    with refused(jfx.NonFiniteError, "NaN"):
        jax.jit(lambda x: spikes(bad, x))(0)


def test_another_threshold_keeps_the_source():
    signals = by_hand().jfne.to_signals(source=2 * V)
    again = signals.jfne.to_signals(spike_threshold=-20)
    np.testing.assert_array_equal(again.source, 2 * V)
    assert again.jfne.scope.source_calibration_status == "uncalibrated_current"


def test_a_dim_given_twice_is_named(refused):
    with pytest.warns(UserWarning, match="Duplicate dimension"):
        ds = xr.Dataset({"v": (("unit", "unit", "time"), np.zeros((2, 2, 5)), {"units": "mV"})})
    with refused(jfx.DimensionError, "each dimension once"):
        ds.jfne.to_signals(dt_ms=0.1)
    assert "each dimension once" in str(jfx.validate(ds))


def test_chunks_of_a_quantity_are_told_apart_from_a_missing_unit(refused):
    ds = jfx.traces(V, ("unit", "time"), dt_ms=0.1).chunk(time=2)
    with refused(jfx.UnitError, "dask array of quantities", "pint.dequantify"):
        ds.jfne.to_signals()
