"""Probes: electrode contacts and sensors as Datasets with a position for each.

A probe is a Dataset with one dim, ``contact`` (intracranial) or ``channel`` (EEG and MEG), and no variables, only
coordinates
along it: ``x``, ``y``, ``z`` and ``radius`` in um, ``name``, and the unit vector ``normal_x``, ``normal_y``,
``normal_z`` that a flat
contact faces or a sensor measures along. Whatever keeps these names can be used as one. Depth is z, upwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ._arrays import check_traced, is_jax, is_traced
from .errors import ArgumentError, DimensionError, Problem, UnitError, raise_problems
from .inputs import unit_problem
from .results import assemble
from .schema import SENSORS
from .units import convert, is_quantity, magnitude, scalar, text_of, units_of

#: Two contacts closer than this, in um, are at one place.
SAME_PLACE = 1e-6


def linear_probe(
    n: int,
    spacing: Any = 50.0,
    *,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    radius: Any = None,
    normal: Sequence[float] | None = None,
    name: str = "probe",
) -> xr.Dataset:
    """Return a shank of evenly spaced contacts on a line.

    Parameters
    ----------
    n : int
        Number of contacts.
    spacing : float, str or pint.Quantity
        Distance between neighbours, um (or ``"0.05 mm"``).
    origin : (3,)
        Position of the first contact, um.
    direction : (3,)
        Which way the others lie, of any length; upwards by default.
    radius : float, str or pint.Quantity, optional
        Radius of each contact, um.
    normal : (3,), optional
        The way the contacts face.
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
    _count(n, "n")
    along = _direction(direction, "direction")
    positions = _vector(origin, "origin") + step * np.arange(n)[:, None] * along
    return probe_at(positions, radius=radius, normal=normal, name=name)


