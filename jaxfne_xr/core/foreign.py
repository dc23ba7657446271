"""Quantities of other libraries than pint, recognised by their attributes: none of the libraries is imported.

`quantities` (and so Neo and elephant), astropy, unyt and unxt have a unit; brainunit and saiunit a unit and dimensions;
Brian2 dimensions only, with values in SI base units. Whatever else has a unit, `netCDF4.Variable` for instance, is read
by the text of its unit.

A unit is read twice: as text, and as a number of SI base units that the library itself says. If pint reads the text as
the same number, values stay in that unit; otherwise they are converted to base units.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import jax
import numpy as np

from .errors import UnitError

#: The base units of SI, in the order in which Brian2, brainunit and saiunit keep the exponents of dimensions.
BASE = ("m", "kg", "s", "A", "K", "mol", "cd")
#: Attributes that hold a unit, by library.
_ATTRIBUTES = ("dimensionality", "units", "unit", "dim")
#: Attributes that hold the numbers, of quantities that are not NumPy arrays themselves.
_NUMBERS = ("mantissa", "magnitude", "value", "_value")
#: Types that have no unit, with their subclasses; and packages whose objects have none, or are handled elsewhere.
_NEVER = (str, bytes, list, tuple, dict, set, np.generic)
_ELSEWHERE = ("builtins", "dask", "jax", "jaxlib", "jaxfne_xr", "pandas", "pint", "xarray")


def is_foreign(data: object) -> bool:
    """Whether `data` is a quantity of another library than pint."""
    return not _never(cast(Any, type(data))) and _unit(data) is not None


@lru_cache(maxsize=512)
def _never(kind: type) -> bool:
    """Whether objects of a type are known not to be quantities of another library."""
    if kind in (np.ndarray, np.ma.MaskedArray) or issubclass(kind, _NEVER):
        return True
    return kind.__module__.partition(".")[0] in _ELSEWHERE


def _unit(data: Any) -> tuple[str, Any] | None:
    """Return the attribute that holds the unit of `data`, and the unit; None if it has none."""
    if not (hasattr(data, "shape") or hasattr(data, "__float__") or hasattr(data, "__array__")):
        return None
    for name in _ATTRIBUTES:
        unit = getattr(data, name, None)
        if unit is None or (isinstance(unit, Mapping) and name != "dimensionality"):
            continue
        if inspect.isroutine(unit):  # torch.Tensor.dim is a method
            continue
        return name, unit
    return None


def numbers(data: Any) -> Any:
    """Return the bare numbers of a quantity, in its own unit: NumPy or JAX."""
    if not isinstance(data, np.ndarray):
        for name in _NUMBERS:
            held = getattr(data, name, None)
            if held is not None and not callable(held):
                return held if isinstance(held, jax.Array) else np.asarray(held)
    return np.asarray(data)


def readings(data: Any) -> tuple[str | None, tuple[str, float] | None]:
    """Return the text of a quantity's unit, and its base units with their number; None for what it does not say."""
    attribute, unit = _unit(data) or ("", None)
    for reader in _READERS:
        try:
            return reader(data, unit)
        except Exception:  # not of this library
            continue
    # of a library that is not known here: only the text of the unit tells
    text = getattr(unit, "string", None) or str(unit)
    return (text if attribute != "dim" or text != "1" else "1"), None


def described(data: Any) -> str:
    """Return what a quantity is, for errors: ``"a quantities Quantity in V"``."""
    kind = type(data)
    text, _ = readings(data)
    library = kind.__module__.partition(".")[0]
    return f"a {library} {kind.__name__} in {text or 'base units'}"


def _of_quantities(data: Any, _: Any) -> tuple[str | None, tuple[str, float]]:
    simple = data.units.simplified
    base = simple.dimensionality.string
    return data.dimensionality.string, (_one(base), float(simple.magnitude))


def _of_dimensions(data: Any, unit: Any) -> tuple[str | None, tuple[str, float]]:
    """Read Brian2 (values in base units), brainunit and saiunit (units of dimensions and a scale)."""
    dim = data.dim
    powers = getattr(dim, "_dims", None)
    if powers is None:
        powers = [dim.get_dimension(name) for name in BASE]
    base = _joined(zip(BASE, powers, strict=True))
    if not hasattr(unit, "scale"):
        return None, (base, 1.0)
    held = getattr(unit, "magnitude", None)
    if held is None:
        held = getattr(unit, "factor", 1.0) * float(getattr(unit, "base", 10.0)) ** unit.scale
    return str(unit), (base, float(held))


def _of_astropy(data: Any, unit: Any) -> tuple[str | None, tuple[str, float]]:
    simple = unit.decompose()
    names = [base.to_string() for base in simple.bases]
    return str(unit), (_joined(zip(names, simple.powers, strict=True)), float(simple.scale))


def _of_unyt(data: Any, unit: Any) -> tuple[str | None, tuple[str, float]]:
    base = str(unit.get_base_equivalent("mks"))
    return str(unit), (_one(base), float(unit.base_value))


_READERS: tuple[Callable[[Any, Any], tuple[str | None, tuple[str, float]]], ...] = (
    _of_unyt,
    _of_quantities,
    _of_dimensions,
    _of_astropy,
)


def _one(text: str) -> str:
    return "1" if text in ("", "dimensionless") else text


def _joined(powers: Any) -> str:
    """Return base units and their powers as text."""
    parts = [f"{name}^({float(power):.12g})" for name, power in powers if power]
    return "*".join(parts) or "1"


def sample_times(data: Any) -> tuple[Any, Any] | None:
    """Return the first time and the interval between samples of a signal that carries them, as Neo's do.

    The interval is None for one with irregular times; the first is then all of them. None for any other array.
    """
    if not is_foreign(data):
        return None
    times = getattr(data, "times", None)
    if times is None or not data.shape or np.shape(times) != data.shape[:1]:
        return None
    interval = getattr(data, "sampling_period", None)
    return (times, None) if interval is None else (data.t_start, interval)


def refuse(name: str, data: Any, expected: str, remedy: str) -> UnitError:
    """Make the error of a quantity that has no place here."""
    return UnitError.of(name, found=described(data), expected=expected, remedy=remedy)
