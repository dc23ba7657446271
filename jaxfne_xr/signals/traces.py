"""Traces: label bare arrays with dims, a time axis and units; attach units as quantities; convert to JAX."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    JfneError,
    Problem,
    UnitError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.lost_units import noted
from jaxfne_xr.core.numeric import gathered, is_real_type, native
from jaxfne_xr.core.results import assemble, in_attrs, owned_data, with_unit
from jaxfne_xr.core.time_axis import (
    TIME,
    as_typed,
    check_dt,
    even_times,
    own_times,
    own_times_problems,
    time_from_dt,
    time_problem,
)
from jaxfne_xr.core.types import Array, ArrayLike, Dims, TimeStep, UnitText
from jaxfne_xr.core.unit_checks import kept_unit, kind_problems, unit_in
from jaxfne_xr.core.units import (
    bare,
    convert,
    is_pint,
    is_quantity,
    magnitude,
    unit_of,
    unit_text,
    units_of,
)
from jaxfne_xr.core.values import array_in, carries_unit, scalar, values_in

#: Shorthands for `dims`; recordings of Jaxley are ``"recording_by_time"``.
LAYOUTS = {
    "time_by_unit": ("time", "unit"),
    "unit_by_time": ("unit", "time"),
    "recording_by_time": ("recording", "time"),
}


#: A Dataset or a DataArray: the result has the type of the argument.
Data = TypeVar("Data", xr.Dataset, xr.DataArray)


@public
def traces(
    data: Array,
    dims: Dims | None = None,
    *,
    layout: str | None = None,
    dt_ms: TimeStep | None = None,
    time: ArrayLike | None = None,
    units: UnitText = "mV",
    name: str = "v",
    coords: Mapping[str, Any] | None = None,
    quantify: bool | None = None,
) -> xr.Dataset:
    """Label a bare array of traces: name its axes, give it a time axis and a unit.

    Parameters
    ----------
    data : array (dims)
        NumPy, JAX or dask array, or a quantity of pint or another library, which is converted; real and finite, in
        `units`. NumPy data are copied, so that later changes to them have no effect on the result. A signal of Neo
        brings its times.
    dims : sequence of str, optional
        The name of every axis, in order: ``time``, and usually ``unit`` (a neuron) or ``recording`` (a recorded site).
        Other names (``trial``, ``feature``) are broadcast over.
    layout : {"time_by_unit", "unit_by_time", "recording_by_time"}, optional
        A shorthand for `dims`: pass one of the two.
    dt_ms : float, str or pint.Quantity, optional
        Sampling interval, ms (or ``"25 us"``); the first sample is at 0.
    time : array (time), optional
        Sample times, ms, in even steps; instead of `dt_ms`, or in agreement with it: then rounded as that gives them,
        so that ``sel(time=0.3)`` finds a sample. Times with a unit are converted.
    units : str
        Unit of `data`. Voltages are converted to mV; anything else is kept as it is.
    name : str
        Name of the variable.
    coords : mapping, optional
        More coordinates, as for `xarray.Dataset`, except ``time``; they are copied. Positions (``x``, ``y``, ``z``)
        without a unit are read in um.
    quantify : bool, optional
        Whether the result carries its unit as a pint quantity (True) or in ``attrs["units"]`` (False). By default it
        does, except for dask data and under a JAX trace: xarray cannot compute a Dataset that holds dask arrays both
        bare and in quantities. pint cannot hold JAX arrays, so a quantified JAX array becomes NumPy. A density of
        current (mA/cm^2) always has its unit in attrs.

    Returns
    -------
    xr.Dataset
        The variable `name` on `dims`, ``time`` in float64 ms, ``unit`` numbered from 0 unless it is in `coords`, and
        the provenance.

    Raises
    ------
    DimensionError, UnitError, TimeAxisError, DataError, NonFiniteError, ArgumentError
        All problems at once. Values of dask data are checked when computed; there is no check under a JAX trace.

    Examples
    --------
    >>> import numpy as np
    >>> ds = traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> ds.sizes["unit"], float(ds.time[-1]), str(ds.v.pint.units)
    (3, 9.9, 'millivolt')
    """
    dims = _named_axes(dims, layout)
    signal, units = data, unit_text(units)
    raise_problems(own_times_problems(signal, "data") if isinstance(data, (list, tuple)) else [])
    data, units = _bare(array_in(data, units, "data"), units)
    problems = _axis_problems(np.ndim(data), dims) + kind_problems(data, name)
    # Collect the problems of all arguments, so that one error lists them.
    step = axis = None
    if name in {*dims, *(coords or {})}:
        problems.append(
            Problem(
                where="name",
                found=f"{name!r}, which is a dim or a coordinate too",
                expected="another name for the variable",
                remedy='name="v"',
                error=ArgumentError,
            )
        )
    if TIME in (coords or {}):
        problems += time_problem(
            "times among the coords", "them as the argument time", "traces(..., time=times)"
        ).problems
    try:
        step = None if dt_ms is None else check_dt(scalar(dt_ms, "ms", "dt_ms"))
    except JfneError as error:
        problems += error.problems
    try:
        unit = kept_unit(name, units)
    except UnitError as error:
        problems += error.problems
    if not problems:
        problems += own_times_problems(signal, "data", time=time, dt_ms=step, dims=dims)
    if not problems:
        try:
            time = own_times(signal) if time is None else time
            axis = _time_coordinate(time, step, data.shape[dims.index(TIME)])
        except JfneError as error:
            problems += error.problems
    raise_problems(problems)

    if quantify is None:
        quantify = not is_traced(data) and not is_dask(data)
    variable = checked(xr.Variable(dims, owned_data(data, quantify)), name)
    variable.data = convert(variable.data, units, unit)
    labels: dict[Hashable, Any] = {}
    if "unit" in dims:
        labels["unit"] = np.arange(data.shape[dims.index("unit")])
    # before the copy, which not every library makes of its unit too
    labels.update(copy.deepcopy({n: in_attrs(n, given) for n, given in (coords or {}).items()}))
    return assemble(
        {name: (variable, unit)},
        axis,
        labels,
        quantify=quantify,
        function="traces",
        parameters={
            "name": name,
            "units": units,
            "dims": list(dims),
            "dt_ms": float(axis[1] - axis[0]) if axis is not None and len(axis) > 1 else step,
            "precision": str(data.dtype),
        },
        stage="traces",
        origin="array",
    )


@public
def quantify(ds: Data) -> Data:
    """Convert variables to pint quantities, which replace the units in ``attrs["units"]``.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        NumPy- or dask-backed; JAX arrays become NumPy, since pint cannot hold them. Coordinates are not changed.

    Returns
    -------
    xr.Dataset or xr.DataArray
        Of the same type and values; variables without a unit are not changed.

    Raises
    ------
    UnitError
        If a unit cannot be read.
    DataError
        Under a JAX trace, which pint would lose.

    Examples
    --------
    >>> import numpy as np
    >>> plain = traces(np.zeros(3), ["time"], dt_ms=0.1, quantify=False)
    >>> quantify(plain).v.pint.units
    <Unit('millivolt')>
    """
    if isinstance(ds, xr.DataArray):
        return _of_array(quantify, ds)
    ds = as_dataset(ds, "ds")
    changed: dict[Hashable, xr.Variable] = {}
    units: dict[str, str] = {}
    for name, variable in ds.data_vars.items():
        unit = units_of(variable)
        data = variable.variable._data
        if unit is None or is_pint(data):
            continue
        rest = {key: value for key, value in variable.attrs.items() if key != "units"}
        unit = unit_in(variable.variable, str(name))
        bare = xr.Variable(variable.dims, magnitude(variable.variable.data))
        changed[name] = with_unit(bare, unit, quantify=True, attrs=rest)
        units[str(name)] = unit
    made = ds.assign(changed)
    made.attrs = noted(ds.attrs, units)
    return made


@public
def to_jax(ds: Data) -> Data:
    """Convert numeric variables to JAX arrays, with their units in ``attrs["units"]``.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        NumPy-backed, quantified or not. Coordinates stay NumPy.

    Returns
    -------
    xr.Dataset or xr.DataArray
        Of the same type and values, in the same precision.

    Raises
    ------
    DataError
        If a variable is dask (compute it first), or has 64 bits while JAX is set to 32: precision is never reduced
        silently.

    Examples
    --------
    >>> import numpy as np
    >>> ds = traces(np.zeros(3, np.float32), ["time"], dt_ms=0.1)
    >>> to_jax(ds).v.attrs["units"]
    'mV'
    """
    if isinstance(ds, xr.DataArray):
        return _of_array(to_jax, ds)
    ds = as_dataset(ds, "ds")
    changed, problems = {}, []
    for name, variable in ds.data_vars.items():
        data = native(bare(variable.variable.data), str(name))
        if is_jax(data) or not (is_real_type(data.dtype) or data.dtype == bool):
            continue
        problem = _jax_problem(str(name), data)
        if problem:
            problems.append(problem)
            continue
        unit = units_of(variable)
        attrs = {**variable.attrs, **({} if unit is None else {"units": unit})}
        changed[name] = xr.Variable(variable.dims, jnp.array(data), attrs)
    raise_problems(problems)
    return ds.assign(changed)


def _of_array(function: Callable[[xr.Dataset], xr.Dataset], array: xr.DataArray) -> xr.DataArray:
    """Apply a function of Datasets to a DataArray; its coordinates stay as they are."""
    if isinstance(array.variable, xr.IndexVariable):  # the coordinate of a dim is one itself
        return array
    # In a Dataset, a variable cannot have the name of one of its dims.
    name = "array" if array.name in (None, *array.dims) else array.name
    made = function(xr.Dataset({name: array.variable})).variables[name]
    changed = array.copy(deep=False, data=made.data)
    changed.attrs = made.attrs
    return changed


def _jax_problem(name: str, data: Array) -> Problem | None:
    if is_dask(data):
        return Problem(
            where=name,
            found="a dask array, not computed",
            expected="values in memory",
            remedy="ds.compute().jfne.to_jax()",
            error=DataError,
        )
    if data.dtype.itemsize == 8 and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return Problem(
            where=name,
            found=f"{data.dtype}, which JAX would cast to 32 bits",
            expected="64 bits enabled in JAX, or 32-bit data",
            remedy=f'jax.config.update("jax_enable_x64", True), or ds["{name}"].astype("float32")',
            error=DataError,
        )
    return None


def _named_axes(dims: Sequence[str] | None, layout: str | None) -> tuple[str, ...]:
    """Return the dims that `dims` or `layout` name."""
    if (dims is None) == (layout is None):
        raise DimensionError.of(
            "dims",
            found="both dims and layout" if dims is not None else "neither dims nor layout",
            expected="one of the two: an axis is never guessed",
            remedy='dims=("time", "unit"), or layout="time_by_unit"'
            if dims is None
            else "dims=None, or layout=None",
        )
    if layout is not None:
        if layout not in LAYOUTS:
            raise ArgumentError.of(
                "layout",
                found=repr(layout),
                expected=f"one of {list(LAYOUTS)}",
                remedy='layout="time_by_unit", or name any axes with dims',
            )
        return LAYOUTS[layout]
    return (dims,) if isinstance(dims, str) else tuple(cast(Sequence[str], dims))


def _axis_problems(ndim: int, dims: tuple[str, ...]) -> list[Problem]:
    """Return what is wrong with the names of the axes."""
    found = []
    if TIME not in dims:
        found.append((f"{dims}", 'an axis named "time"'))
    twice = sorted({d for d in dims if dims.count(d) > 1})
    if twice:
        found.append((f"{', '.join(map(repr, twice))} given twice in {dims}", "each name once"))
    if len(dims) != ndim:
        found.append((f"{len(dims)} names {dims} for {ndim} axes", "one name for each axis"))
    return [
        Problem(
            where="dims",
            found=what,
            expected=expected,
            remedy='name every axis in order, as in dims=("trial", "time", "unit")',
            error=DimensionError,
        )
        for what, expected in found
    ]


def _bare(data: ArrayLike, units: str) -> tuple[Array, str]:
    """Return the bare array and its unit."""
    if isinstance(data, (xr.Dataset, xr.DataArray, xr.Variable)):
        raise DataError.of(
            "data",
            found=f"an xarray {type(data).__name__}, which is labelled already",
            expected="a bare array",
            remedy="jfx.to_signals takes a DataArray; jfx.traces takes its data, and its dims as dims",
        )
    if is_quantity(data):
        data, units = bare(data), unit_of(data)
    # a masked array is refused before NumPy drops its mask; JAX cannot select from what is divided along explicit axes
    data = gathered(native(data))
    return (data if is_jax(data) or is_dask(data) else native(np.asarray(data))), units


def _time_coordinate(time: ArrayLike | None, dt_ms: float | None, length: int) -> np.ndarray:
    """Return sample times in ms."""
    if length == 0:
        raise time_problem("no samples", "at least one sample", "check the array that was passed")
    if time is None:
        if dt_ms is None:
            raise time_problem(
                "neither dt_ms nor time", "one of the two", 'dt_ms=0.025, or dt_ms="25 us"'
            )
        return time_from_dt(dt_ms, length)
    time = array_in(time, "ms", TIME)
    if not hasattr(time, "shape"):
        time = np.asarray(time)
    if time.shape != (length,):
        raise time_problem(
            f"times of shape {time.shape}",
            f"one for each of the {length} samples",
            f"time=0.1 * np.arange({length}), for steps of 0.1 ms",
        )
    if isinstance(time, xr.DataArray):
        variable = time.variable
    elif isinstance(time, xr.Variable):
        variable = time
    else:
        several = carries_unit(time) and not is_quantity(time)
        times = values_in(time, "ms", TIME) if several else native(bare(time), "time")
        unit = unit_of(time) if is_quantity(time) else "ms"
        variable = xr.Variable(
            (TIME,), times if is_jax(times) else np.asarray(times), {"units": unit}
        )
    times = even_times(variable, dt_ms)[0].copy()  # the user's own array may change later
    return as_typed(times, dt_ms)  # an interval that is given says which decimal numbers are meant
