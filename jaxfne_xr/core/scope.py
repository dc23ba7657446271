"""Scope: what the numbers may be taken to mean, derived from how they were made.

Scope is derived from the provenance (see `jaxfne_xr.core.provenance`) and from nothing else, so no argument can raise
it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from typing import Any

from .types import Record


@dataclass(frozen=True)
class Solver:
    """A description of what made a field, and how far its amplitudes can be trusted (`worth`)."""

    words: str
    worth: int


#: The `worth` of a solver, from least to most.
NOT_COMPUTED, PROXY, UNDECLARED, PHYSICAL = range(4)
#: All solvers by their name in ``field_solver_status``. Models add themselves: see `register_solver`.
SOLVERS: dict[str, Solver] = {
    "not_computed": Solver("No field has been computed.", NOT_COMPUTED),
    "custom": Solver(
        "The field was made by a function of the user's own, whose physics is not known here.",
        UNDECLARED,
    ),
}

#: Which of several solvers of the same worth is reported: the first of these, else the first by name. The order is
#: fixed, since a record must not depend on the order in which modules are imported.
TIES = (
    *("toy_lead_field_proxy", "given_lead_field_proxy", "gaussian_kernel_proxy"),
    *("custom", "given_lead_field"),
    *(
        f"{source}_{medium}"
        for source in ("point_source", "root_as_point", "line_source")
        for medium in ("homogeneous", "anisotropic", "slab")
    ),
    *("infinite_homogeneous", "spherical", "four_sphere"),
)

#: The known values of each claim, the weakest first, except for solvers, whose order is that of their `worth`. A value
#: that is not listed here does not count.
STRENGTH: dict[str, Collection[Any]] = {
    "model_status": ("computational_scaffold",),
    "amplitude_status": (False, True),
    "source_calibration_status": (
        "uncalibrated_voltage_proxy",
        "uncalibrated_jaxley_voltage_proxy",
        "uncalibrated_current",
        "transmembrane_current",
    ),
    "field_solver_status": SOLVERS,
}

#: Origins of a geometry that count as a real morphology: reconstructed, or given number by number; not invented as a
#: placeholder.
PHYSICAL_GEOMETRIES = {"traced", "declared"}


@dataclass(frozen=True)
class Scope:
    """What a Dataset's numbers may be taken to mean.

    Attributes
    ----------
    model_status : str
        ``"computational_scaffold"``: a simulation, not a measurement.
    amplitude_status : bool
        True only if currents in physical units were the source, of a declared conductor, at every step; otherwise
        the amplitude is that of a proxy.
    source_calibration_status : str
        What the source is: a voltage as a proxy, or a current in nA.
    field_solver_status : str
        The forward model that made the field, ``"not_computed"`` if there is no field.
    """

    model_status: str = "computational_scaffold"
    amplitude_status: bool = False
    source_calibration_status: str = "uncalibrated_voltage_proxy"
    field_solver_status: str = "not_computed"

    def attrs(self) -> dict[str, Any]:
        """Return the scope as attrs; ``amplitude_status`` as 0 or 1, since netCDF has no bool."""
        return {
            f.name: int(value) if isinstance(value := getattr(self, f.name), bool) else value
            for f in fields(self)
        }

    def __str__(self) -> str:
        return "\n".join(f"{f.name}: {getattr(self, f.name)}" for f in fields(self))


def register_solver(name: str, words: str, worth: int) -> None:
    """Add a solver to those that ``field_solver_status`` may name.

    Parameters
    ----------
    name : str
        As in ``field_solver_status``.
    words : str
        One sentence on what the field is.
    worth : {PROXY, UNDECLARED, PHYSICAL}
        `PHYSICAL` for physical units from a declared conductor, `UNDECLARED` if the conductor is not known here.
    """
    solver = Solver(words, worth)
    if SOLVERS.setdefault(name, solver) != solver:
        raise TypeError(f"the solver {name!r} is registered already, as {SOLVERS[name]}")


def strength(name: str, value: Any) -> int:
    """Return what a known value of the claim `name` is worth."""
    if name == "field_solver_status":
        return SOLVERS[value].worth
    return list(STRENGTH[name]).index(value)


def _order(name: str, value: Any) -> tuple[int, int, str]:
    """Return a key that sorts claims by their worth, and solvers of the same worth in a fixed order."""
    if name != "field_solver_status":
        return strength(name, value), 0, ""
    place = TIES.index(value) if value in TIES else len(TIES)
    return SOLVERS[value].worth, place, value


def weaker(a: Scope, b: Scope) -> Scope:
    """Combine two scopes: the weaker claim of each kind.

    Examples
    --------
    >>> weaker(Scope(source_calibration_status="uncalibrated_current"), Scope()).source_calibration_status
    'uncalibrated_voltage_proxy'
    """
    return Scope(
        **{
            name: min(getattr(a, name), getattr(b, name), key=partial(_order, name))
            for name in STRENGTH
        }
    )


def derive(provenance: Record | None) -> Scope:
    """Derive the scope that a provenance supports; the weakest if there is none.

    If several Datasets were combined, the scope has the weakest claim of each kind.
    """
    return reduce(weaker, (_claims(*path) for path in _paths(provenance)))


def _paths(provenance: Record | None) -> Iterator[tuple[str | None, list[Record]]]:
    """Yield, for each input Dataset, its origin and the parameters of all steps from it to the result."""
    if provenance is None:
        yield None, []
        return
    steps = provenance.get("steps", ())
    parameters = [step.get("parameters", {}) for step in steps]
    yield provenance.get("origin"), parameters
    for k, step in enumerate(steps):
        for other in step.get("with", ()):
            # an input that joined at step k went through that step and all later ones
            for origin, before in _paths(other):
                yield origin, [*before, *parameters[k:]]


def _claims(origin: str | None, parameters: Sequence[Record]) -> Scope:
    # the last step that names a source decides, as a voltage may have been replaced by a current
    last = next((p["source"] for p in reversed(parameters) if "source" in p), "voltage")
    if last == "transmembrane_current":
        source = "transmembrane_current"
    elif last == "current":
        source = "uncalibrated_current"
    elif origin == "jaxley":
        source = "uncalibrated_jaxley_voltage_proxy"
    else:
        source = "uncalibrated_voltage_proxy"
    solvers = [p["field_solver"] for p in parameters if p.get("field_solver") in SOLVERS]
    solver = min(solvers, key=partial(_order, "field_solver_status"), default="not_computed")
    return Scope(
        amplitude_status=_physical(parameters),
        source_calibration_status=source,
        field_solver_status=solver,
    )


def _physical(parameters: Sequence[Record]) -> bool:
    """Whether all fields are those of transmembrane currents of a real morphology in a declared conductor.

    False too if a dipole moment depends on the origin, since its currents do not sum to zero, or if a gain was fitted.
    """
    fields_made = [p for p in parameters if "field_solver" in p]
    known = next((p["geometry"] for p in reversed(parameters) if "geometry" in p), None)
    return (
        bool(fields_made)
        and all(p.get("closed") is not False and "gain" not in p for p in parameters)
        and all(is_physical(p["field_solver"]) for p in fields_made)
        and all(p.get("source") == "transmembrane_current" for p in fields_made)
        and known in PHYSICAL_GEOMETRIES
    )


def supports(provenance: Record | None, name: str, value: Any) -> bool:
    """Whether a provenance supports a known value of the claim `name`: the derived one, or a weaker one."""
    limit = getattr(derive(provenance), name)
    if strength(name, value) != strength(name, limit) or name != "field_solver_status":
        return strength(name, value) <= strength(name, limit)
    # if inputs had several solvers of the same worth, any of them may be claimed, but no other
    return value == limit or any(
        step.get("field_solver") == value for _, steps in _paths(provenance) for step in steps
    )


def is_physical(solver: str) -> bool:
    """Whether a solver gives physical units from a declared conductor."""
    return solver in SOLVERS and SOLVERS[solver].worth == PHYSICAL


def geometry(provenance: Record | None) -> str:
    """Return the origin of the geometry of all inputs, ``"unknown"`` if they differ or it is not recorded."""
    found = {
        next((p["geometry"] for p in reversed(steps) if "geometry" in p), "unknown")
        for _, steps in _paths(provenance)
    }
    return str(found.pop()) if len(found) == 1 else "unknown"
