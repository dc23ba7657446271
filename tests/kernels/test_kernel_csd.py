"""Kernel current source density against quadrature, a plain loop over left-out contacts, elephant."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields.kernel_csd import (
    basis_density,
    basis_potential,
    compress_samples,
    kcsd_errors,
    kcsd_matrix,
    leave_one_out,
    source_grid,
)

pytestmark = pytest.mark.usefixtures("x64")

EXTENT = {1: 250.0, 2: 400.0, 3: None}
potential_of = jax.jit(basis_potential, static_argnames="basis")
errors_of = jax.jit(kcsd_errors)
estimate = jax.jit(kcsd_matrix, static_argnames="basis")


def close(a, b, tol):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def quad(f, *knots):
    pieces = itertools.pairwise(knots)
    return sum(
        scipy.integrate.quad(f, a, b, epsabs=0, epsrel=1e-12, limit=500)[0] for a, b in pieces
    )


def at_distances(distances, dim):
    return np.pad(np.array(distances)[:, None], ((0, 0), (0, dim - 1)))


def setup(dim, n=12, seed=0):
    """Contacts at random, a grid of sources around them, points to estimate at."""
    rng = np.random.default_rng(seed)
    contact = rng.uniform(0, 300, (n, dim))
    lower, upper = jnp.full(dim, -60.0), jnp.full(dim, 360.0)
    source = source_grid(lower, upper, shape=(40, 10, 7)[dim - 1 : dim] * dim)
    return jnp.asarray(contact), source, jnp.asarray(rng.uniform(0, 300, (9, dim)))


# --------------------------------------------------------------------------------- basis potentials
@pytest.mark.parametrize("width", [5.0, 40.0, 1000.0])
def test_1d_gauss(width):
    distances, radius = [0.0, 3.0, 100.0, 1500.0], 250.0

    def direct(d):
        f = lambda u: np.exp(-(((d - u) / width) ** 2) / 2) * (np.hypot(u, radius) - abs(u))
        low, high = d - 14 * width, d + 14 * width
        return quad(f, *sorted({low, d, high} | ({0.0} if low < 0 < high else set()))) / (2 * 0.3)

    expected = 1e-3 * np.array([direct(d) for d in distances])
    found = potential_of(at_distances(distances, 1), np.zeros((1, 1)), width, 0.3, radius)[:, 0]
    assert np.abs(found / expected - 1).max() < 1e-9


@pytest.mark.parametrize("width", [5.0, 40.0, 1000.0])
def test_2d_gauss(width):
    """In polar coordinates about the contact, where the density averages to a Bessel function."""
    distances, thickness = [0.0, 3.0, 100.0, 1500.0], 400.0

    def direct(d):
        def f(r):
            around = np.exp(-(((d - r) / width) ** 2) / 2) * scipy.special.ive(0, r * d / width**2)
            return 2 * np.pi * r * around * np.arcsinh(thickness / 2 / r)

        knots = sorted({0.0, max(d - 14 * width, 0.0), d, d + 14 * width})
        return quad(f, *knots) / (2 * np.pi * 0.3)

    expected = 1e-3 * np.array([direct(d) for d in distances])
    found = potential_of(at_distances(distances, 2), np.zeros((1, 2)), width, 0.3, thickness)[:, 0]
    assert np.abs(found / expected - 1).max() < 1e-9


@pytest.mark.parametrize("basis", ["gauss", "step"])
@pytest.mark.parametrize("width", [5.0, 40.0, 1000.0])
def test_3d(width, basis):
    """Newton's shells: charge within, over the distance, and what each shell without adds."""
    distances = [0.0, 1e-3, 3.0, 39.0, 41.0, 100.0, 1500.0]
    reach = 14 * width if basis == "gauss" else width
    shape = (lambda r: np.exp(-((r / width) ** 2) / 2)) if basis == "gauss" else (lambda r: 1.0)

    def direct(d):
        inner = quad(lambda r: r**2 * shape(r), 0.0, min(d, reach)) / d if d else 0.0
        outer = quad(lambda r: r * shape(r), d, reach) if d < reach else 0.0
        return (inner + outer) / 0.3

    expected = 1e-3 * np.array([direct(d) for d in distances])
    found = potential_of(at_distances(distances, 3), np.zeros((1, 3)), width, 0.3, basis=basis)
    assert np.abs(found[:, 0] / expected - 1).max() < 1e-11


def test_1d_step():
    distances, radius, width = [0.0, 3.0, 40.0, 100.0, 1500.0], 250.0, 40.0

    def direct(d):
        inside = {0.0} if d < width else set()
        f = lambda u: np.hypot(u, radius) - abs(u)
        return quad(f, *sorted({d - width, d + width} | inside)) / (2 * 0.3)

    expected = 1e-3 * np.array([direct(d) for d in distances])
    found = potential_of(
        at_distances(distances, 1), np.zeros((1, 1)), width, 0.3, radius, basis="step"
    )
    close(found[:, 0], expected, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2])
