"""The field computed inside the simulation equals the one computed of all voltages afterwards, and has a gradient."""

from __future__ import annotations

import functools
import warnings

import jax
import jax.flatten_util
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
import xarray as xr
from jaxley.channels import HH, Leak
from jaxley.connect import connect
from jaxley.synapses import IonotropicSynapse

import jaxfne_xr as jfx

DT = 0.025
T_MAX = 3.0  # ms: 120 steps, Jaxley says

pytestmark = pytest.mark.usefixtures("x64")


def make_cell(depth: int = 2) -> jx.Cell:
    parents = [-1, *(i // 2 for i in range(2 ** (depth + 1) - 2))]
    cell = jx.Cell(jx.Branch(ncomp=2), parents=parents)
    cell.insert(HH())
    cell.set("length", 30.0)
    cell.set("axial_resistivity", 120.0)
    for i, radius in enumerate(np.linspace(1.0, 0.4, len(parents))):
        cell.branch(i).set("radius", radius)
    return cell


def step_current(amplitude: float = 0.4) -> jax.Array:
    return jx.step_current(0.3, 2.0, amplitude, DT, T_MAX)


@pytest.fixture
def net() -> jx.Network:
    """Two cells with a branch point each, so that Jaxley's numbers have gaps, one driving the other."""
    net = jx.Network([make_cell(), make_cell(1)])
    net.arrange_in_layers([1, 1], between_layer_offset=150.0)
    connect(net[0, 3, 1], net[1, 0, 0], IonotropicSynapse())
    net.IonotropicSynapse.set("IonotropicSynapse_gS", 5e-3)
    net[0, 0, 0].stimulate(step_current(), verbose=False)
    net.record("v", verbose=False)
    assert np.any(np.diff(net.nodes.index) > 1)
    return net


@pytest.fixture
def probe() -> xr.Dataset:
    return jfx.linear_probe(5, spacing="40 um", origin=(25.0, 12.0, -30.0))


def offline(module, solver: str = "bwd_euler", v=None, **options) -> xr.Dataset:
    scheme = {"bwd_euler": "backward_euler"}.get(solver, solver)
    if v is None:
        v = jx.integrate(module, delta_t=DT, t_max=T_MAX, solver=solver, **options)
    return jfx.transmembrane_currents(jfx.from_jaxley(module, v, delta_t=DT), scheme=scheme)


def online(module, probe=None, **options) -> xr.Dataset:
    return jfx.integrate_field(module, probe, delta_t=DT, t_max=T_MAX, **options)


def numbers(x: xr.DataArray) -> np.ndarray:
    return np.asarray(getattr(x.data, "magnitude", x.data))


def assert_close(a, b, tolerance: float = 1e-10, what: str = "") -> None:
    assert np.shape(a) == np.shape(b), what
    assert np.abs(b).max() > 0, what
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), what


# ------------------------------------------------------------------------------------------ equal to the offline one


@pytest.mark.parametrize("solver", ["bwd_euler", "crank_nicolson"])
@pytest.mark.slow
def test_equals_the_field_of_all_voltages(net, probe, solver):
    v = jx.integrate(net, delta_t=DT, t_max=T_MAX, solver=solver)
    currents = offline(net, solver, v)
    everything = ["lfp", "dipole_moment", "recordings"]
    made = online(net, probe, solver=solver, readouts=everything)
    assert_close(numbers(made.lfp), numbers(jfx.lfp(currents, probe).lfp))
    moments = jfx.dipole_moment(currents).dipole_moment
    assert made.dipole_moment.dims == moments.dims
    assert_close(numbers(made.dipole_moment), numbers(moments))
    assert_close(numbers(made.v), np.asarray(v), 1e-12)


@pytest.mark.slow
def test_equals_it_with_every_model(net):
    def own(sites, probe):
        shape = probe.sizes["contact"], sites.sizes["recording"]
        return np.ones(shape) * np.arange(shape[1])

    probe = jfx.linear_probe(3, spacing="40 um", origin=(25.0, 12.0, 30.0))
    net.cell(0).move(0.0, 0.0, 120.0)
    net.cell(1).move(0.0, 0.0, 270.0)
    currents = offline(net)
    for model in (jfx.PointSource(0.2), jfx.LineSource((0.3, 0.3, 0.4)), jfx.Slab(500.0), own):
        expected = jfx.lfp(currents, probe, model)
        made = online(net, probe, model=model)
        assert_close(numbers(made.lfp), numbers(expected.lfp), what=str(model))
        assert made.jfne.scope == expected.jfne.scope, model


@pytest.mark.slow
def test_labels_units_and_scope_are_the_offline_ones(net, probe):
    made, expected = online(net, probe), jfx.lfp(offline(net), probe)
    assert made.lfp.attrs == expected.lfp.attrs
    assert made.lfp.pint.units == expected.lfp.pint.units
    xr.testing.assert_identical(
        made.drop_vars("lfp").drop_attrs(), expected.drop_vars("lfp").drop_attrs()
    )
    assert made.jfne.scope == expected.jfne.scope
    assert made.jfne.validate()
    first, last = made.jfne.provenance["steps"]
    assert first["parameters"]["scheme"] == "backward_euler"
    assert last["parameters"]["model"] == "LineSource"


@pytest.mark.slow
def test_dipoles_have_the_labels_of_dipole_moment(net):
    made, expected = online(net, readouts="dipole_moment"), jfx.dipole_moment(offline(net))
    for name in expected.coords:
        xr.testing.assert_equal(
            made[name].drop_vars(made[name].coords), expected[name].drop_vars(expected[name].coords)
        )
    assert made.jfne.scope == expected.jfne.scope
    sensors = jfx.probe_at([[0.0, 0.0, 90_000.0]], dim="channel")
    assert jfx.eeg(made, sensors).eeg.sizes["time"] == made.sizes["time"]


@pytest.mark.slow
def test_nothing_has_to_be_recorded_and_nothing_of_the_module_changes(net, probe):
    expected = numbers(online(net, probe).lfp)
    net.delete_recordings()
    nodes, edges = net.nodes.copy(), net.edges.copy()
    externals = {key: np.asarray(value) for key, value in net.externals.items()}
    assert_close(numbers(online(net, probe).lfp), expected, 1e-14)
    assert nodes.equals(net.nodes)
    assert edges.equals(net.edges)
    assert net.recordings.empty
    for key, value in externals.items():
        np.testing.assert_array_equal(net.externals[key], value)


@pytest.mark.slow
def test_recordings_keep_their_order_whatever_the_states(net):
    net.delete_recordings()
    for state, site in (("v", net[1, 1, 0]), ("HH_m", net[0, 0, 0]), ("v", net[0, 2, 1])):
        site.record(state, verbose=False)
    expected = jfx.from_jaxley(net, jx.integrate(net, delta_t=DT, t_max=T_MAX), delta_t=DT)
    made = online(net, readouts=["recordings"])
    for name in ("v", "HH_m"):
        assert_close(numbers(made[name]), numbers(expected[name]), 1e-12)


def test_names_that_two_readouts_share_are_told_apart(net, probe):
    made = online(net, probe, readouts=["recordings", "dipole_moment", "lfp"])
    assert made.x.dims == ("recording",)
    assert made.unit_x.dims == ("unit",)
    assert made.contact_x.dims == ("contact",)
    assert made.recording_unit.dims == ("recording",)
    np.testing.assert_array_equal(made.contact_x, probe.x)


@pytest.mark.slow
def test_a_clamp_and_a_stimulus_of_the_call_act_as_in_jaxley(probe):
    cell = make_cell()
    cell.record("v", verbose=False)
    clamp = jnp.full(200, -50.0)
    cell.branch(6).comp(1).clamp("v", clamp, verbose=False)
    stimuli = cell.branch(0).comp(0).data_stimulate(step_current(0.2))
    made = online(cell, probe, stimuli=stimuli)
    with pytest.warns(UserWarning, match="stimuli that are not in the module"):
        jfx.from_jaxley(
            cell,
            jx.integrate(cell, delta_t=DT, t_max=T_MAX, data_stimuli=stimuli),
            delta_t=DT,
        )
    cell.branch(0).comp(0).stimulate(step_current(0.2), verbose=False)
    assert_close(numbers(made.lfp), numbers(jfx.lfp(offline(cell), probe).lfp))


@pytest.mark.parametrize("t_max", [DT, 1.6, 1.625, 3.225])  # 1 step, and around the size of a block
@pytest.mark.slow
def test_every_number_of_steps(probe, t_max):
    cell = make_cell(1)
    cell.record("v", verbose=False)
    cell.branch(0).comp(0).stimulate(jnp.full(200, 0.3), verbose=False)
    v = jx.integrate(cell, delta_t=DT, t_max=t_max)
    made = jfx.integrate_field(cell, probe, delta_t="25 us", t_max=t_max)
    expected = jfx.lfp(jfx.from_jaxley(cell, v, delta_t=DT), probe)
    assert_close(numbers(made.lfp), numbers(expected.lfp))
    np.testing.assert_array_equal(made.time, expected.time)


@pytest.mark.slow
def test_the_duration_of_the_stimulus_is_the_default(net, probe):
    made = jfx.integrate_field(net, probe, delta_t=DT)
    assert made.sizes["time"] == jx.integrate(net, delta_t=DT).shape[1]


def test_one_compartment_has_no_axial_current_and_so_no_field(probe):
    cell = jx.Cell()
    cell.insert(HH())
    made = online(cell, probe)
    assert made.lfp.shape[1] == 5
    assert not numbers(made.lfp).any()


# ------------------------------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize("quantify", [True, False])
@pytest.mark.parametrize("key", ["radius", "axial_resistivity"])
@pytest.mark.slow
def test_recordings_have_the_conductances_that_were_trained(net, probe, key, quantify):
    net.cell(1).make_trainable(key, verbose=False)
    params = [{key: 2.0 * entry[key]} for entry in net.get_parameters()]
    net.delete_recordings()
    net.cell(1).record("v", verbose=False)  # the edges of the second cell alone
    rows = online(net, readouts="recordings", params=params, quantify=quantify)
    before = online(net, readouts="recordings", quantify=quantify).conductance
    net.write_trainables(params)
    expected = online(net, readouts="recordings", quantify=quantify)
    assert rows.conductance.attrs == expected.conductance.attrs
    assert_close(numbers(rows.conductance), numbers(expected.conductance))
    assert np.abs(numbers(before) / numbers(rows.conductance) - 1).min() > 0.3
    assert_close(numbers(jfx.lfp(rows, probe).lfp), numbers(jfx.lfp(expected, probe).lfp))


@pytest.mark.parametrize("key", ["HH_gNa", "radius", "length", "axial_resistivity", "capacitance"])
@pytest.mark.slow
def test_parameters_count_as_if_written_into_the_module(probe, key):
    cell, other = make_cell(), make_cell()
    for each in (cell, other):
        each.branch(0).comp(0).stimulate(step_current(), verbose=False)
    cell.branch([0, 2]).make_trainable(key, verbose=False)
    params = [
        {name: 1.3 * value for name, value in entry.items()} for entry in cell.get_parameters()
    ]
    made = online(cell, probe, params=params)
    for branch, value in zip([0, 2], params[0][key], strict=True):
        other.branch(branch).set(key, float(value))
    other.record("v", verbose=False)
    # the places are those of the cell before
    currents = offline(other)
    sites = offline_sites(cell)
    expected = jfx.lfp(currents.assign_coords(sites), probe)
    assert_close(numbers(made.lfp), numbers(expected.lfp))


def offline_sites(cell) -> dict:
    cell.record("v", verbose=False)
    cell.delete_trainables()
    ds = jfx.from_jaxley(cell, jx.integrate(cell, delta_t=DT, t_max=DT), delta_t=DT)
    names = [a + end for a in "xyz" for end in ("", "_start", "_end")] + ["diameter"]
    return {name: ds[name].variable for name in names}


def fit(checkpoint=None):
    """Return a loss of a cell's parameters, a probe's place and the conductivity, and values of them."""
    cell = make_cell()
    cell.branch(0).comp(0).stimulate(step_current(), verbose=False)
    for key in ("HH_gNa", "HH_gK", "radius", "axial_resistivity"):
        cell.make_trainable(key, verbose=False)
    params = cell.get_parameters()
    start = jnp.array([[25.0, 12.0, -30.0], [40.0, -9.0, 55.0]])

    def loss(params, place, conductivity):
        probe = jfx.probe_at(place)
        made = online(
            cell, probe, model=jfx.LineSource(conductivity), params=params, checkpoint=checkpoint
        )
        return jnp.mean((made.lfp.data - 1.0) ** 2)

    return loss, (params, start, jnp.asarray(0.3))


@functools.cache
def gradient(checkpoint=None):
    """Return the loss, where it is evaluated, and its compiled gradient, which some tests share."""
    loss, values = fit(checkpoint)
    return loss, values, jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*values).compile()


