"""Check the units and the types of variables, and convert them."""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from .arrays import is_dask
from .errors import (
    Problem,
    UnitError,
    raise_problems,
)
from .numeric import (
    is_real_type,
    kind_problem,
)
from .results import with_unit
from .schema import (
    DENSITY,
    LONG_NAMES,
    UNITS,
)
from .types import Array
from .units import (
    convert,
    factor,
    is_quantity,
    magnitude,
    readable,
    same_dimension,
    unit_of,
    units_of,
)


def unit_problem(variable: xr.Variable, name: str, expected: str) -> list[Problem]:
    """Return the problem of a variable whose unit is missing or does not convert to `expected`."""
    unit = units_of(variable)
    mixed = mixed_problem(variable, name)
    if mixed:
        return mixed
    unread = [] if unit is None else _unreadable(unit, name, expected)
    if unread:
        return [replace(p, expected=f"{expected}, or a unit that converts to it") for p in unread]
    if unit is not None and expected == "nA" and same_dimension(unit, DENSITY):
        return [_density_problem(variable, name, unit)]
    if unit is None:
        found, remedy = (
            "no unit",
            f'ds["{name}"].attrs["units"] = "{expected}", if that is what it is in',
        )
        if is_dask(variable._data) and is_quantity(getattr(variable._data, "_meta", None)):
            found = "a dask array of quantities, as .chunk() makes it of quantified data"
            remedy = 'units to attrs first: quantified.pint.dequantify(format="~P").chunk()'
    else:
        try:
            factor(unit, expected)
            return []
        except UnitError as error:
            found, remedy = error.problems[0].found, error.problems[0].remedy
    return [
        Problem(
            where=name,
            found=found,
            expected=f"{expected}, or a unit that converts to it",
            remedy=remedy,
            error=UnitError,
        )
    ]


def unit_in(variable: xr.Variable, name: str, example: str = "mV") -> str:
    """Return the unit of a variable that may be in any; of counts and booleans without one, 1.

    Raises
    ------
    UnitError
        If it has none, one that pint cannot read, or two.
    """
    unit = units_of(variable)
    if unit is None and variable.dtype.kind in "biu":
        return "1"
    if unit is not None:
        raise_problems(mixed_problem(variable, name) or _unreadable(unit, name, example))
        return unit
    raise UnitError.of(
        name,
        found="no unit",
        expected="a unit, of which that of the result is made",
        remedy=f'ds["{name}"].attrs["units"] = "{example}", or whatever it is in; "1" for a pure number',
    )


def _unreadable(unit: str, name: str, example: str) -> list[Problem]:
    """Return the problem of a variable whose unit pint cannot read."""
    try:
        readable(unit)
    except UnitError as error:
        remedy = f'ds["{name}"].attrs["units"] = "{example}", or whatever it is in'
        return [replace(p, where=name, remedy=remedy) for p in error.problems]
    return []


def mixed_problem(variable: xr.Variable, name: str) -> list[Problem]:
    """Return the problem of a quantity that has another unit in attrs: a product of a quantity and plain numbers."""
    said = variable.attrs.get("units")
    if said is None or not is_quantity(variable._data):
        return []
    unit = unit_of(variable._data)
    if said == unit or (same_dimension(str(said), unit) and factor(str(said), unit) == 1.0):
        return []
    return [
        Problem(
            where=name,
            found=f"a quantity in {unit!r} with {str(said)!r} in attrs, as of a quantity times plain numbers",
            expected="one unit, in the quantity or in attrs",
            remedy='multiply by a quantity: ds["diameter"].jfne.quantify()',
            error=UnitError,
        )
    ]


def _density_problem(variable: xr.Variable, name: str, unit: str) -> Problem:
    """Return the problem of a current per area, such as `i_membrane` of NEURON's ``extracellular``."""
    # the package makes no quantity of a density, but a user may: see `results.with_unit`
    quantified = is_quantity(variable._data)
    product = _product_with_area(name, unit, ".pint.dequantify()" if quantified else "")
    return Problem(
        where=name,
        found=f"{unit!r}, a current per area of membrane",
        expected="nA, or a unit that converts to it: the density times membrane_area, which from_jaxley, from_lfpy and "
        "with_morphology attach",
        remedy=f'ds = ds.assign({{"{name}": {product}}})',
        error=UnitError,
    )


def _product_with_area(name: str, unit: str, bare: str = "") -> str:
    """Return the code of a density times the area; xarray drops the unit of a product of units in attrs."""
    number = f"{factor(f'({unit})*um^2', 'nA'):g}"
    return f'(ds["{name}"]{bare} * ds["membrane_area"] * {number}).assign_attrs(units="nA")'


def kept_unit(name: str, unit: str) -> str:
    """Return the unit that a variable given in `unit` is converted to: that of its name, mV for other voltages.

    Any other variable keeps `unit`.
    """
    if UNITS.get(name) == "nA" and same_dimension(unit, DENSITY):
        raise UnitError.of(
            "units",
            found=f"{unit!r}, a current per area of membrane",
            expected=f"nA for {name}, or a unit that converts to it: the density times membrane_area",
            remedy=f'name="density", and with the membrane area of each site, as ds.jfne.with_morphology(morphology) '
            f'has it, ds.assign({{"{name}": {_product_with_area("density", unit)}}})',
        )
    if name not in UNITS:
        return "mV" if same_dimension(unit, "mV") else readable(unit)
    raise_problems(unit_problem(xr.Variable((), 0.0, {"units": readable(unit)}), name, UNITS[name]))
    return UNITS[name]


def kind_problems(data: Array, name: str) -> list[Problem]:
    """Return the problem of data that are not real numbers."""
    return [] if is_real_type(data.dtype) else [kind_problem(data.dtype, name)]


def in_unit(variable: xr.Variable, name: str, unit: str) -> xr.Variable:
    """Convert the variable `name` to `unit`; the same object if it is in `unit` already."""
    raise_problems(kind_problems(variable, name) + mixed_problem(variable, name))
    if units_of(variable) == unit:
        return variable
    raise_problems(unit_problem(variable, name, unit))
    return converted(variable, unit, LONG_NAMES[name])


def converted(variable: xr.Variable, unit: str, long_name: str) -> xr.Variable:
    """Convert a variable to `unit`, quantified if it was; the values are shared if they need no conversion."""
    data = convert(magnitude(variable.data), str(units_of(variable)), unit)
    return like(variable, data, unit, long_name)


def like(variable: xr.Variable, data: Array, unit: str, long_name: str) -> xr.Variable:
    """Return other data with the dims of a variable and a unit, as a quantity if the variable is one."""
    made, quantify = xr.Variable(variable.dims, data), is_quantity(variable._data)
    return with_unit(made, unit, quantify=quantify, attrs={"long_name": long_name})


def in_nA(variable: xr.Variable) -> xr.Variable:
    """Convert a current to nA; the result is bare."""
    return xr.Variable(
        variable.dims, convert(magnitude(variable.data), str(units_of(variable)), "nA")
    )
