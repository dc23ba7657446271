"""What a gradient and labels cost: `grad` against the forward pass, the labelled path against the bare kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx

from .timing import interleaved, machine, report

SITES, SAMPLES, CONTACTS = 1_000, 40_000, 64


def cell():
    random = np.random.default_rng(0)
    start = np.cumsum(random.normal(0, 5, (SITES, 3)), axis=0)
    end = start + random.normal(0, 5, (SITES, 3))
    return jfx.morphology(start, end, 1.0, np.arange(-1, SITES - 1), quantify=False)


CELL = cell()
PROBE = jfx.linear_probe(CONTACTS, 20.0, origin=(400, 0, -600))
SOURCE = jnp.asarray(np.random.default_rng(1).normal(size=(SAMPLES, SITES)), "f4")


def labelled(source):
    ds = jfx.traces(
        source, ("time", "recording"), dt_ms=0.1, name="i_membrane", units="nA", quantify=False
    )
    return jfx.lfp(ds.jfne.with_morphology(CELL), PROBE).lfp.data


def bare():
    matrix = jnp.asarray(jfx.lead_field(CELL, PROBE).lead_field.data, "f4")
    return lambda source: jnp.matmul(source, matrix.T, precision=jax.lax.Precision.HIGHEST)


@pytest.mark.parametrize("samples", [5_000, SAMPLES])
def test_gradient_of_a_loss(samples: int) -> None:
    """Below 32 MB the gradient's memory is used again; above, most of the time goes into fresh pages."""
    print(f"\n{machine()}")
    source = SOURCE[:samples]

    def loss_of(function):
        return lambda source: ((function(source) - 1.0) ** 2).mean()

    forward = jax.jit(loss_of(labelled))
    slope, plain = (jax.jit(jax.grad(loss_of(function))) for function in (labelled, bare()))
    once, ours, theirs = interleaved(
        *(lambda f=f: f(source).block_until_ready() for f in (forward, slope, plain)),
        rounds=25,
        of=min,
    )
    what = f"grad of an LFP loss in the source, {SITES} x {samples} x {CONTACTS}"
    report(what, ours, "the forward pass", once, 3)
    report("the same", ours, "grad of the bare product", theirs, 1.05)


def test_the_labelled_path() -> None:
    path, kernel = jax.jit(labelled), jax.jit(bare())
    ours, plain = interleaved(
        lambda: path(SOURCE).block_until_ready(), lambda: kernel(SOURCE).block_until_ready(), rounds=25, of=min
    )  # fmt: skip
    report("lfp of a jitted function, labels and all", ours, "the bare jitted product", plain, 1.05)
    flops = [f.lower(SOURCE).compile().cost_analysis()["flops"] for f in (path, kernel)]
    print(f"its operations: {flops[0] / flops[1]:.6f} x those of the product")


def test_calls() -> None:
    """What a call costs on top of the arrays, for a Dataset of 1000 x 16."""
    ds = jfx.traces(SOURCE[:1000, :16], ("time", "unit"), dt_ms=0.1, quantify=False)
    raw = jax.jit(lambda v: v * 2)
    by_name = jfx.jit(lambda ds: ds.assign(v=ds.v * 2))
    jfx.enable_pytrees()
    registered = jax.jit(lambda ds: ds.assign(v=ds.v * 2))
    ours, theirs, arrays = interleaved(
        lambda: by_name(ds), lambda: registered(ds), lambda: raw(ds.v.data), rounds=99
    )
    report("jfx.jit, Dataset to Dataset", ours, "jax.jit of the array", arrays, None)
    report(
        "jax.jit with enable_pytrees, Dataset to Dataset",
        theirs,
        "jax.jit of the array",
        arrays,
        None,
    )
