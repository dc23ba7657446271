"""Jaxley's recordings against Jaxley's own tables, and its cable against its own current balance."""

import importlib.metadata
import warnings
from fractions import Fraction
from types import SimpleNamespace

import jax
import jaxley as jx
import numpy as np
import pytest
from jaxley.channels import HH, AdEx, CaL, CaT, Channel, Fire, Izhikevich, K, Km, Leak, Na, Rate
from jaxley.connect import connect
from jaxley.pumps import CaFaradayConcentrationChange, CaNernstReversal, CaPump
from jaxley.synapses import IonotropicSynapse, TanhRateSynapse, TestSynapse

import jaxfne_xr as jfx
from jaxfne_xr.io import jaxley_cable

DT = 0.025
SWC = """\
1 1 0 -10 0 5 -1
2 1 0 0 0 8 1
3 1 0 10 0 5 2
4 3 0 40 0 2 3
5 3 30 80 0 1 4
6 3 -30 80 0 1 4
7 2 5 -40 0 1 1
8 2 25 -70 0 1 7
9 2 -25 -70 7 1 7
10 3 40 0 5 1 2
11 3 80 9 5 1 10
"""
POINT_SOMA = """\
1 1 0 0 0 8 -1
2 3 8 0 0 1.5 1
3 3 40 5 0 1.2 2
4 3 -8 0 0 1.0 1
5 3 -50 10 0 0.8 4
"""
SOMATIC_BRANCHPOINT = """\
1 1 0 0 0 10 -1
2 1 10 0 0 10 1
3 2 0 -20 0 1 1
4 2 0 -30 0 1 3
5 1 -10 0 0 10 1
6 1 -20 0 0 10 5
7 3 50 0 0 1 2
8 3 60 0 0 1 7
"""


def branched_cell(seed: int = 0) -> jx.Cell:
    """Return five branches of three compartments, all different, drawn by Jaxley."""
    rng = np.random.default_rng(seed)
    cell = jx.Cell(jx.Branch(ncomp=3), parents=[-1, 0, 0, 1, 1])
    cell.insert(HH())
    for branch in range(5):
        cell.branch(branch).set("radius", float(rng.uniform(0.4, 2.0)))
        cell.branch(branch).set("length", float(rng.uniform(5.0, 30.0)))
        cell.branch(branch).set("axial_resistivity", float(rng.uniform(80.0, 300.0)))
    return cell


def read_swc(folder, text: str = SWC, ncomp: int = 3) -> jx.Cell:
    path = folder / "cell.swc"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = jx.read_swc(str(path), ncomp=ncomp)
    cell.insert(HH())
    cell.set("axial_resistivity", 90.0)
    cell.set("capacitance", 1.3)
    return cell


