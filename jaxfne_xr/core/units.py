"""Unit strings, and the checked factor that converts data from one unit to another.

Inside the package: mV, nA, um, ms, S/m, Hz. A unit is a short string that pint can read (``"mA/cm^2"``). It becomes a
factor, a Python float, before any arithmetic, so no kernel gets a pint object. pint is imported when a unit has to be
parsed, pint-xarray when a quantity has to be made.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, wraps
from itertools import chain
from typing import Any, TypeGuard, TypeVar, cast

import jax.numpy as jnp
import numpy as np
import xarray as xr

from . import foreign
from .arrays import check_traced, is_dask, is_jax, is_traced, precision_of
from .errors import ArgumentError, UnitError
from .numeric import as_floats, computable, real_numbers
from .registries import application, counterpart, for_quantities, has_offset, root, standard, unsafe
from .types import Array, ArrayLike, Quantity, Scalar, Scalars

R = TypeVar("R")

#: Why two units cannot be converted.
_DIMENSIONS, _OFFSET = "dimensions", "offset"
#: Names for units that a library gives in base units only.
_NAMED = ("V", "A", "m", "s", "S", "S/m", "ohm", "ohm*m", "F", "A/m^2", "A/m^3", "A*m", "V/A", "T")
#: The most dims of an array, and so the depth to which nested lists are read.
_DEPTH = 64


def is_pint(data: object) -> TypeGuard[Any]:
    """Whether `data` is a pint quantity, of any registry (without importing pint)."""
    if type(data) is np.ndarray:
        return False
    # another thread may be importing pint: then it has no Quantity yet, and `data` is none
    kind = getattr(sys.modules.get("pint"), "Quantity", None)
    return kind is not None and isinstance(data, kind)


#: The smallest positive number that may divide, and the largest of any: those that single precision holds. Beyond
#: them, results would be infinite or NaN.
SMALLEST, LARGEST = (float(x) for x in (np.finfo("f4").tiny, np.finfo("f4").max))


def is_quantity(data: object) -> TypeGuard[Any]:
    """Whether `data` is a quantity, of pint or of another library (without importing any)."""
    return type(data) is not np.ndarray and (is_pint(data) or foreign.is_foreign(data))


def parse(unit: str) -> Any:
    """Return the pint unit that a text names: in the standard registry, else in the application's."""
    if not isinstance(unit, str):
        unit = unit_text(unit)
    known = _standard(unit)
    if known is not None:
        return known
    try:
        return application().Unit(unit)
    except Exception as error:  # pint raises many types here, ValueError and TokenError among them
        raise _unreadable(unit, f"{type(error).__name__}: {error}") from error


def _kept_if_standard(function: Callable[..., R]) -> Callable[..., R]:
    """Cache what a function returns of units that the standard registry knows: the application's may be replaced."""
    kept = lru_cache(maxsize=512)(function)

    @wraps(function)
    def call(*given: Any) -> R:
        standard = all(_is_standard(unit) for unit in given if isinstance(unit, str))
        return (kept if standard else function)(*given)

    return call


def _is_standard(unit: str) -> bool:
    try:
        return _standard(unit) is not None
    except UnitError:  # unsafe in any registry
        return True


def _unreadable(unit: str, why: str) -> UnitError:
    shown = unit if len(unit) < 60 else f"{unit[:60]}..."
    return UnitError.of(
        "units",
        found=f"{shown!r}, which pint cannot read ({why})",
        expected='a unit such as "mV", "nA", "mA/cm^2", "um" or "1"',
        remedy='write powers with ^ and products with *: "mA/cm^2", "nA*um"',
    )


@lru_cache(maxsize=512)
def _standard(unit: str) -> Any:
    """Return the unit in the standard registry; None if it is not known there."""
    reason = unsafe(unit)
    if reason is not None:
        raise _unreadable(unit, reason)
    try:
        return standard().Unit("" if unit == "1" else unit)
    except Exception:  # as above
        return None


