"""Gap junctions and voltage clamps of Jaxley, against the currents of the membrane's own equation.

Compartments have a capacitance, a leak and chemical synapses, so the current of a step through the membrane follows
from the recordings: ``C dV/dt + g (V - E) + I_syn``, with the voltage at the end of the step.
"""

import functools
import warnings
from contextlib import nullcontext

import dask.array
import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
import xarray as xr
from jaxley.channels import HH, Leak
from jaxley.connect import connect
from jaxley.synapses import IonotropicSynapse, TanhConductanceSynapse, TanhRateSynapse, TestSynapse
from jaxley.synapses.synapse import Synapse

import jaxfne_xr as jfx
from jaxfne_xr.io.jaxley_inside import junctions, mixed_rows

DT, STEPS = 0.025, 24
STIMULUS = jnp.asarray(np.where(np.arange(STEPS) > 3, 0.1, 0.0))
CLAMP = jnp.asarray(-70 + 40 * np.sin(np.arange(STEPS) / 5.0) ** 2)
G, E = 1e-4, -70.0


class Electrical(Synapse):
    """A conductance between two insides, with a state and a dependence on one voltage on request."""

    def __init__(self, name=None, *, rate=0.0, bend=0.0):
        super().__init__(name)
        self.rate, self.bend = rate, bend
        self.synapse_params = {f"{self._name}_g": 0.01}
        self.synapse_states = {f"{self._name}_s": 0.4} if rate else {}

    def update_states(self, states, delta_t, pre_voltage, post_voltage, params):
        if not self.rate:
            return {}
        s = states[f"{self._name}_s"]
        opened = jax.nn.sigmoid((pre_voltage - post_voltage) / 5)
        return {f"{self._name}_s": s + delta_t * self.rate * (opened - s)}

    def compute_current(self, states, pre_voltage, post_voltage, params):
        s = states[f"{self._name}_s"] if self.rate else 1.0
        difference = post_voltage - pre_voltage
        return params[f"{self._name}_g"] * s * difference * (1 + self.bend * post_voltage)


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


def make_cell() -> jx.Cell:
    cell = jx.Cell([jx.Branch(ncomp=1), jx.Branch(ncomp=2), jx.Branch(ncomp=2)], parents=[-1, 0, 0])
    cell.insert(Leak())
    for key, value in (("length", 40.0), ("axial_resistivity", 150.0), ("v", -65.0)):
        cell.set(key, value)
    cell.set("Leak_eLeak", E)
    cell.set("Leak_gLeak", G)
    return cell


def make_net(*synapses) -> jx.Network:
    """Return two cells with a stimulus, and synapses between compartments (unit, branch, compartment)."""
    net = jx.Network([make_cell(), make_cell()])
    net.cell(1).move(0.0, 150.0, 0.0)
    net.cell(0).branch(1).comp(1).stimulate(STIMULUS, verbose=False)
    for pre, post, synapse in synapses:
        ends = (net.cell(a).branch(b).comp(c) for a, b, c in (pre, post))
        connect(*ends, synapse)
    return net


def simulate(module, **options) -> np.ndarray:
    return np.asarray(jx.integrate(module, delta_t=DT, t_max=DT * (STEPS - 1), **options))


def recorded(module, *more, **options):
    module.delete_recordings()
    module.record("v", verbose=False)
    for name in more:
        module.record(name, verbose=False)
    return jfx.from_jaxley(module, simulate(module), delta_t=DT, **options)


def numbers(variable) -> np.ndarray:
    return np.asarray(getattr(variable.data, "magnitude", variable.data))


def membrane(module, ds, middle=0.0) -> np.ndarray:
    """Return ``C dV/dt + g (V - E) - stimulus`` of each step (recording, step), nA, which `stimulus` leaves out."""
    v = numbers(ds.v)
    area, c = (module.nodes[k].to_numpy()[:, None] for k in ("area", "capacitance"))
    end = (1 - middle) * v[:, 1:] + middle * v[:, :-1]
    made = 1e-5 * c * area * np.diff(v, axis=1) / DT + 1e-2 * G * area * (end - E)
    for values, label in zip(
        module.externals.get("i", ()), module.external_inds.get("i", ()), strict=True
    ):
        made[module.nodes.index.get_loc(int(label))] -= np.asarray(values)[: made.shape[1]]
    return made


