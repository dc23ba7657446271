"""Summarise a Dataset as strict JSON values, and as a card. No data is computed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any

import xarray as xr

from jaxfne_xr.core import provenance, scope, validation
from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced
from jaxfne_xr.core.cards import Badge, Card, Code, Content, Table
from jaxfne_xr.core.errors import SchemaError
from jaxfne_xr.core.inputs import as_dataset, site_dim
from jaxfne_xr.core.schema import SENSORS
from jaxfne_xr.core.time_axis import TIME, even_times
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import bare, units_of
from jaxfne_xr.core.validation import OTHER, VARIABLE

from .suggestions import GROUPS, has_cable, next_steps, of_array

#: Maximum number of sites that are counted by group, and of groups and variables that are named.
COUNTED, NAMED = 100_000, 20
#: Maximum number of characters of a name.
LONGEST = 40
#: Suffixes of parameters in a record, and the unit that each means.
_SUFFIXES = {"_S_per_m": "S/m", "_um": "um"}
#: Stages that have positions only, and so no amplitudes.
PLACES = ("probe", "morphology")

#: What each claim says in plain words.
SOURCE_WORDS = {
    "uncalibrated_voltage_proxy": (
        "Voltages stand in for the source: what is made of them is a proxy, in no physical unit."
    ),
    "uncalibrated_jaxley_voltage_proxy": (
        "Voltages from Jaxley stand in for the source: what is made of them is a proxy, in no physical unit."
    ),
    "uncalibrated_current": "The source is a current in nA that was given or made from spikes, calibrated by nothing.",
    "transmembrane_current": "The source is the current in nA through the membrane of every compartment.",
}
#: The scope in words of Traces, which claim nothing yet; of DataArrays; of a lead field, which has no amplitude.
TRACES_WORDS = ("No source and no field has been made of the voltages.",)
#: A DataArray does not say how it was made.
VARIABLE_WORDS = ("A DataArray has no record of how it was made: results have the weakest scope.",)
LEAD_FIELD_WORDS = (
    "It takes currents in nA to uV; what those are worth, the currents have to say.",
)
SIMULATED = "All of it comes from a simulation, not from a measurement."


def in_words(claims: scope.Scope) -> tuple[str, ...]:
    """Return what a scope claims as sentences.

    Examples
    --------
    >>> in_words(scope.Scope())[0]
    'Voltages stand in for the source: what is made of them is a proxy, in no physical unit.'
    """
    if claims.amplitude_status:
        amplitude = "Amplitudes are in physical units all the way, from the currents through a declared conductor."
    elif _awaits_field(claims):
        amplitude = "Amplitudes are not claimed to be physical before a declared conductor has made a field."
    else:
        amplitude = "Amplitudes are not claimed to be physical."
    return (
        SOURCE_WORDS[claims.source_calibration_status],
        scope.SOLVERS[claims.field_solver_status].words,
        amplitude,
        SIMULATED,
    )


def _awaits_field(claims: scope.Scope) -> bool:
    """Whether there are transmembrane currents, from which a physical field can still be computed."""
    source, solver = claims.source_calibration_status, claims.field_solver_status
    return (source, solver) == ("transmembrane_current", "not_computed")


def _claimed(ds: xr.Dataset, stage: str, record: Mapping[str, Any], known: bool) -> dict[str, Any]:
    """Return the scope of a Dataset, and the scope in words; nothing if this package did not make it."""
    if stage == VARIABLE:
        return {"scope": None, "scope_in_words": list(VARIABLE_WORDS)}
    if stage in (*PLACES, OTHER) or (stage == "traces" and not known):
        return {"scope": None, "scope_in_words": []}
    if stage == "traces":
        return {"scope": None, "scope_in_words": [*TRACES_WORDS, SIMULATED]}
    claims = scope.derive(record or None)
    words = list(in_words(claims))
    if stage == "lead_field":
        words = [scope.SOLVERS[claims.field_solver_status].words, *LEAD_FIELD_WORDS]
    elif has_cable(ds) and claims.source_calibration_status.endswith("voltage_proxy"):
        words[0] = f"Until transmembrane currents are computed, {words[0][0].lower()}{words[0][1:]}"
    made = {**claims.attrs(), "amplitude_status": claims.amplitude_status}
    return {"scope": made, "scope_in_words": words}


def facts(data: xr.Dataset | xr.DataArray, *, part: bool = False) -> dict[str, Any]:
    """Describe a Dataset, or a `part` of a tree, as strict JSON values; no values are read.

    Returns
    -------
    dict
        ``stage``; ``sizes``; ``sites`` with their dim, number and groups; ``time``; ``variables`` and ``coordinates``;
        ``scope``, from Signals on, and ``scope_in_words``; ``model``, the last forward model that was used; ``steps``
        that made it, and ``versions``; ``validation``; ``next``, suggested code.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> made = facts(ds)
    >>> made["stage"], made["time"]["duration_ms"], made["next"][0]
    ('traces', 10.0, 'ds.jfne.plot.traces()')
    """
    one = isinstance(data, xr.DataArray)
    ds = _shown(data)
    try:
        record = provenance.read(ds.attrs) or {}
    except SchemaError:
        record = {}
    report = validation.checks(ds, values=False, one=one, part=part)
    stage = report.stage
    time = None if stage == OTHER else _time(ds, report)
    steps = next_steps(ds, record, stage, time) if report else ["ds.jfne.validate()"]
    return {
        "stage": stage,
        "sizes": {str(d): n for d, n in ds.sizes.items()},
        "sites": _sites(ds),
        "time": time,
        "variables": {str(n): _variable(v.variable) for n, v in ds.data_vars.items()},
        "coordinates": {str(n): _variable(v.variable) for n, v in ds.coords.items()},
        **_claimed(ds, stage, record, bool(record) or bool(report)),
        "model": _model(record),
        "origin": record.get("origin"),
        "steps": record.get("steps", []),
        "versions": record.get("versions", {}),
        "validation": outcome(report),
        "next": of_array(steps) if one else steps,
    }


def _shown(data: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return the Dataset to describe; of a DataArray that is a coordinate, a Dataset of the coordinates."""
    if isinstance(data, xr.DataArray) and data.name in {*data.coords, *data.dims}:
        return data.coords.to_dataset()
    return as_dataset(data, "ds")


