"""Files: the same after a round trip, readable by anyone, and never in pieces."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.array
import jax.numpy as jnp
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.units import is_quantity, magnitude, quantity, units_of

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


# ------------------------------------------------------------------------------------- whole or not at all


@pytest.fixture
def kept(tmp_path):
    """A file that must stay as it is, alone in its folder."""
    path = jfx.to_netcdf(some(), tmp_path / "kept.nc")
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept.nc"]


BAD_DATASETS = {
    "attr": (some().assign_attrs(bad=print), jfx.FileError, 'ds.attrs[\'bad\']'),
    "attr of a variable": (some().assign(w=("unit", [1, 2], {"bad": b"bytes"})), jfx.FileError, '"w"'),
    "attr with int keys": (some().assign_attrs(bad={1: 2}), jfx.FileError, "{1: 2}"),
    "attr of a nested tuple": (some().assign_attrs(bad=[(1,)]), jfx.FileError, "[(1,)]"),
    "attr name": (some().assign_attrs({"a/b": 1}), jfx.FileError, "'a/b'"),
    "attr name not text": (some().assign_attrs({3: 1}), jfx.FileError, "3"),
    "variable name": (some().assign({"a/b": 1}), jfx.FileError, "'a/b'"),
    "variable name not text": (some().assign({3: 1}), jfx.FileError, "3"),
    "dim name": (some().rename(unit="-u"), jfx.FileError, "'-u'"),
    "complex": (some().assign(w=("unit", [1j, 2j])), jfx.FileError, "complex128"),
    "float16": (some().assign(w=("unit", np.zeros(2, "f2"))), jfx.FileError, "float16"),
    "objects": (some().assign(w=("unit", np.array(["a", None]))), jfx.FileError, "object"),
    "MultiIndex": (
        some().assign_coords(
            xr.Coordinates.from_pandas_multiindex(
                pd.MultiIndex.from_tuples([(1, 2), (3, 4)], names=["p", "q"]), "unit"
            )
        ),
        jfx.FileError,
        "MultiIndex",
    ),
    "no voltage": (xr.Dataset({"i": ("time", [0.0], {"units": "nA"})}), jfx.VariableError, "voltage"),
    "wrong unit": (xr.Dataset({"v": ("time", [0.0], {"units": "S"})}), jfx.UnitError, "S"),
    "NaN": (some(quantify=False).where(lambda ds: ds.v > 0), jfx.NonFiniteError, "5 of 10"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATASETS)
def test_bad_data_write_nothing(kept, refused, case):
    ds, error, said = BAD_DATASETS[case]
    before = ds.copy(deep=True)
    with refused(error, said):
        jfx.to_netcdf(ds, kept)
    with refused(error, said):
        jfx.to_netcdf(ds, kept.with_name("new.nc"))
    assert ds.identical(before)


def test_dask_that_fails_midway_writes_nothing(kept, refused):
    data = np.zeros((2, 50))
    data[1, 30] = np.nan
    lazy = jfx.traces(dask.array.from_array(data, chunks=(1, 10)), ("unit", "time"), dt_ms=0.1)
    with refused(jfx.NonFiniteError, "NaN at index unit=1, time=30"):
        jfx.to_netcdf(lazy, kept)


def test_any_exception_leaves_nothing_behind(kept):
    def stop(block):
        raise KeyboardInterrupt

    data = dask.array.map_blocks(stop, dask.array.zeros((2, 5)), dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(KeyboardInterrupt):
        jfx.to_netcdf(jfx.traces(data, ("unit", "time"), dt_ms=0.1), kept)
    with pytest.raises(ValueError, match="unexpected encoding"):
        jfx.to_netcdf(some(), kept, encoding={"v": {"nonsense": 1}})


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"compression": "zip"}, jfx.ArgumentError, "'fast'"),
        ({"encoding": {"w": {}}}, jfx.ArgumentError, "'w'"),
    ],
)
def test_bad_options_write_nothing(kept, refused, options, error, said):
    with refused(error, said):
        jfx.to_netcdf(some(), kept, **options)


def test_bad_paths_write_nothing(kept, refused):
    with refused(jfx.FileError, "no folder 'nowhere'"):
        jfx.to_netcdf(some(), kept.parent / "nowhere" / "a.nc")
    with refused(jfx.FileError, "a folder named"):
        jfx.to_netcdf(some(), kept.parent)


def test_a_folder_that_cannot_be_written_to(kept, refused, monkeypatch):
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (Path(path) == kept.parent and mode & os.W_OK)
    )
    with refused(
        jfx.FileError, "cannot be written to"
    ):  # root may write anywhere: so not by its mode
        jfx.to_netcdf(some(), kept.with_name("new.nc"))


WRITER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run in the background, deaf to it
import dask.array
import numpy as np
import jaxfne_xr as jfx

def slow(block, block_info=None):
    if block_info[0]["chunk-location"][1] == 3:
        print("writing", flush=True)
        time.sleep(60)
    return block

zeros = dask.array.ones((4, 400_000), chunks=(1, 100_000))
data = dask.array.map_blocks(slow, zeros, dtype=float, meta=np.empty((0, 0)))
jfx.to_netcdf(jfx.traces(data, ("unit", "time"), dt_ms=0.1), sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_writer_killed_midway_leaves_the_old_file_whole(tmp_path):
    path = jfx.to_netcdf(some(), tmp_path / "run.nc")
    before = path.read_bytes()
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "writing\n"
            unfinished = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
            deadline = time.monotonic() + 20  # the chunks before it are on their way into the file
            while (
                not any(p.stat().st_size > 1e5 for p in unfinished) and time.monotonic() < deadline
            ):
                time.sleep(0.02)
        finally:
            writer.kill()
    assert writer.returncode == -signal.SIGKILL
    (partial,) = unfinished
    assert partial.stat().st_size > 1e5
    assert path.read_bytes() == before
    xr.testing.assert_identical(jfx.open(path), some())


@pytest.mark.skipif(os.name != "posix", reason="needs signals that can be sent")
def test_ctrl_c_midway_leaves_the_old_file_whole_and_nothing_else(tmp_path):
    path = jfx.to_netcdf(some(), tmp_path / "run.nc")
    before = path.read_bytes()
    command = [sys.executable, "-c", WRITER.replace("sleep(60)", "sleep(2)"), str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as writer:
        try:
            assert writer.stdout.readline() == "writing\n"
            writer.send_signal(signal.SIGINT)
            said = writer.communicate(timeout=60)[1]
        finally:
            writer.kill()  # else a writer that hangs keeps the tests waiting for ever
    assert writer.returncode != 0
    assert "KeyboardInterrupt" in said
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


# ----------------------------------------------------------------------------- over what is there already


@pytest.mark.parametrize(
    "opened",
    [
        xr.open_dataset,
        lambda path: jfx.open(path, chunks={}),
        lambda path: xr.open_dataset(path, chunks={}),
    ],
)
def test_a_file_that_is_open_may_be_replaced(tmp_path, opened):
    path = jfx.to_netcdf(some(quantify=False), tmp_path / "a.nc")
    with opened(path) as old:
        jfx.to_netcdf(old.assign_attrs(again=1), path)
        np.testing.assert_array_equal(old.v, V)
    back = jfx.open(path)
    assert back.attrs["again"] == 1
    np.testing.assert_array_equal(back.v, V)


def test_permissions_follow_the_umask_or_the_old_file(tmp_path):
    before = os.umask(0o027)
    try:
        path = jfx.to_netcdf(some(), tmp_path / "a.nc")
        assert path.stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
        path.chmod(0o604)
        assert jfx.to_netcdf(some(), path).stat().st_mode & 0o777 == 0o604
    finally:
        os.umask(before)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "a.nc", tmp_path / "link.nc"
    jfx.to_netcdf(some(), target)
    link.symlink_to(target)
    assert jfx.to_netcdf(some().assign_attrs(new=1), link) == target.resolve()
    assert link.is_symlink()
    assert jfx.open(link).attrs["new"] == jfx.open(target).attrs["new"] == 1
    assert os.listdir(tmp_path / "data") == ["a.nc"]


def test_a_path_may_be_text_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jfx.to_netcdf(some(), "a.nc") == tmp_path.resolve() / "a.nc"
    xr.testing.assert_identical(jfx.open("a.nc"), some())


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
        with pytest.raises(jfx.FileError, match=r"cut short|to its end"):
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
    with refused(jfx.ArgumentError, "DataArray", "to_dataset"):
        jfx.to_netcdf(some().v, tmp_path / "a.nc")
