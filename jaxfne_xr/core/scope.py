"""What the numbers may be taken to mean: scope, derived from the record of how they were made.

Scope is derived from the provenance (see `jaxfne_xr.provenance`) and from nothing else, so no argument can raise it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from typing import Any


@dataclass(frozen=True)
class Solver:
    """What made a field, in words, and what its amplitudes are worth."""

    words: str
    worth: int


#: What a field is worth by what made it, least first.
NOT_COMPUTED, PROXY, UNDECLARED, PHYSICAL = range(4)
#: Everything that makes a field, by the name in ``field_solver_status``. Models add themselves: see `register_solver`.
SOLVERS: dict[str, Solver] = {
    "not_computed": Solver("No field has been computed.", NOT_COMPUTED),
    "custom": Solver(
        "The field was made by a function of the user's own, whose physics is not known here.",
        UNDECLARED,
    ),
}

#: The known values of each claim, weakest first but for solvers, whose order is that of their worth. A value that is
#: not known is worth nothing.
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

#: Where a morphology comes from that is one: reconstructed, or stated number by number; not drawn for want of a better.
PHYSICAL_GEOMETRIES = {"traced", "declared"}


@dataclass(frozen=True)
class Scope:
    """What a Dataset's numbers may be taken to mean.

    Attributes
    ----------
    model_status : str
        ``"computational_scaffold"``: a simulation, not a measurement.
    amplitude_status : bool
        True only where a current went through a declared conductor in physical units all the way; else a proxy.
    source_calibration_status : str
        What stands for the source: a voltage as a proxy, or a current in nA.
    field_solver_status : str
        The forward model that made the field, ``"not_computed"`` where there is none.
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
    SOLVERS[name] = Solver(words, worth)


def strength(name: str, value: Any) -> int:
    """Return what a known value of the claim `name` is worth."""
    if name == "field_solver_status":
        return SOLVERS[value].worth
    return list(STRENGTH[name]).index(value)


def _order(name: str, value: Any) -> tuple[int, int]:
    """Return a key that sorts claims by their worth, and those of the same worth in a fixed order."""
    return strength(name, value), list(STRENGTH[name]).index(value)


def weaker(a: Scope, b: Scope) -> Scope:
    """Return the weaker claim of each kind: what a combination of two Datasets may claim.

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


def derive(provenance: Mapping[str, Any] | None) -> Scope:
    """Return the scope that a provenance supports; the weakest where there is none.

    Of what several Datasets were combined in, the weaker claim of each kind.
    """
    return reduce(weaker, (_claims(*road) for road in _roads(provenance)))


def _roads(provenance: Mapping[str, Any] | None) -> Iterator[tuple[Any, list[Mapping[str, Any]]]]:
    """Yield the origin and the parameters of every step of each Dataset that went in, up to the result."""
    if provenance is None:
        yield None, []
        return
    steps = provenance.get("steps", ())
    parameters = [step.get("parameters", {}) for step in steps]
    yield provenance.get("origin"), parameters
    for k, step in enumerate(steps):
        for other in step.get("with", ()):
            for origin, before in _roads(other):
                yield origin, [*before, *parameters[k:]]


def _claims(origin: Any, parameters: Sequence[Mapping[str, Any]]) -> Scope:
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


def _physical(parameters: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every field was made of transmembrane currents, of a physical morphology, by a declared conductor.

    And no dipole of currents that depend on an origin, and no gain fitted to something else, came in between.
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


def supports(provenance: Mapping[str, Any] | None, name: str, value: Any) -> bool:
    """Whether a provenance supports a known value of the claim `name`: the derived one, or a weaker one."""
    limit = getattr(derive(provenance), name)
    if strength(name, value) != strength(name, limit) or name != "field_solver_status":
        return strength(name, value) <= strength(name, limit)
    # of several solvers of the same worth that went in, any may be named, but no other
    return value == limit or any(
        step.get("field_solver") == value for _, steps in _roads(provenance) for step in steps
    )


def is_physical(solver: str) -> bool:
    """Whether a solver gives physical units from a declared conductor."""
    return solver in SOLVERS and SOLVERS[solver].worth == PHYSICAL


def geometry(provenance: Mapping[str, Any] | None) -> str:
    """Return where the geometry of all that went in comes from, ``"unknown"`` where that differs or is not recorded."""
    found = {
        next((p["geometry"] for p in reversed(steps) if "geometry" in p), "unknown")
        for _, steps in _roads(provenance)
    }
    return str(found.pop()) if len(found) == 1 else "unknown"
