r"""Potentials of point sources in a sphere that lies in another, infinite conductor.

The sphere has its centre at the origin, radius R and conductivity s_i; around it the conductivity is
s_o. With the potential and the normal current continuous at its surface, a source of current I at r'
inside the sphere has the potential (Deng 2008, in terms of permittivities)

    ============  ============================================================================
    r <= R        c (1 / |r - r'| + sum_n (s_i - s_o) (n + 1) / S_n (r r')^n / R^(2n+1) P_n(u))
    r >= R        c sum_n s_i (2n + 1) / S_n r'^n / r^(n+1) P_n(u)
    ============  ============================================================================

where ``c = I / (4 pi s_i)``, ``S_n = s_i n + s_o (n + 1)``, and u is the cosine of the angle between
r and r'. Near the surface these series converge as slowly as a geometric one with a ratio close to 1.
They are not summed here: with ``b = s_o / (s_i + s_o)`` and ``k = (s_i - s_o) / (s_i + s_o)``, their
coefficients are

    ``(s_i - s_o) (n + 1) / S_n = k (1 + (1 - b) / (n + b))``,
    ``s_i (2n + 1) / S_n = 1 + k + k (1 - b) / (n + b)``,

where the terms that do not depend on n sum to an image point, and ``1 / (n + b)``, the integral of
``t^(n + b - 1)`` over 0 < t < 1, to an image line: from the image point to infinity for a contact
inside, from the source to the centre for one outside. With ``m = max(r, R)``, both rows of the table
are one expression,

    ``c (1 / |r - r'| + k / (m q) + k (1 - b) F / m)``,
    ``F = integral of t^(b - 1) / sqrt(1 - 2 x u t + x^2 t^2) over 0 < t < 1``,
    ``x = r r' / m^2``,   ``q^2 = 1 - 2 x u + x^2 = (|r - r'|^2 + (m^2 - r^2) (m^2 - r'^2) / m^2) / m^2``,

which contains no angle, and in which all sums are of positive terms.

**The integral F** is singular at t = 0, and nearly so at t = 1 if source and contact are near each
other and the surface. Euler's substitution ``t = 2 w (1 - x u w) / (1 - x^2 w^2)``, with ``dt /
sqrt(...) = 2 dw / (1 - x^2 w^2)``, removes the square root; w runs from 0 to ``1 / (1 + q)``.
Then ``w = (1 + p) tanh(v / 2)``, ``p = (1 - x^2) / 2``, moves the poles at ``w = 1 / x`` away from the
interval: a small q only makes the range of v long, as ``log(2 / q)``, and most of it is flat. A Moebius
transform of v to 0 < y < 1 is dense where it is not. The integrand is then y^(b - 1) f(y), with f analytic
in a large neighbourhood of the interval. f(0) gives a term in 1 / b; (f(y) - f(0)) / y is interpolated by a
polynomial at Gauss-Legendre points, which times y^b is integrated exactly. 24 points are exact to a few parts
in 1e16 for all x, u and b, down to distances of 1e-9 R.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from .homogeneous import _dot, by_blocks, components, squared_limit

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from .homogeneous import MinDistance, Point

    Scalar = Float[Array, ""] | float

# Points of the quadrature, and the curvature of its Moebius transform per length of v. 16 points are
# exact to 1e-11, 20 to 1e-14 and 24 to rounding.
_POINTS = 24
_CURVATURE = 1 / 14


def one_sphere_point_source(
    contact: Float[Array, "contact 3"],
    site: Float[Array, "site 3"],
    radius: Scalar,
    sigma_inside: Scalar,
    sigma_outside: Scalar,
    min_distance: MinDistance,
) -> Float[Array, "contact site"]:
    """Compute the potential at each contact of a point source of 1 nA at each site in a sphere.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions x, y, z of contacts from the centre of the sphere, um: inside, outside or on it.
    site : array (site, 3)
        Positions of the point sources from the centre, um: inside the sphere or on its surface.
    radius : float
        Radius of the sphere, um.
    sigma_inside, sigma_outside : float
        Conductivities of the sphere and of the surrounding medium, S/m; both above 0.
    min_distance : float or array (site,)
        Contacts nearer than this to a source or its image are treated as at this distance, um.

    Returns
    -------
    array (contact, site)
        uV/nA, zero at infinity. A source outside the sphere gives NaN.

    Notes
    -----
    Assumes isotropic, linear, purely resistive media. If both conductivities are equal this is
    `point_source`. If ``sigma_outside`` is small, all potentials in the sphere have the common term
    ``1000 / (4 pi sigma_outside radius)``, which cancels only if the currents sum to zero.

    Exact to a few parts in 1e15, near the surface too, where the rounding of positions limits the accuracy.
    Memory is as for `point_source`, work that of about 40 point sources.

    The gradient is finite in all arguments, also at the centre. The derivative in a contact's radius jumps at
    the surface, as the electric field does: there it is the mean of both sides. Within `min_distance` the
    potential changes only with the length of the image line.

    References
    ----------
    Deng, J Electrostat 66:549, 2008 (the series). Sten and Lindell, Electrostatic image theory for the
    dielectric sphere with an internal source, 1991 (image points and lines).

    Examples
    --------
    >>> contact = jnp.array([[0.0, 0.0, 9500.0], [0.0, 0.0, 11000.0]])
    >>> site = jnp.array([[0.0, 0.0, 9000.0]])
    >>> print(one_sphere_point_source(contact, site, 10_000.0, 0.3, 0.03, 10.0).round(2))
    [[0.93]
     [0.47]]
    """
    numbers = radius, sigma_inside, sigma_outside
    dtype = jnp.result_type(float, contact, site, *numbers, min_distance)
    radius, inside, outside = (jnp.asarray(x, dtype) for x in numbers)
    floor = squared_limit(min_distance, dtype)
    source = components(site)
    sphere2, source2 = radius * radius, _dot(source, source)
    total = inside + outside
    contrast, power = (inside - outside) / total, outside / total
    doubled, of_line = 2 * inside / total, contrast * inside / total
    nodes, weights = _rule(power)
    unit = 1e3 / (4 * math.pi * inside)
    in_sphere = source2 <= sphere2 * (1 + 16 * float(jnp.finfo(dtype).eps))

    def pair(p: Point) -> Float[Array, "block site"]:
        d = p[0] - source[0], p[1] - source[1], p[2] - source[2]
        direct = _dot(d, d)
        contact2 = _dot(p, p)
        outer2 = jnp.maximum(contact2, sphere2)
        per_outer2 = 1 / outer2
        # 1 - r^2 / m^2 and 1 - r'^2 / m^2
        below = jnp.maximum(sphere2 - contact2, 0) * per_outer2
        below_source = jnp.maximum(outer2 - source2, 0) * per_outer2
        image = jnp.maximum(direct + outer2 * below * below_source, floor)
        rest = below + (1 - below) * below_source  # 1 - x^2
        line = _line_image(image * per_outer2, rest, power, nodes, weights)
        # 1 + k is exact, and near 0 about a good conductor, where outside source and image are one
        at_image = jax.lax.rsqrt(image)
        points = jax.lax.rsqrt(jnp.maximum(direct, floor)) - at_image + doubled * at_image
        value = unit * (points + of_line * jax.lax.rsqrt(outer2) * line)
        return jnp.where(in_sphere, value, jnp.nan)

    return by_blocks(pair, contact, site.shape[0], dtype)


def _line_image(
    q2: Float[Array, "*dims"],
    rest: Float[Array, "*dims"],
    power: Float[Array, ""],
    nodes: Float[Array, " point"],
    weights: Float[Array, " point"],
) -> Float[Array, "*dims"]:
    """Return F of the module's docstring from q^2, 1 - x^2 and b, with the quadrature for b."""
    q, p, not_xu = jnp.sqrt(q2), rest / 2, (q2 + rest) / 2  # not_xu = 1 - x u
    span = jnp.log1p(2 / (p + q + p * q))  # of v
    curve = _CURVATURE * span
    slope = (1 + p) * span / (1 + curve)  # dt/dy at y = 0

    def add(
        total: Float[Array, "*dims"], node: tuple[Float[Array, ""], Float[Array, ""]]
    ) -> tuple[Float[Array, "*dims"], None]:
        y, weight = node
        stretch = 1 / (1 + curve * (1 - y))
        v = span * y * stretch
        e = jnp.exp(-v)
        half = 1 / (1 + e)
        w = (1 + p) * -jnp.expm1(-v) * half
        not_w = (2 * e - p * (1 - e)) * half  # 1 - w; p is less than q, so that half is left
        per = 1 / (not_w * (1 + w) + rest * w * w)  # 1 / (1 - x^2 w^2)
        t = 2 * w * (not_w + w * not_xu) * per / (slope * y)
        speed = 4 * e * half * half * per * (1 + curve) ** 2 * stretch * stretch
        smooth = jnp.exp((power - 1) * jnp.log(t)) * speed  # 1 at y = 0
        return total + weight * (smooth - 1), None

    # the integral of y^(b - 1) smooth(0) is 1 / b, so that the nodes need not resolve the singularity
    total = jnp.full_like(q2, 1) / power
    total = jax.lax.scan(jax.checkpoint(add), total, (nodes, weights), unroll=2)[0]
    return jnp.exp(power * jnp.log(slope)) * total


def _rule(power: Float[Array, ""]) -> tuple[Float[Array, " point"], Float[Array, " point"]]:
    """Return points y and weights that integrate y^(b - 1) (f(y) - f(0)) over 0 < y < 1 from f(y) - f(0).

    They integrate the polynomial through (f(y) - f(0)) / y at the points, times y^b. The integral of a shifted
    Legendre polynomial times y^b is 1 / (b + 1) prod_i (b + 1 - i) / (b + 1 + i), i = 1, ..., its degree.
    """
    z, gauss = np.polynomial.legendre.leggauss(_POINTS)
    y, degree = (1 + z) / 2, np.arange(_POINTS)
    to_weights = np.polynomial.legendre.legvander(z, _POINTS - 1) * (2 * degree + 1)
    to_weights *= (gauss / (2 * y))[:, None]
    a, i = power + 1, jnp.asarray(degree[1:], power.dtype)
    ratio = jnp.concatenate([jnp.ones_like(power)[None], (a - i) / (a + i)])
    moments = jnp.cumprod(ratio) / a
    return jnp.asarray(y, power.dtype), jnp.asarray(to_weights, power.dtype) @ moments
