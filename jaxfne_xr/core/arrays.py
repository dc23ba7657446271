"""The kind of an array, cache-sized blocks of it, and whether all its values are finite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, use_abstract_mesh

from .errors import (
    DataError,
    NonFiniteError,
    Problem,
)
from .types import Array, ArrayLike

#: Bytes of input in one block of a large NumPy array: the block and its results stay in the cache.
BLOCK_BYTES = 1 << 20


#: Whether checks of values are part of traced functions, for `jaxfne_xr.checkify`. A user context is part of the keys
#: of JAX's caches, so that functions compiled with and without checks are kept apart.
CHECKS = jax.make_user_context(default_value=False)


def is_jax(data: object) -> bool:
    """Whether `data` is a JAX array, traced or not."""
    return isinstance(data, jax.Array)


def is_array(data: object) -> bool:
    """Whether `data` is a NumPy, JAX or dask array, or a NumPy scalar."""
    return isinstance(data, (np.ndarray, np.generic, jax.Array)) or is_dask(data)


def is_traced(data: object) -> bool:
    """Whether `data` is a JAX tracer, whose values are not known."""
    return isinstance(data, jax.core.Tracer)


def is_staged() -> bool:
    """Whether the caller is being traced by JAX, to be compiled."""
    # under a trace even an array without inputs is a tracer
    return is_traced(jax.lax.iota("int32", 1))


def check_traced(where: str, ok: Callable[[], jax.Array], expected: str) -> None:
    """Check traced values under `jaxfne_xr.checkify`, which reports that they are not as `expected`.

    Otherwise `ok` is not called: a compiled function with a check in it, used or not, takes ten times as long to call
    (80 us instead of 8 for a small one).
    """
    if CHECKS.value:
        from jax.experimental import checkify

        # checkify formats the text with str.format
        text = f"{where}: expected {expected}".replace("{", "{{").replace("}", "}}")
        checkify.debug_check(ok(), text)


def is_dask(data: object) -> bool:
    """Whether `data` is a dask array (without importing dask)."""
    # another thread may be importing dask: then it has no Array yet, and `data` is none
    kind = getattr(sys.modules.get("dask.array"), "Array", None)
    return kind is not None and isinstance(data, kind)


def explicit_sharding(data: Array) -> NamedSharding | None:
    """Return how JAX data lie on a mesh with explicit axes; None if they do not."""
    if not is_jax(data):
        return None
    sharding = jax.typeof(data).sharding if is_traced(data) else data.sharding
    named = isinstance(sharding, NamedSharding)
    return sharding if named and AxisType.Explicit in sharding.mesh.axis_types else None


def precision_of(data: Array, *, host: bool = False) -> AbstractContextManager[object]:
    """Return the context in which JAX keeps the precision of `data`, and computes as NumPy does.

    float64 stays float64. New arrays lie on the mesh of `data`, if it has explicit axes. Arrays are broadcast and types
    are promoted also where JAX is set to refuse it (``jax_numpy_rank_promotion="raise"``,
    ``jax_numpy_dtype_promotion="strict"``): these settings are for the code of the caller.

    ``host`` is for NumPy data, whose counts and booleans become float64 when they are averaged, as in NumPy.
    """
    dtype = np.dtype(data.dtype)
    wide = dtype.itemsize == 8 or (host and dtype.kind in "iub")
    precision: AbstractContextManager[object] = nullcontext()
    if wide and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        precision = jax.enable_x64(True)
    config: Any = jax.config
    usual = (config.jax_numpy_rank_promotion, config.jax_numpy_dtype_promotion)
    sharding = explicit_sharding(data)
    if usual == ("allow", "standard") and sharding is None:
        return precision
    return _as_numpy(precision, sharding)


@contextmanager
def _as_numpy(
    precision: AbstractContextManager[object], sharding: NamedSharding | None
) -> Iterator[None]:
    mesh: Any = None if sharding is None else sharding.mesh
    with (
        precision,
        nullcontext() if mesh is None else use_abstract_mesh(getattr(mesh, "abstract_mesh", mesh)),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        yield


def widest_axis(data: np.ndarray) -> int:
    """Return the axis with the largest stride of those that are longer than 1."""
    return int(
        np.argmax([abs(s) if n > 1 else -1 for s, n in zip(data.strides, data.shape, strict=True)])
    )


def blocks(data: np.ndarray) -> tuple[int, list[slice]]:
    """Split `data` along the axis with the largest stride: return that axis, and slices of it of one block each.

    Each block is then contiguous in memory, whatever the order of the axes.
    """
    if data.nbytes <= BLOCK_BYTES:
        return 0, [slice(None)] if data.ndim else []
    axis = widest_axis(data)
    length = data.shape[axis]
    step = max(1, length * BLOCK_BYTES // data.nbytes)
    return axis, [slice(start, min(start + step, length)) for start in range(0, length, step)]


def take(axis: int, where: slice) -> tuple[slice, ...]:
    """Return the index that selects the slice `where` along `axis`."""
    return (slice(None),) * axis + (where,)


def all_finite(block: np.ndarray) -> bool:
    """Whether a NumPy block holds neither NaN nor Inf."""
    # A sum of squares takes a third of the time, but BLAS then starts threads for every block.
    return block.dtype.kind in "iub" or bool(np.isfinite(block).all())


def require_finite(
    data: ArrayLike,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> None:
    """Raise if concrete NumPy or JAX `data` holds NaN or Inf; the error gives their number and the first one's index.

    ``offset`` is the index of the first element in a larger array, of which `data` is one chunk.
    """
    problem = nonfinite_problem(data, dims, name, offset)
    if problem is not None:
        raise NonFiniteError(problem)


def require_counts(
    data: ArrayLike,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> None:
    """Raise if concrete `data` are not counts: as `require_finite`, and if any is negative."""
    require_finite(data, dims, name, offset)
    array = np.asarray(data)
    if array.dtype.kind in "bu":
        return
    count, first = _bad(array, lambda block: block < 0)
    if first is not None:
        raise DataError.of(
            name,
            found=f"{count} of {array.size} values negative; "
            f"the first is {array[first]:g} at index {_place(dims, first, offset)}",
            expected="numbers of spikes, 0 or more",
            remedy=f'ds["{name}"] > 0 if only the positive ones are spikes; weight=-1.0 in the emitter for a sink',
        )


def _bad(
    array: np.ndarray, is_bad: Callable[[np.ndarray], np.ndarray]
) -> tuple[int, tuple[int, ...] | None]:
    """Return how many values are bad, and the index of the first in C order."""
    count, first = 0, None
    for start, block in _scan(array):
        bad = is_bad(block)
        here = int(np.count_nonzero(bad))
        if here and first is None:
            at = np.unravel_index(start + int(np.argmax(bad)), array.shape)
            first = tuple(int(i) for i in at)
        count += here
    return count, first


def _place(dims: Sequence[Hashable], first: Sequence[int], offset: Sequence[int]) -> str:
    offset = offset or (0,) * len(first)
    return ", ".join(f"{d}={i + o}" for d, i, o in zip(dims, first, offset, strict=True))


def nonfinite_problem(
    data: ArrayLike,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> Problem | None:
    """Return the problem of NaN or Inf in concrete NumPy or JAX `data`; None if all values are finite."""
    array = np.asarray(data)
    # In memory order first, which is faster; in C order, to find the first bad value, only if there is one.
    axis, slices = blocks(array)
    if all(all_finite(array[take(axis, where)]) for where in slices):
        return None
    count, first = _bad(array, lambda block: ~np.isfinite(block))
    if first is None:  # pragma: no cover - only if the data changed meanwhile
        return None
    kind = "NaN" if np.isnan(array[first]) else "Inf"
    place = _place(dims, first, offset)
    return Problem(
        where=name,
        found=f"{count} of {array.size} values not finite; the first is {kind} at index {place}",
        expected="finite values only",
        remedy="fix the simulation (try a smaller time step), or fill or drop them: "
        f'ds["{name}"].fillna(0.0), or select what is finite',
        error=NonFiniteError,
    )


def _scan(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield parts of `array` in C order, with the flat index at which each starts."""
    if array.ndim == 0:
        yield 0, array.reshape(1)
        return
    row = array[:1].size
    rows = max(1, BLOCK_BYTES // max(1, row * array.itemsize))
    for start in range(0, len(array), rows):
        yield start * row, array[start : start + rows].ravel()
