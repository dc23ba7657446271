"""What there is to say of a Dataset at a glance: strict JSON, and the card that shows it. No data is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from . import schema, scope
from ._arrays import is_dask, is_jax, is_traced
from .display import Badge, Card, Code, Content, Table
from .errors import JfneError, SchemaError
from .schema import SITES
from .time_axis import TIME, sampling
from .units import magnitude, units_of

#: Coordinates that put sites, or contacts, into groups.
GROUPS = ("population", "layer", "area", "shank")
#: So many sites are counted by group, and so many groups and variables named.
COUNTED, NAMED = 100_000, 20
#: Stages that describe where things are, and have no amplitude to speak of.
PLACES = ("probe", "morphology")

#: The function of `jaxfne_xr.plot` for each variable that has one, if it lies along these dims; the best to see first.
DRAWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "spikes": ("raster", (TIME,)),
    **dict.fromkeys(("lfp", "lfp_proxy"), ("lfp", (TIME, "contact"))),
    **dict.fromkeys(("csd", "csd_proxy"), ("csd", (TIME, "contact"))),
    "psd": ("spectrum", ("frequency",)),
    **dict.fromkeys(
        ("i_membrane", "source", "source_proxy", "V_m", "v", "vm"), ("traces", (TIME,))
    ),
    **dict.fromkeys(("eeg", "meg", "eeg_proxy", "meg_proxy", "emm_proxy"), ("traces", (TIME,))),
    **dict.fromkeys(("firing_rate", "dipole_moment"), ("traces", (TIME,))),
}
#: The function for a whole Dataset, by its stage or by the last step that made it.
DRAWN_WHOLE = ("probe", "morphology", "summary")

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
FIELD_WORDS = {
    "not_computed": "No field has been computed.",
    "toy_lead_field_proxy": "The field is a sum with made-up weights.",
    "given_lead_field_proxy": "The field is a sum of stand-ins with weights that were given.",
    "gaussian_kernel_proxy": "The field is a sum with weights that fall off with distance as a Gaussian.",
    "custom": "The field was made by a function of the user's own, whose physics is not known here.",
    "given_lead_field": "The field was made with a lead field that was given, whose conductor is not known here.",
    "infinite_homogeneous": "The field is that of current dipoles in an infinite homogeneous conductor.",
    "spherical": "The field is that of current dipoles in a spherical conductor.",
    "four_sphere": "The field is that of current dipoles in a head of concentric spheres.",
}
_SOURCES = {
    "point_source": "point sources",
    "root_as_point": "line sources and a point for each soma",
    "line_source": "line sources",
}
_MEDIA = {
    "homogeneous": "an infinite homogeneous conductor",
    "anisotropic": "an infinite anisotropic conductor",
    "slab": "a slab between two other conductors",
}
FIELD_WORDS |= {
    f"{source}_{medium}": f"The field is that of {_SOURCES[source]} in {_MEDIA[medium]}."
    for source in scope.SOURCE_MODELS
    for medium in scope.MEDIA
}


def in_words(claims: scope.Scope) -> tuple[str, ...]:
    """Return what a scope claims as sentences.

    Examples
    --------
    >>> in_words(scope.Scope())[0]
    'Voltages stand in for the source: what is made of them is a proxy, in no physical unit.'
    """
    amplitude = (
        "Amplitudes are in physical units all the way, from the currents through a declared conductor."
        if claims.amplitude_status
        else "Amplitudes are not claimed to be physical."
    )
    return (
        SOURCE_WORDS[claims.source_calibration_status],
        FIELD_WORDS[claims.field_solver_status],
        amplitude,
        "All of it comes from a simulation, not from a measurement.",
    )


def facts(ds: xr.Dataset) -> dict[str, Any]:
    """Return what a Dataset is, as strict JSON values; nothing is computed and no value looked at.

    Returns
    -------
    dict
        ``stage``; ``sizes``; ``sites`` with their dim, number and groups; ``time``; ``variables`` and ``coordinates``;
        ``scope``, and ``scope_in_words``; ``steps`` that made it, and ``versions``; ``validation``; ``next``, code
        that makes sense from here.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> made = facts(ds)
    >>> made["stage"], made["time"]["duration_ms"], made["next"][0]
    ('traces', 10.0, 'ds.jfne.plot.traces()')
    """
    try:
        record = scope.read(ds.attrs) or {}
    except SchemaError:
        record = {}
    stage = schema.stage_of(ds)
    report = schema.checks(ds, values=False)
    made: dict[str, Any] = {
        "stage": stage,
        "sizes": {str(d): n for d, n in ds.sizes.items()},
        "sites": _sites(ds),
        "time": _time(ds),
        "variables": {str(n): _variable(v.variable) for n, v in ds.data_vars.items()},
        "coordinates": {str(n): _variable(v.variable) for n, v in ds.coords.items()},
        "scope": None,
        "scope_in_words": [],
        "origin": record.get("origin"),
        "steps": record.get("steps", []),
        "versions": record.get("versions", {}),
        "validation": {
            "valid": bool(report),
            "problems": [
                {"where": p.where, "found": p.found, "wanted": p.wanted, "remedy": p.remedy}
                for p in report.problems
            ],
            "not_checked": list(report.unchecked),
        },
        "next": _next(ds, record, stage) if report else ["ds.jfne.validate()"],
    }
    if stage not in PLACES:
        claims = scope.derive(record or None)
        made["scope"] = {**claims.attrs(), "amplitude_status": claims.amplitude_status}
        made["scope_in_words"] = list(in_words(claims))
    return made


def card(ds: xr.Dataset) -> Card:
    """Return what a Dataset says of itself: see `facts`."""
    about = facts(ds)
    return Card(f"jaxfne_xr: {about['stage']}", tuple(card_rows(about)), badge(about))


def card_rows(about: Mapping[str, Any]) -> list[tuple[str, Content]]:
    """Return the rows of a card from what there is to say."""
    rows: list[tuple[str, Content]] = []
    if about["sites"]:
        rows.append(("sites", _sites_text(about["sites"])))
    others = {
        d: n
        for d, n in about["sizes"].items()
        if d != TIME and not (about["sites"] and d == about["sites"]["dim"])
    }
    if others:
        rows.append(("other dims", ", ".join(f"{d}: {n}" for d, n in others.items())))
    if about["time"]:
        rows.append((TIME, _time_text(about["time"])))
    if about["variables"]:
        rows.append(("variables", variables_table(about["variables"])))
    if labels := [
        f"{name} ({v['units']})" if v["units"] not in (None, "1") else name
        for name, v in about["coordinates"].items()
        if name != TIME
    ]:
        rows.append(("labels", ", ".join(_shortened(labels))))
    if about["scope"]:
        rows.append(("scope", tuple(about["scope_in_words"])))
    if about["steps"]:
        rows.append(("made by", " -> ".join(str(s.get("function")) for s in about["steps"])))
    elif about["scope"]:
        rows.append(("made by", "hand, or other code: there is no record"))
    rows.append(("checks", checks_lines(about["validation"])))
    if about["next"]:
        rows.append(("next", Code(tuple(about["next"]))))
    return rows


def badge(about: Mapping[str, Any]) -> Badge | None:
    """Return what is seen first: whether it is valid, and what its amplitudes are."""
    if not about["validation"]["valid"]:
        return Badge("not valid", "bad")
    if not about["scope"]:
        return None
    physical = about["scope"]["amplitude_status"]
    return Badge("physical units", "good") if physical else Badge("proxy", "caution")


def variables_table(variables: dict[str, Any]) -> Table:
    """Return variables as a table."""
    rows = [
        (
            name,
            v["long_name"] or "",
            v["units"] or "",
            ", ".join(f"{d}: {n}" for d, n in zip(v["dims"], v["shape"], strict=True)),
            f"{v['dtype']}, {v['kind']}, {_bytes(v['bytes'])}",
        )
        for name, v in variables.items()
    ]
    if len(rows) > NAMED:
        rows = [*rows[: NAMED - 1], (f"and {len(rows) - NAMED + 1} more", "", "", "", "")]
    return Table(("name", "", "units", "dims", "data"), tuple(rows))


def checks_lines(validation: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the outcome of checks as lines."""
    problems = [
        f"{p['where']}: found {p['found']}; wanted {p['wanted']}" for p in validation["problems"]
    ]
    return (
        *(problems or ["valid"]),
        *(f"not checked: {text}" for text in validation["not_checked"]),
    )


