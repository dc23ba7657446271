"""Spherical heads against a transfer-matrix solution, closed forms, Geselowitz' integral and LFPykit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields import dipoles as infinite
from jaxfne_xr.kernels.fields.heads import eccentricity, series_terms
from jaxfne_xr.kernels.fields.heads import sarvas_lead_field as _sarvas_lead_field
from jaxfne_xr.kernels.fields.heads import sphere_lead_field as _sphere_lead_field

sphere_lead_field = jax.jit(_sphere_lead_field, static_argnames="n_terms")
sarvas_lead_field = jax.jit(_sarvas_lead_field)
potential_lead_field = jax.jit(infinite.potential_lead_field)
magnetic_lead_field = jax.jit(infinite.magnetic_lead_field)

RADII = np.array([79e3, 80e3, 85e3, 90e3])  # um
SIGMA = np.array([0.3, 1.5, 0.015, 0.3])  # S/m


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


def converged(dipole, sensor, radii=RADII, sigma=SIGMA):
    n = series_terms(float(eccentricity(dipole, sensor, radii)))
    return np.asarray(sphere_lead_field(dipole, sensor, radii, sigma, n_terms=n))


def signal(lead_field, moment):
    return np.einsum("cxd,dx->c", lead_field, moment)


@functools.cache
def boundary_conditions(n, radii, sigma):
    """Solve the linear system of one order, which no dipole and no sensor is in, in 60 digits."""
    import mpmath as mp

    with mp.workdps(60):
        shells = len(radii)
        edge = [mp.mpf(x) / mp.mpf(radii[-1]) for x in radii]
        s = [mp.mpf(x) for x in sigma]
        # unknowns: growing parts of shells 0 ... N-1, then decaying parts of shells 1 ... N-1
        size = 2 * shells - 1
        matrix, right = mp.zeros(size), mp.zeros(size, 1)
        for j in range(shells - 1):
            e = edge[j]
            up, down = e**n, e ** -(n + 1)
            slope_up, slope_down = n * e ** (n - 1), -(n + 1) * e ** -(n + 2)
            matrix[2 * j, j], matrix[2 * j, j + 1] = up, -up
            matrix[2 * j + 1, j], matrix[2 * j + 1, j + 1] = (
                s[j] * slope_up,
                -s[j + 1] * slope_up,
            )
            matrix[2 * j, shells + j] = -down
            matrix[2 * j + 1, shells + j] = -s[j + 1] * slope_down
            if j:
                matrix[2 * j, shells + j - 1] = down
                matrix[2 * j + 1, shells + j - 1] = s[j] * slope_down
            else:
                right[0], right[1] = -down, -s[0] * slope_down
        matrix[size - 1, shells - 1] = n
        if shells > 1:
            matrix[size - 1, size - 1] = -(n + 1)
        else:
            right[0] = n + 1
        return mp.lu_solve(matrix, right)


def transfer_matrix_potential(moment, dipole, sensor, radii, sigma, n_terms):
    """Potential (uV) at one sensor, order by order: all boundary conditions as one linear system.

    Radial functions are powers r^n and r^-(n+1), angles are those of a dipole on the z axis, radial and
    tangential parts are apart. 60 digits make the scaling irrelevant.
    """
    import mpmath as mp

    with mp.workdps(60):
        shells = len(radii)
        outer = mp.mpf(float(radii[-1]))
        edge = [mp.mpf(float(x)) / outer for x in radii]
        s = [mp.mpf(float(x)) for x in sigma]
        r0_vector, r_vector, p = (
            mp.matrix([mp.mpf(float(x)) for x in v]) for v in (dipole, sensor, moment)
        )

        def dot(a, b):
            return sum(a[i] * b[i] for i in range(3))

        r0, r = mp.sqrt(dot(r0_vector, r0_vector)), mp.sqrt(dot(r_vector, r_vector))
        z = r0_vector / r0
        x = dot(r_vector, z) / r
        radial = dot(p, z)
        flat = r_vector / r - x * z  # its length is sin(theta)
        sine = mp.sqrt(dot(flat, flat))
        tangential = dot(p, flat) / sine if sine else mp.mpf(0)  # |p_t| cos(phi)
        b, rho = r0 / outer, r / outer
        shell = next((j for j in range(shells) if rho <= edge[j]), shells - 1)
        # inside r0 the source's own field has a term of order 0, a constant
        total = -radial / b**2 if not shell and rho <= b else mp.mpf(0)
        legendre = [mp.mpf(1), x]
        for n in range(1, n_terms + 1):
            solution = boundary_conditions(n, tuple(map(float, radii)), tuple(map(float, sigma)))
            factor = solution[shell] * rho**n
            if shell:
                factor += solution[shells + shell - 1] * rho ** -(n + 1)
            elif rho > b:
                factor += rho ** -(n + 1)
            order = b ** (n - 1)
            along = n * order * legendre[n]
            across = (
                order * n * (legendre[n - 1] - x * legendre[n]) / (1 - x**2) * sine if sine else 0
            )
            part = radial * along + tangential * across
            total += factor * part
            if not shell and rho <= b:  # the source's own field, expanded inside r0
                inner = rho**n * b ** -(n + 2)
                own = radial * -(n + 1) * legendre[n]
                own += tangential * n * (legendre[n - 1] - x * legendre[n]) / (1 - x**2) * sine
                total += inner * own
            legendre.append(((2 * n + 1) * x * legendre[n] - n * legendre[n - 1]) / (n + 1))
        return float(total * 1000 / (4 * mp.pi * s[0] * outer**2))


@pytest.mark.parametrize("depth", [20e3, 60e3])
@pytest.mark.slow
def test_four_spheres_against_the_transfer_matrix_in_every_shell(x64, depth, agreement):
    rng = np.random.default_rng(0)
    dipole, moment = depth * unit_vectors(rng, 1)[0], rng.standard_normal(3)
    radius = np.array([90e3, 87e3, 82e3, 79.5e3, 70e3, 8e3])
    sensor = radius[:, None] * unit_vectors(rng, 6)
    got = signal(converged(dipole[None], sensor), moment[None])
    for k, place in enumerate(sensor):
        close = min(depth, radius[k]) / max(depth, radius[k])
        n = int(np.ceil(np.log(1e-17) / np.log(close)))
        expected = transfer_matrix_potential(moment, dipole, place, RADII, SIGMA, n)
        agreement("four spheres", "an own transfer-matrix solution", got[k], expected, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [(0, 0, 1.0), (1.0, 0, 0), (0.3, -0.5, 0.8)])
def test_a_dipole_close_to_the_brain_surface(x64, moment):
    """r0 / r1 = 0.99, above it, to its side and on the far side."""
    dipole = np.array([0, 0, 0.99 * 79e3])
    angle = np.array([0.0, 0.02, 0.5, np.pi])
    sensor = 90e3 * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    got = signal(converged(dipole[None], sensor), np.array([moment]))
    expected = [
        transfer_matrix_potential(moment, dipole, place, RADII, SIGMA, 330) for place in sensor
    ]
    assert_close(got, np.array(expected), 1e-11)


def homogeneous_sphere(dipole, sensor, radius, sigma):
    """Return the closed form on the surface of a sphere, as a lead field (channel, xyz, dipole).

    The series with factors (2 n + 1) / n = 2 + 1 / n sums to the gradient in r0 of
    2 / d + log(2 / (1 - r0.r / R^2 + d / R)) / R.
    """
    away = sensor[:, None] - dipole
    d = np.linalg.norm(away, axis=-1, keepdims=True)
    cosine = (sensor[:, None] * dipole).sum(-1, keepdims=True) / radius**2
    correction = (sensor[:, None] / radius**2 + away / (d * radius)) / (1 - cosine + d / radius)
    lead = (2 * away / d**3 + correction / radius) * 1e3 / (4 * np.pi * sigma)
    return np.swapaxes(lead, 1, 2)


@pytest.mark.parametrize("shells", [1, 4])
def test_equal_conductivities_are_one_homogeneous_sphere(x64, shells):
    rng = np.random.default_rng(1)
    radii, sigma = RADII[-shells:], np.full(shells, 0.4)
    dipole = rng.uniform(0, 0.95 * 79e3, (5, 1)) * unit_vectors(rng, 5)
    sensor = 90e3 * unit_vectors(rng, 20)
    expected = homogeneous_sphere(dipole, sensor, 90e3, 0.4)
    assert_close(converged(dipole, sensor, radii, sigma), expected, 1e-12)


def test_equal_conductivities_far_from_the_boundary_are_the_infinite_medium(x64, agreement):
    """The boundary adds a field that falls with the cube of its distance: none for a large sphere.

    A sphere in air is not the infinite medium: at its surface the potential of a central dipole is
    three times as large. Within it, it tends to the infinite medium's as the outer radius grows.
    """
    rng = np.random.default_rng(2)
    dipole = rng.uniform(-50, 50, (3, 3)) * 1e3
    sensor = np.array([[90.0], [82.0], [79.5], [60.0]]) * 1e3 * unit_vectors(rng, 4)
    infinite = np.asarray(potential_lead_field(dipole, sensor, 0.4))
    error = []
    for radius in (1e7, 2e7):
        radii = np.array([79e3, 80e3, 85e3, radius])
        lead = converged(dipole, sensor, radii, np.full(4, 0.4))
        error.append(abs(lead - infinite).max() / abs(infinite).max())
        agreement(
            "four spheres of one conductivity, far from the boundary",
            "infinite medium",
            lead,
            infinite,
            1e-6,
        )
    assert abs(error[0] / error[1] - 8) <= 0.1
    scalp = 90e3 * unit_vectors(rng, 3)
    central = converged(np.zeros((1, 3)), scalp, RADII, np.full(4, 0.4))
    assert_close(central, 3 * np.asarray(potential_lead_field(np.zeros((1, 3)), scalp, 0.4)), 1e-13)


def test_thin_or_equal_shells_change_nothing(x64):
    """A boundary between equal conductivities, wherever it lies, is not there."""
    rng = np.random.default_rng(3)
    dipole, sensor = 40e3 * unit_vectors(rng, 3), 90e3 * unit_vectors(rng, 6)
    two = converged(dipole, sensor, np.array([79e3, 90e3]), np.array([0.3, 0.02]))
    four = converged(
        dipole, sensor, np.array([60e3, 79e3, 83e3, 90e3]), np.array([0.3, 0.3, 0.02, 0.02])
    )
    assert_close(four, two, 1e-12)


def test_potential_and_normal_current_pass_every_boundary(x64):
    rng = np.random.default_rng(4)
    dipole, direction = 70e3 * unit_vectors(rng, 2), unit_vectors(rng, 5)

    def at(radius):
        return sphere_lead_field(dipole, radius * direction, RADII, SIGMA, n_terms=400)

    slope = jax.jit(jax.jacfwd(at))
    for j, radius in enumerate(RADII):
        inside, outside = radius * (1 - 1e-9), radius * (1 + 1e-9)
        current = SIGMA[j] * slope(inside)
        if j < 3:
            assert_close(at(outside), at(inside), 1e-6)
            assert_close(SIGMA[j + 1] * slope(outside), current, 1e-6)
        else:  # no current through the scalp
            assert abs(current).max() <= 1e-6 * abs(SIGMA[j] * slope(0.98 * radius)).max()


def test_reference_is_the_mean_over_the_scalp(x64):
    node, weight = np.polynomial.legendre.leggauss(60)
    turn = 2 * np.pi * np.arange(120) / 120
    sine = np.sqrt(1 - node**2)[:, None]
    scalp = np.stack([sine * np.cos(turn), sine * np.sin(turn), node[:, None] + 0 * turn], axis=-1)
    lead = converged(np.array([[10e3, 20e3, 30e3]]), 90e3 * scalp.reshape(-1, 3))
    mean = (np.repeat(weight, 120)[:, None, None] * lead).sum(0) / 240
    assert abs(mean).max() <= 1e-13 * abs(lead).max()


def test_reciprocity_inside_the_brain(x64):
    """Two electrodes' potential from a dipole equals, by Green's second identity, the swap of roles."""
    rng = np.random.default_rng(5)
    a, b = rng.uniform(-40e3, 40e3, (2, 3))
    p, q = rng.standard_normal((2, 3))

    def potential(dipole, moment, sensor):
        return signal_jax(
            sphere_lead_field(dipole[None], sensor[None], RADII, SIGMA, n_terms=120), moment
        )

    def signal_jax(lead, moment):
        return (lead[0, :, 0] * moment).sum()

    forth = jax.grad(lambda s: potential(a, p, s))(jnp.asarray(b)) @ q
    back = jax.grad(lambda s: potential(b, q, s))(jnp.asarray(a)) @ p
    assert abs(forth - back) <= 1e-11 * abs(forth)


@pytest.mark.slow
def test_a_dipole_at_the_centre_and_sensors_at_the_centre_or_the_dipole(x64):
    centre = jnp.zeros((1, 3))
    sensor = jnp.array([[0, 0, 90e3], [0, 0, 0], [10e3, 0, 0]])

    def total(dipole, sensor):
        return (sphere_lead_field(dipole, sensor, RADII, SIGMA, n_terms=40) ** 2).sum() * 1e12

    assert jnp.isfinite(sphere_lead_field(centre, sensor, RADII, SIGMA, n_terms=40)).all()
    derivatives = jax.jit(lambda *a: (jax.grad(total, (0, 1))(*a), jax.hessian(total)(*a)))
    for leaf in jax.tree.leaves(derivatives(centre, sensor)):
        assert jnp.isfinite(leaf).all()
    near = sphere_lead_field(centre + 1e-3, sensor[:1], RADII, SIGMA, n_terms=40)
    assert_close(sphere_lead_field(centre, sensor[:1], RADII, SIGMA, n_terms=40), near, 1e-6)


def test_outside_the_brain_is_nan_and_beyond_the_scalp_is_the_scalp(x64):
    sensor = np.array([[0, 0, 90e3], [0, 54e3, 72e3]])
    dipole = np.array([[0, 0, 79e3], [0, 70e3, 50e3], [0, 0, 20e3]])
    lead = np.asarray(sphere_lead_field(dipole, sensor, RADII, SIGMA, n_terms=50))
    assert np.isnan(lead[..., :2]).all()
    beyond = sphere_lead_field(dipole[2:], 1.1 * sensor, RADII, SIGMA, n_terms=50)
    assert_close(beyond, lead[..., 2:], 1e-13)


def test_series_terms_reach_their_tolerance_and_refuse_divergence(x64):
    rng = np.random.default_rng(6)
    dipole, sensor = (
        np.array([[0, 0, 78e3]]),
        90e3 * np.vstack([[0, 0, 1.0], unit_vectors(rng, 20)]),
    )
    exact = sphere_lead_field(dipole, sensor, RADII, SIGMA, n_terms=800)
    t = float(eccentricity(dipole, sensor, RADII))
    assert t == pytest.approx(78 / 90, rel=1e-15)
    for tolerance in (1e-4, 1e-8):
        lead = sphere_lead_field(
            dipole, sensor, RADII, SIGMA, n_terms=series_terms(t, tolerance=tolerance)
        )
        error = abs(lead - exact).max() / abs(exact).max()
        assert tolerance * 1e-6 <= error <= tolerance
    assert_close(converged(dipole, sensor), exact, 2e-14)
    for t in (1.0, 1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="converges for an eccentricity"):
            series_terms(t)


def test_eccentricity_of_sensors_in_the_brain(x64):
    dipole, sensor = np.array([[0, 0, 39.5e3]]), np.array([[0, 0, 1.0], [0, 0, 39.5e3]])
    assert float(eccentricity(dipole, sensor, RADII)) == pytest.approx(0.25, rel=1e-15)
    assert float(eccentricity(dipole[:0], sensor, RADII)) == 0
    beyond = float(eccentricity(dipole, np.array([[0, 0, 200e3]]), RADII))
    assert beyond == pytest.approx(39.5 / 90, rel=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("n_terms", [300])
def test_float32_needs_no_more_range(x64, n_terms):
    rng = np.random.default_rng(7)
    dipole = np.float32(0.98 * 79e3 * unit_vectors(rng, 4))
    sensor = np.float32(90e3 * unit_vectors(rng, 6))
    radii, sigma = np.float32(RADII), np.float32(SIGMA)
    lead = sphere_lead_field(dipole, sensor, radii, sigma, n_terms=n_terms)
    assert lead.dtype == jnp.float32
    exact = sphere_lead_field(
        *(a.astype(float) for a in (dipole, sensor, radii, sigma)), n_terms=n_terms
    )
    assert_close(lead, exact, 1e-4)
    gradient = jax.grad(lambda *a: sphere_lead_field(*a, n_terms=n_terms).sum(), (0, 1, 2, 3))(
        dipole, sensor, radii, sigma
    )
    assert all(jnp.isfinite(leaf).all() for leaf in gradient)


@pytest.mark.slow
def test_gradients_of_the_sphere_in_everything(x64, check_derivatives):
    rng = np.random.default_rng(8)
    moment, dipole = rng.standard_normal((2, 2, 3))
    sensor = np.array([[90.0], [87.0], [83.0], [79.5], [30.0]]) / 90 * unit_vectors(rng, 5)
    sensor[0] = [0, 0, 1]

    def readout(moment, dipole, sensor, radii, sigma):
        lead = sphere_lead_field(dipole, sensor, radii, sigma, n_terms=25)
        return jnp.einsum("cxd,dx->c", lead, moment) * 1e-3

    arguments = (moment, dipole / 5, sensor, RADII / 90e3, SIGMA)
    check_derivatives(readout, arguments, eps=1e-5)
    # the scalp's projection has a kink in its second derivative: sensors inside it only
    inside = (moment, dipole / 5, sensor[1:], RADII / 90e3, SIGMA)
    check_derivatives(readout, inside, order=2, eps=1e-5, rtol=1e-4)


def test_jit_and_vmap_over_conductivities(x64):
    rng = np.random.default_rng(9)
    dipole, sensor = 50e3 * unit_vectors(rng, 2), 90e3 * unit_vectors(rng, 3)
    skull = np.array([0.005, 0.015, 0.04])
    sigma = np.stack([np.full(3, 0.3), np.full(3, 1.5), skull, np.full(3, 0.3)], axis=1)
    many = jax.jit(
        jax.vmap(lambda s: sphere_lead_field(dipole, sensor, jnp.asarray(RADII), s, n_terms=90))
    )(sigma)
    one = [sphere_lead_field(dipole, sensor, RADII, s, n_terms=90) for s in sigma]
    assert_close(many, np.stack(one), 1e-13)


def geselowitz(moment, dipole, sensor, orientation, radius):
    """Return the field (fT) of a homogeneous sphere from the potential on its surface.

    B = B_primary - mu0 sigma / (4 pi) * integral of V n x (r - r') / |r - r'|^3 over the sphere.
    """
    node, weight = np.polynomial.legendre.leggauss(120)
    turn = 2 * np.pi * np.arange(240) / 240
    sine = np.sqrt(1 - node**2)[:, None]
    normal = np.stack(
        [sine * np.cos(turn), sine * np.sin(turn), node[:, None] + 0 * turn], axis=-1
    ).reshape(-1, 3)
    area = np.repeat(weight, 240) * 2 * np.pi / 240 * radius**2
    sigma = 0.33
    volt = signal(homogeneous_sphere(dipole[None], radius * normal, radius, sigma), moment[None])
    away = sensor[:, None] - radius * normal
    ring = np.cross(normal, away) / np.linalg.norm(away, axis=-1, keepdims=True) ** 3
    # uV (S/m) um^2 / um^2 = uA/m, times mu0 / (4 pi) is 1e-13 T
    volume = -sigma * ((volt * area)[:, None] * ring).sum(1) * 1e-7 * 1e-6 * 1e15
    primary = signal(magnetic_lead_field(dipole[None], sensor, orientation), moment[None])
    return primary + (volume * orientation).sum(1)


@pytest.mark.parametrize("depth", [0.0, 30e3, 60e3])
def test_sarvas_is_the_integral_over_the_surface_potential(x64, depth):
    rng = np.random.default_rng(10)
    dipole, moment = depth * unit_vectors(rng, 1)[0], rng.standard_normal(3)
    sensor, orientation = 120e3 * unit_vectors(rng, 8), unit_vectors(rng, 8)
    lead = sarvas_lead_field(dipole[None], sensor, orientation)
    got = signal(lead, moment[None])
    expected = geselowitz(moment, dipole, sensor, orientation, 90e3)
    scale = abs(signal(magnetic_lead_field(dipole[None], sensor, orientation), moment[None])).max()
    assert abs(got - expected).max() <= 1e-11 * scale


def test_sarvas_radial_dipole_is_silent_and_radial_component_is_primary(x64):
    rng = np.random.default_rng(11)
    dipole = rng.uniform(0, 79e3, (5, 1)) * unit_vectors(rng, 5)
    direction = unit_vectors(rng, 9)
    sensor, orientation = 110e3 * direction, unit_vectors(rng, 9)
    lead = np.asarray(sarvas_lead_field(dipole, sensor, orientation))
    radial = np.einsum("cxd,dx->cd", lead, dipole / np.linalg.norm(dipole, axis=1, keepdims=True))
    assert abs(radial).max() <= 1e-15 * abs(lead).max()
    primary = np.asarray(magnetic_lead_field(dipole, sensor, direction))
    assert_close(sarvas_lead_field(dipole, sensor, direction), primary, 1e-13)


def test_sarvas_field_has_no_curl_and_no_divergence_outside(x64):
    dipole, sensor = np.array([[10e3, 20e3, 50e3]]), np.array([30e3, 80e3, 70e3])

    def field(place):
        return sarvas_lead_field(dipole, jnp.tile(place, (3, 1)), jnp.eye(3))[:, :, 0]

    slope = np.asarray(jax.jacfwd(field)(jnp.asarray(sensor)))  # (component, xyz of p, d/dxyz)
    assert abs(np.einsum("ipi->p", slope)).max() <= 1e-13 * abs(slope).max()
    assert abs(slope - slope.transpose(2, 1, 0)).max() <= 1e-13 * abs(slope).max()


def test_sarvas_at_the_centre_and_outside(x64):
    sensor, orientation = jnp.array([[0, 60e3, 90e3]]), jnp.array([[1.0, 0, 0]])
    lead = sarvas_lead_field(jnp.zeros((1, 3)), sensor, orientation)
    assert not lead.any()
    slope = jax.jacrev(sarvas_lead_field)(jnp.zeros((1, 3)), sensor, orientation)
    assert jnp.isfinite(slope).all()
    assert slope.any()
    deep = jnp.array([[0, 60e3, 90e3], [0, 0, 200e3], [0, 0, 70e3]])
    lead = np.asarray(sarvas_lead_field(deep, sensor, orientation))
    assert np.isnan(lead[..., :2]).all()
    assert np.isfinite(lead[..., 2]).all()


@pytest.mark.slow
def test_gradients_of_sarvas(x64, check_derivatives):
    rng = np.random.default_rng(12)
    moment, dipole, orientation = rng.standard_normal((3, 3, 3))
    sensor = 1.2 * unit_vectors(rng, 3)

    def readout(moment, dipole, sensor, orientation):
        lead = sarvas_lead_field(dipole, sensor, orientation)
        return jnp.einsum("cxd,dx->c", lead, moment) * 1e-5

    dipole = 0.5 * dipole / np.linalg.norm(dipole, axis=1, keepdims=True)
    arguments = (moment, dipole * np.array([[0], [1], [1]]), sensor, orientation)
    check_derivatives(readout, arguments, order=2, rtol=1e-4)


def test_sarvas_in_float32(x64):
    rng = np.random.default_rng(13)
    dipole, sensor = 70e3 * unit_vectors(rng, 4), 110e3 * unit_vectors(rng, 5)
    single = [np.float32(a) for a in (dipole, sensor, unit_vectors(rng, 5))]
    lead = sarvas_lead_field(*single)
    assert lead.dtype == jnp.float32
    assert_close(lead, sarvas_lead_field(*(a.astype(float) for a in single)), 1e-5)
    gradient = jax.grad(lambda *a: sarvas_lead_field(*a).sum(), (0, 1, 2))(*single)
    assert all(jnp.isfinite(leaf).all() for leaf in gradient)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.5, 2))
def test_laws_rotation_and_scale(seed, factor):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        turn = rotation(rng)
        dipole = rng.uniform(0, 60e3, (2, 1)) * unit_vectors(rng, 2)
        sensor, orientation = 90e3 * unit_vectors(rng, 4), unit_vectors(rng, 4)
        electric = np.asarray(sphere_lead_field(dipole, sensor, RADII, SIGMA, n_terms=80))
        magnetic = np.asarray(sarvas_lead_field(dipole, sensor, orientation))
        there, around, toward = dipole @ turn.T, sensor @ turn.T, orientation @ turn.T
        turned = np.asarray(sphere_lead_field(there, around, RADII, SIGMA, n_terms=80))
        assert_close(np.einsum("cyd,yx->cxd", turned, turn), electric, 1e-11)
        turned = np.asarray(sarvas_lead_field(there, around, toward))
        assert_close(np.einsum("cyd,yx->cxd", turned, turn), magnetic, 1e-11)
        scaled = sphere_lead_field(
            factor * dipole, factor * sensor, factor * RADII, SIGMA / factor, n_terms=80
        )
        assert_close(scaled, electric / factor, 1e-11)
        assert_close(
            sarvas_lead_field(factor * dipole, factor * sensor, orientation),
            magnetic / factor**2,
            1e-11,
        )


@pytest.mark.oracle
def test_four_spheres_against_lfpykit_within_its_truncation(x64, agreement):
    from lfpykit.eegmegcalc import FourSphereVolumeConductor

    rng = np.random.default_rng(14)
    sensor = np.vstack([89.9e3 * unit_vectors(rng, 10), 87e3 * unit_vectors(rng, 3)])
    # its own default stops at 2e-8 of the first term; a smaller factor converges
    lfpykit = FourSphereVolumeConductor(sensor, list(RADII), list(SIGMA), iter_factor=1e-16)
    for radius in (78e3, 40e3):
        dipole = radius * unit_vectors(rng, 1)
        expected = lfpykit.get_transformation_matrix(dipole[0]) * 1e3
        made = converged(dipole, sensor)[..., 0]
        agreement("four spheres", "LFPykit, converged", made, expected, 1e-10)
    default = FourSphereVolumeConductor(sensor, list(RADII), list(SIGMA))
    assert_close(
        converged(dipole, sensor)[..., 0], default.get_transformation_matrix(dipole[0]) * 1e3, 1e-5
    )


@pytest.mark.oracle
def test_sarvas_against_lfpykit(x64, agreement):
    from lfpykit.eegmegcalc import SphericallySymmetricVolCondMEG

    rng = np.random.default_rng(15)
    dipole, sensor = 70e3 * unit_vectors(rng, 1), 110e3 * unit_vectors(rng, 6)
    orientation = unit_vectors(rng, 6)
    lfpykit = SphericallySymmetricVolCondMEG(sensor)
    matrix = lfpykit.mu * lfpykit.get_transformation_matrix(dipole[0]) * 1e12  # mT to fT
    expected = np.einsum("cox,co->cx", matrix, orientation)
    made = sarvas_lead_field(dipole, sensor, orientation)[..., 0]
    agreement("Sarvas", "LFPykit", made, expected, 1e-12)
