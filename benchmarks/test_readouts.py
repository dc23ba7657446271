"""The speed of the workflow and its readouts, as ratios in one run. Prints; asserts nothing about time.

python dev.py bench
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.kernels.analysis import summary as summary_kernels
from jaxfne_xr.kernels.fields import proxies as kernels

from .timing import interleaved, machine, report

pytestmark = pytest.mark.filterwarnings("default")

TIME, SITES, CONTACTS = 40_000, 1_000, 32
PROXIES = ["lfp_proxy", "csd_proxy", "eeg_proxy", "meg_proxy", "emm_proxy"]
SUMMARIES = [
    "lfp_abs_mean",
    "csd_abs_mean",
    "eeg_power",
    "source_abs_mean",
    "mean_V_m",
    "spike_rate_hz",
]


def positions() -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    rng = np.random.default_rng(1)
    return {a: ("unit", rng.uniform(0, 1500, SITES), {"units": "um"}) for a in "xyz"}


def places() -> dict[str, xr.Dataset]:
    angle = np.linspace(0, np.pi, CONTACTS)
    around = 1e5 * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    return {"probe": jfx.linear_probe(CONTACTS), "sensors": jfx.probe_at(around, dim="channel")}


@pytest.mark.parametrize("dims", [("time", "unit"), ("unit", "time")], ids="-".join)
@pytest.mark.parametrize("kind", ["NumPy", "NumPy, quantified", "JAX"])
def test_compute_readout(kind: str, dims: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    v = (20 * rng.standard_normal((TIME, SITES), dtype=np.float32) - 50).astype(np.float32)
    v = v if dims[0] == "time" else np.ascontiguousarray(v.T)
    on_jax = jnp.asarray(v)
    ds = jfx.traces(on_jax if kind == "JAX" else v, dims, dt_ms=0.1, quantify="quant" in kind)
    signals = ds.assign_coords(positions()).jfne.to_signals()
    given = places()
    xyz = [np.stack([p[a].values for a in "xyz"], axis=1) for p in (*given.values(), signals)]
    contacts, channels, sites = (jnp.asarray(p, jnp.float32) for p in xyz)
    weights = kernels.gaussian_weights(contacts, sites, 100.0)
    curve = -kernels.second_derivative_matrix(contacts[:, 2])
    eeg, meg = (
        kernels.toy_eeg_lead_field(channels, sites),
        kernels.toy_meg_lead_field(channels, sites),
    )

    @jax.jit
    def bare(x: jax.Array) -> tuple[jax.Array, ...]:
        x = x if dims[0] == "time" else x.T
        lfp = x @ weights.T
        return lfp, lfp @ curve.T, x @ eeg.T, x @ meg.T

    def ours(names: list[str]) -> None:
        jax.block_until_ready(
            [x.data for x in jfx.compute_readout(signals, names, **given).data_vars.values()]
        )

    products, four, proxies, everything = interleaved(
        lambda: jax.block_until_ready(bare(on_jax)),
        lambda: ours(PROXIES[:4]),
        lambda: ours(PROXIES),
        lambda: ours(PROXIES + SUMMARIES),
        rounds=5,
    )
    print(f"\n{machine()}")
    print(f"four matrix products of {v.nbytes / 1e6:.0f} MB float32 take {products * 1e3:.0f} ms")
    for what, seconds, target in (
        ("LFP, CSD, EEG and MEG proxies", four, 1.5),
        ("and the EMM proxy", proxies, 1.5),
        ("and six means", everything, None),
    ):
        report(f"{what}, {kind} {dims}", seconds, "the bare jitted products", products, target)


@pytest.mark.parametrize("quantify", [True, False])
def test_workflow(quantify: bool) -> None:
    v = np.random.default_rng(0).normal(-50, 20, (1000, 16)).astype(np.float32)
    ds = jfx.traces(v, ("time", "unit"), dt_ms=0.1, quantify=quantify)
    cfg = (
        jfx.configuration()
        .network(groups={"E": 12, "I": 4})
        .emitter(mode="external_voltage")
        .field(domain="laminar", sigma=120.0)
        .probe(contacts=jfx.linear_probe(16), modes=["lfp_proxy"])
    )
    plain, workflow = interleaved(
        ds.jfne.to_signals,
        lambda: jfx.construct(cfg).simulate_external(ds),
        rounds=30,
        repeat=20,
    )
    units = "quantified" if quantify else "units in attrs"
    print(f"\n{machine()}")
    report(
        f"construct + simulate_external, 1000 x 16, {units}", workflow, "to_signals", plain, None
    )
    report("    of which on top of to_signals", workflow - plain, "1 ms", 1e-3, 1.0)


def test_summary() -> None:
    rng = np.random.default_rng(0)
    v = np.where(rng.random((TIME, SITES)) < 1e-3, np.float32(20), np.float32(-65))
    v += rng.standard_normal(v.shape, dtype=np.float32)
    groups = {"population": ("unit", np.repeat(["E", "I"], SITES // 2))}
    signals = jfx.traces(
        v, ("time", "unit"), dt_ms=0.1, quantify=False, coords=groups
    ).jfne.to_signals()
    counts = rng.poisson(0.5, (800, SITES)).astype(np.float32)
    group = np.repeat([0, 1], SITES // 2)

    @jax.jit
    def product(x: jax.Array) -> jax.Array:
        return x.T @ x

    @jax.jit
    def pairs(x: jax.Array) -> jax.Array:
        return summary_kernels.pairwise_correlation(x, group, n_groups=2, axis=0, site_axis=1).mean

    on_jax = jnp.asarray(counts)
    copied = np.empty_like(v)
    one, correlation, copy, whole = interleaved(
        lambda: product(on_jax).block_until_ready(),
        lambda: pairs(on_jax).block_until_ready(),
        lambda: np.copyto(copied, v),
        lambda: jfx.summary(signals),
        rounds=5,
    )
    print(f"\n{machine()}")
    report(
        "pairwise correlation of 1000 units, 800 bins",
        correlation,
        "one product of (unit, bin)",
        one,
        1.0,
    )
    report("summary of 1000 x 40 000", whole, "np.copyto", copy, None)
