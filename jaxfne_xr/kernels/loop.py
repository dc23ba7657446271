"""Read results out of a simulation while it runs, a block of steps at a time, so that its states are never all kept.

Functions are pure JAX on bare arrays and pytrees of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import PyTree

__all__ = ["read_in_blocks"]


def read_in_blocks(
    step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    read: Callable[[PyTree], PyTree],
    state: PyTree,
    inputs: PyTree,
    lengths: Sequence[int],
    *,
    checkpoint: bool,
) -> PyTree:
    """Run a recurrence, apply `read` to every block of its samples, and join the results along the first axis.

    Parameters
    ----------
    step : callable
        ``step(state, input) -> (state, sample)``.
    read : callable
        ``read(samples) -> result``, arrays whose first axis is that of the samples. It gets a whole block, since one
        matrix product of a block takes a fraction of the time of one product for each step.
    state : pytree
        The initial state.
    inputs : pytree of arrays, (step, ...)
        One row for each step.
    lengths : sequence of int
        The number of parts that each level is divided into; the last one is the number of steps in a block. Their
        product is the number of steps.
    checkpoint : bool
        Whether all levels but the last keep only the states between their parts for the reverse pass, and run each
        part again. Memory then grows with the sum of the lengths, not their product; each level adds one forward pass.

    Returns
    -------
    pytree of arrays, (step, ...)

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> def step(total, x):
    ...     return total + x, total + x
    >>> read_in_blocks(step, lambda s: 10 * s, 0.0, jnp.ones(6), (2, 3), checkpoint=True).tolist()
    [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    """
    parts = jax.tree.map(lambda x: x.reshape(*lengths, *x.shape[1:]), inputs)
    _, made = _level(state, parts, step=step, read=read, lengths=tuple(lengths), keep=checkpoint)
    return made


def _level(
    state: PyTree,
    inputs: PyTree,
    *,
    step: Callable[..., PyTree],
    read: Callable[..., PyTree],
    lengths: tuple[int, ...],
    keep: bool,
) -> tuple[PyTree, PyTree]:
    """Run the parts of one level; return the last state and the results of `read`, joined."""
    length, *below = lengths
    if not below:
        state, samples = jax.lax.scan(step, state, inputs, length)
        return state, read(samples)
    inner = partial(_level, step=step, read=read, lengths=tuple(below), keep=keep)
    state, made = jax.lax.scan(jax.checkpoint(inner) if keep else inner, state, inputs, length)
    return state, jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[2:])), made)
