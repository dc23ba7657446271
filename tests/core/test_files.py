"""Writing files: what prevents it is said in words, an old file stays whole, and only files are replaced."""

import errno
import os
import socket
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import dask.array
import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core import files

resource = pytest.importorskip("resource", reason="named pipes, devices and limits of POSIX")

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def some(n=50):
    return jfx.traces(np.full((3, n), -65.0), ("unit", "time"), dt_ms=0.1)


@pytest.fixture
def kept(tmp_path):
    """A file that must stay as it is, alone in its folder."""
    path = tmp_path / "kept.nc"
    path.write_bytes(b"as it was")
    yield path
    assert path.read_bytes() == b"as it was"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.nc"]


@contextmanager
def files_of_at_most(size):
    """Let no file become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ------------------------------------------------------------------------------------------- odd targets


def make_socket(path):
    folder, before = path.parent, Path.cwd()
    os.chdir(folder)  # the whole path may be longer than the name of a socket may be
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


ODD = {
    "a named pipe": os.mkfifo,
    "a socket": make_socket,
    "a link that leads back to itself": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_not_a_file_is_not_replaced(tmp_path, refused, kind, linked):
    path = tmp_path / "run.nc"
    ODD[kind](path)
    before = path.lstat()
    if linked:
        path = tmp_path / "link.nc"
        path.symlink_to("run.nc")
    with refused(jfx.FileError, kind):
        jfx.to_netcdf(some(), path)
    with refused(jfx.FileError, kind):
        jfx.report(some(), path)
    with refused(jfx.FileError, kind):
        jfx.open(path)
    assert (tmp_path / "run.nc").lstat().st_ino == before.st_ino
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.nc", "run.nc"][not linked :]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full", "/dev/tty"])
def test_devices_are_refused(refused, device):
    before = os.stat(device).st_ino
    with refused(jfx.FileError, "a device"):
        jfx.to_netcdf(some(), device)
    assert os.stat(device).st_ino == before


def test_a_link_to_a_pipe_without_a_path_is_refused(refused):
    read, write = os.pipe()
    try:
        with refused(jfx.FileError, "a named pipe"):
            jfx.to_netcdf(some(), f"/proc/self/fd/{write}")
    finally:
        os.close(read), os.close(write)


def test_a_link_to_nothing_gets_its_file(tmp_path, refused):
    link = tmp_path / "link.nc"
    link.symlink_to("data.nc")
    assert jfx.to_netcdf(some(), link) == (tmp_path / "data.nc").resolve()
    assert link.is_symlink()
    assert jfx.open(link).identical(some())
    (tmp_path / "lost.nc").symlink_to("nowhere/data.nc")
    with refused(jfx.FileError, "no folder 'nowhere'"):
        jfx.to_netcdf(some(), tmp_path / "lost.nc")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("x" * 300 + ".nc", jfx.FileError, "too long"),
        ("a/" * 3000 + "x.nc", jfx.FileError, "too long"),
        ("kept.nc/x.nc", jfx.FileError, "'kept.nc', which is not a folder"),
        (".", jfx.FileError, "a folder"),
        ("", jfx.FileError, "an empty name"),
        ("a\0b.nc", jfx.FileError, "null character"),
        (b"\xff.nc", jfx.FileError, "UTF-8"),
        ("~no-such-user/x.nc", jfx.FileError, "no folder here"),
        (None, jfx.ArgumentError, "found None"),
        (3, jfx.ArgumentError, "found 3"),
    ],
)
def test_names_that_no_file_can_have(kept, monkeypatch, refused, name, error, said):
    monkeypatch.chdir(kept.parent)
    for write in (jfx.to_netcdf, jfx.report):
        with refused(error, said):
            write(some(), name)
    with refused(error):
        jfx.open(name)


def test_the_remedy_of_a_missing_folder_runs(tmp_path):
    path = tmp_path / "it's" / "deep" / "x.nc"
    with pytest.raises(jfx.FileError) as caught:
        jfx.to_netcdf(some(), path)
    exec(caught.value.problems[0].remedy, {"pathlib": __import__("pathlib")})
    assert jfx.to_netcdf(some(), path).is_file()


@pytest.mark.parametrize(
    "name", ["x" * 252 + ".nc", "é" * 126 + ".nc", "-x.nc", "a\nb.nc", "x.nc#1"]
)
def test_any_name_that_a_file_can_have(tmp_path, name):
    assert jfx.open(jfx.to_netcdf(some(), tmp_path / name)).identical(some())
    assert os.listdir(tmp_path) == [name]


def test_names_may_be_bytes(tmp_path):
    jfx.to_netcdf(some(), os.fsencode(tmp_path / "a.nc"))
    assert jfx.open(os.fsencode(tmp_path / "a.nc")).identical(some())


# ------------------------------------------------------------------------------------------- what fails


@pytest.mark.parametrize("compression", ["fast", "small", "none"])
@pytest.mark.parametrize("limit", [0, 10_000, 200_000])
def test_no_room(kept, refused, compression, limit):
    rng = np.random.default_rng(0)
    signals = jfx.traces(rng.normal(-65, 1, (3, 20_000)), ("unit", "time"), dt_ms=0.1)
    with files_of_at_most(limit), refused(jfx.FileError, "limit on the size", "is as it was"):
        jfx.to_netcdf(signals, kept, compression=compression)
    with files_of_at_most(limit), refused(jfx.FileError, "limit on the size", "nothing was"):
        jfx.to_netcdf(signals, kept.with_name("new.nc"), compression=compression)


def test_no_room_for_a_report(tmp_path, refused):
    path = tmp_path / "run.html"
    path.write_text("as it was")
    with files_of_at_most(1000), refused(jfx.FileError, "limit on the size", "is as it was"):
        jfx.report(some().drop_vars("time"), path)
    assert path.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["run.html"]


@pytest.mark.skipif(not ROOT, reason="mounts a disk")
def test_a_full_disk(refused):
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        big = jfx.traces(np.ones((20, 20_000)), ("unit", "time"), dt_ms=0.1)
        path = jfx.to_netcdf(some(), folder / "x.nc")
        for _ in range(3):  # each failure gives its space back
            with refused(jfx.FileError, "no space left", "is as it was"):
                jfx.to_netcdf(big, path)
            assert jfx.open(path).identical(some())
        jfx.to_netcdf(some(1000), path)
        (folder / "fill").write_bytes(
            bytes(os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize)
        )
        with refused(jfx.FileError, "no space left"):
            jfx.to_netcdf(some(), path)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("step", ["tempfile.mkdtemp", "os.open", "os.fsync", "os.replace"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EROFS, "can only be read"),
        (errno.EDQUOT, "your quota"),
        (errno.EPERM, "no permission"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_system_refuses_at_any_step(kept, monkeypatch, refused, step, code, said):
    module, name = step.split(".")
    before = getattr(getattr(files, module), name)

    def fails(*args, **options):
        if name == "open" and not args[1] & os.O_CREAT:  # removing the folder opens it too
            return before(*args, **options)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(getattr(files, module), name, fails)
        with pytest.raises(jfx.FileError) as caught:
            files.replace_file(kept, lambda file: Path(file).write_text("new"))
    assert said in str(caught.value)
    assert "is as it was" in str(caught.value)


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    sync = os.fsync

    def of_files_only(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(number)

    monkeypatch.setattr(os, "fsync", of_files_only)
    files.replace_file(tmp_path / "a", lambda file: Path(file).write_text("new"))
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "/data/other.raw"),
        OSError("a broken pipe to a simulator"),
        RuntimeError("no convergence"),
        ValueError("x"),
    ],
    ids=repr,
)
def test_errors_of_what_is_computed_are_not_taken_for_those_of_writing(kept, error):
    def fails(block):
        raise error

    lazy = dask.array.map_blocks(
        fails, dask.array.zeros((3, 5)), dtype=float, meta=np.empty((0, 0))
    )
    with pytest.raises(type(error)) as caught:
        jfx.to_netcdf(jfx.traces(lazy, ("unit", "time"), dt_ms=0.1), kept)
    assert not isinstance(caught.value, jfx.JfneError)
    assert str(caught.value) == str(error)


# --------------------------------------------------------------------------------------------- permissions


@pytest.mark.skipif(not ROOT, reason="gives a file to another user")
def test_owner_and_group_are_kept(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"old")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    files.replace_file(path, lambda file: Path(file).write_text("new"))
    now = path.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (12345, 23456, 0o640)


@pytest.mark.parametrize(
    ("before", "after"), [(0o664, 0o644), (0o660, 0o600), (0o606, 0o666 & 0o606)]
)
def test_another_group_gets_no_more_than_everybody(tmp_path, monkeypatch, before, after):
    path = tmp_path / "a.nc"
    path.write_bytes(b"old")
    if ROOT:
        os.chown(path, -1, 23456)
    else:
        pytest.skip("gives a file to another group")

    def refuses(*args):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuses)
    path.chmod(before)
    files.replace_file(path, lambda file: Path(file).write_text("new"))
    assert stat.S_IMODE(path.stat().st_mode) == after
