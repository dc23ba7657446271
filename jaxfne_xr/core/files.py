"""Write a file whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .errors import FileError, Problem


def target_problems(target: Path) -> list[Problem]:
    """Return why a file cannot be written at `target`; nothing where it can."""
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
    """Have `write` make a file beside `target`, sync it, and move it into place; leave nothing behind if it fails."""
    # In a folder of its own: where one of dask's threads fails, others may write on, and make the file anew.
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    temporary = workshop / target.name
    try:
        # made here, so that it gets the permissions that the umask leaves
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(str(temporary))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    finally:
        _remove(workshop)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove(folder: Path) -> None:
    """Remove a folder into which somebody may still be writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.01)
