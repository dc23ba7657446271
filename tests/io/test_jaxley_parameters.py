"""`from_jaxley(params=)`: the conductances and labels of a simulation with trained parameters, and their gradients."""

import warnings

import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
from jaxley.channels import HH

import jaxfne_xr as jfx

DT = 0.025
#: What a change of a parameter changes.
KEYS = ("radius", "length", "axial_resistivity", "capacitance", "HH_gNa")


@pytest.fixture(autouse=True)
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def probe():
    return jfx.probe_at([[30.0, 20.0, 0.0], [5.0, 0.5, 0.0]])  # the second inside of a compartment


def make_cell(*trainable: str) -> jx.Cell:
    cell = jx.Cell([jx.Branch(ncomp=1), jx.Branch(ncomp=2), jx.Branch(ncomp=2)], parents=[-1, 0, 0])
    cell.insert(HH())
    cell.set("length", 40.0)
    cell.branch(1).comp(1).stimulate(jx.step_current(0.1, 0.5, 0.05, DT, 1.0), verbose=False)
    cell.record("v", verbose=False)
    for key in trainable:
        cell.branch(1).make_trainable(key, verbose=False)
    return cell


def scaled(cell: jx.Cell, factor: float = 1.3) -> list[dict]:
    return [{key: factor * x for key, x in entry.items()} for entry in cell.get_parameters()]


def simulated(cell, params, **options):
    v = jx.integrate(cell, params=params or [], delta_t=DT)
    return jfx.from_jaxley(cell, v, delta_t=DT, params=params, **options)


def numbers(variable) -> np.ndarray:
    return np.asarray(getattr(variable.data, "magnitude", variable.data))


def assert_close(made, expected, tolerance=1e-10):
    assert np.abs(made - expected).max() <= tolerance * np.abs(expected).max()


def test_trained_parameters_count_as_if_written_into_the_module():
    cell = make_cell(*KEYS)
    params = scaled(cell)
    made = simulated(cell, params)
    before = simulated(make_cell(), None)
    for name in ("x", "y", "z", "x_start", "x_end"):  # Jaxley does not move compartments
        np.testing.assert_array_equal(made[name], before[name])
    cell.write_trainables(params)
    cell.delete_trainables()
    written = simulated(cell, None)
    for name in ("v", "conductance", "diameter", "membrane_area", "capacitance"):
        assert_close(numbers(made[name]), numbers(written[name]))
        assert made[name].attrs == written[name].attrs
    step = made.jfne.provenance["steps"][0]["parameters"]
    assert step["trained"] == sorted(KEYS)


def test_the_fields_are_those_of_integrate_field(probe):
    cell = make_cell(*KEYS)
    params = scaled(cell)
    options = {"delta_t": DT, "params": params}
    with pytest.warns(UserWarning, match="within min_distance"):
        expected = jfx.integrate_field(cell, probe, readouts=("lfp", "recordings"), **options)
    with pytest.warns(UserWarning, match="within min_distance"):
        made = jfx.lfp(simulated(cell, params), probe)
    assert_close(numbers(made.lfp), numbers(expected.lfp))
    assert_close(numbers(expected.conductance), numbers(simulated(cell, params).conductance), 0)


@pytest.mark.slow
def test_gradients_against_central_differences(probe):
    cell = make_cell(*KEYS)
    params = scaled(cell)

    def offline(params):
        return jnp.sum(jnp.square(jfx.lfp(simulated(cell, params, quantify=False), probe).lfp.data))

    def online(params):
        made = jfx.integrate_field(cell, probe, delta_t=DT, params=params, quantify=False)
        return jnp.sum(jnp.square(made.lfp.data))

    slopes, others = jax.grad(offline)(params), jax.grad(online)(params)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "2 of|1 of")
        for k, key in enumerate(KEYS):
            step = 1e-5 * float(params[k][key][0])
            around = [
                offline([*params[:k], {key: params[k][key] + sign * step}, *params[k + 1 :]])
                for sign in (1, -1)
            ]
            slope = float(slopes[k][key][0])
            assert slope == pytest.approx(float(around[0] - around[1]) / (2 * step), rel=1e-6), key
            assert slope == pytest.approx(float(others[k][key][0]), rel=1e-9), key


def test_trainable_geometry_without_params_is_named():
    cell = make_cell("HH_gNa")
    v = np.asarray(jx.integrate(cell, delta_t=DT))
    jfx.from_jaxley(cell, v, delta_t=DT)  # the geometry is known
    for key in ("radius", "axial_resistivity"):
        cell.make_trainable(key, verbose=False)
    with pytest.warns(UserWarning, match="axial_resistivity, radius of the module are trainable"):
        jfx.from_jaxley(cell, v, delta_t=DT)
    jfx.from_jaxley(cell, v, delta_t=DT, params=cell.get_parameters())
    jfx.integrate_field(cell, readouts="recordings", delta_t=DT)  # ran with the values of the table
    cell.delete_trainables()
    jfx.from_jaxley(cell, v, delta_t=DT)


@pytest.mark.parametrize(
    "params", ["radius", {"radius": np.ones(1)}, [], [{"length": np.ones(1)}], [{"radius": 2.0}]], ids=str
)  # fmt: skip
def test_params_that_do_not_fit(params, refused):
    cell = make_cell("radius")
    with refused(jfx.ArgumentError, "params", "radius", "module.get_parameters()"):
        jfx.from_jaxley(cell, np.zeros((5, 3)), delta_t=DT, params=params)


def test_quantities_cannot_hold_traced_parameters(refused):
    cell = make_cell("radius")

    def make(params, quantify):
        ds = jfx.from_jaxley(
            cell, np.full((5, 3), -70.0), delta_t=DT, params=params, quantify=quantify
        )
        return jfx.transmembrane_currents(ds).i_membrane.data.sum()

    params = cell.get_parameters()
    assert jax.jit(jax.grad(lambda p: make(p, None)))(params)[0]["radius"].shape == (1,)
    with refused(jfx.DataError, "quantify=False"):
        jax.jit(lambda p: make(p, True))(params)
