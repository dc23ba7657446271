"""Files: the same after a round trip, readable by anyone, and never in pieces."""

import json

import dask.array
import jax.numpy as jnp
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import is_quantity, magnitude, quantity, units_of

pytestmark = pytest.mark.every_version

V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])


def some(**changed):
    """Return small quantified traces."""
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, **changed)


def same(ds, path, **options):
    """Assert that a Dataset is what it was after a round trip."""
    with jfx.open(jfx.to_netcdf(ds, path, **options)) as back:
        xr.testing.assert_identical(back, ds)
        assert {n: v.dtype for n, v in back.variables.items()} == {
            n: v.dtype for n, v in ds.variables.items()
        }
        assert {n: is_quantity(v._data) for n, v in back.variables.items()} == {
            n: is_quantity(v._data) for n, v in ds.variables.items()
        }
    return back


# -------------------------------------------------------------------------------------- what is kept


def in_memory(ds, backend):
    """Return what a Dataset of any kind of array should come back as: NumPy."""
    changed = {}
    for name, variable in ds.data_vars.items():
        values, data = backend.values(variable), variable.variable._data
        wrapped = quantity(values, units_of(variable)) if is_quantity(data) else values
        changed[name] = (variable.dims, wrapped, variable.attrs)
    return ds.assign(changed)


def test_signals_come_back_identical(tmp_path, backend, order, voltage):
    v = voltage.transpose(*order).values
    ds = backend.traces(v, order, coords={"unit": ["a", "b", "ç"], "x": ("unit", [1.0, 2.0, 3.0])})
    signals = ds.jfne.to_signals(source=backend.array(v))
    back = jfx.open(signals.jfne.to_netcdf(tmp_path / "run.nc"))
    xr.testing.assert_identical(back, in_memory(signals, backend))
    assert {n: v.dtype for n, v in back.variables.items()} == {
        n: v.dtype for n, v in signals.variables.items()
    }
    assert back.jfne.scope == signals.jfne.scope
    assert back.jfne.provenance == signals.jfne.provenance
    assert not any(v.encoding for v in back.variables.values())


@pytest.mark.parametrize("compression", ["fast", "none", "small"])
def test_compression_loses_nothing(tmp_path, backend, voltage, compression):
    signals = backend.traces(voltage.values, voltage.dims).jfne.to_signals()
    back = jfx.open(jfx.to_netcdf(signals, tmp_path / "run.nc", compression=compression))
    xr.testing.assert_identical(back, in_memory(signals, backend))


def test_every_stage_comes_back(tmp_path):
    signals = some().jfne.to_signals()
    for ds in (signals, signals.jfne.spike_times(), signals.jfne.firing_rate(), some()):
        same(ds, tmp_path / "a.nc")


@pytest.mark.parametrize(
    "value",
    [
        "text", "", "µV and ø", "two\nlines", "nul\0inside", "1", "true",
        True, False, None, 0, -3, 2**40, 2**70, 0.1, -0.0, np.inf,
        [], [1], [1, 2], ["a"], ["a", "bc"], [True, 1, 1.5, "x", None, [1, {"k": []}]], (1, 2), (),
        {"deep": {"er": [1, None, {"x": False}]}, "": ""}, {},
        np.float32(0.1), np.float64(0.1), np.int8(-3), np.uint64(2**63), np.float16(0.1),
        np.array([1.5, 2.5]), np.array([7], np.int16), np.array([], np.float32), np.array([[1, 2], [3, 4]]),
        np.array([True, False]), np.array(["a", "bc"]), np.array([np.nan, 1.0]),
    ],
    ids=repr,
)  # fmt: skip
def test_attrs_come_back_as_they_were(tmp_path, value):
    ds = some().assign_attrs(mine=value)
    ds.v.attrs["mine"] = ds.time.attrs["mine"] = value
    back = same(ds, tmp_path / "a.nc")
    for owner in (back, back.v, back.time):
        got = owner.attrs["mine"]
        assert type(got) is type(value)
        assert (
            np.asarray(got).dtype == np.asarray(value).dtype
            if isinstance(value, np.generic | np.ndarray)
            else True
        )


