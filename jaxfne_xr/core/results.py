"""Results: what every stage returns, made in one place from bare variables: units, labels, scope and provenance.

`assemble` makes a Dataset of arrays that come from outside; `finish` and `finish_several` make one of a new quantity
that was computed from a Dataset. What returns its input with something added or moved ends in
`jaxfne_xr.provenance.extend` instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from . import provenance
from .arrays import is_dask, is_jax, is_traced
from .blocks import owned
from .errors import DataError
from .schema import GEOMETRY, LONG_NAMES
from .time_axis import TIME, coords_along, time_variable
from .units import convert, is_quantity, magnitude, quantity, units_of

#: A variable, bare; its unit, None for truth values and for what carries its own; and more attrs of it.
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
    """Return a Dataset of variables with their units, times in ms, coordinates and the first step of a provenance.

    Parameters
    ----------
    variables : mapping of str to (xr.Variable, str or None)
        Each variable, bare, and its unit.
    time : array (time) of float64
        Sample times, ms.
    coords : mapping or None
        As `xarray.Dataset` takes them.
    quantify : bool
        Whether units go on as pint quantities.
    function, parameters, stage, origin
        As for `jaxfne_xr.provenance.record`.
    """
    made = {}
    for name, (variable, unit) in variables.items():
        long_name = {"long_name": LONG_NAMES.get(name, name)}
        made[name] = with_unit(variable, unit, quantify=quantify, attrs=long_name)
    first = provenance.begin(function, parameters, stage=stage, origin=origin)
    ds = xr.Dataset(made, dict(coords or {}), first)
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
    """Return a new quantity as a Dataset: labels of `ds` along its dims, unit, scope, and one more step of provenance.

    Parameters
    ----------
    ds : xr.Dataset
        What it was made from. Its attrs that are not ours are not kept: they describe what went in.
    name : str
        Of the variable, and of the function that makes it.
    variable : xr.Variable
        Bare.
    units : str or None
        None for truth values, and for data that carry their own.
    parameters : mapping, optional
        For the provenance, JSON-safe.
    coords : mapping, optional
        More labels.
    stage : str
        What the result is.
    attrs : mapping, optional
        More attrs of the variable.
    function : str, optional
        The function, where it is called otherwise.
    others : sequence of xr.Dataset or xr.DataArray
        What else it was made from: the scope is the weakest of all.
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
    """Return new quantities, or none, as a Dataset, as `finish` does for one.

    Parameters
    ----------
    ds, parameters, coords, stage, others
        As for `finish`.
    function : str
        The public function that made them.
    variables : mapping of str to (xr.Variable, str or None[, mapping])
        Each variable, bare, its unit, and more attrs.
    along : iterable of str, optional
        The dims whose labels are taken from `ds`; by default all those of the variables.
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


def is_quantified(of: xr.Dataset | xr.Variable, data: Any = None) -> bool:
    """Whether what is made from `of` carries its unit as a pint quantity: where any variable of it does.

    `data` are the numbers that were made: pint holds no JAX array, so that a JAX lead field of NumPy data gives JAX.
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
    """Return a variable that carries `unit`, as a quantity or in its attrs, and nothing else but `attrs`."""
    if unit is None:
        return xr.Variable(variable.dims, variable.data, attrs)
    if quantify:
        data = owned_data(variable.data, True) if is_jax(variable.data) else variable.data
        return xr.Variable(variable.dims, quantity(data, unit), attrs)
    return xr.Variable(variable.dims, variable.data, {**(attrs or {}), "units": unit})


def owned_data(data: Any, quantify: bool) -> Any:
    """Return data that nobody else can change."""
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


def _with_geometry_units(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with bare positions and diameters declared, and others converted, to um."""
    changed = {}
    for name in GEOMETRY:
        if name not in ds.coords or name in ds.dims:
            continue
        variable = ds[name].variable
        data = convert(magnitude(variable.data), units_of(variable) or "um", "um")
        changed[name] = xr.Variable(variable.dims, data, {**variable.attrs, "units": "um"})
    return ds.assign_coords(changed) if changed else ds