def unit_text(unit: Any) -> str:
    """Return a unit that was passed as text, or as an object of pint, as text.

    Raises
    ------
    UnitError
        If it is neither: the remedy writes a unit of another library as text.
    """
    if isinstance(unit, str):
        return unit
    kind = getattr(sys.modules.get("pint"), "Unit", None)
    if kind is not None and isinstance(unit, kind):
        return text_of(unit)
    name = getattr(getattr(unit, "dimensionality", None), "string", None) or str(unit)
    raise UnitError.of(
        "units",
        found=f"{unit!r} ({type(unit).__name__})"[:80],
        expected="a text, or a unit of pint",
        remedy=f'units="{name if _is_unit(name) else "mV"}"',
    )


def _is_unit(text: str) -> bool:
    try:
        readable(text)
    except UnitError:
        return False
    return True


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
    found = _compared(source, target)
    if isinstance(found, float):
        return found
    src, dst = parse(source), parse(target)
    if found == _DIMENSIONS:
        raise UnitError.of(
            "units",
            found=f"{source!r} ({src.dimensionality})",
            expected=f"a unit that converts to {target!r} ({dst.dimensionality})",
            remedy=f"give the values in {target} or a multiple of it, and correct the unit",
        )
    raise UnitError.of(
        "units",
        found=f"{source!r}, whose zero is not the zero of {target!r}",
        expected=f"a unit that is a multiple of {target!r}",
        remedy="convert the values before you pass them",
    )


def _compared(source: str, target: str) -> float | str:
    """Return the factor from one unit to another, or why there is none."""
    if source == target:
        return 1.0
    found = _in_standard(source, target)
    if found is not None:
        return found
    # a unit that only the application's registry knows, which may be another one tomorrow: not kept
    units = [parse(source), parse(target)]
    of = next(u for u in units if u._REGISTRY is not standard())._REGISTRY
    return _ratio(*(u if u._REGISTRY is of else counterpart(u, of) or u for u in units))


@lru_cache(maxsize=512)
def _in_standard(source: str, target: str) -> float | str | None:
    src, dst = _standard(source), _standard(target)
    return None if src is None or dst is None else _ratio(src, dst)


def _ratio(src: Any, dst: Any) -> float | str:
    if src._REGISTRY is dst._REGISTRY and src == dst:
        return 1.0
    if src.dimensionality != dst.dimensionality:
        return _DIMENSIONS
    # an offset, as of degC, would make the conversion more than a product
    if has_offset(src, dst):
        return _OFFSET
    # 15 digits: pint's uA to nA is 999.9999999999999
    return float(f"{root(src)[0] / root(dst)[0]:.15g}")


def readable(unit: str) -> str:
    """Return `unit` if pint can read it; raise UnitError otherwise."""
    parse(unit)
    return unit


def same_dimension(unit: str, target: str) -> bool:
    """Whether values in `unit` can be converted to `target`; False if it cannot be read."""
    try:
        return isinstance(_compared(unit, target), float)
    except UnitError:
        return False


def text_of(unit: Any) -> str:
    """Write a pint unit as a short string that pint can read: ``"mA/cm^2"``, ``"um"``, ``"1"``."""
    return _text(unit._REGISTRY, unit)


@lru_cache(maxsize=512)
def _text(registry: Any, unit: Any) -> str:
    # Units of two registries have equal hashes but cannot be compared: `registry` keeps them apart in the cache.
    if registry is not standard():
        unit = counterpart(unit, standard()) or unit
    text = f"{unit:~C}".replace("**", "^").replace("Δ", "delta_")
    # the micro sign, and the Greek mu that pint writes since 0.26
    text = text.replace("\u00b5", "u").replace("\u03bc", "u")
    return text or "1"


def unit_of(data: Any) -> str:
    """Return the unit of a quantity, of pint or of another library, in which `magnitude` has its numbers.

    Raises
    ------
    UnitError
        If it is of a library, or in a unit, that is not known here.
    """
    if is_pint(data):
        return text_of(data.units)
    return _of_foreign(*foreign.readings(data))[0]


