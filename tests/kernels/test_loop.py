"""Blocks of a recurrence against the recurrence itself, one step at a time in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfne_xr.kernels.loop import read_in_blocks

INPUTS = np.random.default_rng(0).normal(size=(12, 2))


def step(state, row):
    state = jnp.sin(0.9 * state) + row
    return state, state


def read(samples):
    return jnp.stack([samples.sum(axis=1), (samples**2).sum(axis=1)], axis=1)


def expected():
    made, state = [], np.ones(2)
    for row in INPUTS:
        state = np.sin(0.9 * state) + row
        made.append([state.sum(), (state**2).sum()])
    return np.array(made)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(12,), (1, 12), (12, 1), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_blocks_are_the_recurrence(x64, lengths, checkpoint):
    made = read_in_blocks(
        step, read, jnp.ones(2), jnp.asarray(INPUTS), lengths, checkpoint=checkpoint
    )
    assert made.shape == (12, 2)
    assert np.abs(made - expected()).max() <= 1e-14 * np.abs(expected()).max()


@pytest.mark.parametrize("lengths", [(3, 4), (2, 3, 2)])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.slow
def test_gradients(x64, check_derivatives, lengths, checkpoint):
    def run(state, inputs):
        return read_in_blocks(step, read, state, inputs, lengths, checkpoint=checkpoint)

    check_derivatives(run, (jnp.ones(2), INPUTS), order=2)


def test_trees_of_inputs_and_results(x64):
    def walk(total, now):
        total = total + now["a"] - now["b"]
        return total, {"total": total}

    inputs = {"a": jnp.arange(6.0), "b": jnp.ones(6)}
    made = read_in_blocks(walk, lambda s: s, jnp.zeros(()), inputs, (2, 3), checkpoint=False)
    assert jax.tree.map(lambda x: x.tolist(), made) == {
        "total": np.cumsum(np.arange(6.0) - 1).tolist()
    }
