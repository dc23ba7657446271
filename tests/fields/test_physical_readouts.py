"""Readouts in physical units: what the functions of these names return, by name, together, saved and run again."""

import inspect
import json

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import factor, units_of
from jaxfne_xr.workflow.readouts import _json_safe, restored

N = 6
NAMES = ["lfp", "csd", "dipole_moment", "eeg", "meg"]
UNITS = {"lfp": "uV", "csd": "uA/mm^3", "dipole_moment": "nA*um", "eeg": "uV", "meg": "fT"}


def a_cell():
    starts = np.stack([np.zeros(N), np.zeros(N), 100.0 * np.arange(N)], axis=1)
    return jfx.morphology(starts, starts + [0, 0, 100], diameter=2.0, parent=[-1, *range(N - 1)])


@pytest.fixture
def signals(backend):
    v = np.random.default_rng(0).normal(-65, 5, (40, N))
    ds = backend.traces(v, ("time", "recording")).jfne.with_morphology(a_cell())
    return ds.assign_coords(unit=("recording", [7] * N)).jfne.to_signals()


@pytest.fixture
def places():
    far = jfx.probe_at([[0, 0, 1e5], [0, 1e5, 0]], dim="channel", normal=[1, 0, 0], name=["a", "b"])
    return {"probe": jfx.linear_probe(N, 100, origin=(50, 0, 0)), "sensors": far}


MODELS = {"head": jfx.InfiniteHomogeneous(0.3), "model": jfx.PointSource("3 mS/cm")}


def test_each_is_what_its_function_returns(backend, signals, places):
    made = jfx.compute_readout(signals, NAMES, **places, **MODELS)
    lfp = jfx.lfp(signals, places["probe"], MODELS["model"])
    dipole = jfx.dipole_moment(signals)
    want = {
        "lfp": lfp,
        "csd": jfx.csd(lfp),
        "dipole_moment": dipole.rename(unit="dipole"),
        "eeg": jfx.eeg(dipole, places["sensors"], MODELS["head"]),
        "meg": jfx.meg(dipole, places["sensors"], MODELS["head"]),
    }
    assert list(made.data_vars) == NAMES
    for name, ds in want.items():
        assert made[name].dims == ds[name].dims
        assert factor(str(units_of(made[name])), UNITS[name]) == 1
        assert backend.holds(made[name])
        np.testing.assert_array_equal(backend.values(made[name]), backend.values(ds[name]))
    assert made.attrs["amplitude_status"] == 1
    assert made.contact_x.values.tolist() == [50] * N
    assert made.dipole.values.tolist() == [7]
    assert made.dipole_z.values.tolist() == [300]


def test_defaults_are_those_of_the_functions():
    for name, entry in jfx.readouts().items():
        parameters = inspect.signature(getattr(jfx, name)).parameters
        shared = {key: value for key, value in entry.settings.items() if key in parameters}
        assert shared == {key: parameters[key].default for key in shared}, name
    csd = jfx.readouts()["csd"]
    assert csd.function is jfx.csd
    assert "'vaknin'" in str(csd)


def test_together_with_series_of_sites_and_with_proxies(signals, places):
    """Sites keep x, y, z and their labels; one proxy among them, and no amplitude is claimed."""
    names = ["dipole_moment", "vm", "csd", "lfp", "lfp_proxy", "spike_rate_hz"]
    for order in (names, names[::-1]):
        made = jfx.compute_readout(signals, order, **places)
        assert made.z.dims == made.unit.dims == ("recording",)
        assert made.dipole_z.dims == made.dipole.dims == ("dipole",)
        assert made.contact_z.dims == ("contact",)
        assert made.attrs["amplitude_status"] == 0


def test_one_dipole_of_all(signals):
    made = jfx.compute_readout(signals, ["dipole_moment", "vm"], by=None)
    assert made.dipole_moment.dims == ("time", "xyz")
    assert float(made.dipole_moment_z) == 300
    assert made.z.dims == ("recording",)


def plain(**coords):
    ds = jfx.traces(np.full((9, 3), -65.0), ("time", "unit"), dt_ms=0.1, coords=coords)
    return ds.jfne.to_signals()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_said(refused, places, name):
    with pytest.raises(jfx.JfneError) as caught:  # voltages without conductances
        jfx.compute_readout(plain(), name, **places, head=jfx.FourSphere()) if name in (
            "eeg",
            "meg",
        ) else jfx.compute_readout(plain(), name, **places)
    assert caught.value.problems[0].remedy
    assert "conductance" in str(caught.value) or "current" in str(caught.value)


