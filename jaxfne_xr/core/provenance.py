"""Provenance: how a Dataset was made, as one versioned JSON string in its attrs, with the scope that follows from it.

This module is the only writer of ``attrs["jaxfne_xr"]`` and of the four scope attrs.

One rule decides about the attrs of a Dataset that are not ours (a title, a subject, the version of a simulation):

* Functions that return *the same data with something added, moved, joined or read together* keep them: they return
  with `extend`, which copies all attrs of the Dataset.
* Functions that make *a new quantity* (a potential, a rate, a spectrum, a loss) drop them, since they describe the
  input: they return with `jaxfne_xr.core.results.finish`, which starts from empty attrs.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from .arrays import is_traced
from .errors import Problem, SchemaError, ScopeError
from .scope import STRENGTH, Scope, derive, supports
from .types import Record
from .units import is_quantity, magnitude, unit_of
from .values import texts

#: The attribute that holds the provenance, and the newest version of its schema that this package reads.
KEY = "jaxfne_xr"
SCHEMA_VERSION = 1

#: The attribute of a Dataset without a record that holds the units of its quantities.
QUANTITIES = "jaxfne_xr_quantities"

#: The attrs of a Dataset that this package writes; any others are the user's.
OURS = frozenset({KEY, QUANTITIES, *STRENGTH})


def read(attrs: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Read the provenance in `attrs`; None if there is none.

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
            derive(provenance)  # fails if the steps are not as expected
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SchemaError.of(
            f'attrs["{KEY}"]',
            found=f"text that is not a provenance record ({type(error).__name__}: {error})",
            expected='the JSON that this package writes, with its "schema" version',
            remedy=f'del ds.attrs["{KEY}"] to go on without it, as with data made by hand',
        ) from error
    if version > SCHEMA_VERSION:
        raise SchemaError.of(
            f'attrs["{KEY}"]',
            found=f"schema version {version}",
            expected=f"at most {SCHEMA_VERSION}, which this version of the package reads",
            remedy="pip install --upgrade jaxfne-xr",
        )
    return provenance


def steps_of(data: xr.Dataset | xr.DataTree) -> list[dict[str, Any]]:
    """Return the steps that made a Dataset, in order; none if it has no record."""
    return list((read(data.attrs) or {}).get("steps", ()))


def scope_of(data: xr.Dataset) -> Scope:
    """Return the scope that the record of a Dataset supports; the weakest if it has none."""
    return derive(read(data.attrs))


def problems(attrs: Mapping[Any, Any]) -> list[Problem]:
    """Return the problems of the scope and provenance in `attrs`; none if both are absent."""
    try:
        made = read(attrs)
    except SchemaError as error:
        return list(error.problems)
    supported, found = derive(made), []
    for name, known in STRENGTH.items():
        if name not in attrs:
            continue
        claim = attrs[name]
        known_claim = np.ndim(claim) == 0 and claim in known
        if not known_claim or not supports(made, name, claim):
            found.append(
                Problem(
                    where=f'attrs["{name}"]',
                    found=repr(claim.item() if isinstance(claim, np.generic) else claim),
                    expected=f"{supported.attrs()[name]!r}, which is all that its provenance supports",
                    remedy=f'ds.attrs["{name}"] = {supported.attrs()[name]!r}; '
                    "scope follows from how the data was made and cannot be raised by hand",
                    error=ScopeError,
                )
            )
    return found


def record(
    previous: Record | None,
    function: str,
    parameters: Mapping[str, Any],
    *,
    stage: str,
    origin: str | None = None,
    others: Sequence[Record | None] = (),
) -> dict[str, Any]:
    """Add one step to a provenance.

    Parameters
    ----------
    previous : mapping or None
        The provenance so far; None if the data was made by hand.
    function : str
        The public function that made the step.
    parameters : mapping
        Its scalar parameters, JSON-safe; units in the names (``dt_ms``).
    stage : {"traces", "signals", ...}
        What the result is.
    origin : str, optional
        Where traces came from; only entry points set it.
    others : sequence of mapping or None
        The provenances of further inputs of the step, None for data made by hand. Those that differ from `previous`
        are kept, each once.
    """
    step: dict[str, Any] = {"function": function, "parameters": dict(parameters)}
    different: list[Record | None] = []
    for other in others:
        if other != previous and other not in different:
            different.append(other)
    if different:
        step["with"] = different
    return {
        "schema": SCHEMA_VERSION,
        "stage": stage,
        "origin": origin or (previous or {}).get("origin", "unknown"),
        "steps": [*(previous or {}).get("steps", ()), step],
        "versions": versions(),
    }


def recorded(value: object) -> Any:
    """Return a parameter in a form that JSON can hold: arrays become lists, traced values ``"traced"``."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (tuple, list)):
        return [recorded(v) for v in value]
    if is_traced(magnitude(value)):
        return "traced"
    if is_quantity(value):
        return texts(np.asarray(magnitude(value)).tolist(), unit_of(value))
    numbers = np.asarray(value)
    # strict JSON has no NaN and no Inf
    return numbers.tolist() if np.isfinite(numbers).all() else str(numbers.tolist())


