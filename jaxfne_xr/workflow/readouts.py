"""Compute readouts: quantities derived from Signals, each by one decorated function, in one Dataset.

The positional parameters of a readout name its inputs: ``signals``, ``probe``, ``sensors``, or another readout. One of
the first three is optional if it has a default. Keyword-only parameters are settings. `compute_readout` computes each
readout once, also if several others need it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance, registry
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_traced
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.labels import same_labels
from jaxfne_xr.core.registry import GIVEN, chain
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Probe, ReadoutNames, Sensors
from jaxfne_xr.core.units import is_quantity, magnitude, unit_of, units_of
from jaxfne_xr.core.values import texts
from jaxfne_xr.fields.model import MODELS, is_ours
from jaxfne_xr.geometry.positions import prefixed


@public
def compute_readout(
    signals: xr.Dataset | xr.DataArray,
    names: ReadoutNames,
    *,
    probe: Probe | None = None,
    sensors: Sensors | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Compute readouts of Signals in one Dataset; what several of them need is computed once.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        From `to_signals`.
    names : str or sequence of str
        Some of `readouts`.
    probe, sensors : xr.Dataset, optional
        Contacts for fields, and channels for EEG and MEG.
    **settings
        Keyword parameters of these readouts, and of those they need: ``sigma``, ``domain``, ``window``, ...

    Returns
    -------
    xr.Dataset
        One variable for each readout, and the user's attrs of the Signals. Positions of sites keep the names ``x``,
        ``y``, ``z``; those of contacts are ``contact_x``, ..., of channels ``channel_x``, ..., of dipoles ``dipole_x``,
        ....

    Raises
    ------
    ArgumentError
        If a name or a setting is not known, or the Signals are neither a Dataset nor a DataArray.
    VariableError
        If an input of a readout is missing: the error says which, and how to pass it. If a user-defined readout returns
        something else than a Dataset with one variable of its name.
    DimensionError
        If the result of a readout has another time, other sites or other contacts than the Signals or another readout.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)[:, None]
    >>> signals = jfx.traces(v, ["time", "unit"], dt_ms=0.1).jfne.to_signals()
    >>> made = jfx.compute_readout(signals, ["mean_V_m", "spike_rate_hz"])
    >>> {name: round(float(value.data.magnitude), 6) for name, value in made.data_vars.items()}
    {'mean_V_m': -64.15, 'spike_rate_hz': 100.0}
    """
    signals = as_dataset(signals, "signals")
    asked = asked_for(names)
    raise_problems(_unknown_names(asked) + _unknown_settings(asked, settings))
    given = {"signals": signals, "probe": probe, "sensors": sensors}
    made = {name: value for name, value in given.items() if value is not None}
    results = [_resolve(name, made, settings) for name in asked]
    together = {"the Signals": signals}
    for name, result in zip(asked, results, strict=True):
        raise_problems(
            p for other in together for p in _misfits(name, result, other, together[other])
        )
        together[name] = result
    variables: dict[Hashable, xr.DataArray] = {}
    coords: dict[Hashable, xr.Variable] = {}
    dims = {*signals.dims, *(d for result in results for d in result.dims)}
    for name, result in zip(asked, results, strict=True):
        variables |= result.data_vars
        for label, variable in result.variables.items():
            if label in result.coords:
                coords[_unique_name(label, variable.dims, name, signals, dims)] = variable
    # times that agree up to rounding are those of the Signals
    coords |= {d: signals.variables[d] for d in (TIME,) if d in coords and d in signals.coords}
    held = xr.Dataset({n: v.variable for n, v in variables.items()}, coords, signals.attrs)
    # a user-defined readout may return data that was not made from these Signals: its own claims count then
    made_here = [provenance.continues(result, signals) for result in results]
    line = [result for result, here in zip(results, made_here, strict=True) if here]
    return provenance.extend(
        provenance.gathered(held, [signals, *line], stage="readout"),
        "compute_readout",
        {"names": asked, "settings": {key: _json_safe(value) for key, value in settings.items()}},
        others=[result for result, here in zip(results, made_here, strict=True) if not here],
    )


def asked_for(names: str | Sequence[str]) -> list[str]:
    """Return the names of readouts as a list."""
    if isinstance(names, str):
        return [names]
    return list(names)


def _unique_name(
    label: Hashable,
    along: tuple[Hashable, ...],
    name: str,
    signals: xr.Dataset,
    dims: set[Hashable],
) -> Hashable:
    """Return a unique name for a coordinate of a readout in the merged Dataset; those of sites keep their names."""
    if "dipole" in along and label != "dipole":
        return f"dipole_{label}"
    label = prefixed(label, along)
    taken = label in signals.coords and signals.variables[label].dims != along
    return f"{name}_{label}" if taken or (label in dims and along != (label,)) else label


#: The key of a setting that JSON cannot hold.
UNRECORDED = "unrecorded"


