"""`inputs`: what a Dataset holds is found and checked in one place, and each remedy can be typed as it is."""

import inspect
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import inputs
from jaxfne_xr.core.units import magnitude

V = np.full((2, 3), -65.0)


def made(name, dims, unit=None, dtype=float):
    attrs = {} if unit is None else {"units": unit}
    return xr.Dataset({name: (dims, np.zeros((2, 3), dtype), attrs)})


def typed(remedy):
    """Return what is to be typed, without the condition that follows it."""
    return re.split(r", if that| for a single", remedy)[0]


def test_sites_lie_along_unit_or_recording():
    assert [inputs.site_dim(d) for d in (("time", "unit"), ("recording", "unit"), ("time",))] == [
        "unit",
        "unit",
        None,
    ]


def test_the_remedy_for_no_dim_of_sites_can_be_typed(refused):
    cases = [
        (made("i_membrane", ("time", "cell no")), "recording", jfx.DimensionError),
        (made("source", ("time", "cell")).isel(cell=0), "unit", jfx.VariableError),
    ]
    for ds, site, error in cases:
        (name,) = ds.data_vars
        with refused(error, f"{name}: found the dims") as caught:
            inputs.require_site_dim(ds.variables[name], name, site=site, error=error)
        fixed = eval(typed(caught.value.problems[0].remedy), {"ds": ds})
        assert inputs.require_site_dim(fixed.variables[name], name) == site


def test_the_only_variable_of_the_kind_is_offered_by_its_name(refused):
    cases = [
        (made("is it", ("unit", "time"), dtype=bool), jfx.firing_rate, "spikes"),
        (made("p", ("time", "xyz"), "nA*um"), jfx.rotate, "dipole_moment"),
        (made("s", ("frequency", "unit"), "mV^2/Hz"), jfx.band_power, None),
    ]
    for ds, function, name in cases:
        with refused(jfx.VariableError, "no such variable among") as caught:
            function(ds)
        remedy = caught.value.problems[0].remedy
        assert ("ds.rename({" in remedy) == (name is not None)
        if name:
            assert name in eval(typed(remedy), {"ds": ds})


def test_a_current_of_another_name_is_offered_as_the_source(refused):
    ds = made("i", ("unit", "time"), "pA")
    with refused(jfx.VariableError, "no current among ['i (pA)']") as caught:
        jfx.dipole_moment(ds)
    assert "source" in eval(typed(caught.value.problems[0].remedy), {"ds": ds})


def test_a_voltage_without_a_unit_is_told_how_to_get_one(refused):
    ds = made("membrane", ("unit", "time"))
    with refused(jfx.VariableError, "no variable in a unit of voltage") as caught:
        jfx.to_signals(ds, dt_ms=0.1)
    exec(typed(caught.value.problems[0].remedy), {"ds": ds})
    assert jfx.to_signals(ds, dt_ms=0.1).V_m.shape == (2, 3)


def test_what_has_no_time_says_so(refused):
    signals = jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals().isel(time=0)
    for function in (
        jfx.firing_rate,
        jfx.mean_V_m,
        jfx.spike_rate_hz,
        jfx.spike_count,
        jfx.summary,
    ):
        with refused(jfx.DimensionError, 'a dimension named "time"'):
            function(signals, None) if function is jfx.summary else function(signals)


@pytest.mark.parametrize(
    "function",
    [jfx.firing_rate, jfx.spike_rate_hz, jfx.synaptic_source, jfx.soft_firing_rate],
)
def test_one_sample_has_no_interval(function, refused):
    signals = jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals().isel(time=[0])
    with refused(jfx.TimeAxisError, "one sample", "select more samples"):
        function(signals)


# ------------------------------------------------------------------------- a Dataset, or a DataArray, or nothing else

#: Public functions whose first argument is something else: arrays, a simulator's objects, functions, lists, trees.
OTHERS = {
    *("traces", "jaxley_trace_to_signals", "morphology", "probe_at", "linear_probe", "grid_probe"),
    *("from_jaxley", "from_lfpy", "integrate_field", "from_probeinterface", "montage", "open"),
    *("configuration", "construct", "bundle", "replay", "readout", "readouts", "enable_pytrees"),
    *("checkify", "grad", "jit", "scan", "value_and_grad", "vmap", "concat", "merge"),
}
#: What keeps the record, which a DataArray does not have.
WRITERS = {"to_netcdf", "report"}
FUNCTIONS = {
    name: f
    for name, f in vars(jfx).items()
    if inspect.isfunction(f) and not name.startswith("_") and name not in OTHERS
}
PICTURES = {
    f"plot.{n}": f for n, f in vars(jfx.plot).items() if inspect.isfunction(f) and n[0] != "_"
}


def test_every_public_function_is_listed():
    assert {*vars(jfx)} >= OTHERS
    for name, function in (FUNCTIONS | PICTURES).items():
        first = next(iter(inspect.signature(function).parameters.values()))
        assert (
            first.annotation in ("xr.Dataset | xr.DataArray", "Data", "xr.Dataset")
            or name in WRITERS
        )


