"""Sums and products of large NumPy arrays, a block at a time: what NumPy's own do in several times as long."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import precision_of, take

#: Bytes from which a product goes through XLA, and of one of its blocks: below, the call costs more than it saves.
PRODUCT_BYTES = 1 << 25
PRODUCT_BLOCK_BYTES = 1 << 24
#: Bytes at a multiple of which XLA wants its data to start.
ALIGNED = 64
#: Numbers that are added up in float32 before their sum goes on in float64.
FEW = 64


def product(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ``data @ weights.T``.

    Parameters
    ----------
    data : array (any dims, site)
        In any memory order.
    weights : array (row, site), or (site)
        In the dtype of `data`, if that is floating.

    Notes
    -----
    Tall and narrow products, of which there are 32 columns rather than 1000, take OpenBLAS two to three times as long
    as XLA, where sites lie side by side. XLA is handed blocks: it would copy a large array as a whole first.
    """
    beside = data.ndim > 1 and data.shape[-1] > 1 and data.strides[-1] == data.itemsize
    large = data.nbytes >= PRODUCT_BYTES and data.dtype in (np.float32, np.float64)
    if not (beside and large) or weights.ndim != 2:
        return data @ weights.T
    out = np.empty((*data.shape[:-1], len(weights)), data.dtype)
    # inside somebody's jit, NumPy arrays would else be traced, and not come back as NumPy
    with precision_of(data), jax.ensure_compile_time_eval():
        _fill(out, data, jnp.array(weights))
    return out


def _fill(out: np.ndarray, data: np.ndarray, rows: jax.Array) -> None:
    """Write the product into `out`, a block at a time along the axis that is most widely spaced in memory."""
    spaced = [abs(s) if n > 1 else -1 for s, n in zip(data.strides[:-1], data.shape, strict=False)]
    axis = int(np.argmax(spaced))
    length = data.shape[axis]
    count = -(-data.nbytes // PRODUCT_BLOCK_BYTES)
    if length < count and data.ndim > 2:  # few trials, each of them more than a block
        for i in range(length):
            entry = (slice(None),) * axis + (i,)
            _fill(out[entry], data[entry], rows)
        return
    step = -(-length // count)
    alike = ALIGNED // math.gcd(ALIGNED, data.strides[axis])
    if step > alike:  # each block as well aligned as the first
        step = min(length, -(-step // alike) * alike)
    held: np.ndarray | None = None
    for start in range(0, length, step):
        start = min(start, length - step)  # the last block overlaps: one shape, one compilation
        where = take(axis, slice(start, start + step))
        block = data[where]
        if block.ctypes.data % ALIGNED or not block.flags.c_contiguous:
            held = _aligned(block.shape, block.dtype) if held is None else held
            np.copyto(held, block)
            block = held
        out[where] = _product(block, rows)  # waits for the result: `held` may be written again


def owned(data: np.ndarray) -> np.ndarray:
    """Return a copy in the same memory order, aligned where it is large: XLA then reads it without another copy."""
    if data.nbytes < PRODUCT_BYTES or data.dtype == object:
        return np.array(data, order="K")
    order = sorted(range(data.ndim), key=lambda axis: -abs(data.strides[axis]))
    copy = _aligned(tuple(data.shape[axis] for axis in order), data.dtype)
    copy = copy.transpose(np.argsort(order))
    np.copyto(copy, data)
    return copy


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array that XLA reads where it is; one that starts elsewhere it copies, to new pages."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


@jax.jit
def _product(block: Any, weights: Any) -> Any:
    return jnp.matmul(block, weights.T, precision=jax.lax.Precision.HIGHEST)


def total(block: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the sum of a cache-sized block over some axes, float64 (or of whole numbers, exactly).

    Adding float32 up as float64 costs twice as much as this: those side by side, or a few rows, are added in their own
    precision. Truth values are counted eight at a time.
    """
    if not axes or not block.size:
        return block.sum(axis=axes, dtype=np.float64)
    nearest = min(range(block.ndim), key=lambda a: (abs(block.strides[a]), block.shape[a] == 1))
    count = np.prod([block.shape[a] for a in axes])
    if nearest not in axes:
        if block.dtype == bool and count < 256:
            return block.view(np.uint8).sum(axis=axes, dtype=np.uint8)
        small = block.dtype == np.float32 and count <= FEW
        return block.sum(axis=axes, dtype=None if small else np.float64)
    if block.strides[nearest] != block.itemsize or block.dtype not in (bool, np.float32):
        return block.sum(axis=axes, dtype=np.float64)
    beside = np.moveaxis(block, nearest, -1)
    if block.dtype == bool:
        whole = beside.shape[-1] // 8 * 8
        made = np.bitwise_count(beside[..., :whole].view(np.uint64)).sum(axis=-1, dtype=np.int64)
        made += beside[..., whole:].sum(axis=-1)
    else:
        made = beside.sum(axis=-1)  # in pairs, as NumPy adds what lies side by side: no sum drifts
    rest = tuple(a - (a > nearest) for a in axes if a != nearest)
    return made.sum(axis=rest, dtype=np.float64) if rest else made