def test_nan_in_attrs(tmp_path):
    attrs = {"a": float("nan"), "b": np.float32("nan"), "c": [1.0, float("nan")]}
    back = jfx.open(jfx.to_netcdf(some().assign_attrs(attrs), tmp_path / "a.nc"))
    assert np.isnan([back.attrs["a"], back.attrs["b"]]).all()
    np.testing.assert_equal(back.attrs["c"], attrs["c"])
    xr.testing.assert_identical(
        back.assign_attrs(some().attrs).drop_attrs(deep=False), some().drop_attrs(deep=False)
    )


RESERVED = [
    "scale_factor", "add_offset", "_FillValue", "missing_value", "coordinates", "dtype", "grid_mapping",
    "_Unsigned", "_Encoding", "CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid",
    "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict", "_SuperblockVersion", "_IsNetcdf4",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", [*RESERVED, "name", "calendar", "bounds", "with space", "ünïcode", "_x", "1st"]
)
@pytest.mark.parametrize("value", [2.0, "true"])
def test_names_that_netcdf_takes_for_itself_are_only_names(tmp_path, name, value):
    ds = some(coords={"n": ("unit", np.array([-1, 2], np.int16))}).assign_attrs({name: value})
    for variable in (ds.v, ds.time, ds.n):
        variable.attrs[name] = value
    same(ds, tmp_path / "a.nc")


@pytest.mark.parametrize(
    "units",
    ["days since 2000-01-01", "seconds since stimulus onset", "seconds", "milliseconds", "days"],
)
def test_numbers_are_never_taken_for_dates(tmp_path, units):
    same(some(coords={"age": ("unit", [1.5, 2.5], {"units": units})}), tmp_path / "a.nc")


LABELS = [
    np.array(["a", "bcd"]), np.array(["", "ü"]), np.array(["a", "é"], object), np.array([b"a", b"bc"]),
    np.array(["2020-01-01", "2021-02-03T00:00:01.5"], "M8[ns]"),
    np.array(["2020-01-01", "NaT"], "M8[us]"), np.array([1, 2], "m8[ns]"), np.array([1, 2], "m8[s]"),
    np.array([True, False]), np.array([1, 2], ">i4"), np.array([0.5, np.nan], ">f8"), np.array([1, 2], "u8"),
]  # fmt: skip


@pytest.mark.parametrize("values", LABELS, ids=lambda v: v.dtype.str)
def test_coordinates_of_any_type(tmp_path, values):
    same(some(coords={"label": ("unit", values), "scalar": values[0]}), tmp_path / "a.nc")
    same(some(coords={"unit": values}), tmp_path / "a.nc")


def test_coordinates_of_any_shape(tmp_path):
    grid = {"grid": (("time", "unit"), np.arange(10.0).reshape(5, 2)), "scalar": 3, "name": "Zoë"}
    same(some(coords=grid), tmp_path / "a.nc")
    same(some(coords=grid).assign(empty=("none", np.zeros(0, "f4")), number=7), tmp_path / "a.nc")


def test_names_of_recordings(tmp_path):
    same(
        some().assign({"HH_m": ("unit", [0.1, 0.2], {"units": "1"}), "i na": ("unit", [1, 2])}),
        tmp_path / "a.nc",
    )


def test_pint_indexes_come_back(tmp_path):
    bare = some()
    pinted = bare.pint.quantify()
    assert type(pinted.xindexes["time"]).__name__ == "PintIndex"
    mixed = pinted.assign_coords(x=("unit", [1.0, 2.0], {"units": "um"})).assign(
        g=("unit", [1.0, 2.0], {"units": "nS"})
    )
    for ds in (pinted, mixed):
        back = same(ds, tmp_path / "a.nc")
        assert type(back.xindexes["time"]).__name__ == "PintIndex"
        assert back.xindexes["time"].units == ds.xindexes["time"].units


def test_stale_encodings_are_not_used(tmp_path):
    ds = some(quantify=False)
    ds.v.encoding = {"dtype": "int16", "scale_factor": 0.01, "zlib": True}
    same(ds, tmp_path / "a.nc")


def test_an_encoding_may_be_chosen(tmp_path):
    path = jfx.to_netcdf(
        some().jfne.to_signals(),
        tmp_path / "a.nc",
        encoding={"V_m": {"zlib": True, "complevel": 7}},
    )
    with netCDF4.Dataset(path) as file:
        assert file["V_m"].filters()["complevel"] == 7
        assert file["spikes"].filters()["zlib"]