def outcome(report: validation.Report) -> dict[str, Any]:
    """Return the result of checks as strict JSON values."""
    return {
        "valid": bool(report),
        "problems": [
            {"where": p.where, "found": p.found, "expected": p.expected, "remedy": p.remedy}
            for p in report.problems
        ],
        "not_checked": list(report.unchecked),
    }


def facts_of_parts(data: xr.Dataset | xr.DataTree) -> dict[str, dict[str, Any]]:
    """Describe every part of a tree by its path; a Dataset has the path ""."""
    of_tree = isinstance(data, xr.DataTree)
    return {part: facts(ds, part=of_tree) for part, ds in validation.parts_of(data).items()}


def card(data: xr.Dataset | xr.DataArray) -> Card:
    """Return the card of a Dataset or a DataArray: see `facts`."""
    return card_of(facts(data))


def card_of(about: Mapping[str, Any]) -> Card:
    """Return the card of `facts`."""
    return Card(f"jaxfne_xr: {about['stage']}", tuple(card_rows(about)), badge(about))


def card_rows(about: Mapping[str, Any]) -> list[tuple[str, Content]]:
    """Return the rows of the card of `facts`."""
    rows: list[tuple[str, Content]] = []
    if about["sites"]:
        rows.append(("sites", _sites_text(about["sites"])))
    others = {
        d: n
        for d, n in about["sizes"].items()
        if d != TIME and not (about["sites"] and d == about["sites"]["dim"])
    }
    if others:
        sizes = (f"{named(d)}: {n}" for d, n in others.items())
        rows.append(("other dims", ", ".join(sizes)))
    if about["time"]:
        rows.append((TIME, _time_text(about["time"])))
    if about["variables"]:
        rows.append(("variables", _variables_table(about["variables"])))
    if labels := [
        f"{named(name)}\N{NO-BREAK SPACE}({v['units']})"
        if v["units"] not in (None, "1")
        else named(name)
        for name, v in about["coordinates"].items()
        if name != TIME
    ]:
        rows.append(("labels", ", ".join(shortened(labels))))
    if model := about["model"]:
        rows.append(("model", f"{model['name']}: {model['equation']}"))
        if model["parameters"]:
            rows.append(
                ("parameters", Table(("parameter", "value"), (*model["parameters"].items(),)))
            )
    if about["scope_in_words"]:
        rows.append(("scope", tuple(about["scope_in_words"])))
    if about["steps"]:
        rows.append(("made by", " -> ".join(str(s.get("function")) for s in about["steps"])))
    elif about["stage"] not in (*PLACES, VARIABLE, OTHER):
        rows.append(("made by", "hand, or other code: there is no record"))
    rows.append(("checks", checks_lines(about["validation"])))
    if about["next"]:
        rows.append(("next", Code(tuple(about["next"]))))
    return rows


