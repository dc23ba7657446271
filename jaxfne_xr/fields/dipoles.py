"""Current dipole moments of cells, which determine their far field; `movement` moves and rotates them.

A moment points from the sink to the source. Its components are on the dim ``xyz``, and the position of each dipole is
in the coordinates ``x``, ``y``, ``z``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced, nonfinite_problem
from jaxfne_xr.core.dispatch import checked, contract, on_arrays, whole
from jaxfne_xr.core.errors import DimensionError, raise_problems, renaming, warn
from jaxfne_xr.core.inputs import as_dataset, groups_of, require_site_dim, variable_of
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.schema import GEOMETRY, UNITS
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, Lengths
from jaxfne_xr.core.unit_checks import in_nA, kind_problems, unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of
from jaxfne_xr.geometry.origins import origins
from jaxfne_xr.geometry.positions import positions_of
from jaxfne_xr.geometry.sites import middles
from jaxfne_xr.kernels.fields import dipoles as kernels

from .membrane_currents import with_currents

XYZ = "xyz"
#: Names of the dim of dipoles, in order of preference, in a Dataset without positions of dipoles.
DIPOLES = ("unit", "recording", "population", "dipole")
#: Largest sum of the currents of a group, relative to the largest current, that rounding explains; by bytes per number.
ROUNDING = {4: 1e-2, 8: 1e-7}
#: Up to this many groups, one dense product is faster than a sum over the sites of each group.
FEW_GROUPS = 20


@public
def dipole_moment(
    ds: xr.Dataset | xr.DataArray, by: str | None = "unit", *, origin: str | Lengths | None = None
) -> xr.Dataset:
    r"""Compute the current dipole moment of each cell, or of each group of sites.

    .. math:: p = \sum_i I_i (r_i - r_o)

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With ``i_membrane`` (nA, outward positive) from `transmembrane_currents`, or the voltages that it needs, or a
        ``source`` in nA; on sites with positions ``x``, ``y``, ``z``, or ends ``x_start`` ... ``z_end``.
    by : str or None
        The coordinate along the sites with the group of each, ``"unit"`` or ``"population"``; None for one dipole of
        all sites.
    origin : str or (3,), optional
        The reference point r_o of each moment, which is also the position of its dipole. By default the mean position
        of the group's sites; or the name of a boolean coordinate (``"soma"``), for the mean of the sites where it is
        true; or one point for all groups, um.

    Returns
    -------
    xr.Dataset
        ``dipole_moment`` (time, xyz[, group]), nA*um, with the position of each dipole in ``x``, ``y``, ``z`` and the
        labels that all sites of a group share. Its scope is that of a current: amplitudes are those of fields, which
        need a conductor. `amplitude_status` of its fields is 0 if the moment depends on the origin.

    Raises
    ------
    VariableError
        If there is neither a current nor conductances to compute it from voltages; or no such group.
    DimensionError, ArgumentError, UnitError
        If positions are missing, or the origin cannot be used.

    Warns
    -----
    UserWarning
        If the currents of a group do not sum to zero (a stimulus is included, gap junctions lead to other cells, or a
        part of a cell is missing): then the moment depends on the origin. Not checked for dask or under a JAX trace.

    Notes
    -----
    Linear in currents and positions, and differentiable with respect to both. The choice of origin is in
    ``attrs["origin"]``.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> i = xr.Dataset({"i_membrane": (("time", "recording"), [[-1.0, 1.0]], {"units": "nA"})})
    >>> i = i.assign_coords({a: ("recording", [0.0, 0.0], {"units": "um"}) for a in "xy"})
    >>> i = i.assign_coords(z=("recording", [0.0, 300.0], {"units": "um"}))
    >>> made = dipole_moment(i, by=None)
    >>> made.dipole_moment.values, float(made.z)
    (array([[  0.,   0., 300.]]), 150.0)
    """
    ds = as_dataset(ds, "ds")
    ds, name = with_currents(ds)
    variable = checked(in_nA(ds.variables[name]), name)
    dim = require_site_dim(variable, name)
    place = middles(ds, dim)
    labels, group = groups_of(ds, dim, by) if by else (["all"], np.zeros(ds.sizes[dim], int))
    n = len(labels)
    about, text = origins(ds, dim, place, group, n, origin)
    relative = place - about[group]

    # A fourth column of ones sums the currents in the same pass: the moment depends on the origin unless they sum to 0.
    columns = on_arrays(_with_ones, relative)
    data = _moments(variable, dim, columns, group, n, by or "group")
    total = data.isel({XYZ: 3})
    data = data.isel({XYZ: slice(3)})
    closed = _closure(variable, total, by or "group", labels, about, text)
    if by is None:
        data = data.isel(group=0)
    coords: dict[Hashable, Any] = _shared(ds, dim, group, n, by) if by else {}
    coords.update(_places(about, by))
    coords[XYZ] = (XYZ, list(XYZ))
    if by:
        coords[by] = (by, labels)
    parameters: dict[str, Any] = {"by": by, "origin": text, "groups": n}
    if closed is not None:
        parameters |= closed
    return finish(
        ds,
        "dipole_moment",
        data,
        UNITS["dipole_moment"],
        parameters,
        coords=coords,
        stage="source",
        attrs={"origin": text},
    )


def _with_ones(relative: Array) -> Array:
    return jnp.pad(relative, ((0, 0), (0, 1)), constant_values=1)


def _moments(
    variable: xr.Variable, dim: str, columns: Array, group: np.ndarray, n: int, by: str
) -> xr.Variable:
    """Return the moments of each group about its origin, and the sums of its currents: (time, ..., xyz + 1, group)."""
    if n <= FEW_GROUPS:
        member = (np.arange(n)[:, None] == group).astype(float)
        matrix = on_arrays(_dense, columns, member)
        made = contract(matrix, variable, dim, "moment").unstack(moment={XYZ: 4, by: n})
    else:
        made = whole(_by_group, variable, dim, columns, group, new_dim="moment", n_groups=n)  # type: ignore[arg-type]
        made = made.unstack(moment={by: n, XYZ: 4})
    order = sorted((d for d in variable.dims if d != dim), key=lambda d: d != TIME)
    return made.transpose(*order, XYZ, by)


def _dense(columns: Array, member: Array) -> Array:
    """Return the matrix (xyz * group, site) with the columns of each site in the rows of its group, 0 elsewhere."""
    return (columns.T[:, None] * member).reshape(-1, member.shape[1])


def _by_group(current: Array, columns: Array, group: Array, *, axis: int, n_groups: int) -> Array:
    made = kernels.dipole_moment(current, columns, axis=axis, group=group, n_groups=n_groups)
    shape = made.shape
    return made.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _closure(
    variable: xr.Variable,
    total: xr.Variable,
    by: str,
    labels: Sequence[Hashable],
    about: Array,
    text: str,
) -> dict[str, Any] | None:
    """Return whether the currents of every group sum to zero, and warn if not; None for dask or under a JAX trace."""
    data, sums = magnitude(variable.data), total.data
    if is_dask(data) or is_traced(sums) or not data.size:
        return None
    sums, data = np.abs(np.asarray(sums)), np.asarray(data)
    axes = tuple(i for i, d in enumerate(total.dims) if d != by)
    of_group = sums.max(axis=axes)
    worst = int(np.argmax(of_group))
    largest = float(of_group[worst])
    scale = float(max(data.max(), -data.min()))
    closed = largest <= ROUNDING.get(sums.dtype.itemsize, ROUNDING[4]) * scale
    if not closed:
        place = (
            "" if is_traced(about) else " ({:g}, {:g}, {:g}) um".format(*np.asarray(about)[worst])
        )
        warn(
            f"the currents of {by} {labels[worst]} sum to up to {largest / scale:.2g} of the largest current, not to "
            f"0, so its moment depends on the origin, {text}{place}. Without a stimulus or gap junctions, and with "
            "every compartment, they sum to 0; origin=... sets another point."
        )
    return {"closed": closed, "largest_current_sum_nA": largest}


def _places(about: Array, by: str | None) -> dict[str, xr.Variable]:
    """Return the coordinates x, y, z of the dipoles, along `by`; scalars if it is None."""
    dims, about = ((by,), about) if by else ((), about[0])
    return {a: xr.Variable(dims, about[..., i], {"units": "um"}) for i, a in enumerate(XYZ)}


def _shared(
    ds: xr.Dataset, dim: str, group: np.ndarray, n: int, by: str | None
) -> dict[Hashable, Any]:
    """Return the coordinates that have one value for all sites of each group."""
    first = np.array([int(np.argmax(group == g)) for g in range(n)])
    shared = {}
    for name, coord in ds.coords.items():
        # Only labels in NumPy are compared: others may be traced, or expensive to compute.
        if (
            coord.dims == (dim,)
            and name not in (dim, *GEOMETRY)
            and isinstance(values := magnitude(coord.variable._data), np.ndarray)
            and (values == values[first][group]).all()
        ):
            unit = units_of(coord)
            shared[name] = (by, values[first], {} if unit is None else {"units": unit})
    return shared


# ------------------------------------------------------------------------------------------ dipoles in space


def moment_of(dipoles: xr.Dataset) -> xr.Variable:
    """Return the moments of a Dataset as bare numbers, nA*um, with components in the order x, y, z.

    Raises
    ------
    VariableError, UnitError, DimensionError
        If there is no ``dipole_moment`` in nA*um on ``xyz``.
    """
    variable = variable_of(
        dipoles,
        "dipole_moment",
        "current dipole moments (nA*um), which a voltage or a proxy is not",
        "ds.jfne.transmembrane_currents().jfne.dipole_moment()",
    )
    raise_problems(
        unit_problem(variable, "dipole_moment", UNITS["dipole_moment"])
        + kind_problems(magnitude(variable.data), "dipole_moment")
    )
    if XYZ not in variable.dims or dipoles.sizes[XYZ] != 3:
        found = f"the dims {dict(zip(variable.dims, variable.shape, strict=True))}"
        raise DimensionError.of(
            "dipole_moment",
            found=found,
            expected='three components on "xyz"',
            remedy=renaming((d for d in variable.dims if d != TIME), XYZ, of="dipoles"),
        )
    variable = checked(variable, "dipole_moment")
    names = dipoles[XYZ].values.tolist()
    # [0, 1, 2] is what xarray gives a dim without labels: taken to be in order.
    if names not in (list(XYZ), [0, 1, 2]):
        if sorted(map(str, names)) != list(XYZ):
            remedy = 'ds.assign_coords(xyz=["x", "y", "z"])'
            raise DimensionError.of(
                XYZ, found=f"the labels {names}", expected="x, y and z", remedy=remedy
            )
        variable = variable.isel({XYZ: [names.index(a) for a in XYZ]})
    data = convert(magnitude(variable.data), str(units_of(variable)), UNITS["dipole_moment"])
    return xr.Variable(variable.dims, data)


def dipole_dim(dipoles: xr.Dataset) -> Hashable | None:
    """Return the dim of dipoles: that of their positions, else the first of `DIPOLES`; None for a single dipole.

    Raises
    ------
    DimensionError
        If positions lie along several dims, or along one that the moments do not have.
    """
    dims = dipoles["dipole_moment"].dims
    along = {dipoles.variables[a].dims for a in XYZ if a in dipoles.coords} - {()}
    found_dims = {d for place in along for d in place}
    if len(found_dims) > 1 or found_dims - set(dims) or found_dims & {TIME, XYZ}:
        found = f"positions along {sorted(map(str, found_dims))}, of moments along {dims}"
        expected = "one position for each dipole, along the dim of dipoles, or one for all"
        remedy = 'ds.assign_coords(x=("unit", x), y=("unit", y), z=("unit", z)), in um'
        raise DimensionError.of("x, y, z", found=found, expected=expected, remedy=remedy)
    return next(iter(found_dims), next((d for d in DIPOLES if d in dims), None))


def places_of(dipoles: xr.Dataset) -> Array:
    """Return the positions of dipoles as an array (dipole, xyz), um; JAX if a coordinate is JAX."""
    dim = dipole_dim(dipoles)
    n = 1 if dim is None else dipoles.sizes[dim]
    along = DIPOLES[-1] if dim is None else dim
    missing = [axis for axis in XYZ if axis not in dipoles.coords]
    if missing:
        asked = ", ".join(f'{axis}="0 mm"' for axis in missing)
        found = f"no {missing}, on a Dataset with the coordinates {list(map(str, dipoles.coords))}"
        expected = "the position of each dipole" + ("" if dim is None else f", along {dim!r}")
        remedy = f"jfx.move_to(dipoles, {asked})"
        raise DimensionError.of("x, y, z", found=found, expected=expected, remedy=remedy)
    coords = {}
    for axis in XYZ:
        place = dipoles.variables[axis]
        data = magnitude(place.data)
        if place.ndim == 0:
            data = jnp.full(n, data) if is_jax(data) else np.full(n, data)
        unit = units_of(place)
        coords[axis] = (along, data, {} if unit is None else {"units": unit})
    places = positions_of(xr.Dataset(coords=coords), along, XYZ)
    problem = None if is_traced(places) else nonfinite_problem(places, (along, XYZ), "x, y, z")
    if problem is not None:
        raise_problems([replace(problem, remedy='jfx.move_to(dipoles, x=0, y=0, z="75 mm")')])
    return places