def restored(setting: Any) -> Any:
    """Return a setting as it was passed, from what the provenance holds of it."""
    if isinstance(setting, Mapping) and set(setting) == {"model", "parameters"}:
        kind: Any = MODELS[setting["model"]]
        given = {key: restored(value) for key, value in setting["parameters"].items()}
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in given.items()})
    return setting


def _json_safe(value: Any) -> Any:
    """Return a setting in a form that JSON holds and that means the same when passed again (`restored`)."""
    if is_ours(value):
        given = {f.name: _json_safe(getattr(value, f.name)) for f in fields(value)}
        return {"model": type(value).__name__, "parameters": given}
    if isinstance(value, xr.DataArray):
        unit = units_of(value)
        value = magnitude(value.transpose("channel", ...).variable.data)
        if unit is not None and not is_traced(value):
            return texts(np.asarray(value).tolist(), unit)
    if is_traced(magnitude(value)):
        return "traced"
    if is_quantity(value):
        return texts(np.asarray(magnitude(value)).tolist(), unit_of(value))
    if isinstance(value, (tuple, list)):
        return [_json_safe(v) for v in value]
    if isinstance(value, Mapping):
        return {str(key): _json_safe(v) for key, v in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    plain = value is None or isinstance(value, (str, int, float))
    return value if plain else {UNRECORDED: repr(value)}


def _resolve(name: str, made: dict[str, xr.Dataset], settings: Mapping[str, Any]) -> xr.Dataset:
    """Compute a readout and all that it needs, unless it was made before."""
    if name not in made:
        entry = registry.KNOWN[name]
        for need in entry.needs:
            if need in GIVEN and need not in made:
                raise VariableError.of(
                    name,
                    found=f"no {need}",
                    expected=GIVEN[need],
                    remedy=f"{GIVEN[need].split(' as in ')[-1]}, or in the probe of the configuration",
                )
        inputs = {
            need: _resolve(need, made, settings) if need in registry.KNOWN else made[need]
            for need in entry.needs
        }
        inputs |= {key: made[key] for key in entry.takes if key in made}
        own = {key: value for key, value in settings.items() if key in entry.settings}
        result = entry.function(**inputs, **own)
        raise_problems(_output_problems(name, result))
        raise_problems(_misfits(name, result, "the Signals", made["signals"]))
        made[name] = result
    return made[name]


def _output_problems(name: str, result: object) -> list[Problem]:
    """Return the problems of the result of a readout."""
    remedy = f"end the readout in: return xr.Dataset({{{name!r}: array}}), or array.to_dataset(name={name!r})"
    if isinstance(result, xr.Dataset):
        found = f"the variables {list(map(str, result.data_vars))}"
        if list(result.data_vars) in ([name], [f"{name}_proxy"]):
            return []
        first = next(iter(result.data_vars), "made")
        remedy = (
            f"end the readout in: return made.rename({{{first!r}: {name!r}}}), or made[[{name!r}]]"
        )
    else:
        found = "None" if result is None else f"a {type(result).__name__}"
    expected = f"a Dataset with one variable, {name!r}"
    return [Problem(f"readout {name}", f"{found}, returned", expected, remedy, VariableError)]


def _misfits(name: str, result: xr.Dataset, whose: str, other: xr.Dataset) -> list[Problem]:
    """Return the problem of every dim that a readout and another Dataset share, but with other sizes or labels."""
    problems = []
    sizes, against = result.sizes, other.sizes
    for dim in (d for d in sizes if d in against):
        found = ""
        if sizes[dim] != against[dim]:
            found = f"{sizes[dim]} along {dim!r}, against {against[dim]} of {whose}"
        elif dim in result.variables and dim in other.variables:
            mine, theirs = (ds.variables[dim] for ds in (result, other))
            if mine is not theirs and not same_labels(dim, theirs, mine):
                a, b = (np.asarray(v.data) for v in (mine, theirs))
                found = f"other labels along {dim!r} than those of {whose}, the first {a.flat[0]} and {b.flat[0]}"
        if found:
            problems.append(
                Problem(
                    where=f"readout {name}",
                    found=found,
                    expected=f"the same {dim}, or a dim with another name",
                    remedy=f'made.rename({dim}="{dim}_of_{name}") in the readout, '
                    "or call compute_readout separately",
                    error=DimensionError,
                )
            )
    return problems


def _unknown_names(asked: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            name,
            "a readout that is not known",
            f"some of {list(registry.KNOWN)}",
            "jfx.readouts()",
            ArgumentError,
        )
        for name in asked
        if name not in registry.KNOWN
    ]


def _unknown_settings(asked: Sequence[str], settings: Mapping[str, Any]) -> list[Problem]:
    known = sorted({key for name in chain(asked) for key in registry.KNOWN[name].settings})
    return [
        Problem(
            key,
            f"a setting that none of {list(asked)} takes",
            f"some of {known}",
            "leave it out",
            ArgumentError,
        )
        for key in settings
        if key not in known
    ]