def test_quadrature_over_its_range(dim, monkeypatch):
    """Against the same integral by a rule with four times the nodes."""
    nodes = np.polynomial.legendre.leggauss
    distances = at_distances([0, 0.3, 1, 3, 10, 30, 100, 300], dim)

    def over_range(extent):
        return basis_potential(jnp.asarray(distances), jnp.zeros((1, dim)), 1.0, 0.3, extent)

    ratios = jnp.array([0.1, 0.3, 1.0, 3.0, 30.0, 1000.0])
    found = jax.jit(jax.vmap(over_range))(ratios)
    monkeypatch.setattr(np.polynomial.legendre, "leggauss", lambda n: nodes(4 * n))
    expected = jax.jit(jax.vmap(over_range))(ratios)
    assert not jnp.array_equal(found, expected)  # it is another rule
    assert jnp.abs(found / expected - 1).max() < 3e-10


def test_far_away_every_source_is_a_point():
    charge = 40.0**3 * (2 * np.pi) ** 1.5  # um^3 times 1 uA/mm^3
    point = 1e-3 * charge / (4 * np.pi * 0.3 * 1e5)
    found = potential_of(at_distances([1e5], 3), np.zeros((1, 3)), 40.0, 0.3)[0, 0]
    assert abs(found / point - 1) < 1e-12


def test_basis_density():
    d = np.array([0.0, 40.0, 41.0])
    gauss, step = (
        basis_density(jnp.asarray(at_distances(d, 2)), jnp.zeros((1, 2)), 40.0, basis=basis)[:, 0]
        for basis in ("gauss", "step")
    )
    close(gauss, np.exp(-((d / 40) ** 2) / 2), 1e-15)
    np.testing.assert_array_equal(step, [1, 1, 0])


def test_what_is_wrong_is_said():
    at = {dim: jnp.zeros((2, dim)) for dim in (1, 2, 3, 4)}
    with pytest.raises(ValueError, match="radius of the discs, um"):
        basis_potential(at[1], at[1], 40.0, 0.3)
    with pytest.raises(ValueError, match="thickness of the layer, um"):
        basis_potential(at[2], at[2], 40.0, 0.3)
    with pytest.raises(ValueError, match='use "gauss"'):
        basis_potential(at[2], at[2], 40.0, 0.3, 100.0, basis="step")
    with pytest.raises(ValueError, match="4 dimensions"):
        basis_potential(at[4], at[4], 40.0, 0.3, 100.0)
    for function in (
        lambda b: basis_density(at[3], at[3], 40.0, basis=b),
        lambda b: basis_potential(at[3], at[3], 40.0, 0.3, basis=b),
    ):
        with pytest.raises(ValueError, match="must be"):
            function("gauss_lim")
    with pytest.raises(ValueError, match="2 entries for 1 dim"):
        source_grid(jnp.zeros(1), jnp.ones(1), shape=(2, 2))


# ---------------------------------------------------------------------------------------- estimates
@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_matrix_is_ridge_regression(dim):
    """The same estimate from the side of the sources: smallest coefficients that explain."""
    contact, source, point = setup(dim)
    base = np.asarray(potential_of(contact, source, 60.0, 0.3, EXTENT[dim]))
    shift = 1e-3 * (base @ base.T).trace() / 12
    weights = np.linalg.solve(base.T @ base + shift * np.eye(base.shape[1]), base.T)
    expected = np.asarray(basis_density(point, source, 60.0)) @ weights
    matrix, condition = estimate(contact, source, point, 60.0, 1e-3, 0.3, EXTENT[dim])
    close(matrix, expected, 1e-9)
    system = base @ base.T + shift * np.eye(12)
    assert abs(float(condition) / np.linalg.cond(system) - 1) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_recovers_a_basis_source_better_from_more_contacts(dim):
    errors = []
    middle = jnp.full((1, dim), 150.0)
    for n in {1: (4, 8), 2: (5, 9), 3: (4, 7)}[dim]:
        contact = source_grid(jnp.zeros(dim), jnp.full(dim, 300.0), shape=(n,) * dim)
        source = source_grid(jnp.full(dim, -50.0), jnp.full(dim, 350.0), shape=(14,) * dim)
        truth = basis_density(contact, middle, 70.0)[:, 0]
        measured = potential_of(contact, middle, 70.0, 0.3, EXTENT[dim])[:, 0]
        matrix = estimate(contact, source, contact, 50.0, 1e-7, 0.3, EXTENT[dim]).matrix
        errors.append(float(jnp.abs(matrix @ measured - truth).max()))
    assert errors[0] < 0.4
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.06


