"""Spikes with a gradient: the exact step functions of `spikes`, with the derivative of a sigmoid instead of theirs.

A step function has the derivative 0 everywhere but at the threshold, and none there, so that automatic differentiation
is correct but useless; a `custom_jvp` gives it a *surrogate* derivative s(v - threshold), and leaves its value as it
is. Each surrogate here is a density: its integral over the voltage is 1, the height of the step, and its value at the
threshold is `slope`. It is thus an exact derivative, that of the *expected* spike if the threshold is random with
that density. For a crossing this also determines how its two samples share the derivative; see `crossing`.

The second derivative is that of the surrogate as written. It has kinks, where JAX's value applies, 0 (or half the jump
at the ends of the triangle): at the threshold for all but the arctan.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from . import spikes

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Array, Float


def fast_sigmoid(x: Float[Array, "*dims"], slope: float) -> Float[Array, "*dims"]:
    """Compute ``slope / (1 + 2 slope |x|)^2``: heavy tails, which reach a silent neuron far below its threshold.

    Parameters
    ----------
    x : array (any dims)
        Voltage above the threshold, mV.
    slope : float
        Value at the threshold, 1/mV.

    Returns
    -------
    array (dims of x)
        1/mV. The derivative of ``(1 + h / (1 + |h|)) / 2`` with ``h = 2 slope x``. In the source it is
        ``(1 + |h|)^-2`` with ``h = beta x``: the same shape for ``beta = 2 slope``, in another unit.

    References
    ----------
    .. [1] F. Zenke and S. Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks",
       Neural Comput. 30, 1514 (2018).

    Examples
    --------
    >>> print(fast_sigmoid(jnp.array([0.0, 10.0]), 0.05))
    [0.05   0.0125]
    """
    return slope / jnp.square(1 + 2 * slope * jnp.abs(x))


def arctan(x: Float[Array, "*dims"], slope: float) -> Float[Array, "*dims"]:
    """Compute ``slope / (1 + (pi slope x)^2)``: smooth at the threshold too.

    Parameters
    ----------
    x : array (any dims)
        Voltage above the threshold, mV.
    slope : float
        Value at the threshold, 1/mV.

    Returns
    -------
    array (dims of x)
        1/mV. The derivative of ``arctan(pi slope x) / pi + 1/2``, with slope 1 in the source.

    References
    ----------
    .. [1] W. Fang, Z. Yu, Y. Chen, T. Masquelier, T. Huang and Y. Tian, "Incorporating learnable membrane time
       constant to enhance learning of spiking neural networks", ICCV (2021).

    Examples
    --------
    >>> print(arctan(jnp.array([0.0, 20 / jnp.pi]), 0.05))
    [0.05  0.025]
    """
    return slope / (1 + jnp.square(math.pi * slope * x))


def triangle(x: Float[Array, "*dims"], slope: float) -> Float[Array, "*dims"]:
    """Compute ``slope max(0, 1 - slope |x|)``: 0 further than ``1 / slope`` from the threshold.

    Parameters
    ----------
    x : array (any dims)
        Voltage above the threshold, mV.
    slope : float
        Value at the threshold, 1/mV.

    Returns
    -------
    array (dims of x)
        1/mV. In the sources the unit of voltage is the distance from rest to threshold, ``slope`` is 1 in that unit,
        and the result may be multiplied by a damping factor.

    References
    ----------
    .. [1] S. K. Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic computing", PNAS 113,
       11441 (2016).
    .. [2] G. Bellec, D. Salaj, A. Subramoney, R. Legenstein and W. Maass, "Long short-term memory and
       learning-to-learn in networks of spiking neurons", NeurIPS (2018).

    Examples
    --------
    >>> print(triangle(jnp.array([0.0, 10.0, 30.0]), 0.05))
    [0.05  0.025 0.   ]
    """
    return slope * jnp.maximum(0, 1 - slope * jnp.abs(x))


#: Every surrogate derivative by name: (voltage above the threshold in mV, slope in 1/mV) -> 1/mV.
SURROGATES: dict[str, Callable[..., Array]] = {
    "fast_sigmoid": fast_sigmoid,
    "arctan": arctan,
    "triangle": triangle,
}


def level(
    v: Float[Array, "*dims"], threshold: float, slope: float, *, axis: int = 0, surrogate: str
) -> Float[Array, "*dims"]:
    """Mark every sample at or above the threshold by 1, with a surrogate derivative.

    Parameters
    ----------
    v : array (any dims)
        Membrane voltage, mV; JAX, or NumPy, which has no gradient to carry.
    threshold : float
        Threshold, mV; rounded to the precision of `v`.
    slope : float
        Value of the surrogate at the threshold, 1/mV.
    axis : int
        The time axis, as for `crossing`; not used.
    surrogate : str
        One of `SURROGATES`.

    Returns
    -------
    array (dims of v)
        ``v >= threshold`` as 0 and 1, float64 if `v` is and otherwise float32, in which counts stay exact;
        ``d spike = s(v - threshold) (dv - dthreshold)``, and 0 with respect to `slope`.

    Examples
    --------
    >>> v = jnp.array([-65.0, 10.0, 20.0])
    >>> print(level(v, 0.0, 0.05, surrogate="triangle"))
    [0. 1. 1.]
    >>> print(jax.grad(lambda v: level(v, 0.0, 0.05, surrogate="triangle").sum())(v))
    [0.    0.025 0.   ]
    """
    if not _differentiable(v):
        return spikes.level(v, threshold, axis=axis).astype(spike_dtype(v.dtype))
    return _level(v, jnp.asarray(threshold, v.dtype), slope, surrogate)


def crossing(
    v: Float[Array, "*before time *after"],
    threshold: float,
    slope: float,
    *,
    axis: int,
    surrogate: str,
) -> Float[Array, "*before time-1 *after"]:
    """Mark the samples at or above the threshold after one below it by 1, with a surrogate derivative.

    Parameters
    ----------
    v : array (any dims, time along `axis`)
        Membrane voltage, mV; JAX, or NumPy, which has no gradient to carry.
    threshold : float
        Threshold, mV; rounded to the precision of `v`.
    slope : float
        Value of the surrogate at the threshold, 1/mV.
    axis : int
        The time axis, counted from the front.
    surrogate : str
        One of `SURROGATES`.

    Returns
    -------
    array (dims of v, one sample shorter in time)
        `spikes.crossing` as 0 and 1, float64 if `v` is and otherwise float32. Where the voltage rises,
        ``v[k] > v[k-1]``, ``d spike[k] = s(v[k] - threshold) dv[k] - s(v[k-1] - threshold) dv[k-1]``; elsewhere 0.

    Notes
    -----
    A crossing is a product, ``H(v[k] - threshold) (1 - H(v[k-1] - threshold))``. The product rule with s for the
    derivative of each H treats the two steps as independent, as if each had a separate noise. They share one
    threshold, and if that is noisy with density s = F', the probability that it lies between the two samples is
    ``max(0, F(v[k]) - F(v[k-1]))``, whose derivative is the one above. The difference matters: in a sum over time
    the terms of a rise cancel except at its ends, so that the derivative of a number of spikes is s at each peak minus
    s at each trough, at any sampling interval. With the product rule every sample below the threshold adds s, and half
    the interval gives twice the gradient.

    Examples
    --------
    >>> v = jnp.array([-65.0, -12.0, -8.0, -16.0])
    >>> count = lambda v: crossing(v, 0.0, 0.05, axis=0, surrogate="triangle").sum()
    >>> print(count(v), jax.grad(count)(v))
    0.0 [0.   0.   0.03 0.  ]
    """
    if not _differentiable(v):
        return spikes.crossing(v, threshold, axis=axis).astype(spike_dtype(v.dtype))
    lead = (slice(None),) * axis
    now, before = v[(*lead, slice(1, None))], v[(*lead, slice(None, -1))]
    return _crossing(now, before, jnp.asarray(threshold, v.dtype), slope, surrogate)


def spike_dtype(dtype: np.dtype) -> np.dtype:
    """Return the precision of spikes with a gradient: float64 if the voltage is, otherwise float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def _differentiable(v: Array) -> bool:
    return isinstance(v, jax.Array) and jnp.issubdtype(v.dtype, jnp.floating)


