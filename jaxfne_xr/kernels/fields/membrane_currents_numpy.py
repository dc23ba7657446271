"""Transmembrane currents of NumPy arrays: `membrane_currents.transmembrane_current` in cache-sized tiles.

Simulators number the compartments of a branch consecutively, so most edges join a site to the next one.
The currents along those are one difference of two slices, and the current out of each site is the difference
of the currents on either side of it: three passes over a tile that stays in the cache, in any layout. The
other edges, at branch points, are added one by one if rows are long, and from gathered columns otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float, Int

__all__ = ["transmembrane_current"]

#: Bytes of voltages in one tile: the tile, the currents along its edges and its result stay in the cache.
TILE_BYTES = 1 << 21
#: Rows of at least this many samples are added one by one; shorter ones are gathered and transposed first.
LONG = 512
#: Minimum number of sites in a tile, since it computes one edge more than it has sites.
SITES = 16


class _Slot(NamedTuple):
    """One neighbour for each of the first sites: the number of that neighbour, and the conductance to it (uS)."""

    neighbour: Int[np.ndarray, " site"]
    g: Float[np.ndarray, " site"]


class _Buffers:
    """Memory that is reused from tile to tile: new pages for each would cost more than the sums."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._buffers: dict[str, np.ndarray] = {}

    def of(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return an uninitialised array, in the same memory for the same name."""
        size = int(np.prod(shape))
        if name not in self._buffers or self._buffers[name].size < size:
            self._buffers[name] = np.empty(size, self.dtype)
        return self._buffers[name][:size].reshape(shape)

    def taken(self, name: str, x: np.ndarray, which: np.ndarray, axis: int) -> np.ndarray:
        """Return some entries of an axis of `x`."""
        out = self.of(name, (*x.shape[:axis], which.size, *x.shape[axis + 1 :]))
        return np.take(x, which, axis=axis, out=out, mode="clip")  # "raise" would buffer `out`


def transmembrane_current(
    voltage: Float[np.ndarray, "*before site *after"],
    edge_from: Int[np.ndarray, " edge"],
    edge_to: Int[np.ndarray, " edge"],
    conductance: Float[np.ndarray, " edge"],
    *,
    axis: int,
    method: Literal["backward_euler", "crank_nicolson"] = "backward_euler",
    time_axis: int | None = None,
) -> Float[np.ndarray, "*before site *after"]:
    """Compute the transmembrane currents `G V` as the solver of `V` defines them, without a stimulus.

    Parameters
    ----------
    voltage : array
        Membrane voltage V (mV), finite; sites along `axis`, time along `time_axis`, any other axes, in any
        memory order.
    edge_from, edge_to, conductance, axis, method, time_axis
        As for `membrane_currents.transmembrane_current`, which has the same result.

    Returns
    -------
    array
        Current (nA), in the shape, the memory order and the precision of `voltage`; float64 for integers.

    Notes
    -----
    Differences are taken before products. Takes 1.5 to 3 times as long as a copy of the voltages if time is
    contiguous in memory; if sites are, 1.5 times without branch points, and 3 (float32: 4) if every tenth
    compartment is at one, since NumPy gathers single numbers slowly.

    Examples
    --------
    >>> v = np.array([-60.0, -65.0, -66.0])
    >>> transmembrane_current(v, [1, 2], [0, 1], np.array([0.5, 2.0]), axis=0).tolist()
    [-2.5, 0.5, 2.0]
    """
    if voltage.dtype.kind != "f":
        voltage = voltage.astype(np.float64)  # differences of counts would wrap around
    # in memory order, and with three axes: (before, site, after)
    order = _memory_order(voltage)
    ordered = voltage.transpose(order)
    place = order.index(axis % voltage.ndim)
    n = ordered.shape[place]
    v = ordered.reshape(int(np.prod(ordered.shape[:place])), n, -1 if ordered.size else 0)
    v = np.ascontiguousarray(v)
    current = np.empty(v.shape, v.dtype)
    step, a, b, g = _sorted_edges(edge_from, edge_to, conductance, n, v.dtype)
    sites, slots = _slots(a, b, g)
    buffers = _Buffers(v.dtype)
    in_line = v[:1].nbytes <= TILE_BYTES
    weight = np.repeat(step[:-1], v.shape[2]) if in_line else step
    for here in _slices(len(v), v[:1].nbytes):
        if in_line:
            _along_line(v[here], weight, current[here], buffers)
        else:
            _along_steps(v[here], step, current[here], buffers)
        if v.shape[2] >= LONG:
            _along_rows(v[here], (a, b, g), current[here], buffers)
        elif slots:
            _along_columns(v[here], sites, slots, current[here], buffers)
    result = current.reshape(ordered.shape).transpose(np.argsort(order))
    if method == "crank_nicolson" and time_axis is not None:
        _average_steps(result, time_axis, buffers)
    return result


def _memory_order(x: np.ndarray) -> list[int]:
    """Return the axes from the largest stride to the smallest."""
    return sorted(range(x.ndim), key=lambda k: -abs(x.strides[k]))


def _sorted_edges(
    edge_from: Int[np.ndarray, " edge"],
    edge_to: Int[np.ndarray, " edge"],
    conductance: Float[np.ndarray, " edge"],
    n_sites: int,
    dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the conductance between each site and the previous one, 0 at both ends; ends of all other edges, g."""
    start, stop = (np.asarray(end, np.intp) for end in (edge_from, edge_to))
    lower, upper = np.minimum(start, stop), np.maximum(start, stop)
    next_to = upper - lower == 1
    step = np.bincount(upper[next_to], conductance[next_to], n_sites + 1).astype(dtype)
    return step, lower[~next_to], upper[~next_to], conductance[~next_to].astype(dtype)


def _slots(
    a: Int[np.ndarray, " link"], b: Int[np.ndarray, " link"], g: Float[np.ndarray, " link"]
) -> tuple[Int[np.ndarray, " site"], list[_Slot]]:
    """Return the sites with links, those with most links first, and one slot of neighbours for each rank of link.

    The first slot has a neighbour of every site, the second one of those with two links or more, and so on.
    """
    if not a.size:
        return a, []
    ends, local = np.unique(np.concatenate([a, b]), return_inverse=True)
    order = np.argsort(-np.bincount(local, minlength=ends.size), kind="stable")
    rank = np.argsort(order)[local]
    by_site = np.argsort(rank, kind="stable")
    first = np.searchsorted(rank[by_site], rank[by_site])
    turn = np.arange(rank.size) - first  # how many links of the same site came before
    by_turn = by_site[np.argsort(turn, kind="stable")]
    neighbour, both = np.roll(rank, a.size)[by_turn], np.tile(g, 2)[by_turn]
    cuts = np.cumsum(np.bincount(turn))[:-1]
    parts = zip(np.split(neighbour, cuts), np.split(both, cuts), strict=True)
    return ends[order], [_Slot(*part) for part in parts]


def _along_line(
    v: Float[np.ndarray, "before site after"],
    weight: Float[np.ndarray, " line"],
    current: Float[np.ndarray, "before site after"],
    buffers: _Buffers,
) -> None:
    """Set the currents from the edges between each site and the next, as one line of all entries of `before`.

    No current flows from the last site of an entry to the first site of the next: that weight is 0. One loop over
    all numbers takes a quarter of the time of one loop for each entry.
    """
    after, line, total = v.shape[2], v.reshape(-1), current.reshape(-1)
    edges = buffers.of("edges", (line.size + after,))
    edges[:after], edges[line.size :] = 0, 0
    np.subtract(line[after:], line[:-after], out=edges[after : line.size])
    rows = edges[: line.size].reshape(len(v), -1)
    rows *= weight
    np.subtract(edges[after:], edges[:-after], out=total)


def _along_steps(
    v: Float[np.ndarray, "before site after"],
    step: Float[np.ndarray, " step"],
    current: Float[np.ndarray, "before site after"],
    buffers: _Buffers,
) -> None:
    """Set the currents from the edges between each site and the next, a block of sites and `after` at a time."""
    before, n, after = v.shape
    for there in _slices(after, before * min(n, SITES) * v.itemsize):
        for sites in _slices(n, v[:, :1, there].nbytes):
            shape = before, sites.stop - sites.start + 1, there.stop - there.start
            edges = buffers.of("edges", shape)
            edges[:, 0], edges[:, -1] = 0, 0
            begin, end = max(sites.start, 1), min(sites.stop, n - 1)  # the steps that exist
            inner = edges[:, begin - sites.start : end - sites.start + 1]
            np.subtract(v[:, begin : end + 1, there], v[:, begin - 1 : end, there], out=inner)
            inner *= step[begin : end + 1, None]
            np.subtract(edges[:, 1:], edges[:, :-1], out=current[:, sites, there])


def _along_rows(
    v: Float[np.ndarray, "before site after"],
    links: tuple[np.ndarray, np.ndarray, np.ndarray],
    current: Float[np.ndarray, "before site after"],
    buffers: _Buffers,
) -> None:
    """Add the currents from all other edges, one row after another."""
    for there in _slices(v.shape[2], len(v) * SITES * v.itemsize):
        part, total = v[:, :, there], current[:, :, there]
        along = buffers.of("along", part[:, 0].shape)
        for a, b, g in zip(*links, strict=True):
            np.subtract(part[:, b], part[:, a], out=along)
            np.multiply(along, g, out=along)
            total[:, a] += along
            total[:, b] -= along


def _along_columns(
    v: Float[np.ndarray, "before site after"],
    sites: Int[np.ndarray, " site"],
    slots: list[_Slot],
    current: Float[np.ndarray, "before site after"],
    buffers: _Buffers,
) -> None:
    """Add the currents from all other edges, between `sites`, gathered and transposed so that rows are long."""
    columns = buffers.taken("columns", v, sites, axis=1)
    # two axes, since more would make each sum slower
    rows = buffers.of("rows", (sites.size, columns[:, 0].size))
    np.copyto(_transposed(rows, columns.shape), columns)
    sums = buffers.of("sums", rows.shape)
    sums[...] = 0
    for neighbour, g in slots:
        along = buffers.taken("along", rows, neighbour, axis=0)
        along -= rows[: g.size]
        along *= g[:, None]
        sums[: g.size] += along
    columns = buffers.taken("columns", current, sites, axis=1)
    columns += _transposed(sums, columns.shape)
    current[:, sites] = columns


def _transposed(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return (site, before after) as a view of (before, site, after)."""
    return rows.reshape(shape[1], shape[0], shape[2]).transpose(1, 0, 2)


def _slices(length: int, nbytes: int) -> Iterator[slice]:
    """Yield slices of about one tile each along an axis whose entries have `nbytes`."""
    size = max(1, TILE_BYTES // max(1, nbytes))
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _average_steps(current: np.ndarray, time_axis: int, buffers: _Buffers) -> None:
    """Replace each sample but the first by its mean with the previous one."""
    spaced = [abs(s) if n > 1 else -1 for s, n in zip(current.strides, current.shape, strict=True)]
    widest = int(np.argmax(spaced))
    rows = np.moveaxis(current, widest, 0)
    time = 0 if widest == time_axis else time_axis + (time_axis < widest)
    for where in reversed(list(_slices(len(rows), rows[:1].nbytes))):
        # backwards, so that the previous sample is not averaged yet
        begin = max(where.start - 1, 0) if time == 0 else where.start
        part = np.moveaxis(rows[begin : where.stop], time, 0)
        mean = np.add(part[:-1], part[1:], out=_like(part[1:], buffers))
        mean /= 2
        part[1:] = mean


def _like(x: np.ndarray, buffers: _Buffers) -> np.ndarray:
    """Return a buffer in the shape and the memory order of `x`."""
    order = _memory_order(x)
    made = buffers.of("mean", tuple(x.shape[k] for k in order))
    return made.transpose(np.argsort(order))
