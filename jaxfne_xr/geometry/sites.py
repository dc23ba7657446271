"""Positions of the sources of a field: points, or the two ends of segments, and their radii."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_traced
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.places import place_disagreement
from jaxfne_xr.core.schema import SITES
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.unit_checks import unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of

from .positions import positions_of


def sites_dim(sites: xr.Dataset) -> str:
    """Return the dim along which positions of sites lie."""
    for name in ("x", "x_start"):
        for dim in SITES:
            if name in sites.coords and sites.variables[name].dims == (dim,):
                return dim
    raise DimensionError.of(
        "sites",
        found=f"no positions along {list(SITES)}, on a Dataset with the coordinates {list(map(str, sites.coords))}",
        expected="where each site is: x, y, z, or x_start ... z_end, um",
        remedy='jfx.from_jaxley gives them; ds.assign_coords(x=("unit", x), y=("unit", y), z=("unit", z))',
    )


def positions(sites: xr.Dataset, dim: str, axes: Iterable[str]) -> Array:
    """Return positions of sites (site, axes), um, checked to be finite and to agree if they are concrete.

    One NaN would spoil the potential at every contact; a segment whose middle is not between its ends was moved by some
    of its coordinates only.
    """
    raise_problems(place_disagreement(sites, dim))
    return _positions(sites, dim, axes)


def _positions(sites: xr.Dataset, dim: str, axes: Iterable[str]) -> Array:
    axes = list(axes)
    places = positions_of(sites, dim, axes)
    if not is_traced(places):
        values = np.asarray(places)
        bad = ~np.isfinite(values).all(axis=1)
        _raise_bad(bad, values, ", ".join(axes), dim, "a finite position of every site, um")
    return places


def _raise_bad(bad: np.ndarray, values: np.ndarray, name: str, dim: str, expected: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise ArgumentError.of(
            name,
            found=f"{np.count_nonzero(bad)} of {len(bad)} sites with an invalid value, "
            f"{dim} {first} first: {values[first]}",
            expected=expected,
            remedy=f"correct it, or leave the site out: ds.drop_isel({dim}=[{first}])",
        )


def middles(sites: xr.Dataset, dim: str) -> Array:
    """Return the positions of sites (site, xyz), um: ``x``, ``y``, ``z``, else the middle between their ends."""
    if all(axis in sites.coords for axis in "xyz") or not has_ends(sites, dim):
        return positions(sites, dim, "xyz")
    start, end = ends(sites, dim)
    return (start + end) / 2


def has_ends(sites: xr.Dataset, dim: str) -> bool:
    """Whether sites are segments with a start and an end."""
    names = [axis + suffix for suffix in ("_start", "_end") for axis in "xyz"]
    return all(n in sites.coords and sites.variables[n].dims == (dim,) for n in names)


def ends(sites: xr.Dataset, dim: str) -> tuple[Array, Array]:
    """Return where segments start and end, each (site, xyz), um."""
    if "x_start" not in sites.coords:
        raise DimensionError.of(
            "x_start",
            found="positions without the ends of segments",
            expected="x_start, y_start, z_start and x_end, y_end, z_end, um",
            remedy="jfx.PointSource(), for sites that are points",
        )
    raise_problems(place_disagreement(sites, dim))
    start, end = (
        _positions(sites, dim, [axis + suffix for axis in "xyz"]) for suffix in ("_start", "_end")
    )
    return start, end


def extent(sites: xr.Dataset, dim: str) -> tuple[Array, Array]:
    """Return the ends of sites, each (site, xyz), um; the same positions twice if they are points."""
    if has_ends(sites, dim):
        return ends(sites, dim)
    point = middles(sites, dim)
    return point, point


def roots(sites: xr.Dataset, dim: str, root: str) -> np.ndarray:
    """Return which sites are the root of their cell, according to the boolean coordinate `root`."""
    flags = [str(n) for n, c in sites.coords.items() if c.dims == (dim,) and c.dtype == bool]
    if root not in flags:
        raise VariableError.of(
            "root",
            found=f"{root!r}, which is no boolean coordinate along {dim!r}",
            expected=f"a boolean coordinate that marks the root segments; there are {flags or 'none'}",
            remedy=f'ds.assign_coords({root}=("{dim}", ds.compartment_id == 0))',
        )
    return np.asarray(sites.variables[root].data)


def radii(sites: xr.Dataset, dim: str, model: str) -> Array:
    """Return half the diameter of sites (site,), um, for the default `min_distance` of a model."""
    if "diameter" not in sites.coords or sites.variables["diameter"].dims != (dim,):
        raise VariableError.of(
            "min_distance",
            found=f"none, and no diameter along {dim!r} to take it from",
            expected="the smallest distance from a source, um, at which a potential is computed: it has no bound at 0",
            remedy=f'{model}(min_distance="5 um")',
        )
    variable = sites.variables["diameter"]
    raise_problems(unit_problem(variable, "diameter", "um"))
    diameter = convert(magnitude(variable.data), str(units_of(variable)), "um")
    if not is_traced(diameter):
        values = np.asarray(diameter)
        bad = ~((values >= 0) & (values < np.inf))
        _raise_bad(bad, values, "diameter", dim, "0 um or more")
    return diameter / 2
