"""Current source density along a laminar probe: second difference and inverse methods.

Depth is one coordinate in um, potentials are in uV, densities in uA/mm^3, a source (outward
membrane current) positive. All methods are linear in the potential. The standard method is a
three-point stencil; the inverse methods (iCSD) are small matrices that the caller computes once and
applies along time by one matrix product.

Precision: the systems are ill-conditioned, the more so the larger the discs are relative to the spacing
of the contacts (384 contacts at 20 um: condition 7e1 for `"delta"` with discs of 100 um, 1e3 with 500 um,
3e4 for `"spline"` with 2000 um), and errors of the potential grow by up to that factor. Rounding in
float32 causes errors of the matrix of 1e-6 to 5e-3 of its maximum: compute it in float64
(`jax.enable_x64`), whatever the precision of the data that it is applied to.

References
----------
.. [1] C. Nicholson, J.A. Freeman, J. Neurophysiol. 38, 356-368, 1975.
.. [2] K.H. Pettersen, A. Devor, I. Ulbert, A.M. Dale, G.T. Einevoll, J. Neurosci. Methods 154,
   116-133, 2006.
.. [3] G. Vaknin, P.G. DiScenna, T.J. Teyler, J. Neurosci. Methods 24, 131-135, 1988.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array
    from jaxtyping import Float

    Scalar = Array | float

EVEN_SPACING = 1e-3
"""Largest `spacing_deviation` at which contacts count as evenly spaced."""

# um^2 * uA/mm^3 / (S/m) = 1e-9 V
_UV = 1e-3


class Estimator(NamedTuple):
    """A linear estimate of current source density.

    Attributes
    ----------
    matrix : array (point, contact)
        Density per potential, uA/mm^3 per uV. The points of the inverse methods are the contacts.
    condition : array ()
        2-norm condition number of the system that was solved: the factor by which relative errors
        of the potential and of the geometry may grow.
    """

    matrix: Float[Array, "point contact"]
    condition: Float[Array, ""]


def contact_spacing(
    depth: Float[Array, " contact"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Compute the mean distance of neighbouring contacts and the largest relative deviation from it.

    Parameters
    ----------
    depth : array (contact,)
        Depth, um, in the order of the probe, at least two.

    Returns
    -------
    spacing : array ()
        Mean spacing, um; negative for decreasing depth.
    deviation : array ()
        max |spacing_i - spacing| / |spacing|. Contacts are evenly spaced up to `EVEN_SPACING`, which
        allows for coordinates that were stored as float32 or printed with four digits.

    Examples
    --------
    >>> spacing, deviation = contact_spacing(jnp.array([100.0, 200.0, 300.0, 410.0]))
    >>> float(spacing), bool(deviation < EVEN_SPACING)
    (103.33, False)
    """
    spacings = depth[1:] - depth[:-1]  # with operators that NumPy shares
    spacing = spacings.mean()
    return spacing, abs(spacings - spacing).max() / abs(spacing)


