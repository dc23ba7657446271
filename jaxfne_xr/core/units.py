"""Unit strings, and the checked factor that converts data from one unit to another.

Inside the package: mV, nA, um, ms, S/m, Hz. A unit is a short string that pint can read (``"mA/cm^2"``). It becomes a
factor, a Python float, before any arithmetic, so no kernel gets a pint object. pint is imported when a unit has to be
parsed, pint-xarray when a quantity has to be made.
"""

from __future__ import annotations

import numbers
import sys
from functools import lru_cache
from typing import Any, TypeGuard, cast

import numpy as np
import xarray as xr

from .arrays import check_traced, is_jax, is_traced, precision_of
from .errors import ArgumentError, UnitError
from .numeric import as_floats, computable, real_numbers
from .types import Array, Quantity, Scalar, Scalars


def is_quantity(data: object) -> TypeGuard[Any]:
    """Whether `data` is a pint quantity (without importing pint)."""
    pint = sys.modules.get("pint")
    return pint is not None and isinstance(data, pint.Quantity)


def registry(*, for_arrays: bool = False) -> Any:
    """Return pint's application registry, in which users may have defined units.

    ``for_arrays`` also imports pint-xarray, which sets that registry up for arrays in xarray.
    """
    if for_arrays:
        import pint_xarray  # noqa: F401  (sets the application registry up)
    import pint

    return pint.get_application_registry()


@lru_cache(maxsize=512)
def _parse(unit: str) -> Any:
    """Parse a unit with pint."""
    try:
        return registry().Unit("" if unit == "1" else unit)
    except Exception as error:  # pint raises many types here, ValueError and TokenError among them
        raise UnitError.of(
            "units",
            found=f"{unit!r}, which pint cannot read ({type(error).__name__}: {error})",
            expected='a unit such as "mV", "nA", "mA/cm^2", "um" or "1"',
            remedy='write powers with ^ and products with *: "mA/cm^2", "nA*um"',
        ) from error


@lru_cache(maxsize=512)
def factor(source: str, target: str) -> float:
    """Compute the number by which values in `source` are multiplied to be in `target`.

    Parameters
    ----------
    source, target : str
        Units that pint can read.

    Raises
    ------
    UnitError
        If either cannot be read, if their dimensions differ, or if one has an offset (``degC``).

    Examples
    --------
    >>> factor("V", "mV")
    1000.0
    """
    if source == target:
        return 1.0
    ureg = registry()
    src, dst = _parse(source), _parse(target)
    if src == dst:
        return 1.0
    if not src.is_compatible_with(dst):
        raise UnitError.of(
            "units",
            found=f"{source!r} ({src.dimensionality})",
            expected=f"a unit that converts to {target!r} ({dst.dimensionality})",
            remedy=f"give the values in {target} or a multiple of it, and correct the unit",
        )
    # an offset, as of degC, would make the conversion more than a product
    zero, one = (float(ureg.Quantity(x, src).to(dst).magnitude) for x in (0.0, 1.0))
    if zero != 0.0:
        raise UnitError.of(
            "units",
            found=f"{source!r}, whose zero is not the zero of {target!r}",
            expected=f"a unit that is a multiple of {target!r}",
            remedy="convert the values before you pass them",
        )
    return float(f"{one:.15g}")  # pint's uA to nA is 999.9999999999999


def readable(unit: str) -> str:
    """Return `unit` if pint can read it; raise UnitError otherwise."""
    _parse(unit)
    return unit


@lru_cache(maxsize=512)
def same_dimension(unit: str, target: str) -> bool:
    """Whether values in `unit` can be converted to `target`; False if it cannot be read."""
    try:
        factor(unit, target)
    except UnitError:
        return False
    return True


def text_of(unit: Any) -> str:
    """Write a pint unit as a short string that pint can read: ``"mA/cm^2"``, ``"um"``, ``"1"``."""
    return _text(id(unit._REGISTRY), unit)


@lru_cache(maxsize=512)
def _text(registry_id: int, unit: Any) -> str:
    # Units of two registries have equal hashes but cannot be compared: `registry_id` keeps them apart in the cache.
    text = f"{unit:~C}".replace("**", "^").replace("Δ", "delta_")
    # the micro sign, and the Greek mu that pint writes since 0.26
    text = text.replace("\u00b5", "u").replace("\u03bc", "u")
    return text or "1"


@lru_cache(maxsize=512)
def pretty(unit: str) -> str:
    """Write a unit as in print, for the label of an axis; unchanged if pint cannot read it.

    Examples
    --------
    >>> pretty("uA/mm^3"), pretty("1")
    ('µA/mm³', '')
    """
    try:
        return f"{_parse(unit):~P}".replace("\u03bc", "\u00b5")  # Greek mu, since pint 0.26
    except UnitError:
        return unit


def units_of(variable: xr.Variable | xr.DataArray) -> str | None:
    """Return the unit of a variable as a string: from its quantity, else from ``attrs["units"]``."""
    bare = variable.variable if isinstance(variable, xr.DataArray) else variable
    data: Any = bare._data
    if is_quantity(data):
        return text_of(data.units)
    unit = variable.attrs.get("units")
    return None if unit is None else str(unit)