@pytest.mark.slow
def test_the_gradient_of_the_whole_road_against_central_differences():
    loss, values, slope = gradient()
    flat, restore = jax.flatten_util.ravel_pytree(values)
    found, _ = jax.flatten_util.ravel_pytree(slope(*values))
    run = jax.jit(lambda x: loss(*restore(x)))
    for i in range(len(flat)):
        step = 1e-5 * max(abs(float(flat[i])), 1e-3)
        up, down = (run(flat.at[i].add(sign * step)) for sign in (1, -1))
        expected = (float(up) - float(down)) / (2 * step)
        assert abs(float(found[i]) - expected) <= 1e-5 * abs(expected)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [12, (10, 3, 4)])
def test_checkpoints_change_the_memory_and_not_the_gradient(checkpoint):
    made = []
    for each in (None, checkpoint):
        _, values, slope = gradient(each)
        made.append(slope(*values))
    for a, b in zip(*map(jax.tree.leaves, made), strict=True):
        assert_close(np.asarray(b), np.asarray(a))


@pytest.mark.slow
def test_memory_grows_with_contacts_and_checkpoints_bound_it():
    used = [gradient(each)[2].memory_analysis().temp_size_in_bytes for each in (12, None)]
    assert used[0] < 0.4 * used[1]  # 120 steps: 10 + 12 states kept


