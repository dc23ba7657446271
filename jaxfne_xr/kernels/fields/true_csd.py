"""True current source density: the currents of straight segments, binned in space.

A segment's current is spread evenly over its length, so the share of the current in a bin is exactly the
share of the length inside it: there is no sampling, and no current is lost or counted twice.
Positions are in um, currents in nA, outward positive; densities in uA/mm^3, a source positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import Array
    from jaxtyping import Float, Int

    Scalar = Array | float

# nA / um^3 = 1e6 uA / mm^3
_DENSITY = 1e6


class Binning(NamedTuple):
    """The shares of each segment's current in each bin.

    Attributes
    ----------
    bin : array of int (site, piece)
        Bin of each piece into which the borders of the bins cut a segment; 0 for a piece outside all bins.
    fraction : array (site, piece)
        Share of the segment's current; 0 for a piece outside all bins.
    outside : array (site,)
        Share of the segment's current outside all bins. With `fraction` it sums to one.
    volume : array (*bins)
        Volume of each bin, um^3; `bin` is an index into it flattened, the last axis fastest.
    """

    bin: Int[Array, "site piece"]
    fraction: Float[Array, "site piece"]
    outside: Float[Array, " site"]
    volume: Float[Array, "*bins"]


def laminar_binning(
    start: Float[Array, "site xyz"],
    end: Float[Array, "site xyz"],
    edges: Float[Array, " edge"],
    radius: Scalar,
    centre: Float[Array, " lateral"] | None = None,
    *,
    depth_axis: int = 2,
) -> Binning:
    """Divide segments at the borders of stacked cylindrical bins, the resolution of a laminar probe.

    Parameters
    ----------
    start, end : array (site, 3)
        Ends of the segments, um. Equal for a point.
    edges : array (edge,)
        Borders of the bins along the depth axis, um, increasing.
    radius : scalar
        Radius of the cylinder, um: segments, or parts of them, beyond it are outside.
    centre : array (2,), optional
        Position of the cylinder's axis in the two other dimensions, um; (0, 0) by default.
    depth_axis : int
        The dimension (of x, y, z) along which the cylinder lies.

    Returns
    -------
    Binning
        For `edge - 1` bins.

    Notes
    -----
    A bin contains its lower border and not its upper one, but the last contains both, and the cylinder
    contains its mantle. So a point or a segment that lies *in* a border counts once.

    Fractions are continuous and piecewise smooth in all positions unless a segment lies in a border;
    when a point moves from bin to bin they jump, with gradient zero on either side.

    Examples
    --------
    A segment from 50 um to 150 um in bins of 100 um:

    >>> start, end = jnp.array([[0.0, 0.0, 50.0]]), jnp.array([[0.0, 0.0, 150.0]])
    >>> binning = laminar_binning(start, end, jnp.array([0.0, 100.0, 200.0]), 250.0)
    >>> density_matrix(binning)[:, 0]
    Array([0.0255, 0.0255], dtype=float32)
    """
    lateral = [k for k in range(3) if k != depth_axis]
    middle = jnp.zeros(2, dtype=start.dtype) if centre is None else centre
    offset = start[:, lateral] - middle
    along = (end - start)[:, lateral]
    cuts = [
        _crossings(start[:, depth_axis], end[:, depth_axis], edges),
        _mantle_crossings(offset, along, radius),
    ]
    at, fraction = _pieces(cuts)
    depth = start[:, depth_axis, None] + at * (end - start)[:, depth_axis, None]
    across = offset[:, None] + at[..., None] * along[:, None]
    index, inside = _locate(depth, edges)
    inside &= jnp.sum(jnp.square(across), axis=-1) <= jnp.square(radius)
    volume = jnp.diff(edges) * (jnp.pi * jnp.square(radius))
    return _binning(index, fraction, inside, volume)


def voxel_binning(
    start: Float[Array, "site xyz"],
    end: Float[Array, "site xyz"],
    edges: Sequence[Float[Array, " edge"]],
) -> Binning:
    """Divide segments at the borders of a grid of boxes.

    Parameters
    ----------
    start, end : array (site, dim)
        Ends of the segments, um. Equal for a point.
    edges : sequence of dim arrays (edge,)
        Borders of the boxes along each dimension, um, increasing, evenly spaced or not.

    Returns
    -------
    Binning
        For `edge - 1` bins along each dimension.

    Notes
    -----
    Every segment is divided where it crosses a plane of borders, and each piece counts for the box that
    contains its middle; borders and gradients are as in `laminar_binning`. There is one piece more than
    there are planes, most of them empty: `compact_binning` drops those.

    Examples
    --------
    >>> start, end = jnp.array([[0.5, 0.5, 0.5]]), jnp.array([[1.5, 1.5, 0.5]])
    >>> two = jnp.array([0.0, 1.0, 2.0])
    >>> binning = voxel_binning(start, end, [two, two, two[:2]])
    >>> (density_matrix(binning)[:, 0] / 1e6).tolist()
    [0.5, 0.0, 0.0, 0.5]
    """
    cuts = [_crossings(start[:, k], end[:, k], edge) for k, edge in enumerate(edges)]
    at, fraction = _pieces(cuts)
    index = jnp.zeros(at.shape, dtype=int)
    inside = jnp.ones(at.shape, dtype=bool)
    volume = jnp.ones((), dtype=start.dtype)
    for k, edge in enumerate(edges):
        along, within = _locate(start[:, k, None] + at * (end - start)[:, k, None], edge)
        index = index * (edge.shape[0] - 1) + along
        inside &= within
        volume = volume[..., None] * jnp.diff(edge)
    return _binning(index, fraction, inside, volume)


def piece_count(binning: Binning) -> Int[Array, ""]:
    """Compute the largest number of bins in which one segment has current.

    Examples
    --------
    >>> start, end = jnp.array([[0.0, 0.0, 50.0]]), jnp.array([[0.0, 0.0, 150.0]])
    >>> int(piece_count(laminar_binning(start, end, jnp.array([0.0, 100.0, 200.0]), 250.0)))
    2
    """
    return jnp.max(jnp.sum(binning.fraction > 0, axis=1), initial=0)


def compact_binning(binning: Binning, *, pieces: int) -> Binning:
    """Keep the largest pieces of each segment, so that applying the binning is faster.

    Parameters
    ----------
    binning : Binning
        As from `voxel_binning`.
    pieces : int
        The number to keep: with `int(piece_count(binning))` nothing is lost.

    Returns
    -------
    Binning
        With that many pieces.
    """
    fraction, largest = jax.lax.top_k(binning.fraction, pieces)
    return binning._replace(
        bin=jnp.take_along_axis(binning.bin, largest, axis=1), fraction=fraction
    )


def density_matrix(binning: Binning) -> Float[Array, "bin site"]:
    """Compute the density in each bin per current of each segment, as a dense matrix.

    Parameters
    ----------
    binning : Binning
        As from `laminar_binning`.

    Returns
    -------
    array (bin, site)
        Current source density, uA/mm^3 per nA. Times `binning.volume.ravel()` (um^3) and 1e-6 it
        sums over bins to 1 - `binning.outside`.
    """
    volume = binning.volume.ravel()
    site = jnp.arange(binning.bin.shape[0])[:, None]
    empty = jnp.zeros((volume.shape[0], binning.bin.shape[0]), dtype=binning.fraction.dtype)
    return empty.at[binning.bin, site].add(binning.fraction) * (_DENSITY / volume[:, None])


def binned_density(
    binning: Binning, current: Float[Array, " site *rest"]
) -> Float[Array, "*bins *rest"]:
    """Compute the density in each bin, without a matrix of bins by segments.

    Parameters
    ----------
    binning : Binning
        As from `compact_binning`: the time taken is proportional to the number of pieces.
    current : array (site, ...)
        Outward currents of the segments, nA.

    Returns
    -------
    array (*bins, ...)
        Current source density, uA/mm^3. Linear and differentiable in `current`, and in positions
        as the binning is.

    Examples
    --------
    >>> at = jnp.array([[1.0, 1.0, 1.0]])
    >>> cube = jnp.array([0.0, 10.0])
    >>> binned_density(voxel_binning(at, at, [cube, cube, cube]), jnp.array([2.0]))
    Array([[[2000.]]], dtype=float32)
    """
    rest = current.shape[1:]
    dtype = jnp.result_type(binning.fraction, current)
    empty = jnp.zeros((binning.volume.size, *rest), dtype=dtype)

    def add(total: Array, piece: tuple[Array, Array]) -> tuple[Array, None]:
        index, fraction = piece
        share = fraction.reshape(-1, *(1 for _ in rest)) * current
        return total.at[index].add(share), None

    total, _ = jax.lax.scan(add, empty, (binning.bin.T, binning.fraction.T))
    total = total.reshape(*binning.volume.shape, *rest)
    return total * (_DENSITY / binning.volume.reshape(*binning.volume.shape, *(1 for _ in rest)))


def _crossings(start: Array, end: Array, edges: Array) -> Array:
    """Return where along a segment, from 0 to 1, one of its coordinates crosses each border; 0 if it does not.

    Only for a border between the ends, and only if these are at least 1e-12 um apart, is there a division, so
    that neither value nor gradient overflows for a segment parallel, or nearly parallel, to it.
    """
    start, end = start[:, None], end[:, None]
    change = end - start
    crosses = ((start < edges) != (end < edges)) & (jnp.abs(change) >= 1e-12)
    return jnp.where(crosses, (edges - start) / jnp.where(crosses, change, 1), 0)


def _mantle_crossings(offset: Array, along: Array, radius: Scalar) -> Array:
    """Return where along a segment it enters and leaves a cylinder; 0 (or an end) if it does not."""
    # the roots of a t^2 + 2 b t + c, the squared distance from the axis less the squared radius
    a = jnp.sum(jnp.square(along), axis=1)
    b = jnp.sum(along * offset, axis=1)
    c = jnp.sum(jnp.square(offset), axis=1) - jnp.square(radius)
    start_out, end_out = c > 0, a + 2 * b + c > 0
    discriminant = b * b - a * c
    passes = start_out & end_out & (b < 0) & (-b < a)
    crosses = (passes | (start_out != end_out)) & (discriminant > 0)
    root = jnp.sqrt(jnp.where(crosses, discriminant, 1))
    q = -(b + jnp.where(b < 0, -root, root))  # without cancellation: the roots are q / a and c / q
    first = jnp.where(crosses, q, 0) / jnp.where(crosses, a, 1)
    second = jnp.where(crosses, c, 0) / jnp.where(crosses, q, 1)
    return jnp.clip(jnp.stack([first, second], axis=1), 0, 1)


def _pieces(cuts: Sequence[Array]) -> tuple[Array, Array]:
    """Return the middles and lengths of the pieces between cuts, as fractions of the segment."""
    bounds = jnp.zeros_like(cuts[0][:, :1])
    at = jnp.concatenate([bounds, *cuts, bounds + 1], axis=1)
    at = jnp.sort(at, axis=1)
    return (at[:, 1:] + at[:, :-1]) / 2, jnp.diff(at, axis=1)


def _locate(position: Array, edges: Array) -> tuple[Array, Array]:
    """Return the interval that contains each position, and whether one does."""
    last = edges.shape[0] - 2
    index = jnp.searchsorted(edges, position, side="right") - 1
    inside = (position >= edges[0]) & (position <= edges[-1])
    return jnp.clip(index, 0, last), inside


def _binning(index: Array, fraction: Array, inside: Array, volume: Array) -> Binning:
    kept = jnp.where(inside, fraction, 0)
    outside = jnp.sum(jnp.where(inside, 0, fraction), axis=1)
    return Binning(jnp.where(inside, index, 0), kept, outside, volume)