def standard_csd(
    potential: Float[Array, " ..."],
    spacing: Scalar,
    conductivity: Scalar,
    *,
    axis: int = 0,
    ends: Literal["drop", "vaknin"] = "drop",
) -> Float[Array, " ..."]:
    """Compute the current source density as the second spatial difference of the potential ([1]_, eq. 4).

    Parameters
    ----------
    potential : array (..., contact, ...)
        Extracellular potential, uV, at evenly spaced contacts.
    spacing : scalar
        Distance of neighbouring contacts, um.
    conductivity : scalar
        Conductivity of the tissue, S/m.
    axis : int
        The contacts' axis.
    ends : {"drop", "vaknin"}
        `"drop"`: the two outermost contacts have no second difference and no row, so the
        contact axis is shorter by two. `"vaknin"`: the outermost potentials are repeated one
        spacing beyond the ends [3]_; the axis keeps its length. That assumes no field beyond
        the probe; if there is one, all of it appears as a source or sink at the end.

    Returns
    -------
    array (..., contact - 2 or contact, ...)
        Current source density, uA/mm^3.

    Notes
    -----
    C_i = -sigma (phi_{i-1} - 2 phi_i + phi_{i+1}) / h^2. Assumes sources that do not vary
    laterally over distances much larger than those between the contacts. Differentiable in
    all arguments.

    Examples
    --------
    A potential that curves by -2 uV / (100 um)^2 in tissue of 0.3 S/m:

    >>> float(standard_csd(jnp.array([0.0, 1.0, 0.0]), 100.0, 0.3)[0])
    0.06
    """
    if ends not in ("drop", "vaknin"):
        raise ValueError(f'ends is {ends!r}; it must be "drop" or "vaknin".')
    axis = axis % potential.ndim
    if ends == "vaknin":
        width = [(1, 1) if k == axis else (0, 0) for k in range(potential.ndim)]
        potential = jnp.pad(potential, width, mode="edge")
    if potential.shape[axis] < 3:
        raise ValueError(
            f'A second difference needs 3 contacts (1 with ends="vaknin"); '
            f"axis {axis} has {potential.shape[axis]}."
        )
    return jnp.diff(potential, n=2, axis=axis) * (-conductivity / jnp.square(spacing) / _UV)


def icsd_forward(
    depth: Float[Array, " contact"],
    diameter: Scalar,
    conductivity: Scalar,
    conductivity_top: Scalar | None = None,
    *,
    method: Literal["delta", "step", "spline"],
) -> Float[Array, "contact source"]:
    r"""Compute the potentials of the source model that an inverse method inverts ([2]_, sections 2.3.2 to 4).

    Parameters
    ----------
    depth : array (contact,)
        Depth of the contacts, um, distinct, in any order and with any spacing, at least two. With
        `conductivity_top`, measured from the surface of the tissue and not negative.
    diameter : scalar or array (contact,)
        Diameter of the discs of current, um: one for all, or that of the *source* at each contact.
    conductivity : scalar
        Conductivity of the tissue, S/m.
    conductivity_top : scalar, optional
        Conductivity above the surface (depth 0), S/m: 0 for oil or air. None: the tissue has no
        surface. If given, all current lies below the surface and has an image above it.
    method : {"delta", "step", "spline"}
        How the density varies with depth; see the notes.

    Returns
    -------
    array (contact, source)
        Potential at each contact per density at each contact, uV per uA/mm^3.

    Notes
    -----
    On the axis of a disc of radius R at depth z', a current per area c has the potential

    .. math:: \phi(z) = \frac{c}{2\sigma}\left[\sqrt{(z-z')^2 + R^2} - |z - z'|\right],

    and its image in the surface the same with (z + z'), times (sigma - sigma_top) / (sigma + sigma_top).
    The density of current per volume, C, is

    * `"delta"`: all in infinitely thin discs at the contacts, C = c / (thickness of the layer);
    * `"step"`: constant in each layer;
    * `"spline"`: the natural cubic spline through its values at the contacts, which is zero one
      spacing beyond each end. The radius is constant in each layer (ends: to that zero).

    The layer of a contact extends half way to its neighbours, at the ends of the probe as far out
    as in. Layers and spline are cut off at the surface.

    `"delta"` and `"step"` are closed forms; `"spline"` is a 16-point Gauss-Legendre rule on each side
    of each contact, in asinh((z' - z) / R), in which the integrand is entire: exact to 1e-13.
    Differentiable in all arguments, except at coincident depths.

    Examples
    --------
    >>> depth = jnp.array([100.0, 200.0, 300.0])
    >>> icsd_forward(depth, 500.0, 0.3, method="delta")[:, 0]
    Array([41.67, 28.21, 20.03], dtype=float32)
    """
    if depth.shape[0] < 2:
        raise ValueError(f"Inverse methods need 2 contacts or more, not {depth.shape[0]}.")
    radius = jnp.broadcast_to(jnp.asarray(diameter, dtype=depth.dtype) / 2, depth.shape)
    surface = conductivity_top is not None
    response: Callable[[Float[Array, " contact"]], Float[Array, "contact source"]]
    if method == "delta":
        lower, upper = _layers(depth, 0.5, surface=surface)
        response = lambda z: _disc(z[:, None] - depth, radius) * (upper - lower)
    elif method == "step":
        lower, upper = _layers(depth, 0.5, surface=surface)
        response = lambda z: (
            _disc_integral(upper - z[:, None], radius) - _disc_integral(lower - z[:, None], radius)
        )
    elif method == "spline":
        node, weight, node_radius = _spline_quadrature(depth, radius, surface=surface)
        density = spline_interpolation(depth, node) * weight[:, None]
        response = lambda z: _disc(z[:, None] - node, node_radius) @ density
    else:
        raise ValueError(f'method is {method!r}; it must be "delta", "step" or "spline".')

    potential = response(depth)
    if conductivity_top is not None:
        reflection = (conductivity - conductivity_top) / (conductivity + conductivity_top)
        potential = potential + reflection * response(-depth)
    return potential * (_UV / 2 / conductivity)


