"""Move and turn cells, probes and dipoles: all coordinates of each together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax, is_traced, nonfinite_problem, precision_of
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.inputs import as_dataset, groups_of
from jaxfne_xr.core.places import every_disagreement
from jaxfne_xr.core.registry import KNOWN, given_for
from jaxfne_xr.core.results import is_quantified, with_unit
from jaxfne_xr.core.schema import SENSORS, SITES, UNITS
from jaxfne_xr.core.types import Angles, Array, ArrayLike, Direction, Lengths, Scalars
from jaxfne_xr.core.units import same_dimension, units_of
from jaxfne_xr.core.values import values_in
from jaxfne_xr.geometry.origins import means, origins
from jaxfne_xr.geometry.positions import position_name, positions_of
from jaxfne_xr.geometry.rotations import recorded, rotation, turned

from .dipoles import XYZ, dipole_dim, moment_of, places_of


@dataclass(frozen=True)
class _Things:
    """What is to be moved: the sites, contacts or dipoles of a Dataset.

    Attributes
    ----------
    ds : xr.Dataset
        The Dataset.
    kind : {"sites", "sensors", "dipoles"}
        What they are.
    dim : str or None
        The dim of their positions; None for a single dipole.
    sets : tuple of tuples of str
        The names of the coordinates of each position that they have, as ``("x_start", "y_start", "z_start")``.
    """

    ds: xr.Dataset
    kind: str
    dim: Hashable | None
    sets: tuple[tuple[str, ...], ...]

    @property
    def size(self) -> int:
        return 1 if self.dim is None else self.ds.sizes[self.dim]

    def place(self, names: Sequence[str]) -> Array:
        """Return some coordinates of each (row, axes), um."""
        if self.kind == "dipoles":
            return places_of(self.ds)[:, [XYZ.index(name) for name in names]]
        return positions_of(self.ds, str(self.dim), names)

    def groups(self, by: str | None, *, whole: bool) -> tuple[list[Any], np.ndarray, str]:
        """Return the label of each group that moves as one, the number of each row's group, and their name.

        Cells move as one each; others all together if `whole`, else each by itself.
        """
        if by is None and self.kind == "sites" and self.dim != "unit" and "unit" in self.ds.coords:
            by = "unit" if self.ds.variables["unit"].dims == (self.dim,) else None
        if by is not None:
            if self.dim is None:
                raise ArgumentError.of(
                    "by", found=repr(by), expected="None, for one dipole", remedy="by=None"
                )
            return (*groups_of(self.ds, str(self.dim), by), by)
        if whole:
            return ["all"], np.zeros(self.size, int), "all"
        labels = self.ds[self.dim].values if self.dim in self.ds.coords else np.arange(self.size)
        return labels.tolist(), np.arange(self.size), str(self.dim)


@public
def translate(
    data: xr.Dataset | xr.DataArray,
    *,
    x: Lengths | xr.DataArray = 0.0,
    y: Lengths | xr.DataArray = 0.0,
    z: Lengths | xr.DataArray = 0.0,
    by: str | None = None,
) -> xr.Dataset:
    """Move cells, probes or dipoles by a displacement: the coordinates of middles, starts and ends together.

    Parameters
    ----------
    data : xr.Dataset or xr.DataArray
        Sites along ``recording`` or ``unit``, a probe, or dipoles.
    x, y, z : float, str, pint.Quantity or array
        The displacement, um: one for all, or one for each cell (for each value of the coordinate ``unit`` in its sorted
        order; for point neurons, contacts and dipoles, for each of them). A DataArray with labels is matched by them.
    by : str, optional
        A coordinate (``"population"``, ``"shank"``): one displacement for each of its values in their sorted order.

    Returns
    -------
    xr.Dataset
        The same data at other positions, in um.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        If there are no positions, a displacement is not a length, not finite or does not fit, or the data include a
        field that was computed with the positions before.

    Notes
    -----
    Differentiable with respect to the displacement and to the positions.

    See Also
    --------
    move_to : to a position. rotate : about a point.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0]], [[0, 0, 20]], diameter=2.0, parent=[-1])
    >>> moved = translate(cell, x="0.1 mm", z=-5)
    >>> [float(moved[name][0]) for name in ("x", "x_start", "x_end", "z", "z_start", "z_end")]
    [100.0, 100.0, 100.0, 5.0, -5.0, 15.0]
    """
    things = _things(data, "data")
    labels, group, name = things.groups(by, whole=False)
    shifts, record = {}, {}
    for axis, given in (("x", x), ("y", y), ("z", z)):
        values = _one_each(given, axis, labels, name, "translate")
        if is_jax(values) or np.any(values):  # an axis along which nothing moves need not be there
            shifts[axis] = values if values.ndim == 0 else values[group]
        record[f"{axis}_um"] = recorded(values)
    return _displaced(things, shifts, "translate", record | ({"by": by} if by else {}))


@public
def move_to(
    dipoles: xr.Dataset | xr.DataArray,
    *,
    x: Lengths | None = None,
    y: Lengths | None = None,
    z: Lengths | None = None,
) -> xr.Dataset:
    """Move dipoles, cells or a probe to other positions; moments, and the shape of a cell, are unchanged.

    Parameters
    ----------
    dipoles : xr.Dataset or xr.DataArray
        Dipoles, from `dipole_moment` or made by hand; sites along ``recording`` or ``unit``; or a probe.
    x, y, z : float, str, pint.Quantity or array, optional
        The new coordinates, um: one for all, or one for each dipole, cell or point neuron. An axis that is not given
        keeps its coordinate.

    Returns
    -------
    xr.Dataset
        The same data at the new positions: of a cell, the mean position of its soma (where the coordinate ``soma`` is
        true, else of all its sites) is there; of a probe, its first contact.

    Raises
    ------
    UnitError, DimensionError, ArgumentError
        If a coordinate is not a length or not finite, or their number does not fit; as in `translate`.

    See Also
    --------
    translate : by a displacement. rotate : about a point.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> p = xr.Dataset({"dipole_moment": (("unit", "xyz"), np.eye(2, 3), {"units": "nA*um"})})
    >>> move_to(p, x=0, y=[0, 10], z="78 mm").z.values
    array([78000., 78000.])
    """
    things = _things(dipoles, "dipoles")
    given = {axis: value for axis, value in (("x", x), ("y", y), ("z", z)) if value is not None}
    if things.kind == "dipoles":
        return _dipoles_moved(things, given)
    labels, group, name = things.groups(None, whole=things.kind == "sensors")
    about, text = _about(things, group, len(labels), None)
    shifts, record = {}, {}
    for axis, value in given.items():
        values = _one_each(value, axis, labels, name, "move_to")
        record[f"{axis}_um"] = recorded(values)
        shifts[axis] = (values - about[:, XYZ.index(axis)])[group]
    return _displaced(things, shifts, "move_to", record | {"origin": text})


@public
def rotate(
    dipoles: xr.Dataset | xr.DataArray,
    angle: Angles | None = None,
    axis: str | Direction = "z",
    *,
    to: Direction | None = None,
    origin: str | Lengths | None = None,
    by: str | None = None,
) -> xr.Dataset:
    """Rotate dipole moments, or the positions of cells and probes.

    Parameters
    ----------
    dipoles : xr.Dataset or xr.DataArray
        Dipoles, from `dipole_moment` or made by hand; sites along ``recording`` or ``unit``; or a probe.
    angle : float, str, pint.Quantity or array
        Angle in degrees, or ``"0.5 rad"``; counterclockwise as seen from the tip of the axis. One for all, or one for
        each cell (for each value of the coordinate ``unit`` in its sorted order) or dipole.
    axis : {"x", "y", "z"} or (3,)
        Axis of the rotation.
    to : (3,) or array (cell or dipole, 3), in place of the angle
        The direction into which z is rotated, by the smallest possible angle: the normal of the cortex, for cells whose
        apical dendrites rise along z.
    origin : str or (3,), optional
        The point that stays in place: one for all, um, or the name of a boolean coordinate, for the mean position of
        the sites of each group where it is true. By default each cell turns about its soma (where the coordinate
        ``soma`` is true, else its mean position), so that somata stay in their layer; a probe about its first contact;
        point neurons, together, about their mean position; dipoles each about their own position.
    by : str, optional
        A coordinate (``"population"``, ``"shank"``) whose values are turned as one each, instead of cells.

    Returns
    -------
    xr.Dataset
        Dipoles: the rotated moments, at the same positions unless `origin` is given. Others: the same data at other
        positions, with the normals of contacts rotated too.

    Raises
    ------
    ArgumentError, UnitError, DimensionError
        If neither or both of `angle` and `to` are given, or they cannot be used; as in `translate`.

    Notes
    -----
    Differentiable with respect to angles, directions, positions and moments.

    See Also
    --------
    translate : by a displacement. move_to : to a position.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> p = xr.Dataset({"dipole_moment": ("xyz", [0.0, 0.0, 1.0], {"units": "nA*um"})})
    >>> [turned.dipole_moment.values.round(12).tolist() for turned in (rotate(p, 90, "y"), rotate(p, to=(0, 2, 0)))]
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 110]], 2.0, [-1, 0])
    >>> lying = rotate(cell, to=(1, 0, 0))
    >>> lying.x.values.round(9).tolist(), lying.z.values.round(9).tolist()
    ([0.0, 55.0], [5.0, 5.0])
    """
    things = _things(dipoles, "dipoles")
    each = things.kind == "dipoles"
    labels, group, _ = things.groups(by, whole=not each)
    matrix, record = rotation(angle, axis, to, len(labels))
    of_rows = matrix if matrix.ndim == 2 else matrix[group]
    ds = things.ds
    if each:
        ds = _moments_turned(ds, of_rows, things.dim)
    if not each or origin is not None or by is not None:
        about, text = _about(things, group, len(labels), origin)
        record["origin"] = provenance.recorded(origin) if origin is not None else text
        ds = ds.assign_coords(_turned_places(things, about[group], of_rows))
    if by:
        record["by"] = by
    return provenance.extend(ds, "rotate", record, stage="source" if each else None)


# --------------------------------------------------------------------------------------- what is to be moved


def _things(data: xr.Dataset | xr.DataArray, where: str) -> _Things:
    """Return the sites, contacts or dipoles of a Dataset, with positions that agree and no field of theirs."""
    ds = as_dataset(data, where)
    if "dipole_moment" in ds.data_vars:
        moment_of(ds)
        return _Things(ds, "dipoles", dipole_dim(ds), (tuple(XYZ),))
    for kind, dims in (("sites", SITES), ("sensors", SENSORS)):
        for dim in dims:
            sets = _sets(ds, kind, dim)
            if sets:
                raise_problems(every_disagreement(ds) + _spoiled(ds, kind, dim))
                ds = _with_middles(ds, dim, sets)
                return _Things(ds, kind, dim, _sets(ds, kind, dim))
    if any(same_dimension(units_of(x) or "1", "nA*um") for x in ds.data_vars.values()):
        moment_of(ds)  # says how to name it
    raise DimensionError.of(
        where,
        found=f"no positions along {[*SITES, *SENSORS]}, and no dipole_moment, on a Dataset with the coordinates "
        f"{list(map(str, ds.coords))}",
        expected="where each site or contact is: x, y, z, or x_start ... z_end, um; or dipoles",
        remedy='ds.assign_coords(x=("unit", x), y=("unit", y), z=("unit", z)), or ds.jfne.with_morphology(cell)',
    )


def _sets(ds: xr.Dataset, kind: str, dim: str) -> tuple[tuple[str, ...], ...]:
    """Return the names of the coordinates of every position along a dim: of middles, starts and ends."""
    found = []
    for suffix in ("", "_start", "_end") if kind == "sites" else ("",):
        names = (position_name(ds, axis + suffix, dim) for axis in XYZ)
        found.append(tuple(n for n in names if n in ds.coords and ds.variables[n].dims == (dim,)))
    return tuple(names for names in found if names)


def _with_middles(ds: xr.Dataset, dim: str, sets: tuple[tuple[str, ...], ...]) -> xr.Dataset:
    """Return the Dataset with the middles of segments that have ends only."""
    if (
        len(sets) != 2
        or any(len(names) != 3 for names in sets)
        or not sets[0][0].endswith("_start")
    ):
        return ds
    start, end = (positions_of(ds, dim, names) for names in sets)
    return ds.assign_coords(_columns(tuple(XYZ), (start + end) / 2, dim))


def _spoiled(ds: xr.Dataset, kind: str, dim: str) -> list[Problem]:
    """Return the problem of a field in the Dataset that is the result of the positions that are to change."""
    if kind == "sites":
        names = [str(n) for n, v in ds.data_vars.items() if {*v.dims} & {*SENSORS}]
        remedy = f"ds.drop_dims({[d for d in SENSORS if any(d in ds[n].dims for n in names)]})"
    else:  # a potential that was measured may be moved with its probe; a lead field is of the positions
        computed = _at_a_probe(provenance.read(ds.attrs))
        along = {str(n): v.dims for n, v in ds.data_vars.items() if dim in v.dims}
        names = [n for n, dims in along.items() if computed or {*dims} & {*SITES}]
        remedy = f"ds.drop_vars({names})"
    if not names:
        return []
    return [
        Problem(
            where=names[0],
            found=f"{', '.join(names)} on a Dataset whose {kind} are to be moved",
            expected=f"{kind} without a field, which would be that of the positions before",
            remedy=f"{remedy}, and compute the field again after the move",
            error=ArgumentError,
        )
    ]


def _at_a_probe(record: Mapping[str, Any] | None) -> bool:
    """Whether a record, or that of an input, has a step whose result depends on the positions of sensors."""
    for step in (record or {}).get("steps", ()):
        if step["function"] == "compute_readout":
            computed = any(_is_sensed(name, asked=True) for name in step["parameters"]["names"])
        else:
            computed = _is_sensed(step["function"], asked=False)
        if computed or any(map(_at_a_probe, step.get("with", ()))):
            return True
    return False


def _is_sensed(name: str, *, asked: bool) -> bool:
    """Whether a function is a readout at a probe or sensors; a user's readout may know of them by other ways."""
    if name not in KNOWN:
        return asked
    package = KNOWN[name].function.__module__.partition(".")[0]
    return package != __name__.partition(".")[0] or {*given_for(name)} > {"signals"}


