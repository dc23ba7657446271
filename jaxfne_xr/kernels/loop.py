"""Reading a simulation while it runs: a block of steps at a time, so that what is not read is never kept.

Functions are pure JAX on bare arrays and pytrees of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["read_in_blocks"]


def read_in_blocks(
    step: Callable[[Any, Any], tuple[Any, Any]],
    read: Callable[[Any], Any],
    state: Any,
    inputs: Any,
    lengths: Sequence[int],
    *,
    checkpoint: bool,
) -> Any:
    """Return what `read` makes of every block of samples of a recurrence, joined along the first axis.

    Parameters
    ----------
    step : callable
        ``step(state, input) -> (state, sample)``.
    read : callable
        ``read(samples) -> result``, arrays whose first axis is that of the samples: a product over a whole block costs
        a fraction of one product a step.
    state : pytree
        The first state.
    inputs : pytree of arrays, (step, ...)
        One row a step.
    lengths : sequence of int
        How many parts each level is divided into; the last one is the number of steps in a block. Their product is the
        number of steps.
    checkpoint : bool
        Whether every level but the last keeps only the states between its parts for the reverse pass, and runs each
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
    state: Any,
    inputs: Any,
    *,
    step: Callable[..., Any],
    read: Callable[..., Any],
    lengths: tuple[int, ...],
    keep: bool,
) -> tuple[Any, Any]:
    length, *below = lengths
    if not below:
        state, samples = jax.lax.scan(step, state, inputs, length)
        return state, read(samples)
    inner = partial(_level, step=step, read=read, lengths=tuple(below), keep=keep)
    state, made = jax.lax.scan(jax.checkpoint(inner) if keep else inner, state, inputs, length)
    return state, jax.tree.map(lambda x: jnp.reshape(x, (-1, *x.shape[2:])), made)
