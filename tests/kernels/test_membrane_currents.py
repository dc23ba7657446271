"""Transmembrane currents against a plain loop over edges, laws of the Laplacian, and rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields import membrane_currents_numpy as current_numpy
from jaxfne_xr.kernels.fields.membrane_currents import (
    axial_current,
    current_sum,
    difference_weights,
    fold,
    laplacian,
    neighbours,
    rounding_bound,
    transmembrane_current,
)


def assert_close(actual, desired, tol=1e-12):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    if desired.size:
        assert abs(actual - desired).max() <= tol * abs(desired).max()


def tree(n, seed=0):
    """Edges of a random tree in random order and direction, and their conductances (uS)."""
    rng = np.random.default_rng(seed)
    child = np.arange(1, n)
    parent = (rng.random(n - 1) * child).astype(int)
    flip = rng.random(n - 1) < 0.5
    start, stop = np.where(flip, child, parent), np.where(flip, parent, child)
    order = rng.permutation(n - 1)
    return start[order], stop[order], rng.uniform(0.01, 5, n - 1)


def loop(voltage, start, stop, conductance):
    """Return the axial current of each site (nA), one edge at a time; sites first."""
    current = np.zeros_like(voltage)
    for i, j, g in zip(start, stop, conductance, strict=True):
        current[i] += g * (voltage[j] - voltage[i])
        current[j] += g * (voltage[i] - voltage[j])
    return current


@pytest.fixture
def cell():
    rng = np.random.default_rng(1)
    return *tree(30), -65 + 20 * rng.standard_normal((30, 7))


@pytest.mark.slow
@pytest.mark.parametrize("edges", ["concrete", "traced"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axial_current_is_the_loop_over_edges(x64, cell, axis, edges):
    start, stop, g, v = cell
    v = np.stack([v, 2 * v + 1], axis=1)  # (site, trial, time)
    compute = jax.jit(axial_current, static_argnames="axis") if edges == "traced" else axial_current
    current = compute(np.moveaxis(v, 0, axis), start, stop, g, axis=axis)
    assert_close(current, np.moveaxis(loop(v, start, stop, g), 0, axis))


def test_a_closed_loop_parallel_edges_and_a_self_loop(x64):
    start, stop, g = np.array([0, 1, 2, 0, 1]), np.array([1, 2, 0, 1, 1]), np.arange(1.0, 6)
    v = np.array([[-65.0], [-60.0], [-71.0]])
    assert_close(axial_current(v, start, stop, g, axis=0), loop(v, start, stop, g))


def test_no_edges_no_sites_no_samples(x64):
    none = np.zeros(0, int)
    assert axial_current(np.ones((3, 2)), none, none, np.zeros(0), axis=0).tolist() == [[0, 0]] * 3
    assert axial_current(np.ones((0, 2)), none, none, np.zeros(0), axis=0).shape == (0, 2)
    empty = transmembrane_current(
        np.ones((3, 0)), [0], [1], np.ones(1), axis=0, method="crank_nicolson", time_axis=1
    )
    assert empty.shape == (3, 0)


def test_neighbours_refuses_edges_that_lead_nowhere():
    with pytest.raises(ValueError, match="join sites 1 to 3 of 3"):
        neighbours([1], [3], 3)
    with pytest.raises(ValueError, match="not two equal lists"):
        neighbours([1, 2], [0], 3)


def test_a_constant_voltage_drives_no_current_in_float32(cell):
    start, stop, g, v = cell
    flat = jnp.full(v.shape, -65.1234, jnp.float32)
    current = axial_current(flat, start, stop, jnp.asarray(g, jnp.float32), axis=0)
    assert current.dtype == jnp.float32
    assert not current.any()  # exactly: differences come first


def test_laplacian_is_symmetric_with_zero_sums_and_acts_as_axial_current(x64, cell):
    start, stop, g, v = cell
    matrix = np.asarray(laplacian(start, stop, g, 30))
    assert_close(matrix, matrix.T, 0)
    assert abs(matrix.sum(0)).max() <= 1e-14 * abs(matrix).max()
    assert np.linalg.eigvalsh(matrix).max() <= 1e-13 * abs(matrix).max()
    assert_close(matrix @ v, axial_current(v, start, stop, g, axis=0), 1e-12)


@pytest.mark.parametrize("time_axis", [0, 1])
def test_crank_nicolson_is_the_mean_over_each_step(x64, cell, time_axis):
    start, stop, g, v = cell
    mean = np.concatenate([v[:, :1], (v[:, :-1] + v[:, 1:]) / 2], axis=1)
    expected = loop(mean, start, stop, g)
    given_v, expected = (v.T, expected.T) if time_axis == 0 else (v, expected)
    current = transmembrane_current(
        given_v,
        start,
        stop,
        g,
        axis=1 - time_axis,
        method="crank_nicolson",
        time_axis=time_axis,
    )
    assert_close(current, expected)


def test_stimulus_adds_to_its_site_and_to_the_sum(x64, cell):
    start, stop, g, v = cell
    stimulus = np.zeros(v.shape)
    stimulus[4, 2:] = 0.7
    with_it = transmembrane_current(v, start, stop, g, axis=0, stimulus=stimulus)
    assert_close(with_it - transmembrane_current(v, start, stop, g, axis=0), stimulus, 1e-11)
    residual = current_sum(with_it, np.zeros(30, int), n_groups=1, axis=0)
    assert_close(residual[0], stimulus.sum(0), 1e-11)


def test_method_needs_a_known_name_and_a_time_axis():
    with pytest.raises(ValueError, match="choose 'backward_euler' or 'crank_nicolson'"):
        transmembrane_current(np.ones(2), [0], [1], np.ones(1), axis=0, method="rk4")
    with pytest.raises(ValueError, match="pass time_axis="):
        transmembrane_current(np.ones(2), [0], [1], np.ones(1), axis=0, method="crank_nicolson")


def test_backward_euler_current_charges_the_membrane(x64):
    """A passive cable stepped by backward Euler: G V = C dV/dt + I_leak - stim, sample by sample."""
    start, stop, g = tree(12, seed=3)
    matrix = np.asarray(laplacian(start, stop, g, 12))
    rng = np.random.default_rng(4)
    capacitance, leak, dt = (
        rng.uniform(0.01, 0.1, 12),
        rng.uniform(1e-3, 1e-2, 12),
        0.025,
    )  # nF uS ms
    stimulus = np.where(np.arange(40) > 5, 0.3, 0) * (np.arange(12) == 2)[:, None]
    v = np.full((12, 41), -65.0)
    for k in range(40):
        left = np.diag(capacitance / dt + leak) - matrix
        right = capacitance / dt * v[:, k] + leak * -70 + stimulus[:, k]
        v[:, k + 1] = np.linalg.solve(left, right)
    current = transmembrane_current(v[:, 1:], start, stop, g, axis=0, stimulus=stimulus)
    membrane = capacitance[:, None] * np.diff(v) / dt + leak[:, None] * (v[:, 1:] + 70)
    assert_close(current, membrane, 1e-11)


def test_fold_gives_the_potential_straight_from_voltages(x64, cell):
    start, stop, g, v = cell
    lead = np.random.default_rng(5).uniform(0.1, 3, (4, 30))
    folded = fold(lead, start, stop, g)
    assert_close(folded @ v, lead @ loop(v, start, stop, g), 1e-11)
    assert abs(np.asarray(folded).sum(1)).max() <= 1e-13 * abs(np.asarray(folded)).max()


@pytest.mark.parametrize("axis", [0, 1])
def test_current_sum_keeps_groups_apart_and_leaves_out_minus_one(x64, axis):
    current = np.arange(10.0).reshape(5, 2)
    current[0, 0] = np.nan
    sums = current_sum(
        np.moveaxis(current, 0, axis), np.array([2, 0, -1, 0, -1]), n_groups=3, axis=axis
    )
    expected = np.array([[8.0, 10.0], [0, 0], [np.nan, 1.0]])
    np.testing.assert_array_equal(np.moveaxis(np.asarray(sums), axis, 0), expected)


@pytest.mark.slow
def test_float32_voltages_err_within_the_bound_and_not_far_below_it(x64):
    start, stop, g = tree(200, seed=6)
    rng = np.random.default_rng(7)
    v = -65 + np.cumsum(0.01 * rng.standard_normal((200, 500)), axis=1)
    exact = loop(v, start, stop, g)
    rounded = axial_current(v.astype(np.float32).astype(float), start, stop, g, axis=0)
    error = abs(np.asarray(rounded) - exact).max(1)
    bound = np.asarray(rounding_bound(abs(v).max(1), start, stop, g))
    assert (error <= bound).all()
    assert (error >= bound / 5).all()
    in_float32 = axial_current(
        jnp.asarray(v, jnp.float32), start, stop, g.astype(np.float32), axis=0
    )
    assert (abs(np.asarray(in_float32, float) - exact).max(1) <= 1.2 * bound).all()


@pytest.mark.slow
@pytest.mark.parametrize("edges", ["concrete", "traced"])
def test_gradients_in_voltage_and_conductance(x64, check_derivatives, cell, edges):
    start, stop, g, v = cell

    def compute(v, g, start, stop):
        current = transmembrane_current(
            v, start, stop, g, axis=0, method="crank_nicolson", time_axis=1
        )
        return (current**2).sum(0)

    traced = jax.jit(compute)
    constant = lambda v, g: compute(v, g, start, stop)
    readout = constant if edges == "concrete" else lambda v, g: traced(v, g, start, stop)

    check_derivatives(readout, (v[:, :3] / 10, g), order=2)


def test_vmap_over_conductances(x64, cell):
    start, stop, g, v = cell
    many = jax.vmap(lambda g: axial_current(v, start, stop, g, axis=0))(np.stack([g, 3 * g]))
    assert_close(many, np.stack([loop(v, start, stop, k * g) for k in (1, 3)]))


@pytest.mark.slow
@given(n=st.sampled_from([1, 2, 7, 25]), seed=st.integers(0, 2**32 - 1), scale=st.floats(-3, 3))
def test_laws_conserved_linear_blind_to_order(n, seed, scale):
    with jax.enable_x64(True):
        start, stop, g = tree(n, seed)
        rng = np.random.default_rng(seed)
        v, w = rng.normal(-65, 20, (2, n, 3))
        current = np.asarray(axial_current(v, start, stop, g, axis=0))
        size = max(abs(current).max(), 1.0)
        assert abs(current.sum(0)).max() <= 1e-12 * size
        both = axial_current(v + scale * w, start, stop, g, axis=0)
        other = np.asarray(axial_current(w, start, stop, g, axis=0))
        assert abs(both - current - scale * other).max() <= 1e-11 * size
        shifted = axial_current(v + 10, start, stop, g, axis=0)
        assert abs(shifted - current).max() <= 1e-11 * size
        turn, label = rng.permutation(n - 1), rng.permutation(n)
        moved = np.empty_like(v)
        moved[label] = v
        relabelled = axial_current(moved, label[stop[turn]], label[start[turn]], g[turn], axis=0)
        assert abs(np.asarray(relabelled)[label] - current).max() <= 1e-12 * size


def test_weights_of_differences_are_the_lead_field_of_the_loop(x64, cell):
    start, stop, g, v = cell
    lead_field = np.random.default_rng(4).normal(size=(5, 30))
    weights = difference_weights(lead_field, start, stop, g)
    assert_close(weights @ (v[stop] - v[start]), lead_field @ loop(v, start, stop, g), 1e-13)


def test_weights_of_differences_have_gradients(x64, check_derivatives, cell):
    start, stop, g, _ = cell
    lead_field = np.random.default_rng(4).normal(size=(3, 30))
    check_derivatives(lambda a, b: difference_weights(a, start, stop, b), (lead_field, g), order=2)


# ------------------------------------------------------------------------------------------- the same on NumPy


def knots(n, seed=0):
    """Edges of a graph with chains, forks, cliques, parallel edges and self-loops, in random order."""
    rng = np.random.default_rng(seed)
    some = rng.integers(0, n, (2, n // 2))
    chain = np.stack([np.arange(n - 1), np.arange(1, n)])[:, rng.random(n - 1) < 0.7]
    star = np.stack([np.full(5, 2), rng.integers(0, n, 5)])
    ends = np.concatenate([some, chain, chain[:, :3], star], axis=1)
    ends = np.where(rng.random(ends.shape[1]) < 0.5, ends, ends[::-1])[
        :, rng.permutation(ends.shape[1])
    ]
    return *ends, rng.uniform(0.01, 5, ends.shape[1])


def mean_of_steps(current, axis):
    """Return the mean of each sample with the one before, by a plain loop."""
    x = np.moveaxis(current, axis, 0)
    return np.moveaxis(np.stack([(x[max(k - 1, 0)] + x[k]) / 2 for k in range(len(x))]), 0, axis)


ORDERS = ["site time trial", "time site trial", "time trial site", "trial site time"]


@pytest.mark.parametrize("memory", ["C", "F", "sliced", "reversed"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tile", [1, 700, 1 << 21])
@pytest.mark.parametrize("long", [1, 512])
def test_numpy_in_any_layout_and_any_tile(monkeypatch, memory, order, tile, long):
    monkeypatch.setattr(current_numpy, "TILE_BYTES", tile)
    monkeypatch.setattr(current_numpy, "LONG", long)
    start, stop, g = knots(23)
    names = order.split()
    v = np.random.default_rng(2).normal(-65, 10, (23, 11, 3))
    want = loop(v, start, stop, g)
    axes = [["site", "time", "trial"].index(name) for name in names]
    v, want = v.transpose(axes), want.transpose(axes)
    v = {
        "C": np.ascontiguousarray,
        "F": np.asfortranarray,
        "sliced": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    }[memory](v)
    before = v.copy()
    axis, time = names.index("site"), names.index("time")
    made = current_numpy.transmembrane_current(v, start, stop, g, axis=axis, time_axis=time)
    assert_close(made, want)
    made = current_numpy.transmembrane_current(
        v, start, stop, g, axis=axis - 3, method="crank_nicolson", time_axis=time
    )
    assert_close(made, mean_of_steps(want, time))
    np.testing.assert_array_equal(v, before)


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (1000,)])
def test_numpy_of_trees_of_any_size(n, shape):
    start, stop, g = tree(n)
    v = np.random.default_rng(3).normal(-65, 10, (n, *shape))
    assert_close(
        current_numpy.transmembrane_current(v, start, stop, g, axis=0), loop(v, start, stop, g)
    )


def test_numpy_keeps_the_precision_and_the_order_in_memory():
    start, stop, g = knots(30)
    for dtype in (np.float32, np.float64):
        flat = np.full((7, 30), -65.1234, dtype, order="F")
        made = current_numpy.transmembrane_current(flat, start, stop, g, axis=1)
        assert made.dtype == dtype
        assert made.strides == flat.strides
        assert not made.any()  # exactly: differences come first
    counts = np.random.default_rng(4).integers(0, 255, (30, 5)).astype(np.uint8)
    made = current_numpy.transmembrane_current(counts, start, stop, g, axis=0)
    assert made.dtype == np.float64
    assert_close(made, loop(counts.astype(float), start, stop, g))


def test_numpy_and_jax_agree(x64):
    start, stop, g = tree(300, seed=8)
    v = np.random.default_rng(9).normal(-65, 10, (600, 300))
    for method in ("backward_euler", "crank_nicolson"):
        options = {"axis": 1, "method": method, "time_axis": 0}
        assert_close(
            current_numpy.transmembrane_current(v, start, stop, g, **options),
            transmembrane_current(v, start, stop, g, **options),
            1e-14,
        )
