"""Means a block at a time: against NumPy, for every choice of axes, layout and kind."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfne_xr.kernels import mean as kernels

OF = {"value": lambda x: x, "abs": np.abs, "square": np.square}
AXES = [axes for n in range(4) for axes in itertools.combinations(range(3), n)]


def close(got, want, tol):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tol * np.abs(want).max()


@pytest.mark.parametrize("shape", [(7, 5, 3), (40, 70, 80), (3, 5000, 2), (1, 4, 1)])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.slow
def test_means_are_those_of_numpy(shape, axes, monkeypatch):
    monkeypatch.setattr(kernels, "_BLOCK", 30_000)
    # each occurs with every shape, but not with every choice of axes
    of = list(OF)[(AXES.index(axes) + len(AXES) * (shape[0] > 5)) % 3]
    x = np.random.default_rng(0).normal(-3, 5, shape).astype("f4")
    got = jax.jit(kernels.mean_over, static_argnames=("axes", "of"))(x, axes=axes, of=of)
    assert got.dtype == np.float32
    close(got, OF[of](x.astype(float)).mean(axes), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", [bool, np.int16])
def test_counts_are_exact(axes, dtype):
    x = (np.random.default_rng(1).random((30, 50, 4)) < 0.3).astype(dtype)
    n = np.prod([x.shape[a] for a in axes], dtype=int)
    got = kernels.mean_over(jnp.asarray(x), axes=axes)
    np.testing.assert_allclose(got * n, x.sum(axes), rtol=3e-7)


@pytest.mark.parametrize("axes", AXES[1:])
def test_a_variance_about_the_mean(axes, x64):
    x = np.random.default_rng(2).normal(1e4, 1, (6, 70, 80))
    centre = x.mean(axes, keepdims=True)
    close(kernels.mean_over(jnp.asarray(x), centre, axes=axes, of="square"), x.var(axes), 1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_of_nothing(shape):
    made = kernels.mean_over(jnp.zeros(shape), axes=(0,))
    assert made.shape == shape[1:]
    assert np.isnan(made).all()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.slow
def test_gradients_are_those_of_a_plain_mean(axes, wide):
    of = list(OF)[(AXES.index(axes) + wide) % 3]
    x = np.random.default_rng(3).normal(size=(4, 3, 2100 if wide else 2)).astype("f4")
    ours = lambda x: (kernels.mean_over(x, axes=axes, of=of) ** 2).sum()

    @jax.jit
    def run(x):
        many = jax.vmap(ours)(jnp.stack([x, 2 * x]))
        return jax.grad(ours)(x), jax.jvp(ours, (x,), (x,))[1], many

    mean = OF[of](x.astype(float)).mean(axes, keepdims=True)
    slope = {"value": np.ones_like(x), "abs": np.sign(x), "square": 2 * x}[of]
    gradient = 2 * mean * slope * (mean.size / x.size)
    sums = [(OF[of](k * x.astype(float)).mean(axes) ** 2).sum() for k in (1, 2)]
    for got, want in zip(run(x), (gradient, (gradient * x).sum(), sums), strict=True):
        close(got, want, 1e-5)
