"""Potentials in a slab of tissue between two other conductors, by the method of images.

The tissue lies at 0 < z < thickness; another conductor fills the half-space below (the glass of a
multi-electrode array, or white matter) and another the one above (saline, oil, air). At each boundary
the potential and the normal current are continuous, which a series of mirrored sources satisfies:
with ``W = (s_tissue - s_other) / (s_tissue + s_other)`` for the medium below and the one above, h the
thickness and ``w = W_below W_above``, the potential in the tissue of a source at z' is that of

    ========================  ==============================  ==============
    sources at                weight                          n
    ========================  ==============================  ==============
    z' + 2 n h, z' - 2 n h    w^n                             0 (once), 1, ...
    -z' - 2 n h               W_below w^n                     0, 1, ...
    -z' + 2 (n + 1) h         W_above w^n                     0, 1, ...
    ========================  ==============================  ==============

in an infinite medium of tissue. The lead field is in uV/nA; positions are in um, conductivities in S/m.

**Number of images.** `image_count` returns the number for full precision. If w is negative, as for
tissue on glass under saline, the series alternates, and the potential of the source at z' + 2 n h is an
integral of ``x^n`` over 0 < x < 1: a polynomial that fits ``1 / (1 - w x)`` there replaces the weights
w^n, and 18 images are as accurate as 90 at w = -2/3, and 21 as infinitely many at w = -1 (Cohen, Villegas
and Zagier 2000). If w is positive the terms are summed until they are negligible.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from .homogeneous import atanh_series, by_blocks, components, mean_inverse_distance, squared_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Array, Float

    from .homogeneous import MinDistance, Point

    Scalar = Float[Array, ""] | float
    # of each image, z = mirror * z' + shift, and its weight
    Images = tuple[Float[Array, " image"], Float[Array, " image"], Float[Array, " image"]]

# Up to this ratio of length to thickness, the series in L / (r1 + r2) is exact for all but the first images.
_SHORT = 0.4


def image_count(
    sigma_tissue: float, sigma_below: float, sigma_above: float, tolerance: float = 1e-16
) -> int:
    """Compute how many images (n of the table above) a relative tolerance needs.

    Parameters
    ----------
    sigma_tissue, sigma_below, sigma_above : float
        Conductivities, S/m; concrete numbers, since they determine the size of a loop.
    tolerance : float
        Error of the sum over images, relative to the nearest of them.

    Returns
    -------
    int
        At least 1. At most 21 if one neighbour conducts better than the tissue and the other
        worse; growing as ``1 / (1 - w)`` if w is close to 1.

    Raises
    ------
    ValueError
        If w is 1: a slab between two insulators, or between two perfect conductors, has no
        potential relative to infinity.

    Examples
    --------
    >>> image_count(0.3, 0.0, 1.5), image_count(0.3, 0.3, 1.5), image_count(0.3, 0.0, 0.01)
    (18, 1, 553)
    """
    w = math.prod((sigma_tissue - s) / (sigma_tissue + s) for s in (sigma_below, sigma_above))
    if w >= 1:
        raise ValueError(
            "The images of a slab between two insulators do not converge: its potential has no "
            f"reference. Got {sigma_below} S/m below and {sigma_above} S/m above the tissue; give "
            "the one that is not a perfect insulator its conductivity."
        )
    if w == 0:
        return 1
    # A polynomial fit over -1 to 1 converges as powers of pole + sqrt(pole^2 - 1), the size of the Bernstein
    # ellipse through the pole: here that of 1 / (1 - w x), with 0 < x < 1 mapped to the interval from 1 to -1.
    pole = 1 - 2 / w
    gain = pole + math.sqrt(pole * pole - 1) if w < 0 else 1 / w
    return max(1, math.ceil(-math.log(tolerance) / math.log(gain)))


def slab_point_source(
    contact: Float[Array, "contact 3"],
    site: Float[Array, "site 3"],
    thickness: Scalar,
    sigma_tissue: Scalar,
    sigma_below: Scalar,
    sigma_above: Scalar,
    min_distance: MinDistance,
    *,
    images: int,
    on_boundary: bool = False,
) -> Float[Array, "contact site"]:
    """Compute the potential at each contact in a slab of a point source of 1 nA at each site in it.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions of contacts in the tissue or on its boundaries, um: z from 0 to `thickness`.
    site : array (site, 3)
        Positions of the point sources, um, in the same range.
    thickness : float
        Thickness of the tissue, um.
    sigma_tissue, sigma_below, sigma_above : float
        Conductivities of the tissue, of the medium at z < 0 and of that at z > thickness, S/m.
    min_distance : float or array (site,)
        Contacts nearer than this to a source or one of its first images are treated as at this distance, um.
    images : int
        Number of images to sum, from `image_count`. Static.
    on_boundary : bool
        Whether all contacts lie at z = 0, as those of a multi-electrode array do: half the work.
        Their z is then ignored, and its gradient is zero. Static.

    Returns
    -------
    array (contact, site)
        uV/nA.

    Notes
    -----
    Assumes isotropic media, and positions in the tissue: neither is checked. Memory is as for
    `point_source`, and gradients are as finite.

    References
    ----------
    Ness et al., Neuroinformatics 13, 2015; Barrera, Guzman and Balaguer, Am J Phys
    46, 1978. Cohen, Villegas and Zagier, Exp Math 9, 2000 (alternating series).

    Examples
    --------
    >>> contact, site = jnp.array([[50.0, 0.0, 0.0]]), jnp.array([[0.0, 0.0, 100.0]])
    >>> n = image_count(0.3, 0.0, 1.5)
    >>> print(slab_point_source(contact, site, 300.0, 0.3, 0.0, 1.5, 5.0, images=n).round(1))
    [[3.8]]
    """
    return _slab(
        contact, site, site, thickness, sigma_tissue, sigma_below, sigma_above, min_distance,
        images=images, on_boundary=on_boundary,
    )  # fmt: skip


def slab_line_source(
    contact: Float[Array, "contact 3"],
    start: Float[Array, "site 3"],
    end: Float[Array, "site 3"],
    thickness: Scalar,
    sigma_tissue: Scalar,
    sigma_below: Scalar,
    sigma_above: Scalar,
    min_distance: MinDistance,
    *,
    images: int,
    on_boundary: bool = False,
) -> Float[Array, "contact site"]:
    """Compute the potential at each contact in a slab of 1 nA spread evenly along each segment in it.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions of contacts in the tissue or on its boundaries, um: z from 0 to `thickness`.
    start, end : array (site, 3)
        Ends of the segments, um, in the same range. A segment of length 0 is a point; shrink the root
        with `roots_collapsed` to make it one.
    thickness : float
        Thickness of the tissue, um.
    sigma_tissue, sigma_below, sigma_above : float
        Conductivities of the tissue, of the medium at z < 0 and of that at z > thickness, S/m.
    min_distance : float or array (site,)
        Contacts nearer than this to a segment or one of its images are treated as at this distance, um.
    images : int
        Number of images to sum, from `image_count`. Static.
    on_boundary : bool
        Whether all contacts lie at z = 0, as those of a multi-electrode array do: half the work.
        Their z is then ignored, and its gradient is zero. Static.

    Returns
    -------
    array (contact, site)
        uV/nA: the mean of `slab_point_source` over each segment.

    Notes
    -----
    Each image is a mirrored segment, as exact as `line_source`. If no segment is longer than 0.4 times
    the thickness, all but the first images need no logarithm, and the work is about a third. Same
    assumptions, memory and gradients as there and in `slab_point_source`.

    References
    ----------
    As for `slab_point_source`; Holt and Koch, J Comput Neurosci 6, 1999.

    Examples
    --------
    >>> contact = jnp.array([[50.0, 0.0, 0.0]])
    >>> start, end = jnp.array([[0.0, 0.0, 90.0]]), jnp.array([[0.0, 0.0, 110.0]])
    >>> n = image_count(0.3, 0.0, 1.5)
    >>> print(slab_line_source(contact, start, end, 300.0, 0.3, 0.0, 1.5, 1.0, images=n).round(1))
    [[3.8]]
    """
    return _slab(
        contact, start, end, thickness, sigma_tissue, sigma_below, sigma_above, min_distance,
        images=images, on_boundary=on_boundary,
    )  # fmt: skip


def _slab(
    contact: Float[Array, "contact 3"],
    start: Float[Array, "site 3"],
    end: Float[Array, "site 3"],
    thickness: Scalar,
    sigma_tissue: Scalar,
    sigma_below: Scalar,
    sigma_above: Scalar,
    min_distance: MinDistance,
    *,
    images: int,
    on_boundary: bool,
) -> Float[Array, "contact site"]:
    sigmas = sigma_tissue, sigma_below, sigma_above
    dtype = jnp.result_type(float, contact, start, end, thickness, *sigmas, min_distance)
    first, rest = _images(thickness, *sigmas, images, on_boundary, dtype)
    a, b = components(start), components(end)
    unit = 1e3 / (4 * math.pi * sigma_tissue)
    exact: _Potential
    short: _Potential
    if start is end:
        exact = partial(_point, a, squared_limit(min_distance, dtype))
        short = exact
    else:
        exact = partial(_line, a, b, squared_limit(min_distance, dtype))
        short = partial(_short_line, a, b)
    squared_length = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    # decided once for all segments: a `where` for each pair would compute both branches
    all_short = jnp.all(squared_length <= (_SHORT * thickness) ** 2)

    def pair(p: Point) -> Float[Array, "block site"]:
        p = (p[0], p[1], jnp.zeros_like(p[2])) if on_boundary else p
        zero = jnp.zeros((p[0].shape[0], start.shape[0]), dtype)
        total = _summed(exact, first, p, zero)
        if short is exact:
            return unit * _summed(exact, rest, p, total)
        return unit * jax.lax.cond(
            all_short, partial(_summed, short), partial(_summed, exact), rest, p, total
        )

    return by_blocks(pair, contact, start.shape[0], dtype)


def _images(
    thickness: Scalar,
    sigma_tissue: Scalar,
    sigma_below: Scalar,
    sigma_above: Scalar,
    count: int,
    on_boundary: bool,
    dtype: jnp.dtype,
) -> tuple[Images, Images]:
    """Return the images within one thickness of the tissue, and the others."""
    below, above = ((sigma_tissue - s) / (sigma_tissue + s) for s in (sigma_below, sigma_above))
    w = below * above
    later = w * _series_weights(jnp.asarray(w, dtype), count)  # of n = 1, 2, ...
    up, one = 2 * thickness * jnp.arange(1, count + 1, dtype=dtype), jnp.ones(count, dtype)
    up2 = up + 2 * thickness
    if on_boundary:
        # z' + c and -z' - c are equally far from z = 0, and so are -z' + c and z' - c.
        twice = 1 + below
        near = [(1, 0, twice), (-1, 2 * thickness, twice * above)]
        far = [(one, up, twice * later), (-one, up2, twice * above * later)]
    else:
        near = [(1, 0, 1), (-1, 0, below), (-1, 2 * thickness, above)]
        near += [(1, 2 * thickness, w), (1, -2 * thickness, w)]
        far = [(-one, -up, below * later), (-one, up2, above * later)]
        far += [(one, up2, w * later), (one, -up2, w * later)]
    mirror, shift, weight = (
        jnp.stack([jnp.asarray(x, dtype) for x in column]) for column in zip(*near, strict=True)
    )
    m, s, g = (jnp.stack(column, axis=1).ravel() for column in zip(*far, strict=True))
    return (mirror, shift, weight), (m, s, g)


def _series_weights(w: Float[Array, ""], count: int) -> Float[Array, " image"]:
    """Return weights c_n, n < count, such that sum(c_n F_n) approximates the infinite sum of w^n F_n.

    For w < 0: F_n are moments, the integral of x^n m(x) over 0 < x < 1, so that the coefficients of any
    polynomial close to 1 / (1 - w x) there are such weights. With T the Chebyshev polynomial of degree
    `count` shifted to that interval, it is (1 - T(x) / T(1 / w)) / (1 - w x). All terms of T(1 / w) have
    one sign, so that nothing cancels. For w >= 0 they would cancel, and the weights are w^n.
    """
    power = jnp.cumprod(jnp.concatenate([jnp.ones_like(w)[None], jnp.full(count, w)]))
    j = np.arange(count)
    growth = np.log(4 * (count + j) * (count - j) / ((2 * j + 1) * (2 * j + 2)))
    size = np.concatenate([[0.0], np.cumsum(growth)])  # log of T's coefficients, which overflow
    magnitude = np.exp(size - size.max())
    part = jnp.where(w < 0, jnp.asarray(magnitude, w.dtype) * jnp.abs(power[::-1]), 0)
    part = part.at[-1].add(jnp.where(w < 0, 0, 1))
    remaining = jnp.cumsum(part[::-1])[::-1]
    return power[:-1] * remaining[1:] / remaining[0]


def _summed(
    potential: _Potential, images: Images, p: Point, total: Float[Array, "block site"]
) -> Float[Array, "block site"]:
    def add(
        total: Float[Array, "block site"], image: tuple[Float[Array, ""], ...]
    ) -> tuple[Float[Array, "block site"], None]:
        mirror, shift, weight = image
        return total + weight * potential(p, mirror, shift), None

    return jax.lax.scan(jax.checkpoint(add), total, images, unroll=2)[0]


if TYPE_CHECKING:
    _Potential = Callable[[Point, Float[Array, ""], Float[Array, ""]], Float[Array, "block site"]]


def _point(
    a: Point, floor: Float[Array, "*site"], p: Point, mirror: Scalar, shift: Scalar
) -> Float[Array, "block site"]:
    x, y, z = p[0] - a[0], p[1] - a[1], p[2] - (mirror * a[2] + shift)
    return jax.lax.rsqrt(jnp.maximum(x * x + y * y + z * z, floor))


def _line(
    a: Point, b: Point, floor: Float[Array, "*site"], p: Point, mirror: Scalar, shift: Scalar
) -> Float[Array, "block site"]:
    a, b = ((x, y, mirror * z + shift) for x, y, z in (a, b))
    return mean_inverse_distance(p, a, b, floor)


def _short_line(
    a: Point, b: Point, p: Point, mirror: Scalar, shift: Scalar
) -> Float[Array, "block site"]:
    """Return `_line` for segments much shorter than their distance, without a logarithm or division."""
    ax, ay, az = p[0] - a[0], p[1] - a[1], p[2] - (mirror * a[2] + shift)
    bx, by, bz = p[0] - b[0], p[1] - b[1], p[2] - (mirror * b[2] + shift)
    r1, r2 = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
    per_sum = jax.lax.rsqrt(r1 + r2 + 2 * jnp.sqrt(r1 * r2))
    squared_length = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return atanh_series(per_sum, squared_length * per_sum * per_sum)