def point_cell() -> jx.Cell:
    cell = jx.Cell()
    cell.insert(HH())
    return cell


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network with gaps in its index, every state of it recorded, in double precision."""
    with jax.enable_x64(True):
        swc = read_swc(tmp_path_factory.mktemp("swc"))
        net = jx.Network([branched_cell(), point_cell(), swc])
        connect(net[0, 4, 2], net[1, 0, 0], IonotropicSynapse())
        connect(net[1, 0, 0], net[2, 0, 1], TanhRateSynapse())
        connect(net[1, 0, 0], net[2, 3, 0], IonotropicSynapse())
        connect(net[2, 2, 1], net[0, 1, 1], IonotropicSynapse())
        net.TanhRateSynapse.set("TanhRateSynapse_gS", 0.0)
        net.IonotropicSynapse.set("IonotropicSynapse_gS", 1e-3)
        net.cell([0, 2]).add_to_group("excitatory")
        net[0, 0, 1].stimulate(jx.step_current(0.5, 2.0, 0.5, DT, 5.0), verbose=False)
        for state in ("v", "HH_m", "HH_h", "HH_n"):
            net.record(state, verbose=False)
        net.cell(2).record("i_HH", verbose=False)
        net.IonotropicSynapse.record("IonotropicSynapse_s", verbose=False)
        net.IonotropicSynapse.record("i_IonotropicSynapse", verbose=False)
        net.TanhRateSynapse.record("i_TanhRateSynapse", verbose=False)
        recordings = jx.integrate(net, delta_t=DT)
        ds = jfx.from_jaxley(net, recordings, delta_t=DT)
    return SimpleNamespace(net=net, recordings=np.asarray(recordings), ds=ds)


# ------------------------------------------------------------------------------------------------ labels


def rows_of(net, state: str) -> np.ndarray:
    return np.flatnonzero(net.recordings["state"].to_numpy() == state)


def test_every_row_says_which_compartment_it_is(run):
    index = run.net.recordings["rec_index"].to_numpy()[rows_of(run.net, "v")]
    assert np.any(np.diff(index) > 1)  # there are gaps, or this tests nothing
    labels = zip(run.ds.unit.values, run.ds.branch.values, run.ds.compartment.values, strict=True)
    for label, (unit, branch, compartment) in zip(index, labels, strict=True):
        assert run.net[unit, branch, compartment].nodes.index.tolist() == [label]
    ids = run.net.nodes["global_comp_index"].to_numpy()
    np.testing.assert_array_equal(run.ds.compartment_id, ids)


def test_values_are_those_of_the_rows(run):
    for state in ("v", "HH_m", "i_HH", "IonotropicSynapse_s", "i_TanhRateSynapse"):
        values = run.ds[state].pint.dequantify().values
        np.testing.assert_array_equal(values, run.recordings[rows_of(run.net, state)])
        assert values.dtype == np.float64


def test_states_at_the_same_sites_share_a_dim_and_others_have_their_own(run):
    ds = run.ds
    assert ds.v.dims == ds.HH_m.dims == ds.HH_n.dims == ("recording", "time")
    assert ds.i_HH.dims == ("recording_i_HH", "time")
    assert set(ds.unit_i_HH.values) == {2}
    there = ds.compartment_id.isin(ds.compartment_id_i_HH).values
    for name in ("unit", "branch", "compartment"):
        np.testing.assert_array_equal(ds[f"{name}_i_HH"], ds[name].values[there])
    assert not any(np.isnan(ds[name].pint.dequantify()).any() for name in ("i_HH", "HH_m"))


def test_synapses_say_what_they_join(run):
    ds = run.ds
    assert ds.IonotropicSynapse_s.dims == ds.i_IonotropicSynapse.dims == ("synapse", "time")
    assert ds.i_TanhRateSynapse.dims == ("synapse_i_TanhRateSynapse", "time")
    ends = ["unit", "branch", "compartment"]
    pre, post = (
        list(zip(*(ds[f"{side}_{end}"].values.tolist() for end in ends), strict=True))
        for side in ("pre", "post")
    )
    assert pre == [(0, 4, 2), (1, 0, 0), (2, 2, 1)]
    assert post == [(1, 0, 0), (2, 3, 0), (0, 1, 1)]
    assert ds.synapse_id.values.tolist() == [0, 2, 3]
    assert set(ds.synapse_type.values) == {"IonotropicSynapse"}
    assert ds.pre_branch_i_TanhRateSynapse.values.tolist() == [0]
    assert ds.post_compartment_i_TanhRateSynapse.values.tolist() == [1]


def test_rows_that_are_no_synapses_are_left_out_and_named(x64):
    net = jx.Network([point_cell(), point_cell()])
    connect(net[0, 0, 0], net[1, 0, 0], IonotropicSynapse())
    for _ in range(2):
        connect(net[1, 0, 0], net[0, 0, 0], TanhRateSynapse())
    net.record("IonotropicSynapse_s", verbose=False)  # Jaxley counts the synapses of both types
    assert len(net.recordings) == 2
    recordings = np.arange(6.0).reshape(2, 3)
    with pytest.warns(UserWarning, match=r"1 of 2 rows .* are not synapses"):
        ds = jfx.from_jaxley(net, recordings, delta_t=DT)
    np.testing.assert_array_equal(ds.IonotropicSynapse_s.pint.dequantify(), recordings[:1])
    assert "recording" not in ds.dims


def test_groups_are_boolean_coordinates_and_select_the_soma(run):
    ds = run.ds
    for name in ("soma", "axon", "basal", "excitatory"):
        members = run.net.nodes[name].to_numpy()
        assert ds[name].dtype == bool
        np.testing.assert_array_equal(ds[name], members)
    one_each = ds.query(recording="compartment == 0 and branch == 0")
    assert one_each.unit.values.tolist() == [0, 1, 2]
    assert set(ds.query(recording="soma").unit.values) == {2}


def test_a_group_with_a_name_that_is_taken_keeps_it_with_a_prefix():
    branch = jx.Branch(ncomp=2)
    branch.comp(1).add_to_group("x")
    branch.record(verbose=False)
    ds = jfx.from_jaxley(branch, np.zeros((2, 2)), delta_t=DT)
    assert ds.x.dtype == float
    assert ds.group_x.values.tolist() == [False, True]


@pytest.mark.parametrize(
    ("make", "rows"), [(jx.Compartment, 1), (lambda: jx.Branch(ncomp=3), 3), (branched_cell, 15)]
)
def test_every_kind_of_module(make, rows):
    module = make()
    module.record(verbose=False)
    ds = jfx.from_jaxley(module, np.full((rows, 4), -65.0), delta_t=DT)
    assert ds.unit.values.tolist() == [0] * rows
    np.testing.assert_array_equal(ds.compartment, module.nodes["local_comp_index"])
    assert len(ds.edge) == {1: 0, 3: 2, 15: 16}[rows]
    assert jfx.validate(ds)


def test_time_starts_at_the_initial_state(run):
    time = run.ds.time
    assert time.dtype == np.float64
    assert time.attrs["units"] == "ms"
    want = [float(Fraction(str(DT)) * k) for k in range(run.recordings.shape[1])]
    np.testing.assert_array_equal(time, want)
    v0 = run.net.nodes["v"].to_numpy()
    np.testing.assert_array_equal(run.ds.v.pint.dequantify().isel(time=0), v0)


def test_a_round_trip_through_a_file_keeps_everything(run, tmp_path):
    run.ds.jfne.to_netcdf(tmp_path / "run.nc")
    assert jfx.open(tmp_path / "run.nc").identical(run.ds)


def test_provenance_and_scope_say_that_it_came_from_jaxley(run):
    step = run.ds.jfne.provenance["steps"][0]
    assert step["function"] == "from_jaxley"
    assert step["parameters"]["geometry"] == "partly drawn by Jaxley"
    assert step["parameters"]["jaxley"] == importlib.metadata.version("jaxley")
    signals = run.ds.jfne.to_signals()
    assert signals.attrs["source_calibration_status"] == "uncalibrated_jaxley_voltage_proxy"


# ------------------------------------------------------------------------------------------------- units


def test_units_of_a_network(run):
    units = {name: str(run.ds[name].pint.units) for name in run.ds if name != "i_HH"}
    assert units == {
        "v": "millivolt",
        "HH_m": "dimensionless",
        "HH_h": "dimensionless",
        "HH_n": "dimensionless",
        "IonotropicSynapse_s": "dimensionless",
        "i_IonotropicSynapse": "nanoampere",
        "i_TanhRateSynapse": "nanoampere",
        "conductance": "microsiemens",
    }
    for name in ("x", "z_end", "diameter"):
        assert run.ds[name].attrs["units"] == "um"
    assert run.ds.i_HH.attrs["units"] == "mA/cm^2"  # as that of the area
    assert run.ds.membrane_area.attrs["units"] == "um^2"
    assert run.ds.capacitance.attrs["units"] == "uF/cm^2"


def recorded(module, *states):
    for state in states:
        module.record(state, verbose=False)
    return module, np.zeros((len(module.recordings), 3))


def with_channels(*channels):
    cell = jx.Compartment()
    for channel in channels:
        cell.insert(channel)
    return cell


@pytest.mark.parametrize(
    ("channels", "units"),
    [
        ([Na(), K(), Leak()], {"Na_m": "1", "Na_h": "1", "K_n": "1", "i_Na": "mA/cm^2"}),
        ([Km(), Leak("rest")], {"Km_p": "1", "i_K": "mA/cm^2", "i_rest": "mA/cm^2"}),
        ([Na().change_name("fast")], {"fast_m": "1", "i_Na": "mA/cm^2"}),
        ([CaL(), CaT(), CaPump()], {"CaL_q": "1", "CaL_r": "1", "CaT_u": "1", "i_Ca": "mA/cm^2"}),
        ([CaL(), CaPump()], {"CaCon_i": "mM", "i_CaPump": "mM/ms"}),
        ([CaFaradayConcentrationChange()], {"CaCon_i": "mM", "i_CaCurrent": "mM/ms"}),
        ([CaL(), CaNernstReversal()], {"eCa": "mV", "CaCon_e": "mM", "i_Ca": "mA/cm^2"}),
    ],
)
def test_units_of_jaxleys_own_mechanisms(channels, units):
    module, recordings = recorded(with_channels(*channels), "v", *units)
    ds = jfx.from_jaxley(module, recordings, delta_t=DT, quantify=False)
    assert {name: ds[name].attrs["units"] for name in units} == units


@pytest.mark.filterwarnings("ignore:The .* channel does not support:UserWarning")
def test_spike_indicators_have_no_unit():
    module, recordings = recorded(with_channels(Fire(), AdEx()), "Fire_spikes", "AdEx_spikes")
    ds = jfx.from_jaxley(module, recordings, delta_t=DT, quantify=False)
    assert ds.Fire_spikes.attrs["units"] == ds.AdEx_spikes.attrs["units"] == "1"
    assert "conductance" not in ds  # no voltage to put it to


def test_units_of_the_test_synapse():
    net = jx.Network([point_cell(), point_cell()])
    connect(net[0, 0, 0], net[1, 0, 0], TestSynapse())
    module, recordings = recorded(net, "TestSynapse_c")
    ds = jfx.from_jaxley(module, recordings, delta_t=DT, quantify=False)
    assert ds.TestSynapse_c.attrs["units"] == "1"


class Mine(Channel):
    """A channel that is not Jaxley's."""

    def __init__(self):
        self.current_is_in_mA_per_cm2 = True
        super().__init__()
        self.channel_params = {}
        self.channel_states = {"Mine_w": 0.0}
        self.current_name = "i_Mine"


