"""Parameters of forward models: converted from any unit, and checked unless JAX traces them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from functools import partial
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np

from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.types import Array, ArrayLike, Scalars
from jaxfne_xr.core.units import is_quantity
from jaxfne_xr.core.values import SMALLEST, example, scalar, values_in


class HasUnits(Protocol):
    """A dataclass that declares the units of its parameters, as forward models do."""

    units: ClassVar[Mapping[str, str]]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def read(
    model: HasUnits,
    *,
    positive: tuple[str, ...],
    vectors: tuple[str, ...] = (),
    signed: tuple[str, ...] = (),
) -> None:
    """Convert the parameters of a new model to numbers in its units, and check those that JAX does not trace.

    Parameters
    ----------
    model : ForwardModel
        Changed in place, since this is called from its ``__post_init__``.
    positive, vectors, signed : tuple of str
        Names of the parameters that must be above 0, that may be three numbers (x, y and z), and that may be negative.
    """
    optional = {f.name for f in fields(model) if f.default is None}
    problems: list[Problem] = []
    for name, unit in model.units.items():
        value = getattr(model, name)
        if value is None and name in optional:
            continue
        value = in_unit(value, unit, name)
        # The dataclass is frozen for users; only its own initialisation may still set a field.
        object.__setattr__(model, name, value)
        if is_vector(value) and name not in vectors:
            remedy = f'{name}="{example(unit)}"'
            problems.append(Problem(name, "several numbers", "one", remedy, ArgumentError))
        least = "more than 0" if name in positive else "finite" if name in signed else "0 or more"
        # The values of traced numbers are checked later, and only under `jaxfne_xr.checkify`.
        if not is_known(value):
            bound = -np.inf if name in signed else 0.0
            check_traced(
                name, partial(_in_range, value, bound, name in positive), f"{least}, in {unit}"
            )
        for number in np.ravel(np.asarray(value)) if is_known(value) else ():
            bad = number < SMALLEST if name in positive else number < 0 and name not in signed
            if bad or not math.isfinite(number):
                found, expected = f"{number:g} {unit}", f"{least}, in {unit}"
                remedy = f'{name}="{example(unit)}"'
                problems.append(Problem(name, found, expected, remedy, ArgumentError))
    raise_problems(problems)


def _in_range(value: ArrayLike, least: float, positive: bool) -> Array:
    """Return whether traced numbers are finite, and above 0 if `positive`, else at least `least`."""
    numbers = jnp.asarray(value)
    return (jnp.isfinite(numbers) & (numbers > 0 if positive else numbers >= least)).all()


def in_unit(value: ArrayLike, unit: str, name: str) -> Array:
    """Convert one number to a float in `unit`, or three to a tuple of floats; JAX arrays are returned unchanged."""
    if is_quantity(value):
        value = values_in(value, unit, name)
    if isinstance(value, np.ndarray):
        value = value.item() if value.ndim == 0 else value.tolist()
    if is_jax(value) and value.shape in ((), (3,)):
        return value
    if not is_jax(value) and not isinstance(value, (tuple, list)):
        return scalar(value, unit, name)
    if len(value) != 3 or is_jax(value):
        found = f"the shape {value.shape}" if is_jax(value) else f"{len(value)} numbers"
        typical = example(unit)
        raise DimensionError.of(
            name,
            found=found,
            expected="one, or three for x, y and z",
            remedy=f'{name}="{typical}", or {name}=("{typical}", "{typical}", "{typical}")',
        )
    return tuple(in_unit(v, unit, name) for v in value)


def is_vector(value: object) -> bool:
    """Whether a value holds one number for each of x, y and z."""
    return isinstance(value, tuple) or getattr(value, "ndim", 0) == 1


def is_known(value: object) -> bool:
    """Whether the numbers are concrete: read already, and not traced by JAX."""
    if isinstance(value, tuple):
        return all(map(is_known, value))
    return isinstance(value, (float, np.ndarray, np.generic)) or (
        is_jax(value) and not is_traced(value)
    )


def is_number(value: object) -> bool:
    """Whether a value is one concrete number."""
    return is_known(value) and not isinstance(value, tuple)


def array(value: Scalars, name: str) -> Array:
    """Return a parameter as an array: NumPy, or JAX if one of its numbers is JAX."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(p, (int, float, np.ndarray, np.generic)) or is_jax(p) for p in parts):
        raise ArgumentError.of(name, found=repr(value), expected="a number", remedy=f"{name}=0.3")
    if isinstance(value, tuple):
        return jnp.stack(value) if any(map(is_jax, parts)) else np.asarray(value)
    return value if is_jax(value) else np.asarray(value)


def in_float64(value: ArrayLike) -> Array:
    """Return a JAX array unchanged, and anything else as a float64 NumPy array."""
    return value if is_jax(value) else np.asarray(value, float)