@given(seed=st.integers(0, 10**6), dim=st.sampled_from([1, 2, 3]), scale=st.floats(0.01, 100))
@pytest.mark.slow
def test_laws(seed, dim, scale):
    with jax.enable_x64(True):
        contact, source, point = setup(dim, seed=seed)
        extent = EXTENT[dim]
        matrix = estimate(contact, source, point, 60.0, 1e-3, 0.3, extent).matrix
        order = np.random.default_rng(seed).permutation(12)
        close(
            estimate(contact[order], source, point, 60.0, 1e-3, 0.3, extent).matrix,
            matrix[:, order],
            1e-9,
        )
        close(
            estimate(contact + 77, source + 77, point + 77, 60.0, 1e-3, 0.3, extent).matrix,
            matrix,
            1e-9,
        )
        close(estimate(contact, source, point, 60.0, 1e-3, 0.6, extent).matrix, 2 * matrix, 1e-9)
        wide = None if extent is None else extent * scale
        stretched = estimate(
            *(a * scale for a in (contact, source, point)), 60.0 * scale, 1e-3, 0.3, wide
        ).matrix
        close(stretched * scale**2, matrix, 1e-9)


# --------------------------------------------------------------------------------- cross-validation
def left_out(kernel, potential, shift):
    """Each contact from the others, one at a time."""
    errors = []
    for i in range(len(kernel)):
        rest = np.arange(len(kernel)) != i
        system = kernel[np.ix_(rest, rest)] + shift * np.eye(len(kernel) - 1)
        errors.append(potential[i] - kernel[i, rest] @ np.linalg.solve(system, potential[rest]))
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.slow
def test_errors_against_leaving_out_in_a_loop(dim):
    contact, source, _ = setup(dim)
    measured = np.random.default_rng(1).normal(size=(12, 30))
    widths, strengths = np.array([40.0, 90.0]), np.array([1e-6, 1e-3, 1.0])
    expected = np.zeros((2, 3))
    for i, width in enumerate(widths):
        base = np.asarray(potential_of(contact, source, width, 0.3, EXTENT[dim]))
        kernel = base @ base.T
        for j, strength in enumerate(strengths):
            expected[i, j] = left_out(kernel, measured, strength * kernel.trace() / 12)
    arguments = (widths, strengths, 0.3, EXTENT[dim])
    found = errors_of(contact, source, measured, *arguments)
    assert np.abs(found / expected - 1).max() < 1e-8
    compressed = compress_samples(jnp.asarray(measured))
    assert compressed.shape == (12, 12)
    fewer = errors_of(contact, source, compressed, *arguments)
    assert np.abs(fewer * np.sqrt(12 / 30) / expected - 1).max() < 1e-8


def test_compressing_in_parts():
    measured = jnp.asarray(np.random.default_rng(2).normal(size=(4, 30)))
    parts = jnp.concatenate(
        [compress_samples(measured[:, :11]), compress_samples(measured[:, 11:])], 1
    )
    for columns in (compress_samples(measured), compress_samples(parts)):
        close(columns @ columns.T, measured @ measured.T, 1e-14)
    assert compress_samples(measured[:, :2]).shape == (4, 2)


@pytest.mark.slow
def test_more_noise_takes_more_regularisation():
    contact = jnp.linspace(0.0, 1000.0, 21)[:, None]
    source = source_grid(jnp.array([-100.0]), jnp.array([1100.0]), shape=(80,))
    rng = np.random.default_rng(3)
    clean = potential_of(contact, source, 80.0, 0.3, 250.0) @ rng.normal(size=(80, 200))
    strengths = jnp.logspace(-12, 1, 27)
    best = []
    for noise in (1e-4, 1e-2, 1.0):
        noisy = clean + noise * jnp.std(clean) * rng.normal(size=clean.shape)
        error = errors_of(contact, source, noisy, jnp.array([80.0]), strengths, 0.3, 250.0)[0]
        best.append(int(error.argmin()))
    assert 0 < best[0] < best[1] < best[2] < 26


