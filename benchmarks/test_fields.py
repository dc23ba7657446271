"""The speed of fields, currents and current source density, as ratios in one run. Prints; asserts nothing about time.

python dev.py bench
"""

from __future__ import annotations

import time
import warnings

import jax
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

from .timing import interleaved, machine, report

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("default")]

CONTACTS = 384


def chain(n: int, branch: int | None = None) -> xr.Dataset:
    """Return n short segments scattered between z = 24 and 276 um, joined in a chain, or in a tree of branches."""
    rng = np.random.default_rng(0)
    start = rng.uniform([-400, -400, 30], [400, 400, 270], (n, 3))
    end = start + rng.uniform(-6, 6, (n, 3))
    parent = np.arange(n) - 1
    first = np.arange(branch or n, n, branch or n)
    parent[first] = [rng.integers(k // branch) * branch + branch - 1 for k in first]
    return jfx.morphology(start, end, rng.uniform(0.5, 3, n), parent)


def shank(z: np.ndarray) -> xr.Dataset:
    place = np.zeros((CONTACTS, 3))
    place[:, 0], place[:, 2] = np.linspace(-350, 350, CONTACTS), z
    return jfx.probe_at(place)


def of_lfpykit(cell: xr.Dataset):
    import lfpykit

    ends = {a: np.stack([cell[f"{a}_start"].values, cell[f"{a}_end"].values], 1) for a in "xyz"}
    return lfpykit.CellGeometry(**ends, d=cell.diameter.values)


def places(probe: xr.Dataset) -> dict[str, np.ndarray]:
    return {a: probe[a].values for a in "xyz"}


def test_line_source() -> None:
    import lfpykit

    print(f"\n{machine()}")
    cell, probe = chain(20_000), shank(np.linspace(0, 300, CONTACTS))
    theirs = lfpykit.RecExtElectrode(of_lfpykit(cell), sigma=0.3, **places(probe))
    ours, reference = interleaved(
        lambda: jfx.lead_field(cell, probe), theirs.get_transformation_matrix, rounds=3
    )
    report("lead_field, LineSource, 20 000 x 384", ours, "LFPykit", reference, 0.5)


def test_slab() -> None:
    import lfpykit

    cell, probe = chain(10_000), shank(np.zeros(CONTACTS))
    theirs = lfpykit.RecMEAElectrode(of_lfpykit(cell), **places(probe))
    ours, reference = interleaved(
        lambda: jfx.lead_field(cell, probe, jfx.Slab("300 um")),
        theirs.get_transformation_matrix,
        rounds=1,
    )
    report("lead_field, Slab of lines, 10 000 x 384", ours, "LFPykit", reference, 0.2)


def test_applied() -> None:
    sites, samples = 1_000, 40_000
    cell, probe = chain(sites), shank(np.linspace(0, 300, CONTACTS))
    current = np.random.default_rng(1).normal(size=(sites, samples))
    ds = jfx.traces(current, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="nA")
    ds = ds.jfne.with_morphology(cell)
    matrix = jfx.lead_field(cell, probe).lead_field.data.magnitude
    ours, bare, making = interleaved(
        lambda: jfx.lfp(ds, probe), lambda: matrix @ current, lambda: jfx.lead_field(cell, probe),
        rounds=3,
    )  # fmt: skip
    report(
        "lfp, 1000 sites x 40 000 samples, without lead_field",
        ours - making,
        "bare matmul",
        bare,
        1.25,
    )
    report("lfp, the same, with it", ours, "bare matmul", bare, None)


@pytest.mark.parametrize("branch", [None, 10], ids=["chain", "branches of 10"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dims", [("recording", "time"), ("time", "recording")], ids="-".join)
@pytest.mark.filterwarnings("ignore:voltages are float32")
def test_currents(dims: tuple[str, str], dtype: type, branch: int | None) -> None:
    size = {"recording": 10_000, "time": 4_000}
    v = np.random.default_rng(2).normal(-65, 5, [size[d] for d in dims]).astype(dtype)
    ds = jfx.traces(v, dims, dt_ms=0.1).jfne.with_morphology(chain(10_000, branch))
    copied = np.empty_like(v)
    ours, fresh, warm = interleaved(
        lambda: jfx.transmembrane_currents(ds), v.copy, lambda: np.copyto(copied, v), rounds=7
    )
    what = f"transmembrane_currents, 10 000 x 4000, {np.dtype(dtype)}, {'-'.join(dims)}"
    report(f"{what}, {'chain' if branch is None else 'branched'}", ours, "a fresh copy", fresh, 3)
    report("  the same", ours, "np.copyto", warm, None)


def test_currents_of_jax() -> None:
    v = jax.random.normal(jax.random.key(0), (10_000, 4_000))
    ds = jfx.traces(v, ("recording", "time"), dt_ms=0.1, quantify=False).jfne.with_morphology(
        chain(10_000)
    )
    copy = jax.jit(lambda x: x + 1)

    def ours() -> object:
        with warnings.catch_warnings(action="ignore"):
            return jfx.transmembrane_currents(ds).i_membrane.data.block_until_ready()

    taken, reference = interleaved(ours, lambda: copy(v).block_until_ready(), rounds=5)
    report("transmembrane_currents, the same, JAX", taken, "jitted v + 1", reference, None)


def test_csd() -> None:
    import quantities as pq
    from elephant.current_source_density_src import icsd

    z = 20.0 * np.arange(1, CONTACTS + 1)
    phi = np.random.default_rng(3).normal(size=(3_000, CONTACTS))
    lfp = xr.Dataset({"lfp": (("time", "contact"), phi, {"units": "uV"})})
    lfp = lfp.assign_coords(z=("contact", z, {"units": "um"}))
    turned = np.ascontiguousarray(phi.T) * 1e-6 * pq.V
    ours, theirs = interleaved(
        lambda: jfx.csd(lfp, ends="vaknin"),
        lambda: icsd.StandardCSD(turned, z * 1e-6 * pq.m, sigma=0.3 * pq.S / pq.m).get_csd(),
        rounds=15,
    )
    report("csd, standard, 384 x 3000", ours, "elephant's class", theirs, 0.1)
    jax.config.update("jax_enable_compilation_cache", False)  # as on a user's first call
    for method in ("delta", "step", "spline", "kernel"):
        for call in ("first", "second"):
            start = time.perf_counter()
            jfx.csd(lfp, method)
            taken = time.perf_counter() - start
            report(f"csd, {method}, 384 x 3000, {call} call", taken, "3 s", 3.0, 1)
    jax.config.update("jax_enable_compilation_cache", True)
