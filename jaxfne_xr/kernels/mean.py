"""Means over some axes of a large array, block by block, since plain reductions of XLA are slow on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Num

#: What may be averaged; operators that NumPy, JAX and dask share.
OF: dict[str, Callable] = {"value": lambda x: x, "abs": abs, "square": lambda x: x * x}
_BLOCK = 2**20  # numbers in a block: the block and its results stay in a cache of some MB
_WIDE = 2**12  # numbers in a row from which adding row to row is faster


def mean_over(
    x: Num[Array, "*dims"] | Bool[Array, "*dims"],
    centre: Float[Array, "*dims"] | float = 0.0,
    *,
    axes: tuple[int, ...],
    of: str = "value",
) -> Float[Array, "*rest"]:
    """Average data, their absolute values or their squares over some axes.

    Parameters
    ----------
    x : array (any dims)
        Numbers in any unit, or booleans, whose mean is the share that is true.
    centre : float or array (dims of x, of length 1 along `axes`)
        Subtracted first, in the unit of `x`. With the mean, and ``"square"``, the result is the variance.
    axes : tuple of int
        The axes to average over.
    of : {"value", "abs", "square"}
        What is averaged.

    Returns
    -------
    array (the other dims)
        In the unit of `x`, or its square.

    Notes
    -----
    On a CPU rows of the first axis are worked on some at a time, and the sums within them are products with ones;
    or, if only the first axis is averaged, row is added to row. That is 5 to 25 times faster than a plain
    reduction, which other devices use. The gradient of the absolute value at 0 is 0.

    Examples
    --------
    >>> mean_over(jnp.array([[1.0, -3.0], [2.0, 4.0]]), axes=(1,), of="abs")
    Array([2., 3.], dtype=float32)
    """
    axes = tuple(a % x.ndim for a in axes)
    by_rows = partial(_by_rows, axes=axes, of=of)
    if not x.size or not axes:
        return _at_once(x, centre, axes=axes, of=of)
    centre = jnp.asarray(centre, jnp.result_type(x, 1.0))
    return jax.lax.platform_dependent(
        x, centre, cpu=by_rows, default=partial(_at_once, axes=axes, of=of)
    )


def _value(x: Array, centre: Array | float, of: str) -> Array:
    return OF[of](x.astype(jnp.result_type(x, 1.0)) - centre)


def _at_once(x: Array, centre: Array | float, *, axes: tuple[int, ...], of: str) -> Array:
    return jnp.mean(_value(x, centre, of), axis=axes)


def _by_rows(x: Array, centre: Array, *, axes: tuple[int, ...], of: str) -> Array:
    """Average the inner axes of some rows at a time, then the first axis if it is among `axes`."""
    inner = tuple(a for a in axes if a)
    row = x.shape[1:]
    each = centre.ndim > 0 and centre.shape[0] > 1  # a centre for each row
    if not inner:
        if math.prod(row) < _WIDE:
            return _at_once(x, centre, axes=axes, of=of)
        first = centre[0] if centre.ndim else centre
        add = lambda i, total: total + _value(x[i], first, of)
        start = jnp.zeros(row, jnp.result_type(x, 1.0))
        return jax.lax.fori_loop(0, x.shape[0], add, start) / x.shape[0]

    # a sum as a product with ones, which XLA's matrix product does faster than its reduction
    count = math.prod(row[a - 1] for a in inner)
    ones = jnp.ones([row[a - 1] for a in inner], jnp.result_type(x, 1.0))
    size = min(len(x), max(1, _BLOCK // max(1, math.prod(row))))

    def add_rows(i: Array, means: Array) -> Array:
        # the last block overlaps the one before: all have one shape, and the array is not copied
        start = jnp.minimum(i * size, len(x) - size)
        some = jax.lax.dynamic_slice_in_dim(x, start, size)
        about = jax.lax.dynamic_slice_in_dim(centre, start, size) if each else centre
        total = jnp.tensordot(
            _value(some, about, of), ones, axes=(inner, (*range(len(inner)),)), precision="highest"
        )
        return jax.lax.dynamic_update_slice_in_dim(means, total / count, start, 0)

    rest = [n for a, n in enumerate(x.shape) if a not in inner]
    rows = jnp.zeros(rest, jnp.result_type(x, 1.0))
    rows = jax.lax.fori_loop(0, -(-len(x) // size), add_rows, rows)
    return rows.mean(0) if 0 in axes else rows