def _sites(ds: xr.Dataset) -> dict[str, Any] | None:
    dim = next((d for d in (*SITES, "contact", "channel") if d in ds.dims), None)
    if dim is None:
        return None
    n = ds.sizes[dim]
    groups = {}
    for name in (*GROUPS, *(("unit",) if dim == "recording" else ())):
        if name not in ds.coords or ds.coords[name].dims != (dim,) or n > COUNTED:
            continue
        data = magnitude(ds.coords[name].variable._data)
        if is_dask(data) or is_traced(data):
            continue
        counts = Counter(ds.coords[name].values.tolist())
        if name == "unit":  # neurons, of which there may be many
            groups[name] = {"number": len(counts)}
        else:
            groups[name] = {str(label): count for label, count in counts.items()}
    return {"dim": dim, "number": n, "groups": groups}


def _sites_text(sites: dict[str, Any]) -> str:
    n, dim = sites["number"], sites["dim"]
    text = f"{n} {dim}" if n == 1 else f"{n} {dim}s"
    groups = dict(sites["groups"])
    if units := groups.pop("unit", None):
        text += f" of {units['number']} unit" + ("s" if units["number"] != 1 else "")
    for name, counts in groups.items():
        text += f"; {name} " + ", ".join(_shortened([f"{k}: {v}" for k, v in counts.items()]))
    return text


