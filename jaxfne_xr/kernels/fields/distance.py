"""Distances of contacts from segments: which contacts lie inside a cell, and how near the nearest is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from .homogeneous import components

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


def nearest_segment(
    contact: Float[Array, "contact 3"],
    start: Float[Array, "site 3"],
    end: Float[Array, "site 3"],
    limit: Float[Array, " site"],
) -> tuple[Float[Array, " contact"], Bool[Array, " contact"]]:
    """Compute the distance of each contact from the nearest segment, and whether it is within the limit of any.

    Parameters
    ----------
    contact : array (contact, 3)
        Positions x, y, z of contacts, um.
    start, end : array (site, 3)
        Ends of the segments, um. A segment of length 0 is a point.
    limit : array (site,)
        Distance below which a contact is inside, um; usually the radius of the segment.

    Returns
    -------
    tuple of array (contact,) and bool array (contact,)
        Distance from the axis of the finite segment, um; and whether it is less than `limit` from any.
        Without segments the distance is infinite.

    Notes
    -----
    One contact at a time, so that memory is a few numbers for each segment. The distance is
    differentiable except where two segments are equally near.

    Examples
    --------
    >>> start, end = jnp.zeros((1, 3)), jnp.array([[0.0, 0.0, 10.0]])
    >>> contact = jnp.array([[0.0, 0.5, 5.0], [0.0, 0.0, 14.0]])
    >>> distance, inside = nearest_segment(contact, start, end, jnp.ones(1))
    >>> distance.tolist(), inside.tolist()
    ([0.5, 4.0], [True, False])
    """
    ax, ay, az = components(start)
    ux, uy, uz = components(end - start)
    squared = ux * ux + uy * uy + uz * uz
    per_square = jnp.where(squared > 0, 1 / jnp.where(squared > 0, squared, 1), 0)
    floor = limit * limit

    def one(p: Float[Array, " xyz"]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        x, y, z = p[0] - ax, p[1] - ay, p[2] - az
        share = jnp.clip((x * ux + y * uy + z * uz) * per_square, 0, 1)
        x, y, z = x - share * ux, y - share * uy, z - share * uz
        d2 = x * x + y * y + z * z
        return jnp.min(d2, initial=jnp.inf), jnp.min(d2 - floor, initial=jnp.inf) < 0

    d2, inside = jax.lax.map(one, contact)
    some = d2 > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, d2, 1)), 0), inside