def icsd_matrix(
    depth: Float[Array, " contact"],
    diameter: Scalar,
    conductivity: Scalar,
    conductivity_top: Scalar | None = None,
    *,
    method: Literal["delta", "step", "spline"],
) -> Estimator:
    """Compute the matrix of inverse current source density estimation, the inverse of `icsd_forward`.

    It maps potentials to the densities whose source model has these potentials. The parameters are
    those of `icsd_forward`. Two contacts at one depth make the system singular.

    Returns
    -------
    Estimator
        `matrix` (contact, contact): density at each contact, uA/mm^3, per potential, uV. For
        `"spline"`, `spline_interpolation(depth, points) @ matrix` is the density at other depths.

    Notes
    -----
    The inverse of the forward matrix is formed, by LU with pivoting, because it is applied to many
    samples, often not in memory at once, and contacts are few. Differentiable as `icsd_forward` is.

    Examples
    --------
    >>> depth = jnp.array([100.0, 200.0, 300.0])
    >>> matrix, condition = icsd_matrix(depth, 500.0, 0.3, method="step")
    >>> density = jnp.array([0.0, 1.0, -0.5])
    >>> potential = icsd_forward(depth, 500.0, 0.3, method="step") @ density
    >>> [round(float(c), 3) + 0.0 for c in matrix @ potential]
    [0.0, 1.0, -0.5]
    """
    forward = icsd_forward(depth, diameter, conductivity, conductivity_top, method=method)
    identity = jnp.eye(depth.shape[0], dtype=forward.dtype)
    return Estimator(jnp.linalg.solve(forward, identity), jnp.linalg.cond(forward))


