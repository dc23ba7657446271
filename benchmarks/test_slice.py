"""The speed and memory of the vertical slice, as ratios in one run. Prints; asserts nothing about time.

python dev.py bench
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.kernels.signals import spikes as kernels

from .timing import interleaved, machine, report, whole_process

pytestmark = pytest.mark.filterwarnings("default")

TIME, UNITS = 40_000, 1_000


@pytest.fixture(scope="module")
def voltage() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (20 * rng.standard_normal((TIME, UNITS), dtype=np.float32) - 50).astype(np.float32)


def test_numpy(voltage: np.ndarray) -> None:
    print(f"\n{machine()}")
    ds = jfx.traces(voltage, layout="time_by_unit", dt_ms=0.1)
    across = jfx.traces(np.ascontiguousarray(voltage.T), layout="unit_by_time", dt_ms=0.1)
    copied = np.empty_like(voltage)
    reference, crossing, level, turned, labelled = interleaved(
        lambda: np.copyto(copied, voltage),
        ds.jfne.to_signals,
        lambda: ds.jfne.to_signals(spike_rule="level"),
        across.jfne.to_signals,
        lambda: jfx.traces(voltage, layout="time_by_unit", dt_ms=0.1),
    )
    print(f"np.copyto of {voltage.nbytes / 1e6:.0f} MB float32 takes {reference * 1e3:.1f} ms")
    for name, seconds, target in (
        ("to_signals, NumPy (time, unit)", crossing, 2.5),
        ("to_signals, NumPy (time, unit), level", level, 2.5),
        ("to_signals, NumPy (unit, time)", turned, 2.5),
        ("traces (copies and checks)", labelled, None),
    ):
        report(name, seconds, "np.copyto", reference, target)


def test_jaxfne(voltage: np.ndarray) -> None:
    import jaxfne

    ds = jfx.traces(voltage, layout="time_by_unit", dt_ms=0.1)
    spec = jaxfne.bridges.JaxleyTraceSpec(dt_ms=0.1)
    ours, theirs = interleaved(
        lambda: ds.jfne.to_signals(spike_rule="level"),
        lambda: jax.block_until_ready(
            jaxfne.bridges.jaxley_trace_to_signals(voltage, spec=spec).spikes
        ),
        rounds=5,
    )
    report("to_signals, NumPy, level", ours, "jaxfne 0.5.8", theirs, None)


def test_jax(voltage: np.ndarray) -> None:
    ds = jfx.traces(jnp.asarray(voltage), layout="time_by_unit", dt_ms=0.1, quantify=False)
    v = ds.v.data

    @jax.jit
    def bare(x: jax.Array) -> jax.Array:
        return jnp.pad(kernels.crossing(x, 0.0, axis=0), ((1, 0), (0, 0)))

    kernel, ours = interleaved(
        lambda: jax.block_until_ready(bare(v)),
        lambda: jax.block_until_ready(ds.jfne.to_signals().spikes.data),
    )
    report("to_signals, JAX (time, unit)", ours, "the bare jitted kernel", kernel, 1.5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_memory() -> None:
    """Peak memory of a fresh process, with and without the call."""
    code = textwrap.dedent(
        f"""
        import re, numpy as np, jaxfne_xr as jfx, xarray as xr
        # getrusage's peak would count the process that started this one
        peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
        small = np.zeros((100, 10), np.float32)
        jfx.traces(small, layout="time_by_unit", dt_ms=0.1).jfne.to_signals()
        v = np.full(({TIME}, {UNITS}), -65, np.float32)
        ds = xr.Dataset({{"v": (("time", "unit"), v, {{"units": "mV"}})}})
        before = peak()
        signals = ds.jfne.to_signals(dt_ms=0.1)
        print((peak() - before) / v.nbytes)
        """
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    print(
        f"{'to_signals, NumPy: extra peak memory':<58} {'':12}  {float(out.stdout):6.2f} x the voltages"
        f"{'':15} target 0.4"
    )


def test_small() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(-50, 20, (1000, 16)).astype(np.float32)
    quantified = jfx.traces(v, layout="time_by_unit", dt_ms=0.1)
    attrs = jfx.traces(v, layout="time_by_unit", dt_ms=0.1, quantify=False)
    on_jax = jfx.traces(jnp.asarray(v), layout="time_by_unit", dt_ms=0.1, quantify=False)
    a, b, c = interleaved(
        quantified.jfne.to_signals,
        attrs.jfne.to_signals,
        on_jax.jfne.to_signals,
        rounds=30,
        repeat=20,
    )
    print()
    report("to_signals, 1000 x 16, quantified", a, "1 ms", 1e-3, 1.0)
    report("to_signals, 1000 x 16, units in attrs", b, "0.4 ms", 0.4e-3, 1.0)
    report("to_signals, 1000 x 16, JAX", c, "0.4 ms", 0.4e-3, None)


def test_import() -> None:
    ours, theirs = interleaved(
        lambda: whole_process("import jaxfne_xr"),
        lambda: whole_process("import jax, xarray"),
        rounds=11,
    )
    report("import jaxfne_xr", ours, "import jax, xarray", theirs, 1.1)


SPIKES = {"spikes": {"zlib": True, "complevel": 1, "shuffle": True}}


def test_file(voltage: np.ndarray, tmp_path) -> None:
    for name, quantify in (("quantified", True), ("units in attrs", False)):
        signals = jfx.traces(
            voltage[:10_000], layout="time_by_unit", dt_ms=0.1, quantify=quantify
        ).jfne.to_signals()
        plain = signals.pint.dequantify(format="~P") if quantify else signals
        ours, theirs, synced = interleaved(
            lambda s=signals: s.jfne.to_netcdf(tmp_path / "ours.nc"),
            lambda p=plain: p.to_netcdf(tmp_path / "plain.nc", engine="netcdf4", encoding=SPIKES),
            lambda p=plain: _plain_synced(p, tmp_path / "synced.nc"),
            rounds=9,
        )
        report(f"to_netcdf, 40 MB, {name}", ours, "plain to_netcdf", theirs, 1.2)
        report(f"to_netcdf, 40 MB, {name}", ours, "plain to_netcdf and fsync", synced, None)


def _plain_synced(ds: xr.Dataset, path: Path) -> None:
    ds.to_netcdf(path, engine="netcdf4", encoding=SPIKES)
    with path.open("rb") as file:
        os.fsync(file.fileno())
