"""Slab potentials: boundary-value integral, plain sums, integrals along lines, LFPykit, laws."""

from itertools import pairwise

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy.integrate import quad
from scipy.special import j0

from jaxfne_xr.kernels.fields import slab
from jaxfne_xr.kernels.fields.homogeneous import line_source, point_source

seeds = st.integers(0, 2**32 - 1)
H = 300.0
MEA = (0.3, 0.0, 1.5)  # S/m: tissue, glass below, saline above
MEDIA = {
    "glass and saline": MEA,
    "perfect ground": (0.3, 0.0, 1e9),
    "poor glass": (0.3, 0.02, 1.5),
    "between two salines": (0.3, 1.0, 2.0),
    "oil": (0.3, 0.05, 0.02),
    "half-space": (0.3, 0.3, 0.0),
    "nearly nothing": (0.3, 0.3001, 0.2999),
}
each_medium = pytest.mark.parametrize("sigmas", MEDIA.values(), ids=MEDIA)

_points = jax.jit(slab.slab_point_source, static_argnames=("images", "on_boundary"))
_weights = jax.jit(slab._series_weights, static_argnums=1)
_lines = jax.jit(slab.slab_line_source, static_argnames=("images", "on_boundary"))


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def points(contact, site, sigmas=MEA, limit=0.0, h=H, **kwargs):
    n = slab.image_count(*map(float, sigmas))
    return np.asarray(_points(contact, site, h, *sigmas, limit, images=n, **kwargs))


def lines(contact, start, end, sigmas=MEA, limit=0.0, h=H, **kwargs):
    n = slab.image_count(*map(float, sigmas))
    return np.asarray(_lines(contact, start, end, h, *sigmas, limit, images=n, **kwargs))


def tissue(seed, *counts, extent=400.0):
    """Random positions in the tissue."""
    rng = np.random.default_rng(seed)
    span = np.array([extent, extent, H])
    return [
        rng.uniform([0, 0, 0.02 * H], [1, 1, 0.98 * H], (n, 3)) * [*span[:2], 1] for n in counts
    ]


def boundary_value_integral(rho, z, source, sigmas, h=H):
    """Solve the three layers for every wave number, and sum over them.

    In the tissue phi_k = exp(-k |z - z'|) + a exp(-k z) + b exp(k (z - h)), outside one decaying
    exponential; potential and normal current are continuous at 0 and h.
    """
    t, below, above = sigmas

    def reflected(k):
        e, down, up = np.exp(-k * h), np.exp(-k * source), np.exp(-k * (h - source))
        # unknowns: a, b, potential at 0, potential at h
        matrix = [[1, e, -1, 0], [e, 1, 0, -1], [-t, t * e, -below, 0], [-t * e, t, 0, above]]
        a, b, *_ = np.linalg.solve(np.array(matrix), [-down, -up, -t * down, t * up])
        return j0(k * rho) * (a * np.exp(-k * z) + b * np.exp(k * (z - h)))

    nearest = min(z + source, 2 * h - z - source)
    pieces = np.linspace(0, 40 / nearest, 9)
    options = {"epsabs": 1e-16, "epsrel": 1e-12, "limit": 200}
    total = sum(quad(reflected, a, b, **options)[0] for a, b in pairwise(pieces))
    return 1e3 / (4 * np.pi * t) * (1 / np.hypot(rho, z - source) + total)


def plain_sum(contact, site, sigmas, n, h=H):
    """The table of images, term by term, to the n-th."""
    t, below, above = sigmas
    wb, wa = (t - below) / (t + below), (t - above) / (t + above)
    rho2 = ((contact[:, None, :2] - site[:, :2]) ** 2).sum(-1)
    z, s, total = contact[:, None, 2], site[:, 2], 0.0
    inverse = lambda d: 1 / np.sqrt(rho2 + d**2)
    for k in reversed(range(n)):
        both = inverse(z - s - 2 * k * h) + (inverse(z - s + 2 * k * h) if k else 0)
        mirrored = wb * inverse(z + s + 2 * k * h) + wa * inverse(z + s - 2 * (k + 1) * h)
        total = total + (wb * wa) ** k * (both + mirrored)
    return 1e3 / (4 * np.pi * t) * total