def _axis_of(name: str) -> str:
    """Return x, y or z for ``x_start``, ``contact_y``, ..."""
    return next(part for part in name.split("_") if part in tuple(XYZ))


# -------------------------------------------------------------------------------------------------- arguments


def _one_each(
    given: Scalars | xr.DataArray, axis: str, labels: list[Any], name: str, function: str
) -> Array:
    """Return a coordinate or displacement, um: one number, or one for each label."""
    if isinstance(given, xr.DataArray) and given.dims == (name,) and name in given.coords:
        missing = [k for k in labels if k not in given[name].values.tolist()]
        if missing:
            raise DimensionError.of(
                axis,
                found=f"no value for {name} {missing[0]!r}",
                expected=f"one for each {name}",
                remedy=f'{axis}=xr.DataArray(values, {{"{name}": {labels}}})',
            )
        given = given.sel({name: labels})
    values = values_in(given, "um", axis)
    if values.shape not in {(), (len(labels),)}:
        raise DimensionError.of(
            axis,
            found=f"the shape {values.shape}",
            expected=f"one number, or one for each of {len(labels)} along {name!r}",
            remedy=f'{axis}="10 mm"',
        )
    problem = None
    if not is_traced(values):
        problem = nonfinite_problem(np.ravel(np.asarray(values)), (name,), axis)
    if problem is not None:
        how = f'jfx.{function}(ds, x=0, y=0, z="75 mm")'
        raise_problems([replace(problem, expected="finite x, y, z, um", remedy=how)])
    return values


