"""Current source density along a probe against quadrature, splines, elephant and its own inverse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields.csd import (
    EVEN_SPACING,
    contact_spacing,
    icsd_forward,
    icsd_matrix,
    spline_interpolation,
    standard_csd,
)

pytestmark = pytest.mark.usefixtures("x64")

METHODS = ["delta", "step", "spline"]
UNEVEN = np.array([20.0, 90.0, 210.0, 290.0, 420.0, 500.0])
WIDE = np.array([400.0, 500.0, 300.0, 600.0, 450.0, 350.0])

forward = jax.jit(icsd_forward, static_argnames="method")
estimate = jax.jit(icsd_matrix, static_argnames="method")


def close(a, b, tol):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tol * np.abs(b).max()


def disc_potential(density, depth, radius, sigma, top=None, breaks=()):
    """Potential, uV, on the axis of discs with `density`(z'), uA/mm^3, by adaptive quadrature.

    `breaks`: where the density has corners, and its ends. Millimetres inside, so that densities in
    uA/mm^3 over S/m give mV.
    """
    ratio = 0.0 if top is None else (sigma - top) / (sigma + top)
    radius = radius if callable(radius) else (lambda _, r=radius: r)

    def at(z):
        def integrand(s):
            r = radius(s) / 1e3
            direct = np.hypot((z - s) / 1e3, r) - abs(z - s) / 1e3
            image = np.hypot((z + s) / 1e3, r) - (z + s) / 1e3
            return density(s) / (2 * sigma) * (direct + ratio * image)

        knots = sorted({*breaks, *(x for x in (z,) if breaks[0] < x < breaks[-1])})
        pieces = itertools.pairwise(knots)
        return sum(
            scipy.integrate.quad(integrand, a, b, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pieces
        )  # mV/mm * um = uV

    return np.array([at(float(z)) for z in depth])


def edges_of(depth, reach, top=None):
    first = depth[0] - reach * (depth[1] - depth[0])
    last = depth[-1] + reach * (depth[-1] - depth[-2])
    edges = np.r_[first, (depth[1:] + depth[:-1]) / 2, last]
    return edges if top is None else np.maximum(edges, 0)


# ---------------------------------------------------------------------------------------- standard
def test_standard_of_a_parabola():
    z = np.arange(7) * 50.0
    density = standard_csd(jnp.asarray(3 - 0.002 * z**2), 50.0, 0.3)  # phi'' = -0.004 uV/um^2
    close(density, np.full(5, 0.3 * 0.004e-6 / 1e-12 * 1e-3), 1e-12)  # A/m^3 to uA/mm^3


def test_standard_along_any_axis_and_at_the_ends():
    potential = np.random.default_rng(0).normal(size=(3, 8, 2))
    along_first = standard_csd(jnp.asarray(np.moveaxis(potential, 1, 0)), 100.0, 0.3)
    along_second = standard_csd(jnp.asarray(potential), 100.0, 0.3, axis=1)
    close(along_second, np.moveaxis(along_first, 0, 1), 1e-15)
    vaknin = standard_csd(jnp.asarray(potential), 100.0, 0.3, axis=-2, ends="vaknin")
    close(vaknin[:, 1:-1], along_second, 1e-15)
    close(vaknin[:, 0], -0.3e3 / 1e4 * (potential[:, 1] - potential[:, 0]), 1e-13)
    close(vaknin[:, -1], -0.3e3 / 1e4 * (potential[:, -2] - potential[:, -1]), 1e-13)


def test_standard_converges_to_a_wide_source():
    """Discs much wider than the source is deep: the error falls with the square of the spacing."""
    density = lambda z: np.exp(-(((z - 1000) / 200) ** 2))
    errors = []
    for spacing in (100.0, 50.0):
        depth = np.arange(0.0, 2001.0, spacing)
        potential = disc_potential(density, depth, 1e6, 0.3, breaks=(-1000.0, 1000.0, 3000.0))
        found = standard_csd(jnp.asarray(potential), spacing, 0.3)
        errors.append(np.abs(found - density(depth[1:-1])).max())
    assert errors[0] < 0.15
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_spacing():
    spacing, deviation = contact_spacing(jnp.arange(5, 0, -1) * 20.0)
    assert (float(spacing), float(deviation)) == (-20.0, 0.0)
    stored = jnp.asarray(np.arange(384, dtype=np.float32) * np.float32(0.02)) * 1e3
    assert contact_spacing(stored.astype(float))[1] < EVEN_SPACING
    assert contact_spacing(jnp.asarray(UNEVEN))[1] > EVEN_SPACING


def test_standard_says_what_is_wrong():
    with pytest.raises(ValueError, match="needs 3 contacts"):
        standard_csd(jnp.zeros((2, 5)), 100.0, 0.3)
    with pytest.raises(ValueError, match="must be"):
        standard_csd(jnp.zeros((4, 5)), 100.0, 0.3, ends="nan")


# ----------------------------------------------------------------------------------------- forward
@pytest.mark.parametrize("top", [None, 0.0, 1.5])
def test_delta_forward(top):
    """A thin disc by hand, layer by layer."""
    edges = edges_of(UNEVEN, 0.5, top)
    expected = np.zeros((6, 6))
    ratio = 0.0 if top is None else (0.3 - top) / (0.3 + top)
    for j, z in enumerate(UNEVEN):
        for i, s in enumerate(UNEVEN):
            r = WIDE[i] / 2
            direct, image = np.hypot(z - s, r) - abs(z - s), np.hypot(z + s, r) - (z + s)
            planar = edges[i + 1] - edges[i]  # uA/mm^3 um = 1e-3 uA/mm^2; um over that: 1e-6
            expected[j, i] = planar * 1e-3 * 1e-3 / (2 * 0.3) * (direct + ratio * image) * 1e3
    close(forward(UNEVEN, WIDE, 0.3, top, method="delta"), expected, 1e-12)


@pytest.mark.parametrize("top", [None, 0.0, 1.5])
@pytest.mark.parametrize("source", range(6))
def test_step_forward(source, top):
    """First contact 20 um below the surface, in a layer that would reach 15 um above it."""
    edges = edges_of(UNEVEN, 0.5, top)
    breaks = (edges[source], edges[source + 1])
    expected = disc_potential(lambda s: 1.0, UNEVEN, WIDE[source] / 2, 0.3, top, breaks)
    close(forward(UNEVEN, WIDE, 0.3, top, method="step")[:, source], expected, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("top", [None, 0.0, 1.5])
@pytest.mark.parametrize("diameter", [3.0, 400.0])
def test_spline_forward(diameter, top):
    """Its own piecewise cubic source, drawn by SciPy, integrated adaptively."""
    values = np.array([0.3, -1.0, 0.8, 0.1, -0.4, 1.2])
    ends = edges_of(UNEVEN, 1.0)
    knots = np.r_[ends[0], UNEVEN, ends[-1]]
    spline = scipy.interpolate.CubicSpline(knots, np.r_[0, values, 0], bc_type="natural")
    breaks = tuple(knots if top is None else np.maximum(knots, 0))
    expected = disc_potential(spline, UNEVEN, diameter / 2, 0.3, top, breaks)
    close(forward(UNEVEN, diameter, 0.3, top, method="spline") @ values, expected, 1e-10)


def test_spline_forward_with_a_diameter_for_every_contact():
    values = np.array([0.3, -1.0, 0.8, 0.1, -0.4, 1.2])
    edges, ends = edges_of(UNEVEN, 0.5), edges_of(UNEVEN, 1.0)
    knots = np.r_[ends[0], UNEVEN, ends[-1]]
    spline = scipy.interpolate.CubicSpline(knots, np.r_[0, values, 0], bc_type="natural")
    radius = lambda s: WIDE[np.searchsorted(edges[1:-1], s)] / 2
    breaks = tuple(sorted({*knots, *edges[1:-1]}))
    expected = disc_potential(spline, UNEVEN, radius, 0.3, breaks=breaks)
    close(forward(UNEVEN, WIDE, 0.3, method="spline") @ values, expected, 1e-10)


@pytest.mark.slow
def test_spline_interpolation():
    values = np.random.default_rng(1).normal(size=6)
    ends = edges_of(UNEVEN, 1.0)
    knots = np.r_[ends[0], UNEVEN, ends[-1]]
    spline = scipy.interpolate.CubicSpline(knots, np.r_[0, values, 0], bc_type="natural")
    points = np.linspace(knots[0], knots[-1], 301)
    close(
        spline_interpolation(jnp.asarray(UNEVEN), jnp.asarray(points)) @ values,
        spline(points),
        1e-12,
    )
    close(spline_interpolation(jnp.asarray(UNEVEN), jnp.asarray(UNEVEN)), np.eye(6), 1e-14)
    outside = jnp.array([knots[0] - 1, knots[-1] + 1])
    assert not spline_interpolation(jnp.asarray(UNEVEN), outside).any()


@pytest.mark.parametrize("method", METHODS)
def test_a_contact_on_the_surface(method):
    depth = jnp.arange(6) * 100.0
    matrix, condition = estimate(depth, 500.0, 0.3, 0.0, method=method)
    assert jnp.isfinite(matrix).all()
    assert 1 < condition < 1e4


def test_wide_discs_reduce_to_the_second_difference():
    depth = jnp.arange(12) * 100.0
    inverse = estimate(depth, 1e7, 0.3, method="delta").matrix
    potential = jnp.asarray(np.random.default_rng(2).normal(size=12))
    close((inverse @ potential)[1:-1], standard_csd(potential, 100.0, 0.3), 1e-4)


# ----------------------------------------------------------------------------------------- inverse
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("top", [None, 1.5])
def test_inverse_of_its_own_forward(method, top):
    values = np.random.default_rng(3).normal(size=(6, 4))
    potential = forward(UNEVEN, WIDE, 0.3, top, method=method) @ values
    close(estimate(UNEVEN, WIDE, 0.3, top, method=method).matrix @ potential, values, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "tol"), [("delta", 0.12), ("step", 0.03), ("spline", 0.01)])
def test_recovers_a_gaussian_source(method, tol):
    density = lambda z: np.exp(-(((z - 600) / 150) ** 2)) - 0.5 * np.exp(-(((z - 900) / 100) ** 2))
    errors = []
    for spacing in (100.0, 50.0):
        depth = np.arange(spacing, 1500.0, spacing)
        potential = disc_potential(density, depth, 250.0, 0.3, 0.0, (0.0, 600.0, 900.0, 2000.0))
        found = estimate(depth, 500.0, 0.3, 0.0, method=method).matrix @ potential
        errors.append(np.abs(found - density(depth)).max())
    assert errors[0] < tol
    assert errors[1] < errors[0] / 2


@given(seed=st.integers(0, 10**6), method=st.sampled_from(METHODS), scale=st.floats(0.01, 100))
@pytest.mark.slow
def test_laws(seed, method, scale):
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        depth = np.cumsum(rng.uniform(30, 150, 6))
        diameter = rng.uniform(200, 600, 6)
        matrix = estimate(depth, diameter, 0.3, 1.5, method=method).matrix
        order = rng.permutation(6)
        shuffled = estimate(depth[order], diameter[order], 0.3, 1.5, method=method).matrix
        close(shuffled, matrix[order][:, order], 1e-9)
        # lengths in another unit: the density goes as 1 / length^2
        stretched = estimate(depth * scale, diameter * scale, 0.3, 1.5, method=method).matrix
        close(stretched * scale**2, matrix, 1e-9)
        close(estimate(depth, diameter, 0.6, 3.0, method=method).matrix, 2 * matrix, 1e-9)
        # with nothing above the surface to change, depth has no origin
        moved = estimate(depth + 500, diameter, 0.3, method=method).matrix
        close(moved, estimate(depth, diameter, 0.3, method=method).matrix, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_gradients(check_derivatives, method):
    weight = jnp.asarray(np.random.default_rng(4).normal(size=(6, 6)))

    def total(depth, diameter, conductivity, top):
        matrix = icsd_matrix(depth, diameter, conductivity, top, method=method).matrix
        return jnp.sum(weight * matrix)

    arguments = (jnp.asarray(UNEVEN), jnp.asarray(WIDE), 0.3, 1.5)
    check_derivatives(total, arguments, modes=["rev"], eps=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_float32_stays_float32(method):
    depth = jnp.asarray(UNEVEN, dtype=jnp.float32)
    single = estimate(depth, 500.0, 0.3, 1.5, method=method)
    assert single.matrix.dtype == jnp.float32
    close(single.matrix, estimate(UNEVEN, 500.0, 0.3, 1.5, method=method).matrix, 1e-3)


def test_inverse_says_what_is_wrong():
    with pytest.raises(ValueError, match="2 contacts or more"):
        icsd_matrix(jnp.zeros(1), 500.0, 0.3, method="step")
    with pytest.raises(ValueError, match="must be"):
        icsd_matrix(jnp.arange(3.0), 500.0, 0.3, method="kernel")


# ------------------------------------------------------------------------------------- another code
@pytest.fixture
def laminar():
    """Sixteen contacts at 100 um, 50 samples, for elephant: volts and metres."""
    depth = np.arange(1, 17) * 100.0
    density = np.random.default_rng(5).normal(size=(16, 50))
    with jax.enable_x64(True):
        return depth, np.asarray(forward(depth, 500.0, 0.3, method="step") @ density)


@pytest.mark.oracle
def test_elephant_standard(laminar, agreement):
    import quantities as pq
    from elephant.current_source_density_src import icsd

    depth, potential = laminar
    other = icsd.StandardCSD(potential * 1e-6 * pq.V, depth * 1e-6 * pq.m, sigma=0.3 * pq.S / pq.m)
    expected = np.asarray(other.get_csd()) / 100e-6 * 1e-3  # it divides by h; A/m^3 to uA/mm^3
    made = standard_csd(jnp.asarray(potential), 100.0, 0.3, ends="vaknin")
    agreement("standard CSD", "elephant, its unit corrected", made, expected, 1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("top", [0.3, 0.0])
def test_elephant_delta_and_step(laminar, top, agreement):
    import quantities as pq
    from elephant.current_source_density_src import icsd

    depth, potential = laminar
    common = {
        "lfp": potential * 1e-6 * pq.V,
        "coord_electrode": depth * 1e-6 * pq.m,
        "diam": 500e-6 * pq.m,
        "sigma": 0.3 * pq.S / pq.m,
        "sigma_top": top * pq.S / pq.m,
    }
    delta = np.asarray(icsd.DeltaiCSD(**common).get_csd()) / 100e-6 * 1e-3  # A/m^2 of each plane
    made = estimate(depth, 500.0, 0.3, top, method="delta").matrix @ potential
    agreement("delta CSD", "elephant, its unit corrected", made, delta, 1e-10)
    step = icsd.StepiCSD(**common, h=np.full(16, 100e-6) * pq.m, tol=1e-14)
    expected = np.asarray(step.get_csd()) * 1e-3
    made = estimate(depth, 500.0, 0.3, top, method="step").matrix @ potential
    agreement("step CSD", "elephant, tolerance 1e-14", made, expected, 1e-6)


@pytest.mark.oracle
def test_elephant_spline(laminar, agreement):
    """Its forward matrix, for contacts spaced by one unit of length, and no image.

    It leaves out the piece below the last contact: densities far from there do not notice.
    """
    import quantities as pq
    from elephant.current_source_density_src import icsd

    depth, potential = laminar
    pitch = pq.UnitLength("pitch", 100 * pq.um)
    other = icsd.SplineiCSD(
        potential[:, 0] * 1e-6 * pq.V,
        depth / 100 * pitch,
        diam=5 * pitch,
        sigma=0.3 * pq.S / pq.m,
        sigma_top=0.3 * pq.S / pq.m,
        tol=1e-14,
    )
    expected = np.asarray(other.f_matrix)[1:-1, 1:5] * 1e-8 * 1e9  # pitch^2 V / (A/m^3) to ours
    made = forward(depth, 500.0, 0.3, 0.3, method="spline")[:, :4]
    agreement("spline CSD, forward matrix", "elephant, tolerance 1e-14", made, expected, 1e-6)
