"""How long it takes to draw much data, to the last pixel. Prints; asserts nothing about time.

python dev.py bench
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from .timing import interleaved, machine, report

pytestmark = pytest.mark.filterwarnings("default")

#: The most that one picture may take, seconds.
TARGET = 1.5


def measured(what: str, draw: Callable[[], Any]) -> None:
    """Print how long it takes to make a picture and to render it with Agg."""

    def whole() -> None:
        draw().figure.canvas.draw()
        plt.close("all")

    (seconds,) = interleaved(whole, rounds=5)
    report(what, seconds, "1.5 s", TARGET, 1)


def test_traces() -> None:
    print(f"\n{machine()}")
    v = np.random.default_rng(0).normal(-65, 3, (64, 1_000_000)).astype(np.float32)
    lazy = dask.array.from_array(v, chunks=(16, 100_000))
    for what, data, dims in (
        ("NumPy (unit, time)", v, ("unit", "time")),
        ("NumPy (time, unit)", np.ascontiguousarray(v.T), ("time", "unit")),
        ("JAX (unit, time)", jnp.asarray(v), ("unit", "time")),
        ("dask (unit, time)", lazy, ("unit", "time")),
    ):
        ds = xr.Dataset({"v": (dims, data, {"units": "mV"})})
        ds = ds.assign_coords(time=("time", 0.1 * np.arange(1_000_000), {"units": "ms"}))
        measured(f"64 traces x 1e6 samples, {what}", lambda ds=ds: ds.jfne.plot.traces())


def test_raster() -> None:
    spikes = np.random.default_rng(0).random((1000, 40_000), np.float32) < 1 / 40
    kinds = np.where(np.arange(1000) < 800, "E", "I")
    time = ("time", 0.1 * np.arange(40_000), {"units": "ms"})
    for what, data, dims in (
        ("(unit, time)", spikes, ("unit", "time")),
        ("(time, unit)", np.ascontiguousarray(spikes.T), ("time", "unit")),
    ):
        ds = xr.Dataset({"spikes": (dims, data)}, {"time": time, "population": ("unit", kinds)})
        measured(f"1000 units x 1e6 spikes, {what}", ds.jfne.plot.raster)
        few = ds.assign(spikes=ds.spikes & xr.DataArray(np.arange(40_000) % 11 == 0, dims="time"))
        n = int(few.spikes.sum())
        measured(f"1000 units x {n:.1e} spikes, one by one, {what}", few.jfne.plot.raster)


def test_csd() -> None:
    ds = xr.Dataset(
        {"csd": (("time", "contact"), np.random.default_rng(0).normal(size=(1_000_000, 32)))}
    )
    ds.csd.attrs["units"] = "uA/mm^3"
    ds = ds.assign_coords(
        time=("time", 0.1 * np.arange(1_000_000), {"units": "ms"}),
        z=("contact", 50.0 * np.arange(32), {"units": "um"}),
    )
    measured("csd of 32 contacts x 1e6 samples", ds.jfne.plot.csd)
