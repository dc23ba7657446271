"""Values that cannot be looked at under a trace: `checkify` names them, and without it they cost nothing."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "whole"))
from transformed import (
    CELL,
    CURRENT,
    PROBE,
    PROBED,
    SENSORS,
    V,
    along_probe,
    currents,
    dipoles,
    labelled,
    signals,
)

import jaxfne_xr as jfx


def power(v):
    return (labelled(v).jfne.to_signals().V_m.data ** 2).mean()


BAD = jnp.asarray(V, "f4").at[3, 1].set(jnp.nan)
GOOD = jnp.asarray(V, "f4")

WRAPS = {
    "jit": jax.jit,
    "grad": jax.grad,
    "jit grad": lambda f: jax.jit(jax.grad(f)),
    "vmap": lambda f: lambda v: jax.vmap(f)(v[None]),
    "jit vmap grad": lambda f: lambda v: jax.jit(jax.vmap(jax.grad(f)))(v[None]),
    "checkpoint": jax.checkpoint,
    "scan": lambda f: lambda v: jax.lax.scan(lambda c, x: (c + f(x), None), 0.0, v[None])[0],
}


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPS)
def test_the_variable_is_named(wrap):
    fn = WRAPS[wrap](power)
    error, made = jfx.checkify(fn)(BAD)
    assert "v: expected finite values only" in error.get()
    with pytest.raises(ValueError, match="v: expected"):
        error.throw()
    error, made = jfx.checkify(fn)(GOOD)
    assert error.get() is None
    np.testing.assert_allclose(made, fn(GOOD), rtol=1e-6)


def test_a_function_that_was_compiled_before_is_compiled_with_checks():
    fn = jax.jit(power)
    fn(BAD)
    assert jfx.checkify(fn)(BAD)[0].get() is not None
    fn(BAD)
    assert "is_finite" not in fn.lower(BAD).as_text()


def test_without_it_there_is_nothing():
    def bare(v):
        return (v**2).mean()

    run = jax.jit(power)
    assert not jax.make_jaxpr(power)(GOOD).effects  # with one, JAX calls it on a slow path
    ours, theirs = (f.lower(GOOD).compile().cost_analysis() for f in (run, jax.jit(bare)))
    assert ours["flops"] == theirs["flops"]


def test_datasets():
    ds = labelled(GOOD)
    bad = ds.assign(v=ds.v.copy(data=BAD))
    error, made = jfx.checkify(jfx.jit(lambda ds: ds.jfne.to_signals()))(bad)
    assert "expected finite values only" in error.get()
    assert made.V_m.attrs["units"] == "mV"


def test_what_is_concrete_raises_as_ever():
    with pytest.raises(jfx.NonFiniteError):
        jfx.checkify(power)(BAD)


FLAT = labelled(jnp.ones((4, 5)), "lfp", "uV", ("time", "contact"))
CASES = {
    "sigma": (
        lambda x: jfx.lfp_proxy(jfx.source(signals(GOOD)), PROBE, sigma=x[0]),
        np.array([-1.0]), np.array([100.0]), "sigma: expected a positive",
    ),
    "conductivity": (
        lambda x: jfx.lead_field(CELL, PROBE, jfx.LineSource(x[0])),
        np.array([0.0]), np.array([0.3]), "conductivity: expected more than 0",
    ),
    "tau": (
        lambda x: jfx.synaptic_source(signals(GOOD), tau=x[0]),
        np.array([0.0]), np.array([2.0]), "tau: expected a positive",
    ),
    "contacts": (
        lambda x: jfx.lead_field(CELL, along_probe(x)),
        PROBED * np.nan, PROBED, "contact: expected finite positions",
    ),
    "slab": (
        lambda x: jfx.lead_field(CELL, along_probe(x), jfx.Slab("400 um", bottom=-200.0)),
        PROBED + 1000, PROBED, "contact: expected all of it in the slab",
    ),
    "currents": (lambda x: jfx.lfp(currents(x), PROBE), CURRENT * np.inf, CURRENT, "i_membrane: expected finite"),
    "dipoles": (
        lambda x: jfx.eeg(jfx.move_to(dipoles(jnp.ones((4, 3))), x=x[0], y=0, z=0), SENSORS),
        np.array([8.5e4]), np.array([7e4]), "dipoles: expected all inside",
    ),
    "spacing": (
        lambda x: jfx.csd(FLAT.assign_coords(z=("contact", x, {"units": "um"}))),
        np.array([0.0, 1, 2, 4, 5]), np.arange(5.0), "spacing: expected evenly spaced",
    ),
    "calibrate": (
        lambda x: jfx.calibrate(labelled(x, "lfp", "uV"), labelled(GOOD, "lfp", "uV")),
        0 * V, V, "lfp: expected a readout that is not 0",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_checks_of_values(name):
    fn, bad, good, said = CASES[name]
    run = jfx.checkify(jax.jit(lambda x: [v.data for v in fn(x).data_vars.values()]))
    assert said in run(jnp.asarray(bad, "f4"))[0].get()
    assert run(jnp.asarray(good, "f4"))[0].get() is None