def grid_probe(
    shape: tuple[int, int],
    spacing: Any = (50.0, 50.0),
    *,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    rows: Sequence[float] = (0.0, 0.0, 1.0),
    columns: Sequence[float] = (1.0, 0.0, 0.0),
    radius: Any = None,
    normal: Sequence[float] | None = None,
    name: str = "probe",
) -> xr.Dataset:
    """Return a flat grid of contacts: several columns of a shank, or a multi-electrode array.

    Parameters
    ----------
    shape : (int, int)
        Number of rows and of columns.
    spacing : pair of float, str or pint.Quantity
        Distance between rows and between columns, um.
    origin : (3,)
        Position of the first contact, um.
    rows, columns : (3,)
        Which way further rows and further columns lie, of any length.
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
    for count, what in zip(counts, ("rows", "columns"), strict=True):
        _count(count, what)
    steps = [_positive(s, "spacing") for s in pair]
    up, across = _direction(rows, "rows"), _direction(columns, "columns")
    row, column = (index.ravel() for index in np.indices(counts))
    positions = (
        _vector(origin, "origin")
        + steps[0] * row[:, None] * up
        + steps[1] * column[:, None] * across
    )
    facing = np.cross(up, across) if normal is None else normal
    probe = probe_at(positions, radius=radius, normal=facing, name=name)
    return probe.assign_coords(row=("contact", row), column=("contact", column))


def probe_at(
    positions: Any,
    *,
    units: str = "um",
    radius: Any = None,
    normal: Any = None,
    name: str | Sequence[str] = "probe",
    dim: str = "contact",
) -> xr.Dataset:
    """Return a probe with contacts, or sensors, at given positions.

    Parameters
    ----------
    positions : array (contact, 3) or pint.Quantity
        x, y and z of each; JAX arrays stay JAX, so that a loss can be differentiated in them.
    units : str
        Unit of `positions`, where they carry none.
    radius : float, str, pint.Quantity or array (contact), optional
        um.
    normal : (3,) or array (contact, 3), optional
        The way each faces, of any length.
    name : str or sequence of str
        The name of each, or what to count up from.
    dim : {"contact", "channel"}
        ``"channel"`` for EEG and MEG.

    Returns
    -------
    xr.Dataset
        Coordinates ``x``, ``y``, ``z`` and those given.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        If the positions are not (n, 3), not a length, not finite, or two contacts are at the same place.

    Examples
    --------
    >>> probe_at([[0, 0, 0], [0, 0, 0.1]], units="mm", name=["a", "b"]).z.values.tolist()
    [0.0, 100.0]
    """
    if is_quantity(positions):
        positions, units = positions.magnitude, text_of(positions.units)
    xyz = positions if is_jax(positions) else _numbers(positions, "positions")
    problems = []
    if np.ndim(xyz) != 2 or np.shape(xyz)[-1] != 3 or np.shape(xyz)[0] == 0:
        problems.append(_shape_problem("positions", np.shape(xyz), "(n, 3), n at least 1"))
    if dim not in SENSORS:
        problems.append(_choice("dim", dim, SENSORS))
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
        facing = _numbers(normal, "normal")
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


def from_probeinterface(probe: Any, *, name: str = "probe") -> xr.Dataset:
    """Return the contacts of a `probeinterface` probe.

    Parameters
    ----------
    probe : probeinterface.Probe
        In two dimensions, its x is taken for ours and its y for depth (z), as its pictures show it.
    name : str
        Used where the probe's contacts have no names of their own.

    Returns
    -------
    xr.Dataset
        With ``radius`` (for a square or rectangle, that of the disc of equal area), and ``shank`` where there are
        several.

    Raises
    ------
    ArgumentError
        If it is not such a probe.

    Examples
    --------
    >>> import probeinterface  # doctest: +SKIP
    >>> from_probeinterface(probeinterface.generate_tetrode())  # doctest: +SKIP
    """
    if not hasattr(probe, "contact_positions") or not hasattr(probe, "si_units"):
        raise ArgumentError(
            Problem(
                where="probe",
                found=f"a {type(probe).__name__}",
                wanted="a probeinterface.Probe",
                remedy="take one out of a ProbeGroup: group.probes[0]",
                error=ArgumentError,
            )
        )
    positions = np.asarray(probe.contact_positions, float)
    if positions.shape[1] == 2:
        positions = np.stack([positions[:, 0], np.zeros(len(positions)), positions[:, 1]], axis=1)
    sides = [
        _area(shape, p)
        for shape, p in zip(probe.contact_shapes, probe.contact_shape_params, strict=True)
    ]
    radius = convert(np.sqrt(np.array(sides) / np.pi), probe.si_units, "um")
    ids = probe.contact_ids
    names = name if ids is None or not any(map(str, ids)) else [str(i) for i in ids]
    made = probe_at(positions, units=probe.si_units, radius=radius, name=names)
    if probe.shank_ids is not None and any(map(str, probe.shank_ids)):
        made = made.assign_coords(shank=("contact", np.array([str(s) for s in probe.shank_ids])))
    return made


def _area(shape: str, parameters: Mapping[str, float]) -> float:
    if shape == "circle":
        return np.pi * parameters["radius"] ** 2
    return parameters["width"] * parameters.get("height", parameters["width"])


def check_probe(probe: xr.Dataset, axes: str = "xyz") -> xr.Dataset:
    """Return `probe` if it can be used: a dim of contacts or channels, each with its own place, in um.

    Parameters
    ----------
    probe : xr.Dataset
        With the positions named in `axes`; any others of ``x``, ``y``, ``z`` are looked at where they are there.
    axes : str
        ``"z"`` where depth is enough.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        All problems at once.
    """
    if not isinstance(probe, xr.Dataset):
        raise ArgumentError(
            Problem(
                where="probe",
                found=f"a {type(probe).__name__}",
                wanted="a Dataset with contacts",
                remedy='jfx.linear_probe(n=16, spacing="50 um"), or jfx.probe_at(positions)',
                error=ArgumentError,
            )
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
        raise DimensionError(
            Problem(
                where="probe",
                found=f"the dims {tuple(ds.dims)}",
                wanted="one of them named contact or channel",
                remedy='jfx.probe_at(positions), or probe.rename(your_dim="contact")',
                error=DimensionError,
            )
        )
    return found[0]


def prefixed(name: Hashable, dims: tuple[Hashable, ...]) -> Hashable:
    """Return the name of a coordinate in a Dataset that holds sites and contacts side by side."""
    for dim in SENSORS:
        if dim in dims and name != dim:
            return f"{dim}_{name}"
    return name


def positions_of(ds: xr.Dataset, dim: Hashable, axes: Iterable[str]) -> Any:
    """Return the positions along `dim` as one array (dim, axes), um; JAX where a coordinate is JAX.

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
        If one is missing, or lies along something else.
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
                    wanted=f"the position of every {dim}, um, as the coordinate {axis!r} along {dim!r}",
                    remedy=f'ds.assign_coords({axis}=("{dim}", values, {{"units": "um"}}))',
                    error=DimensionError,
                )
            )
            continue
        variable = ds.variables[axis]
        problem = unit_problem(variable, axis, "um")
        problems += problem
        if not problem:
            columns.append(convert(magnitude(variable.data), str(units_of(variable)), "um"))
    raise_problems(problems)
    if any(is_jax(c) for c in columns):
        return jnp.stack(columns, axis=-1)
    return np.stack([np.asarray(c, float) for c in columns], axis=-1)


def axes_along(ds: xr.Dataset, dim: Hashable) -> str:
    """Return which of x, y and z are known along `dim`."""
    names = {axis: position_name(ds, axis, dim) for axis in "xyz"}
    return "".join(
        a for a, name in names.items() if name in ds.coords and ds.variables[name].dims == (dim,)
    )


