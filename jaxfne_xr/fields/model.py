"""The base of all forward models: frozen dataclasses and pytrees, registered by name.

A model, for potentials or for EEG and MEG, is one class. It declares its `equation`, the `units` of its parameters and
the `solvers` that it can report, each with a sentence that describes such a field; `forward_model` registers it.
Scope, records, cards, readouts and stored configurations then know it, and nothing else has to be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, field, fields
from typing import Any, ClassVar, TypeGuard, TypeVar

import jax
import numpy as np

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public_class
from jaxfne_xr.core.arrays import is_jax, is_traced
from jaxfne_xr.core.cards import model_card
from jaxfne_xr.core.scope import PHYSICAL, UNDECLARED, register_solver

#: The forward models of this package by name.
MODELS: dict[str, type[ForwardModel]] = {}

Cls = TypeVar("Cls", bound="type[ForwardModel]")
Default = TypeVar("Default")


class ForwardModel:
    """Base of all forward models: their repr, their card and their record.

    Attributes
    ----------
    equation : str
        The equation that it computes, in one line.
    units : mapping of str to str
        The unit of each parameter that has one.
    solvers : mapping of str to str
        Every ``field_solver_status`` that it can report, and one sentence that describes such a field.
    physical : bool
        Whether it declares its conductor, so that amplitudes can be in physical units.
    """

    #: Declared for mypy: subclasses are dataclasses, this base is not.
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    equation: ClassVar[str]
    units: ClassVar[Mapping[str, str]] = {}
    solvers: ClassVar[Mapping[str, str]]
    physical: ClassVar[bool] = True
    #: The text shown for a parameter that is None.
    defaults: ClassVar[Mapping[str, str]] = {
        "min_distance": "radius of each segment",
        "shape": "that of the contacts",
    }

    def solver_for(self, quantity: str) -> str:
        """Return the ``field_solver_status`` of an ``"lfp"``, ``"eeg"`` or ``"meg"``: here, the first of `solvers`."""
        return next(iter(self.solvers))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self._given())
        return f"{type(self).__name__}({given})\n  {self.equation}"

    def _repr_html_(self) -> str:
        return model_card(type(self).__name__, self.equation, self._given()).html()

    # Not those that `dataclass` writes, which cannot compare or hash arrays.
    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))  # equal parameters have the same text

    def _given(self) -> list[tuple[str, str]]:
        """Return each parameter as text with its unit."""
        return [(f.name, self._shown(f.name)) for f in fields(self)]

    def _shown(self, name: str) -> str:
        value, unit = getattr(self, name), self.units.get(name)
        if value is None:
            return self.defaults.get(name, "None")
        return f"{shown(value)} {unit}" if unit else shown(value)

    def parameters(self) -> dict[str, Any]:
        """Return the model, its equation and its parameters for the record, with units in the parameters' names."""
        made = {}
        for f in fields(self):
            unit = self.units.get(f.name, "")
            name = f"{f.name}_{unit.replace('/', '_per_')}" if unit else f.name
            made[name] = provenance.recorded(getattr(self, f.name))
        return {"model": type(self).__name__, "equation": self.equation, **made}


def forward_model(cls: Cls) -> Cls:
    """Register a dataclass as a forward model of this package, and as a pytree.

    Copies that JAX makes are not checked: a gradient with respect to a conductivity may be negative.
    """
    public_class(cls)
    numbers = [f.name for f in fields(cls) if not f.metadata.get("static")]
    settings = [f.name for f in fields(cls) if f.metadata.get("static")]

    def flatten(model: ForwardModel) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [(jax.tree_util.GetAttrKey(name), getattr(model, name)) for name in numbers]
        return leaves, tuple(getattr(model, name) for name in settings)

    def unflatten(static: tuple[Any, ...], leaves: Iterable[Any]) -> ForwardModel:
        # JAX also rebuilds models around placeholders, which __post_init__ would reject.
        model: ForwardModel = object.__new__(cls)
        for name, value in zip((*settings, *numbers), (*static, *leaves), strict=True):
            object.__setattr__(model, name, value)
        return model

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    # From here on the scope knows what the name in field_solver_status claims.
    known = MODELS.setdefault(cls.__name__, cls)
    if known is not cls:  # it would no longer be known as ours, and lose its amplitudes
        raise TypeError(
            f"a forward model {cls.__name__} is registered already, in {known.__module__}"
        )
    for name, sentence in cls.solvers.items():
        register_solver(name, sentence, PHYSICAL if cls.physical else UNDECLARED)
    return cls


def static(default: Default) -> Default:
    """Declare a field that is text or a count: static under JAX, and never differentiated."""
    return field(default=default, metadata={"static": True})


def is_ours(model: object) -> TypeGuard[ForwardModel]:
    """Whether the physics of a model is known: a registered class itself, not a subclass, which may override it."""
    return MODELS.get(type(model).__name__) is type(model)


def recorded_model(model: object, quantity: str) -> dict[str, Any]:
    """Return the record's entries about the model that made an ``"lfp"``, ``"eeg"`` or ``"meg"``."""
    if is_ours(model):
        return {**model.parameters(), "field_solver": model.solver_for(quantity)}
    name = getattr(model, "__name__", type(model).__name__)
    return {"model": name, "field_solver": "custom"}


def _same(a: Any, b: Any) -> bool:
    """Whether two parameters are equal; under a JAX trace, whether they are the same object."""
    if a is b:
        return True
    if any(map(is_traced, jax.tree_util.tree_leaves((a, b)))):
        return False
    arrays = any(isinstance(x, np.ndarray) or is_jax(x) for x in (a, b))
    return np.array_equal(a, b) if arrays else bool(a == b)


def shown(value: object) -> str:
    """Return a parameter as text: its numbers, or that JAX traces it."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    if is_traced(value):
        return "traced"
    if not (is_jax(value) or isinstance(value, (int, float, np.ndarray, np.generic))):
        return type(value).__name__
    numbers = np.asarray(value)
    if numbers.ndim:
        return f"({', '.join(f'{x:.6g}' for x in numbers.ravel().tolist())})"
    return f"{numbers.item():.6g}"