def product(*units: str) -> str:
    """Return the unit of a product: ``product("mV", "mV", "1/Hz")`` is ``"mV^2/Hz"``."""
    made = _parse("1")
    for unit in units:
        made = made * _parse(unit)
    return text_of(made)


def magnitude(data: Array, name: str = "data") -> Array:
    """Return bare data, of a quantity or not, in a type that kernels compute with: see `computable`."""
    return computable(bare(data), name)


def bare(data: Array) -> Array:
    """Return the array in a quantity, of the type that it is stored in; anything else as it is."""
    return data.magnitude if is_quantity(data) else data


def convert(data: Array, source: str, target: str) -> Array:
    """Convert bare `data` from unit `source` to `target`, in its precision; the same object if the units are equal."""
    scale = factor(source, target)
    if scale == 1.0:
        return data
    if is_jax(data):
        with precision_of(data):
            return data * scale
    return data * scale


def quantity(data: Array, unit: str) -> Quantity:
    """Make a pint quantity of NumPy or dask `data`."""
    return registry(for_arrays=True).Quantity(data, _parse(unit))


def example(unit: str) -> str:
    """Return a number of a typical size in `unit`, for a remedy: ``"0.3 S/m"``."""
    usual = {"S/m": "0.3", "um": "50", "deg": "30", "ohm*cm": "100"}
    return f"{usual.get(unit, '0.1')} {unit}" if unit != "1" else "0.5"


def scalar(value: Scalar, unit: str, name: str) -> float:
    """Convert a number, a string with a unit, or a pint quantity to one number in `unit`.

    Parameters
    ----------
    value : float, str or pint.Quantity
        A bare number is taken to be in `unit`.
    unit : str
        The unit of the result.
    name : str
        The argument's name, for the error.

    Examples
    --------
    >>> scalar("25 us", "ms", "dt_ms")
    0.025
    """

    def refuse(found: str) -> UnitError:
        return UnitError.of(
            name,
            found=found,
            expected=f"one number in {unit}, or a string or pint quantity that converts to it",
            remedy=f'{name}={example(unit).split()[0]} (read as {unit}) or {name}="{example(unit)}"',
        )

    given = value
    if isinstance(value, str):
        if not any(map(str.isdigit, value)):  # pint reads "ms" as 1 ms
            raise refuse(f"{given!r}, which is not a number")
        try:
            value = registry().Quantity(value)
        except Exception as error:
            raise refuse(f"{given!r}, which pint cannot read") from error
    if is_quantity(value):
        try:
            value = value.magnitude * factor(text_of(value.units), unit)
        except UnitError as error:
            raise refuse(f"{str(given)!r}, which is not convertible to {unit}") from error
    if isinstance(value, (np.ndarray, np.generic)) and np.ndim(value) == 0:
        value = value.item()
    # True is a number in Python, but hardly meant as one
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise refuse(f"{given!r} ({type(given).__name__})")
    return float(value)


def positive(value: Scalar, unit: str, name: str) -> Any:
    """Convert to one positive, finite number in `unit`, as `scalar` does; a JAX scalar is returned as it is.

    Examples
    --------
    >>> positive("3 mS/cm", "S/m", "conductivity")
    0.3
    """
    number: Any = value if is_jax(value) else scalar(value, unit, name)
    if is_traced(number):
        check_traced(name, lambda: (number > 0) * (number < np.inf), "a positive, finite number")
    if not is_traced(number) and not 0 < float(number) < float("inf"):
        raise ArgumentError.of(
            name,
            found=f"{float(number):g} {unit}",
            expected="a positive, finite number",
            remedy=f'{name}={example(unit).split()[0]} (read as {unit}) or {name}="{example(unit)}"',
        )
    return number


def values_in(value: Scalars | xr.DataArray, unit: str, name: str) -> Array:
    """Convert one or several numbers to a float64 array in `unit`; JAX arrays are taken to be in `unit`.

    Parameters
    ----------
    value : float, str, pint.Quantity, xr.DataArray, array, or a sequence of numbers and strings
        Bare numbers are taken to be in `unit`.
    unit : str
        The unit of the result.
    name : str
        The argument's name, for the error.

    Examples
    --------
    >>> values_in(["0.1 mm", 200], "um", "radius")
    array([100., 200.])
    """
    if isinstance(value, xr.DataArray):
        given = units_of(value)
        value = magnitude(value.variable.data)
        value = value if given is None else convert(np.asarray(value, float), given, unit)
    if is_jax(value):
        return as_floats(computable(value, name))
    if is_quantity(value) and np.ndim(value.magnitude):
        numbers = real_numbers(value.magnitude, name, f"{name}=(1.0, 2.0)")
        return convert(numbers, text_of(value.units), unit)
    if isinstance(value, (list, tuple)):
        return np.array([values_in(v, unit, name) for v in value], dtype=float)
    if isinstance(value, np.ndarray) and value.ndim:
        return real_numbers(value, name, f"{name}=(1.0, 2.0)")
    return np.asarray(scalar(cast(Scalar, value), unit, name))