def attrs(provenance: Record) -> dict[str, Any]:
    """Return the attrs of a Dataset with this provenance: the record and, for all stages but traces, the scope."""
    text = json.dumps(provenance, sort_keys=True, allow_nan=False)
    scope = {} if provenance["stage"] == "traces" else derive(provenance).attrs()
    return {**scope, KEY: text}


def begin(
    function: str, parameters: Mapping[str, Any], *, stage: str, origin: str
) -> dict[str, Any]:
    """Return our attrs for data that a function made from inputs without a provenance."""
    return attrs(record(None, function, parameters, stage=stage, origin=origin))


def own(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the attrs of a Dataset that this package did not write."""
    return {name: value for name, value in attrs.items() if name not in OURS}


def extend(
    ds: xr.Dataset,
    function: str,
    parameters: Mapping[str, Any],
    *,
    stage: str | None = None,
    origin: str | None = None,
    of: xr.Dataset | None = None,
    others: Iterable[xr.Dataset | xr.DataArray] = (),
) -> xr.Dataset:
    """Add one step to the record of `ds`, and set the scope that follows; attrs that are not ours are kept.

    Parameters
    ----------
    ds : xr.Dataset
        The result: the input of the function with something added, moved or joined. It must be a new Dataset, never
        the user's: its attrs are replaced in place, since a copy would cost a tenth of the time of `to_signals`.
    function, parameters
        As for `record`.
    stage : str, optional
        What the result is; by default what it was before.
    origin : str, optional
        Where traces came from, if this step knows better.
    of : xr.Dataset, optional
        The input of which the record is continued, if it is not that of `ds`.
    others : iterable of xr.Dataset or xr.DataArray
        Further inputs: the scope is the weakest of all. An input without a record, such as a DataArray, has the
        weakest scope.
    """
    previous = read((ds if of is None else of).attrs)
    provenance = record(
        previous,
        function,
        parameters,
        stage=stage or (previous or {}).get("stage", "traces"),
        origin=origin,
        others=[read(other.attrs) for other in others],
    )
    ds.attrs = {**own(ds.attrs), **attrs(provenance)}
    return ds


def gathered(ds: xr.Dataset, results: Sequence[xr.Dataset], *, stage: str) -> xr.Dataset:
    """Record in `ds`, which holds several results of one run, the steps of all of them, each once.

    Parameters
    ----------
    ds : xr.Dataset
        A new Dataset with all results, changed in place; its attrs that are not ours are kept.
    results : sequence of xr.Dataset
        In the order of their steps; the origin of the first is that of `ds`.
    stage : str
        What `ds` is.
    """
    steps: list[Record] = []
    for result in results:
        steps += [step for step in steps_of(result) if step not in steps]
    unknown = {"schema": SCHEMA_VERSION, "origin": "unknown", "versions": versions()}
    provenance = {**unknown, **(read(results[0].attrs) or {}), "steps": steps, "stage": stage}
    ds.attrs = {**own(ds.attrs), **attrs(provenance)}
    return ds


def continues(result: xr.Dataset, ds: xr.Dataset) -> bool:
    """Whether the record of `result` says that it was made from `ds`."""
    before = steps_of(ds)
    origins = {(read(data.attrs) or {}).get("origin", "unknown") for data in (result, ds)}
    return len(origins) == 1 and steps_of(result)[: len(before)] == before


def at_stage(ds: xr.Dataset, stage: str) -> dict[str, Any]:
    """Return our attrs for an object that holds `ds`, made by the same steps but of another stage."""
    return attrs({**(read(ds.attrs) or {}), "stage": stage})


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    names = ("jaxfne-xr", "jax", "numpy", "xarray")
    return (("python", platform.python_version()), *((n, version_of(n)) for n in names))


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # run from a source tree that was never installed


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those it computes with."""
    return dict(_versions())
