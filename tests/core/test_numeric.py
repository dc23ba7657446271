"""`numeric`: every type and byte order is computed in a stated precision, or refused by name."""

import dask.array
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pint_xarray  # noqa: F401  (quantities of pint)
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.numeric import PLAIN, as_floats, computable, native, real_numbers, together
from jaxfne_xr.core.units import is_quantity, magnitude, quantity, units_of

VALUES = [0.0, 1.0, 2.0, 3.0]
#: Type, how it is stored, what it is computed in.
TYPES = [
    ("f8", "f8", "f8"),
    (">f8", "f8", "f8"),
    (">f4", "f4", "f4"),
    ("g", "f8", "f8"),
    ("f2", "f2", "f4"),
    (">f2", "f2", "f4"),
    (ml_dtypes.bfloat16, ml_dtypes.bfloat16, "f4"),
    (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fn, "f4"),
    (ml_dtypes.int4, "i1", "f8"),
    ("u1", "u1", "f8"),
    (">i2", "i2", "f8"),
    (">u8", "u8", "f8"),
    ("?", "?", "?"),
]


@pytest.mark.parametrize(("given", "stored", "computed"), TYPES, ids=str)
@pytest.mark.parametrize("array", [np.array, lambda x: dask.array.from_array(x, chunks=2)])
def test_every_type_has_one_that_it_is_stored_and_computed_in(array, given, stored, computed):
    data = array(np.array(VALUES, given))
    kept, used = native(data), as_floats(computable(data))
    assert (kept.dtype, used.dtype) == (np.dtype(stored), np.dtype(computed))
    assert kept.dtype.isnative
    assert (kept is data) == (data.dtype == kept.dtype)
    np.testing.assert_array_equal(np.asarray(used), np.array(VALUES, given).astype(computed))


def test_jax_computes_in_its_own_types():
    for given, want in (("f4", "f4"), ("f2", "f4"), ("bfloat16", "f4"), ("i1", "f4"), ("?", "?")):
        data = jnp.array(VALUES, given)
        assert as_floats(computable(data)).dtype == want
    with jax.enable_x64(True):
        assert as_floats(computable(jnp.array(VALUES, "i8"))).dtype == "f8"


def test_what_is_no_number_is_left_alone():
    for data in (np.array(["a"]), np.array([None]), np.array([1j]), np.array([1], "m8[ms]"), "a"):
        assert computable(data) is data
    assert native(np.array([1j], ">c16")).dtype == "c16"


NO_NUMBERS = [
    (np.array([1j, 2]), ".real"),
    (np.array(["1", "2"]), ".astype(float)"),
    (np.array([1, None]), ".astype(float)"),
    (np.array([1, 2], "m8[ms]"), 'np.timedelta64(1, "ms")'),
    (np.array([1, 2], "M8[ms]"), "np.timedelta64"),
    (np.array([(1.0, 2.0)] * 2, [("v", "f8"), ("w", "f8")]), 'data["v"]'),
]


@pytest.mark.parametrize(("values", "remedy"), NO_NUMBERS, ids=lambda x: str(x)[:10])
def test_what_is_no_number_is_refused_by_name(refused, values, remedy):
    with refused(jfx.DataError, f"values of type {values.dtype}", "real numbers", remedy):
        as_floats(values)
    where = "v" if values.dtype.kind == "c" else "data"  # other arrays may be complex
    with refused(jfx.DataError, f"{where}: found values of type", "real numbers"):
        jfx.traces(values, ["time"], dt_ms=1.0)
    lfp = xr.Dataset({"lfp": (("contact", "time"), np.stack([values] * 2), {"units": "uV"})})
    lfp = lfp.assign_coords(
        z=("contact", [0.0, 100.0], {"units": "um"}), time=("time", [0.0, 1.0], {"units": "ms"})
    )
    for function in (jfx.csd, jfx.psd, lambda ds: jfx.mean_square_loss(ds, ds)):
        with refused(jfx.DataError, "values of type", "real numbers"):
            function(lfp)
    with refused(jfx.DataError, "positions: found values of type", "expected real numbers"):
        jfx.probe_at(np.stack([values, values, values], axis=1))