def currents(ds, **options) -> np.ndarray:
    return numbers(jfx.transmembrane_currents(ds, **options).i_membrane)[:, 1:]


def assert_close(made, expected, tolerance=1e-9):
    assert np.abs(made - expected).max() <= tolerance * np.abs(expected).max()


def unit_lead_field(sites, probe):
    """A model whose potentials are the currents of the compartments."""
    return np.eye(sites.sizes["recording"])


def far(n: int):
    return jfx.probe_at(500.0 + 10.0 * np.arange(3 * n).reshape(n, 3))


def online(module, **options) -> np.ndarray:
    n = len(module.nodes)
    probe = far(n)
    options = {"t_max": DT * (STEPS - 1)} | options
    made = jfx.integrate_field(module, probe, delta_t=DT, model=unit_lead_field, **options)
    return numbers(made.lfp).T[:, 1:]


# ------------------------------------------------------------------------------------------------ gap junctions

THERE, BACK = ((0, 2, 1), (1, 0, 0)), ((1, 0, 0), (0, 2, 1))
JUNCTIONS = {
    "both ways": [(*THERE, Electrical()), (*BACK, Electrical())],
    "one way": [(*THERE, Electrical())],
    "within a cell": [((0, 0, 0), (0, 2, 1), Electrical()), ((0, 2, 1), (0, 0, 0), Electrical())],
    "with a state": [(*THERE, Electrical(rate=2.0, bend=0.01)), (*BACK, Electrical(rate=2.0, bend=0.01))],
    "beside chemical synapses": [
        (*THERE, IonotropicSynapse()), (*THERE, Electrical()), (*BACK, Electrical()), (*BACK, IonotropicSynapse()),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "which", ["both ways", *(pytest.param(n, marks=pytest.mark.slow) for n in list(JUNCTIONS)[1:])]
)
def test_currents_of_gap_junctions_are_not_those_of_the_membrane(which):
    net = make_net(*JUNCTIONS[which])
    chemical = which == "beside chemical synapses"
    if chemical:
        net.set("IonotropicSynapse_gS", 0.02)
    ds = recorded(net, *["IonotropicSynapse_s"] * chemical)
    expected = membrane(net, ds)
    if chemical:
        s, v = numbers(ds.IonotropicSynapse_s)[:, 1:], numbers(ds.v)[:, 1:]
        np.add.at(expected, [5, 4], 0.02 * s * v[[5, 4]])  # reversal potential 0 mV
    assert_close(currents(ds), expected)
    if which != "both ways":  # fields and dipoles of which are compared below
        assert_close(online(net), expected)
    made = jfx.transmembrane_currents(ds)
    assert made.i_intracellular.attrs == ds.i_intracellular.attrs
    assert made.jfne.check_currents()
    assert ds.jfne.check_currents()
    sums = [currents(ds)[unit].sum(0) for unit in (slice(5), slice(5, None))]
    assert (np.abs(sums).max() > 1e-3) == (which != "within a cell")
    assert not made.drop_vars("i_intracellular").jfne.check_currents() or which == "within a cell"


@pytest.mark.slow
def test_fields_and_dipoles_with_gap_junctions():
    net = make_net(*JUNCTIONS["both ways"])
    ds = recorded(net)
    probe = jfx.probe_at([[30.0, 40.0, 10.0], [90.0, -30.0, 0.0]])
    readouts = ("lfp", "dipole_moment")
    with pytest.warns(UserWarning, match="depends on the origin"):
        made = jfx.integrate_field(
            net, probe, delta_t=DT, t_max=DT * (STEPS - 1), readouts=readouts
        )
    assert_close(numbers(jfx.lfp(ds, probe).lfp), numbers(made.lfp))
    assert_close(numbers(ds.jfne.to_signals().jfne.lfp(probe).lfp), numbers(made.lfp))
    parts = jfx.lfp(ds, probe, by="unit").lfp
    assert_close(numbers(parts).sum(axis=parts.dims.index("unit")), numbers(made.lfp))
    with pytest.warns(UserWarning, match="depends on the origin"):
        moments = jfx.dipole_moment(ds)
    assert_close(numbers(moments.dipole_moment), numbers(made.dipole_moment))


@pytest.mark.slow
def test_crank_nicolson_with_gap_junctions_and_a_clamp():
    net = make_net(*JUNCTIONS["both ways"])
    net.record("v", verbose=False)
    v = simulate(net, solver="crank_nicolson")
    ds = jfx.from_jaxley(net, v, delta_t=DT)
    expected = membrane(net, ds, middle=0.5)
    assert_close(currents(ds, scheme="crank_nicolson"), expected)
    assert_close(online(net, solver="crank_nicolson"), expected)
    cell = make_cell()
    cell.branch(0).comp(0).clamp("v", CLAMP, verbose=False)
    cell.record("v", verbose=False)
    v = simulate(cell, solver="crank_nicolson")
    with pytest.warns(UserWarning, match="another solver, or stimuli"):
        ds = jfx.from_jaxley(cell, v, delta_t=DT)
    expected = membrane(cell, ds, middle=0.5)
    made = online(cell, solver="crank_nicolson")
    assert_close(made[1:], expected[1:])
    assert_close(made[0], -expected[1:].sum(0))


@pytest.mark.slow
def test_a_selection_says_that_it_lacks_what_gap_junctions_carry(tmp_path):
    ds = recorded(make_net(*JUNCTIONS["both ways"]))
    signals = ds.jfne.to_signals()
    signals.jfne.to_netcdf(tmp_path / "run.nc")
    probe = jfx.probe_at(np.ones((1, 3)))
    for whole, v in ((ds, "v"), (signals, "V_m"), (jfx.open(tmp_path / "run.nc"), "V_m")):
        own = whole[["conductance", "i_intracellular"]].assign({v: whole[v]})
        assert_close(currents(own), currents(ds), 1e-14)
        parts = whole[[v, "conductance"]]
        by_hand = xr.Dataset({v: whole[v], "conductance": whole.conductance})
        for lacking in (parts, by_hand, parts.isel(time=slice(9))):
            for function in (
                jfx.transmembrane_currents,
                jfx.check_currents,
                lambda x: jfx.lfp(x, probe),
                lambda x: jfx.ground_truth_csd(x, [-100, 0, 100]),
            ):
                with pytest.warns(UserWarning, match=f'{v}", "conductance", "i_intra'):
                    function(lacking)
    assert "ancillary_variables" not in recorded(make_net()).conductance.attrs


class Reversal(Synapse):
    """Driven by a difference to a reversal potential, whatever the presynaptic voltage."""

    def __init__(self, name=None):
        super().__init__(name)
        self.synapse_params, self.synapse_states = {"Reversal_g": 0.01}, {}

    def update_states(self, *_):
        return {}

    def compute_current(self, states, pre_voltage, post_voltage, params):
        return params["Reversal_g"] * (post_voltage + 70.0) * (1 + jnp.tanh(pre_voltage / 10))


class Mixed(Synapse):
    """An electrical part, of any shape, beside a chemical one."""

    def __init__(self, name=None, *, ohmic=lambda d: d, release=jax.nn.sigmoid, e=0.0, state=False):
        super().__init__(name)
        self.ohmic, self.release, self.e = ohmic, release, e
        self.synapse_params = {f"{self._name}_g": 0.01}
        self.synapse_states = {f"{self._name}_s": 0.3} if state else {}

    def update_states(self, states, delta_t, pre_voltage, post_voltage, params):
        return dict(states) if self.synapse_states else {}

    def compute_current(self, states, pre_voltage, post_voltage, params):
        s = states.get(f"{self._name}_s", self.release(pre_voltage / 10))
        chemical = 0.2 * s * (post_voltage - self.e)
        return params[f"{self._name}_g"] * (self.ohmic(post_voltage - pre_voltage) + chemical)


def no_junction(difference):
    return 0.0 * difference


def softplus(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@pytest.mark.slow
def test_a_synapse_that_is_both_electrical_and_chemical_is_named():
    mixed = {
        "as_reported": Mixed("as_reported"),
        "other_reversal": Mixed("other_reversal", e=-80.0),
        "of_a_state": Mixed("of_a_state", state=True),
        "rectifying": Mixed("rectifying", ohmic=softplus),
        "weak": Mixed("weak", ohmic=lambda d: 0.01 * d),
    }
    plain = [
        Mixed("bounded", ohmic=no_junction),
        Mixed("threshold_linear", ohmic=no_junction, release=jax.nn.relu),
        Mixed("inhibitory", ohmic=no_junction, release=softplus, e=-90.0),
        *(kind() for kind in (IonotropicSynapse, TanhConductanceSynapse, TanhRateSynapse)),
        TestSynapse(),
        Reversal(),
        Electrical(),
    ]
    net = make_net(*((*THERE, synapse) for synapse in plain))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not mixed_rows(net).size
    for name, synapse in mixed.items():
        net = make_net((*THERE, synapse), (*BACK, IonotropicSynapse()))
        with pytest.warns(UserWarning, match=f"synapses {name} grows"):
            assert mixed_rows(net).tolist() == [5]
        assert not junctions(net)
        net.set(f"{name}_g", 0.0)  # which training may change
        with pytest.warns(UserWarning, match=name):
            assert mixed_rows(net).tolist() == [5]
    net = make_net((*THERE, mixed["as_reported"]))
    with pytest.warns(UserWarning, match="an electrical and a chemical"):
        ds = recorded(net)
    assert ds.current_unknown.values.tolist() == [""] * 5 + ["mixed synapse"] + [""] * 4
    with pytest.warns(UserWarning, match=r"unit 1 branch 0 .* mixed synapse.*two types"):
        jfx.transmembrane_currents(ds)
    with pytest.warns(UserWarning, match="synapses as_reported grows"):
        online(net)


def test_which_synapses_are_electrical():
    electrical = [Electrical(), Electrical("opens", rate=1.0), Electrical("bent", bend=0.02)]
    chemical = [
        kind()
        for kind in (
            Reversal,
            IonotropicSynapse,
            TanhConductanceSynapse,
            TanhRateSynapse,
            TestSynapse,
        )
    ]
    net = make_net(
        *((*ends, synapse) for synapse in electrical + chemical for ends in (THERE, BACK))
    )
    assert [x.synapse.name for x in junctions(net)] == ["Electrical", "opens", "bent"]
    assert [x.by_difference for x in junctions(net)] == [True, True, False]
    assert not mixed_rows(net).size
    for synapse in (
        electrical + chemical
    ):  # of closed ones too, which training or a simulation may open
        for name in (*synapse.synapse_states, f"{synapse.name}_g", f"{synapse.name}_gS"):
            if name in net.edges:
                net.set(name, 0.0)
    assert [x.synapse.name for x in junctions(net)] == ["Electrical", "opens", "bent"]


@pytest.mark.slow
def test_a_partner_that_was_not_recorded():
    net = make_net(*JUNCTIONS["both ways"])
    whole = recorded(net)
    net.delete_recordings()
    net.cell(0).record("v", verbose=False)
    ds = jfx.from_jaxley(net, simulate(net), delta_t=DT)
    with pytest.warns(UserWarning, match=r"unit 0 branch 2 compartment 1 .* gap junction"):
        jfx.transmembrane_currents(ds)
    with pytest.warns(UserWarning, match="gap junction"):
        jfx.lfp(ds, jfx.probe_at(np.ones((1, 3))))
    net.record("i_Electrical", verbose=False)
    ds = jfx.from_jaxley(net, simulate(net), delta_t=DT)
    assert_close(currents(ds), currents(whole)[:5])


@pytest.mark.slow
def test_a_trained_gap_junction():
    """Conductance and initial state of a trained junction are taken from `params`, with their gradients."""
    net = make_net(*((*ends, Electrical(rate=2.0)) for ends in (THERE, BACK)))
    net.record("v", verbose=False)
    for key in ("Electrical_g", "Electrical_s"):
        net.Electrical.edge("all").make_trainable(key, verbose=False)
    params = [{key: 1.5 * x for key, x in entry.items()} for entry in net.get_parameters()]

    def loss(params, read):
        return jnp.sum(jnp.square(jnp.asarray(read(params))))

    def offline(params):
        v = jx.integrate(net, params=params, delta_t=DT, t_max=DT * (STEPS - 1))
        ds = jfx.from_jaxley(net, v, delta_t=DT, params=params, quantify=False)
        return jfx.transmembrane_currents(ds).i_membrane.transpose("recording", "time").data

    def online_(params):
        probe = far(10)
        options = {"delta_t": DT, "t_max": DT * (STEPS - 1), "quantify": False}
        return jfx.integrate_field(
            net, probe, model=unit_lead_field, params=params, **options
        ).lfp.data

    assert_close(np.asarray(offline(params)), np.asarray(online_(params)).T)
    slope, other = (
        jax.jit(jax.grad(loss), static_argnums=1)(params, f) for f in (offline, online_)
    )
    for k, key in enumerate(("Electrical_g", "Electrical_s")):
        assert_close(np.asarray(slope[k][key]), np.asarray(other[k][key]))
    with pytest.warns(
        UserWarning, match="Electrical_g, Electrical_s of the module are trainable: currents of gap"
    ):
        jfx.from_jaxley(net, simulate(net), delta_t=DT)


@functools.cache
def both():
    """Return a network with gap junctions and a clamp, its voltages and its currents."""
    net = make_net(*JUNCTIONS["both ways"])
    net.cell(1).branch(1).comp(0).clamp("v", CLAMP, verbose=False)
    ds = recorded(net)
    return net, numbers(ds.v), currents(ds)


@pytest.mark.parametrize("kind", ["JAX", "dask", "float32", "trials"])
@pytest.mark.slow
def test_kinds_of_arrays(kind):
    net, v, expected = both()
    options = {}
    if kind == "JAX":
        v, options = jnp.asarray(v), {"quantify": False}
    elif kind == "dask":
        v = dask.array.from_array(v, chunks=(4, 10))
    elif kind == "float32":
        v = v.astype(np.float32)
    else:
        v, options = np.stack([v.T, v.T]), {"dims": ("trial", "time", "recording")}
    ds = jfx.from_jaxley(net, v, delta_t=DT, **options)
    assert ds.i_intracellular.dims == ds.v.dims
    assert isinstance(ds.i_intracellular.data, jax.Array) == (kind == "JAX")
    rounds = pytest.warns(UserWarning, match="voltages are float32")
    with rounds if kind == "float32" else nullcontext():
        made = jfx.transmembrane_currents(ds).i_membrane.compute()
    made = numbers(made.isel(trial=1).transpose("recording", "time") if kind == "trials" else made)
    assert_close(made[:, 1:], expected, 1e-3 if kind == "float32" else 1e-9)


def test_recordings_of_dask_are_computed_only_where_currents_need_them():
    one = jx.Cell(jx.Branch(ncomp=1), parents=[-1])  # its clamp moves nothing between compartments
    two = jx.Cell(jx.Branch(ncomp=2), parents=[-1])
    read = []

    def row(block):
        read.append(block.shape)
        return block

    for cell, computed in ((one, False), (two, True)):
        cell.insert(Leak())
        cell.record(verbose=False)
        cell.branch(0).comp(0).clamp("v", CLAMP, verbose=False)
        v = dask.array.from_array(simulate(cell), chunks=(1, 10))
        v = v.map_blocks(row, dtype=v.dtype, meta=np.empty((0, 0)))
        ds = jfx.from_jaxley(cell, v, delta_t=DT)
        assert ds.v.chunks is not None
        assert ("i_intracellular" in ds) == computed
        assert len(read) == computed * v.npartitions  # each chunk once


@pytest.mark.slow
def test_a_file_keeps_what_gap_junctions_carry(tmp_path):
    ds = recorded(make_net(*JUNCTIONS["both ways"])).jfne.to_signals()
    ds.jfne.to_netcdf(tmp_path / "run.nc")
    assert_close(currents(jfx.open(tmp_path / "run.nc")), currents(ds), 1e-14)


# ---------------------------------------------------------------------------------------------- voltage clamps


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(0, 0)], id="root"),
        pytest.param([(0, 0), (1, 1)], id="two", marks=pytest.mark.slow),
        pytest.param([(1, 0), (1, 1)], id="branch", marks=pytest.mark.slow),
        pytest.param([(2, 1)], id="tip", marks=pytest.mark.slow),
    ],
)
def test_currents_around_a_voltage_clamp(places):
    cell = make_cell()
    cell.branch(2).comp(0).stimulate(STIMULUS, verbose=False)
    for k, (branch, compartment) in enumerate(places):
        cell.branch(branch).comp(compartment).clamp("v", CLAMP + 3 * k, verbose=False)
    ds = recorded(cell)
    free = ~np.isin(ds.compartment_id, [0 if b == 0 else 2 * b - 1 + c for b, c in places])
    expected, made = membrane(cell, ds), currents(ds)
    assert_close(made[free], expected[free])
    assert np.abs(made.sum(0)).max() < 1e-12 * np.abs(made).max()
    if len(places) == 1:
        assert_close(made[~free][0], -expected[free].sum(0))
    assert_close(made, online(cell))
    assert ds.jfne.check_currents()
    assert np.abs(numbers(ds.i_intracellular)[:, 0]).max() == 0  # the initial state is not clamped
    with pytest.warns(UserWarning, match="i_intracellular is not there"):
        bare = currents(ds.drop_vars("i_intracellular"))
    assert np.abs(bare - made).max() > 0.3 * np.abs(made).max()