@pytest.mark.filterwarnings("ignore:The .* channel does not support:UserWarning")
@pytest.mark.parametrize(
    ("channel", "state"), [(Mine, "Mine_w"), (AdEx, "AdEx_w"), (Izhikevich, "Izhikevich_u")]
)
def test_a_unit_is_never_guessed(channel, state):
    module, recordings = recorded(with_channels(channel()), "v", state)
    with pytest.raises(jfx.UnitError, match=rf'{state}.*(?s:.*)units={{"{state}": "1"}}'):
        jfx.from_jaxley(module, recordings, delta_t=DT)
    units = {state: "pA", "not_recorded": "1"}
    ds = jfx.from_jaxley(module, recordings, delta_t=DT, units=units)
    assert str(ds[state].pint.units) == "picoampere"


def test_the_current_of_any_channel_is_a_density():
    module, recordings = recorded(with_channels(Mine()), "i_Mine")
    ds = jfx.from_jaxley(module, recordings, delta_t=DT, quantify=False)
    assert ds.i_Mine.attrs["units"] == "mA/cm^2"


def test_a_rate_model_has_no_voltage():
    module, recordings = recorded(with_channels(Rate()), "v")
    with pytest.raises(jfx.UnitError, match="v: found a state whose unit is not known"):
        jfx.from_jaxley(module, recordings, delta_t=DT)