def test_memory_of_a_forward_run_is_that_of_the_field(net):
    probe = jfx.linear_probe(4, spacing="40 um", origin=(25.0, 12.0, -30.0))

    def run(scale):
        made = jfx.integrate_field(net, probe, delta_t=DT, t_max=250.0)
        return scale * made.lfp.data

    analysis = jax.jit(run).lower(1.0).compile().memory_analysis()
    voltages = 8 * 10_000 * len(net.nodes)
    assert analysis.temp_size_in_bytes + analysis.output_size_in_bytes < 0.5 * voltages


@pytest.mark.slow
def test_vmap_over_stimuli_equals_one_after_the_other(probe):
    cell = make_cell(1)
    cell.record("v", verbose=False)

    def field(amplitude):
        stimuli = cell.branch(0).comp(0).data_stimulate(amplitude * step_current(1.0))
        return online(cell, probe, stimuli=stimuli).lfp.data

    amplitudes = jnp.array([0.1, 0.4])
    made = jax.vmap(field)(amplitudes)
    for row, amplitude in zip(made, amplitudes, strict=True):
        assert_close(np.asarray(row), field(amplitude).magnitude)


def test_one_trace_for_many_calls(probe):
    cell = make_cell(1)
    cell.make_trainable("HH_gNa", verbose=False)
    traces = []

    @jax.jit
    def field(params, place):
        traces.append(1)
        return online(cell, jfx.probe_at(place), params=params).lfp.data

    (entry,) = cell.get_parameters()
    for k in range(20):
        params = [{key: value * (1 + 0.01 * k) for key, value in entry.items()}]
        field(params, jnp.array([[20.0 + k, 5.0, 0.0]]))
    assert len(traces) == 1