def _time(ds: xr.Dataset) -> dict[str, Any] | None:
    if TIME not in ds.dims:
        return None
    try:
        time, dt_ms = sampling(ds, None)
    except JfneError:  # which the checks report
        return {"samples": ds.sizes[TIME], "dt_ms": None, "start_ms": None, "duration_ms": None}
    duration = None if dt_ms is None else len(time) * dt_ms
    return {
        "samples": len(time),
        "dt_ms": dt_ms,
        "start_ms": float(time[0]),
        "duration_ms": duration,
    }


def _time_text(time: dict[str, Any]) -> str:
    n = time["samples"]
    text = f"{n} sample" if n == 1 else f"{n} samples"
    if time["dt_ms"] is None:
        return text
    text += f", dt {time['dt_ms']:g} ms: {length_of(time['duration_ms'])}"
    return text + (f" from {time['start_ms']:g} ms" if time["start_ms"] else "")


def length_of(ms: float) -> str:
    """Return a length of time in words.

    Examples
    --------
    >>> [length_of(ms) for ms in (0.5, 999.9, 12_000, 600_000)]
    ['0.5 ms', '999.9 ms', '12 s', '10 min']
    """
    for size, unit in ((60_000.0, "min"), (1000.0, "s")):
        if ms >= (2 * size if unit == "min" else size):
            return f"{ms / size:.6g} {unit}"
    return f"{ms:.6g} ms"


def _variable(variable: xr.Variable) -> dict[str, Any]:
    data: Any = magnitude(variable._data)
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


def _shortened(names: list[str]) -> list[str]:
    return (
        names
        if len(names) <= NAMED
        else [*names[: NAMED - 1], f"and {len(names) - NAMED + 1} more"]
    )


def drawn_whole(stage: str, steps: Any) -> str | None:
    """Return which function draws all of a Dataset at once; None where each variable has its own picture."""
    last = steps[-1].get("function") if steps else None
    return next((name for name in (stage, last) if name in DRAWN_WHOLE), None)


def _next(ds: xr.Dataset, record: Mapping[str, Any], stage: str) -> list[str]:
    """Return code that makes sense from here, each line by itself."""
    has: set[Hashable] = set(ds.data_vars)
    placed = {"x", "y", "z"} <= set(ds.coords)
    timed = TIME in ds.dims
    if stage == "probe":
        return ["ds.jfne.plot.probe()", "signals.jfne.lfp_proxy(ds)", "currents.jfne.lfp(ds)"]
    if stage == "morphology":
        return ["ds.jfne.plot.morphology()", "traces.jfne.with_morphology(ds)"]
    steps = []
    drawn = drawn_whole(stage, record.get("steps"))
    for name, (function, dims) in () if drawn else DRAWN.items():
        if name in has and {*dims} <= {*ds[name].dims} and ds[name].size:
            drawn = function
            break
    if drawn:
        steps.append(f"ds.jfne.plot.{drawn}()")
    if timed and stage == "traces" and has & {*schema.VOLTAGES}:
        steps.append("signals = ds.jfne.to_signals()")
    cable = timed and "conductance" in has and bool(has & {*schema.VOLTAGES})
    if cable and "i_membrane" not in has:
        steps.append("currents = ds.jfne.transmembrane_currents()")
    if timed and placed and (cable or "i_membrane" in has) and "x_start" in ds.coords:
        steps.append('lfp = ds.jfne.lfp(jfx.linear_probe(16, spacing="50 um", origin=(50, 0, 0)))')
        steps.append("dipoles = ds.jfne.dipole_moment()")
    if timed and "spikes" in has:
        steps.append("ds.jfne.firing_rate()")
        sites = next((d for d in SITES if d in ds.dims), None)
        groups = [g for g in GROUPS if sites and g in ds.coords and ds[g].dims == (sites,)]
        if sites and ds.sizes[TIME] > 1 and has & {"V_m", "source"}:
            steps.append(
                f'ds.jfne.summary(by="{groups[0]}")' if groups else "ds.jfne.summary(by=None)"
            )
    if timed and "lfp" in has and "contact" in ds.dims and placed and ds.sizes["contact"] > 2:
        steps.append('csd = ds.jfne.csd("kernel")')
    if "dipole_moment" in has and placed:
        steps.append(
            'eeg = ds.jfne.move_to(x=0, y=0, z="78 mm").jfne.eeg(jfx.montage("easycap-M1"))'
        )
    spectral = [n for n in ("lfp", "lfp_proxy", "csd", "csd_proxy", "eeg", "meg") if n in has]
    if timed and spectral and ds.sizes[TIME] > 1:
        steps.append(f'ds.jfne.psd("{spectral[0]}")')
    if "psd" in has:
        steps.append("ds.jfne.band_power()")
    return [*steps, 'ds.jfne.report("run.html")', 'ds.jfne.to_netcdf("run.nc")']