def test_units_that_contradict_jaxley_are_refused():
    with pytest.raises(jfx.UnitError, match="HH_m: found the unit 'mV'; expected '1'"):
        jfx.from_jaxley(*recorded(with_channels(HH()), "HH_m"), delta_t=DT, units={"HH_m": "mV"})
    with pytest.raises(jfx.UnitError, match="pint cannot read"):
        jfx.from_jaxley(*recorded(with_channels(HH()), "v"), delta_t=DT, units={"v": "milliwhat"})


def test_every_problem_at_once():
    module, recordings = recorded(with_channels(Mine()), "v", "Mine_w")
    with pytest.raises(jfx.JfneError) as caught:
        jfx.from_jaxley(module, recordings[:1], delta_t=-1)
    assert [p.where for p in caught.value.problems] == ["Mine_w", "recordings", "delta_t"]


# ---------------------------------------------------------------------------------------------- geometry


def points(ds, end=""):
    return np.stack([ds[axis + end] for axis in "xyz"], axis=-1)


@pytest.mark.parametrize("text", [SWC, POINT_SOMA, SOMATIC_BRANCHPOINT])
@pytest.mark.parametrize("ncomp", [1, 3])
@pytest.mark.slow
def test_traced_cells_lie_where_jaxley_reads_them(tmp_path, text, ncomp):
    cell = read_swc(tmp_path, text, ncomp)
    length = cell.nodes["length"].to_numpy()
    cell.record(verbose=False)
    ds = jfx.from_jaxley(cell, np.zeros((len(cell.nodes), 2)), delta_t=DT)
    start, end = points(ds, "_start"), points(ds, "_end")
    extent = np.linalg.norm(end - start, axis=1)
    assert (extent <= length * (1 + 1e-9)).all()
    # the reader places each compartment on its path, at half of its length; of a straight one this is the middle
    straight = extent > length * (1 - 1e-6)
    read = cell.nodes[["x", "y", "z"]].to_numpy()
    np.testing.assert_allclose(points(ds)[straight], read[straight], rtol=0, atol=1e-4)
    assert straight.sum() >= 0.6 * len(length)
    # and later in the middle between its ends, along all points of its branch, whatever their path
    centres = cell._compute_coords_of_comp_centers()  # single precision
    path = [np.linalg.norm(np.diff(xyzr[:, :3], axis=0), axis=1).sum() for xyzr in cell.xyzr]
    total = cell.nodes.groupby("global_branch_index")["length"].sum().to_numpy()
    whole = np.isclose(path, total)[ds.branch.values]
    np.testing.assert_allclose(points(ds)[whole], centres[whole], rtol=0, atol=1e-4)
    assert (~whole).sum() == ncomp * {SWC: 1, POINT_SOMA: 1, SOMATIC_BRANCHPOINT: 3}[text]
    assert (extent == 0).sum() == (ncomp if text is POINT_SOMA else 0)
    for branch in range(len(cell.xyzr)):
        rows = np.flatnonzero(ds.branch == branch)
        np.testing.assert_allclose(start[rows[1:]], end[rows[:-1]], atol=1e-12)
    np.testing.assert_array_equal(ds.diameter, 2 * cell.nodes["radius"])
    np.testing.assert_array_equal(ds.membrane_area.data, cell.nodes["area"])
    assert ds.jfne.provenance["steps"][0]["parameters"]["geometry"] == "traced"


