"""The dead time after a spike against a plain loop: in any blocks, on NumPy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.signals.dead_time import dead_time, on_host


def loop(spikes, samples):
    """Keep the first spike, and each that is `samples` or more after the last that was kept."""
    kept = np.zeros_like(spikes)
    for row, out in zip(spikes, kept, strict=True):
        last = -samples
        for k in np.flatnonzero(row):
            if k - last >= samples:
                out[k], last = True, k
    return kept


SPIKES = np.random.default_rng(0).random((4, 61)) < [[0.02], [0.2], [0.6], [1.1]]


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 61, 500])
def test_it_is_the_plain_loop(samples):
    want = loop(SPIKES, samples)
    for array in (SPIKES, np.asfortranarray(SPIKES), SPIKES[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(on_host(array, axis=1, samples=samples)[0], want)
        np.testing.assert_array_equal(on_host(array.T, axis=0, samples=samples)[0], want.T)
    np.testing.assert_array_equal(dead_time(SPIKES, axis=1, samples=samples), want)
    folded = SPIKES.reshape(2, 2, 61).transpose(0, 2, 1)
    want = want.reshape(2, 2, 61).transpose(0, 2, 1)
    np.testing.assert_array_equal(on_host(folded, axis=1, samples=samples)[0], want)
    np.testing.assert_array_equal(dead_time(folded, axis=1, samples=samples), want)


@given(st.data())
def test_blocks_give_what_the_whole_gives(data):
    samples = data.draw(st.integers(1, 70))
    borders = sorted(data.draw(st.sets(st.integers(0, 61), max_size=8)))
    parts, free = [], None
    for part in np.split(SPIKES, borders, axis=1):
        made, free = on_host(part, free, axis=1, samples=samples)
        parts.append(made)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), loop(SPIKES, samples))


@pytest.mark.parametrize("n", [4001, 4008])
def test_few_spikes_in_a_long_row(n):
    spikes = np.random.default_rng(1).random((3, n)) < 0.002
    spikes[:, [0, -1]] = True
    for samples in (2, 300, 1000):
        want = loop(spikes, samples)
        np.testing.assert_array_equal(on_host(spikes, axis=1, samples=samples)[0], want)
        np.testing.assert_array_equal(
            on_host(spikes[:, 1:], axis=1, samples=samples)[0], loop(spikes[:, 1:], samples)
        )


def test_the_input_is_not_changed():
    before = SPIKES.copy()
    on_host(SPIKES, axis=1, samples=8)
    np.testing.assert_array_equal(SPIKES, before)
    apart = np.eye(3, 10, dtype=bool)
    assert on_host(apart, axis=1, samples=8)[0] is apart


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 0)])
def test_empty_axes(shape):
    spikes = np.ones(shape, bool)
    assert on_host(spikes, axis=0, samples=3)[0].shape == shape
    assert dead_time(spikes, axis=0, samples=3).shape == shape


def test_jit_and_vmap():
    run = jax.jit(lambda s: dead_time(s, axis=0, samples=8))
    np.testing.assert_array_equal(jax.vmap(run)(jnp.array(SPIKES)), loop(SPIKES, 8))
