"""Bundles: a run as one tree, which is saved as one file and can be repeated bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_jax
from jaxfne_xr.core.cards import Badge, Card, Table
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import Problem, SchemaError, raise_problems
from jaxfne_xr.core.inputs import structure_of
from jaxfne_xr.core.progress import progress, working
from jaxfne_xr.core.types import Record, Stage
from jaxfne_xr.core.units import bare, is_quantity, magnitude, quantity, units_of
from jaxfne_xr.core.validation import validate
from jaxfne_xr.fields.conductors import LineSource
from jaxfne_xr.signals.traces import to_jax

from .configuration import Configuration
from .manifest import in_memory, mistaken, not_finite
from .model import BARE, Model, construct
from .readouts import UNRECORDED, restored

#: Version of the tree's layout.
SCHEMA_VERSION = 1


@public
def bundle(model: Model, signals: Stage, readouts: Stage) -> xr.DataTree:
    """Collect a run in one tree, which `to_netcdf` writes as one file and `replay` repeats.

    Parameters
    ----------
    model : Model
        The model that made the Signals.
    signals : xr.Dataset
        From ``model.simulate_external``.
    readouts : xr.Dataset
        From ``model.compute_readout``.

    Returns
    -------
    xr.DataTree
        The groups ``signals``, ``readouts`` and, if the model has them, ``probe`` and ``sensors``. The attrs of the
        root hold the configuration (JSON) and its hash, scope, provenance with versions, and the report of `validate`.

    Raises
    ------
    NonFiniteError
        If a readout is not finite; the error names it. For dask arrays, raised when the tree is computed or written;
        no file is left then.
    SchemaError
        If the readouts are not as ``compute_readout`` returned them, since `replay` can repeat nothing else; if Signals
        or readouts are something else, such as swapped.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cfg = (jfx.configuration().network(n=1).emitter(mode="external_voltage")
    ...        .field(domain="point").probe(name="soma", modes=["lfp_proxy"]))
    >>> model = jfx.construct(cfg)
    >>> signals = model.simulate_external(np.full((5, 1), -65.0), dt_ms=0.1)
    >>> tree = bundle(model, signals, model.compute_readout(signals))
    >>> sorted(tree.children), bool(replay(tree))
    (['probe', 'readouts', 'signals'], True)
    """
    if not isinstance(model, Model):
        found, remedy = f"a {type(model).__name__}", "jfx.construct(configuration)"
        raise SchemaError.of("model", found=found, expected="the Model that ran", remedy=remedy)
    raise_problems(mistaken(signals, readouts))
    raise_problems(_unknown_origin(readouts) + not_finite(readouts))
    places = {"probe": model.contacts(), "sensors": model.configuration.stages["probe"]["sensors"]}
    parts = {"signals": signals, "readouts": _watched(readouts)}
    first = provenance.begin("probe", {}, stage="probe", origin="probe")
    parts |= {name: ds.assign_attrs(first) for name, ds in places.items() if ds is not None}
    attrs = {
        **provenance.at_stage(readouts, "bundle"),
        "bundle_schema": SCHEMA_VERSION,
        "configuration": model.configuration.to_json(),
        "configuration_hash": model.configuration.hash(),
        "computed_on": json.dumps(_computed_on(signals), sort_keys=True),
        "validation": str(validate(signals)),
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **parts})


def _watched(readouts: xr.Dataset) -> xr.Dataset:
    """Return readouts with checks that dask arrays are finite, run as they are computed: nothing is read twice."""
    lazy = {
        name: checked(variable.variable, str(name))
        for name, variable in readouts.data_vars.items()
        if is_dask(bare(variable.variable._data)) and variable.dtype.kind == "f"
    }
    return readouts.assign(lazy)


def _unknown_origin(readouts: xr.Dataset) -> list[Problem]:
    """Return the problems of readouts that `replay` could not compute again."""
    steps = provenance.steps_of(readouts)
    last = steps[-1]["function"] if steps else "no record"
    if last == "compute_readout":
        settings = steps[-1]["parameters"].get("settings", {})
        return [
            Problem(
                where=key,
                found=f"a setting that cannot be stored: {value[UNRECORDED][:60]}",
                expected="numbers, strings, arrays of them, or a model of this package",
                remedy="define a readout that makes it, or save the result next to the bundle",
                error=SchemaError,
            )
            for key, value in settings.items()
            if isinstance(value, Mapping) and UNRECORDED in value
        ]
    return [
        Problem(
            where="readouts",
            found=f"{last!r} as the last step of their provenance",
            expected="what model.compute_readout returned, or some of its variables",
            remedy="model.compute_readout(signals, names); save other results next to the bundle",
            error=SchemaError,
        )
    ]


@dataclass(frozen=True)
class Replay:
    """The result of running a bundle again; true if every number is bit-identical.

    Attributes
    ----------
    differences : mapping of str to float
        The largest difference of each variable, such as ``"signals/V_m"``: 0.0 if it is bit-identical, infinite if
        shape or dtype differ.
    """

    differences: Mapping[str, float]

    def __bool__(self) -> bool:
        return not any(self.differences.values())

    def __str__(self) -> str:
        other = [
            f"{name}: differs by up to {gap:g}" for name, gap in self.differences.items() if gap
        ]
        return "\n".join([f"replay: {self._result()}", *other])

    __repr__ = __str__

    def _result(self) -> str:
        same = [gap for gap in self.differences.values() if gap == 0]
        return f"{len(same)} of {len(self.differences)} variables bit-identical"

    def _repr_html_(self) -> str:
        gaps = self.differences.items()
        rows = tuple((name, f"{gap:g}" if gap else "none: bit-identical") for name, gap in gaps)
        badge = Badge("the same", "good") if self else Badge("differs", "bad")
        table = Table(("variable", "largest difference"), rows)
        return Card("Replay", (("result", self._result()), ("variables", table)), badge).html()


@public
def replay(tree: xr.DataTree) -> Replay:
    """Run the stored configuration on the stored source again, and compare with the stored results.

    Parameters
    ----------
    tree : xr.DataTree
        From `bundle`, or from `open`.

    Returns
    -------
    Replay
        True if everything is bit-identical, as it is on the same machine with the same versions.

    Raises
    ------
    SchemaError
        If it is not a bundle, or was made by a newer version.
    """
    is_bundle = isinstance(tree, xr.DataTree) and {"signals", "readouts"} <= set(tree.children)
    attrs = tree.attrs if is_bundle else {}
    version = attrs.get("bundle_schema")
    if version is None or int(version) > SCHEMA_VERSION:
        raise SchemaError.of(
            "bundle",
            found="no bundle" if version is None else f"schema version {version}",
            expected=f"a tree made by bundle, of version {SCHEMA_VERSION} or older",
            remedy="jfx.bundle(model, signals, readouts)"
            if version is None
            else "pip install --upgrade jaxfne-xr",
        )
    stored_signals, stored = tree["signals"].to_dataset(), tree["readouts"].to_dataset()
    model = construct(Configuration.from_dict(json.loads(attrs["configuration"])))
    # signals hold the voltage as V_m; a source that was given with the voltages drives the model too
    source = BARE[model.configuration.stages["emitter"]["mode"]][0]
    source = "V_m" if source == "v" else source
    driving = [source, *({"source"} & {*stored_signals} if source == "V_m" else ())]
    driven = _as_computed(stored_signals[driving], json.loads(attrs["computed_on"]))
    # conductances (edge) are not simulated, so they are passed on as they are, with the ends of the edges
    structure = {n: stored_signals[n].compute() for n in structure_of(stored_signals)}
    steps = provenance.steps_of(stored)
    asked = steps[-1]["parameters"]
    settings = {key: restored(value) for key, value in asked["settings"].items()}
    if settings.get("model") is None and any(map(_took_points, steps)):
        settings["model"] = LineSource(shape="point")
    with working("replay"):
        signals = model.simulate_external(driven.assign(structure))
        readouts = model.compute_readout(signals, asked["names"], **settings)
    pairs = []
    for part, before, after in (
        ("signals", stored_signals, signals),
        ("readouts", stored, readouts),
    ):
        before, after = in_memory(before), in_memory(after)
        for name, variable in before.data_vars.items():
            again = after[name].variable if name in after else None
            pairs.append((f"{part}/{name}", variable.variable, again))
    compared = progress(pairs, "comparing")
    return Replay({name: _difference(before, after) for name, before, after in compared})


def _took_points(step: Record) -> bool:
    """Whether potentials were made by a version whose default model took all contacts for points."""
    parameters = step["parameters"]
    return (
        step["function"] == "lfp"
        and parameters.get("shape") == "point"
        and "contacts" not in parameters
    )


def _difference(a: xr.Variable, b: xr.Variable | None) -> float:
    """Return the largest difference between two variables; 0 only if they are bit-identical."""
    if b is None or a.dims != b.dims or a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    x, y = (np.asarray(magnitude(v.data)) for v in (a, b))
    if x.tobytes() == y.tobytes():
        return 0.0
    gap = np.abs(x.astype(float) - y.astype(float)).max()
    # equal numbers, other bits: -0.0, or another NaN
    return float(gap) if gap > 0 else float("inf")


def _computed_on(signals: xr.Dataset) -> dict[str, Any]:
    """Return the kind of array of Signals, with chunks or strides, on which the order of sums, so rounding, depends."""
    variable = next(iter(signals.data_vars.values())).variable
    data = magnitude(variable.data)
    if is_dask(data):
        return {
            "kind": "dask",
            "chunks": dict(zip(map(str, variable.dims), data.chunks, strict=True)),
        }
    if is_jax(data):
        return {"kind": "jax"}
    strides = {
        str(name): dict(zip(map(str, x.dims), bare(x.variable._data).strides, strict=True))
        for name, x in signals.data_vars.items()
        if isinstance(bare(x.variable._data), np.ndarray)
    }
    return {"kind": "numpy", "strides": strides}


def _as_computed(ds: xr.Dataset, on: Mapping[str, Any]) -> xr.Dataset:
    """Return stored data in the kind of array it was computed on, with the same chunks or strides."""
    if on["kind"] == "jax":
        return to_jax(ds)
    changed = {}
    for name, variable in ds.data_vars.items():
        dims, data = variable.dims, magnitude(variable.variable.data)
        if on["kind"] == "dask":
            import dask.array

            data = dask.array.asarray(data).rechunk([tuple(on["chunks"][str(d)]) for d in dims])
        else:
            strides = on["strides"][str(name)]
            data = _laid_out(data, [strides[str(d)] for d in dims])
        if is_quantity(variable.variable.data):
            data = quantity(data, str(units_of(variable)))
        changed[name] = xr.Variable(dims, data, variable.attrs)
    return ds.assign(changed)


def _laid_out(data: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """Return a copy with the given strides: NumPy sums a sliced array in another order than a contiguous one."""
    reach = [step * (n - 1) for step, n in zip(strides, data.shape, strict=True)]
    memory = np.empty(sum(map(abs, reach)) + data.itemsize, np.uint8)
    first = -sum(step for step in reach if step < 0)
    copy: np.ndarray = np.ndarray(data.shape, data.dtype, memory, first, strides)
    copy[...] = data
    return copy
