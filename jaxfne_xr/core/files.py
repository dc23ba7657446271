"""Write a file completely or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .errors import FileError, Problem


def target_problems(target: Path) -> list[Problem]:
    """Return the problems that prevent a file from being written at `target`; none if it can be."""
    if not target.parent.is_dir():
        found, remedy = f"no folder {target.parent.name!r}", "path.parent.mkdir(parents=True)"
    elif target.is_dir():
        found, remedy = f"a folder named {target.name!r}", 'name a file in it: folder / "run.nc"'
    elif target.exists() and not os.access(target, os.W_OK):
        found, remedy = f"{target.name!r}, which is read-only", "another name, or make it writable"
    elif not os.access(target.parent, os.W_OK):
        found, remedy = (
            f"a folder {target.parent.name!r} that cannot be written to",
            "another folder",
        )
    else:
        return []
    return [
        Problem("path", found, "a file name in a folder that can be written to", remedy, FileError)
    ]


def replace_file(target: Path, write: Callable[[str], object]) -> None:
    """Let `write` make a temporary file, sync it, and move it to `target`; leave nothing behind if that fails."""
    # In a separate folder next to `target`: if one of dask's threads fails, others may still write, and would create
    # the file again after it was removed. In the same file system, so that os.replace is atomic.
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    temporary = folder / target.name
    try:
        # created here, so that it gets the permissions that the umask allows, not those of `mkdtemp`
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(str(temporary))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    finally:
        _remove(folder)
    if os.name == "posix":
        # the new name of the file is kept in its folder, which has to be synced too
        parent = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _remove(folder: Path) -> None:
    """Remove a folder into which other threads may still be writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.01)