def position_name(ds: xr.Dataset, axis: str, dim: Hashable) -> str:
    """Return the name of a position: its own, or as `compute_readout` has it, beside those of sites."""
    beside = str(prefixed(axis, (dim,)))
    along = axis in ds.coords and ds.variables[axis].dims == (dim,)
    return beside if not along and beside in ds.coords else axis


def positions_along(probe: xr.Dataset, dim: str, axes: str) -> Any:
    """Return the positions of a probe, checked to lie along `dim`."""
    if sensor_dim(check_probe(probe, axes)) != dim:
        raise DimensionError(
            Problem(
                where="probe",
                found=f"positions along {sensor_dim(probe)!r}",
                wanted=f"along {dim!r}",
                remedy=f'jfx.probe_at(positions, dim="{dim}")',
                error=DimensionError,
            )
        )
    return positions_of(probe, dim, axes)


def place_problems(xyz: np.ndarray, dim: str) -> list[Problem]:
    """Return the problem of positions that are not finite, or of two contacts at the same.

    Channels may share one: electrodes have two names, and magnetometers two directions.
    """
    bad = np.flatnonzero(~np.isfinite(xyz).all(axis=1))
    order = np.lexsort(np.round(xyz / SAME_PLACE).T)
    close = np.linalg.norm(np.diff(xyz[order], axis=0), axis=1) < SAME_PLACE
    if bad.size:
        found, wanted = (
            f"{bad.size} not finite, the first at {dim} {bad[0]}",
            "finite positions, um",
        )
    elif close.any() and dim != "channel":
        i = int(np.argmax(close))
        pair = sorted((int(order[i]), int(order[i + 1])))
        place = ", ".join(f"{x:g}" for x in xyz[pair[0]])
        found, wanted = (
            f"{dim}s {pair[0]} and {pair[1]} both at ({place}) um",
            "each at its own place",
        )
    else:
        return []
    return [
        Problem("positions", found, wanted, "correct the positions, or drop one", ArgumentError)
    ]


def _positive(value: Any, name: str) -> float:
    length = scalar(value, "um", name)
    if not (np.isfinite(length) and length > 0):
        raise ArgumentError(
            Problem(name, f"{length:g} um", "a positive length", f'{name}="50 um"', ArgumentError)
        )
    return length


def _lengths(value: Any, n: int) -> np.ndarray:
    """Return n lengths in um from one or from n."""
    if isinstance(value, str) or np.ndim(magnitude(value)) == 0:
        return np.full(n, _positive(value, "radius"))
    unit = text_of(value.units) if is_quantity(value) else "um"
    values = convert(np.asarray(magnitude(value), float), unit, "um")
    if values.shape != (n,):
        raise DimensionError(_shape_problem("radius", values.shape, f"one, or ({n},)"))
    return np.array([_positive(v, "radius") for v in values])


def _count(n: int, name: str) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ArgumentError(
            Problem(
                name, repr(n), "a whole number of contacts, at least 1", f"{name}=16", ArgumentError
            )
        )


def _pair(value: Any, name: str) -> tuple[Any, Any]:
    """Return two values, for rows and for columns, from two or from one."""
    if name == "spacing" and (isinstance(value, str) or np.ndim(magnitude(value)) == 0):
        return value, value
    try:
        first, second = value
    except (TypeError, ValueError) as error:
        wanted, remedy = "one for rows and one for columns", f"{name}=(4, 2)"
        raise ArgumentError(Problem(name, repr(value), wanted, remedy, ArgumentError)) from error
    return first, second


def _numbers(values: Any, name: str) -> np.ndarray:
    """Return a copy of numbers as float64."""
    try:
        return np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        wanted, remedy = "numbers, three for each place", f"{name}=np.array([[x, y, z], ...])"
        raise ArgumentError(Problem(name, repr(values), wanted, remedy, ArgumentError)) from error


def _vector(value: Any, name: str) -> np.ndarray:
    v = _numbers(value, name)
    if v.shape != (3,) or not np.isfinite(v).all():
        raise ArgumentError(
            Problem(name, repr(value), "three finite numbers", f"{name}=(0, 0, 0)", ArgumentError)
        )
    return v


def _direction(vector: Any, name: str) -> np.ndarray:
    v = _vector(vector, name)
    length = np.linalg.norm(v)
    if length == 0:
        raise ArgumentError(
            Problem(
                name, repr(vector), "a direction, not all 0", f"{name}=(0, 0, 1)", ArgumentError
            )
        )
    return v / length


def _shape_problem(where: str, shape: tuple[int, ...], wanted: str) -> Problem:
    return Problem(
        where=where,
        found=f"shape {shape}",
        wanted=wanted,
        remedy="np.array([[x, y, z], ...]), one row for each contact",
        error=DimensionError,
    )


def _choice(where: str, found: object, known: Sequence[str]) -> Problem:
    return Problem(
        where, repr(found), f"one of {list(known)}", f"{where}={known[0]!r}", ArgumentError
    )
