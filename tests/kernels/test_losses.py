"""The kernels of losses, against NumPy and SciPy, and where their gradients would not be finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxfne_xr.kernels.analysis.losses import log_ratio, standardised

X = np.random.default_rng(0).normal(3, 2, (4, 30, 2))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.slow
def test_standardised(x64, check_derivatives, axis):
    got = standardised(jnp.array(X), axis=axis)
    np.testing.assert_allclose(got, scipy.stats.zscore(X, axis=axis), rtol=1e-12, atol=1e-14)
    run = lambda x: standardised(x, axis=axis)
    check_derivatives(run, (X,), order=2, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, -65.1])
def test_a_constant_correlates_with_nothing(value):
    x = jnp.array(X, jnp.float32).at[2].set(value)
    assert (standardised(x, axis=1)[2] == 0).all()
    slope = jax.grad(lambda x: (standardised(x, axis=1) * X).sum())(x)
    assert jnp.isfinite(slope).all()
    assert (slope[2] == 0).all()
    assert (slope[0] != 0).any()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.slow
def test_log_ratio(x64, check_derivatives, axis):
    s, r = X**2, np.roll(X, 1) ** 2
    e = 1e-3 * r.mean(axis, keepdims=True)
    got = log_ratio(jnp.array(s), jnp.array(r), 1e-3, axis=axis)
    np.testing.assert_allclose(got, np.log((s + e) / (r + e)), rtol=1e-12, atol=1e-14)
    run = lambda s, r: log_ratio(s, r, 1e-3, axis=axis)
    check_derivatives(run, (s + 1, r + 1), order=2, rtol=1e-4)


@pytest.mark.slow
def test_zeros_in_a_spectrum_have_finite_gradients():
    s, r = jnp.array([0.0, 2.0]), jnp.array([1.0, 0.0])
    slopes = jax.grad(lambda s, r: log_ratio(s, r, 1e-6, axis=0).sum(), argnums=(0, 1))(s, r)
    assert all(jnp.isfinite(g).all() for g in slopes)
    assert float(slopes[0][0]) == pytest.approx(1 / (1e-6 * 0.5), rel=1e-5)
    run = lambda s, r: log_ratio(s, r, 1e-6, axis=0).sum()
    assert run(s, 0 * r) == 0
    assert all((g == 0).all() for g in jax.grad(run, argnums=(0, 1))(s, 0 * r))
