"""Run a kernel that carries a state along a dim, so that blocks of any size give exactly what the whole gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import jax
import numpy as np
import xarray as xr

from .arrays import is_dask, is_jax, precision_of
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
        with precision_of(data):
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
    import dask.array
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    # one layer of tasks: with delayed objects, the graph of n chunks takes a time of n^2 to make
    name = f"carried-{tokenize(data, host)}"
    tasks: dict[Any, Any] = {}
    for where in product(*map(range, data.numblocks)):
        before = (*where[:axis], where[axis] - 1, *where[axis + 1 :])
        state = (f"{name}-state", *before) if where[axis] else None
        tasks[(f"{name}-both", *where)] = (host, (data.name, *where), state)
        tasks[(name, *where)] = (itemgetter(0), (f"{name}-both", *where))
        tasks[(f"{name}-state", *where)] = (itemgetter(1), (f"{name}-both", *where))
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[data])
    meta = np.empty((0,) * data.ndim, data.dtype)
    return dask.array.Array(graph, name, data.chunks, meta=meta)