# --------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("sigmas", [m for k, m in MEDIA.items() if k != "perfect ground"])
@pytest.mark.parametrize(("rho", "z", "source"), [(50.0, 0.0, 100.0), (200.0, 130.0, 40.0)])
@pytest.mark.slow
def test_point_solves_the_boundary_value_problem(sigmas, rho, z, source, agreement):
    ours = points(np.array([[rho, 0, z]]), np.array([[0, 0, source]]), sigmas)[0, 0]
    reference = boundary_value_integral(rho, z, source, sigmas)
    agreement("slab, point", "integral of the boundary-value problem", ours, reference, 1e-10)


@pytest.mark.slow
@each_medium
def test_point_against_the_plain_sum(sigmas):
    contact, site = tissue(0, 20, 30)
    contact[:4, 2] = [0, 0, H, H]
    n = 4000 if sigmas == MEDIA["oil"] else 400
    if (
        sigmas == MEDIA["perfect ground"]
    ):  # the terms do not vanish: average two neighbours, and again
        sums = [plain_sum(contact, site, sigmas, n + k) for k in range(12)]
        while len(sums) > 1:
            sums = [(a + b) / 2 for a, b in pairwise(sums)]
        reference = sums[0]
    else:
        reference = plain_sum(contact, site, sigmas, n)
    ours = points(contact, site, sigmas)
    direct = point_source(contact, site, sigmas[0], 0.0)
    assert (np.abs(ours - reference) < 2e-14 * (np.abs(reference) + direct)).all()


@pytest.mark.slow
@pytest.mark.parametrize("w", [-1.0, -0.999, -2 / 3, -0.1, -1e-3, 0.0, 0.1, 0.9])
def test_weights_sum_the_whole_series(w):
    """F_n = 1 / (a + n) and exp(-n), moments of x^(a - 1) and of a pulse."""
    n = slab.image_count(1.0, 0.0, (1 - w) / (1 + w) if w > -1 else 1e30)
    weights = np.asarray(_weights(jnp.asarray(w), n))
    k = np.arange(n)
    assert abs(weights @ np.exp(-k) - 1 / (1 - w / np.e)) < 3e-15
    x, g = np.polynomial.legendre.leggauss(200)
    for a in (1.0, 2.5):
        exact = g / 2 @ (((1 + x) / 2) ** (a - 1) / (1 - w * (1 + x) / 2))
        assert abs(weights @ (1 / (a + k)) - exact) < (1e-14 if a == 1 else 1e-11) * exact


