"""`traces`, `quantify`, `to_jax`: bare arrays become labelled, in their own kind, precision and order."""

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import arrays as _arrays
from jaxfne_xr.core.units import magnitude, quantity, units_of

V = np.array([[-65.0, -64.0, 20.0], [1.0, 2.0, 3.0]])


def label(**options):
    """Return traces of a (2, 3) array, one of the usual arguments replaced."""
    return jfx.traces(**{"data": V, "dims": ("unit", "time"), "dt_ms": 0.1} | options)


# ------------------------------------------------------------------------------------- what comes back


def test_axes_are_what_they_are_called(backend, order, voltage):
    ds = backend.traces(voltage.transpose(*order).values, order)
    assert ds.v.dims == order
    assert backend.holds(ds.v)
    assert units_of(ds.v) == "mV"
    assert ds.v.dtype == np.float32
    assert ds.time.dtype == np.float64
    assert ds.time.attrs["units"] == "ms"
    np.testing.assert_allclose(ds.time, 0.1 * np.arange(9), rtol=1e-15)
    np.testing.assert_array_equal(backend.values(ds.v.transpose(*voltage.dims)), voltage)


@pytest.mark.parametrize(
    ("layout", "dims"),
    [
        ("time_by_unit", ("time", "unit")),
        ("unit_by_time", ("unit", "time")),
        ("recording_by_time", ("recording", "time")),
    ],
)
def test_a_layout_is_a_shorthand_for_dims(layout, dims):
    assert label(dims=None, layout=layout).identical(label(dims=dims))


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((5,), ("time",)),
        ((1,), "time"),
        ((1, 4), ("time", "unit")),
        ((4, 0), ("time", "unit")),
        ((5, 2, 3), ("time", "unit", "feature")),
        ((2, 2, 5, 3), ("trial", "sweep", "time", "unit")),
    ],
)
def test_any_number_of_axes(backend, shape, dims):
    ds = backend.traces(np.zeros(shape), dims)
    assert ds.v.shape == shape
    assert backend.holds(ds.v)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int16", "int32", "uint8", "int64"]
)
def test_the_precision_is_kept(backend, dtype):
    assert not jax.config.jax_enable_x64
    assert backend.traces(np.zeros((3, 2), dtype), ("time", "unit")).v.dtype == dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_conversion_keeps_the_precision(backend, dtype):
    ds = backend.traces(np.full(3, -0.0625, dtype), ["time"], units="V")
    assert (ds.v.dtype, units_of(ds.v)) == (dtype, "mV")
    np.testing.assert_array_equal(backend.values(ds.v), -62.5)
    assert backend.holds(ds.v)


def test_bfloat16_is_a_real_number():
    data = jnp.array([1.0, 2.0], jnp.bfloat16)
    assert label(data=data, dims=["time"], quantify=False).v.dtype == jnp.bfloat16
    for kind in ("bfloat16", "float8_e4m3fn", "int4"):
        made = label(data=np.asarray(data).astype(kind), dims=["time"], quantify=False)
        np.testing.assert_array_equal(made.v.astype(float), [1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("v", "uV", "mV"),
        ("V_m", "V", "mV"),
        ("vm_soma", "V", "mV"),
        ("i_HH", "mA/cm^2", "mA/cm^2"),
        ("source", "pA", "nA"),
        ("gate", "1", "1"),
    ],
)
def test_voltages_are_converted_and_the_rest_is_kept(name, given, kept):
    assert units_of(label(units=given, name=name)[name]) == kept


def test_lists_and_quantities_are_read():
    want = label()
    assert label(data=V.tolist()).identical(want)
    assert (
        label(data=pint.application_registry.Quantity(V / 1000, "V")).v.pint.units
        == want.v.pint.units
    )
    lazy = label(data=quantity(dask.array.from_array(V, chunks=1), "mV"))
    assert isinstance(magnitude(lazy.v.data), dask.array.Array)


def test_the_unit_of_a_quantity_goes_before_the_argument():
    ds = label(data=pint.application_registry.Quantity(V, "uV"), units="V")
    np.testing.assert_allclose(magnitude(ds.v.data), V / 1000)


@pytest.mark.parametrize("quantify", [True, False, None])
def test_quantify_says_where_the_unit_is(quantify):
    on_numpy, on_jax = label(quantify=quantify), label(data=jnp.array(V), quantify=quantify)
    assert isinstance(on_numpy.v.data, pint.Quantity) == (quantify is not False)
    assert isinstance(on_jax.v.data, jax.Array) == (quantify is False)
    assert ("units" in on_numpy.v.attrs) == (quantify is False)


