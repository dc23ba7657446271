"""A right call of every public function, class and method, and values that are wrong for most parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import quantity

V = np.array([[-65.0, -60.0, 10.0, -70.0] * 6, [-65.0, -64.0, -20.0, -66.0] * 6])
ARRAY = xr.DataArray(np.ones((2, 3)), dims=("a", "b"))


@dataclass(frozen=True)
class Call:
    """A public function (or class, or method), and arguments with which it works."""

    function: Callable[..., Any]
    right: dict[str, Any]

    def parameters(self) -> list[inspect.Parameter]:
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        return [p for p in inspect.signature(self.function).parameters.values() if p.kind in kinds]

    def __call__(self, **other: Any) -> Any:
        return self.function(**{**self.right, **other})


#: Wrong for most parameters. Each call gets a new one.
VALUES: dict[str, Callable[[], Any]] = {
    # types
    "None": lambda: None,
    "True": lambda: True,
    "text": lambda: "nonsense",
    "empty text": lambda: "",
    "bytes": lambda: b"12",
    "dict": lambda: {"a": 1},
    "empty dict": dict,
    "set": lambda: {1, 2},
    "object": object,
    "function": lambda: lambda *a, **k: None,
    "type": lambda: float,
    "slice": lambda: slice(0, 2),
    "generator": lambda: (i for i in range(3)),
    "complex": lambda: 1 + 2j,
    "Decimal": lambda: Decimal("1.5"),
    "Fraction": lambda: Fraction(3, 2),
    "date": lambda: np.datetime64("2020-01-01"),
    "timedelta": lambda: np.timedelta64(5, "ms"),
    "Path": lambda: Path("no/such/file"),
    # xarray, pandas, NumPy, JAX
    "Dataset": lambda: ARRAY.to_dataset(name="q"),
    "empty Dataset": xr.Dataset,
    "DataArray": lambda: ARRAY,
    "0-d DataArray": lambda: xr.DataArray(2.0),
    "Variable": lambda: ARRAY.variable,
    "DataTree": lambda: xr.DataTree(ARRAY.to_dataset(name="q")),
    "Series": lambda: pd.Series([1.0, 2.0, 3.0]),
    "DataFrame": lambda: pd.DataFrame({"a": [1.0, 2.0]}),
    "masked": lambda: np.ma.masked_greater(np.array([1.0, 2.0, 3.0]), 2.0),
    "0-d array": lambda: np.array(2.0),
    "0-d text array": lambda: np.array("a"),
    "object array": lambda: np.array([1, "a", None], dtype=object),
    "text array": lambda: np.array(["a", "b"]),
    "bool array": lambda: np.array([True, False, True]),
    "complex array": lambda: np.array([1 + 2j, 2.0, 3.0]),
    "JAX array": lambda: jnp.array([1.0, 2.0, 3.0]),
    "JAX bool": lambda: jnp.array(True),
    # units
    "text of a number": lambda: "12",
    "wrong unit": lambda: "3 kg",
    "unreadable unit": lambda: "3 frobs",
    "unit alone": lambda: "mV",
    "offset unit": lambda: "3 degC",
    "huge text": lambda: "1e400 deg",
    "nan text": lambda: "nan um",
    "wrong quantity": lambda: quantity(np.array(3.0), "kg"),
    "wrong quantities": lambda: quantity(np.array([1.0, 2.0, 3.0]), "kg"),
    # shapes
    "empty list": list,
    "empty array": lambda: np.zeros(0),
    "list of one": lambda: [1.0],
    "list of 5": lambda: [1.0, 2.0, 3.0, 4.0, 5.0],
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "2-D": lambda: np.ones((2, 2)),
    "4-D": lambda: np.ones((2, 1, 1, 2)),
    "list of names": lambda: ["a", "b"],
    "list of None": lambda: [None, None],
    "list of dicts": lambda: [{}],
    "tuple of lists": lambda: ([], []),
    # numbers
    "NaN": lambda: float("nan"),
    "Inf": lambda: float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "1e308": lambda: 1e308,
    "-1e308": lambda: -1e308,
    "1e-320": lambda: 1e-320,
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "NaN list": lambda: [float("nan"), 1.0, 2.0],
    "Inf array": lambda: np.array([np.inf, 1.0, 2.0]),
    "NaN JAX": lambda: jnp.array(jnp.nan),
    "NaN NumPy": lambda: np.float32("nan"),
    "pair of NaN": lambda: (float("nan"), float("nan")),
    "pair reversed": lambda: (5.0, 1.0),
    "bands of NaN": lambda: {"a": (float("nan"), 5.0)},
    "bands of text": lambda: {"a": "b"},
    # names
    "number for a name": lambda: 3,
    "tuple for a name": lambda: ("a", "b"),
}


def is_hashable(value: str) -> bool:
    """Whether one of `VALUES` has a hash, so that xarray takes it for a name."""
    try:
        hash(VALUES[value]())
    except TypeError:
        return False
    return value != "None"


def cell() -> xr.Dataset:
    ends = [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]]
    return jfx.morphology(*ends, diameter=2.0, parent=[-1, 0])


class ScalpProbe:
    """What `from_probeinterface` reads of a probe."""

    contact_positions = np.array([[0.0, 0.0], [0.0, 20.0]])
    si_units = "um"
    contact_shapes = ("circle", "circle")
    contact_shape_params = ({"radius": 5.0}, {"radius": 5.0})
    contact_plane_axes = np.array([np.eye(2)] * 2)
    contact_ids = None
    shank_ids = None


def calls(folder: Path) -> dict[str, Call]:
    """Return a right call of everything public."""
    morphology = cell()
    bare = jfx.traces(V, ("recording", "time"), dt_ms=0.1)
    ds = bare.jfne.with_morphology(morphology)
    plain = jfx.traces(V.astype("f4"), ("recording", "time"), dt_ms=0.1, quantify=False)
    probe = jfx.linear_probe(5, origin=(50, 0, 0))
    signals, currents = ds.jfne.to_signals(source=V), ds.jfne.transmembrane_currents()
    signals = signals.assign_coords(population=("recording", ["E", "I"]))
    lfp, dipoles = currents.jfne.lfp(probe), currents.jfne.dipole_moment()
    places = 90 * np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, -1, 0]])
    cap = jfx.probe_at(places, units="mm", normal=[1, 1, 1], dim="channel")
    psd = lfp.jfne.psd(segment=1.6)
    near, placed = jfx.lfp_proxy(signals, probe), dipoles.jfne.move_to(x=0, y=0, z="70 mm")
    toy, dense = jfx.eeg_proxy(signals, cap), jfx.csd_proxy(near)
    eeg = jfx.eeg(placed, cap, jfx.InfiniteHomogeneous())
    cfg = (
        jfx.configuration()
        .network(n=2)
        .emitter(mode="external_voltage")
        .field(domain="laminar", sigma=120.0)
        .probe(name="p", contacts=jfx.linear_probe(2), modes=["lfp_proxy"])
    )
    point = cfg.field(domain="point").probe(name="soma", modes=["lfp_proxy"])
    model = jfx.construct(point)
    run = model.simulate_external(V.T, dt_ms=0.1)
    tree = jfx.bundle(model, run, model.compute_readout(run))
    stored = jfx.to_netcdf(signals, folder / "stored.nc")
    hertz = xr.DataArray(1.0, attrs={"units": "Hz"})
    start, end = [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]]
    band = {"all": (0, 3000)}
    one = {"signals": signals}
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "traces": (None, {"data": V, "dims": ("unit", "time"), "dt_ms": 0.1}),
        "quantify": (None, {"ds": plain}),
        "to_jax": (None, {"ds": plain}),
        "validate": (None, {"ds": ds}),
        "to_signals": (None, {"ds": ds}),
        "jaxley_trace_to_signals": (None, {"trace": V.T}),
        "soft_firing_rate": (None, {"signals": ds}),
        "soft_spike_times": (None, {"signals": ds, "n": 2}),
        "with_morphology": (None, {"ds": bare, "morphology": morphology}),
        "lead_field": (None, {"sites": currents, "probe": probe}),
        "lfp": (None, {"ds": currents, "probe": probe}),
        "check_currents": (None, {"ds": currents}),
        "transmembrane_currents": (None, {"ds": ds}),
        "dipole_moment": (None, {"ds": currents}),
        "ground_truth_csd": (None, {"ds": currents, "bins": [0.0, 10.0, 20.0]}),
        "spike_times": (None, one),
        "firing_rate": (None, one),
        "spk": (None, one),
        "vm": (None, one),
        "spike_rate_hz": (None, one),
        "silent_fraction": (None, one),
        "spike_count": (None, one),
        "mean_V_m": (None, one),
        "synaptic_source": (None, one),
        "source": (None, one),
        "source_abs_mean": (None, {"source": jfx.source(signals)}),
        "eeg_proxy": (None, {"source": signals, "sensors": cap}),
        "meg_proxy": (None, {"source": signals, "sensors": cap}),
        "lfp_proxy": (None, {"source": signals, "probe": probe}),
        "compute_readout": (None, {"signals": signals, "names": "lfp_proxy", "probe": probe}),
        "csd": (None, {"lfp": lfp}),
        "psd": (None, {"data": lfp}),
        "calibrate": (None, {"readout": lfp, "reference": lfp}),
        "coherence": (None, {"data": signals.V_m, "other": signals.V_m[::-1], "segment": 0.8}),
        "band_power": (None, {"spectrum": psd, "bands": band}),
        "csd_proxy": (None, {"lfp_proxy": near}),
        "lfp_abs_mean": (None, {"lfp_proxy": near}),
        "csd_abs_mean": (None, {"csd_proxy": dense}),
        "eeg_power": (None, {"eeg_proxy": toy}),
        "emm_proxy": (
            None,
            {"signals": signals, "source": jfx.source(signals), "lfp_proxy": near},
        ),
        "translate": (None, {"data": ds, "x": 5.0}),
        "move_to": (None, {"dipoles": dipoles, "x": 0, "y": 0, "z": "70 mm"}),
        "rotate": (None, {"dipoles": dipoles, "angle": "90 deg", "axis": "x"}),
        "eeg": (
            None,
            {"dipoles": placed, "sensors": cap, "head": jfx.InfiniteHomogeneous()},
        ),
        "meg": (None, {"dipoles": placed, "sensors": cap, "head": jfx.InfiniteHomogeneous()}),
        "mean_square_loss": (None, {"simulated": lfp, "reference": lfp + lfp}),
        "correlation_loss": (None, {"simulated": signals, "reference": signals, "variable": "V_m"}),
        "spectrum_loss": (None, {"simulated": lfp, "reference": lfp + lfp}),
        "rate_loss": (None, {"simulated": signals, "reference": hertz}),
        "summary": (None, {"signals": signals, "bin": 0.4, "bands": band}),
        "concat": (None, {"datasets": [ds, ds], "dim": "trial"}),
        "merge": (None, {"datasets": [ds, ds[["v"]].rename(v="w")]}),
        "morphology": (None, {"start": start, "end": end, "diameter": 2.0, "parent": [-1, 0]}),
        "linear_probe": (None, {"n": 3}),
        "grid_probe": (None, {"shape": (2, 3)}),
        "probe_at": (None, {"positions": start}),
        "from_probeinterface": (None, {"probe": ScalpProbe()}),
        "montage": (None, {"name": "biosemi16"}),
        "construct": (None, {"configuration": cfg}),
        "bundle": (
            None,
            {"model": model, "signals": run, "readouts": model.compute_readout(run)},
        ),
        "replay": (None, {"tree": tree}),
        "readout": (None, {"units": "mV", "formula": "f"}),
        "open": (None, {"path": stored}),
        "to_netcdf": (None, {"data": signals, "path": folder / "made.nc"}),
        "report": (None, {"data": signals, "path": folder / "made.html"}),
        "jit": (None, {"fn": abs}),
        "checkify": (None, {"fn": abs}),
        "grad": (None, {"fn": abs}),
        "value_and_grad": (None, {"fn": abs}),
        "vmap": (None, {"fn": abs, "dim": "unit"}),
        "scan": (
            None,
            {"fn": lambda c, x: (c, x), "init": 0.0, "xs": plain.v, "dim": "time"},
        ),
        "PointSource": (None, {}),
        "LineSource": (None, {}),
        "RootAsPoint": (None, {}),
        "Slab": (None, {"thickness": 100.0}),
        "OneSphere": (None, {"radius": 100.0}),
        "FourSphere": (None, {}),
        "InfiniteHomogeneous": (None, {}),
        "Spherical": (None, {}),
        "LeadField": (None, {"array": np.ones((2, 3, 1)), "given_units": "uV/(nA*um)"}),
        "JaxleyTraceSpec": (None, {}),
        "Configuration.network": (cfg.network, {"n": 2}),
        "Configuration.emitter": (
            cfg.emitter,
            {"mode": "external_spikes", "family": "custom"},
        ),
        "Configuration.field": (cfg.field, {"domain": "laminar", "sigma": 120.0}),
        "Configuration.probe": (cfg.probe, {"contacts": jfx.linear_probe(2)}),
        "Model.simulate_external": (model.simulate_external, {"source": V.T, "dt_ms": 0.1}),
        "Model.compute_readout": (model.compute_readout, {"signals": run}),
        "plot.traces": (jfx.plot.traces, {"ds": signals}),
        "plot.raster": (jfx.plot.raster, {"ds": signals}),
        "plot.spectrum": (jfx.plot.spectrum, {"ds": signals}),
        "plot.spectrogram": (jfx.plot.spectrogram, {"ds": signals.isel(recording=0)}),
        "plot.summary": (
            jfx.plot.summary,
            {"ds": jfx.summary(signals, bin=0.4, bands=band)},
        ),
        "plot.lfp": (jfx.plot.lfp, {"ds": lfp}),
        "plot.csd": (jfx.plot.csd, {"ds": jfx.csd(lfp)}),
        "plot.probe": (jfx.plot.probe, {"ds": jfx.lead_field(currents, probe)}),
        "plot.morphology": (jfx.plot.morphology, {"ds": morphology}),
        "plot.topomap": (jfx.plot.topomap, {"ds": eeg.isel(time=0)}),
    }
    return {
        name: Call(function or getattr(jfx, name), right)
        for name, (function, right) in made.items()
    }