LONG = {
    "vertical": ([100.0, 50.0, 20.0], [100.0, 50.0, 280.0]),
    "horizontal and longer than the slab": ([-400.0, 10.0, 30.0], [500.0, -20.0, 30.0]),
    "short": ([30.0, 40.0, 100.0], [40.0, 45.0, 112.0]),
    "tilted": ([30.0, 40.0, 10.0], [200.0, -45.0, 250.0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG)
@pytest.mark.parametrize("z", [0.0, 140.0])
def test_line_is_the_integral_of_points(case, z):
    """A contact directly under a vertical segment, too, where wrong-sign images show."""
    start, end = (np.array([x]) for x in LONG[case])
    contact = np.array([[100.0, 50.0, z], [130.0, 80.0, z]] if z == 0 else [[130.0, 80.0, z]])

    def integral(p):
        at = lambda s: plain_sum(p[None], start + s * (end - start), MEA, 100)[0, 0]
        closest = (p - start[0]) @ (end - start)[0] / ((end - start) ** 2).sum()
        return quad(
            at, 0, 1, points=[np.clip(closest, 0.001, 0.999)], epsabs=0, epsrel=1e-12, limit=400
        )[0]

    close(lines(contact, start, end), np.array([[integral(p)] for p in contact]), 1e-11)


def test_long_and_short_segments_together():
    """One long segment sends all through the logarithm: the short ones read the same."""
    contact, start = tissue(1, 4, 5)
    end = np.clip(start + np.random.default_rng(1).normal(0, 20, (5, 3)), 0, H)
    alone = lines(contact, start, end)
    start[0], end[0] = [0.0, 0, 100], [500.0, 0, 100]
    close(lines(contact, start, end)[:, 1:], alone[:, 1:], 1e-14)


def test_images_needed():
    assert slab.image_count(0.3, 0.3, 1.5) == 1
    assert slab.image_count(*MEA) == 18
    assert slab.image_count(0.3, 0.0, 1e9) == 21
    assert slab.image_count(*MEA, tolerance=1e-8) == 9
    for insulators in ((0.3, 0.0, 0.0), (0.3, 1e30, 1e30)):
        with pytest.raises(ValueError, match="do not converge"):
            slab.image_count(*insulators)


# --------------------------------------------------------------------------------------------- laws


@pytest.mark.slow
@each_medium
def test_contacts_on_the_boundary(sigmas):
    contact, start, end = tissue(2, 20, 30, 30)  # as of the plain sum: compiled once
    contact[:, 2] = 0
    general = lines(contact, start, end, sigmas)
    close(lines(contact, start, end, sigmas, on_boundary=True), general, 1e-14)
    general = points(contact, start, sigmas)
    close(points(contact, start, sigmas, on_boundary=True), general, 1e-14)


@pytest.mark.slow
def test_equal_conductivities_are_no_slab():
    contact, start, end = tissue(3, 10, 12, 12)
    same = (0.3, 0.3, 0.3)
    limit = np.full(12, 30.0)
    close(
        lines(contact, start, end, same, limit), line_source(contact, start, end, 0.3, limit), 1e-15
    )
    close(points(contact, start, same, limit), point_source(contact, start, 0.3, limit), 1e-15)


def test_thick_slab_on_glass_is_a_half_space():
    contact, start, end = tissue(4, 10, 12, 12)
    contact[:, 2] = 0
    doubled = 2 * line_source(contact, start, end, 0.3, 0.0)
    close(lines(contact, start, end, h=1e12), doubled, 1e-8)


def test_no_current_enters_an_insulator():
    site, n = np.array([[0.0, 0.0, 120.0]]), slab.image_count(*MEA)
    at = lambda z: _points(jnp.array([[80.0, 0.0, z]]), site, H, *MEA, 0.0, images=n)[0, 0]
    slope = jax.jit(jax.grad(at))
    assert abs(slope(0.0)) < 1e-14 * abs(slope(150.0))


@given(seeds)
def test_reciprocity(seed):
    a, b = tissue(seed, 5, 7)
    close(points(a, b), points(b, a).T, 1e-13)


@given(seeds)
def test_upside_down(seed):
    contact, start, end = tissue(seed, 4, 5, 5)
    sigmas = (0.3, 0.02, 1.5)
    over = [x * [1, 1, -1] + [0, 0, H] for x in (contact, start, end)]
    close(lines(*over, (0.3, 1.5, 0.02)), lines(contact, start, end, sigmas), 1e-11)


@given(seeds, st.floats(0, 6.3))
def test_moves_along_the_slab(seed, angle):
    contact, start, end = tissue(seed, 4, 5, 5)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    moved = [x @ turn.T + [30.0, -50.0, 0.0] for x in (contact, start, end)]
    close(lines(*moved), lines(contact, start, end), 1e-11)


@given(seeds, st.floats(0.01, 0.99))
def test_cutting_a_segment_in_two_conserves(seed, where):
    contact, start, end = tissue(seed, 4, 5, 5)
    middle = start + where * (end - start)
    pieces = where * lines(contact, start, middle) + (1 - where) * lines(contact, middle, end)
    close(pieces, lines(contact, start, end))


@given(seeds)
def test_order_and_change_of_units(seed):
    contact, start, end = tissue(seed, 4, 5, 5)
    order = np.random.default_rng(seed).permutation(5)
    reference = lines(contact, start, end)
    close(lines(contact, end[order], start[order]), reference[:, order], 1e-13)
    close(1e3 * lines(1e3 * contact, 1e3 * start, 1e3 * end, h=1e3 * H), reference, 1e-13)
    close(5 * lines(contact, start, end, [5 * s for s in MEA]), reference, 1e-13)


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.slow
@pytest.mark.parametrize("on_boundary", [False, True])
def test_gradients_in_every_argument(check_derivatives, on_boundary):
    contact, start, end = (jnp.asarray(x) for x in tissue(5, 2, 2, 2))
    numbers = [jnp.asarray(x) for x in (H, 0.3, 0.05, 1.5)]
    contact = contact.at[:, 2].multiply(0 if on_boundary else 1)
    images = slab.image_count(0.3, 0.05, 1.5)

    def potential(contact, *rest):
        contact = jnp.asarray(contact).at[:, 2].multiply(0 if on_boundary else 1)
        return _lines(contact, *rest, 1.0, images=images, on_boundary=on_boundary)

    check_derivatives(potential, (contact, start, end, *numbers), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_second_derivatives(check_derivatives):
    contact, start = (jnp.asarray(x) for x in tissue(6, 1, 1))
    numbers = [jnp.asarray(x) for x in (H, 0.3, 0.05, 1.5)]
    potential = lambda *x: _points(*x, 1.0, images=12)
    check_derivatives(potential, (contact, start, *numbers), order=2)


@pytest.mark.slow
def test_gradients_are_finite_on_source_and_image():
    contact = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, H], [5.0, 0.0, 0.0]])
    start = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, H], [0.0, 0.0, 0.0]])
    end = jnp.array([[10.0, 0.0, 0.0], [0.0, 0.0, H], [0.0, 0.0, H]])
    total = lambda c, a, b, h, *s: _lines(c, a, b, h, *s, images=18).sum()
    both = jax.jit(jax.value_and_grad(total, (0, 1, 2, 3, 7)))
    for limit in (0.0, 2.0):
        value, grads = both(contact, start, end, H, *MEA, limit)
        assert np.isfinite(value)
        assert all(np.isfinite(g).all() for g in grads)
    on_w = jax.jit(jax.grad(lambda w: slab._series_weights(w, 18).sum()))
    assert np.isfinite([on_w(w) for w in (-1.0, -0.5, 0.0, 0.5)]).all()


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(("n_contact", "n_site"), [(0, 3), (3, 0), (1, 1)])
def test_nothing_to_do(n_contact, n_site):
    contact, site = np.ones((n_contact, 3)), np.full((n_site, 3), 50.0)
    assert lines(contact, site, site).shape == (n_contact, n_site)
    assert points(contact, site, on_boundary=True).shape == (n_contact, n_site)


