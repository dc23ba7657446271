"""What the numbers may be taken to mean: scope, derived from the record of how they were made.

Provenance is one versioned JSON string, ``attrs["jaxfne_xr"]``: where the traces came from, every step since with its
parameters, and the versions that ran. Scope is four attrs derived from it and from nothing else, so no argument can
raise it.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from ._arrays import is_traced
from .errors import Problem, SchemaError, ScopeError

#: The attribute that holds the provenance, and the newest version of its form that this package reads.
KEY = "jaxfne_xr"
SCHEMA_VERSION = 1

#: How segments act as sources, and what the medium is: each combination is a solver.
SOURCE_MODELS = ("point_source", "root_as_point", "line_source")
MEDIA = ("homogeneous", "anisotropic", "slab")
#: Conductors around current dipoles.
HEADS = ("infinite_homogeneous", "spherical", "four_sphere")

#: What each claim is worth, weakest first. A claim that is not listed is worth nothing.
STRENGTH: dict[str, tuple[Any, ...]] = {
    "model_status": ("computational_scaffold",),
    "amplitude_status": (False, True),
    "source_calibration_status": (
        "uncalibrated_voltage_proxy",
        "uncalibrated_jaxley_voltage_proxy",
        "uncalibrated_current",
        "transmembrane_current",
    ),
    "field_solver_status": (
        "not_computed",
        "toy_lead_field_proxy",
        "given_lead_field_proxy",
        "gaussian_kernel_proxy",
        "custom",
        "given_lead_field",
        *(f"{source}_{medium}" for source in SOURCE_MODELS for medium in MEDIA),
        *HEADS,
    ),
}

#: Forward models in physical units, from a declared conductor.
PHYSICAL_SOLVERS = {f"{source}_{medium}" for source in SOURCE_MODELS for medium in MEDIA} | {*HEADS}
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


def weaker(a: Scope, b: Scope) -> Scope:
    """Return the weaker claim of each kind: what a combination of two Datasets may claim.

    Examples
    --------
    >>> weaker(Scope(source_calibration_status="uncalibrated_current"), Scope()).source_calibration_status
    'uncalibrated_voltage_proxy'
    """
    return Scope(
        **{
            name: min(getattr(a, name), getattr(b, name), key=known.index)
            for name, known in STRENGTH.items()
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
    known = STRENGTH["field_solver_status"]
    solvers = [p["field_solver"] for p in parameters if p.get("field_solver") in known]
    solver = min(solvers, key=known.index, default=known[0])
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
    geometry = next((p["geometry"] for p in reversed(parameters) if "geometry" in p), None)
    return (
        bool(fields_made)
        and all(p.get("closed") is not False and "gain" not in p for p in parameters)
        and all(p["field_solver"] in PHYSICAL_SOLVERS for p in fields_made)
        and all(p.get("source") == "transmembrane_current" for p in fields_made)
        and geometry in PHYSICAL_GEOMETRIES
    )


def problems(attrs: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the scope and provenance in `attrs`; nothing where both are absent."""
    try:
        supported = derive(read(attrs))
    except SchemaError as error:
        return list(error.problems)
    found = []
    for name, known in STRENGTH.items():
        if name not in attrs:
            continue
        limit, claim = getattr(supported, name), attrs[name]
        known_claim = np.ndim(claim) == 0 and claim in known
        if not known_claim or known.index(claim) > known.index(limit):
            found.append(
                Problem(
                    where=f'attrs["{name}"]',
                    found=repr(claim.item() if isinstance(claim, np.generic) else claim),
                    wanted=f"{Scope.attrs(supported)[name]!r}, which is all that its provenance supports",
                    remedy=f'ds.attrs["{name}"] = {Scope.attrs(supported)[name]!r}; '
                    "scope follows from how the data was made and cannot be raised by hand",
                    error=ScopeError,
                )
            )
    return found


def read(attrs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the provenance in `attrs`, None where there is none.

    Raises
    ------
    SchemaError
        If it cannot be read, or is of a newer version than this package knows.
    """
    text = attrs.get(KEY)
    if text is None:
        return None
    try:
        provenance = json.loads(text)
        version = int(provenance["schema"])
        if version <= SCHEMA_VERSION:
            derive(provenance)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SchemaError(
            Problem(
                where=f'attrs["{KEY}"]',
                found=f"text that is not a provenance record ({type(error).__name__}: {error})",
                wanted='the JSON that this package writes, with its "schema" version',
                remedy=f'del ds.attrs["{KEY}"] to go on without it, as data made by hand',
                error=SchemaError,
            )
        ) from error
    if version > SCHEMA_VERSION:
        raise SchemaError(
            Problem(
                where=f'attrs["{KEY}"]',
                found=f"schema version {version}",
                wanted=f"at most {SCHEMA_VERSION}, which this version of the package reads",
                remedy="pip install --upgrade jaxfne-xr",
                error=SchemaError,
            )
        )
    return provenance


def record(
    previous: Mapping[str, Any] | None,
    function: str,
    parameters: Mapping[str, Any],
    *,
    stage: str,
    origin: str | None = None,
    beside: Sequence[Mapping[str, Any] | None] = (),
) -> dict[str, Any]:
    """Return a provenance with one more step.

    Parameters
    ----------
    previous : mapping or None
        The provenance so far; None where the data was made by hand.
    function : str
        The public function that made the step.
    parameters : mapping
        Its scalar parameters, JSON-safe; units in the names (``dt_ms``).
    stage : {"traces", "signals", ...}
        What the result is.
    origin : str, optional
        Where traces came from; only entry points say so.
    beside : sequence of mapping or None
        The provenances of what else went into the step, None for data made by hand. Each that is not that of
        `previous` is kept, once.
    """
    step: dict[str, Any] = {"function": function, "parameters": dict(parameters)}
    others: list[Any] = []
    for other in beside:
        if other != previous and other not in others:
            others.append(other)
    if others:
        step["with"] = others
    return {
        "schema": SCHEMA_VERSION,
        "stage": stage,
        "origin": origin or (previous or {}).get("origin", "unknown"),
        "steps": [*(previous or {}).get("steps", ()), step],
        "versions": versions(),
    }


def recorded(value: Any) -> Any:
    """Return a parameter in the form that JSON holds: an array as lists; what JAX traces has no value, and says so."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list)):
        return [recorded(v) for v in value]
    if is_traced(value):
        return "traced"
    numbers = np.asarray(value)
    return numbers.tolist() if np.isfinite(numbers).all() else str(numbers.tolist())


def attrs(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attrs of a Dataset with this provenance: the record, and from Signals on the scope."""
    text = json.dumps(provenance, sort_keys=True, allow_nan=False)
    scope = {} if provenance["stage"] == "traces" else derive(provenance).attrs()
    return {**scope, KEY: text}


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    names = ("jaxfne-xr", "jax", "numpy", "xarray")
    return (("python", platform.python_version()), *((n, _version(n)) for n in names))


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except (
        importlib.metadata.PackageNotFoundError
    ):  # run from a source tree that was never installed
        return "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return dict(_versions())
