"""Dipole moments and infinite-medium fields against monopoles, line elements and LFPykit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields import dipoles as kernel

SIGMA = 0.3  # S/m
dipole_moment = jax.jit(kernel.dipole_moment, static_argnames=("axis", "n_groups"))
potential_lead_field = jax.jit(kernel.potential_lead_field)
magnetic_lead_field = jax.jit(kernel.magnetic_lead_field)


def assert_close(actual, desired, tol=1e-12):
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    assert abs(actual - desired).max() <= tol * abs(desired).max()


def unit_vectors(rng, n):
    v = rng.standard_normal((n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def rotation(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def point_potential(current, position, sensor):
    """Return the potential (uV) of point sources of `current` (nA) in SI units, brought to uV."""
    distance = np.linalg.norm(sensor[:, None] - position, axis=-1) * 1e-6
    return (current * 1e-9 / (4 * np.pi * SIGMA * distance)).sum(1) * 1e6


def signal(lead_field, moment):
    return np.einsum("cxd,dx->c", lead_field, moment)


@pytest.fixture
def geometry():
    rng = np.random.default_rng(0)
    return rng.uniform(-50, 50, (4, 3)), rng.uniform(-50, 50, (4, 3)), 900 * unit_vectors(rng, 6)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_moment_is_the_sum_of_current_times_position(x64, axis):
    rng = np.random.default_rng(1)
    current, position = rng.standard_normal((9, 2, 5)), rng.uniform(-300, 300, (9, 3))
    expected = sum(position[i][:, None, None] * current[i] for i in range(9))
    moment = dipole_moment(np.moveaxis(current, 0, axis), position, axis=axis)
    assert_close(moment, np.moveaxis(expected, 0, axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_moment_by_group(x64, axis):
    rng = np.random.default_rng(2)
    current, position = rng.standard_normal((9, 5)), rng.uniform(-300, 300, (9, 3))
    group = np.array([1, 0, 2, 1, 0, -1, 2, 2, 0])
    moment = dipole_moment(
        np.moveaxis(current, 0, axis), position, axis=axis, group=group, n_groups=4
    )
    assert moment.shape == ((4, 3, 5) if axis == 0 else (5, 4, 3))
    for k in range(4):
        own = dipole_moment(current[group == k], position[group == k], axis=0)
        mine = moment[k] if axis == 0 else moment[:, k].T
        np.testing.assert_allclose(mine, own, rtol=0, atol=1e-10)


def test_group_and_n_groups_go_together():
    with pytest.raises(ValueError, match="go together"):
        dipole_moment(np.ones(2), np.ones((2, 3)), axis=0, n_groups=1)


def test_origin_matters_only_where_currents_do_not_sum_to_zero(x64):
    rng = np.random.default_rng(3)
    current, position = rng.standard_normal(8), rng.uniform(-300, 300, (8, 3))
    shift = np.array([1000.0, -200.0, 30.0])
    change = dipole_moment(current, position - shift, axis=0) - dipole_moment(
        current, position, axis=0
    )
    assert_close(change, -shift * current.sum(), 1e-11)
    closed = current - current.mean()
    assert_close(
        dipole_moment(closed, position - shift, axis=0),
        dipole_moment(closed, position, axis=0),
        1e-11,
    )


def test_empty_axes(x64):
    assert (
        dipole_moment(np.ones((0, 4)), np.ones((0, 3)), axis=0).tolist()
        == np.zeros((3, 4)).tolist()
    )
    assert dipole_moment(np.ones((2, 0)), np.ones((2, 3)), axis=0).shape == (3, 0)
    assert potential_lead_field(np.ones((0, 3)), np.ones((2, 3)), SIGMA).shape == (2, 3, 0)


def test_potential_and_field_in_si_units(x64, geometry):
    dipole, moment, sensor = geometry
    orientation = unit_vectors(np.random.default_rng(4), 6)
    d = (sensor[:, None] - dipole) * 1e-6
    r3 = np.linalg.norm(d, axis=-1) ** 3
    p = moment * 1e-15  # nA um in A m
    volt = (np.einsum("dx,cdx->cd", p, d) / (4 * np.pi * SIGMA * r3)).sum(1)
    tesla = 1e-7 * (np.cross(p, d) / r3[..., None]).sum(1)
    assert_close(signal(potential_lead_field(dipole, sensor, SIGMA), moment), volt * 1e6)
    field = signal(magnetic_lead_field(dipole, sensor, orientation), moment)
    assert_close(field, (tesla * orientation).sum(1) * 1e15)


@pytest.mark.parametrize("separation", [10.0, 1.0])
def test_two_monopoles_become_the_dipole_quadratically(x64, separation):
    """A pair at +-h/2 differs from its dipole by (h / r)^2 (5 cos^2 - 3) / 8, on the axis (h / 2r)^2."""
    axis, sensor = np.array([0.0, 0.0, 1.0]), np.array([[0.0, 0.0, 500.0]])
    position, current = np.stack([axis, -axis]) * separation / 2, np.array([2.0, -2.0])
    moment = dipole_moment(current, position, axis=0)
    pair = point_potential(current, position, sensor)
    dipole = signal(potential_lead_field(np.zeros((1, 3)), sensor, SIGMA), moment[None])
    expected = (separation / 1000) ** 2
    assert abs((pair / dipole - 1)[0] - expected) <= 2 * expected**2 + 1e-12


def test_far_field_of_a_closed_cell_is_its_dipole_and_falls_with_the_square(x64):
    rng = np.random.default_rng(5)
    position, current = rng.uniform(-200, 200, (50, 3)), rng.standard_normal(50)
    current -= current.mean()
    direction = unit_vectors(rng, 20)
    moment = dipole_moment(current, position, axis=0)[None]
    near, far = (point_potential(current, position, r * direction) for r in (1e5, 2e5))
    dipole = signal(potential_lead_field(np.zeros((1, 3)), 2e5 * direction, SIGMA), moment)
    assert_close(far, dipole, 5e-3)
    assert_close(4 * far, near, 5e-3)
    # the next term falls with the cube: twice as far, half the relative difference
    dipole_near = signal(potential_lead_field(np.zeros((1, 3)), 1e5 * direction, SIGMA), moment)
    ratio = abs(near - dipole_near).max() / abs(8 * (far - dipole)).max()
    assert abs(ratio - 1) <= 0.02


def test_a_line_of_dipoles_makes_the_field_of_a_straight_wire(x64):
    """Biot-Savart: a wire from -L to L carries I, at distance a: B = mu0 I / (2 pi a) L/sqrt(a^2+L^2)."""
    node, weight = np.polynomial.legendre.leggauss(60)
    length, current, away = 300.0, 2.0, 150.0
    position = np.stack([0 * node, 0 * node, length * node], axis=1)
    moment = current * length * weight[:, None] * np.array([0.0, 0.0, 1.0])
    sensor, across = np.array([[away, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    field = signal(magnetic_lead_field(position, sensor, across), moment)
    tesla = 2e-7 * current * 1e-9 / (away * 1e-6) * length / np.hypot(away, length)
    assert abs(field[0] - tesla * 1e15) <= 1e-10 * tesla * 1e15


@pytest.mark.slow
def test_min_distance_makes_the_potential_linear_and_the_pole_is_finite(x64):
    sensor = np.array([[0.0, 0.0, 4.0]])
    origin = np.zeros((1, 3))
    at_rim = potential_lead_field(origin, 2.5 * sensor, SIGMA)
    assert_close(potential_lead_field(origin, sensor, SIGMA, min_distance=10.0), 0.4 * at_rim)
    for min_distance in (0.0, 10.0):

        def both(sensor, dipole, min_distance=min_distance):
            potential = potential_lead_field(dipole, sensor, SIGMA, min_distance=min_distance)
            field = magnetic_lead_field(dipole, sensor, jnp.ones((1, 3)), min_distance=min_distance)
            return potential.sum() + field.sum()

        assert both(origin, origin) == 0
        for gradient in jax.grad(both, (0, 1))(origin, origin):
            assert jnp.isfinite(gradient).all()
        for hessian in jax.tree.leaves(jax.hessian(both, (0, 1))(origin, origin)):
            assert jnp.isfinite(hessian).all()
    gradient = jax.grad(
        lambda s: potential_lead_field(origin, s, SIGMA, min_distance=10.0)[0, 2, 0]
    )(jnp.asarray(origin))
    assert_close(gradient, [[0.0, 0.0, at_rim[0, 2, 0] / 10.0]])


@pytest.mark.slow
def test_gradients_in_positions_sensors_conductivity_currents(x64, check_derivatives, geometry):
    dipole, moment, sensor = geometry
    orientation = unit_vectors(np.random.default_rng(6), 6)

    def readout(current, dipole, sensor, sigma, orientation):
        p = dipole_moment(current, dipole, axis=0, group=jnp.array([0, 1, 1, 0]), n_groups=2)
        place = dipole[:2]
        potential = jnp.einsum("cxd,dx->c", potential_lead_field(place, sensor, sigma), p)
        field = jnp.einsum("cxd,dx->c", magnetic_lead_field(place, sensor, orientation), p)
        return potential * 1e2, field

    arguments = (moment[:, 0] / 10, dipole / 100, sensor / 100, SIGMA, orientation)
    check_derivatives(readout, arguments, order=2, rtol=1e-4)


def test_float32_agrees_at_head_scale(x64, geometry):
    dipole, _, sensor = (a * 100 for a in geometry)
    orientation = unit_vectors(np.random.default_rng(7), 6)
    single = [np.asarray(a, np.float32) for a in (dipole, sensor, orientation)]
    field = magnetic_lead_field(*single)
    assert field.dtype == jnp.float32
    assert_close(field, magnetic_lead_field(*(a.astype(float) for a in single)), 1e-5)


@given(seed=st.integers(0, 2**32 - 1))
def test_laws_rotation_and_translation(seed):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        turn, shift = rotation(rng), rng.uniform(-1e3, 1e3, 3)
        dipole, moment = rng.uniform(-50, 50, (2, 3, 3))
        sensor, orientation = 500 * unit_vectors(rng, 5), unit_vectors(rng, 5)
        potential = signal(potential_lead_field(dipole, sensor, SIGMA), moment)
        field = signal(magnetic_lead_field(dipole, sensor, orientation), moment)
        there = dipole @ turn.T + shift, sensor @ turn.T + shift
        assert_close(signal(potential_lead_field(*there, SIGMA), moment @ turn.T), potential, 1e-10)
        turned = magnetic_lead_field(*there, orientation @ turn.T)
        assert_close(signal(turned, moment @ turn.T), field, 1e-10)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.1, 10))
def test_laws_linear_and_covariant_under_a_change_of_length(seed, factor):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        dipole, sensor = rng.uniform(-50, 50, (3, 3)), 500 * unit_vectors(rng, 5)
        lead = np.asarray(potential_lead_field(dipole, sensor, SIGMA))
        scaled = potential_lead_field(factor * dipole, factor * sensor, SIGMA / factor)
        assert_close(scaled, lead / factor, 1e-11)
        # one row per dipole: a stack of dipoles is the sum of its members
        alone = [potential_lead_field(d[None], sensor, SIGMA)[..., 0] for d in dipole]
        assert_close(np.stack(alone, axis=-1), lead, 1e-13)


@pytest.mark.oracle
def test_lfpykit(x64, geometry, agreement):
    from lfpykit.eegmegcalc import InfiniteHomogeneousVolCondMEG, InfiniteVolumeConductor

    dipole, moment, sensor = geometry
    orientation = unit_vectors(np.random.default_rng(8), 6)
    lfpykit = InfiniteVolumeConductor(SIGMA)
    potential, field = 0, 0
    for place, p in zip(dipole, moment, strict=True):
        potential += lfpykit.get_dipole_potential(p[:, None], sensor - place)[:, 0] * 1e3
        magnetic = InfiniteHomogeneousVolCondMEG(sensor).calculate_B(p[:, None], place)[..., 0]
        field += (magnetic * orientation).sum(1) * 1e12  # mT to fT
    made = signal(potential_lead_field(dipole, sensor, SIGMA), moment)
    agreement("infinite medium, EEG", "LFPykit", made, potential, 1e-12)
    made = signal(magnetic_lead_field(dipole, sensor, orientation), moment)
    agreement("infinite medium, MEG", "LFPykit", made, field, 1e-12)
