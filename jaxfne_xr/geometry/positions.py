"""Positions as coordinates: find and check them along a dim, and keep those of sites and of sensors apart by name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced, precision_of
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    raise_problems,
    renaming,
)
from jaxfne_xr.core.numeric import as_floats
from jaxfne_xr.core.schema import SENSORS
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.unit_checks import kind_problems, unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of

#: Two contacts closer than this, um, are at the same place.
SAME_PLACE = 1e-6


def check_probe(probe: xr.Dataset, axes: str = "xyz") -> xr.Dataset:
    """Return `probe`, checked to have a dim of contacts or channels, with a position in um for each.

    Parameters
    ----------
    probe : xr.Dataset
        With the positions named in `axes`; others of ``x``, ``y``, ``z`` are checked if present.
    axes : str
        The axes needed: ``"z"`` if depth is enough.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        All problems at once.
    """
    if not isinstance(probe, xr.Dataset):
        raise ArgumentError.of(
            "probe",
            found=f"a {type(probe).__name__}",
            expected="a Dataset with contacts",
            remedy='jfx.linear_probe(n=16, spacing="50 um"), or jfx.probe_at(positions)',
        )
    dim = sensor_dim(probe)
    known = axes_along(probe, dim)
    xyz = positions_of(probe, dim, [a for a in "xyz" if a in axes or a in known])
    if is_traced(xyz):
        check_traced(dim, lambda: jnp.isfinite(xyz).all(), "finite positions")
    else:
        raise_problems(place_problems(np.asarray(xyz, float), dim))
    return probe


def sensor_dim(ds: xr.Dataset) -> str:
    """Return the dim of a probe's contacts or sensors."""
    found = [dim for dim in SENSORS if dim in ds.dims]
    if len(found) != 1:
        raise DimensionError.of(
            "probe",
            found=f"the dims {tuple(ds.dims)}",
            expected="one of them named contact or channel",
            remedy=f"jfx.probe_at(positions), or {renaming(ds.dims, 'contact', of='probe')}",
        )
    return found[0]


def prefixed(name: Hashable, dims: tuple[Hashable, ...]) -> Hashable:
    """Return the name of a coordinate in a Dataset of both sites and sensors: with a prefix if it is of sensors."""
    for dim in SENSORS:
        if dim in dims and name != dim:
            return f"{dim}_{name}"
    return name


def positions_of(ds: xr.Dataset, dim: Hashable, axes: Iterable[str]) -> Array:
    """Return the positions along `dim` as one array (dim, axes), um; a JAX array if a coordinate is one.

    Parameters
    ----------
    ds : xr.Dataset
        With the coordinates named in `axes` along `dim`.
    dim : str
        ``unit``, ``recording``, ``contact`` or ``channel``.
    axes : iterable of str
        ``"xyz"``, or ``"z"`` for depth alone; or the names of other coordinates that are lengths.

    Raises
    ------
    DimensionError
        If one is missing, or lies along another dim.
    UnitError
        If one is not a length.
    """
    problems, columns = [], []
    for axis in axes:
        axis = position_name(ds, axis, dim)
        if axis not in ds.coords or ds.variables[axis].dims != (dim,):
            where = f"along {ds.variables[axis].dims}" if axis in ds.coords else "not there"
            problems.append(
                Problem(
                    where=axis,
                    found=f"{where}, on a Dataset with the coordinates {list(map(str, ds.coords))}",
                    expected=f"the position of every {dim}, um, as the coordinate {axis!r} along {dim!r}",
                    remedy=f'ds.assign_coords({axis}=("{dim}", values, {{"units": "um"}}))',
                    error=DimensionError,
                )
            )
            continue
        variable = ds.variables[axis]
        problem = unit_problem(variable, axis, "um") + kind_problems(variable, axis)
        problems += problem
        if not problem:
            columns.append(convert(magnitude(variable.data), str(units_of(variable)), "um"))
    raise_problems(problems)
    for like in filter(is_jax, columns):
        with precision_of(like):
            return jnp.stack([jnp.asarray(c, as_floats(like).dtype) for c in columns], axis=-1)
    return np.stack([np.asarray(c, float) for c in columns], axis=-1)


def axes_along(ds: xr.Dataset, dim: Hashable) -> str:
    """Return which of x, y and z are known along `dim`."""
    names = {axis: position_name(ds, axis, dim) for axis in "xyz"}
    return "".join(
        a for a, name in names.items() if name in ds.coords and ds.variables[name].dims == (dim,)
    )


def position_name(ds: xr.Dataset, axis: str, dim: Hashable) -> str:
    """Return the name of a position coordinate along `dim`: `axis`, or its prefixed name next to those of sites."""
    with_prefix = str(prefixed(axis, (dim,)))
    along = axis in ds.coords and ds.variables[axis].dims == (dim,)
    return with_prefix if not along and with_prefix in ds.coords else axis


def positions_along(probe: xr.Dataset, dim: str, axes: str) -> Array:
    """Return the positions of a probe, checked to lie along `dim`."""
    if sensor_dim(check_probe(probe, axes)) != dim:
        raise DimensionError.of(
            "probe",
            found=f"positions along {sensor_dim(probe)!r}",
            expected=f"along {dim!r}",
            remedy=f'jfx.probe_at(positions, dim="{dim}")',
        )
    return positions_of(probe, dim, axes)


def place_problems(xyz: np.ndarray, dim: str) -> list[Problem]:
    """Return the problem of positions that are not finite, or of two contacts at the same place.

    Channels may share one: an electrode may have two names, and two magnetometers differ in direction only.
    """
    bad = np.flatnonzero(~np.isfinite(xyz).all(axis=1))
    # Sorted by rounded positions, contacts at the same place are neighbours: no need to compare all pairs.
    order = np.lexsort(np.round(xyz / SAME_PLACE).T)
    close = np.linalg.norm(np.diff(xyz[order], axis=0), axis=1) < SAME_PLACE
    if bad.size:
        found, expected = (
            f"{bad.size} not finite, the first at {dim} {bad[0]}",
            "finite positions, um",
        )
    elif close.any() and dim != "channel":
        i = int(np.argmax(close))
        pair = sorted((int(order[i]), int(order[i + 1])))
        place = ", ".join(f"{x:g}" for x in xyz[pair[0]])
        found, expected = (
            f"{dim}s {pair[0]} and {pair[1]} both at ({place}) um",
            "a different position for each",
        )
    else:
        return []
    return [
        Problem("positions", found, expected, "correct the positions, or drop one", ArgumentError)
    ]