def _of_foreign(text: str | None, base: tuple[str, float] | None) -> tuple[str, float]:
    """Return the unit in which another library's numbers are kept, and the factor to it."""
    return (str(text), 1.0) if base is None else _in_base(text, *base)


@_kept_if_standard
def _in_base(text: str | None, unit: str, number: float) -> tuple[str, float]:
    """Return a unit that is `number` times the base unit `unit`, by its name `text` if that means the same to pint."""
    # the same text may mean something else there
    found = None if text is None or not same_dimension(text, unit) else factor(text, unit)
    if found is not None and abs(found / number - 1) < 1e-9:
        return text_of(parse(str(text))), 1.0
    named = (n for n in _NAMED if _compared(unit, n) == 1.0)
    return next(named, text_of(parse(unit))), number


@_kept_if_standard
def pretty(unit: str) -> str:
    """Write a unit as in print, for the label of an axis; unchanged if pint cannot read it.

    Examples
    --------
    >>> pretty("uA/mm^3"), pretty("1")
    ('µA/mm³', '')
    """
    try:
        return f"{parse(unit):~P}".replace("\u03bc", "\u00b5")  # Greek mu, since pint 0.26
    except UnitError:
        return unit


def units_of(variable: xr.Variable | xr.DataArray) -> str | None:
    """Return the unit of a variable as a string: from its quantity, else from ``attrs["units"]``."""
    bare = variable.variable if isinstance(variable, xr.DataArray) else variable
    data: Any = bare._data
    if is_quantity(data):
        return unit_of(data)
    unit = variable.attrs.get("units")
    return None if unit is None else str(unit)


def product(*units: str) -> str:
    """Return the unit of a product: ``product("mV", "mV", "1/Hz")`` is ``"mV^2/Hz"``."""
    return text_of(parse("*".join(f"({unit})" for unit in units if unit != "1") or "1"))


def magnitude(data: Array, name: str = "data") -> Array:
    """Return bare data, of a quantity or not, in a type that kernels compute with: see `computable`."""
    return computable(bare(data), name)


def bare(data: Array) -> Array:
    """Return the array in a quantity, in its `unit_of` and of the type that it is stored in; anything else as it is."""
    if is_pint(data):
        return data.magnitude
    if type(data) is not np.ndarray and foreign.is_foreign(data):
        scale = _of_foreign(*foreign.readings(data))[1]
        numbers = foreign.numbers(data)
        return numbers if scale == 1.0 else _times(computable(numbers), scale)
    return data


def convert(data: Array, source: str, target: str) -> Array:
    """Convert bare `data` from unit `source` to `target`, in its precision; the same object if the units are equal."""
    scale = factor(source, target)
    return data if scale == 1.0 else _times(data, scale)


def _times(data: Array, scale: float) -> Array:
    if is_jax(data):
        with precision_of(data):
            return data * scale
    return data * scale


def quantity(data: Array, unit: str) -> Quantity:
    """Make a pint quantity of NumPy or dask `data`."""
    registry, parsed = for_quantities(parse(unit), lazy=is_dask(data))
    return registry.Quantity(data, parsed)


def is_ours(data: Array) -> bool:
    """Whether a quantity is of the registry that the application uses now."""
    return is_pint(data) and data._REGISTRY is application()


def adopted(data: Array) -> Array:
    """Return a quantity of any registry or library as one of the application's registry."""
    return data if is_ours(data) else quantity(bare(data), unit_of(data))


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
        value = _read(value, refuse)
    if is_quantity(value):
        try:
            value = magnitude(value) * factor(unit_of(value), unit)
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


def bare_code(data: Any, name: str, unit: str) -> str:
    """Return the code that makes bare numbers in `unit` of the quantity called `name`, for a remedy."""
    if is_pint(data):
        return f'{name}.to("{unit}").magnitude'
    scale = factor(unit_of(data), unit) * _of_foreign(*foreign.readings(data))[1]
    bare = f"np.asarray({name})" if isinstance(data, np.ndarray) else f"{name}.mantissa"
    return bare if scale == 1.0 else f"{bare} * {scale:g}"


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