def test_dask_is_read_when_computed(tmp_path):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    with jfx.open(path, chunks={"unit": 1}) as lazy:
        assert isinstance(magnitude(lazy.v.data), dask.array.Array)
        assert lazy.v.data.chunks[0] == (1, 1)
        xr.testing.assert_identical(lazy.compute().jfne.quantify(), some())


# --------------------------------------------------------------------------------------- for everyone else


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_plain_xarray_shows_units_and_scope(tmp_path, engine):
    path = jfx.to_netcdf(
        some(coords={"x": ("unit", [1.0, 2.0])}).jfne.to_signals(source=V), tmp_path / "a.nc"
    )
    with xr.open_dataset(path, engine=engine) as plain:
        units = {name: plain[name].attrs.get("units") for name in plain.variables}
        assert {name: unit for name, unit in units.items() if unit} == {
            "V_m": "mV",
            "source": "nA",
            "time": "ms",
            "x": "um",
        }
        assert plain.attrs["source_calibration_status"] == "uncalibrated_current"
        assert plain.attrs["amplitude_status"] == 0
        assert plain.spikes.dtype == bool
        np.testing.assert_array_equal(plain.V_m, V)


@pytest.mark.parametrize("quantify", [True, False])
def test_a_plain_to_netcdf_is_opened_too(tmp_path, quantify):
    signals = some(quantify=quantify).jfne.to_signals()
    signals.pint.dequantify(format="~P").to_netcdf(tmp_path / "plain.nc")
    back = jfx.open(tmp_path / "plain.nc")
    xr.testing.assert_identical(
        back, some(quantify=False).jfne.to_signals().assign_attrs(back.attrs)
    )
    assert back.jfne.scope == signals.jfne.scope


def test_what_was_edited_in_the_file_counts(tmp_path):
    path = jfx.to_netcdf(some().jfne.to_signals().assign_attrs(n=1, ok=True), tmp_path / "a.nc")
    with xr.open_dataset(path) as plain:
        plain = plain.load()
    plain["V_m"] = (plain.V_m / 1000).astype("f4").assign_attrs(units="V")
    plain.assign_attrs(n=5).to_netcdf(tmp_path / "b.nc")
    back = jfx.open(tmp_path / "b.nc")
    assert (units_of(back.V_m), back.V_m.dtype, back.attrs["n"], back.attrs["ok"]) == (
        "V",
        np.float32,
        5,
        True,
    )
    np.testing.assert_allclose(back.V_m.pint.to("mV").data.magnitude, V, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("amplitude_status", 1),
        ("source_calibration_status", "uncalibrated_current"),
        ("source_calibration_status", "calibrated"),
        ("field_solver_status", "line_source_homogeneous"),
        ("model_status", "measurement"),
    ],
)
def test_a_scope_that_claims_more_is_refused(tmp_path, refused, name, claim):
    signals = some().jfne.to_signals()
    path = jfx.to_netcdf(signals, tmp_path / "a.nc")
    before = path.read_bytes()
    with refused(jfx.ScopeError, name, repr(claim)):
        jfx.to_netcdf(signals.assign_attrs({name: claim}), path)
    assert path.read_bytes() == before
    with netCDF4.Dataset(path, "a") as file:  # by hand, in the file
        file.setncattr(name, claim)
    with refused(jfx.ScopeError, name):
        jfx.open(path)


# ---------------------------------------------------------------------------------- files that are not ours


def test_no_file_and_a_folder(tmp_path, refused):
    with refused(jfx.FileError, "no such file", "'a.nc'"):
        jfx.open(tmp_path / "a.nc")
    with refused(jfx.FileError, "a folder"):
        jfx.open(tmp_path)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    "content", [b"", b"time,v\n0,-65\n", b"\x89HDF\r\n\x1a\n", b"CDF\x01", bytes(4096)]
)
def test_a_file_that_is_not_netcdf(tmp_path, refused, content, plain):
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    with refused(jfx.FileError, "not netCDF"):
        jfx.open(path, plain=plain)
    assert path.read_bytes() == content


