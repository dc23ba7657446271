"""What every test and doctest runs with: the CPU, no windows, and a cache of compiled kernels."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def _processor() -> str:
    """Name this kind of processor: what XLA compiled for another kind may not run on it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "unknown")
    return hashlib.sha256(features.encode()).hexdigest()[:8]


# JAX and matplotlib read these when first imported, so before any test is. Double precision stays
# off, as users have it: tests that need it ask for `x64`.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".cache" / "jax" / _processor())
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the pictures anew which tests compare with."""
    parser.addoption("--write-baseline", action="store_true", help="write tests/baseline anew")


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision in JAX for the length of one test."""
    import jax

    with jax.enable_x64(True):
        yield
