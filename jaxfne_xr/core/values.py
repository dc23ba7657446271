"""Read numbers with units: what an argument of a public function may hold, as bare numbers in one unit."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import xarray as xr

from .arrays import check_traced, is_jax, is_traced
from .errors import ArgumentError, UnitError
from .numeric import as_floats, computable, real_numbers
from .registries import application, standard, unsafe
from .types import Array, ArrayLike, Scalar, Scalars
from .units import convert, factor, is_quantity, magnitude, unit_of, units_of

#: The smallest positive number that may divide, and the largest of any: those that single precision holds. Beyond
#: them, results would be infinite or NaN.
SMALLEST, LARGEST = (float(x) for x in (np.finfo("f4").tiny, np.finfo("f4").max))
#: The most dims of an array, and so the depth to which nested lists are read.
_DEPTH = 64


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
    value = _shown(value)
    if isinstance(value, str):
        if not any(map(str.isdigit, value)):  # pint reads "ms" as 1 ms
            raise refuse(f"{given!r}, which is not a number")
        value = _read(value, refuse)
    if is_quantity(value):
        try:
            value = _shown(magnitude(value)) * factor(unit_of(value), unit)
        except UnitError as error:
            raise refuse(f"{str(given)!r}, which is not convertible to {unit}") from error
        if is_jax(value) and not is_traced(value):
            value = np.asarray(value)
    if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        # as integers, NumPy's times would lose their unit
        value = cast(Any, None if value.dtype.kind in "mM" else value.item())
    # True is a number in Python, but hardly meant as one
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise refuse(f"{given!r} ({type(given).__name__})")
    return float(value)


def _shown(value: Any) -> Any:
    """Return the decimal number that one of less than 64 bits shows, 0.1 for float32(0.1); anything else as it is."""
    if getattr(value, "shape", None) != () or is_quantity(value) or is_traced(value):
        return value
    if not is_jax(value) and not isinstance(value, (np.ndarray, np.generic)):
        return value
    few = np.issubdtype(value.dtype, np.floating) and value.dtype.itemsize < 8
    return float(str(np.asarray(value)[()])) if few else value


def _read(text: str, refuse: Callable[[str], UnitError]) -> Any:
    """Return the quantity that a text says, read in the standard registry, else in the application's."""
    known = _quantity_in_standard(text)
    if known is not None:
        return known
    reason = unsafe(text)
    if reason is not None:
        raise refuse(f"{text[:60]!r}, which pint cannot read ({reason})")
    try:
        made = application().Quantity(text)
        return float(made.magnitude) * made.units
    except Exception as error:  # pint raises many types here
        raise refuse(f"{text!r}, which pint cannot read") from error


@lru_cache(maxsize=512)
def _quantity_in_standard(text: str) -> Any:
    """Return the quantity that a text says in the standard registry; None if it says nothing there."""
    if unsafe(text) is not None:
        return None
    try:
        return standard().Quantity(text)
    except Exception:  # as above
        return None


def number(value: Scalar, unit: str, name: str) -> Any:
    """Convert to one number in `unit`, as `scalar` does; a JAX scalar is kept, so that it can be differentiated."""
    if is_quantity(value) and is_jax(magnitude(value)):
        return convert(magnitude(value), unit_of(value), unit)
    return value if is_jax(value) else scalar(value, unit, name)


def positive(value: Scalar, unit: str, name: str) -> Any:
    """Convert to one positive, finite number in `unit`, as `scalar` does; a JAX scalar is returned as it is.

    Examples
    --------
    >>> positive("3 mS/cm", "S/m", "conductivity")
    0.3
    """
    one = number(value, unit, name)
    if is_traced(one):
        check_traced(name, lambda: (one > 0) * (one < np.inf), "a positive, finite number")
    if not is_traced(one) and not SMALLEST <= float(one) <= LARGEST:
        raise ArgumentError.of(
            name,
            found=f"{float(one):g} {unit}",
            expected="a positive, finite number",
            remedy=f'{name}={example(unit).split()[0]} (read as {unit}) or {name}="{example(unit)}"',
        )
    return one


def carries_unit(value: object) -> bool:
    """Whether a value, or one in a list or an array of objects, has a unit of its own, or is a text with a number."""
    if isinstance(value, str):
        return any(map(str.isdigit, value))
    if isinstance(value, (xr.DataArray, xr.Variable)):
        return True
    if isinstance(value, (list, tuple)):
        # lists may be long: of numbers alone, their types tell
        return not all(map(_is_bare_type, _types_in(value))) and any(map(carries_unit, value))
    if type(value) is np.ndarray and value.dtype == object:
        return carries_unit(value.ravel().tolist())
    return is_quantity(value)