def _about(
    things: _Things, group: np.ndarray, n: int, origin: str | ArrayLike | None
) -> tuple[Array, str]:
    """Return the point that each group is turned about or placed by (group, xyz), um, and its description."""
    dim, ds, place = str(things.dim), things.ds, things.place(XYZ)
    if origin is not None:
        return origins(ds, dim, place, group, n, origin)
    if things.kind == "sensors":
        first = np.array([int(np.argmax(group == g)) for g in range(n)])
        return place[first], "first contact"
    soma = ds.coords.get("soma")
    if soma is None or soma.dims != (dim,) or soma.dtype.kind != "b" or not soma.values.any():
        return origins(ds, dim, place, group, n, None)
    has_soma = np.bincount(group[soma.values], minlength=n) > 0
    return means(place, group, n, soma.values | ~has_soma[group]), "mean position of soma"


# ------------------------------------------------------------------------------------------------- the motion


def _columns(names: Sequence[str], place: Array, dim: Hashable | None) -> dict[str, xr.Variable]:
    """Return positions (row, axes) as coordinates, um; scalars if there is no dim."""
    dims, place = ((), place[0]) if dim is None else ((dim,), place)
    return {n: xr.Variable(dims, place[..., k], {"units": "um"}) for k, n in enumerate(names)}


