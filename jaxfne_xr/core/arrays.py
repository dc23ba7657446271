"""What kind of array this is, cache-sized blocks of it, and whether all of it is finite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np

from .errors import DataError, NonFiniteError, Problem

#: Bytes of input that one block of a large NumPy array holds: the block and what is made of it stay in cache.
BLOCK_BYTES = 1 << 20


#: Whether checks of values go into what JAX traces, for `jaxfne_xr.checkify`. JAX keeps the two apart in its caches.
CHECKS = jax.make_user_context(default_value=False)


def is_jax(data: object) -> bool:
    """Whether `data` is a JAX array, traced or not."""
    return isinstance(data, jax.Array)


def is_traced(data: object) -> bool:
    """Whether `data` is a JAX tracer, whose values cannot be looked at."""
    return isinstance(data, jax.core.Tracer)


def is_staged() -> bool:
    """Whether JAX is tracing what is called from here, to compile it."""
    return is_traced(jax.lax.iota("int32", 1))


def check_traced(where: str, ok: Callable[[], Any], expected: str) -> None:
    """Let `jaxfne_xr.checkify` say that traced values are not as `expected`; without it, `ok` is not even called.

    They are not always there for JAX to throw away: a function with a check in it, used or not, is called ten times
    slower (80 us instead of 8 for a small one).
    """
    if CHECKS.value:
        from jax.experimental import checkify

        text = f"{where}: expected {expected}".replace("{", "{{").replace("}", "}}")
        checkify.debug_check(ok(), text)


def is_dask(data: object) -> bool:
    """Whether `data` is a dask array (without importing dask)."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(data, dask_array.Array)


def precision_of(data: Any, *, host: bool = False) -> AbstractContextManager[Any]:
    """Return the context in which JAX keeps the precision of `data`: float64 stays float64.

    ``host`` is for NumPy data, whose counts and truth values become float64 when they are averaged, as NumPy has it.
    """
    dtype = np.dtype(data.dtype)
    wide = dtype.itemsize == 8 or (host and dtype.kind in "iub")
    if wide and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return jax.enable_x64(True)
    return nullcontext()


def blocks(data: np.ndarray) -> tuple[int, list[slice]]:
    """Return the axis along which `data` lies most widely spaced in memory, and slices of it of one block each.

    Each block is then one stretch of memory, whatever the order of the axes.
    """
    if data.nbytes <= BLOCK_BYTES:
        return 0, [slice(None)] if data.ndim else []
    axis = int(
        np.argmax([abs(s) if n > 1 else -1 for s, n in zip(data.strides, data.shape, strict=True)])
    )
    length = data.shape[axis]
    step = max(1, length * BLOCK_BYTES // data.nbytes)
    return axis, [slice(start, min(start + step, length)) for start in range(0, length, step)]


def take(axis: int, where: slice) -> tuple[slice, ...]:
    """Return the index that takes the slice `where` of `axis` and all of the axes before it."""
    return (slice(None),) * axis + (where,)


def all_finite(block: np.ndarray) -> bool:
    """Whether a NumPy block holds neither NaN nor Inf."""
    # A sum of squares takes a third of this, but BLAS then starts threads for every block.
    return block.dtype.kind in "iub" or bool(np.isfinite(block).all())


def require_finite(
    data: Any,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> None:
    """Raise if concrete NumPy or JAX `data` holds NaN or Inf: how many, and where the first is.

    ``offset`` is the index of the first element in a larger array, of which `data` is one chunk.
    """
    problem = nonfinite_problem(data, dims, name, offset)
    if problem is not None:
        raise NonFiniteError(problem)


def require_counts(
    data: Any,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> None:
    """Raise if concrete `data` are no counts: as `require_finite`, and if any is negative."""
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
    """Return how many values are bad, and the index of the first."""
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
    data: Any,
    dims: Sequence[Hashable],
    name: str,
    offset: Sequence[int] = (),
) -> Problem | None:
    """Return the problem of NaN or Inf in concrete NumPy or JAX `data`, None where all is finite."""
    array = np.asarray(data)
    axis, slices = blocks(array)
    if all(all_finite(array[take(axis, where)]) for where in slices):
        return None
    count, first = _bad(array, lambda block: ~np.isfinite(block))
    if first is None:  # pragma: no cover - only if somebody changed the data meanwhile
        return None
    kind = "NaN" if np.isnan(array[first]) else "Inf"
    place = _place(dims, first, offset)
    return Problem(
        where=name,
        found=f"{count} of {array.size} values not finite; the first is {kind} at index {place}",
        expected="finite values only",
        remedy="mend the simulation (a smaller time step?), or fill or drop them: "
        f'ds["{name}"].fillna(...), or select what is finite',
        error=NonFiniteError,
    )


def _scan(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stretches of `array` in C order with the flat index at which each starts."""
    if array.ndim == 0:
        yield 0, array.reshape(1)
        return
    row = array[:1].size
    rows = max(1, BLOCK_BYTES // max(1, row * array.itemsize))
    for start in range(0, len(array), rows):
        yield start * row, array[start : start + rows].ravel()
