"""Write a file completely or not at all, and say in plain words why it cannot be written or read."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import ArgumentError, FileError, JfneError, Problem

#: What a path may name other than a file, by the test of its mode.
KINDS: dict[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

#: What is wrong, and the remedy, for each reason that the operating system gives.
_NO_ROOM = "no space left", "free some space there, or choose a folder on another disk"
_REFUSED = "no permission", "choose another folder, or ask its owner for permission"
REASONS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: ("no space left in your quota", _NO_ROOM[1]),
    errno.EFBIG: ("a limit on the size of a file", "ulimit -f unlimited, or another disk"),
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: ("a disk that can only be read", "choose a folder on another disk"),
    errno.ENAMETOOLONG: ("a name that is too long", "choose a shorter name"),
    errno.ELOOP: ("a link that leads back to itself", "choose another name"),
    errno.EBUSY: ("a file that something else holds", "choose another name"),
}


def named(path: Any) -> Path:
    """Return the path that was given, with the user's folder in place of ``~``.

    Raises
    ------
    ArgumentError
        If it is not a path.
    FileError
        If no file can have this name.
    """
    try:
        text = os.fsdecode(path)
    except TypeError as error:
        found, expected = f"a {type(path).__name__}", "the name of a file"
        raise ArgumentError.of(
            "path", found=found, expected=expected, remedy='path="run.nc"'
        ) from error
    if found := _impossible(text):
        raise FileError.of(
            "path", found=found, expected="the name of a file", remedy='path="run.nc"'
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # "~somebody", whom this machine does not know
        found, remedy = f"{text!r}, whose user has no folder here", f'path="./{text}"'
        raise FileError.of(
            "path", found=found, expected="the name of a file", remedy=remedy
        ) from error


def _impossible(text: str) -> str:
    """Return why no file can have this name; an empty text if one can."""
    if not text:
        return "an empty name"
    if "\0" in text:
        return "a name with a null character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{text!r}, which is not UTF-8"  # neither netCDF nor HDF5 can open it
    return ""


def target_of(path: Any) -> tuple[Path, list[Problem]]:
    """Return the file that `path` names, behind any links, and the problems that prevent writing it.

    A link stays a link: the file that it points to is replaced. What is not a file is never replaced.
    """
    given = named(path)
    try:
        found, remedy = _obstacle(given)
    except OSError as error:
        found, remedy = _reason(error)
    expected = "a file name in a folder that can be written to"
    problems = [Problem("path", found, expected, remedy, FileError)] if found else []
    return Path(os.path.realpath(given)), problems


def kind_of(path: Path) -> str | None:
    """Return what `path` names if it is not a file: ``"no such file"``, ``"a folder"``, ``"a device"``; else None."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:
        return _reason(error)[0]
    return next((kind for test, kind in KINDS.items() if test(mode)), None)


def _obstacle(given: Path) -> tuple[str, str]:
    """Return what prevents writing a file, and the remedy; empty texts if nothing does."""
    # of the name as it was given: a link such as /dev/stdout may point to a pipe, which has no path
    kind = kind_of(given)
    target = Path(os.path.realpath(given))
    parent = target.parent
    if kind == "a folder":
        return f"a folder named {given.name or str(given)!r}", f"path={str(given / 'run.nc')!r}"
    if kind is None:
        if not os.access(target, os.W_OK):
            return f"{target.name!r}, which is read-only", "another name, or make it writable"
    elif kind != "no such file":
        return f"{given.name[:60]!r}, {kind}", 'path="run.nc", or another name of a file'
    if not os.path.lexists(parent):
        return f"no folder {parent.name!r}", f"pathlib.Path({str(parent)!r}).mkdir(parents=True)"
    if not parent.is_dir():
        return f"{parent.name!r}, which is not a folder", 'path="run.nc", or one in a folder'
    if not os.access(parent, os.W_OK):
        return f"a folder {parent.name!r} that cannot be written to", "another folder"
    return "", ""


def replace_file(target: Path, write: Callable[[str], object]) -> None:
    """Let `write` make a temporary file, sync it, and move it to `target`; leave nothing behind if that fails.

    Raises
    ------
    FileError
        If the operating system or netCDF cannot write it. An existing file is as it was.
    """
    try:
        # In a separate folder next to `target`: if one of dask's threads fails, others may still write, and would
        # create the file again after it was removed. In the same file system, so that os.replace is atomic.
        folder = Path(tempfile.mkdtemp(prefix=prefix_of(target), suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise _unwritten(target, error) from error
    temporary = folder / "new"
    try:
        # created here, so that it gets the permissions that the umask allows, not those of `mkdtemp`
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(str(temporary))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if target.exists():
            _copy_permissions(target, temporary)
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        if not _is_of_writing(error, folder):
            raise  # of a dask graph, for example, which reads other files
        raise _unwritten(target, _cause(error, temporary)) from error
    finally:
        with suppress(OSError):
            # HDF5 may keep a file open that it could not write, which would go on using its space
            os.truncate(temporary, 0)
        _remove(folder)
    if os.name == "posix":
        # The new name of the file is kept in its folder, which has to be synced too. The file is in place by now:
        # where folders cannot be synced, or only be written to, that is no error.
        with suppress(OSError):
            parent = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)


def prefix_of(target: Path) -> str:
    """Return how the name of the temporary folder of `target` begins."""
    name = os.fsencode(target.name)
    # the name of the folder has 14 more characters, of at most 255
    return f".{target.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()}."


def _copy_permissions(old: Path, new: Path) -> None:
    """Give `new` the permissions of `old`, and its owner and group as far as that is allowed."""
    before, now = old.stat(), new.stat()
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        with suppress(OSError):  # only root may give a file away; groups of one's own are allowed
            os.chown(new, -1, before.st_gid)
            os.chown(new, before.st_uid, -1)
    mode = before.st_mode & 0o777
    if new.stat().st_gid != before.st_gid:
        mode &= 0o707 | (mode & 0o007) << 3  # another group may do no more than everybody
    if mode != now.st_mode & 0o777:
        new.chmod(mode)


def _is_of_writing(error: OSError | RuntimeError, folder: Path) -> bool:
    """Whether an error is that of writing the temporary file in `folder`, not of what computes its content."""
    if isinstance(error, JfneError):
        return False
    if isinstance(error, RuntimeError):
        return str(error).startswith("NetCDF: ")
    about = error.filename
    within = isinstance(about, (str, bytes)) and Path(os.fsdecode(about)).parent == folder
    return error.errno is not None and (about is None or within)


def _cause(error: OSError | RuntimeError, temporary: Path) -> OSError | RuntimeError:
    """Return the reason of a failure: netCDF hides that of the operating system, so write once more to learn it."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(2**20))
    except OSError as reason:
        return reason
    return error


def _reason(error: OSError | RuntimeError) -> tuple[str, str]:
    """Return what the operating system found, in words, and the remedy."""
    known = REASONS.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or (str(getattr(error, "strerror", None) or error), "choose another folder")


def _unwritten(target: Path, error: OSError | RuntimeError) -> FileError:
    found, remedy = _reason(error)
    left = "the old file is as it was" if target.exists() else "nothing was written"
    return FileError.of(
        "path",
        found=f"{found}, while writing {target.name[:60]!r} in {str(target.parent)!r} ({left})",
        expected="a folder in which the whole file can be written",
        remedy=remedy,
    )


def _remove(folder: Path) -> None:
    """Remove a folder into which other threads may still be writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.01)
