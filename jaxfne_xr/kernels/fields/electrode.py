"""Electrodes with a surface: the mean potential over a disk or a square, by deterministic quadrature.

An electrode much more conductive than the tissue records the mean over its surface of the potential that
would be there without it (the disk-electrode approximation). The mean of a lead field over the nodes of
a quadrature is again a lead field, for any forward model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from jaxtyping import Array, Float


def electrode_nodes(
    contact: Float[Array, "contact 3"],
    normal: Float[Array, "contact 3"],
    radius: Float[Array, " contact"] | float,
    *,
    shape: Literal["disk", "square"],
    order: int = 3,
) -> tuple[Float[Array, "contact node 3"], Float[Array, " node"]]:
    """Compute the positions at which to sample the potential on each electrode, and the weights of the mean.

    Parameters
    ----------
    contact : array (contact, 3)
        Centres of the electrodes, um.
    normal : array (contact, 3)
        Vectors perpendicular to the surfaces, of any length but 0.
    radius : float or array (contact,)
        Radius of a disk, half the side of a square, um.
    shape : {"disk", "square"}
        Static. One side of a square is the projection on the surface of the coordinate axis that is most
        nearly perpendicular to `normal` (the first of equals); the other is at right angles to it.
    order : int
        Accuracy: polynomials up to degree ``4 order - 2`` (disk) or ``4 order - 1`` (square) are
        averaged exactly. Static.

    Returns
    -------
    tuple of array (contact, node, 3) and array (node,)
        Positions, um, and weights, which sum to 1. There are ``order (4 order - 1)`` nodes on a disk
        (Gauss-Legendre rings in the squared radius, evenly spaced angles) and ``4 order^2`` on a square
        (Gauss-Legendre in both directions).

    Raises
    ------
    ValueError
        If `shape` is neither, or `order` is less than 1.

    Notes
    -----
    The error decays geometrically with the order if no source is near: for a source at a distance d
    from the middle of the disk, by about ``(radius / d)^4`` for each order. For a source on the surface it
    decays as a power, and `min_distance` limits the potential.

    The nodes are smooth functions of `contact` and `radius`, and of `normal` except where the axis
    changes, which rotates the pattern of nodes on a disk, and the square itself.

    References
    ----------
    Disk-electrode approximation: Moulin et al., J Neurosci Methods 169, 2008; Ness et al.,
    Neuroinformatics 13, 2015. Product rules: Stroud, Approximate Calculation of
    Multiple Integrals, 1971.

    Examples
    --------
    >>> centre, up = jnp.zeros((1, 3)), jnp.array([[0.0, 0.0, 1.0]])
    >>> nodes, weights = electrode_nodes(centre, up, 10.0, shape="disk", order=2)
    >>> nodes.shape, float(weights @ jnp.sum(nodes[0] ** 2, axis=1))  # the mean of r^2 is R^2 / 2
    ((1, 14, 3), 50.0...)
    """
    if shape not in ("disk", "square") or order < 1:
        raise ValueError(
            f"shape has to be 'disk' or 'square', and order at least 1: got {shape!r} and {order}."
        )
    first, second = _sides(normal)
    dtype = jnp.result_type(float, contact, normal, radius)
    nodes = _unit_disk(order) if shape == "disk" else _unit_square(order)
    s, t, weights = (jnp.asarray(x, dtype) for x in nodes)
    around = s[:, None] * first[:, None] + t[:, None] * second[:, None]
    size = jnp.broadcast_to(jnp.asarray(radius, dtype), contact.shape[:1])
    return contact[:, None] + size[:, None, None] * around, weights


def electrode_reach(
    normal: Float[Array, "contact 3"],
    radius: Float[Array, " contact"],
    *,
    shape: Literal["disk", "square"],
) -> Float[Array, "contact 3"]:
    """Compute how far each electrode extends from its centre along x, y and z, um.

    Parameters
    ----------
    normal : array (contact, 3)
        Vectors perpendicular to the surfaces, of any length but 0.
    radius : array (contact,)
        Radius of a disk, half the side of a square, um.
    shape : {"disk", "square"}
        Static.

    Returns
    -------
    array (contact, 3)
        On a disk, the radius times the sine of the angle between `normal` and each axis; on a square, to its corners.

    Examples
    --------
    >>> tilted = jnp.array([[0.0, 3.0, 4.0]])
    >>> [print(electrode_reach(tilted, jnp.array([10.0]), shape=s)) for s in ("disk", "square")][-1]
    [[10.  8.  6.]]
    [[10.  8.  6.]]
    """
    if shape == "disk":
        unit = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
        share = jnp.sqrt(jnp.clip(1 - unit**2, 0))
    else:
        first, second = _sides(normal)
        share = jnp.abs(first) + jnp.abs(second)
    return radius[:, None] * share


def electrode_mean(
    lead_field: Callable[[Float[Array, "node 3"]], Float[Array, "node site"]],
    nodes: Float[Array, "contact node 3"],
    weights: Float[Array, " node"],
) -> Float[Array, "contact site"]:
    """Average a lead field over the nodes of each electrode.

    Parameters
    ----------
    lead_field : callable
        From positions (node, 3), um, to a lead field (node, site), uV/nA.
    nodes : array (contact, node, 3)
        Positions on each electrode, um.
    weights : array (node,)
        Weights of the mean; `electrode_nodes` returns both.

    Returns
    -------
    array (contact, site)
        ``sum_k weights_k lead_field(nodes_ck)``, uV/nA.

    Notes
    -----
    One electrode at a time, so that memory is the result and one matrix (node, site), in the reverse pass
    too. Products are in full precision, which a GPU does not use for float32 by default.

    Examples
    --------
    >>> from jaxfne_xr.kernels.fields.homogeneous import point_source
    >>> centre, up = jnp.zeros((1, 3)), jnp.array([[0.0, 0.0, 1.0]])
    >>> disk = electrode_nodes(centre, up, 10.0, shape="disk")
    >>> site = jnp.array([[0.0, 0.0, 20.0]])
    >>> print(electrode_mean(lambda p: point_source(p, site, 0.3, 1.0), *disk).round(1))
    [[12.5]]
    """

    @jax.checkpoint
    def mean(points: Float[Array, "node 3"]) -> Float[Array, " site"]:
        return jnp.matmul(weights, lead_field(points), precision=jax.lax.Precision.HIGHEST)

    return jax.lax.map(mean, nodes)


def _sides(
    normal: Float[Array, "contact 3"],
) -> tuple[Float[Array, "contact 3"], Float[Array, "contact 3"]]:
    """Return two unit vectors in each surface, at right angles: the directions of the sides of a square."""
    normal = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    axis = jnp.eye(3, dtype=normal.dtype)[jnp.argmin(jnp.abs(normal), axis=1)]
    first = axis - normal * jnp.sum(axis * normal, axis=1, keepdims=True)
    first = first / jnp.linalg.norm(first, axis=1, keepdims=True)
    return first, jnp.cross(normal, first)


def _unit_disk(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(order)
    n_angle = 4 * order - 1
    r, angle = np.sqrt((1 + x) / 2), 2 * np.pi * np.arange(n_angle) / n_angle
    s, t = np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle))
    return s.ravel(), t.ravel(), np.repeat(w / 2, n_angle) / n_angle


def _unit_square(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(2 * order)
    s, t = np.meshgrid(x, x, indexing="ij")
    return s.ravel(), t.ravel(), np.outer(w / 2, w / 2).ravel()