def test_lengths_that_do_not_fit_the_traced_path(tmp_path):
    cell = read_swc(tmp_path, SOMATIC_BRANCHPOINT, 2)
    cell.record(verbose=False)
    before = points(jfx.from_jaxley(cell, np.zeros((8, 2)), delta_t=DT))
    before_lengths = cell.nodes["length"].tolist()
    cell.nodes["length"] = [2.0, 2.0, *before_lengths[2:4], 30.0, 30.0, *before_lengths[6:]]
    with pytest.warns(
        UserWarning, match=r"unit 0 branch 0 \(4 um, traced 30 um\), unit 0 branch 2"
    ):
        ds = jfx.from_jaxley(cell, np.zeros((8, 2)), delta_t=DT)
    extent = np.linalg.norm(points(ds, "_end") - points(ds, "_start"), axis=1)
    assert (extent <= cell.nodes["length"] * (1 + 1e-9)).all()
    np.testing.assert_allclose(points(ds)[2:], before[2:], atol=1e-9)  # along the traced path


def test_a_soma_traced_as_one_point_has_no_extent(tmp_path):
    cell = read_swc(tmp_path, POINT_SOMA)
    cell.record(verbose=False)
    ds = jfx.from_jaxley(cell, np.zeros((len(cell.nodes), 2)), delta_t=DT).query(recording="soma")
    assert not points(ds, "_start").any()
    assert not points(ds, "_end").any()


