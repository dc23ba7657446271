"""Quadrature over electrodes: exactness on polynomials, closed forms, convergence, laws."""

from itertools import pairwise

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy.integrate import dblquad

from jaxfne_xr.kernels.fields.electrode import electrode_mean, electrode_nodes, electrode_reach
from jaxfne_xr.kernels.fields.homogeneous import line_source, point_source

UP = np.array([[0.0, 0.0, 1.0]])
ORIGIN = np.zeros((1, 3))


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def mean_over(shape, order, site, radius=10.0, normal=UP):
    nodes = electrode_nodes(ORIGIN, normal, radius, shape=shape, order=order)
    return np.asarray(electrode_mean(lambda p: point_source(p, site, 0.3, 0.0), *nodes))


def monomial_mean(shape, i, j):
    """Mean of x^i y^j over the unit disk, or over the square of half side 1."""
    if i % 2 or j % 2:
        return 0.0
    if shape == "square":
        return 1 / ((i + 1) * (j + 1))
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.mean(np.cos(angle) ** i * np.sin(angle) ** j) * 2 / (i + j + 2)


@pytest.mark.parametrize("shape", ["disk", "square"])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.slow
def test_polynomials_are_exact(shape, order):
    nodes, weights = electrode_nodes(ORIGIN, UP, 1.0, shape=shape, order=order)
    degree = 4 * order - 2 if shape == "disk" else 4 * order - 1
    assert nodes.shape[1] == (order * (4 * order - 1) if shape == "disk" else 4 * order**2)
    assert abs(weights.sum() - 1) < 1e-15
    assert (weights > 0).all()
    x, y, z = np.moveaxis(np.asarray(nodes[0]), 1, 0)
    assert np.abs(z).max() == 0
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            assert abs(weights @ (x**i * y**j) - monomial_mean(shape, i, j)) < 1e-14


@pytest.mark.parametrize("distance", [5.0, 10.0, 20.0, 100.0])
@pytest.mark.slow
def test_disk_above_its_middle_in_closed_form(distance):
    """The mean of 1 / r over a disk seen from its axis is 2 (sqrt(R^2 + d^2) - d) / R^2."""
    exact = 1e3 / (4 * np.pi * 0.3) * 2 * (np.hypot(10, distance) - distance) / 100
    site = np.array([[0.0, 0.0, distance]])
    errors = [abs(mean_over("disk", n, site)[0, 0] / exact - 1) for n in (1, 2, 3, 4, 30)]
    assert errors[-1] < 1e-13
    assert all(b < 0.5 * a for a, b in pairwise(errors) if b > 1e-13)
    if distance >= 20:
        assert errors[2] < 2e-5  # the default order
    if distance >= 100:
        assert errors[2] < 1e-9


@pytest.mark.parametrize("shape", ["disk", "square"])
@pytest.mark.slow
def test_convergence_for_sources_anywhere(shape):
    site = np.array([[15.0, 0.0, 5.0], [0.0, 8.0, 12.0], [-30.0, 20.0, 0.0], [70.0, 10.0, -60.0]])
    reference = mean_over(shape, 60, site)
    errors = np.array(
        [np.abs(mean_over(shape, n, site) / reference - 1)[0] for n in (2, 3, 4, 6, 8)]
    )
    assert (errors[1:, :2] < 0.6 * errors[:-1, :2]).all()
    assert errors[-1].max() < 1e-4
    assert (errors[1, 2:] < 1e-4).all()  # the default order, where the source is two radii away


def test_square_against_adaptive_quadrature():
    site = np.array([[4.0, -7.0, 9.0]])
    mean, _ = dblquad(
        lambda y, x: 1 / np.sqrt((x - 4) ** 2 + (y + 7) ** 2 + 81), -10, 10, -10, 10, epsabs=1e-11
    )
    exact = np.array([[1e3 / (4 * np.pi * 0.3) * mean / 400]])
    close(mean_over("square", 40, site), exact, 1e-11)


@pytest.mark.parametrize("shape", ["disk", "square"])
def test_small_electrodes_are_points(shape):
    site = np.array([[3.0, 4.0, 12.0]])
    close(mean_over(shape, 2, site, 1e-6), point_source(ORIGIN, site, 0.3, 0.0), 1e-12)


