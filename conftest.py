"""What every test and doctest runs with: the CPU, no windows, a cache of compiled kernels, a table of agreement."""

import csv
import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

#: What the page "Fields" shows: how well our numbers agree with those of other codes.
AGREEMENT = Path(__file__).parent / "docs" / "agreement.csv"
HEADER = ["what", "against", "measured", "tested to"]
#: Smaller differences are rounding, which other versions of a library may do otherwise.
ROUNDING = 1e-15


def _compiled() -> Path:
    """Return the folder of compiled kernels, which all clones of one user share.

    It is one for each kind of processor, since XLA's code for another kind may not run, and for each Python and jaxlib.
    JAX tells the programs in it apart by their content.
    """
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    processor = hashlib.sha256(features.encode()).hexdigest()[:8]
    versions = f"python{platform.python_version()}-jaxlib{importlib.metadata.version('jaxlib')}"
    return caches / "jaxfne_xr" / f"{processor}-{versions}"


# JAX and matplotlib read these when first imported, so before any test is. Double precision stays
# off, as users have it: tests that need it ask for `x64`.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_compiled()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# How many examples each property is tested with; `dev.py test --all` asks for "full". The first call compiles, so that
# no deadline can be met.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=5)
hypothesis.settings.register_profile("full", deadline=None, max_examples=25)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("quick")


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision in JAX for the length of one test."""
    import jax

    with jax.enable_x64(True):
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that rewrite what tests compare with: the table of agreement, and pictures."""
    parser.addoption("--write-baseline", action="store_true", help="write tests/baseline again")
    parser.addoption(
        "--write-agreement",
        action="store_true",
        help=f"write what was measured to {AGREEMENT.name}",
    )


class Agreement:
    """The table of agreement: a test is held to its tolerance, and the table to what the test measures."""

    def __init__(self, *, write: bool) -> None:
        self.write = write
        self.measured: dict[tuple[str, str], tuple[float, float]] = {}
        with AGREEMENT.open(newline="", encoding="utf-8") as file:
            self.shown = {(a, b): (m, t) for a, b, m, t in list(csv.reader(file))[1:]}

    def __call__(self, what: str, against: str, made: Any, want: Any, tolerance: float) -> None:
        """Require that the largest difference over the largest value is within `tolerance`, and as the table says.

        `what` and `against` name the row, as plain text: `tests/whole/test_agreement.py` reads them.
        """
        made, want = np.asarray(made), np.asarray(want)
        assert made.shape == want.shape
        measured = float(np.abs(made - want).max() / np.abs(want).max())
        assert measured <= tolerance
        row = what, against
        before = self.measured.get(row, (0.0, 0.0))[0]
        self.measured[row] = (max(measured, before), tolerance)
        if self.write:
            return
        how = f'run "python3 dev.py test --all -n 0 --write-agreement" to write {AGREEMENT.name} again'
        assert row in self.shown, f"no row {row}: {how}"
        shown, tested = self.shown[row]
        assert float(tested) == tolerance, f"{row}: tested to {tolerance}, shown {tested}: {how}"
        assert measured <= 10 * max(float(shown), ROUNDING), (
            f"{row}: {measured}, shown {shown}: {how}"
        )

    def save(self) -> None:
        """Write the table, rows in the order that they had, those of tests that did not run as they were."""
        rows = self.shown | {
            row: (f"{measured:.0e}", f"{tolerance:.0e}")
            for row, (measured, tolerance) in self.measured.items()
        }
        with AGREEMENT.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(HEADER)
            table.writerows([*row, *numbers] for row, numbers in rows.items())


@pytest.fixture(scope="session")
def agreement(request: pytest.FixtureRequest) -> Iterator[Agreement]:
    """Require agreement with another code, and that the table in the docs says so."""
    write = request.config.getoption("write_agreement")
    if write and hasattr(request.config, "workerinput"):
        pytest.fail("--write-agreement needs one process: -n 0")
    table = Agreement(write=write)
    yield table
    if write:
        table.save()