def _types_in(values: Sequence[Any]) -> set[type]:
    """Return the types of what nested lists and tuples hold; also those of the lists, if these are too deep to read."""
    found: set[type] = set()
    for _ in range(_DEPTH):
        types = set(map(type, values))
        nested = {kind for kind in types if issubclass(kind, (list, tuple))}
        found |= types - nested
        if not nested:
            return found
        lists = values if nested == types else [v for v in values if type(v) in nested]
        values = list(chain.from_iterable(lists))
    return found | nested


def _is_bare_type(kind: type) -> bool:
    """Whether a type is one of numbers or booleans, of Python or NumPy, which have no unit."""
    return kind in (float, int, bool, complex) or issubclass(kind, (np.number, np.bool_))


def _is_real_type(kind: type) -> bool:
    """Whether a type is one of real numbers of Python or NumPy."""
    # NumPy counts times among the integers
    real = issubclass(kind, (np.floating, np.integer)) and not issubclass(kind, np.timedelta64)
    return kind in (float, int) or real


def values_in(
    value: Scalars | xr.DataArray, unit: str, name: str, *, given: str | None = None
) -> Array:
    """Convert one or several numbers to a float64 array in `unit`; a JAX array stays one.

    Parameters
    ----------
    value : float, str, quantity, xr.DataArray, array, or a sequence of these
        Numbers with a unit are converted.
    unit : str
        The unit of the result.
    name : str
        The argument's name, for the error.
    given : str, optional
        The unit of bare numbers; by default `unit`.

    Examples
    --------
    >>> values_in(["0.1 mm", 200], "um", "radius")
    array([100., 200.])
    """
    given = given or unit
    if isinstance(value, (xr.DataArray, xr.Variable)):
        variable = value.variable if isinstance(value, xr.DataArray) else value
        return convert(_floats(magnitude(variable.data), name), units_of(variable) or given, unit)
    if is_quantity(value) and np.ndim(magnitude(value)):
        try:
            return convert(_floats(magnitude(value), name), unit_of(value), unit)
        except UnitError as error:
            (problem,) = error.problems
            raise UnitError(replace(problem, where=name)) from error
    if is_jax(value):
        return convert(_floats(value, name), given, unit)
    if is_quantity(value):
        one = number(value, unit, name)
        return one if is_jax(one) else np.asarray(one)
    if type(value) is np.ndarray and value.dtype == object and value.ndim:
        value = cast(Any, value.tolist())
    if isinstance(value, (list, tuple)):
        if all(map(_is_real_type, _types_in(value))):
            return convert(np.array(value, dtype=float), given, unit)
        several = [values_in(v, unit, name, given=given) for v in value]
        return jnp.stack(several) if any(map(is_jax, several)) else np.array(several, dtype=float)
    if isinstance(value, np.ndarray) and value.ndim:
        return convert(_floats(value, name), given, unit)
    return np.asarray(scalar(cast(Scalar, value), given, name) * factor(given, unit))


def texts(numbers: Any, unit: str) -> Any:
    """Return a number, or nested lists of them, as texts with a unit: ``["0.1 mm", "0.2 mm"]``."""
    if isinstance(numbers, list):
        return [texts(x, unit) for x in numbers]
    return f"{numbers!r} {'' if unit == '1' else unit}".strip()


def array_in(value: ArrayLike, unit: str, name: str) -> ArrayLike:
    """Return a list with quantities in it as one array in `unit`; anything else as it is."""
    # types of pandas are not NumPy's
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    nested = isinstance(value, (list, tuple)) or kind == "O"
    return values_in(value, unit, name) if nested and carries_unit(value) else value


def parts(value: Any, unit: str, name: str) -> Any:
    """Return a quantity of several numbers as a list of these in `unit`; anything else as it is.

    The elements of a quantity do not carry its unit in every library.
    """
    if is_quantity(value) and np.ndim(magnitude(value)):
        values = values_in(value, unit, name)
        return list(values) if is_traced(values) else np.asarray(values).tolist()
    return value


def plain(value: ArrayLike, name: str) -> Array:
    """Return an array that has no unit, such as numbers of segments or weights: NumPy, or JAX as it is.

    Raises
    ------
    UnitError
        If it is a quantity that is not a pure number.
    """
    if carries_unit(value):
        return values_in(value, "1", name)
    return value if is_jax(value) else np.asarray(value)


def direction(value: Scalars | xr.DataArray, name: str) -> Array:
    """Return a direction, of which only the ratios count: its numbers may be lengths, or have no unit."""
    try:
        return values_in(value, "um", name)
    except UnitError:
        return values_in(value, "1", name)


def _floats(data: Array, name: str) -> Array:
    """Return real numbers as float64; JAX arrays keep their type."""
    if is_jax(data):
        return as_floats(computable(data, name))
    return real_numbers(data, name, f"{name}=(1.0, 2.0)")