# ---------------------------------------------------------------------------------------- gradients
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dim", "basis"), [(1, "gauss"), (2, "gauss"), (3, "gauss"), (1, "step"), (3, "step")]
)
def test_gradients_of_potentials(check_derivatives, dim, basis):
    contact, source, _ = setup(dim, n=4)
    source = source[::17]

    def total(contact, source, width, conductivity, extent):
        extent = extent if dim < 3 else None
        return jnp.sum(
            jnp.sin(basis_potential(contact, source, width, conductivity, extent, basis=basis))
        )

    arguments = (contact, source, 50.0, 0.3, EXTENT[dim] or 0.0)
    check_derivatives(total, arguments, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gradients_are_finite_at_the_centre_of_a_source(dim):
    at = jnp.zeros((1, dim))
    for basis in ("gauss",) if dim == 2 else ("gauss", "step"):
        f = lambda c, b=basis: basis_potential(c, at, 40.0, 0.3, EXTENT[dim], basis=b)[0, 0]
        assert jnp.abs(jax.jit(jax.grad(f))(at)).max() < 1e-15


@pytest.mark.slow
def test_gradients_of_the_matrix_and_of_the_errors(check_derivatives):
    contact, source, point = setup(2, n=6)
    measured = jnp.asarray(np.random.default_rng(4).normal(size=(6, 5)))

    weight = jnp.asarray(np.random.default_rng(5).normal(size=(9, 6)))

    def total(contact, point, width, strength, extent):
        return jnp.sum(
            weight * kcsd_matrix(contact, source, point, width, strength, 0.3, extent).matrix
        )

    arguments = (contact, point, 60.0, 1e-2, 400.0)
    check_derivatives(total, arguments, modes=["rev"], eps=1e-5, rtol=1e-4)

    def error(contact, measured, width, strengths):
        return kcsd_errors(contact, source, measured, width, strengths, 0.3, 400.0)

    arguments = (contact, measured, jnp.array([60.0]), jnp.array([1e-3, 1e-1]))
    check_derivatives(error, arguments, eps=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_gradients_of_the_errors_where_eigenvalues_coincide(check_derivatives):
    square = source_grid(jnp.zeros(2), jnp.full(2, 200.0), shape=(3, 3))
    offset = jnp.sum((square[:, None] - square) ** 2, -1)
    kernel = lambda width: jnp.exp(-offset / (2 * width**2))
    measured = jnp.asarray(np.random.default_rng(5).normal(size=(9, 4)))
    error = lambda width: leave_one_out(kernel(width), measured, jnp.array([1e-2]))[0]
    check_derivatives(error, (90.0,), order=2, eps=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.slow
def test_float32_stays_float32(dim):
    single = [a.astype(jnp.float32) for a in setup(dim)]
    matrix = estimate(*single, 60.0, 1e-2, 0.3, EXTENT[dim]).matrix
    assert matrix.dtype == jnp.float32
    close(matrix, estimate(*setup(dim), 60.0, 1e-2, 0.3, EXTENT[dim]).matrix, 1e-3)
    errors = leave_one_out(
        jnp.eye(3, dtype=jnp.float32), jnp.ones((3, 2), jnp.float32), jnp.ones(2, jnp.float32)
    )
    assert errors.dtype == jnp.float32


@pytest.mark.slow
# ------------------------------------------------------------------------------------- another code
@pytest.mark.oracle
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_elephant(dim, agreement):
    """Its potentials come from a table of 20 distances: 1e-3 of the kernel. Its layer is 2 h thick."""
    from elephant.current_source_density_src import KCSD

    contact = np.asarray(setup(dim, n=10)[0])
    measured = np.random.default_rng(6).normal(size=(10, 3))
    kind = {1: KCSD.KCSD1D, 2: KCSD.KCSD2D, 3: KCSD.KCSD3D}[dim]
    lengths = {
        "R_init": 0.15,
        "h": 0.25,
        f"gd{'xyz'[dim - 1]}": 0.05,
    }  # mm, three standard deviations
    other = kind(
        contact / 1e3, measured / 1e3, sigma=0.3, src_type="gauss", n_src_init=200, **lengths
    )
    names = [getattr(other, f"src_{x}") for x in "xyz"[:dim]]
    source = 1e3 * np.stack([x.ravel() for x in names], 1)
    extent = {1: 250.0, 2: 500.0, 3: None}[dim]
    ours = np.asarray(potential_of(contact, source, 50.0, 0.3, extent)) * 1e-3  # mV per uA/mm^3
    theirs = other.b_pot.T * (np.sqrt(2 * np.pi) * 0.05) ** dim  # it normalises the integral, in mm
    agreement("kernel CSD, potentials", "elephant, from its table", ours, theirs, 5e-3)

    other.update_lambda(0.1 * np.trace(other.k_pot) / 10)
    points = 1e3 * np.stack([getattr(other, f"estm_{x}").ravel() for x in "xyz"[:dim]], 1)
    matrix = estimate(contact, source, points, 50.0, 0.1, 0.3, extent).matrix
    theirs = other.values().reshape(-1, 3)
    agreement("kernel CSD, estimate", "elephant, from its table", matrix @ measured, theirs, 2e-2)
