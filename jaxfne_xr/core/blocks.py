"""Sums and products of large NumPy arrays, block by block, several times faster than NumPy's own."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import precision_of, take, widest_axis

#: Bytes of the smallest product that is computed by XLA, and of one of its blocks: for less, the call costs more than
#: it saves.
PRODUCT_BYTES = 1 << 25
PRODUCT_BLOCK_BYTES = 1 << 24
#: XLA reads data in place if its address is a multiple of so many bytes, and copies it otherwise.
ALIGNED = 64
#: How many numbers are added in float32 before their sum is added to others in float64.
FEW = 64


def product(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute ``data @ weights.T``.

    Parameters
    ----------
    data : array (any dims, site)
        In any memory order.
    weights : array (row, site), or (site)
        In the dtype of `data`, if that is floating.

    Notes
    -----
    Tall and narrow products (32 columns rather than 1000) take OpenBLAS two to three times as long as XLA, if sites
    are contiguous in memory. XLA gets one block at a time: it would first copy all of a large array.
    """
    contiguous = data.ndim > 1 and data.shape[-1] > 1 and data.strides[-1] == data.itemsize
    large = data.nbytes >= PRODUCT_BYTES and data.dtype in (np.float32, np.float64)
    if not (contiguous and large) or weights.ndim != 2:
        return data @ weights.T
    out = np.empty((*data.shape[:-1], len(weights)), data.dtype)
    # inside a user's jit, NumPy arrays would otherwise be traced, and the result would not be NumPy
    with precision_of(data), jax.ensure_compile_time_eval():
        _fill(out, data, jnp.array(weights))
    return out


def _fill(out: np.ndarray, data: np.ndarray, rows: jax.Array) -> None:
    """Write the product into `out`, a block at a time along the axis with the largest stride."""
    axis = widest_axis(data[..., 0])
    length = data.shape[axis]
    count = -(-data.nbytes // PRODUCT_BLOCK_BYTES)
    if length < count and data.ndim > 2:  # few trials, each of them more than a block
        for i in range(length):
            entry = (slice(None),) * axis + (i,)
            _fill(out[entry], data[entry], rows)
        return
    step = -(-length // count)
    alike = ALIGNED // math.gcd(ALIGNED, data.strides[axis])
    if step > alike:  # a multiple of `alike` rows: each block is then aligned like the first
        step = min(length, -(-step // alike) * alike)
    buffer: np.ndarray | None = None
    for start in range(0, length, step):
        start = min(start, length - step)  # the last block overlaps: one shape, one compilation
        where = take(axis, slice(start, start + step))
        block = data[where]
        if block.ctypes.data % ALIGNED or not block.flags.c_contiguous:
            buffer = _aligned(block.shape, block.dtype) if buffer is None else buffer
            np.copyto(buffer, block)
            block = buffer
        out[where] = _product(block, rows)  # waits for the result: the buffer may be overwritten


def owned(data: np.ndarray) -> np.ndarray:
    """Copy an array in the same memory order; a large copy is aligned, so that XLA reads it without another copy."""
    if data.nbytes < PRODUCT_BYTES or data.dtype == object:
        return np.array(data, order="K")
    order = sorted(range(data.ndim), key=lambda axis: -abs(data.strides[axis]))
    copy = _aligned(tuple(data.shape[axis] for axis in order), data.dtype)
    copy = copy.transpose(np.argsort(order))
    np.copyto(copy, data)
    return copy


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an empty array that XLA reads in place; it copies any other to new pages of memory."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.ctypes.data % ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


@jax.jit
def _product(block: jax.Array | np.ndarray, weights: jax.Array) -> jax.Array:
    return jnp.matmul(block, weights.T, precision=jax.lax.Precision.HIGHEST)


def total(block: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Sum a cache-sized block over some axes, in float64 (whole numbers exactly).

    Adding float32 as float64 costs twice as much as this: neighbours in memory, or a few rows, are added in float32.
    Booleans are counted eight at a time.
    """
    if not axes or not block.size:
        return block.sum(axis=axes, dtype=np.float64)
    # the axis with the smallest stride, and of these one that is longer than 1
    nearest = min(range(block.ndim), key=lambda a: (abs(block.strides[a]), block.shape[a] == 1))
    count = np.prod([block.shape[a] for a in axes])
    if nearest not in axes:
        if block.dtype == bool and count < 256:  # a byte can hold the sum
            return block.view(np.uint8).sum(axis=axes, dtype=np.uint8)
        small = block.dtype == np.float32 and count <= FEW
        return block.sum(axis=axes, dtype=None if small else np.float64)
    if block.strides[nearest] != block.itemsize or block.dtype not in (bool, np.float32):
        return block.sum(axis=axes, dtype=np.float64)
    rows = np.moveaxis(block, nearest, -1)
    if block.dtype == bool:
        # eight booleans are one 64-bit number with as many bits set as are true
        whole = rows.shape[-1] // 8 * 8
        sums = np.bitwise_count(rows[..., :whole].view(np.uint64)).sum(axis=-1, dtype=np.int64)
        sums += rows[..., whole:].sum(axis=-1)
    else:
        sums = rows.sum(axis=-1)  # NumPy adds contiguous numbers pairwise: rounding stays small
    rest = tuple(a - (a > nearest) for a in axes if a != nearest)
    return sums.sum(axis=rest, dtype=np.float64) if rest else sums