@pytest.mark.parametrize(
    "dt_ms", [0.025, "25 us", "25e-6 s", pint.application_registry.Quantity(25, "us")]
)
def test_dt_takes_a_number_a_text_or_a_quantity(dt_ms):
    np.testing.assert_allclose(label(dt_ms=dt_ms).time, [0, 0.025, 0.05], rtol=1e-15)


def test_times_are_taken_as_they_are_and_may_agree_with_dt():
    times = np.array([10, 10.5, 11])
    for time in (
        times,
        times.tolist(),
        xr.DataArray(times / 1000, dims="time", attrs={"units": "s"}),
        pint.application_registry.Quantity(times * 1000, "us"),
    ):
        np.testing.assert_allclose(label(dt_ms=None, time=time).time, times, rtol=1e-14)
        np.testing.assert_allclose(label(dt_ms=0.5, time=time).time, times, rtol=1e-14)


def test_coordinates_get_their_units():
    ds = label(
        coords={
            "unit": ["a", "b"],
            "x": ("unit", [1.0, 2.0]),
            "y": ("unit", [1.0, 2.0], {"units": "mm", "note": "kept"}),
            "layer": ("unit", [4, 5]),
            "subject": "s1",
        }
    )
    assert ds.x.attrs == {"units": "um"}
    assert ds.y.attrs == {"units": "um", "note": "kept"}
    assert ds.y.values.tolist() == [1000, 2000]
    assert ds.sel(unit="b").layer == 5
    assert ds.subject == "s1"


def test_the_provenance_says_how():
    ds = label(units="V")
    assert ds.jfne.provenance["steps"] == [
        {
            "function": "traces",
            "parameters": {
                "name": "v",
                "units": "V",
                "dims": ["unit", "time"],
                "dt_ms": 0.1,
                "precision": "float64",
            },
        }
    ]
    assert "model_status" not in ds.attrs


# ----------------------------------------------------------------------------- nothing shared, nothing changed


@pytest.mark.parametrize("units", ["mV", "V"])
@pytest.mark.parametrize("quantify", [True, False])
def test_arrays_passed_in_stay_apart(quantify, units):
    data, time, x = V.copy(), np.array([0.0, 1, 2]), np.array([0.0, 1])
    ds = label(
        data=data, dt_ms=None, time=time, units=units, coords={"x": ("unit", x)}, quantify=quantify
    )
    before = ds.copy(deep=True)
    for array in (data, time, x):
        array[...] = 99
    assert ds.identical(before)
    magnitude(ds.v.data)[...] = 7
    assert (data == 99).all()


def test_the_array_in_a_quantity_stays_apart():
    data = V.copy()
    ds = label(data=pint.application_registry.Quantity(data, "mV"))
    data[...] = 99
    np.testing.assert_array_equal(magnitude(ds.v.data), V)


def test_the_memory_order_is_kept():
    assert magnitude(label(data=np.asfortranarray(V)).v.data).flags.f_contiguous


