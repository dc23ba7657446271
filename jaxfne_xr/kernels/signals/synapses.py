"""Currents from spikes: the synaptic current evoked by a spike train."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Num

_ORDER = {"exponential": 1, "alpha": 2}


def synaptic_current(
    spikes: Bool[Array, "*before time *after"] | Num[Array, "*before time *after"],
    dt: float,
    tau: Float[Array, "*rest"] | float,
    weight: Float[Array, "*rest"] | float = 1.0,
    *,
    axis: int,
    kernel: str = "exponential",
    state: Float[Array, " order *rest"] | None = None,
) -> tuple[Float[Array, "*before time *after"], Float[Array, " order *rest"]]:
    """Convolve spikes with a causal synaptic kernel that is not truncated.

    Parameters
    ----------
    spikes : array (any dims, time along `axis`)
        Spikes per sample; a spike in sample n is at time n dt. Any numbers are allowed and scale the
        current, so surrogate spikes are differentiable.
    dt : float
        Sampling interval, ms.
    tau : float or array (the dims without time)
        Time constant, ms, positive.
    weight : float or array (the dims without time)
        Peak of the current evoked by one spike, nA. A sink (an excitatory synapse, since outward
        current is positive) has a negative weight.
    axis : int
        The time axis.
    kernel : {"exponential", "alpha"}
        ``k(s) = exp(-s / tau)``, or ``k(s) = (s / tau) exp(1 - s / tau)``, for s >= 0. Both peak at 1:
        the exponential at s = 0, in the sample of the spike, the alpha function at s = tau. A spike
        carries a charge of weight tau, or e weight tau (nA ms = pC).
    state : array (order, the dims without time), optional
        The `state` returned for the previous block; zeros (rest) by default. Order is 1 for
        "exponential", 2 for "alpha".

    Returns
    -------
    current : array (dims of spikes)
        ``I(n dt) = weight sum_m spikes_m k((n - m) dt)`` over m <= n, nA.
    state : array (order, the dims without time)
        To pass with the next block: consecutive blocks give the same result as one run. It does not
        depend on `weight`.

    Raises
    ------
    ValueError
        If the kernel is not known, or `state` has another order.

    Notes
    -----
    With ``d = exp(-dt / tau)`` the sum obeys a recurrence exactly, at any dt: ``a_n = d a_(n-1) + s_n``
    gives the exponential, and ``b_n = d (b_(n-1) + a_(n-1))``, times ``e dt / tau``, the alpha function.
    One pass, and no memory beyond `state` and the result. A peak between two samples is not sampled, but
    the samples are exact. Smooth in `spikes`, `tau`, `weight` and `dt`.

    Examples
    --------
    >>> spikes = jnp.array([0.0, 1.0, 0.0, 0.0])
    >>> current, state = synaptic_current(spikes, 1.0, 2.0, axis=0)
    >>> print(current.round(3))
    [0.    1.    0.607 0.368]
    >>> current, _ = synaptic_current(jnp.zeros(2), 1.0, 2.0, axis=0, state=state)
    >>> print(current.round(3))
    [0.223 0.135]
    """
    if kernel not in _ORDER:
        raise ValueError(f"kernel={kernel!r} is not one of {', '.join(map(repr, _ORDER))}")
    steps = jnp.moveaxis(jnp.asarray(spikes), axis, 0)
    dtype = jnp.result_type(steps, dt, tau, weight, 1.0)
    step, time_constant, peak = (jnp.asarray(p, dtype) for p in (dt, tau, weight))
    shape = (_ORDER[kernel], *steps.shape[1:])
    start = jnp.zeros(shape, dtype) if state is None else jnp.asarray(state, dtype)
    if start.shape != shape:
        raise ValueError(
            f"state has shape {start.shape}, and kernel={kernel!r} on these spikes needs {shape}"
        )
    decay = jnp.exp(-step / time_constant)

    def exponential(carry: Array, spike: Array) -> tuple[Array, Array]:
        a = decay * carry[0] + spike
        return a[None], a * peak

    def alpha(carry: Array, spike: Array) -> tuple[Array, Array]:
        a, b = carry
        b = decay * (a + b)
        return jnp.stack([decay * a + spike, b]), b * scale

    scale = peak * math.e * step / time_constant
    advance = exponential if kernel == "exponential" else alpha
    end, current = jax.lax.scan(advance, start, steps)
    return jnp.moveaxis(current, 0, axis), end
