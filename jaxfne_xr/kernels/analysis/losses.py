"""The quantities that losses compare: standardised signals and log ratios of spectra, with finite gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from .summary import centred

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Num


def standardised(x: Num[Array, "*dims"], *, axis: int) -> Float[Array, "*dims"]:
    """Scale signals to a mean of 0 and a variance of 1: the mean of the product of two is their correlation.

    Parameters
    ----------
    x : array (any dims, time along `axis`)
        Signals in any unit.
    axis : int
        The time axis.

    Returns
    -------
    array (dims of x)
        ``(x - <x>) / sqrt(<(x - <x>)^2>)``, dimensionless. A constant signal gives 0 with a gradient of 0: it is
        correlated with nothing.

    Examples
    --------
    >>> print(standardised(jnp.array([[1.0, 3.0], [2.0, 2.0]]), axis=1))
    [[-1.  1.]
     [ 0.  0.]]
    """
    x = centred(x, axis=axis)
    variance = jnp.square(x).mean(axis, keepdims=True)
    # the double `where`: the gradient of a square root at 0 would be NaN even in the branch not chosen
    varies = variance > 0
    return jnp.where(varies, x / jnp.sqrt(jnp.where(varies, variance, 1)), 0)


def log_ratio(
    power: Float[Array, "*dims"],
    reference: Float[Array, "*dims"],
    floor: float,
    *,
    axis: int,
) -> Float[Array, "*dims"]:
    """Compute the logarithm of the ratio of two spectra, each raised by a floor.

    Parameters
    ----------
    power, reference : array (any dims, frequency or band along `axis`)
        Power, or power density, 0 or more, in the same unit.
    floor : float
        Fraction of the reference's mean power along `axis` that is added to both; positive.
    axis : int
        The frequency axis.

    Returns
    -------
    array (dims of power)
        ``ln((S + e) / (R + e))`` with ``e = floor <R>``, dimensionless. If the reference has no power at all, 0
        with a gradient of 0: there is nothing to compare with.

    Notes
    -----
    Without the floor a zero in a spectrum, or the rounding error in its place, would outweigh everything else, in
    the gradient too: with it, ``d / dS = 1 / (S + e)`` is at most ``1 / e``.

    Examples
    --------
    >>> print(log_ratio(jnp.array([2.0, 0.0]), jnp.array([1.0, 1.0]), 0.01, axis=0).round(3))
    [ 0.688 -4.615]
    """
    least = floor * reference.mean(axis, keepdims=True)
    some = least > 0
    e = jnp.where(some, least, 1)
    return jnp.where(some, jnp.log((power + e) / (reference + e)), 0)
