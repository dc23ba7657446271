"""Data to draw, small and the same every time, and pictures that are closed after each test."""

# ruff: noqa: PLW0108 - lambdas, so that a picture's data are made when it is drawn

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx


def make_signals(units: int = 12, samples: int = 4000, dt: float = 0.1) -> xr.Dataset:
    """Return Signals of two groups, driven at 10 Hz, the second of which fires more, at any samples."""
    rng = np.random.default_rng(1)
    t = dt * np.arange(samples)
    drive = np.sin(2 * np.pi * t / 100)
    walk = np.cumsum(rng.normal(0, 0.05, (units, samples)), axis=1)
    v = -65 + 3 * drive + walk - walk.mean(axis=1, keepdims=True)
    second = np.arange(units) >= units * 2 // 3
    chance = 1e-3 * (1 + 0.9 * drive) * np.where(second, 3.0, 1.0)[:, None]
    v[rng.random(v.shape) < chance] = 25.0
    coords = {
        "population": ("unit", np.where(second, "I", "E")),
        "z": ("unit", 50.0 * np.arange(units)),
    }
    return jfx.traces(v, ("unit", "time"), dt_ms=dt, coords=coords).jfne.to_signals(refractory=0)


def make_lfp(contacts: int = 16, samples: int = 400, dt: float = 0.5) -> xr.Dataset:
    """Return potentials along a shank: two dipole layers at 12.5 Hz."""
    t, z = dt * np.arange(samples)[:, None], 50.0 * np.arange(contacts)
    deep = 40 * np.exp(-(((z - 500) / 120) ** 2)) * np.sin(2 * np.pi * t / 80)
    upper = 25 * np.exp(-(((z - 150) / 80) ** 2)) * np.sin(2 * np.pi * t / 80 + 1)
    made = {"lfp": (("time", "contact"), deep - upper, {"units": "uV"})}
    time = ("time", t[:, 0], {"units": "ms", "long_name": "time"})
    return jfx.linear_probe(contacts, 50.0).assign(made).assign_coords(time=time)


def make_cell() -> xr.Dataset:
    """Return a cell with a soma, a dendrite that forks and two below."""
    soma, fork = (0, 0, 10), (20, 10, 200)
    start = [(0, 0, -10), soma, fork, fork, (0, 0, -10), (0, 0, -10)]
    end = [soma, fork, (-90, 0, 330), (120, -20, 310), (90, 30, -90), (-100, 0, -70)]
    return jfx.morphology(start, end, [20.0, 6.0, 3.0, 2.0, 3.0, 2.5], [-1, 0, 1, 1, 0, 0], at=1.0)


def make_field() -> xr.Dataset:
    """Return a probe in two columns, with a field."""
    probe = jfx.grid_probe((12, 2), ("30 um", "40 um"), origin=(30, -20, -60), radius="8 um")
    distance = np.hypot(probe.x.values, probe.z.values)
    field = 15 - 90 * np.exp(-distance / 80)
    return probe.assign(lfp=("contact", field, {"units": "uV"}))


def make_eeg() -> xr.Dataset:
    """Return potentials at 25 electrodes on a head."""
    angle = np.deg2rad([0.0, 25.0, 50.0, 75.0])
    around = 2 * np.pi * np.arange(8) / 8
    rings = [[(0.0, 0.0, 1.0)]] + [
        [(np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)) for b in around]
        for a in angle[1:]
    ]
    place = 90e3 * np.array([p for ring in rings for p in ring])
    sensors = jfx.probe_at(place, dim="channel", name="e")
    return sensors.assign(eeg=("channel", place[:, 1] / 3e4 - 0.5, {"units": "uV"}))


@pytest.fixture
def signals() -> xr.Dataset:
    """Signals of two groups."""
    return make_signals()


@pytest.fixture
def lfp() -> xr.Dataset:
    """Potentials along a shank."""
    return make_lfp()


@pytest.fixture
def pictures() -> dict[str, Callable[[], object]]:
    """Every picture, of data that fit it."""
    chirp = np.sin(2 * np.pi * (0.02 * np.arange(4000) + 4e-6 * np.arange(4000) ** 2))
    chirp += np.random.default_rng(2).normal(0, 0.1, 4000)
    voltage = {"v": ("recording", [-45.0, -50, -58, -57, -52, -53], {"units": "mV"})}
    return {
        "traces": lambda: make_signals().isel(time=slice(0, 2000)).jfne.plot.traces(),
        "traces_envelope": lambda: make_signals(4, 40_000).jfne.plot.traces(by=None),
        "traces_facets": lambda: make_signals(9, 1000).jfne.plot.traces(col="population"),
        "raster": lambda: make_signals(60).jfne.plot.raster(),
        "raster_image": lambda: dense().jfne.plot.raster(),
        "lfp": lambda: make_lfp().jfne.plot.lfp(),
        "csd": lambda: jfx.csd(make_lfp(), "step").jfne.plot.csd(),
        "csd_uneven": lambda: (
            jfx.csd(make_lfp().isel(contact=[0, 1, 2, 4, 7, 8, 9, 12, 15]), "step")
        ).jfne.plot.csd(sink="blue"),
        "spectrum": lambda: make_signals().jfne.plot.spectrum(segment="100 ms"),
        "spectrogram": lambda: jfx.traces(chirp, ["time"], dt_ms=1.0).jfne.plot.spectrogram(
            segment="100 ms"
        ),
        "summary": lambda: make_signals().jfne.summary().jfne.plot.summary(),
        "probe": lambda: make_field().jfne.plot.probe(cell=make_cell()),
        "morphology": lambda: make_cell().assign(voltage).jfne.plot.morphology("v"),
        "topomap": lambda: make_eeg().jfne.plot.topomap(),
    }


def dense() -> xr.Dataset:
    """Return more spikes than are drawn one by one."""
    t, k = np.arange(12_000), np.arange(40)[:, None]
    spikes = (t % (2 + k % 4) == 0) & (t // 1000 % 4 != k % 3)  # regular, so that the file is small
    ds = xr.Dataset({"spikes": (("unit", "time"), spikes)})
    labels = np.where(np.arange(40) < 25, "E", "I")
    time = ("time", 0.1 * np.arange(12_000), {"units": "ms"})
    return ds.assign_coords(time=time, population=("unit", labels))


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    """Draw in matplotlib's own style, and leave nothing open."""
    with plt.style.context("default"):
        yield
    plt.close("all")