def test_the_remedies_for_other_types_run():
    for values, _ in NO_NUMBERS[3:]:
        with pytest.raises(jfx.DataError) as caught:
            as_floats(values)
        remedy = caught.value.problems[0].remedy.split(": ")[-1]
        assert as_floats(eval(remedy, {"data": values, "np": np})).dtype == np.float64


@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "?"])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_remedy_for_a_mask_runs(kind, lazy):
    data = np.ma.masked_array(np.ones((2, 3), kind), [[False, True, False]] * 2)
    data = dask.array.from_array(data, chunks=2) if lazy else data
    with pytest.raises(jfx.DataError, match="masked") as caught:
        native(data, "some")
    made = eval(caught.value.problems[0].remedy, {"some": data, "np": np, "dask": dask})
    assert native(made) is made
    hidden = np.asarray(made)[:, 1]
    assert (~hidden if kind == "?" else np.isnan(hidden)).all()
    np.testing.assert_array_equal(np.asarray(made)[:, ::2], 1)


def test_the_remedy_for_a_mask_runs_on_data_and_arguments():
    names = {"np": np, "dask": dask}
    mV = np.ma.masked_greater(np.array([[1.0, 2.0, 99.0]] * 3), 9)
    ds = xr.Dataset({"v": (("unit", "time"), quantity(mV, "mV"))})
    with pytest.raises(jfx.DataError, match="masked") as caught:
        jfx.to_signals(ds, 0.1)
    exec(caught.value.problems[0].remedy, {"ds": ds, **names})
    with pytest.raises(jfx.NonFiniteError):
        jfx.to_signals(ds, 0.1)
    assert units_of(ds.v) == "mV"
    for data in (mV, quantity(mV * 1e-3, "V"), dask.array.from_array(mV, chunks=2)):
        with pytest.raises(jfx.DataError, match="masked") as caught:
            jfx.traces(data, ("unit", "time"), dt_ms=0.1)
        given = eval(f"dict({caught.value.problems[0].remedy})", {"data": data, **names})
        some = given["data"].to("mV") if is_quantity(data) else given["data"]
        np.testing.assert_allclose(np.asarray(magnitude(some)), mV.filled(np.nan), rtol=1e-15)
        with pytest.raises(jfx.NonFiniteError):  # NaN is seen, and not taken for a value
            jfx.traces(**given, dims=("unit", "time"), dt_ms=0.1).compute()


def test_a_masked_value_is_never_read():
    masked = np.ma.masked_greater(np.array([[1.0, 2.0, 99.0]] * 3), 9)
    lazy = dask.array.from_array(masked, chunks=2)
    take = (
        lambda x: jfx.traces(x, ["unit", "time"], dt_ms=0.1),
        lambda x: jfx.traces(quantity(x, "mV"), ["unit", "time"], dt_ms=0.1),
        lambda x: jfx.to_signals(jfx.traces(np.zeros((3, 3)), ["unit", "time"], dt_ms=1), source=x),
    )
    for data in (masked, lazy):
        for function in take:
            with pytest.raises(jfx.DataError, match="a masked array, whose mask would be lost"):
                function(data)
    for function in (
        jfx.probe_at,
        lambda x: jfx.morphology(x, x + 9, 1.0, [-1, 0, 1]),
        lambda x: jfx.morphology(np.zeros((3, 3)), np.ones((3, 3)), x[0], [-1, 0, 1]),
        lambda x: jfx.traces(np.zeros(3), ["time"], time=x[0]),
        lambda x: jfx.to_signals(xr.Dataset({"v": (("unit", "time"), quantity(x, "mV"))}), 0.1),
    ):
        with pytest.raises(jfx.DataError, match="a masked array"):
            function(masked)
    # xarray itself writes NaN where a mask is
    with pytest.raises(jfx.NonFiniteError, match="3 of 9 values not finite"):
        jfx.to_signals(xr.Dataset({"v": (("unit", "time"), masked, {"units": "mV"})}), 0.1)