@given(st.integers(0, 2**32 - 1))
def test_nodes_lie_on_the_electrode(seed):
    rng = np.random.default_rng(seed)
    contact, normal = rng.normal(size=(2, 4, 3))
    radius = rng.uniform(1, 10, 4)
    unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    for shape in ("disk", "square"):
        nodes, weights = electrode_nodes(contact, normal, radius, shape=shape)
        offset = np.asarray(nodes) - contact[:, None]
        assert np.abs(np.einsum("cki,ci->ck", offset, unit)).max() < 1e-13
        reach = np.linalg.norm(offset, axis=2).max(1) / radius
        assert (reach < (1 if shape == "disk" else np.sqrt(2))).all()
        close(np.einsum("k,cki->ci", weights, nodes), contact, 1e-13)  # the centre is the mean
        flipped, _ = electrode_nodes(contact, -3 * normal, radius, shape=shape)
        close(flipped.sum(1), nodes.sum(1), 1e-12)


def test_sides_of_a_square_follow_the_axes():
    """On a shank in the x-z plane (normal along y), sides run along x and z."""
    nodes, _ = electrode_nodes(ORIGIN, np.array([[0.0, 2.0, 0.0]]), 6.0, shape="square", order=1)
    close(np.abs(nodes[0]), np.tile([6 / np.sqrt(3), 0, 6 / np.sqrt(3)], (4, 1)), 1e-15)


@given(st.integers(0, 2**32 - 1))
def test_reach_is_that_of_a_fine_outline(seed):
    rng = np.random.default_rng(seed)
    normal, radius = rng.normal(size=(4, 3)), rng.uniform(1, 10, 4)
    for shape, order in (("disk", 60), ("square", 30)):
        reach = electrode_reach(normal, radius, shape=shape)
        nodes, _ = electrode_nodes(np.zeros((4, 3)), normal, radius, shape=shape, order=order)
        outermost = np.abs(nodes).max(axis=1)  # Gauss points end just inside of the outline
        assert (outermost <= reach + 1e-12).all()
        assert (outermost >= 0.995 * reach - 1e-2).all()


def test_mean_is_the_weighted_sum_of_one_big_matrix():
    rng = np.random.default_rng(0)
    contact, normal, start, end = rng.normal(size=(4, 5, 3)) * 30
    disk = electrode_nodes(contact, normal, 4.0, shape="disk")
    lead_field = lambda p: line_source(p, start, end, 0.3, 1.0)
    nodes, weights = disk
    full = lead_field(nodes.reshape(-1, 3)).reshape(5, -1, 5)
    close(electrode_mean(lead_field, *disk), jnp.einsum("k,cks->cs", weights, full), 1e-14)


def test_memory_never_holds_every_node():
    rng = np.random.default_rng(1)
    contact, normal, start, end = (rng.normal(size=(n, 3)) * 100 for n in (300, 300, 1000, 1000))

    def averaged(contact, normal):
        nodes = electrode_nodes(contact, normal, 5.0, shape="disk", order=4)
        return electrode_mean(lambda p: line_source(p, start, end, 0.3, 1.0), *nodes)

    memory = jax.jit(averaged).lower(contact, normal).compile().memory_analysis()
    assert memory.output_size_in_bytes == 300 * 1000 * 8
    assert memory.temp_size_in_bytes < memory.output_size_in_bytes  # every node: 60 times as much


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["disk", "square"])
def test_gradients(check_derivatives, shape):
    site = jnp.array([[4.0, -7.0, 9.0], [-20.0, 3.0, 15.0]])
    inverse_distance = lambda p: jnp.sum((p[:, None] - site) ** 2, -1) ** -0.5

    def averaged(contact, normal, radius):
        nodes = electrode_nodes(contact, normal, radius, shape=shape, order=2)
        return electrode_mean(inverse_distance, *nodes)

    arguments = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.2, 0.5, 1.0]]), jnp.array([3.0])
    check_derivatives(averaged, arguments, order=2)


def test_no_contacts_and_bad_input():
    nodes, weights = electrode_nodes(np.ones((0, 3)), np.ones((0, 3)), 1.0, shape="disk")
    assert electrode_mean(lambda p: point_source(p, ORIGIN, 0.3, 1.0), nodes, weights).shape == (
        0,
        1,
    )
    with pytest.raises(ValueError, match="'disk' or 'square'"):
        electrode_nodes(ORIGIN, UP, 1.0, shape="circle")
    with pytest.raises(ValueError, match="order at least 1"):
        electrode_nodes(ORIGIN, UP, 1.0, shape="disk", order=0)


def test_single_precision_follows_the_input():
    nodes, weights = electrode_nodes(
        ORIGIN.astype(np.float32), UP.astype(np.float32), np.float32(2), shape="square"
    )
    assert nodes.dtype == weights.dtype == np.float32
