"""Probes: electrode contacts and sensors as Datasets with a position for each.

A probe is a Dataset with one dim, ``contact`` (intracranial) or ``channel`` (EEG and MEG), and no variables, only
coordinates along it: ``x``, ``y``, ``z`` and ``radius`` in um, ``name``, and the unit vector ``normal_x``,
``normal_y``, ``normal_z`` along which a flat contact faces or a sensor measures. Any Dataset with these names can be
used as one. Depth is z, upwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, UnitError, raise_problems
from jaxfne_xr.core.numeric import real_numbers
from jaxfne_xr.core.results import assemble
from jaxfne_xr.core.schema import SENSORS
from jaxfne_xr.core.types import (
    Array,
    ArrayLike,
    Count,
    Counts,
    Direction,
    Length,
    Lengths,
    UnitText,
)
from jaxfne_xr.core.units import convert, magnitude, unit_text
from jaxfne_xr.core.values import carries_unit, parts, scalar, values_in
from jaxfne_xr.core.values import direction as direction_of

from .positions import check_probe


@public
def linear_probe(
    n: Count,
    spacing: Length = 50.0,
    *,
    origin: Lengths = (0.0, 0.0, 0.0),
    direction: Direction = (0.0, 0.0, 1.0),
    radius: Lengths | None = None,
    normal: Direction | None = None,
    name: str = "probe",
) -> xr.Dataset:
    """Build a shank of evenly spaced contacts on a line.

    Parameters
    ----------
    n : int
        Number of contacts.
    spacing : float, str or pint.Quantity
        Distance between neighbours, um (or ``"0.05 mm"``).
    origin : (3,)
        Position of the first contact, um.
    direction : (3,)
        Direction from the first contact to the others, of any length; upwards by default.
    radius : float, str or pint.Quantity, optional
        Radius of each contact, um.
    normal : (3,), optional
        Direction that the contacts face.
    name : str
        Contacts are named ``probe0``, ``probe1``, ...

    Returns
    -------
    xr.Dataset
        Contact k is at ``origin + k spacing direction / |direction|``.

    Raises
    ------
    ArgumentError, UnitError
        If `n` is not positive, or `spacing` is not a positive length.

    Examples
    --------
    >>> linear_probe(n=3, spacing="0.05 mm").z.values.tolist()
    [0.0, 50.0, 100.0]
    """
    step = _positive(spacing, "spacing")
    along = _direction(direction, "direction")
    positions = _vector(origin, "origin") + step * np.arange(n)[:, None] * along
    return probe_at(positions, radius=radius, normal=normal, name=name)


@public
def grid_probe(
    shape: Counts,
    spacing: Lengths = (50.0, 50.0),
    *,
    origin: Lengths = (0.0, 0.0, 0.0),
    rows: Direction = (0.0, 0.0, 1.0),
    columns: Direction = (1.0, 0.0, 0.0),
    radius: Lengths | None = None,
    normal: Direction | None = None,
    name: str = "probe",
) -> xr.Dataset:
    """Build a flat grid of contacts: several columns of a shank, or a multi-electrode array.

    Parameters
    ----------
    shape : (int, int)
        Number of rows and of columns.
    spacing : pair of float, str or pint.Quantity
        Distance between rows and between columns, um.
    origin : (3,)
        Position of the first contact, um.
    rows, columns : (3,)
        Directions from one row to the next and from one column to the next, of any length.
    radius, normal, name
        As for `linear_probe`. By default contacts face along ``rows x columns``.

    Returns
    -------
    xr.Dataset
        Contacts row by row, with ``row`` and ``column`` as coordinates.

    Examples
    --------
    >>> probe = grid_probe((2, 2), ("20 um", "30 um"))
    >>> list(zip(probe.x.values.tolist(), probe.z.values.tolist()))
    [(0.0, 0.0), (30.0, 0.0), (0.0, 20.0), (30.0, 20.0)]
    """
    counts, pair = _pair(shape, "shape"), _pair(spacing, "spacing")
    steps = [_positive(s, "spacing") for s in pair]
    up, across = _direction(rows, "rows"), _direction(columns, "columns")
    row, column = (index.ravel() for index in np.indices(counts))
    positions = (
        _vector(origin, "origin")
        + steps[0] * row[:, None] * up
        + steps[1] * column[:, None] * across
    )
    # Right-handed: contacts face along rows x columns.
    facing = np.cross(up, across) if normal is None else normal
    probe = probe_at(positions, radius=radius, normal=facing, name=name)
    return probe.assign_coords(row=("contact", row), column=("contact", column))


@public
def probe_at(
    positions: ArrayLike,
    *,
    units: UnitText = "um",
    radius: Lengths | None = None,
    normal: Direction | None = None,
    name: str | Sequence[str] = "probe",
    dim: str = "contact",
) -> xr.Dataset:
    """Build a probe from the positions of its contacts or sensors.

    Parameters
    ----------
    positions : array (contact, 3) or pint.Quantity
        x, y and z of each; JAX arrays stay JAX, so that a loss can be differentiated with respect
        to them.
    units : str
        Unit of `positions` without one.
    radius : float, str, pint.Quantity or array (contact), optional
        Radius of each contact, um.
    normal : (3,) or array (contact, 3), optional
        Direction that each faces, of any length.
    name : str or sequence of str
        The name of each, or the prefix of numbered names.
    dim : {"contact", "channel"}
        ``"channel"`` for EEG and MEG.

    Returns
    -------
    xr.Dataset
        With the coordinates ``x``, ``y``, ``z`` and ``name``; ``radius`` and ``normal_x`` ... ``normal_z`` if given.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        If the positions are not (n, 3), are not lengths or not finite, or two contacts are at the same place.

    Examples
    --------
    >>> probe_at([[0, 0, 0], [0, 0, 0.1]], units="mm", name=["a", "b"]).z.values.tolist()
    [0.0, 100.0]
    """
    units = unit_text(units)
    xyz = _numbers(positions, "positions", units)
    problems = []
    if xyz.ndim != 2 or xyz.shape[-1] != 3 or xyz.shape[0] == 0:
        problems.append(_shape_problem("positions", xyz.shape, "(n, 3), n at least 1"))
    if dim not in SENSORS:
        expected, remedy = f"one of {list(SENSORS)}", f"dim={SENSORS[0]!r}"
        problems.append(Problem("dim", repr(dim), expected, remedy, ArgumentError))
    try:
        xyz = convert(xyz, units, "um")
    except UnitError as error:
        problems += error.problems
    raise_problems(problems)

    n = len(xyz)
    coords: dict[str, Any] = {a: (dim, xyz[:, i], {"units": "um"}) for i, a in enumerate("xyz")}
    if radius is not None:
        coords["radius"] = (
            dim,
            _lengths(radius, n),
            {"units": "um", "long_name": "contact radius"},
        )
    if normal is not None:
        facing = _arrows(normal, "normal")
        if facing.shape not in ((3,), (n, 3)):
            raise DimensionError(_shape_problem("normal", facing.shape, f"(3,), or ({n}, 3)"))
        facing = np.array([_direction(v, "normal") for v in np.broadcast_to(facing, (n, 3))])
        coords |= {f"normal_{a}": (dim, facing[:, i]) for i, a in enumerate("xyz")}
    names = [f"{name}{i}" for i in range(n)] if isinstance(name, str) else [str(s) for s in name]
    if len(names) != n:
        raise DimensionError(_shape_problem("name", (len(names),), f"{n} names"))
    coords["name"] = (dim, np.array(names))
    return check_probe(
        assemble(
            {},
            None,
            coords,
            quantify=False,
            function="probe",
            parameters={"n": n},
            stage="probe",
            origin="probe",
        )
    )


def _positive(value: Length, name: str) -> float:
    length = scalar(value, "um", name)
    if not (np.isfinite(length) and length > 0):
        raise ArgumentError.of(
            name, found=f"{length:g} um", expected="a positive length", remedy=f'{name}="50 um"'
        )
    return length


def _lengths(value: ArrayLike, n: int) -> np.ndarray:
    """Return n lengths in um from one or from n."""
    values = np.asarray(values_in(value, "um", "radius"))
    if values.ndim == 0:
        return np.full(n, _positive(float(values), "radius"))
    if values.shape != (n,):
        raise DimensionError(_shape_problem("radius", values.shape, f"one, or ({n},)"))
    return np.array([_positive(v, "radius") for v in values])


def _pair(value: Any, name: str) -> tuple[Any, Any]:
    """Return two values, for rows and for columns, from two or from one."""
    several = isinstance(value, (list, tuple))
    if name == "spacing" and not several and np.ndim(magnitude(value)) == 0:
        return value, value
    try:
        first, second = parts(value, "um", name)
    except UnitError:
        raise
    except (TypeError, ValueError) as error:
        expected, remedy = "one for rows and one for columns", f"{name}=(4, 2)"
        raise ArgumentError.of(name, found=repr(value), expected=expected, remedy=remedy) from error
    return first, second


def _numbers(values: ArrayLike, name: str, units: str = "um") -> Array:
    """Return a copy of numbers as float64 in `units`; JAX arrays stay JAX. Bare numbers are taken to be in `units`."""
    if is_jax(values) or carries_unit(values):
        return values_in(values, units, name)
    return real_numbers(values, name, f"{name}=np.zeros((1, 3)), x, y and z in a row for each")


def _arrows(values: ArrayLike, name: str) -> np.ndarray:
    """Return directions as float64."""
    return np.asarray(
        direction_of(values, name) if carries_unit(values) else _numbers(values, name)
    )


def _vector(value: ArrayLike, name: str, read: Callable[..., Array] = _numbers) -> np.ndarray:
    v = np.asarray(read(value, name))
    if v.shape != (3,) or not np.isfinite(v).all():
        raise ArgumentError.of(
            name, found=repr(value), expected="three finite numbers", remedy=f"{name}=(0, 0, 0)"
        )
    return v


def _direction(vector: ArrayLike, name: str) -> np.ndarray:
    v = _vector(vector, name, _arrows)
    length = np.linalg.norm(v)
    if length == 0:
        raise ArgumentError.of(
            name, found=repr(vector), expected="a direction, not all 0", remedy=f"{name}=(0, 0, 1)"
        )
    return v / length


def _shape_problem(where: str, shape: tuple[int, ...], expected: str) -> Problem:
    return Problem(
        where=where,
        found=f"shape {shape}",
        expected=expected,
        remedy="x, y and z in a row for each contact",
        error=DimensionError,
    )