def test_numbers_are_read_from_any_array_and_from_lists():
    want = np.array([[1.0, 2.0]])
    for given in ([[1, 2]], want.astype(">f4"), jnp.array(want), dask.array.array(want)):
        made = real_numbers(given, "x", "x=[1, 2]")
        assert (made.dtype, made.tolist()) == (np.float64, want.tolist())
    for bad in ("1", [1, [2, 3]], [1, None], [[1j]], True, None):
        with pytest.raises(jfx.ArgumentError, match=r"x: found .* expected real numbers"):
            real_numbers(bad, "x", "x=[1, 2]")


def test_a_dataset_is_read_as_native_once():
    values = np.arange(12.0).reshape(3, 4)
    other = xr.Dataset(
        {
            "v": (("unit", "time"), values.astype(">f8"), {"units": "mV"}),
            "i": (("unit", "time"), quantity(values.astype(">f4"), "nA")),
            "lazy": (("unit", "time"), dask.array.from_array(values.astype(">f8"), chunks=2)),
        },
        {
            "time": ("time", np.arange(4).astype(">f8"), {"units": "ms"}),
            "name": ("unit", list("abc")),
        },
    )
    read = as_dataset(other, "ds")
    for name, variable in read.variables.items():
        assert variable.dtype.isnative
        assert variable.attrs == other.variables[name].attrs
    for name in ("v", "lazy"):
        np.testing.assert_array_equal(read[name], values)
    assert str(read.i.data.units) == "nanoampere"
    assert read.sel(time=2.0).v.values.tolist() == values[:, 2].tolist()  # the index is native too
    assert as_dataset(read, "ds") is read


def test_integers_do_not_overflow():
    least = np.full((2, 6), -128, "i1")
    for array in (np.array, jnp.array, lambda x: dask.array.from_array(x, chunks=2)):
        lfp = xr.Dataset({"lfp_proxy": (("contact", "time"), array(least), {"units": "1"})})
        lfp = lfp.assign_coords(time=("time", np.arange(6.0), {"units": "ms"}))
        assert float(jfx.lfp_abs_mean(lfp).lfp_abs_mean) == 128
        far = lfp.rename(lfp_proxy="eeg_proxy", contact="channel")
        assert float(jfx.eeg_power(far).eeg_power) == 128**2
        made = jfx.calibrate(
            lfp, xr.DataArray(array(least * 1.5), dims=("contact", "time"), attrs={"units": "uV"})
        )
        assert float(made.calibration_gain) == 1.5
        assert (made.lfp_proxy_calibrated == -192).all()


def test_whole_positions_in_jax_do_not_round_the_others():
    sites = xr.Dataset(coords={a: ("unit", [0.75, 20.25], {"units": "um"}) for a in "xyz"})
    probe = jfx.probe_at([[0, 0, 50], [0, 0, 90]])
    whole = probe.assign_coords({a: ("contact", jnp.array(probe[a].values, int)) for a in "xyz"})
    for a in "xyz":
        whole[a].attrs["units"] = "um"
    model = jfx.PointSource(min_distance=1.0)
    a, b = (jfx.lead_field(sites, p, model).lead_field.values for p in (whole, probe))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def masked_by(x):
    """Return what dask makes of a selection by values: an array of unknown size."""
    return x[:, x[0] > 1]


