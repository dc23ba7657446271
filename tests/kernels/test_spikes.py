"""The spike rules against plain loops and jaxfne's rule, on NumPy and JAX, in every precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from jaxfne_xr.kernels.signals.spikes import crossing, level

SHAPE = (7, 3, 4)


def edge_values(dtype):
    """Voltages around 0 with the neighbours of the thresholds that follow among them.

    No subnormal ones: to XLA they are zero.
    """
    v = np.random.default_rng(0).normal(0, 20, SHAPE).astype(dtype)
    near, far, tiny = np.array([-1, 20, 0.1], dtype), dtype(99), np.finfo(dtype).tiny
    neighbours = [near, np.nextafter(near, far), np.nextafter(near, -far), [0, -0.0, tiny, -tiny]]
    v.ravel()[:13] = np.concatenate(neighbours)
    return v


@pytest.mark.parametrize("threshold", [0.0, -1.0, 20.0, 0.1])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_crossing_is_the_plain_loop(x64, crossings, dtype, axis, threshold):
    v = edge_values(dtype)
    want = np.delete(crossings(v, dtype(threshold), axis), 0, axis)
    np.testing.assert_array_equal(crossing(v, threshold, axis=axis), want)
    run = jax.jit(crossing, static_argnames="axis")
    np.testing.assert_array_equal(run(jnp.array(v), threshold, axis=axis), want)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 20.0, 0.1, -37.3])
def test_level_is_the_rule_of_jaxfne_bit_for_bit(threshold):
    v = edge_values(np.float32)
    want = v.astype(np.float32) >= np.float32(threshold)
    np.testing.assert_array_equal(level(v, threshold), want)
    np.testing.assert_array_equal(level(jnp.array(v), threshold), want)


def test_a_plateau_counts_once_by_crossing_and_every_sample_by_level():
    v = np.array([-65.0, 10.0, 20.0, 30.0, -70.0, 0.0, -1.0])
    assert crossing(v, 0.0, axis=0).sum() == 2
    assert level(v, 0.0).sum() == 4


def test_a_first_sample_above_is_no_crossing():
    assert not crossing(np.array([20.0, 30.0]), 0.0, axis=0).any()


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 0)])
def test_empty_axes(shape):
    v = np.zeros(shape, np.float32)
    for array in (v, jnp.array(v)):
        assert crossing(array, 0.0, axis=0).shape == (max(shape[0] - 1, 0), shape[1])
        assert level(array, 0.0).shape == shape


def test_vmap_is_the_rows_one_by_one():
    v = jnp.array(edge_values(np.float32))
    rows = jax.vmap(lambda row: crossing(row, 0.0, axis=0))(v)
    np.testing.assert_array_equal(rows, crossing(v, 0.0, axis=1))


def test_counting_from_the_back_is_not_the_first_axis(crossings):
    v = edge_values(np.float32)
    assert not np.array_equal(
        crossings(v, 0.0, 0), crossings(v, 0.0, 2)
    )  # the loop tells the axes apart


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2),
        elements=st.floats(-100, 100, width=32, allow_subnormal=False),
    ),
    st.floats(-90, 50, width=32, allow_subnormal=False),
)
def test_numpy_and_jax_agree(v, threshold):
    np.testing.assert_array_equal(
        crossing(v, threshold, axis=1), crossing(jnp.array(v), threshold, axis=1)
    )
    np.testing.assert_array_equal(level(v, threshold), level(jnp.array(v), threshold))


@pytest.mark.oracle
@pytest.mark.parametrize("threshold", [0.0, -37.3, 20.0])
def test_level_is_jaxfne_itself(threshold):
    from jaxfne.bridges import JaxleyTraceSpec, jaxley_trace_to_signals

    v = edge_values(np.float32)[..., 0]
    theirs = jaxley_trace_to_signals(v, spec=JaxleyTraceSpec(dt_ms=0.1, spike_threshold=threshold))
    np.testing.assert_array_equal(level(v, threshold), np.asarray(theirs.spikes).astype(bool))