@pytest.mark.parametrize("compression", ["fast", "small"])
def test_a_truncated_file(tmp_path, compression):
    whole = jfx.to_netcdf(
        some().jfne.to_signals(), tmp_path / "a.nc", compression=compression
    ).read_bytes()
    path = tmp_path / "cut.nc"
    for length in [*range(0, 64, 8), *np.linspace(64, len(whole) - 1, 25).astype(int)]:
        path.write_bytes(whole[:length])
        with pytest.raises(jfx.FileError, match=r"truncated|read completely"):
            jfx.open(path)


def test_a_netcdf_file_of_others_is_opened_only_if_asked(tmp_path, refused):
    theirs = xr.Dataset(
        {"Vm": ("t", np.array([1.0, np.nan]), {"units": "mV"})},
        {"when": ("t", pd.to_datetime(["2020", "2021"]))},
    )
    theirs.to_netcdf(tmp_path / "a.nc")
    with refused(jfx.SchemaError, "plain=True"):
        jfx.open(tmp_path / "a.nc")
    xr.testing.assert_identical(jfx.open(tmp_path / "a.nc", plain=True), theirs)
    with jfx.open(tmp_path / "a.nc", plain=True, chunks={}) as lazy:
        assert isinstance(lazy.Vm.data, dask.array.Array)


@pytest.mark.parametrize(
    ("attr", "edit", "said"),
    [
        ("jaxfne_xr_file", lambda text: json.dumps(json.loads(text) | {"version": 2}), "version 2"),
        ("jaxfne_xr_file", lambda text: text[:-5], "not a file record"),
        ("jaxfne_xr_file", lambda text: "{}", "not a file record"),
        ("jaxfne_xr_file", lambda text: "[]", "not a file record"),
        (
            "jaxfne_xr",
            lambda text: json.dumps(json.loads(text) | {"schema": 2}),
            "schema version 2",
        ),
        ("jaxfne_xr", lambda text: text[:-5], "not a provenance record"),
        (
            "jaxfne_xr",
            lambda text: json.dumps({"schema": 1, "steps": 3}),
            "not a provenance record",
        ),
    ],
)
def test_a_newer_or_broken_record(tmp_path, refused, attr, edit, said):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.setncattr(attr, edit(file.getncattr(attr)))
    with refused(jfx.SchemaError, said):
        jfx.open(path)
    np.testing.assert_array_equal(jfx.open(path, plain=True).v, V)


def test_bad_data_in_the_file_are_reported(tmp_path, refused):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["v"][1, 2] = np.nan
    with refused(jfx.NonFiniteError, "unit=1, time=2"):
        jfx.open(path)


def test_jax_comes_back_as_numpy_with_its_units(tmp_path):
    ds = jfx.traces(jnp.array(V), ("unit", "time"), dt_ms=0.1, quantify=False)
    back = jfx.open(jfx.to_netcdf(ds, tmp_path / "a.nc"))
    assert isinstance(back.v.variable._data, np.ndarray)
    assert back.v.attrs["units"] == "mV"
    assert back.jfne.to_jax().identical(ds)


def test_dask_that_is_not_finite_is_not_written(tmp_path, refused):
    v = np.zeros((2, 50))
    v[1, 30] = np.nan
    ds = xr.Dataset(
        {"v": (("unit", "time"), dask.array.from_array(v, chunks=(1, 10)), {"units": "mV"})}
    )
    ds = ds.assign_coords(time=("time", np.arange(50.0), {"units": "ms"}))
    with refused(jfx.NonFiniteError, "unit=1, time=30"):
        jfx.to_netcdf(ds, tmp_path / "a.nc")
    assert not list(tmp_path.iterdir())


def test_a_file_opened_plainly_and_saved_again_does_not_grow(tmp_path):
    path = jfx.to_netcdf(some().assign_attrs(note=True), tmp_path / "a.nc")
    lengths = []
    for _ in range(3):
        plain = xr.load_dataset(path)
        lengths.append(len(plain.attrs["jaxfne_xr_file"]))
        jfx.to_netcdf(plain, path)
    assert lengths[1] == lengths[2]


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jfx.to_netcdf(some(), "~/a.nc") == tmp_path / "a.nc"
    assert jfx.open("~/a.nc").identical(some())


def test_what_is_no_dataset_is_refused(tmp_path, refused):
    with refused(jfx.ArgumentError, "DataArray", 'ds[["v"]]', "to_dataset"):
        jfx.to_netcdf(some().v, tmp_path / "a.nc")
