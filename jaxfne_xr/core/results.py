"""Make the result of a stage from bare variables: add units, labels, scope and provenance.

`assemble` makes a Dataset of arrays that come from outside; `finish` and `finish_several` make one of new quantities
computed from a Dataset. A function that returns its input with something added or moved returns with
`jaxfne_xr.core.provenance.extend` instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import provenance
from .arrays import is_dask, is_jax, is_traced
from .blocks import owned
from .errors import DataError, DimensionError
from .schema import DENSITY, GEOMETRY, LONG_NAMES
from .time_axis import TIME, coords_along, time_variable
from .types import Array, ArrayLike
from .units import convert, is_quantity, magnitude, quantity, same_dimension, unit_of, units_of
from .values import values_in

#: A bare variable; its unit, None for booleans and for data that carry their own; and more attrs for it.
Made = tuple[xr.Variable, str | None] | tuple[xr.Variable, str | None, Mapping[str, Any]]


def assemble(
    variables: Mapping[str, tuple[xr.Variable, str | None]],
    time: np.ndarray | None,
    coords: Mapping[Any, Any] | None,
    *,
    quantify: bool,
    function: str,
    parameters: Mapping[str, Any],
    stage: str,
    origin: str,
) -> xr.Dataset:
    """Make a Dataset of variables with units, times in ms, coordinates and the first step of a provenance.

    Parameters
    ----------
    variables : mapping of str to (xr.Variable, str or None)
        Each variable, bare, and its unit.
    time : array (time) of float64
        Sample times, ms.
    coords : mapping or None
        As `xarray.Dataset` takes them.
    quantify : bool
        Whether the variables become pint quantities.
    function, parameters, stage, origin
        As for `jaxfne_xr.core.provenance.record`.
    """
    made = {}
    for name, (variable, unit) in variables.items():
        long_name = {"long_name": LONG_NAMES.get(name, name)}
        made[name] = with_unit(variable, unit, quantify=quantify, attrs=long_name)
    first = provenance.begin(function, parameters, stage=stage, origin=origin)
    labels = {name: in_attrs(name, given) for name, given in (coords or {}).items()}
    try:
        ds = xr.Dataset(made, labels, first)
    except (TypeError, ValueError) as error:  # xarray names the coordinate that does not fit
        raise DimensionError.of(
            "coords",
            found=f"what xarray cannot use as coordinates: {str(error).splitlines()[0]}",
            expected="values of the length of a dim, with its name",
            remedy='coords={"layer": ("unit", labels)}',
        ) from error
    if time is not None:
        ds = ds.assign_coords({TIME: time_variable(time)})
    return _with_geometry_units(ds)


def finish(
    ds: xr.Dataset,
    name: str,
    variable: xr.Variable,
    units: str | None,
    parameters: Mapping[str, Any] | None = None,
    *,
    coords: Mapping[Any, Any] | None = None,
    stage: str = "readout",
    attrs: Mapping[str, Any] | None = None,
    function: str | None = None,
    others: Sequence[xr.Dataset | xr.DataArray] = (),
) -> xr.Dataset:
    """Make a Dataset of a new quantity, with the labels of `ds`, unit, scope, and one more step of provenance.

    Parameters
    ----------
    ds : xr.Dataset
        The input. Its attrs that are not ours are not kept: they describe the input.
    name : str
        Name of the variable, and of the function that makes it.
    variable : xr.Variable
        Bare.
    units : str or None
        None for booleans, and for data that carry their own.
    parameters : mapping, optional
        For the provenance, JSON-safe.
    coords : mapping, optional
        More coordinates.
    stage : str
        What the result is.
    attrs : mapping, optional
        More attrs of the variable.
    function : str, optional
        The function, if its name is not that of the variable.
    others : sequence of xr.Dataset or xr.DataArray
        Further inputs: the scope is the weakest of all.
    """
    return finish_several(
        ds,
        function or name,
        {name: (variable, units, attrs or {})},
        parameters,
        coords=coords,
        stage=stage,
        others=others,
    )


def finish_several(
    ds: xr.Dataset,
    function: str,
    variables: Mapping[str, Made],
    parameters: Mapping[str, Any] | None = None,
    *,
    coords: Mapping[Any, Any] | None = None,
    along: Iterable[Hashable] | None = None,
    stage: str = "readout",
    others: Sequence[xr.Dataset | xr.DataArray] = (),
) -> xr.Dataset:
    """Make a Dataset of any number of new quantities, as `finish` does of one.

    Parameters
    ----------
    ds, parameters, coords, stage, others
        As for `finish`.
    function : str
        The public function that made them.
    variables : mapping of str to (xr.Variable, str or None[, mapping])
        Each variable, bare, its unit, and more attrs.
    along : iterable of str, optional
        The dims whose labels are taken from `ds`; by default all dims of the variables.
    """
    made = {}
    for name, (variable, units, *more) in variables.items():
        long_name = {"long_name": LONG_NAMES.get(name, name.replace("_", " "))}
        quantify = is_quantified(ds, variable.data)
        named = {**long_name, **(more[0] if more else {})}
        made[name] = with_unit(variable, units, quantify=quantify, attrs=named)
    dims = {d for v in made.values() for d in v.dims} if along is None else along
    labels = {**coords_along(ds, dims), **(coords or {})}
    new = xr.Dataset(made, labels)  # without the attrs of `ds`
    return provenance.extend(new, function, parameters or {}, stage=stage, of=ds, others=others)


def is_quantified(of: xr.Dataset | xr.Variable, data: Array | None = None) -> bool:
    """Whether results made from `of` become pint quantities: if any variable of it is one.

    `data` are the numbers of the result: it is never a quantity if they are JAX, which pint does not wrap.
    """
    if is_jax(data):
        return False
    if isinstance(of, xr.Variable):
        return is_quantity(of._data)
    return any(is_quantity(of.variables[name]._data) for name in of.data_vars)


def with_unit(
    variable: xr.Variable,
    unit: str | None,
    *,
    quantify: bool,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Variable:
    """Attach `unit` to a variable, as a quantity or in its attrs, and replace its other attrs by `attrs`.

    A current per area is never made a quantity: ``membrane_area`` is a coordinate and has its unit in attrs, since
    xarray and netCDF4 do not write coordinates that are quantities, and a quantity times plain numbers keeps its unit,
    so the product would still be a density. Of two variables with units in attrs the product has none.
    """
    if unit is None:
        return xr.Variable(variable.dims, variable.data, attrs)
    if quantify and not same_dimension(unit, DENSITY):
        data = owned_data(variable.data, True) if is_jax(variable.data) else variable.data
        return xr.Variable(variable.dims, quantity(data, unit), attrs)
    return xr.Variable(variable.dims, variable.data, {**(attrs or {}), "units": unit})


def owned_data(data: ArrayLike, quantify: bool) -> Array:
    """Return data that does not change when the user's array does: a copy, unless the data is immutable."""
    if is_dask(data) or (is_jax(data) and not quantify):
        return data
    if is_traced(data):
        raise DataError.of(
            "quantify",
            found="True for data that JAX traces",
            expected="units in attrs, since pint would lose the trace",
            remedy="quantify=False, or leave it out",
        )
    return owned(data) if isinstance(data, np.ndarray) else np.array(data, order="K")


def in_attrs(name: Hashable, given: Any) -> Any:
    """Return a coordinate as `xarray.Dataset` takes it, with its unit in attrs if it is a quantity.

    xarray makes plain numbers of lists of quantities, and of those that become an index.
    """
    dims, data, *attrs = given if isinstance(given, tuple) else (name, given)
    several = isinstance(data, (list, tuple)) and any(map(is_quantity, data))
    if not several and not is_quantity(data):
        return given
    unit = unit_of(next(filter(is_quantity, data)) if several else data)
    values = values_in(data, unit, str(name)) if several else magnitude(data)
    return (dims, values, {**(attrs[0] if attrs else {}), "units": unit})


def _with_geometry_units(ds: xr.Dataset) -> xr.Dataset:
    """Convert positions and diameters to um, and label those without a unit as um."""
    changed = {}
    for name in GEOMETRY:
        if name not in ds.coords or name in ds.dims:
            continue
        variable = ds[name].variable
        data = convert(magnitude(variable.data), units_of(variable) or "um", "um")
        changed[name] = xr.Variable(variable.dims, data, {**variable.attrs, "units": "um"})
    return ds.assign_coords(changed) if changed else ds