def badge(about: Mapping[str, Any]) -> Badge | None:
    """Return the badge of `facts`: whether the data is valid, and whether its amplitudes are physical."""
    if not about["validation"]["valid"]:
        return Badge("not valid", "bad")
    claims = None if about["scope"] is None else scope.Scope(**about["scope"])
    if about["stage"] == "traces" or (claims and _awaits_field(claims)):
        return Badge("no field yet", "caution")
    if claims is None or about["stage"] == "lead_field":
        return None
    return Badge("physical units", "good") if claims.amplitude_status else Badge("proxy", "caution")


def _variables_table(variables: dict[str, Any]) -> Table:
    """Return a table of variables."""
    rows = [
        (
            named(name),
            named(v["long_name"] or ""),
            named(v["units"] or ""),
            ", ".join(f"{named(d)}: {n}" for d, n in zip(v["dims"], v["shape"], strict=True)),
            f"{v['dtype']}, {v['kind']}, {_bytes(v['bytes'])}",
        )
        for name, v in variables.items()
    ]
    if len(rows) > NAMED:
        rows = [*rows[: NAMED - 1], (f"and {len(rows) - NAMED + 1} more", "", "", "", "")]
    return Table(("name", "", "units", "dims", "data"), tuple(rows))


def checks_lines(validation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the result of checks as lines."""
    problems = [
        f"{p['where']}: found {p['found']}; expected {p['expected']}"
        for p in validation["problems"]
    ]
    return (
        *(problems or ["valid"]),
        *(f"not checked: {text}" for text in validation["not_checked"]),
    )


def _sites(ds: xr.Dataset) -> dict[str, Any] | None:
    dim = site_dim(ds.dims) or next((d for d in SENSORS if d in ds.dims), None)
    if dim is None:
        return None
    n = ds.sizes[dim]
    groups = {}
    for name in (*GROUPS, *(("unit",) if dim == "recording" else ())):
        if name not in ds.coords or ds.coords[name].dims != (dim,) or n > COUNTED:
            continue
        data = bare(ds.coords[name].variable._data)
        if is_dask(data) or is_traced(data):
            continue
        counts = Counter(map(str, ds.coords[name].values.tolist()))
        if name == "unit":  # neurons may be too many to list
            groups[name] = {"number": len(counts)}
        else:
            groups[name] = dict(counts)
    return {"dim": dim, "number": n, "groups": groups}


def _sites_text(sites: dict[str, Any]) -> str:
    n, dim = sites["number"], sites["dim"]
    text = f"{n} {dim}" if n == 1 else f"{n} {dim}s"
    groups = dict(sites["groups"])
    if units := groups.pop("unit", None):
        text += f" of {units['number']} unit" + ("s" if units["number"] != 1 else "")
    for name, counts in groups.items():
        text += f"; {name} " + ", ".join(shortened([f"{named(k)}: {v}" for k, v in counts.items()]))
    return text


def _time(ds: xr.Dataset, report: validation.Report) -> dict[str, Any] | None:
    if TIME not in ds.dims:
        return None
    n = ds.sizes[TIME]
    if any(problem.where == TIME for problem in report.problems):
        return {"samples": n, "dt_ms": None, "start_ms": None, "duration_ms": None}
    # the checks found even steps, so the two ends are enough; there may be millions of samples between
    ends, step = even_times(ds.variables[TIME][[0, -1] if n > 1 else [0]], None)
    dt_ms = None if step is None else step / (n - 1)
    duration = None if dt_ms is None else n * dt_ms
    return {"samples": n, "dt_ms": dt_ms, "start_ms": float(ends[0]), "duration_ms": duration}


def _time_text(time: dict[str, Any]) -> str:
    n = time["samples"]
    text = f"{n} sample" if n == 1 else f"{n} samples"
    if time["dt_ms"] is None:
        return text
    text += f", dt {time['dt_ms']:g} ms: {length_of(time['duration_ms'])}"
    return text + (f" from {time['start_ms']:g} ms" if time["start_ms"] else "")


def length_of(ms: float) -> str:
    """Return a duration as text.

    Examples
    --------
    >>> [length_of(ms) for ms in (0.5, 999.9, 12_000, 600_000)]
    ['0.5 ms', '999.9 ms', '12 s', '10 min']
    """
    # seconds up to two minutes
    for size, unit in ((60_000.0, "min"), (1000.0, "s")):
        if ms >= (2 * size if unit == "min" else size):
            return f"{ms / size:.6g} {unit}"
    return f"{ms:.6g} ms"


def _variable(variable: xr.Variable) -> dict[str, Any]:
    data: Array = bare(variable._data)
    kind = "dask" if is_dask(data) else "JAX" if is_jax(data) else "NumPy"
    name = variable.attrs.get("long_name")
    return {
        "long_name": None if name is None else str(name),
        "units": units_of(variable),
        "dims": [str(d) for d in variable.dims],
        "shape": [int(n) for n in variable.shape],
        "dtype": str(variable.dtype),
        "kind": f"{kind}, traced" if is_traced(data) else kind,
        "bytes": int(variable.size * getattr(variable.dtype, "itemsize", 1)),
    }


def _bytes(n: int) -> str:
    power = min((len(str(n)) - 1) // 3, 3)
    return f"{n / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def named(name: str) -> str:
    """Return a name for a line of text: shortened, and isolated if its script is written from right to left."""
    name = name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."
    if not any(unicodedata.bidirectional(character) in ("R", "AL") for character in name):
        return name
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"


def shortened(names: list[str]) -> list[str]:
    """Return names, shortened to `NAMED` entries."""
    return (
        names
        if len(names) <= NAMED
        else [*names[: NAMED - 1], f"and {len(names) - NAMED + 1} more"]
    )


def _model(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the forward model that made a field, or a lead field: name, equation and, of the latter, parameters."""
    steps = [s for s in record.get("steps", []) if "equation" in s.get("parameters", {})]
    if not steps:
        return None
    made = steps[-1]["parameters"]
    given = {}
    for name, value in made.items() if steps[-1]["function"] == "lead_field" else ():
        if name not in ("model", "equation", "field_solver"):
            suffix = next((s for s in _SUFFIXES if name.endswith(s)), "")
            text = "by default" if value is None else f"{value} {_SUFFIXES.get(suffix, '')}"
            given[name.removesuffix(suffix)] = text.rstrip()
    name = made.get("model", made.get("head"))
    return {"name": str(name), "equation": str(made["equation"]), "parameters": given}
