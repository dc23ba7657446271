"""Potentials of current sources in an infinite conductor: points, lines, and lines with a point for the root.

Each function returns a lead field: a matrix (contact, site) in uV/nA that maps transmembrane
currents in nA, outward positive, to potentials in uV. Positions are in um and conductivities in S/m,
so that nA/(S/m um) is mV: the factor 1000 to uV is in the matrix.

The conductivity is one number, or one each along x, y and z. An anisotropic conductor is equivalent to an
isotropic one with stretched coordinates, x by sqrt(sigma_y sigma_z) and so on. This holds for points
and, since a straight line stays straight, for lines.

**Near a source.** A membrane is not a point or a line but a surface at `min_distance` from it, so a
contact closer than that to the point, or to the nearest point of the finite segment, is treated as if
it were at `min_distance`: with d the true distance, ``max(min_distance^2 - d^2, 0)`` is added to
every squared distance, times ``(sigma_x sigma_y sigma_z)^(2/3)`` in stretched coordinates. This is
continuous everywhere, has no preferred direction at the source, and is the same rule for points and
lines, one conductivity or three. With one conductivity the potential is constant within
`min_distance` of a point, and next to a segment it depends only on the position along it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.typing import DTypeLike
    from jaxtyping import Array, Bool, Float

    Conductivity = Float[Array, ""] | Float[Array, "3"] | float
    MinDistance = Float[Array, " site"] | Float[Array, ""] | float
    # a position, or one for each site or contact, as its three components
    Point = tuple[Float[Array, "*dims"], Float[Array, "*dims"], Float[Array, "*dims"]]

# Elements of the matrix computed at a time: the temporary arrays of so many stay in the cache.
_BLOCK = 32_768

# atanh(z) = z (1 + z^2/3 + z^4/5 + ...): eight terms are exact to 1e-17 for z^2 below this.
_SERIES_BELOW = 0.01
_SERIES = tuple(1 / (2 * k + 1) for k in range(8))


def point_source(
    contact: Float[Array, "contact 3"],
    site: Float[Array, "site 3"],
    conductivity: Conductivity,
    min_distance: MinDistance,
) -> Float[Array, "contact site"]:
    """Compute the potential at each contact of a point source of 1 nA at each site.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions x, y, z of contacts, um.
    site : array (site, 3)
        Positions of the point sources, um.
    conductivity : float or array (3,)
        Conductivity of the extracellular medium, S/m; three numbers are along x, y and z.
    min_distance : float or array (site,)
        Contacts nearer than this are treated as at this distance, um. Usually the radius of the segment.

    Returns
    -------
    array (contact, site)
        ``1000 / (4 pi sigma r)``, uV/nA. With three conductivities sigma r is
        ``sqrt(sigma_y sigma_z dx^2 + sigma_x sigma_z dy^2 + sigma_x sigma_y dz^2)``.

    Notes
    -----
    Assumes an infinite, linear, purely resistive medium, and zero potential at infinity. The matrix is
    computed in blocks of contacts, so that memory is the result and a few megabytes.

    The gradient is finite in all arguments; within `min_distance`, with one conductivity, it is
    zero in the positions.
    If `min_distance` is 0, it counts as 3e-39 um (2e-5 um in float32).

    References
    ----------
    Nicholson and Freeman, J Neurophysiol 38, 1975 (one conductivity and three).

    Examples
    --------
    >>> contact = jnp.array([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> print(point_source(contact, jnp.zeros((1, 3)), 0.3, 10.0).round(1))
    [[ 2.7]
     [26.5]]
    """
    dtype = jnp.result_type(float, contact, site, conductivity, min_distance)
    floor = squared_limit(min_distance, dtype)
    stretch, per_distance, softness = _medium(conductivity)
    source = components(site)

    def pair(p: Point) -> Float[Array, "*contact site"]:
        d = _minus(p, source)
        short = jnp.maximum(floor - _dot(d, d), 0)
        d = _scaled(d, stretch)
        return per_distance * jax.lax.rsqrt(_dot(d, d) + softness * short)

    return by_blocks(pair, contact, site.shape[0], dtype)


def line_source(
    contact: Float[Array, "contact 3"],
    start: Float[Array, "site 3"],
    end: Float[Array, "site 3"],
    conductivity: Conductivity,
    min_distance: MinDistance,
) -> Float[Array, "contact site"]:
    """Compute the potential at each contact of 1 nA spread evenly along each straight segment.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions x, y, z of contacts, um.
    start, end : array (site, 3)
        Ends of the segments, um. A segment of length 0 is a point.
    conductivity : float or array (3,)
        Conductivity of the extracellular medium, S/m; three numbers are along x, y and z.
    min_distance : float or array (site,)
        Contacts nearer than this to a segment (not to the infinite line through it) are treated as at
        this distance, um. Usually the radius of the segment.

    Returns
    -------
    array (contact, site)
        With L the length, and r1 and r2 the distances to the two ends,
        ``1000 / (4 pi sigma L) * log((r1 + r2 + L) / (r1 + r2 - L))``, uV/nA.

    Notes
    -----
    This is the mean of the point source's potential over the segment, ``asinh(t / rho) + asinh((L - t)
    / rho)`` over L, where t is the position along the segment and rho the distance from its axis. Both
    asinh together are one logarithm, in which ``r1 + r2 - L`` is summed from positive terms, and a series
    in ``L / (r1 + r2)`` if that is below 0.1: both are exact to a few parts in 1e15 on the axis,
    far away and for the shortest segments, and so are the derivatives.

    Same assumptions and same memory as `point_source`. The gradient is finite in all arguments,
    also on the axis, at an end, and for a segment of length 0. At the kink where a contact enters
    `min_distance` it is the mean of both sides.

    References
    ----------
    Holt and Koch, J Comput Neurosci 6, 1999 (in its textbook form, with two logarithms).

    Examples
    --------
    >>> contact = jnp.array([[0.0, 0.0, 100.0], [50.0, 0.0, 0.0]])
    >>> start, end = jnp.array([[0.0, 0.0, -10.0]]), jnp.array([[0.0, 0.0, 10.0]])
    >>> print(line_source(contact, start, end, 0.3, 1.0).round(1))
    [[2.7]
     [5.3]]
    """
    dtype = jnp.result_type(float, contact, start, end, conductivity, min_distance)
    floor = squared_limit(min_distance, dtype)
    stretch, per_distance, softness = _medium(conductivity)
    a, b = components(start), components(end)

    def pair(p: Point) -> Float[Array, "*contact site"]:
        return per_distance * mean_inverse_distance(p, a, b, floor, stretch, softness)

    return by_blocks(pair, contact, start.shape[0], dtype)


def root_as_point(
    contact: Float[Array, "contact 3"],
    start: Float[Array, "site 3"],
    end: Float[Array, "site 3"],
    root: Bool[Array, " site"],
    conductivity: Conductivity,
    min_distance: MinDistance,
) -> Float[Array, "contact site"]:
    """Compute `line_source`, with the segments marked as root (the soma) as points at their middle.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions x, y, z of contacts, um.
    start, end : array (site, 3)
        Ends of the segments, um.
    root : bool array (site,)
        The segments to treat as points.
    conductivity : float or array (3,)
        Conductivity of the extracellular medium, S/m.
    min_distance : float or array (site,)
        As for `line_source`, um.

    Returns
    -------
    array (contact, site)
        That of `point_source` in the columns of `root`, that of `line_source` in the others, uV/nA.

    References
    ----------
    Hagen et al., Front Neuroinform 12:92, 2018.

    Examples
    --------
    >>> start, end = jnp.array([[0.0, 0.0, -10.0]] * 2), jnp.array([[0.0, 0.0, 10.0]] * 2)
    >>> contact = jnp.array([[0.0, 0.0, 20.0]])
    >>> print(root_as_point(contact, start, end, jnp.array([True, False]), 0.3, 1.0).round(1))
    [[13.3 14.6]]
    """
    return line_source(contact, *roots_collapsed(start, end, root), conductivity, min_distance)


def roots_collapsed(
    start: Float[Array, "site 3"], end: Float[Array, "site 3"], root: Bool[Array, " site"]
) -> tuple[Float[Array, "site 3"], Float[Array, "site 3"]]:
    """Shrink the segments marked as root to their middle, which makes them points.

    Parameters
    ----------
    start, end : array (site, 3)
        Ends of the segments, um.
    root : bool array (site,)
        The segments to shrink.

    Returns
    -------
    tuple of two arrays (site, 3)
        The new ends, um.

    Examples
    --------
    >>> ends = roots_collapsed(jnp.zeros((1, 3)), jnp.full((1, 3), 2.0), jnp.array([True]))
    >>> print(*ends)
    [[1. 1. 1.]] [[1. 1. 1.]]
    """
    middle, root = (start + end) / 2, root[:, None]
    return jnp.where(root, middle, start), jnp.where(root, middle, end)


def mean_inverse_distance(
    p: Point,
    a: Point,
    b: Point,
    floor: Float[Array, "*dims"],
    stretch: Point | None = None,
    softness: Float[Array, ""] | float = 1.0,
) -> Float[Array, "*dims"]:
    """Average 1 / distance to p over the segment from a to b, in 1/um (after a stretch, m/(S um)).

    `floor` is the squared minimum distance, um^2, from `squared_limit`. Positions are given by
    components, because arrays with a trailing axis of three would be written to memory.
    """
    r1, r2, t1, t2, rho2, squared_length, length = _about_segment(p, a, b)
    beyond = jnp.maximum(jnp.maximum(-t1, -t2), 0)
    short = jnp.maximum(floor - (rho2 + beyond * beyond), 0)
    if stretch is not None:
        r1, r2, t1, t2, rho2, squared_length, length = _about_segment(p, a, b, stretch)
        short = softness * short
    r1, r2, rho2 = jnp.sqrt(r1 + short), jnp.sqrt(r2 + short), rho2 + short

    per_sum = 1 / (r1 + r2)
    w = squared_length * per_sum * per_sum
    far = w < _SERIES_BELOW

    # r1 + r2 - L = (r1 - t1) + (r2 - t2), where r - t = rho^2 / (r + t) if t is positive. `where`
    # for the absolute value: its gradient at t = 0 is that of the branch `r - t`, which abs' is not.
    up1, up2 = t1 > 0, t2 > 0
    q1, q2 = r1 + jnp.where(up1, t1, -t1), r2 + jnp.where(up2, t2, -t2)
    excess = jnp.where(up1, rho2, q1 * q1) * q2 + jnp.where(up2, rho2, q2 * q2) * q1
    near = jnp.log(1 + 2 * length * q1 * q2 / jnp.where(far, 1, excess)) / length
    return jnp.where(far, atanh_series(per_sum, w), near)


def atanh_series(per_sum: Float[Array, "*dims"], w: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Compute 2 atanh(z) / L for z = L / (r1 + r2) below 0.1, from 1 / (r1 + r2) and w = z^2."""
    total = jnp.full_like(w, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        total = total * w + coefficient
    return 2 * per_sum * total


def by_blocks(
    pair: Callable[[Point], Float[Array, "block site"]],
    contact: Float[Array, "contact 3"],
    n_site: int,
    dtype: DTypeLike,
) -> Float[Array, "contact site"]:
    """Compute a matrix (contact, site) a block of contacts at a time, in the reverse pass too.

    `pair` takes the three components of some contacts, each (block, 1), and returns (block, site).
    """
    n = contact.shape[0]
    size = min(n, max(1, _BLOCK // max(n_site, 1)))
    rows = jax.checkpoint(lambda points: pair(components(points[:, None])))

    def fill(k: int, out: Float[Array, "contact site"]) -> Float[Array, "contact site"]:
        # Both slices move a last block that would extend beyond n, to end there: some rows are computed twice.
        block = rows(jax.lax.dynamic_slice_in_dim(contact, k * size, size))
        return jax.lax.dynamic_update_slice_in_dim(out, block.astype(dtype), k * size, 0)

    blocks = math.ceil(n / size) if n_site and n else 0
    return jax.lax.fori_loop(0, blocks, fill, jnp.zeros((n, n_site), dtype))


def squared_limit(min_distance: MinDistance, dtype: DTypeLike) -> Float[Array, "*site"]:
    """Square the minimum distance, um^2, with a floor: its third power and second derivatives are finite."""
    return jnp.maximum(jnp.square(min_distance), float(jnp.finfo(dtype).tiny) ** 0.25)


def components(x: Float[Array, "*dims 3"]) -> Point:
    """Split positions into their three components."""
    return x[..., 0], x[..., 1], x[..., 2]


def _about_segment(
    p: Point, a: Point, b: Point, stretch: Point | None = None
) -> tuple[Float[Array, "*dims"], ...]:
    """Return the position of p relative to the segment.

    Squared distances to both ends; positions along it from either end, positive towards the other;
    squared distance from its axis; its squared length, and its length. A segment of length 0 has no
    axis: the positions along it are 0, the distance from the axis is that from the point, and the
    length, which is a divisor, is returned as 1.
    """
    # differences are stretched, not positions, to keep their precision
    ab, from_a, to_b = (_scaled(_minus(*x), stretch) for x in ((b, a), (p, a), (b, p)))
    squared_length = _dot(ab, ab)
    some = squared_length > 0
    length = jnp.sqrt(jnp.where(some, squared_length, 1))
    u = _scaled(ab, (jnp.where(some, 1 / length, 0),) * 3)
    t1, t2 = _dot(from_a, u), _dot(to_b, u)
    off = _minus(from_a, _scaled(u, (t1,) * 3))
    squares = _dot(from_a, from_a), _dot(to_b, to_b)
    return *squares, t1, t2, _dot(off, off), squared_length, length


def _medium(
    conductivity: Conductivity,
) -> tuple[Point | None, Float[Array, ""] | float, Float[Array, ""] | float]:
    """Return the factors of the coordinates, uV/nA times a stretched um, and the factor of `min_distance^2`."""
    if jnp.ndim(conductivity) == 0:
        return None, 1e3 / (4 * math.pi * conductivity), 1.0
    x, y, z = components(jnp.asarray(conductivity))
    return (
        (jnp.sqrt(y * z), jnp.sqrt(x * z), jnp.sqrt(x * y)),
        1e3 / (4 * math.pi),
        (x * y * z) ** (2 / 3),
    )


def _dot(u: Point, v: Point) -> Float[Array, "*dims"]:
    """Compute the scalar product of positions given by components."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _minus(u: Point, v: Point) -> Point:
    return u[0] - v[0], u[1] - v[1], u[2] - v[2]


def _scaled(u: Point, by: Point | None) -> Point:
    return u if by is None else (u[0] * by[0], u[1] * by[1], u[2] * by[2])
