"""Quantities of other libraries: the real one where it is installed, else a class with its attributes and habits."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pint

BASE = {"meter": "m", "kilogram": "kg", "second": "s", "ampere": "A", "kelvin": "K", "mole": "mol"}
#: the order of Brian2, brainunit and saiunit
ORDER = (*BASE.values(), "cd")
#: of this module alone: another one than the application's
UNITS = pint.UnitRegistry()


def in_base(unit: str) -> tuple[float, tuple[float, ...]]:
    """Return a unit as a number of SI base units, and their powers in the order of Brian2."""
    one = UNITS.Quantity(1.0, unit).to_base_units()
    powers = {BASE[name]: float(power) for name, power in one.unit_items() if name in BASE}
    return one.magnitude, tuple(powers.get(name, 0.0) for name in ORDER)


# --------------------------------------------------------------------------------------------- Brian2 and brainunit


class Dimension:
    def __init__(self, dims: tuple[float, ...]) -> None:
        self._dims = dims

    def get_dimension(self, name: str) -> float:
        return self._dims[ORDER.index(name)]

    @property
    def dim(self) -> Dimension:
        return self

    def __str__(self) -> str:
        return " ".join(f"{n}^{p:g}" for n, p in zip(ORDER, self._dims, strict=True) if p) or "1"


class Brian2Quantity(np.ndarray):
    """Values in SI base units, and dimensions; ``np.asarray`` and ``float`` take the unit off without a word."""

    def __array_finalize__(self, other: Any) -> None:
        self.dim = getattr(other, "dim", Dimension((0,) * 7))

    def __getitem__(self, key: Any) -> Any:
        return _brian2(np.asarray(self)[key], self.dim)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def get_best_unit(self) -> Any:
        return None


def _brian2(numbers: Any, dim: Dimension) -> Brian2Quantity:
    made = np.array(numbers, float).view(Brian2Quantity)
    made.dim = dim
    return made


def brian2(numbers: Any, unit: str) -> Any:
    scale, dims = in_base(unit)
    return _brian2(np.asarray(numbers, float) * scale, Dimension(dims))


class SaiUnit:
    """A unit of brainunit and saiunit: dimensions and a power of ten, with a factor for what is none."""

    def __init__(self, unit: str) -> None:
        number, dims = in_base(unit)
        self.dim, self.base = Dimension(dims), 10.0
        self.scale = float(np.floor(np.log10(number) + 1e-9))
        self.factor, self.dispname = number / 10.0**self.scale, unit

    @property
    def magnitude(self) -> float:
        return self.factor * self.base**self.scale

    def __str__(self) -> str:
        return self.dispname


class SaiQuantity:
    """A mantissa, which is a JAX array, and a unit; NumPy cannot convert it."""

    def __init__(self, mantissa: Any, unit: SaiUnit) -> None:
        self.mantissa, self.unit = mantissa, unit

    dim = property(lambda self: self.unit.dim)
    shape = property(lambda self: self.mantissa.shape)
    ndim = property(lambda self: self.mantissa.ndim)
    dtype = property(lambda self: self.mantissa.dtype)

    def __len__(self) -> int:
        return len(self.mantissa)

    def __iter__(self) -> Iterator[Any]:
        return (SaiQuantity(m, self.unit) for m in self.mantissa)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("only dimensionless quantities can be converted to NumPy arrays")


def brainunit(numbers: Any, unit: str) -> Any:
    return SaiQuantity(jnp.asarray(numbers, float), SaiUnit(unit))


# --------------------------------------------------------------------------------------------- astropy and unyt


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def to_string(self) -> str:
        return self.name


class AstropyUnit:
    def __init__(self, unit: str) -> None:
        self.text = unit.replace("^", "")  # as astropy writes it: "mA / cm2"
        self._base = in_base(unit)

    def decompose(self) -> Any:
        simple = AstropyUnit.__new__(AstropyUnit)
        pairs = [(Named(n), p) for n, p in zip(ORDER, self._base[1], strict=True) if p]
        simple.scale, simple.bases = self._base[0], [n for n, _ in pairs]
        simple.powers = [p for _, p in pairs]
        return simple

    def to_string(self) -> str:
        return self.text

    __str__ = to_string


class AstropyQuantity(np.ndarray):
    def __array_finalize__(self, other: Any) -> None:
        self.unit = getattr(other, "unit", None)

    def __getitem__(self, key: Any) -> Any:
        made = np.array(np.asarray(self)[key]).view(AstropyQuantity)
        made.unit = self.unit
        return made

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def value(self) -> Any:
        return np.asarray(self)[()]


def astropy(numbers: Any, unit: str) -> Any:
    made = np.array(numbers, float).view(AstropyQuantity)
    made.unit = AstropyUnit(unit)
    return made


class UnytUnit:
    def __init__(self, unit: str) -> None:
        self.text = unit.replace("^", "**")
        self.base_value, self._dims = in_base(unit)

    def get_base_equivalent(self, system: str) -> UnytUnit:
        parts = [f"{n}**{p:g}" for n, p in zip(ORDER, self._dims, strict=True) if p]
        return UnytUnit("*".join(parts) or "dimensionless")

    def __str__(self) -> str:
        return self.text


class UnytArray(np.ndarray):
    def __array_finalize__(self, other: Any) -> None:
        self.units = getattr(other, "units", None)

    def __getitem__(self, key: Any) -> Any:
        made = np.array(np.asarray(self)[key]).view(UnytArray)
        made.units = self.units
        return made

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def value(self) -> Any:
        return np.array(self)


def unyt(numbers: Any, unit: str) -> Any:
    made = np.array(numbers, float).view(UnytArray)
    made.units = UnytUnit(unit)
    return made


# --------------------------------------------------------------------------------------------- pint and quantities


def another_registry(numbers: Any, unit: str) -> Any:
    return UNITS.Quantity(np.asarray(numbers, float), unit)


def quantities(numbers: Any, unit: str) -> Any:
    import quantities as pq

    return pq.Quantity(np.asarray(numbers, float), pq.CompoundUnit(unit.replace("^", "**")))


LIBRARIES: dict[str, Callable[[Any, str], Any]] = {
    "Brian2": brian2,
    "brainunit": brainunit,
    "astropy": astropy,
    "unyt": unyt,
    "pint": another_registry,
}
if importlib.util.find_spec("quantities") is not None:
    LIBRARIES["quantities"] = quantities