def test_traced_results_are_jax_and_others_are_quantities(probe):
    cell = make_cell(1)
    assert online(cell, probe).lfp.pint.units is not None
    plain = online(cell, probe, quantify=False).lfp
    assert isinstance(plain.data, jax.Array)
    assert plain.attrs["units"] == "uV"


@pytest.mark.slow
def test_float32_says_what_rounding_can_do(probe):
    with jax.enable_x64(False):
        cell = make_cell(1)
        cell.branch(0).comp(0).stimulate(step_current(), verbose=False)
        with pytest.warns(UserWarning, match="by up to .* uV") as caught:
            made = online(cell, probe)
    bound = float(str(caught[0].message).split("up to ")[1].split(" uV")[0])
    with jax.enable_x64(True):
        cell = make_cell(1)
        cell.branch(0).comp(0).stimulate(step_current(), verbose=False)
        exact = online(cell, probe)
    assert made.lfp.dtype == np.float32
    error = np.abs(numbers(made.lfp) - numbers(exact.lfp))[:2].max()  # before trajectories part
    assert error <= bound


# ------------------------------------------------------------------------------------------------------- bad input


def test_modules_that_are_not_jaxleys_are_refused(probe, refused):
    with refused(jfx.ArgumentError, "module", "Compartment, Branch, Cell or Network"):
        online(object(), probe)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"readouts": ["lfp", "eeg"]}, "'eeg'"),
        ({"readouts": []}, "some of ['lfp'"),
        ({"solver": "exp_euler"}, "'exp_euler'"),
        ({"checkpoint": 7}, "checkpoint=10"),
        ({"checkpoint": 0}, "checkpoint=10"),
        ({"checkpoint": True}, "found True"),
        ({"checkpoint": (10, 10)}, "for 120 steps"),
        ({"checkpoint": 7.5}, "checkpoint: found 7.5"),
        ({"stimuli": np.zeros(4)}, "data_stimulate"),
        ({"stimuli": (1, 2, 3)}, "data_stimulate"),
        ({"params": {"HH_gNa": np.ones(1)}}, "params=module.get_parameters()"),
        ({"params": [{"HH_gK": np.ones(1)}]}, "[['HH_gK']]"),
        ({"params": []}, "[['HH_gNa']]"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(probe, refused, options, said):
    cell = make_cell(1)
    cell.make_trainable("HH_gNa", verbose=False)
    with refused(jfx.ArgumentError, said):
        online(cell, probe, **options)


def test_a_traced_result_is_no_quantity(refused):
    cell = make_cell(1)

    def loss(place):
        return online(cell, jfx.probe_at(place), quantify=True).lfp.data.sum()

    with refused(jfx.DataError, "quantify=False"):
        jax.grad(loss)(jnp.ones((1, 3)) * 30)


def test_a_checkpoint_is_refused_when_traced(probe, refused):
    cell = make_cell(1)
    with refused(jfx.ArgumentError, "for 120 steps"):
        jax.jit(lambda s: s * online(cell, probe, checkpoint=7).lfp.data)(1.0)


def test_lfp_without_a_probe_and_recordings_without_any_are_refused_at_once(refused):
    with refused(jfx.ArgumentError, "no probe", "no recordings"):
        online(make_cell(1), readouts=["lfp", "recordings"])


def test_a_probe_in_another_place_is_refused(probe, refused):
    with refused(jfx.DimensionError, "from the nearest compartment", 'units="mm"'):
        online(make_cell(1), jfx.linear_probe(5, origin=(2e4, 0.0, 0.0)))


def test_a_probe_that_is_none_is_refused(refused):
    with pytest.raises(jfx.JfneError, match="contact"):
        online(make_cell(1), xr.Dataset({"a": 1}))


def test_no_duration_at_all_is_refused(probe, refused):
    with refused(jfx.ArgumentError, "neither a duration nor a stimulus"):
        jfx.integrate_field(make_cell(1), probe, delta_t=DT)
    for t_max in (-1.0, np.nan, np.inf):
        with refused(jfx.ArgumentError, f"{t_max:g} ms"):
            jfx.integrate_field(make_cell(1), probe, delta_t=DT, t_max=t_max)


def test_a_clamp_that_ends_early_is_refused(probe, refused):
    cell = make_cell(1)
    cell.branch(0).comp(0).clamp("v", jnp.full(10, -60.0), verbose=False)
    with refused(jfx.DimensionError, "clamp of v"):
        online(cell, probe)


def test_contacts_inside_a_cell_are_counted_and_said_once():
    cell = make_cell(1)
    cell.insert(Leak())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = online(cell, jfx.probe_at([[0.0, 0.0, 0.0], [0.0, 300.0, 0.0]]))
    assert ["within min_distance" in str(w.message) for w in caught].count(True) == 1
    assert made.jfne.provenance["steps"][-1]["parameters"]["contacts_inside"] == 1
