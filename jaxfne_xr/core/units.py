"""Unit strings, and the checked factor that converts data from one unit to another.

Inside the package: mV, nA, um, ms, S/m, Hz. A unit is a short string that pint can read (``"mA/cm^2"``). It becomes a
factor, a Python float, before any arithmetic, so no kernel gets a pint object. pint is imported when a unit has to be
parsed, pint-xarray when a quantity has to be made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeGuard, TypeVar

import numpy as np
import xarray as xr

from . import foreign
from .arrays import is_dask, is_jax, precision_of
from .errors import UnitError
from .numeric import computable
from .registries import application, counterpart, for_quantities, has_offset, root, standard, unsafe
from .types import Array, Quantity

R = TypeVar("R")

#: Why two units cannot be converted.
_DIMENSIONS, _OFFSET = "dimensions", "offset"
#: Names for units that a library gives in base units only.
_NAMED = ("V", "A", "m", "s", "S", "S/m", "ohm", "ohm*m", "F", "A/m^2", "A/m^3", "A*m", "V/A", "T")


def is_pint(data: object) -> TypeGuard[Any]:
    """Whether `data` is a pint quantity, of any registry (without importing pint)."""
    if type(data) is np.ndarray:
        return False
    # another thread may be importing pint: then it has no Quantity yet, and `data` is none
    kind = getattr(sys.modules.get("pint"), "Quantity", None)
    return kind is not None and isinstance(data, kind)


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
    return text_of(parse("*".join(f"({unit})" for unit in units if unit not in ("1", "")) or "1"))


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


def bare_code(data: Any, name: str, unit: str) -> str:
    """Return the code that makes bare numbers in `unit` of the quantity called `name`, for a remedy."""
    if is_pint(data):
        return f'{name}.to("{unit}").magnitude'
    scale = factor(unit_of(data), unit) * _of_foreign(*foreign.readings(data))[1]
    bare = f"np.asarray({name})" if isinstance(data, np.ndarray) else f"{name}.mantissa"
    return bare if scale == 1.0 else f"{bare} * {scale:g}"