def test_missing_places_are_named(refused, places):
    v = np.random.default_rng(0).normal(-65, 5, (40, N))
    signals = jfx.traces(v, ("time", "recording"), dt_ms=0.1).jfne.with_morphology(a_cell())
    signals = signals.assign_coords(unit=("recording", [7] * N)).jfne.to_signals()
    for names in ("lfp", "csd"):
        with refused(jfx.VariableError, "lfp: found no probe"):
            jfx.compute_readout(signals, names)
    for name in ("eeg", "meg"):
        with refused(jfx.VariableError, f"{name}: found neither sensors nor a LeadField"):
            jfx.compute_readout(signals, name)
    with refused(jfx.DimensionError, "readout csd: found 4 along 'contact', against 6 of lfp"):
        jfx.compute_readout(signals, ["lfp", "csd"], probe=places["probe"], ends="drop")
    with refused(jfx.ArgumentError, "radius: found a setting that 'standard' does not take"):
        jfx.compute_readout(signals, "csd", probe=places["probe"], radius=100.0)
    matrix = jfx.LeadField(np.ones((2, 3, 1)), "uV/(nA*um)")
    assert jfx.compute_readout(signals, "eeg", head=matrix).eeg.shape == (40, 2)


@pytest.mark.parametrize(
    "model",
    [
        jfx.PointSource(0.3, min_distance="2 um"),
        jfx.LineSource((0.3, 0.3, 1 / 3), shape="disk", order=5),
        jfx.RootAsPoint(root="soma"),
        jfx.Slab(thickness=300),
        jfx.InfiniteHomogeneous("0.3 S/m"),
        jfx.Spherical("80 mm", centre=(1, 2, 3)),
        jfx.FourSphere(),
        jfx.LeadField(np.arange(6.0).reshape(1, 3, 2) / 7, "V/(A*m)", dipoles=("a", "b")),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_goes_to_json_and_back(model):
    back = restored(json.loads(json.dumps(_json_safe(model), allow_nan=False)))
    assert type(back) is type(model)
    assert back.parameters() == model.parameters()
    assert repr(back) == repr(model)
    if isinstance(model, jfx.LeadField):
        np.testing.assert_array_equal(back.array, model.array)


def a_run(backend, **settings):
    places = {"contacts": jfx.linear_probe(N, 100, origin=(50, 0, 0))}
    places["sensors"] = jfx.probe_at([[0, 0, 1e5]], dim="channel", normal=[1, 0, 0])
    cfg = jfx.configuration().network(n=N).emitter().field(domain="volume", sigma=100)
    model = jfx.construct(cfg.probe(**places, modes=["lfp", "csd", "eeg", "meg"]))
    v = np.random.default_rng(0).normal(-65, 5, (40, N))
    ds = backend.traces(v, ("time", "recording")).jfne.with_morphology(a_cell())
    signals = model.simulate_external(ds.assign_coords(unit=("recording", [7] * N)))
    return model, signals, model.compute_readout(signals, **settings)


def test_a_bundle_runs_again(backend, tmp_path):
    if backend.name == "jax":
        pytest.skip("float64 on JAX needs it switched on")
    tree = jfx.bundle(*a_run(backend, **MODELS, method="kernel", regularisation=[1e-6, 1e-3]))
    again = jfx.replay(jfx.open(jfx.to_netcdf(tree, tmp_path / "run.nc")))
    assert again, again
    assert {"readouts/lfp", "readouts/csd", "readouts/eeg"} <= set(again.differences)


def test_a_bundle_of_a_version_that_took_contacts_for_points_runs_again():
    """Its default model had no other shape, whatever the size of the contacts."""
    contacts = jfx.linear_probe(N, 100, origin=(50, 0, 0), radius=20.0, normal=(1, 0, 0))
    cfg = jfx.configuration().network(n=N).emitter().field(domain="volume", sigma=100)
    model = jfx.construct(cfg.probe(contacts=contacts, modes=["lfp"]))
    v = np.random.default_rng(0).normal(-65, 5, (40, N))
    ds = jfx.traces(v, ("time", "recording"), dt_ms=0.1).jfne.with_morphology(a_cell())
    signals = model.simulate_external(ds)
    tree = jfx.bundle(
        model, signals, model.compute_readout(signals, model=jfx.LineSource(shape="point"))
    )
    record = json.loads(tree["readouts"].attrs["jaxfne_xr"])
    *_, made, asked = record["steps"]
    assert (made["parameters"].pop("contacts"), made["parameters"]["shape"]) == ("points", "point")
    asked["parameters"]["settings"]["model"] = None
    tree["readouts"].attrs["jaxfne_xr"] = json.dumps(record)
    assert jfx.replay(tree)
    made["parameters"]["contacts"] = "disks"  # as today's default does
    tree["readouts"].attrs["jaxfne_xr"] = json.dumps(record)
    assert not jfx.replay(tree)


def test_a_setting_that_no_file_holds_is_refused(refused):
    v = np.random.default_rng(0).normal(-65, 5, (40, N))
    ds = jfx.traces(v, ("time", "recording"), dt_ms=0.1).jfne.with_morphology(a_cell())
    cfg = jfx.configuration().network(n=N).emitter().field(domain="volume", sigma=100)
    model = jfx.construct(cfg.probe(contacts=jfx.linear_probe(N, 100, origin=(50, 0, 0))))
    signals = model.simulate_external(ds)

    def mine(sites: xr.Dataset, probe: xr.Dataset) -> np.ndarray:
        return np.ones((N, N))

    readouts = model.compute_readout(signals, "lfp", model=mine)
    with refused(jfx.SchemaError, "model: found a setting that cannot be stored: <function"):
        jfx.bundle(model, signals, readouts)
