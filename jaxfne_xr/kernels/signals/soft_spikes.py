"""Times and numbers of spikes that are differentiable functions of the voltage, for losses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxfne_xr.kernels.analysis.summary import as_float

from . import spikes
from .dead_time import dead_time

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, Num


def crossing_times(
    v: Num[Array, "*before time *after"],
    threshold: float,
    start: float,
    dt: float,
    fill: float,
    *,
    axis: int,
    n: int,
    samples: int = 1,
) -> Float[Array, "*before spike *after"]:
    """Find the times of the first few upward crossings of a threshold, interpolated between samples.

    Parameters
    ----------
    v : array (any dims, time along `axis`)
        Membrane voltage, mV.
    threshold : float
        Threshold, mV.
    start, dt : float
        Time of the first sample and sampling interval, ms.
    fill : float
        The value of missing times if there are fewer than `n` crossings, ms.
    axis : int
        The time axis, which becomes the axis of spikes.
    n : int
        How many crossings to return, 1 or more.
    samples : int
        The least distance of two crossings that count; see `dead_time`.

    Returns
    -------
    array (dims of v, n for time)
        ``t* = t[k-1] + dt (threshold - v[k-1]) / (v[k] - v[k-1])`` for the crossings ``v[k-1] < threshold <= v[k]`` in
        order, ms, in the precision of `v`; then `fill`.

    Notes
    -----
    The time is where the straight line between two samples crosses the threshold, so that its derivative is that of
    the implicit function: ``dt* = -dv(t*) / (dv/dt)``, with dv(t*) interpolated between the changes of the two samples.
    It is finite, and large if the voltage only just crosses the threshold; 0 for missing times.

    Examples
    --------
    >>> v = jnp.array([-10.0, 10.0, 20.0, -30.0, 10.0])
    >>> print(crossing_times(v, 0.0, 0.0, 0.1, jnp.nan, axis=0, n=3))
    [0.05  0.375   nan]
    """
    v = jnp.moveaxis(as_float(v), axis, -1)
    crossed = _apart(spikes.crossing(v, threshold, axis=v.ndim - 1), v.ndim - 1, samples)
    last = v.shape[-1] - 1
    # a fixed number of crossings, since shapes are static under jit; `last` marks the missing ones
    first = partial(jnp.nonzero, size=n, fill_value=last)
    k = jnp.vectorize(lambda row: first(row)[0], signature="(t)->(n)")(crossed)
    found = k < last  # k is the sample before the crossing, which the last sample cannot be
    before, after = (jnp.take_along_axis(v, jnp.minimum(i, last), axis=-1) for i in (k, k + 1))
    # a safe divisor, so that missing crossings have no NaN in their gradient
    rise = jnp.where(found, after - before, 1)
    share = (jnp.asarray(threshold, v.dtype) - before) / rise
    times = jnp.asarray(start, v.dtype) + jnp.asarray(dt, v.dtype) * (k.astype(v.dtype) + share)
    return jnp.moveaxis(jnp.where(found, times, jnp.asarray(fill, v.dtype)), -1, axis)


def crossing_count(
    v: Num[Array, "*before time *after"], threshold: float, *, axis: int, samples: int = 1
) -> Int[Array, "*rest"]:
    """Count the upward crossings of a threshold.

    Parameters
    ----------
    v : array (any dims, time along `axis`)
        Membrane voltage, mV.
    threshold : float
        Threshold, mV.
    axis : int
        The time axis, which is removed.
    samples : int
        The least distance of two crossings that count; see `dead_time`.

    Returns
    -------
    array of int (the other dims)
        The number of crossings.

    Examples
    --------
    >>> print(crossing_count(jnp.array([-10.0, 10.0, 20.0, -30.0, 10.0]), 0.0, axis=0))
    2
    """
    v = as_float(v)
    axis %= v.ndim
    return _apart(spikes.crossing(v, threshold, axis=axis), axis, samples).sum(axis)


def _apart(crossed: Bool[Array, "*dims"], axis: int, samples: int) -> Bool[Array, "*dims"]:
    # between two crossings there is a sample below the threshold
    return crossed if samples <= 2 else dead_time(crossed, axis=axis, samples=samples)


def expected_crossings(
    v: Num[Array, "*before time *after"], threshold: float, slope: float, *, axis: int
) -> Float[Array, "*rest"]:
    """Compute the expected number of upward crossings of a noisy threshold.

    Parameters
    ----------
    v : array (any dims, time along `axis`)
        Membrane voltage, mV.
    threshold : float
        Median of the threshold, mV.
    slope : float
        Probability density of the threshold at its median, 1/mV.
    axis : int
        The time axis, which is removed.

    Returns
    -------
    array (the other dims)
        ``sum_k max(0, F(v[k]) - F(v[k-1]))`` with the logistic ``F(v) = 1 / (1 + exp(-4 slope (v - threshold)))``.

    Notes
    -----
    The probability that the threshold lies between two samples is the difference of F at the two. In the sum each
    rise counts F at its top minus F at its bottom, at any sampling interval; a sum of ``F(v[k]) (1 - F(v[k-1]))`` would
    grow without bound as the interval shrinks. As `slope` grows, the result tends to the number of crossings, if no
    peak or trough lies exactly at the threshold. Continuous in the voltage, with a kink where a peak moves from one
    sample to the next.

    Examples
    --------
    >>> v = jnp.array([-65.0, 40.0, -65.0, -2.0, -65.0])
    >>> [round(float(expected_crossings(v, 0.0, slope, axis=0)), 3) for slope in (0.05, 0.5, 5.0)]
    [1.401, 1.018, 1.0]
    """
    v = as_float(v)
    above = jax.nn.sigmoid(4 * slope * (v - jnp.asarray(threshold, v.dtype)))
    return jax.nn.relu(jnp.diff(above, axis=axis)).sum(axis)