def test_dask_stays_lazy():
    def fail(block):
        raise AssertionError("computed")

    data = dask.array.map_blocks(fail, dask.array.zeros((2, 3)), dtype=float, meta=np.empty((0, 0)))
    label(data=data, quantify=False).jfne.to_signals(spike_threshold="-1 mV").jfne.firing_rate()


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dims": ("unit", "trial")}, jfx.DimensionError, "time"),
        ({"dims": ("time", "time")}, jfx.DimensionError, "twice"),
        ({"dims": ("time",)}, jfx.DimensionError, "1 names"),
        ({"data": V[0], "dims": None, "layout": "time_by_unit"}, jfx.DimensionError, "2 names"),
        ({"layout": "time_by_unit"}, jfx.DimensionError, "both dims and layout"),
        ({"dims": None}, jfx.DimensionError, "neither dims nor layout"),
        ({"dims": None, "layout": "sideways"}, jfx.ArgumentError, "sideways"),
        ({"data": V[:, :0]}, jfx.TimeAxisError, "no samples"),
        ({"dt_ms": None}, jfx.TimeAxisError, "neither dt_ms nor time"),
        ({"dt_ms": 0}, jfx.TimeAxisError, "positive"),
        ({"dt_ms": -0.1}, jfx.TimeAxisError, "positive"),
        ({"dt_ms": np.nan}, jfx.TimeAxisError, "nan"),
        ({"dt_ms": np.inf}, jfx.TimeAxisError, "inf"),
        ({"dt_ms": "0.1 mV"}, jfx.UnitError, "0.1 mV"),
        ({"dt_ms": "soon"}, jfx.UnitError, "not a number"),
        ({"dt_ms": "1 moment"}, jfx.UnitError, "cannot read"),
        ({"dt_ms": [0.1]}, jfx.TimeAxisError, "[0.1]"),
        ({"dt_ms": True}, jfx.UnitError, "bool"),
        ({"time": [0, 1, 2]}, jfx.TimeAxisError, "agree"),
        ({"time": [0, 1]}, jfx.TimeAxisError, "shape (2,)"),
        ({"dt_ms": None, "time": [0, 2, 1]}, jfx.TimeAxisError, "step back"),
        ({"dt_ms": None, "time": [0, 1, 1]}, jfx.TimeAxisError, "repeated"),
        ({"dt_ms": None, "time": [0, 1, 3]}, jfx.TimeAxisError, "uneven"),
        ({"coords": {"time": [0, 1, 2]}}, jfx.TimeAxisError, "time=times"),
        ({"units": "S/m"}, jfx.UnitError, "S/m"),
        ({"units": "ms"}, jfx.UnitError, "ms"),
        ({"units": "milli-Volt!"}, jfx.UnitError, "cannot read"),
        ({"units": "furlongs per sip", "name": "i"}, jfx.UnitError, "cannot read"),
        ({"data": V * 1j}, jfx.DataError, "complex128"),
        ({"data": V.astype(str)}, jfx.DataError, "<U"),
        ({"data": V > 0}, jfx.DataError, "bool"),
        ({"data": V.astype(object)}, jfx.DataError, "object"),
        ({"data": xr.DataArray(V)}, jfx.DataError, "labelled already"),
        ({"data": np.ma.masked_array(V)}, jfx.DataError, "masked"),
    ],
)
def test_bad_input_is_refused(refused, options, error, said):
    with refused(error, said):
        label(**options)


def test_all_problems_come_at_once_in_a_fixed_order(refused):
    for _ in range(2):
        with refused(jfx.DimensionError, "5 problems") as caught:
            label(data=V * 1j, dims=("unit", "unit"), dt_ms=-1, units="S")
        where = [problem.where for problem in caught.value.problems]
        assert where[:2] == ["dims", "dims"]
        assert where[2:] == ["v", "dt_ms", "v"]


def test_values_that_are_not_finite_are_counted_and_placed(backend, order, voltage, refused):
    voltage.values[4, 2, 1], voltage.values[6, 0, 0], voltage.values[8, 1, 1] = (
        np.nan,
        np.inf,
        -np.inf,
    )
    first = voltage.transpose(*order)
    index = np.argwhere(~np.isfinite(first.values))[0]
    kind = "NaN" if np.isnan(first.values[tuple(index)]) else "Inf"
    place = ", ".join(f"{d}={i}" for d, i in zip(order, index, strict=True))
    lazy = backend.kind is dask.array.Array
    said = ["not finite"] if lazy else ["3 of 54", f"the first is {kind} at index {place}"]
    with refused(jfx.NonFiniteError, *said):
        backend.values(backend.traces(first.values, order).v)


def test_dask_says_where_in_the_whole_array(refused):
    data = np.zeros((100, 6), np.float32)
    data[73, 4] = np.nan
    ds = label(
        data=dask.array.from_array(data, chunks=(8, 5)), dims=("time", "unit"), quantify=False
    )
    with refused(jfx.NonFiniteError, "1 of", "NaN at index time=73, unit=4"):
        ds.v.compute()


@pytest.mark.parametrize("block", [1, 64, 1 << 20])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_blocks_of_any_size_count_and_place_alike(monkeypatch, refused, block, layout):
    monkeypatch.setattr(_arrays, "BLOCK_BYTES", block)
    data = np.zeros((90, 7), np.float32, order=layout)
    data[50:60, 3], data[89, 6] = np.nan, np.inf
    with refused(jfx.NonFiniteError, "11 of 630", "NaN at index time=50, unit=3"):
        label(data=data, dims=("time", "unit"))


