"""The check of derivatives that tests share finds wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def with_derivative(f, slope):
    """Return `f` with a derivative that is said, not derived."""
    made = jax.custom_jvp(f)
    made.defjvp(lambda primals, tangents: (f(*primals), slope(*primals) * tangents[0]))
    return made


X = np.array([0.5, -1.2, 2.0])
cube = lambda x: x**3
right = with_derivative(lambda x: 3 * x**2, lambda x: 6 * x)
wrong = with_derivative(lambda x: 3 * x**2, lambda x: 6.01 * x)


@pytest.mark.parametrize("order", [1, 2])
def test_right_derivatives_pass(x64, check_derivatives, order):
    check_derivatives(with_derivative(cube, right), (X,), order=order)
    check_derivatives(lambda a, b: {"c": jnp.exp(1j * a["b"]) * b}, ({"b": X}, 2.0), order=order)


@pytest.mark.parametrize("modes", [["fwd"], ["rev"], ["fwd", "rev"]])
def test_a_wrong_first_derivative_is_found(x64, check_derivatives, modes):
    off = with_derivative(cube, lambda x: 3.01 * x**2)
    with pytest.raises(AssertionError):
        check_derivatives(off, (X,), modes=modes)


def test_a_wrong_second_derivative_is_found(x64, check_derivatives):
    off = with_derivative(cube, wrong)
    check_derivatives(off, (X,))
    with pytest.raises(AssertionError):
        check_derivatives(off, (X,), order=2)


def test_a_gradient_that_is_not_finite_is_found(x64, check_derivatives):
    off = with_derivative(cube, lambda x: jnp.where(x > 1, jnp.nan, 3 * x**2))
    with pytest.raises(AssertionError):
        check_derivatives(off, (X,), modes=["rev"])