# custom_jvp, because the true derivative of a step is 0 wherever it exists: correct, but useless for gradient descent.
# Their rules call the functions themselves for the value, so that it has the surrogate in higher derivatives too.


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _level(v: Array, threshold: Array, slope: float, surrogate: str) -> Array:
    return (v >= threshold).astype(spike_dtype(v.dtype))


@_level.defjvp
def _level_jvp(surrogate: str, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    v, threshold, slope = primals
    dv, dthreshold, _ = tangents
    made = _level(v, threshold, slope, surrogate)
    return made, _slope(v, threshold, slope, surrogate, made) * (dv - dthreshold)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _crossing(now: Array, before: Array, threshold: Array, slope: float, surrogate: str) -> Array:
    return ((now >= threshold) > (before >= threshold)).astype(spike_dtype(now.dtype))


@_crossing.defjvp
def _crossing_jvp(surrogate: str, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    now, before, threshold, slope = primals
    dnow, dbefore, dthreshold, _ = tangents
    made = _crossing(now, before, threshold, slope, surrogate)
    up, down = (_slope(v, threshold, slope, surrogate, made) for v in (now, before))
    change = up * (dnow - dthreshold) - down * (dbefore - dthreshold)
    return made, jnp.where(now > before, change, 0)


def _slope(v: Array, threshold: Array, slope: float, surrogate: str, like: Array) -> Array:
    """Return the surrogate derivative in the precision of the spikes."""
    above = v.astype(like.dtype) - threshold.astype(like.dtype)
    return SURROGATES[surrogate](above, jnp.asarray(slope, like.dtype))