@pytest.mark.slow
def test_a_clamp_that_cannot_be_repeated_is_named():
    cell = make_cell()
    cell.branch(0).comp(0).clamp("v", CLAMP, verbose=False)
    ds = recorded(cell)
    assert "current_unknown" not in ds.coords
    cell.branch(2).comp(1).stimulate(STIMULUS, verbose=False)
    v = simulate(cell)
    cell.delete_stimuli()
    with pytest.warns(UserWarning, match=r"voltage clamp.*stimuli that are not in the module"):
        ds = jfx.from_jaxley(cell, v, delta_t=DT)
    assert ds.current_unknown.values.tolist() == ["voltage clamp"] * 2 + [""] + [
        "voltage clamp"
    ] + [""]
    with pytest.warns(UserWarning, match=r"unit 0 branch 0 compartment 0, .* voltage clamp"):
        jfx.transmembrane_currents(ds)
    with pytest.warns(UserWarning, match="voltage clamp"):
        ds.jfne.to_signals().jfne.lfp(jfx.probe_at(np.ones((1, 3))))
    stimuli = cell.branch(2).comp(1).data_stimulate(STIMULUS)
    rows = jfx.integrate_field(cell, readouts="recordings", delta_t=DT, stimuli=stimuli)
    assert rows.current_unknown.equals(ds.current_unknown)


@pytest.mark.slow
def test_clamped_states_that_are_not_voltages():
    cell = make_cell()
    cell.insert(HH())
    cell.branch(0).comp(0).clamp("HH_m", jnp.full(STEPS, 0.3), verbose=False)
    assert "i_intracellular" not in recorded(cell)
