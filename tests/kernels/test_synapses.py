"""Synaptic currents against the sum of kernels at spike times."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.test_util import check_grads

from jaxfne_xr.kernels.signals import synapses as source

synaptic_current = jax.jit(source.synaptic_current, static_argnames=("axis", "kernel"))
pytestmark = pytest.mark.usefixtures("x64")
KERNELS = {
    "exponential": lambda s, tau: np.where(s >= 0, np.exp(-np.maximum(s, 0) / tau), 0),
    "alpha": lambda s, tau: np.where(s >= 0, s / tau * np.exp(1 - np.maximum(s, 0) / tau), 0),
}
each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def sum_of_kernels(spikes, dt, tau, weight, kernel):
    """Spikes (time), in closed form."""
    t = np.arange(len(spikes)) * dt
    return (
        sum(weight * spikes[m] * KERNELS[kernel](t - t[m], tau) for m in np.flatnonzero(spikes))
        + 0 * t
    )


def train(*shape, rate=0.05, seed=0):
    return np.random.default_rng(seed).random(shape) < rate


@each_kernel
@pytest.mark.parametrize(("dt", "tau"), [(0.025, 5.0), (1.0, 0.7), (0.1, 200.0)])
def test_current_is_the_sum_of_kernels(kernel, dt, tau):
    spikes = train(2000)
    current, _ = synaptic_current(spikes, dt, tau, -0.3, axis=0, kernel=kernel)
    close(current, sum_of_kernels(spikes, dt, tau, -0.3, kernel))


@each_kernel
def test_peak_is_the_weight(kernel):
    spikes = np.arange(4000) == 0
    current, _ = synaptic_current(spikes, 0.01, 2.0, 0.25, axis=0, kernel=kernel)
    assert current.argmax() == {"exponential": 0, "alpha": 200}[kernel]
    close(current.max(), 0.25)


@each_kernel
def test_charge_is_weight_times_tau(kernel):
    spikes = np.arange(20_000) == 5
    current, _ = synaptic_current(spikes, 0.005, 2.0, 0.25, axis=0, kernel=kernel)
    charge = np.trapezoid(current, dx=0.005) - (kernel == "exponential") * 0.25 * 0.005 / 2
    close(charge, 0.25 * 2.0 * {"exponential": 1, "alpha": np.e}[kernel], 1e-5)


@each_kernel
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_any_axis_and_a_time_constant_for_each_site(kernel, axis):
    spikes = train(300, 2, 3)
    tau, weight = np.array([[2.0], [5.0]]), np.array([1.0, -2.0, 3.0])
    current, state = synaptic_current(
        np.moveaxis(spikes, 0, axis), 0.1, tau, weight, axis=axis, kernel=kernel
    )
    assert state.shape == ({"exponential": 1, "alpha": 2}[kernel], 2, 3)
    for i in range(2):
        for j in range(3):
            want = sum_of_kernels(spikes[:, i, j], 0.1, tau[i, 0], weight[j], kernel)
            close(np.moveaxis(current, axis, 0)[:, i, j], want)


@each_kernel
@pytest.mark.parametrize("cut", [0, 1, 37, 100])
@pytest.mark.slow
def test_blocks_give_the_same_as_one_run(kernel, cut):
    spikes = train(100, 3)
    k = {"axis": 0, "kernel": kernel}
    whole, end = synaptic_current(spikes, 0.1, 2.0, 0.3, **k)
    first, state = synaptic_current(spikes[:cut], 0.1, 2.0, 0.3, **k)
    second, last = synaptic_current(spikes[cut:], 0.1, 2.0, 0.3, **k, state=state)
    close(jnp.concatenate([first, second]), whole, 1e-15)
    close(last, end, 1e-15)


@each_kernel
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 100))
def test_linear_in_the_spikes(kernel, a, b, seed):
    x, y = train(2, 80, seed=seed)
    f = lambda s: synaptic_current(s, 0.1, 2.0, axis=0, kernel=kernel)[0]
    np.testing.assert_allclose(f(a * x + b * y), a * f(x * 1.0) + b * f(y * 1.0), atol=1e-12)


@pytest.mark.slow
@each_kernel
def test_gradients(kernel):
    spikes = train(12, 2).astype(float)
    f = lambda s, dt, tau, w: synaptic_current(s, dt, tau, w, axis=0, kernel=kernel)
    check_grads(jax.jit(f), (spikes, 0.5, jnp.array([2.0, 3.0]), 0.3), 1)


@each_kernel
def test_precision_follows_the_input(kernel):
    spikes = train(5000)
    single, state = synaptic_current(spikes.astype(np.float32), 0.025, 5.0, axis=0, kernel=kernel)
    assert single.dtype == state.dtype == np.float32
    close(single, synaptic_current(spikes, 0.025, 5.0, axis=0, kernel=kernel)[0], 1e-4)


@each_kernel
def test_transformations_and_empty_axes(kernel):
    spikes = train(3, 50, 2)
    f = lambda s: synaptic_current(s, 0.1, 2.0, axis=0, kernel=kernel)[0]
    close(jax.jit(jax.vmap(f))(spikes), np.stack([f(s) for s in spikes]), 1e-15)
    current, state = synaptic_current(np.zeros((0, 2), bool), 0.1, 2.0, axis=0, kernel=kernel)
    assert current.shape == (0, 2)
    assert (state == 0).all()
    assert f(np.zeros((5, 0), bool)).shape == (5, 0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="'exponential', 'alpha'"):
        synaptic_current(train(5), 0.1, 2.0, axis=0, kernel="gamma")
    with pytest.raises(
        ValueError, match=r"\(1, 2\), and kernel='alpha' on these spikes needs \(2, 2"
    ):
        synaptic_current(train(5, 2), 0.1, 2.0, axis=0, kernel="alpha", state=np.zeros((1, 2)))
