"""A dead time after each spike: crossings of a noisy upstroke that belong to one spike.

A spike leaves none other within the next `samples`; the first of a series counts, and the dead time begins again with
the next one that does (a non-paralysable dead time). Whether a crossing counts depends on all earlier ones of its row,
so that the state at the end of a block is passed to the next: blocks give exactly what the whole gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Bool


def dead_time(
    spikes: Bool[Array, "*before time *after"], *, axis: int, samples: int
) -> Bool[Array, "*before time *after"]:
    """Remove every spike less than `samples` after one that stays.

    Parameters
    ----------
    spikes : array of bool (any dims, time along `axis`)
        Spikes per sample.
    axis : int
        The time axis, counted from the front.
    samples : int
        The least distance of two spikes, 1 or more; at 1 nothing is removed.

    Returns
    -------
    array of bool (dims of spikes)

    Notes
    -----
    A block of `samples` holds one spike at most, so that a loop over blocks, not over samples, is enough.

    Examples
    --------
    >>> spikes = jnp.array([True, False, True, False, True, False])
    >>> dead_time(spikes, axis=0, samples=3).astype(int)
    Array([1, 0, 0, 0, 1, 0], dtype=int32)
    """
    x = jnp.moveaxis(jnp.asarray(spikes), axis, 0)
    n, rest = x.shape[0], x.shape[1:]
    size = max(1, min(samples, n))
    count = -(-n // size)
    padded = jnp.pad(x, [(0, count * size - n), *[(0, 0)] * len(rest)])
    place = jnp.arange(size).reshape(-1, *[1] * len(rest))

    def step(free: Array, block: Array) -> tuple[Array, Array]:
        allowed = block & (place >= free[None])
        first = jnp.argmax(allowed, axis=0)
        # a spike at `first` leaves the samples before that place in the next block without one
        return jnp.where(allowed.any(axis=0), first, 0), allowed & (place == first[None])

    _, kept = jax.lax.scan(step, jnp.zeros(rest, int), padded.reshape(count, size, *rest))
    return jnp.moveaxis(kept.reshape(count * size, *rest)[:n], 0, axis)


def on_host(
    spikes: np.ndarray, free: np.ndarray | None = None, *, axis: int, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Remove spikes as `dead_time` does, from a NumPy array, which may be one block of a longer one.

    Parameters
    ----------
    spikes : array of bool (any dims, time along `axis`)
        Spikes per sample.
    free : array of int (the other dims), optional
        How many samples at the start cannot have a spike: the second result for the block before; none by default.
    axis, samples
        As for `dead_time`.

    Returns
    -------
    spikes : array of bool (dims of spikes)
        The same object if nothing is removed.
    free : array of int (the other dims)
        To pass with the next block.

    Examples
    --------
    >>> spikes = np.array([True, False, True, False, True, False])
    >>> one, free = on_host(spikes[:2], axis=0, samples=3)
    >>> on_host(spikes[2:], free, axis=0, samples=3)[0].tolist()
    [False, False, True, False]
    """
    n, rest = spikes.shape[axis], spikes.shape[:axis] + spikes.shape[axis + 1 :]
    free = np.zeros(rest, int) if free is None else free
    row, time, place = _listed(spikes, axis, rest)
    # a spike before the block stands for what it left to wait
    waiting = np.flatnonzero(free)
    row = np.concatenate([row, waiting])
    time = np.concatenate([time, free.ravel()[waiting] - samples])
    # one line of all rows, so far apart that a spike has no effect on the next row
    order = np.lexsort((time, row))
    row, time = row[order], time[order]
    kept = _kept(row * (n + 2 * samples) + time, samples)
    last = np.full(len(free.ravel()), -samples)
    last[row[kept]] = time[kept]  # of several in a row the last is assigned last
    gone = order[~kept]
    if gone.size:
        spikes = spikes.copy(order="K")
        spikes[tuple(p[gone] for p in place)] = False
    return spikes, np.maximum(last + samples - n, 0).reshape(rest)


def _listed(
    spikes: np.ndarray, axis: int, rest: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Return the row and the time of each spike, and its index in the array."""
    # in the order of memory, in which one pass is fastest
    memory = sorted(range(spikes.ndim), key=lambda a: -abs(spikes.strides[a]))
    view = spikes.transpose(memory)
    found = np.unravel_index(_true(view.reshape(-1)), view.shape) if view.size else ()
    place = tuple(found[memory.index(a)] for a in range(spikes.ndim)) if view.size else ()
    empty = np.zeros(0, int)
    others = place[:axis] + place[axis + 1 :]
    time = place[axis] if place else empty
    row = np.ravel_multi_index(others, rest) if others and rest else np.zeros(len(time), int)
    return row, time, place


def _true(flat: np.ndarray) -> np.ndarray:
    """Return the indices of the true values of a contiguous array, of which there are few."""
    # eight bytes at a time, most of them without a spike
    n = flat.size // 8 * 8
    some = np.flatnonzero(flat[:n].view(np.uint64))
    if some.size > n // 32:
        return np.flatnonzero(flat)
    near = (8 * some[:, None] + np.arange(8)).ravel()
    return np.concatenate([near[flat[near]], n + np.flatnonzero(flat[n:])])


def _kept(at: np.ndarray, samples: int) -> np.ndarray:
    """Return which of some sorted places stay if each leaves none within the next `samples`."""
    # a place that far from the one before stays in any case: from each of these on, one is independent of the others
    kept = np.ones(len(at), bool)
    kept[1:] = np.diff(at) >= samples
    if kept.all():
        return kept
    here = np.flatnonzero(kept)
    end = np.append(here[1:], len(at))
    while here.size:
        kept[here] = True
        here = np.searchsorted(at, at[here] + samples)
        inside = here < end
        here, end = here[inside], end[inside]
    return kept
