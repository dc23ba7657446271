"""Reference points of groups of sites: the origins of dipole moments, and what cells are turned about."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, DimensionError
from jaxfne_xr.core.types import Array, ArrayLike
from jaxfne_xr.core.values import values_in


def origins(
    ds: xr.Dataset,
    dim: str,
    place: Array,
    group: np.ndarray,
    n: int,
    origin: str | ArrayLike | None,
) -> tuple[Array, str]:
    """Return the origin (group, xyz) of each of `n` groups, um, and its description.

    Parameters
    ----------
    ds : xr.Dataset
        The sites.
    dim : str
        Their dim.
    place : array (site, xyz)
        Their positions, um.
    group : int array (site)
        The number of the group of each.
    n : int
        The number of groups.
    origin : str or (3,), optional
        The name of a boolean coordinate, for the mean of the sites where it is true; one point for all groups; by
        default the mean of all sites of each.
    """
    if origin is None:
        return means(place, group, n, np.ones(len(group), bool)), "mean position of its sites"
    if not isinstance(origin, str):
        point = values_in(origin, "um", "origin")
        if np.shape(point) != (3,):
            raise DimensionError.of(
                "origin",
                found=f"the shape {np.shape(point)}",
                expected="three numbers",
                remedy="origin=(0, 0, 0)",
            )
        return point + np.zeros((n, 1), point.dtype), "one point for all"
    chosen = ds.coords.get(origin)
    if chosen is None or chosen.dims != (dim,) or chosen.dtype.kind != "b":
        found = f"{origin!r}, which is not a boolean coordinate along {dim!r}"
    else:
        missing = sorted(set(range(n)) - set(group[chosen.values].tolist()))
        if not missing:
            return means(place, group, n, chosen.values), f"mean position of {origin}"
        found = f"{origin!r}, which is true for no site of {len(missing)} of {n} groups"
    raise ArgumentError.of(
        "origin",
        found=found,
        expected="a coordinate that is true for some sites of each group, or a point",
        remedy='origin=(0, 0, 0), or ds.assign_coords(soma=("recording", is_soma))',
    )


def means(place: Array, group: np.ndarray, n: int, chosen: np.ndarray) -> Array:
    """Return the mean position (group, xyz) of the chosen sites of each group."""
    member = ((np.arange(n)[:, None] == group) & chosen).astype(float)
    return on_arrays(_product, member / member.sum(axis=1, keepdims=True), place)


def _product(matrix: Array, columns: Array) -> Array:
    # Accelerators round factors of a product in their default precision.
    return jnp.matmul(matrix, columns, precision="highest")
