"""Trained parameters of a Jaxley simulation: checked, and as Jaxley itself spreads them over its tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxfne_xr.core.arrays import is_traced
from jaxfne_xr.core.errors import ArgumentError, Problem, warn
from jaxfne_xr.core.types import Array

#: Trainable parameters that change axial conductances.
SHAPE = frozenset({"radius", "length", "axial_resistivity"})
#: Trainable parameters that change what is known of a compartment: also its area, diameter or capacitance.
GEOMETRY = SHAPE | {"capacitance"}


@dataclass(frozen=True)
class Parameters:
    """The parameters of a simulation.

    Attributes
    ----------
    trained : tuple of str
        Names of those that were passed to it, sorted.
    values : mapping of str to array, or None
        All parameters of the module by the labels of ``module.nodes.index``, as in Jaxley: JAX where JAX traces them,
        else NumPy. None if none were passed: then those of the tables hold.
    passed : tuple of dict
        What was passed, as Jaxley takes it.
    """

    trained: tuple[str, ...] = ()
    values: Mapping[str, Any] | None = None
    passed: tuple[dict[str, Array], ...] = ()

    @classmethod
    def of(cls, module: Any, params: Sequence[Mapping[str, Array]] | None) -> Parameters:
        """Return the parameters that a simulation with `params` has; they are checked before."""
        if not params:
            return cls()
        from jaxley.utils.cell_utils import params_to_pstate

        module.to_jax()
        trained = params_to_pstate(as_arrays(params), module.indices_set_by_trainables)
        return cls.made(params, module.get_all_parameters(trained))

    @classmethod
    def made(
        cls, params: Sequence[Mapping[str, Array]] | None, all_params: Mapping[str, Any]
    ) -> Parameters:
        """Return the parameters that Jaxley made from `params`."""
        if not params:
            return cls()
        values = {
            name: x if isinstance(x, Mapping) or is_traced(x) else np.asarray(x)
            for name, x in all_params.items()
        }
        names = sorted({str(key) for entry in params for key in entry})
        return cls(tuple(names), values, tuple(as_arrays(params)))

    @property
    def shape(self) -> Mapping[str, Any] | None:
        """The values, if axial conductances differ from those of the tables."""
        return self.values if SHAPE & {*self.trained} else None

    @property
    def geometry(self) -> Mapping[str, Any] | None:
        """The values, if areas, diameters or capacitances may differ from those of the tables."""
        return self.values if GEOMETRY & {*self.trained} else None

    @property
    def traced(self) -> bool:
        """Whether conductances, or labels of compartments, are traced by JAX."""
        if self.geometry is None:
            return False
        names = (*SHAPE, "area", "capacitance", "resistive_load_in", "resistive_load_out")
        return any(is_traced(self.geometry[name]) for name in names)


def as_arrays(params: Sequence[Mapping[str, Array]] | None) -> list[dict[str, Array]]:
    """Return `params` with arrays as Jaxley indexes them."""
    import jax.numpy as jnp

    return [{key: jnp.asarray(x) for key, x in entry.items()} for entry in params or ()]


def params_problems(module: Any, params: object) -> list[Problem]:
    """Return the problem of trainable parameters that do not fit the module; Jaxley ignores some of them."""
    if params is None:
        return []
    is_list = isinstance(params, (list, tuple)) and all(isinstance(p, Mapping) for p in params)
    expected: Any = [sorted(entry) for entry in module.trainable_params]
    found = [sorted(entry) for entry in params] if is_list else type(params).__name__  # type: ignore[union-attr]
    if found == expected:
        found, expected = _shapes(params), _shapes(module.trainable_params)
    if found == expected:
        return []
    return [
        Problem(
            where="params",
            found=f"{found}",
            expected=f"a list of dicts of what was made trainable, in order: {expected}",
            remedy="params=module.get_parameters()"
            if module.trainable_params
            else 'module.make_trainable("HH_gNa"), then params=module.get_parameters()',
            error=ArgumentError,
        )
    ]


def _shapes(params: Any) -> list[dict[str, tuple[int, ...]]]:
    return [{key: np.shape(entry[key]) for key in sorted(entry)} for entry in params]


def warn_of_trainables(module: Any, also: Collection[str] = ()) -> None:
    """Warn of trainable parameters of the geometry, and those in `also`: their values in a simulation are not known."""
    names = {str(key) for entry in module.trainable_params for key in entry} & {*GEOMETRY, *also}
    if names:
        what = (
            "conductances, areas and diameters" if names & GEOMETRY else "currents of gap junctions"
        )
        warn(
            f"{', '.join(sorted(names))} of the module {'is' if len(names) == 1 else 'are'} trainable: {what} "
            "are those of its table, and wrong if jx.integrate ran with other params. Pass them, "
            "from_jaxley(..., params=params), or call module.delete_trainables() if it ran without."
        )