@pytest.mark.slow
def test_drawn_cells_are_as_long_as_their_compartments():
    cell = branched_cell()  # lengths were set after Jaxley had drawn it
    cell.comp(1).set("length", 7.0)  # unequal within a branch
    net = jx.Network([cell, cell])
    net.cell(1).move(100.0, -20.0, 5.0)
    net.record(verbose=False)
    ds = jfx.from_jaxley(net, np.zeros((30, 2)), delta_t=DT)
    start, end = points(ds, "_start"), points(ds, "_end")
    chord = np.linalg.norm(end - start, axis=1)
    np.testing.assert_allclose(chord, net.nodes["length"], rtol=1e-12)
    np.testing.assert_allclose(start[15:] - start[:15], [[100.0, -20.0, 5.0]] * 15, atol=1e-9)
    first = {b: start[3 * b] for b in range(5)}
    last = {b: end[3 * b + 2] for b in range(5)}
    for branch, parent in enumerate([-1, 0, 0, 1, 1]):
        if parent >= 0:
            np.testing.assert_allclose(first[branch], last[parent], atol=1e-9)


def test_the_module_is_not_changed(run):
    net = run.net
    before = net.nodes.copy(), net.edges.copy(), [p.copy() for p in net.xyzr], set(vars(net))
    jfx.from_jaxley(net, run.recordings, delta_t=DT)
    assert net.nodes.equals(before[0])
    assert net.edges.equals(before[1])
    for points_now, points_then in zip(net.xyzr, before[2], strict=True):
        np.testing.assert_array_equal(points_now, points_then)
    assert set(vars(net)) == before[3]


# ------------------------------------------------------------------------------------- axial conductances


def axial_current(i, j, conductance, v):
    """Return G v from an edge list."""
    current = np.zeros_like(v)
    flow = conductance[:, None] * (v[j] - v[i])
    np.add.at(current, i, flow)
    np.add.at(current, j, -flow)
    return current


def membrane_current(net, ds) -> np.ndarray:
    """Return C dV/dt + I_ion + I_syn - I_stim in nA, from the second sample on: what the axial currents must bring."""
    ds = ds.pint.dequantify()
    v, m, h, n = (ds[name].values for name in ("v", "HH_m", "HH_h", "HH_n"))
    parameters = {name: net.nodes[f"HH_{name}"].to_numpy()[:, None] for name in
                  ("gNa", "gK", "gLeak", "eNa", "eK", "eLeak")}  # fmt: skip
    p = SimpleNamespace(**parameters)
    density = p.gNa * m**3 * h * (v - p.eNa) + p.gK * n**4 * (v - p.eK) + p.gLeak * (v - p.eLeak)
    area = ds.membrane_area.values[:, None]
    capacitance = ds.capacitance.values[:, None] * area * 1e-5  # nF
    current = capacitance * np.diff(v) / DT + (density * area * 1e-2)[:, 1:]
    row = net.nodes.index.get_indexer
    stimulus = np.asarray(net.externals["i"])
    current[row(np.asarray(net.external_inds["i"]))] -= stimulus[:, : current.shape[1]]
    for synapse, (_, edge) in enumerate(
        net.edges[net.edges.type == "IonotropicSynapse"].iterrows()
    ):
        post = row([edge.post_index])[0]
        s = ds.IonotropicSynapse_s.values[synapse]
        g = edge.IonotropicSynapse_gS * s * (v[post] - edge.IonotropicSynapse_e_syn)
        current[post] += g[1:]
    return current


def test_axial_currents_balance_those_through_the_membrane(run):
    edges = (run.ds[name].values for name in ("edge_from", "edge_to"))
    conductance = run.ds.conductance.pint.magnitude
    v = run.ds.v.pint.dequantify().values
    axial = axial_current(*edges, conductance, v)[:, 1:]
    expected = membrane_current(run.net, run.ds)
    assert np.abs(expected).max() > 0.1  # nA: there were spikes
    assert np.abs(axial - expected).max() <= 1e-9 * np.abs(expected).max()
    assert np.abs(axial.sum(axis=0)).max() <= 1e-12 * np.abs(axial).max()


def test_edges_join_compartments_of_one_cell_once(run):
    ds = run.ds
    assert (ds.edge_from < ds.edge_to).all()
    pairs = set(zip(ds.edge_from.values, ds.edge_to.values, strict=True))
    assert len(pairs) == len(ds.edge)
    unit = dict(zip(ds.compartment_id.values, ds.unit.values, strict=True))
    for i, j, number in zip(
        ds.edge_from.values, ds.edge_to.values, ds.edge_unit.values, strict=True
    ):
        assert unit[i] == unit[j] == number
    assert set(ds.edge_unit.values) == {0, 2}  # a cell of one compartment has none


