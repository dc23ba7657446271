"""Run a kernel that carries a state along a dim, so that blocks of any size give exactly what the whole gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import product
from typing import Any

import jax
import numpy as np
import xarray as xr

from .arrays import is_dask, is_jax
from .types import Array


def carried(
    kernel: Callable[..., Any],
    host: Callable[..., Any],
    variable: xr.Variable,
    dim: Hashable,
    **static: Hashable,
) -> xr.Variable:
    """Apply a kernel to a variable from the first sample along `dim` to the last.

    Parameters
    ----------
    kernel : callable
        ``kernel(array, axis=, **static)`` -> array of the same shape and dtype. JAX, and a function of a module.
    host : callable
        ``host(block, state, axis=, **static)`` -> (block of the same shape and dtype, state); the state of the first
        block is None. NumPy, and a function of a module.
    variable : xr.Variable
        Bare; NumPy-, JAX- or dask-backed. Chunks of dask keep their sizes; those along `dim` wait for one another,
        and for nothing else.
    dim : str
        The dim along which the state is carried.
    **static : hashable
        Options of both.

    Returns
    -------
    xr.Variable
        Same dims and kind of array as `variable`; no attrs.
    """
    data, axis = variable.data, variable.get_axis_num(dim)
    if is_jax(data):
        made = _jitted(data, kernel=kernel, axis=axis, static=tuple(static.items()))
    elif is_dask(data):
        made = _chained(data, partial(host, axis=axis, **static), axis)
    else:
        made = host(data, None, axis=axis, **static)[0]
    return xr.Variable(variable.dims, made)


@partial(jax.jit, static_argnames=("kernel", "axis", "static"))
def _jitted(
    data: jax.Array,
    *,
    kernel: Callable[..., Any],
    axis: int,
    static: tuple[tuple[str, Hashable], ...],
) -> jax.Array:
    return kernel(data, axis=axis, **dict(static))


def _chained(data: Array, host: Callable[..., Any], axis: int) -> Array:
    """Return a dask array of the same chunks; each chunk along `axis` gets the state of the one before."""
    import dask
    import dask.array

    chunks = data.to_delayed()
    run = dask.delayed(host, nout=2, pure=True)
    made = np.empty(chunks.shape, object)
    meta = np.empty((0,) * data.ndim, data.dtype)
    for others in product(*(range(n) for i, n in enumerate(chunks.shape) if i != axis)):
        state = None
        for k in range(chunks.shape[axis]):
            where = (*others[:axis], k, *others[axis:])
            block, state = run(chunks[where], state)
            shape = tuple(sizes[i] for sizes, i in zip(data.chunks, where, strict=True))
            made[where] = dask.array.from_delayed(block, shape, meta=meta)
    return dask.array.block(made.tolist()) if data.ndim else data