def test_sizes_that_dask_does_not_know_are_asked_for(refused):
    values = np.arange(8.0).reshape(2, 4)
    lazy = lambda: masked_by(dask.array.from_array(values, chunks=2))
    attrs = {"units": "mV"}
    for data in (lazy(), quantity(lazy(), "mV")):
        ds = xr.Dataset({"v": (("unit", "time"), data, {} if hasattr(data, "units") else attrs)})
        for function in (jfx.psd, lambda ds: jfx.to_signals(ds, dt_ms=0.1), jfx.mean_V_m):
            with refused(
                jfx.DimensionError, "v: found a dask array of the shape (2, nan)"
            ) as caught:
                function(ds)
        scope = {"ds": ds}
        exec(caught.value.problems[0].remedy, scope)
        assert jfx.to_signals(scope["ds"], dt_ms=0.1).V_m.shape == (2, 2)

    array = xr.DataArray(lazy(), dims=("unit", "time"), name="v", attrs=attrs)
    with refused(jfx.DimensionError, "ds.data.compute_chunk_sizes()") as caught:
        jfx.to_signals(array, dt_ms=0.1)
    exec(caught.value.problems[0].remedy, {"ds": array})
    assert jfx.to_signals(array, dt_ms=0.1).V_m.shape == (2, 2)
    data = lazy()
    with refused(jfx.DimensionError, "data.compute_chunk_sizes()") as caught:
        jfx.traces(data, ("unit", "time"), dt_ms=0.1)
    exec(caught.value.problems[0].remedy, {"data": data})
    assert jfx.traces(data, ("unit", "time"), dt_ms=0.1).v.shape == (2, 2)
    ds = jfx.traces(data, ("unit", "time"), dt_ms=0.1)
    with refused(jfx.DimensionError, "source.compute_chunk_sizes()"):
        jfx.to_signals(ds, source=lazy())


def test_plain_types_need_no_copy():
    for dtype in PLAIN:
        data = np.zeros(2, dtype)
        assert computable(data) is data


def test_jax_and_dask_are_computed_together_as_the_first(refused):
    x, lazy = jnp.arange(3.0), dask.array.arange(3.0, chunks=2)
    assert all(isinstance(a, jax.Array | np.ndarray) for a in together(x, lazy))
    assert isinstance(together(lazy, x)[0], dask.array.Array)
    jax.jit(lambda x: together(lazy, x)[1])(x)
    a, b = (x[:, None] + jnp.arange(4.0) ** 2 for x in (x, 2 * x))
    one, other = (
        xr.Dataset({"lfp": (("contact", "time"), data, {"units": "uV"})})
        for data in (a, dask.array.from_array(np.asarray(b), chunks=2))
    )
    for pair in ((one, other), (other, one)):
        (loss,) = jfx.mean_square_loss(*pair).data_vars.values()
        assert abs(float(loss) - float(((a - b) ** 2).mean())) < 1e-5
        assert isinstance(loss.data, jax.Array) == (pair[0] is one)


def test_currents_are_checked_in_nA_whatever_their_unit():
    values = np.array([[1.0, -2.0], [3.0, 4.0]])
    nA, pA = (
        xr.Dataset({"i_membrane": (("recording", "time"), values * f, {"units": unit})})
        for f, unit in ((1, "nA"), (1000, "pA"))
    )
    assert jfx.check_currents(pA).cells == jfx.check_currents(nA).cells == (("all", 4.0, 6.0),)


def test_bands_are_found_in_frequencies_of_any_unit():
    spectrum = jfx.psd(jfx.traces(np.sin(np.arange(400.0)), ["time"], dt_ms=1.0), segment=100)
    f = spectrum.frequency
    other = spectrum.assign_coords(frequency=("frequency", f.values / 1e3, {"units": "kHz"}))
    a, b = (jfx.band_power(s, {"mine": (100, 200)}).band_power for s in (spectrum, other))
    np.testing.assert_allclose(magnitude(a.data), magnitude(b.data), rtol=1e-12)
    wrong = spectrum.assign_coords(frequency=("frequency", f.values, {"units": "mV"}))
    with pytest.raises(jfx.UnitError, match="frequency: found 'mV'"):
        jfx.band_power(wrong)


def test_a_window_has_the_same_samples_for_times_in_float32():
    ds = jfx.traces(np.arange(480.0), ["time"], dt_ms=0.1, quantify=False).jfne.to_signals()
    for unit, factor in (("s", 1e-3), ("us", 1e3), ("ms", 1)):
        times = (ds.time.values * factor).astype("f4")
        other = ds.assign_coords(time=("time", times, {"units": unit}))
        for start in range(1, 40):
            a, b = (jfx.mean_V_m(x, window=(start, start + 3)).mean_V_m.item() for x in (ds, other))
            assert a == b