def _displaced(
    things: _Things, shifts: Mapping[str, Array], function: str, record: Mapping[str, Any]
) -> xr.Dataset:
    """Return the data with a displacement of each row added to all its coordinates."""
    coords: dict[str, xr.Variable] = {}
    for names in things.sets:
        for axis, shift in shifts.items():
            name = next((n for n in names if _axis_of(n) == axis), None)
            if name is None:
                raise DimensionError.of(
                    axis,
                    found=f"a displacement along {axis}, of positions with {list(names)} only",
                    expected="a coordinate to add it to",
                    remedy=f'ds.assign_coords({axis}=("{things.dim}", values, {{"units": "um"}}))',
                )
            place = things.place([name])[:, 0]
            moved = on_arrays(jnp.add, place, shift) if is_jax(shift) else place + shift
            coords |= _columns([name], moved[:, None], things.dim)
    stage = "source" if things.kind == "dipoles" else None
    return provenance.extend(things.ds.assign_coords(coords), function, record, stage=stage)


def _turned_places(things: _Things, about: Array, matrix: Array) -> dict[str, xr.Variable]:
    """Return all positions and normals of sites, contacts or dipoles, turned about a point of each row."""
    ds, dim = things.ds, things.dim
    coords: dict[str, xr.Variable] = {}
    for names in things.sets:
        # an axis that is not there is reported
        complete = [names[0].replace(_axis_of(names[0]), axis) for axis in XYZ]
        place = things.place(complete)
        coords |= _columns(complete, about + turned(place - about, matrix), dim)
    normals = [position_name(ds, f"normal_{a}", str(dim)) for a in XYZ]
    if all(n in ds.coords and ds.variables[n].dims == (dim,) for n in normals):
        columns = [ds.variables[n].data for n in normals]
        facing = (jnp if any(map(is_jax, columns)) else np).stack(columns, axis=-1)
        made = turned(facing, matrix)
        coords |= {
            n: xr.Variable((dim,), made[:, k], ds.variables[n].attrs) for k, n in enumerate(normals)
        }
    return coords