def call(function, *given):
    """Call a function with None for all other arguments that it needs."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    positional = [p for p in needed if p.kind is not p.VAR_KEYWORD]
    return function(*given, *[None] * (len(positional) - len(given)))


def test_anything_else_is_refused_with_what_to_type():
    tree = xr.DataTree.from_dict({"run": xr.Dataset({"v": ("time", [1.0])})})
    frame = pd.DataFrame(V)
    bad = [None, 3.0, "run.nc", Path("a/run.nc"), [[1.0]], {}, V, jnp.array(V), frame, frame[0]]
    bad += [xr.Variable("time", [1.0]), xr.Dataset, tree]
    for name, function in (FUNCTIONS | PICTURES).items():
        first = next(iter(inspect.signature(function).parameters))
        for given in bad:
            if name in WRITERS and given is tree:
                continue
            with pytest.raises(jfx.ArgumentError) as caught:
                call(function, given)
            (problem,) = caught.value.problems
            assert problem.where == first, (name, given)
            assert (
                type(given).__name__ in problem.found
                or "name 'run.nc'" in problem.found
                or given is None
            )
            assert problem.expected.startswith("a Dataset")


def test_what_to_type_in_place_of_anything_else_runs():
    tree = xr.DataTree.from_dict({"a/run": xr.Dataset({"v": ("time", [1.0])})})
    frame = pd.DataFrame(V)
    for given in (
        V[0],
        V,
        V[None],
        jnp.array(V),
        frame,
        frame[0],
        tree,
        xr.Variable("time", [1.0]),
    ):
        remedy = inputs.no_dataset(given, "ds", "a Dataset").problems[0].remedy
        names = {"jfx": jfx, "xr": xr, "tree": given, "variable": given}
        values = given.to_numpy() if isinstance(given, pd.DataFrame | pd.Series) else given
        assert isinstance(eval(remedy, {**names, "values": values}), xr.Dataset)
    assert 'jfx.open("a/run.nc")' in str(inputs.no_dataset(Path("a/run.nc"), "ds", "a Dataset"))


@pytest.fixture(scope="module")
def run():
    """What each function takes: a Dataset with a physical record, and the variable of it that is meant."""
    v = np.array([[-65.0, -60.0, 10.0, -70.0] * 4, [-65.0, -64.0, -20.0, -66.0] * 4])
    cell = jfx.morphology(
        [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0]
    )
    ds = jfx.traces(v, ("recording", "time"), dt_ms=0.1).jfne.with_morphology(cell)
    plain = jfx.traces(v.astype("f4"), ("recording", "time"), dt_ms=0.1, quantify=False)
    probe = jfx.linear_probe(5, origin=(50, 0, 0))
    signals, currents = ds.jfne.to_signals(source=v), ds.jfne.transmembrane_currents()
    lfp, dipoles = currents.jfne.lfp(probe), currents.jfne.dipole_moment()
    cap = jfx.probe_at(
        [[0, 0, 90], [0, 90, 0]], units="mm", normal=[[0, 0, 1], [0, 1, 0]], dim="channel"
    )
    spikes, psd = (signals, "spikes"), lfp.jfne.psd(segment=1.6)
    near, placed = jfx.lfp_proxy(signals, probe), dipoles.jfne.move_to(x=0, y=0, z="70 mm")
    toy, dense = jfx.eeg_proxy(signals, cap), jfx.csd_proxy(near)
    return {
        **dict.fromkeys(("validate", "to_signals", "soft_firing_rate"), ((ds, "v"), ())),
        **dict.fromkeys(("quantify", "to_jax"), ((plain, "v"), ())),
        "soft_spike_times": ((ds, "v"), (2,)),
        "with_morphology": ((ds, "v"), (cell,)),
        "lead_field": ((currents, "i_membrane"), (probe,)),
        "lfp": ((currents, "i_membrane"), (probe,)),
        "check_currents": ((currents, "i_membrane"), ()),
        "dipole_moment": ((currents, "i_membrane"), ()),
        "ground_truth_csd": ((currents, "i_membrane"), ([0.0, 10.0, 20.0],)),
        **dict.fromkeys(("spike_times", "firing_rate", "spk", "spike_rate_hz"), (spikes, ())),
        **dict.fromkeys(("silent_fraction", "spike_count", "synaptic_source"), (spikes, ())),
        **dict.fromkeys(("vm", "mean_V_m"), ((signals, "V_m"), ())),
        **dict.fromkeys(("source", "source_abs_mean"), ((signals, "source"), ())),
        **dict.fromkeys(("eeg_proxy", "meg_proxy"), ((signals, "source"), (cap,))),
        "lfp_proxy": ((signals, "source"), (probe,)),
        "compute_readout": ((signals, "V_m"), ("vm",)),
        **dict.fromkeys(("csd", "psd"), ((lfp, "lfp"), ())),
        "calibrate": ((lfp, "lfp"), (lfp,)),
        "coherence": ((lfp, "lfp"), (-lfp,)),
        "band_power": ((psd, "psd"), ({"all": (0, 3000)},)),
        "csd_proxy": ((near, "lfp_proxy"), ()),
        "lfp_abs_mean": ((near, "lfp_proxy"), ()),
        "csd_abs_mean": ((dense, "csd_proxy"), ()),
        "eeg_power": ((toy, "eeg_proxy"), ()),
        "emm_proxy": (spikes, (signals.source, near.lfp_proxy)),
        "translate": ((currents, "i_membrane"), ()),
        "move_to": ((dipoles, "dipole_moment"), ()),
        "rotate": ((dipoles, "dipole_moment"), ("90 deg", "x")),
        **dict.fromkeys(
            ("eeg", "meg"), ((placed, "dipole_moment"), (cap, jfx.InfiniteHomogeneous()))
        ),
        **dict.fromkeys(("mean_square_loss", "correlation_loss"), ((lfp, "lfp"), (lfp,))),
        "spectrum_loss": ((lfp, "lfp"), (lfp,)),
        "rate_loss": (spikes, (xr.DataArray(1.0, attrs={"units": "Hz"}),)),
    }


def test_a_data_array_is_taken_by_every_function_of_one_variable(run):
    several = {"transmembrane_currents", "summary"}  # which need more than one variable
    assert {*run} | several | WRITERS == {*FUNCTIONS}
    for name, ((ds, variable), more) in run.items():
        made, want = (FUNCTIONS[name](data, *more) for data in (ds[variable], ds))
        array = ds[variable].assign_attrs(ds.attrs)  # as Dataset.to_dataarray leaves them
        if isinstance(made, xr.DataArray):
            assert made.identical(want[variable]), name
        if not isinstance(made, xr.Dataset):
            continue
        for key, x in made.data_vars.items():
            a, b = (np.asarray(magnitude(x.variable.data)) for x in (x, want[key]))
            assert np.allclose(a, b, equal_nan=True), (name, key)
        for result in (made, FUNCTIONS[name](array, *more)):
            by_hand = FUNCTIONS[name](ds[variable].to_dataset(), *more)
            assert result.jfne.scope == by_hand.jfne.scope, name
            assert not result.jfne.scope.amplitude_status, name
            assert result.attrs.get("amplitude_status", 0) == 0, name
            assert len(result.jfne.provenance["steps"]) <= 2, name


def test_what_takes_several_variables_says_which_are_missing(run, refused):
    (ds, _), _ = run["to_signals"]
    with refused(jfx.VariableError, "conductance", "the whole Dataset"):
        jfx.transmembrane_currents(ds.v)
    with refused(jfx.VariableError, "neither a source nor a voltage"):
        jfx.summary(ds.jfne.to_signals().spikes)


def test_files_are_written_of_what_has_a_record(run, refused, tmp_path):
    (ds, _), _ = run["csd"]
    for function, path in ((jfx.to_netcdf, tmp_path / "a.nc"), (jfx.report, tmp_path / "a.html")):
        with refused(jfx.ArgumentError, "a DataArray", 'ds[["lfp"]], which keeps the record'):
            function(ds.lfp, path)
    jfx.to_netcdf(ds[["lfp"]], tmp_path / "a.nc")


def test_a_data_array_without_a_name_is_what_its_unit_says(run):
    names = {"v": "to_signals", "spikes": "firing_rate", "lfp": "csd", "dipole_moment": "eeg"}
    names |= {"source": "source"}
    for variable, function in names.items():
        (ds, _), _ = run[function]
        assert list(inputs.as_dataset(ds[variable].rename(None), "data")) == [variable]
    plain = xr.DataArray(V[0], dims="time", coords={"time": [0.0, 1.0, 2.0]})
    plain.time.attrs["units"] = "ms"
    assert list(inputs.as_dataset(plain, "lfp_proxy")) == ["lfp_proxy"]
    assert "psd" in jfx.psd(plain)
    assert jfx.mean_square_loss(plain, plain).mean_square_loss == 0


def test_a_coordinate_is_no_variable(run, refused):
    (ds, _), _ = run["psd"]
    for function in (jfx.psd, jfx.to_signals, jfx.csd):
        with refused(jfx.ArgumentError, "the name of its coordinate 'time'", 'array.rename("v")'):
            function(ds.time)


def test_data_arrays_are_joined(run, refused):
    (ds, _), _ = run["to_signals"]
    made = jfx.concat([ds.v, ds.v], "trial")
    assert dict(made.v.sizes) == {"trial": 2, "recording": 2, "time": 16}
    assert not made.jfne.scope.amplitude_status
    assert list(jfx.merge([ds.v, ds.v.rename("w")])) == ["v", "w"]
    for bad in (None, 3, "ds", ds, ds.v, [], [ds, None], [V]):
        with refused(jfx.ArgumentError, "expected a list of Datasets or DataArrays"):
            jfx.merge(bad)
