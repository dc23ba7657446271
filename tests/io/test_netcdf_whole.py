"""Files that are written whole or not at all, over what is there already too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])


def some(**changed):
    """Return small quantified traces."""
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, **changed)


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
    "objects": (some().assign(w=("unit", np.array(["a", b"b"], object))), jfx.FileError, "object"),
    "index": (
        some().assign_coords(
            xr.Coordinates.from_xindex(xr.indexes.RangeIndex.arange(0.0, 2.0, dim="unit"))
        ),
        jfx.FileError,
        "RangeIndex",
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


@pytest.mark.slow  # and not with the oldest netCDF4, which crashes in half of the interruptions
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