def spline_interpolation(
    depth: Float[Array, " contact"], point: Float[Array, " point"]
) -> Float[Array, "point contact"]:
    """Interpolate by the cubic spline of the spline method: density at any depth from that at the contacts.

    Parameters
    ----------
    depth : array (contact,)
        Depth of the contacts, um, distinct, in any order, at least two.
    point : array (point,)
        Depths at which to evaluate the spline, um.

    Returns
    -------
    array (point, contact)
        Weights, dimensionless; the identity at the contacts, zero beyond the outer knots.

    Notes
    -----
    Natural spline (no curvature at its ends) on the contacts and one knot beyond each end, where it
    is zero, one spacing of the outermost contacts away. Twice continuously differentiable in `point`
    between the outer knots.

    Examples
    --------
    >>> spline_interpolation(jnp.array([0.0, 1.0, 2.0]), jnp.array([1.5]))
    Array([[-0.121,  0.607,  0.567]], dtype=float32)
    """
    order = jnp.argsort(depth)
    inner = depth[order]
    knot = jnp.concatenate([2 * inner[:1] - inner[1:2], inner, 2 * inner[-1:] - inner[-2:-1]])
    h = jnp.diff(knot)
    # the curvatures at the knots follow from the values, by continuity of the slope at every contact
    continuity = jnp.diag((h[:-1] + h[1:]) / 3) + _neighbours(h[1:-1] / 6)
    slope_change = jnp.diag(-1 / h[:-1] - 1 / h[1:]) + _neighbours(1 / h[1:-1])
    ends = ((1, 1), (0, 0))
    value = jnp.pad(jnp.eye(inner.shape[0], dtype=depth.dtype), ends)
    curvature = jnp.pad(jnp.linalg.solve(continuity, slope_change), ends)

    k = jnp.clip(jnp.searchsorted(knot, point, side="right") - 1, 0, h.shape[0] - 1)
    b = (point - knot[k]) / h[k]
    inside = (b >= 0) & (b <= 1)
    b = jnp.where(inside, b, 0)[:, None]
    a = 1 - b
    cubic = (a**3 - a) * curvature[k] + (b**3 - b) * curvature[k + 1]
    weights = a * value[k] + b * value[k + 1] + jnp.square(h[k, None]) / 6 * cubic
    return jnp.where(inside[:, None], weights, 0)[:, jnp.argsort(order)]


def _neighbours(off_diagonal: Float[Array, " pair"]) -> Float[Array, "contact contact"]:
    return jnp.diag(off_diagonal, 1) + jnp.diag(off_diagonal, -1)


def _disc(u: Float[Array, " ..."], radius: Float[Array, " ..."]) -> Float[Array, " ..."]:
    """Return the potential at a distance `u` on the axis of a disc, times 2 sigma; without cancellation far away."""
    return jnp.square(radius) / (jnp.sqrt(jnp.square(u) + jnp.square(radius)) + jnp.abs(u))


def _disc_integral(u: Float[Array, " ..."], radius: Float[Array, " ..."]) -> Float[Array, " ..."]:
    """Return the integral of `_disc` from 0 to `u`."""
    return (u * _disc(u, radius) + jnp.square(radius) * jnp.arcsinh(u / radius)) / 2


def _layers(
    depth: Float[Array, " contact"], reach: float, *, surface: bool
) -> tuple[Float[Array, " contact"], Float[Array, " contact"]]:
    """Return the upper and lower end of the layer of each contact; `reach` spacings beyond the ends of the probe."""
    order = jnp.argsort(depth)
    z = depth[order]
    first = z[:1] - reach * (z[1:2] - z[:1])
    last = z[-1:] + reach * (z[-1:] - z[-2:-1])
    edge = jnp.concatenate([first, (z[1:] + z[:-1]) / 2, last])
    if surface:
        edge = jnp.maximum(edge, 0)
    rank = jnp.argsort(order)
    return edge[rank], edge[rank + 1]


def _spline_quadrature(
    depth: Float[Array, " contact"], radius: Float[Array, " contact"], *, surface: bool
) -> tuple[Float[Array, " node"], Float[Array, " node"], Float[Array, " node"]]:
    """Return nodes, weights and radii that integrate a spline times `_disc` over depth.

    The only kink of the integrand is at the contact, and its nearest branch points are at
    +- i R from there: the substitution z' = z +- R sinh(w) on either side of each contact removes them.
    """
    lower, upper = _layers(depth, 1.0, surface=surface)
    x, w = np.polynomial.legendre.leggauss(16)
    unit, unit_weight = (jnp.asarray(a, dtype=depth.dtype) for a in ((x + 1) / 2, w / 2))
    extent = jnp.arcsinh((jnp.stack([lower, upper]) - depth) / radius)[..., None]
    z = depth[:, None] + radius[:, None] * jnp.sinh(extent * unit)
    weight = jnp.abs(extent) * unit_weight * radius[:, None] * jnp.cosh(extent * unit)
    return z.ravel(), weight.ravel(), jnp.broadcast_to(radius[:, None], z.shape).ravel()
