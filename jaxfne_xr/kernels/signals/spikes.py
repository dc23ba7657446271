"""Spikes from membrane voltages.

Written with operators only, so that the same code works on JAX arrays (traced or not) and NumPy blocks, each in its
precision. (XLA treats subnormal numbers as 0 and NumPy does not: they differ at a threshold of 0 and 1e-39 mV.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


def level(v: Float[Array, ...], threshold: float, *, axis: int = 0) -> Bool[Array, ...]:
    """Mark every sample at or above the threshold.

    Parameters
    ----------
    v : array (any dims)
        Membrane voltage, mV.
    threshold : float
        Threshold, mV; rounded to the precision of `v`.
    axis : int
        The time axis, as for `crossing`; not used, since each sample is independent here.

    Returns
    -------
    array of bool (dims of v)
        ``v >= threshold``. A spike of three samples counts three times: this is a mask, not a count.

    Examples
    --------
    >>> import numpy as np
    >>> level(np.array([-65.0, 10.0, 20.0, -70.0]), 0.0)
    array([False,  True,  True, False])
    """
    return v >= threshold


def crossing(
    v: Float[Array, "*before time *after"], threshold: float, *, axis: int
) -> Bool[Array, "*before time-1 *after"]:
    """Mark the samples at or above the threshold whose previous sample is below it.

    Parameters
    ----------
    v : array (any dims, time along `axis`)
        Membrane voltage, mV.
    threshold : float
        Threshold, mV; rounded to the precision of `v`.
    axis : int
        The time axis, counted from the front.

    Returns
    -------
    array of bool (dims of v, one sample shorter in time)
        ``(v[k] >= threshold) & (v[k-1] < threshold)`` for k = 1, 2, ...: the first sample has no previous one.
        NaN counts as below, so callers reject it.

    Examples
    --------
    >>> import numpy as np
    >>> crossing(np.array([-65.0, 10.0, 20.0, -70.0]), 0.0, axis=0)
    array([ True, False, False])
    """
    above = v >= threshold
    # of booleans, a > b is a & ~b in one pass
    lead = (slice(None),) * axis
    return above[(*lead, slice(1, None))] > above[(*lead, slice(None, -1))]