def _dipoles_moved(things: _Things, given: Mapping[str, Scalars]) -> xr.Dataset:
    """Return dipoles with other coordinates, which need not have been there."""
    labels, _, name = things.groups(None, whole=False)
    coords: dict[str, xr.Variable] = {}
    for axis, value in given.items():
        values = _one_each(value, axis, labels, name, "move_to")
        if values.ndim == 0:
            values = (jnp if is_jax(values) else np).full(things.size, values)
        coords |= _columns([axis], values[:, None], things.dim)
    return provenance.extend(
        things.ds.assign_coords(coords),
        "move_to",
        {f"{a}_um": recorded(v.data) for a, v in coords.items()},
        stage="source",
    )


def _moments_turned(dipoles: xr.Dataset, matrix: Array, dim: Hashable | None) -> xr.Dataset:
    """Return the dipoles with their moments multiplied by a matrix for all or for each."""
    moment = moment_of(dipoles)
    data = moment.data
    # xarray matches the dims by name; moments keep their precision, also if the matrix has another.
    with precision_of(data):
        by_name = xr.Variable((() if matrix.ndim == 2 else (dim,)) + ("turned", XYZ), matrix)
        if data.dtype.kind == "f":
            by_name = by_name.astype(data.dtype)
        made = (by_name * moment).sum(XYZ, skipna=False)
    dims = tuple(XYZ if d == "turned" else d for d in made.dims)
    made = xr.Variable(dims, made.data).transpose(*moment.dims)
    original = dipoles.variables["dipole_moment"]
    quantified = is_quantified(original, made.data)
    attrs = {key: value for key, value in original.attrs.items() if key != "units"}
    made = with_unit(made, UNITS["dipole_moment"], quantify=quantified, attrs=attrs)
    return dipoles.assign(dipole_moment=made).assign_coords({XYZ: list(XYZ)})
