"""pint's registries: the standard one compares units; quantities are made in the application's.

Users and other packages replace the application registry at any moment, and with any options. So no unit of it is kept
between calls, and numbers are converted in the standard registry, in which each unit means the same for everybody. A
unit that the standard registry does not know is looked up in the application registry, where users may have defined it.
"""

from __future__ import annotations

import inspect
import math
import re
import threading
import time
import weakref
from functools import lru_cache
from typing import Any

import xarray as xr

#: pint builds a registry when it is first used, which is not safe in several threads at once.
_LOCK = threading.RLock()
_BUILT: weakref.WeakSet[Any] = weakref.WeakSet()
#: How long to wait for a registry that another thread is building, s.
_PATIENCE = 60.0

#: The longest unit that is read, characters, and the longest number in it.
LONGEST, _DIGITS = 200, 30
#: The largest exponent, and the largest product of all: powers of powers would run for ever in pint.
_EXPONENT, _EXPONENTS = 99, 1000
#: An exponent: a number or a fraction, with or without brackets, that is not raised to a power itself.
_NUMBER = r"[-+]?\d{1,4}(?:\.\d{0,6})?"
_POWER = re.compile(
    rf"\s*(?:\(\s*({_NUMBER})(?:\s*/\s*\d{{1,4}})?\s*\)|({_NUMBER}))(?![\d._eE]|\s*\*\*)"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_WORDS = {"squared": "**2", "cubed": "**3", "square": "**2", "sq": "**2", "cubic": "**3"}


def unsafe(text: str) -> str | None:
    """Return why pint should not read a unit or a quantity: it would take for ever; None if it is safe."""
    if len(text) > LONGEST:
        return f"longer than {LONGEST} characters"
    if re.search(rf"\d{{{_DIGITS},}}", text):
        return f"a number of over {_DIGITS} digits"
    # the forms in which pint reads a power, all written as **
    plain = text.replace(",", "").replace("^", "**")
    plain = re.sub(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: f"**({m[0].translate(_SUPERSCRIPTS)})", plain)
    plain = re.sub(r"\b(square|sq|cubic) +(\w+)", lambda m: f"{m[2]}{_WORDS[m[1]]}", plain)
    plain = re.sub(r" (squared|cubed)\b", lambda m: _WORDS[m[1]], plain)
    product = 1.0
    for sign in re.finditer(r"\*\*", plain):
        power = _POWER.match(plain, sign.end())
        if power is None:
            return "a power of a power, or an exponent that is not a number"
        exponent = abs(float(power[1] or power[2]))
        product *= max(1.0, exponent)
        if exponent > _EXPONENT or product > _EXPONENTS:
            return f"exponents over {_EXPONENT}, or over {_EXPONENTS} together"
    return None


def standard() -> Any:
    """Return the registry with pint's standard units: the one that pint begins with."""
    return _standard(_LOCK)


@lru_cache(maxsize=1)
def _standard(_: Any) -> Any:
    import pint

    with _LOCK:
        found = getattr(pint, "_DEFAULT_REGISTRY", None)
        return _built(found if found is not None else pint.UnitRegistry())


def application() -> Any:
    """Return the registry that the application uses now, in which users may have defined units."""
    import pint

    return _built(pint.get_application_registry().get())


def _built(registry: Any) -> Any:
    """Return a registry once it knows its units, whichever thread builds it."""
    if registry in _BUILT:
        return registry
    with _LOCK:
        if type(registry).__name__ == "LazyRegistry":
            registry.Unit  # noqa: B018  (builds it)
        # it may be half built, by a thread that uses pint directly
        until = time.monotonic() + _PATIENCE
        while not vars(registry).get("_initialized", True) and time.monotonic() < until:
            time.sleep(1e-3)
        _BUILT.add(registry)
    return registry


def for_quantities(unit: Any, *, lazy: bool) -> tuple[Any, Any]:
    """Return the registry in which a quantity is made, set up for arrays in xarray, and the unit in it.

    It is the application's. If `unit` means something else there, or nothing (registries can be empty, or read units
    in any case), or if it would compute dask data (``lazy``), it is the registry of `unit`.
    """
    with _LOCK:
        import pint_xarray

    registry = application()
    if registry is unit._REGISTRY:
        return pint_xarray.setup_registry(registry), unit
    if lazy and registry.force_ndarray:
        return pint_xarray.setup_registry(unit._REGISTRY), unit
    pint_xarray.setup_registry(registry)
    same = counterpart(unit, registry)
    if same is None:
        return pint_xarray.setup_registry(unit._REGISTRY), unit
    return registry, same


def counterpart(unit: Any, registry: Any) -> Any:
    """Return the unit of another registry that has the same name and means the same; None if there is none."""
    return _counterpart(unit._REGISTRY, unit, registry)


@lru_cache(maxsize=512)
def _counterpart(of: Any, unit: Any, registry: Any) -> Any:
    # Units of two registries have equal hashes but cannot be compared: `of` keeps them apart in the cache.
    try:
        powers = {name: _plain(power) for name, power in unit._units.items()}
        made = registry.Unit(registry.UnitsContainer(powers))
        here, there = root(made), root(unit)
        same = here[1] == there[1] and math.isclose(here[0], there[0], rel_tol=1e-12)
    except Exception:  # pint raises many types, depending on what the registry lacks
        return None
    return made if same else None


def root(unit: Any) -> tuple[float, dict[str, float]]:
    """Return a unit as a number of base units, and the power of each of them.

    In any registry; contexts that are enabled there, which would convert lengths to frequencies, have no effect.
    """
    number, base = unit._REGISTRY.get_root_units(unit)
    return float(number), {name: _plain(power) for name, power in base._units.items()}


def has_offset(unit: Any, other: Any) -> bool:
    """Whether the zero of a unit is not that of another one, of the same registry and dimensions."""
    registry = unit._REGISTRY
    zero = registry.Quantity(registry.non_int_type(0), unit).to(other).magnitude
    return bool(float(zero) != 0.0)


def _plain(power: Any) -> int | float:
    """Return an exponent as int or float, whatever type of number the registry uses."""
    return int(power) if power == int(power) else float(power)


class LatePint:
    """``.pint`` of xarray's objects, whose package is imported when the accessor is first used.

    The class itself seems to have no such attribute, so that pint-xarray finds nothing to replace when it is imported,
    by this or by anybody.
    """

    def __get__(self, data: Any, kind: type) -> Any:
        if data is None:
            raise AttributeError(f"type object {kind.__name__!r} has no attribute 'pint' yet")
        import pint_xarray  # noqa: F401  (registers the accessor, in place of this one)

        if isinstance(inspect.getattr_static(kind, "pint"), LatePint):
            raise AttributeError("pint-xarray did not register .pint")
        return data.pint


def offer_pint() -> None:
    """Make ``.pint`` available on Datasets and DataArrays, without importing pint-xarray."""
    kinds: tuple[Any, ...] = (xr.Dataset, xr.DataArray)
    for kind in kinds:
        if not hasattr(kind, "pint"):
            kind.pint = LatePint()