@pytest.mark.parametrize("dtype", [">f4", "f4", "f8"])
def test_huge_values_are_finite(dtype):
    data = np.full((40, 10), np.finfo(dtype).max / 2, dtype)  # their squares are not
    np.testing.assert_array_equal(magnitude(label(data=data).v.data), data)


def test_bfloat16_is_checked_too(refused):
    with refused(jfx.NonFiniteError, "NaN at index time=1"):
        label(data=jnp.array([1, np.nan], jnp.bfloat16), dims=["time"], quantify=False)


# ------------------------------------------------------------------------------------ under JAX, and back


def test_traced_data_stay_jax_and_are_not_checked():
    @jax.jit
    def run(v):
        ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1)
        assert units_of(ds.v) == "mV"
        return ds.v.data

    v = jnp.array(V).at[0, 0].set(jnp.nan)
    np.testing.assert_array_equal(run(v), v)


def test_traced_data_are_never_quantified(refused):
    with refused(jfx.DataError, "JAX traces"):
        jax.jit(lambda v: jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=True).v.data)(V)


def test_quantify_and_to_jax_go_either_way(backend, voltage):
    ds = backend.traces(voltage.values, voltage.dims, coords={"x": ("unit", [1.0, 2, 3])})
    before = ds.copy(deep=True)
    quantified = ds.jfne.quantify()
    assert quantified.v.pint.units == "millivolt"
    assert "units" not in quantified.v.attrs
    assert quantified.x.attrs["units"] == "um"
    assert quantified.jfne.quantify().identical(quantified)
    assert ds.identical(before)
    if backend.kind is dask.array.Array:
        return
    on_jax = quantified.jfne.to_jax()
    assert isinstance(on_jax.v.data, jax.Array)
    assert on_jax.v.attrs["units"] == "mV"
    np.testing.assert_array_equal(on_jax.v, voltage)
    assert on_jax.jfne.to_jax().identical(on_jax)


def test_to_jax_shares_nothing():
    ds = label(data=V.astype("f4"))
    on_jax = ds.jfne.to_jax()
    magnitude(ds.v.data)[...] = 99
    np.testing.assert_array_equal(on_jax.v, V.astype("f4"))


def test_to_jax_takes_no_bits_away(x64, refused):
    assert label().jfne.to_jax().v.dtype == np.float64
    with jax.enable_x64(False), refused(jfx.DataError, "float64", "x64"):
        label().jfne.to_jax()


def test_to_jax_does_not_compute(refused):
    lazy = label(data=dask.array.from_array(V.astype("f4"), chunks=1))
    with refused(jfx.DataError, "dask", ".compute()"):
        lazy.jfne.to_jax()


def test_quantify_refuses_what_it_would_lose(refused):
    with refused(jfx.DataError, "JAX traces"):
        jax.jit(lambda v: label(data=v).jfne.quantify().v.data)(V)
    with refused(jfx.UnitError, "cannot read"):
        xr.Dataset({"v": ("time", [0.0], {"units": "what?"})}).jfne.quantify()


@pytest.mark.parametrize("kind", [xr.Variable, xr.DataArray])
def test_times_say_their_unit(kind):
    seconds = 1e-4 * np.arange(5)
    given = xr.Variable("time", seconds, {"units": "s"})
    ds = jfx.traces(
        np.zeros(5), ["time"], time=given if kind is xr.Variable else xr.DataArray(given)
    )
    np.testing.assert_allclose(ds.time, 0.1 * np.arange(5), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "coords"), [("time", {}), ("unit", {}), ("depth", {"depth": ("unit", [1, 2])})]
)
def test_a_variable_has_a_name_of_its_own(name, coords, refused):
    with refused(jfx.ArgumentError, repr(name)):
        jfx.traces(np.zeros((2, 5)), ("unit", "time"), dt_ms=1, name=name, units="1", coords=coords)


@pytest.mark.parametrize("dims", [{"time", "unit"}, 3, ("time", 3), {"time": 1}])
def test_axes_are_named_in_order(dims, refused):
    with refused(jfx.DimensionError, repr(dims)):
        jfx.traces(np.zeros((5, 5)), dims, dt_ms=1)


def test_times_are_the_users_own():
    """What happens to their array afterwards does not reach the labels."""
    t = 0.1 * np.arange(5)
    ds = jfx.traces(np.zeros(5), ["time"], time=t)
    t[:] = 0.0
    assert ds.time.values.tolist() == (0.1 * np.arange(5)).tolist()