@pytest.mark.slow
def test_conductances_of_a_branch_point_against_plain_elimination(x64):
    """The dense Laplacian with the branch points in it, and its Schur complement."""
    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0, 0, 0, 2, 2])
    rng = np.random.default_rng(1)
    for branch in range(6):
        cell.branch(branch).set("radius", float(rng.uniform(0.4, 2.0)))
    nodes = cell.nodes
    length, radius = nodes["length"].to_numpy(), nodes["radius"].to_numpy()
    ohm_cm = nodes["axial_resistivity"].to_numpy()
    half = np.pi * radius**2 / (0.01 * ohm_cm * length / 2)  # uS: ohm cm / um is 0.01 MOhm
    n, hubs = 12, {0: 12, 2: 13}
    dense = np.zeros((14, 14))

    def join(a, b, g):
        dense[[a, b], [b, a]] += g
        dense[[a, b], [a, b]] -= g

    for branch in range(6):
        join(2 * branch, 2 * branch + 1, 1 / (1 / half[2 * branch] + 1 / half[2 * branch + 1]))
    for parent, hub in hubs.items():
        join(2 * parent + 1, hub, half[2 * parent + 1])
    for branch, parent in enumerate([-1, 0, 0, 0, 2, 2]):
        if parent >= 0:
            join(2 * branch, hubs[parent], half[2 * branch])
    schur = dense[:n, :n] - dense[:n, n:] @ np.linalg.solve(dense[n:, n:], dense[n:, :n])

    i, j, g = jaxley_cable.axial_conductances(cell)
    ours = np.zeros((n, n))
    ours[i, j] = ours[j, i] = g
    off = ~np.eye(n, dtype=bool)
    scale = np.abs(schur[off]).max()
    assert np.abs(ours[off] - schur[off]).max() <= 1e-12 * scale


@pytest.mark.slow
def test_only_cells_with_a_recorded_voltage_have_edges():
    net = jx.Network([cell := branched_cell(), cell, point_cell()])
    net[1, 2, 0].record(verbose=False)
    ds = jfx.from_jaxley(net, np.zeros((1, 3)), delta_t=DT)
    assert set(ds.edge_unit.values) == {1}
    everywhere = set(ds.edge_from.values) | set(ds.edge_to.values)
    missing = everywhere - set(ds.compartment_id.values)
    assert len(missing) == 14  # so that they can be named
    assert ds.compartment_id.item() == net[1, 2, 0].nodes["global_comp_index"].item()


@pytest.mark.oracle
def test_currents_against_neuron(x64, agreement):
    from neuron import h

    h.load_file("stdrun.hoc")
    cell = branched_cell()
    sections = [h.Section(name=f"branch{b}") for b in range(5)]
    for branch, (section, parent) in enumerate(zip(sections, [-1, 0, 0, 1, 1], strict=True)):
        first = cell.nodes[cell.nodes["local_branch_index"] == branch].iloc[0]
        section.nseg, section.L = 3, 3 * first["length"]
        section.diam, section.Ra = 2 * first["radius"], first["axial_resistivity"]
        section.insert("hh")
        if parent >= 0:
            section.connect(sections[parent](1), 0)
    clamp = h.IClamp(sections[0](0.5))
    clamp.delay, clamp.dur, clamp.amp = 0.5, 2.0, 0.5
    h.CVode().use_fast_imem(True)
    segments = [segment for section in sections for segment in section]
    v, i_membrane = [], []
    h.dt = DT
    h.finitialize(-65)
    for _ in range(100):
        h.fadvance()
        v.append([segment.v for segment in segments])
        i_membrane.append([segment.i_membrane_ for segment in segments])
    expected = np.array(i_membrane).T
    ours = axial_current(*jaxley_cable.axial_conductances(cell), np.array(v).T)
    inside = np.arange(15) != 1  # NEURON counts the clamp's current as the membrane's
    assert np.abs(expected).max() > 0.1
    agreement(
        "axial conductances of a Jaxley cell, as currents",
        "NEURON",
        np.where(inside[:, None], ours, expected),
        expected,
        1e-10,
    )