def test_memory_is_the_result_and_a_little():
    contact, start, end = tissue(7, 384, 3000, 3000)
    compiled = _lines.lower(contact, start, end, H, *MEA, 1.0, images=18).compile()
    memory = compiled.memory_analysis()
    assert memory.output_size_in_bytes == 384 * 3000 * 8
    assert memory.temp_size_in_bytes < 0.5 * memory.output_size_in_bytes


def test_single_precision_follows_the_input():
    contact, start, end = (x.astype(np.float32) for x in tissue(8, 5, 6, 6))
    numbers = [np.float32(x) for x in (H, *MEA, 0)]
    value = _lines(contact, start, end, *numbers, images=18)
    assert value.dtype == np.float32
    close(value.astype(float), lines(*(x.astype(float) for x in (contact, start, end))), 1e-5)


# ------------------------------------------------------------------------------------------ oracles


def lfpykit_mea(contact, start, end, method, steps):
    import lfpykit

    axes = {k: np.stack([start[:, i], end[:, i]], 1) for i, k in enumerate("xyz")}
    cell = lfpykit.CellGeometry(**axes, d=np.full(len(start), 1e-3))
    electrode = lfpykit.RecMEAElectrode(
        cell, sigma_T=0.3, sigma_G=0.0, sigma_S=1.5, h=H, z_shift=0.0, steps=steps,
        **dict(zip("xyz", contact.T, strict=True)), method=method,
    )  # fmt: skip
    return 1e3 * electrode.get_transformation_matrix()


@pytest.mark.oracle
def test_against_lfpykit(agreement):
    """With ten times its default number of images, where no contact is under a vertical segment."""
    contact, start = tissue(9, 12, 30)
    end = np.clip(start + np.random.default_rng(9).normal(0, 20, start.shape), 1, H - 1)
    contact[:, 2] = 0
    limit = np.full(30, 5e-4)
    ours = lines(contact, start, end, limit=limit, on_boundary=True)
    theirs = lfpykit_mea(contact, start, end, "linesource", 200)
    agreement("slab, line not under a contact", "LFPykit with 200 images", ours, theirs, 1e-10)
    ours = points(contact, (start + end) / 2, limit=limit)
    theirs = lfpykit_mea(contact, start, end, "pointsource", 200)
    agreement("slab, point", "LFPykit with 200 images", ours, theirs, 1e-10)


@pytest.mark.oracle
def test_lfpykit_is_off_under_a_vertical_segment():
    start, end, contact = np.array([[0.0, 0, 50]]), np.array([[0.0, 0, 90]]), np.zeros((1, 3))
    ours = lines(contact, start, end, on_boundary=True)
    cut = np.linspace(start[0], end[0], 2001)
    close(ours, points(contact, (cut[1:] + cut[:-1]) / 2).mean(1, keepdims=True), 1e-7)
    theirs = lfpykit_mea(contact, start, end, "linesource", 200)
    assert abs(theirs / ours - 1) > 0.01
