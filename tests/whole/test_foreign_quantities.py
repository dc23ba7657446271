"""Quantities of other libraries at every parameter of every public function: converted or refused, never read bare."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parent))
from foreign_quantities import LIBRARIES, brainunit, brian2

from jaxfne_xr.core.units import convert, is_quantity, magnitude, units_of

random = np.random.default_rng(3)
T, N = 40, 3
V = random.normal(-40, 20, (T, N))
PLACES = [[0.0, 0, 0], [30, 0, 40], [0, 60, 90]]
POSITIONS = {a: ("unit", np.array(PLACES)[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
PROBE = jfx.linear_probe(4, 50.0, origin=(90, 0, 0))
SENSORS = jfx.probe_at([[0, 0, 9e4], [6e4, 0, 6.7e4]], dim="channel", normal=(0, 0, 1))
CELL = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], 2.0, [-1, 0])


def labelled(data: Any = V, name: str = "v", units: str = "mV", **coords: Any) -> xr.Dataset:
    return jfx.traces(data, ("time", "unit"), dt_ms=0.5, name=name, units=units, coords=coords)


TRACES = labelled(**POSITIONS)
SIGNALS = TRACES.jfne.to_signals(spike_threshold=-40.0, source=V / 10)
LFP = jfx.lfp(SIGNALS, PROBE, jfx.PointSource(0.3, min_distance=5.0))
CLOSED = jfx.traces(
    np.outer([1.0, -1.0], V[:, 0]), ("recording", "time"), dt_ms=0.5, name="i_membrane", units="nA"
).jfne.with_morphology(CELL)
DIPOLES = jfx.move_to(jfx.dipole_moment(CLOSED), x=0, y=0, z=7e4)
CURRENTS = labelled(V, "source", "nA", **POSITIONS)
EXTERNAL = jfx.construct(
    jfx.configuration()
    .network(n=N)
    .emitter(mode="external_current")
    .field(domain="point")
    .probe(name="p")
)


def with_lead_field(array: Any) -> xr.Dataset:
    units = "uV/(nA*um)" if type(array) is np.ndarray else None
    return jfx.eeg(DIPOLES, head=jfx.LeadField(array, units))


#: For each function its right arguments, and the unit of those that have one. "1": pure numbers, converted from %.
CALLS: dict[str, tuple[Any, dict[str, Any], dict[str, str]]] = {
    "traces": (
        jfx.traces,
        {"data": V, "dims": ("time", "unit"), "dt_ms": 0.5, "time": np.arange(T) * 0.5},
        {"data": "mV", "dt_ms": "ms", "time": "ms"},
    ),
    "jaxley_trace_to_signals": (
        jfx.jaxley_trace_to_signals,
        {"trace": V, "layout": "time_by_unit", "dt_ms": 0.5, "source": V / 10},
        {"trace": "mV", "dt_ms": "ms", "source": "nA"},
    ),
    "JaxleyTraceSpec": (
        lambda **k: jfx.JaxleyTraceSpec(**k).to_dict(),
        {"dt_ms": 0.5, "spike_threshold": -40.0, "refractory": 3.0},
        {"dt_ms": "ms", "spike_threshold": "mV", "refractory": "ms"},
    ),
    "to_signals": (
        jfx.to_signals,
        {
            "ds": TRACES,
            "dt_ms": 0.5,
            "spike_threshold": -40.0,
            "source": V / 10,
            "refractory": 3.0,
        },
        {"dt_ms": "ms", "spike_threshold": "mV", "source": "nA", "refractory": "ms"},
    ),
    "to_signals, surrogate": (
        jfx.to_signals,
        {"ds": TRACES, "surrogate": "arctan", "slope": 0.1},
        {"slope": "1/mV"},
    ),
    "soft_firing_rate": (
        jfx.soft_firing_rate,
        {"signals": SIGNALS, "spike_threshold": -40.0, "slope": 0.1},
        {"spike_threshold": "mV", "slope": "1/mV"},
    ),
    "soft_spike_times": (
        jfx.soft_spike_times,
        {"signals": SIGNALS, "n": 2, "spike_threshold": -40.0, "fill": 100.0, "refractory": 3.0},
        {"spike_threshold": "mV", "fill": "ms", "refractory": "ms"},
    ),
    "synaptic_source": (
        jfx.synaptic_source,
        {"signals": SIGNALS, "tau": 5.0, "weight": 2.0},
        {"tau": "ms", "weight": "nA"},
    ),
    "simulate_external": (
        EXTERNAL.simulate_external,
        {"source": V, "dt_ms": 0.5},
        {"source": "nA", "dt_ms": "ms"},
    ),
    "emitter": (
        jfx.configuration().emitter,
        {"mode": "external_spikes", "tau": 4.0, "weight": 2.0},
        {"tau": "ms", "weight": "nA"},
    ),
    "emitter, voltage": (
        jfx.configuration().emitter,
        {"spike_threshold": -40.0},
        {"spike_threshold": "mV"},
    ),
    "field": (
        jfx.configuration().field,
        {"domain": "laminar", "sigma": 120.0},
        {"sigma": "um"},
    ),
    "probe": (
        jfx.configuration().probe,
        {"eeg_lead_field": np.ones((2, N)), "meg_lead_field": np.ones((2, N))},
        {"eeg_lead_field": "uV/nA", "meg_lead_field": "fT/nA"},
    ),
    "linear_probe": (
        jfx.linear_probe,
        {
            "n": 3,
            "spacing": 50.0,
            "origin": (1.0, 2, 3),
            "direction": (0.0, 3, 4),
            "radius": 7.0,
            "normal": (1.0, 2, 3),
        },
        {"spacing": "um", "origin": "um", "direction": "um", "radius": "um", "normal": "um"},
    ),
    "grid_probe": (
        jfx.grid_probe,
        {
            "shape": (2, 2),
            "spacing": (20.0, 30.0),
            "origin": (1.0, 2, 3),
            "rows": (0.0, 3, 4),
            "columns": (1.0, 0, 0),
            "radius": 7.0,
            "normal": (1.0, 2, 3),
        },
        {
            "spacing": "um",
            "origin": "um",
            "rows": "um",
            "columns": "um",
            "radius": "um",
            "normal": "um",
        },
    ),
    "probe_at": (
        jfx.probe_at,
        {"positions": PLACES, "radius": [1.0, 2, 3], "normal": PLACES[1:] + PLACES[1:2]},
        {"positions": "um", "radius": "um", "normal": "um"},
    ),
    "morphology": (
        jfx.morphology,
        {
            "start": PLACES[:2],
            "end": PLACES[1:],
            "diameter": [2.0, 3],
            "parent": [-1, 0],
            "at": [1.0, 0.5],
            "length": [60.0, 90],
            "axial_resistivity": 120.0,
            "membrane_area": [100.0, 200],
        },
        {
            "start": "um",
            "end": "um",
            "diameter": "um",
            "length": "um",
            "axial_resistivity": "ohm*cm",
            "membrane_area": "um^2",
            "at": "1",
        },
    ),
    "move_to": (
        jfx.move_to,
        {"dipoles": DIPOLES, "x": 1.0, "y": 2.0, "z": 7e4},
        {"x": "um", "y": "um", "z": "um"},
    ),
    "translate": (
        jfx.translate,
        {"data": CURRENTS, "x": 1.0, "y": [2.0, 3, 4], "z": 3.0},
        {"x": "um", "y": "um", "z": "um"},
    ),
    "rotate": (
        jfx.rotate,
        {"dipoles": DIPOLES, "angle": 30.0, "axis": (0.0, 1, 1), "origin": (1.0, 2, 3)},
        {"angle": "deg", "axis": "um", "origin": "um"},
    ),
    "rotate, to": (jfx.rotate, {"dipoles": DIPOLES, "to": (0.0, 1, 1)}, {"to": "um"}),
    "dipole_moment": (jfx.dipole_moment, {"ds": CLOSED, "origin": (1.0, 2, 3)}, {"origin": "um"}),
    "csd": (
        jfx.csd,
        {
            "lfp": LFP,
            "method": "delta",
            "conductivity": 0.3,
            "radius": 250.0,
            "conductivity_top": 0.1,
            "surface": 300.0,
        },
        {"conductivity": "S/m", "radius": "um", "conductivity_top": "S/m", "surface": "um"},
    ),
    "csd, kernel": (
        jfx.csd,
        {
            "lfp": LFP,
            "method": "kernel",
            "at": [10.0, 50, 90],
            "width": [40.0],
            "regularisation": [0.01],
        },
        {"at": "um", "width": "um", "regularisation": "1"},
    ),
    "ground_truth_csd": (
        jfx.ground_truth_csd,
        {"ds": CURRENTS, "bins": [-50.0, 0, 50, 150], "radius": 100.0, "centre": (1.0, 2)},
        {"bins": "um", "radius": "um", "centre": "um"},
    ),
    "lfp_proxy": (
        jfx.lfp_proxy,
        {"source": SIGNALS, "probe": PROBE, "sigma": 120.0, "domain": "laminar"},
        {"sigma": "um"},
    ),
    "eeg_proxy": (
        jfx.eeg_proxy,
        {"source": SIGNALS, "eeg_lead_field": np.ones((2, N))},
        {"eeg_lead_field": "uV/nA"},
    ),
    "meg_proxy": (
        jfx.meg_proxy,
        {"source": SIGNALS, "meg_lead_field": np.ones((2, N))},
        {"meg_lead_field": "fT/nA"},
    ),
    "compute_readout": (
        jfx.compute_readout,
        {
            "signals": SIGNALS,
            "names": ["lfp_proxy", "eeg_proxy"],
            "probe": PROBE,
            "sigma": 120.0,
            "domain": "volume",
            "eeg_lead_field": np.ones((2, N)),
        },
        {"sigma": "um", "eeg_lead_field": "uV/nA"},
    ),
    "emm_proxy": (
        lambda **k: jfx.compute_readout(SIGNALS, "emm_proxy", probe=PROBE, domain="point", **k),
        {"emm_weights": (1.0, 2, 3), "emm_scales": (1.0, 2, 3)},
        {"emm_weights": "1", "emm_scales": "1"},
    ),
    "psd": (jfx.psd, {"data": TRACES, "segment": 10.0}, {"segment": "ms"}),
    "coherence": (
        jfx.coherence,
        {"data": TRACES, "other": TRACES, "segment": 10.0},
        {"segment": "ms"},
    ),
    "band_power": (
        jfx.band_power,
        {"spectrum": jfx.psd(TRACES), "bands": {"a": (200.0, 800.0)}},
        {"bands": "Hz"},
    ),
    "spectrum_loss": (
        jfx.spectrum_loss,
        {"simulated": TRACES, "reference": TRACES, "segment": 10.0, "frequencies": (200.0, 900.0)},
        {"segment": "ms", "frequencies": "Hz"},
    ),
    "summary": (
        jfx.summary,
        {
            "signals": SIGNALS,
            "by": None,
            "bin": 2.0,
            "window": (0.0, 16.0),
            "bands": {"a": (200.0, 800.0)},
            "segment": 8.0,
        },
        {"bin": "ms", "window": "ms", "segment": "ms", "bands": "Hz"},
    ),
    **{
        name: (getattr(jfx, name), {"signals": SIGNALS, "window": (2.0, 12.0)}, {"window": "ms"})
        for name in ("mean_V_m", "silent_fraction", "spike_count", "spike_rate_hz")
    },
    "source_abs_mean": (
        jfx.source_abs_mean,
        {"source": SIGNALS, "window": (2.0, 12.0)},
        {"window": "ms"},
    ),
    "PointSource": (
        jfx.PointSource,
        {"conductivity": (0.3, 0.4, 0.5), "min_distance": 5.0},
        {"conductivity": "S/m", "min_distance": "um"},
    ),
    "LineSource": (
        jfx.LineSource,
        {"conductivity": 0.3, "min_distance": 5.0},
        {"conductivity": "S/m", "min_distance": "um"},
    ),
    "RootAsPoint": (
        jfx.RootAsPoint,
        {"conductivity": 0.3, "min_distance": 5.0},
        {"conductivity": "S/m", "min_distance": "um"},
    ),
    "Slab": (
        jfx.Slab,
        {
            "thickness": 200.0,
            "conductivity": 0.3,
            "below": 0.1,
            "above": 1.5,
            "bottom": 10.0,
            "min_distance": 5.0,
        },
        {
            "thickness": "um",
            "conductivity": "S/m",
            "below": "S/m",
            "above": "S/m",
            "bottom": "um",
            "min_distance": "um",
        },
    ),
    "OneSphere": (
        jfx.OneSphere,
        {
            "radius": 9e4,
            "conductivity": 0.3,
            "outside": 0.1,
            "centre": (1.0, 2, 3),
            "min_distance": 5.0,
        },
        {
            "radius": "um",
            "conductivity": "S/m",
            "outside": "S/m",
            "centre": "um",
            "min_distance": "um",
        },
    ),
    "FourSphere": (
        jfx.FourSphere,
        {
            "radii": (7.9e4, 8e4, 8.5e4, 9e4),
            "conductivities": (0.3, 1.5, 0.015, 0.3),
            "centre": (1.0, 2, 3),
        },
        {"radii": "um", "conductivities": "S/m", "centre": "um"},
    ),
    "InfiniteHomogeneous": (
        jfx.InfiniteHomogeneous,
        {"conductivity": 0.3, "min_distance": 5.0},
        {"conductivity": "S/m", "min_distance": "um"},
    ),
    "Spherical": (
        jfx.Spherical,
        {"radius": 9e4, "centre": (1.0, 2, 3)},
        {"radius": "um", "centre": "um"},
    ),
    "LeadField": (with_lead_field, {"array": np.ones((2, 3, 1))}, {"array": "uV/(nA*um)"}),
}
#: Units that are the same quantity on another scale.
OTHER = {
    "mV": "V", "ms": "s", "nA": "pA", "um": "mm", "1/mV": "1/V", "S/m": "mS/cm", "ohm*cm": "ohm*m", "um^2": "mm^2",
    "Hz": "kHz", "deg": "rad", "uV/nA": "V/A", "fT/nA": "T/A", "uV/(nA*um)": "V/(A*m)",
}  # fmt: skip
#: Annotations of parameters that are quantities.
ANNOTATIONS = {
    *("Time", "Length", "Frequency", "Voltage", "Conductivity", "Scalar", "Scalars"),
    *("Window", "Interval", "Bands", "Array", "ArrayLike"),
}
#: Such parameters that are not tested here, and why.
EXEMPT = {
    ("configuration", "n"): "a whole number",
    ("morphology", "parent"): "whole numbers",
    ("morphology", "soma"): "True or False",
    ("ground_truth_csd", "grid"): "as bins",
    ("from_jaxley", "delta_t"): "needs Jaxley",
    ("from_jaxley", "recordings"): "refused: below",
    ("from_jaxley", "params"): "trees of Jaxley's parameters: refused, below",
    ("integrate_field", "params"): "trees of Jaxley's parameters: refused, in tests/io",
    ("integrate_field", "delta_t"): "needs Jaxley",
    ("integrate_field", "t_max"): "needs Jaxley",
}
PAIRS = [(name, key) for name, (_, _, units) in CALLS.items() for key in units]


def with_unit(value: Any, unit: str, library: str, scaled: str | None = None) -> Any:
    """Return a right argument as a quantity, on another scale."""
    make = LIBRARIES[library]
    if isinstance(value, dict):
        return {k: with_unit(v, unit, library, scaled) for k, v in value.items()}
    scaled = scaled or OTHER.get(unit, unit)
    return make(convert(np.asarray(value, float), unit, scaled), scaled)


def plain(result: Any) -> dict[str, tuple[Any, Any]]:
    """Return the numbers in a result, and their units."""
    if isinstance(result, xr.Dataset):
        return {
            str(name): (np.asarray(magnitude(v.data)), units_of(v))
            for name, v in result.variables.items()
            if v.dtype.kind in "fiub"
        }
    if isinstance(result, jfx.Configuration):
        return {
            f"{stage}.{key}": (np.asarray(value), None)
            for stage, options in result.stages.items()
            for key, value in options.items()
            if value is not None and np.asarray(value).dtype.kind in "fi"
        }
    if dataclasses.is_dataclass(result):
        result = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    return {
        key: (np.asarray(value), None)
        for key, value in result.items()
        if value is not None and np.asarray(value).dtype.kind in "fi"
    }


def assert_same(made: Any, right: Any) -> None:
    a, b = plain(made), plain(right)
    assert a
    assert a.keys() == b.keys()
    for name, (values, unit) in b.items():
        numbers, other = a[name]
        assert (other is None) == (unit is None), name
        numbers = numbers if unit is None else convert(numbers, other, unit)
        np.testing.assert_allclose(
            numbers, values, rtol=2e-5, atol=1e-6 * np.abs(values).max(initial=0), err_msg=name
        )


RIGHT: dict[str, Any] = {}


def right_result(name: str) -> Any:
    if name not in RIGHT:
        function, arguments, _ = CALLS[name]
        RIGHT[name] = function(**arguments)
    return RIGHT[name]


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_every_quantity_is_converted_whatever_its_library(name, key):
    function, arguments, units = CALLS[name]
    for library in LIBRARIES:
        value = with_unit(arguments[key], units[key], library)
        with np.errstate(all="ignore"):
            assert_same(function(**{**arguments, key: value}), right_result(name))


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_a_quantity_of_another_dimension_is_refused(name, key):
    function, arguments, _ = CALLS[name]
    for library in LIBRARIES:
        value = with_unit(arguments[key], "kg", library)
        with pytest.raises(jfx.JfneError) as caught:
            function(**{**arguments, key: value})
        assert any(p.error is jfx.UnitError for p in caught.value.problems), caught.value


@pytest.mark.parametrize(("name", "key"), PAIRS)
def test_a_list_of_quantities_is_converted(name, key):
    function, arguments, units = CALLS[name]
    value = arguments[key]
    if isinstance(value, dict) or np.ndim(value) == 0 or name.endswith("LeadField"):
        return
    for library in ("Brian2", "pint", "astropy"):
        nested = _nested(np.asarray(value, float), units[key], library)
        assert_same(function(**{**arguments, key: nested}), right_result(name))


def _nested(values: Any, unit: str, library: str) -> Any:
    if values.ndim:
        return [_nested(v, unit, library) for v in values]
    return with_unit(values, unit, library)


def test_every_parameter_that_is_a_quantity_is_in_the_table():
    tested = {(name.partition(",")[0], key) for name, (_, a, _) in CALLS.items() for key in a}
    missing = []
    for name in jfx.__all__:
        function = getattr(jfx, name)
        if not callable(function) or name[0].isupper() or name in ("grad", "scan"):
            continue
        for p in inspect.signature(function).parameters.values():
            kinds = str(p.annotation).replace("|", " ").replace("[", " ").replace("]", " ").split()
            known = (name, p.name) in tested or (name, p.name) in EXEMPT
            if {*kinds} & ANNOTATIONS and not known and p.name not in ("window", "bands"):
                missing.append((name, p.name))
    assert not missing


# --------------------------------------------------------------------------------- quantities in Datasets

#: positions that differ by rounding would be kept for each trial
PLAIN = TRACES.drop_vars(["x", "y", "z"])
FUNCTIONS = {
    "to_signals": (lambda ds: jfx.to_signals(ds, spike_threshold=-40.0), TRACES),
    "psd": (jfx.psd, TRACES),
    "lfp": (lambda ds: jfx.lfp(ds, PROBE, jfx.PointSource(0.3, min_distance=5.0)), CURRENTS),
    "csd": (lambda ds: jfx.csd(ds, "delta", radius=100.0), LFP),
    "dipole_moment": (jfx.dipole_moment, CLOSED),
    "transmembrane_currents": (
        jfx.transmembrane_currents,
        jfx.traces(V[:, :2], ("time", "recording"), dt_ms=0.5).jfne.with_morphology(CELL),
    ),
    "move_to": (lambda ds: jfx.move_to(ds, x=0), DIPOLES),
    "mean_square_loss": (lambda ds: jfx.mean_square_loss(ds, TRACES), TRACES),
    "concat": (lambda ds: jfx.concat([PLAIN, ds], "trial"), PLAIN),
    "lead_field": (lambda ds: jfx.lead_field(ds, PROBE, jfx.PointSource(0.3, min_distance=5.0)), CURRENTS),
    "quantify": (jfx.quantify, TRACES),
}  # fmt: skip


def with_data_of(ds: xr.Dataset, library: str) -> xr.Dataset:
    """Return a Dataset whose quantities, and coordinates with a unit, are those of another library."""
    made = ds.copy()
    for name, variable in ds.variables.items():
        unit = units_of(variable)
        if unit is None or name in ds.xindexes:
            continue
        data = with_unit(magnitude(variable.data), unit, library)
        attrs = {k: v for k, v in variable.attrs.items() if k != "units"}
        bare = xr.Variable(variable.dims, magnitude(variable.data), attrs)
        bare._data = data  # as xarray keeps it where it does not convert
        made = made.assign_coords({name: bare}) if name in ds.coords else made.assign({name: bare})
        made.variables[name]._data = data
    return made


@pytest.mark.parametrize("library", [x for x in LIBRARIES if x != "brainunit"])
def test_quantities_in_a_dataset_are_read_in_their_unit(library):
    for name, (function, ds) in FUNCTIONS.items():
        other = with_data_of(ds, library)
        assert any(type(v._data) is not np.ndarray for v in other.variables.values()), name
        assert_same(function(other), function(ds))


def test_a_dataarray_of_quantities_is_read_in_its_unit():
    for library in LIBRARIES:
        array = xr.DataArray(
            np.zeros((T, N)), dims=("time", "unit"), coords=TRACES.coords, name="v"
        )
        array.variable._data = with_unit(V, "mV", library)
        assert_same(jfx.to_signals(array, spike_threshold=-40.0).drop_vars("V_m"),
                    jfx.to_signals(TRACES, spike_threshold=-40.0).drop_vars("V_m"))  # fmt: skip


# --------------------------------------------------------------------------------- other ways in


def test_jax_arrays_in_a_quantity_stay_jax_and_can_be_differentiated():
    def total(x: Any) -> Any:
        ds = jfx.traces(brainunit(x, "V"), ("time", "unit"), dt_ms=0.5)
        return (ds.v.data**2).sum()

    x = jnp.asarray(V[:4] / 1000)
    made = jfx.traces(brainunit(x, "V"), ("time", "unit"), dt_ms=0.5, quantify=False)
    assert isinstance(made.v.data, jax.Array)
    np.testing.assert_allclose(jax.grad(total)(x), 2e6 * x, rtol=1e-5)


def test_coordinates_with_quantities_keep_their_units():
    for library in LIBRARIES:
        if library == "brainunit":  # xarray cannot hold one
            continue
        for wrap in (lambda q: q, list):
            ds = labelled(x=("unit", wrap(with_unit(np.arange(N) * 10.0, "um", library))))
            np.testing.assert_allclose(np.asarray(ds.x), [0, 10, 20])
            assert ds.x.attrs["units"] == "um"
            depth = ("unit", wrap(with_unit(np.arange(N) * 10.0, "um", library)))
            ds = labelled(distance=depth)
            distance = convert(np.asarray(ds.distance), units_of(ds.distance), "um")
            np.testing.assert_allclose(distance, [0, 10, 20])


def test_a_unit_may_be_an_object_of_pint_and_other_objects_are_refused(refused):
    pint = pytest.importorskip("pint")
    made = jfx.traces(V / 1e3, ("time", "unit"), dt_ms=0.5, units=pint.UnitRegistry().Unit("V"))
    np.testing.assert_allclose(made.v.data.magnitude, V)
    for make in LIBRARIES.values():
        unit = getattr(make(1.0, "V"), "unit", None)
        if unit is not None:
            with refused(jfx.UnitError, "units: found") as caught:
                jfx.traces(V / 1e3, ("time", "unit"), dt_ms=0.5, units=unit)
            remedy = caught.value.problems[0].remedy
            made = eval(f"jfx.traces(V / 1e3, ('time', 'unit'), dt_ms=0.5, {remedy})", globals())
            np.testing.assert_allclose(made.v.data.magnitude, V)


def test_a_netcdf4_variable_is_read_in_its_unit(tmp_path):
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", T)
        file.createDimension("unit", N)
        v = file.createVariable("v", "f8", ("time", "unit"))
        v[:], v.units = V / 1e3, "V"
        np.testing.assert_allclose(jfx.traces(v, ("time", "unit"), dt_ms=0.5).v.data.magnitude, V)


def test_recordings_with_a_unit_are_refused_with_their_conversion(refused):
    from jaxfne_xr.io.jaxley import _bare

    for make in LIBRARIES.values():
        recordings = make(V / 1000, "V")
        with refused(jfx.DataError, "recordings: found a") as caught:
            _bare(recordings)
        made = eval(caught.value.problems[0].remedy, {"np": np, "recordings": recordings})
        np.testing.assert_allclose(made, V, rtol=1e-6)


def test_what_has_no_unit_is_no_quantity():
    import pandas as pd

    readout = jfx.readouts()["vm"]
    values = [1, 1.0, "1 mV", None, [1], np.ones(2), np.float64(1), jnp.ones(2), np.ma.ones(2)]
    values += [TRACES, TRACES.v, pd.Series([1]), pd.Timedelta("1s"), jfx.PointSource(0.3), readout]
    assert not any(map(is_quantity, [*values, float, LIBRARIES]))


# --------------------------------------------------------------------------------- Neo


@pytest.fixture
def signal():
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    return neo.AnalogSignal(V / 1000, units="V", sampling_rate=2 * pq.kHz, t_start=1 * pq.s)


def test_a_neo_signal_keeps_its_times_and_unit(signal):
    import quantities as pq

    for how in ({}, {"dt_ms": 0.5}, {"time": 1000 + np.arange(T) * 0.5}, {"time": signal.times}):
        ds = jfx.traces(signal, ("time", "unit"), **how)
        np.testing.assert_allclose(ds.v.data.magnitude, V)
        np.testing.assert_allclose(ds.time, 1000 + np.arange(T) * 0.5, rtol=1e-12)
    at_once = jfx.traces(signal, ("time", "unit"), dt_ms=0.5 * pq.ms)
    assert at_once.time.attrs["units"] == "ms"


def test_a_neo_signal_with_irregular_times_keeps_them(signal):
    import neo
    import quantities as pq

    at = 1 + np.arange(T) * 5e-4
    irregular = neo.IrregularlySampledSignal(at * pq.s, V / 1000, units="V")
    np.testing.assert_allclose(jfx.traces(irregular, ("time", "unit")).time, at * 1000, rtol=1e-12)


@pytest.mark.parametrize("how", [{"dt_ms": 0.1}, {"time": np.arange(T) * 0.5}])
def test_other_times_than_those_of_a_neo_signal_are_refused(signal, how, refused):
    with refused(jfx.TimeAxisError, "times of its own"):
        jfx.traces(signal, ("time", "unit"), **how)


def test_a_list_of_neo_signals_is_refused_with_what_keeps_their_times(signal, refused):
    with refused(jfx.TimeAxisError, "times of their own") as caught:
        jfx.traces([signal, signal], ("trial", "time", "unit"), dt_ms=0.5)
    remedy = caught.value.problems[0].remedy
    made = eval(remedy, {"jfx": jfx, "signals": [signal, signal]})
    assert made.sizes == {"trial": 2, "time": T, "unit": N}
    assert float(made.time[0]) == 1000


def test_a_current_of_neo_must_be_at_the_times_of_the_voltage(signal, refused):
    import neo
    import quantities as pq

    current = neo.AnalogSignal(V, units="nA", sampling_rate=2 * pq.kHz, t_start=1 * pq.s)
    ds = jfx.traces(signal, ("time", "unit"))
    assert jfx.to_signals(ds, source=current).source.shape == V.shape
    with refused(jfx.TimeAxisError, "source: found times of its own"):
        jfx.to_signals(TRACES, source=current)
    driven = EXTERNAL.simulate_external(current)
    assert float(driven.time[0]) == 1000


# --------------------------------------------------------------------------------- pictures, and Jaxley's arguments


def test_options_of_pictures_are_converted(refused):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    csd, eeg = jfx.csd(LFP, "delta", radius=100.0), jfx.eeg(DIPOLES, SENSORS).isel(time=0)
    calls = [
        (jfx.plot.raster, SIGNALS, {"bin": "ms"}),
        (jfx.plot.spectrum, TRACES, {"segment": "ms"}),
        (jfx.plot.spectrogram, TRACES.isel(unit=0), {"segment": "ms", "up_to": "Hz"}),
        (jfx.plot.csd, csd, {"limit": "uA/mm^3"}),
        (jfx.plot.lfp, LFP, {"scale": "uV"}),
        (jfx.plot.traces, TRACES, {"scale": "mV"}),
    ]
    for function, ds, units in calls:
        for key, unit in units.items():
            with refused(jfx.UnitError, key):
                function(ds, **{key: brian2(5.0, "kg")})
            value = 800.0 if key == "up_to" else 5.0
            axes = function(ds, **{key: brian2(value, unit)})
            right = function(ds, **{key: value})
            assert axes.get_ylim() == pytest.approx(right.get_ylim(), rel=1e-6)
            pyplot.close("all")
    assert eeg.sizes["channel"] == 2


def test_quantities_in_the_parameters_of_jaxley_are_refused():
    from jaxfne_xr.io.jaxley_field import _stimuli_problems
    from jaxfne_xr.io.jaxley_parameters import params_problems

    class Module:
        trainable_params = [{"radius": jnp.ones(1)}]

    for make in LIBRARIES.values():
        given = make([2.0], "um")
        for problem in (
            params_problems(Module, [{"radius": given}])[0],
            _stimuli_problems(("i", [given], []))[0],
        ):
            assert problem.error is jfx.UnitError
            assert problem.found == "quantities"
