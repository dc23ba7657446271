"""Points and lines in an infinite conductor: closed forms in 120 digits, LFPykit, laws, gradients."""

from decimal import Decimal, localcontext
from itertools import pairwise

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxfne_xr.kernels.fields import homogeneous as field

seeds = st.integers(0, 2**32 - 1)
SIGMA = 0.3
SIGMAS = np.array([0.3, 0.25, 0.45])

point_source = jax.jit(field.point_source)
line_source = jax.jit(field.line_source)
root_as_point = jax.jit(field.root_as_point)
both_media = pytest.mark.parametrize("sigma", [SIGMA, SIGMAS], ids=["isotropic", "anisotropic"])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def close_each(a, b, tol=1e-12):
    """Every element to its own size: all are positive."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert (np.abs(a - b) <= tol * b).all(), np.abs(a / b - 1).max()


def exact_line(contact, start, end, sigma):
    """Lead field of lines (or, where start is end, points) outside min_distance, in 120 digits."""
    pi = Decimal("3.14159265358979323846264338327950288")
    with localcontext() as context:
        context.prec = 120
        sx, sy, sz = (Decimal(float(s)) for s in np.broadcast_to(sigma, 3))
        stretch = [(sy * sz).sqrt(), (sx * sz).sqrt(), (sx * sy).sqrt()]

        def stretched(x):
            return [Decimal(float(v)) * k for v, k in zip(x, stretch, strict=True)]

        def distance(u, v):
            return sum((x - y) ** 2 for x, y in zip(u, v, strict=True)).sqrt()

        def element(p, a, b):
            r, length = distance(p, a) + distance(p, b), distance(a, b)
            mean = ((r + length) / (r - length)).ln() / length if length else 2 / r
            return float(1000 / (4 * pi) * mean)

        a, b = ([stretched(x) for x in ends] for ends in (start, end))
        return np.array(
            [[element(stretched(p), *ends) for ends in zip(a, b, strict=True)] for p in contact]
        )


def random_lines(seed, n_contact=5, n_site=7, extent=100.0):
    rng = np.random.default_rng(seed)
    contact, start, end = (
        rng.uniform(-extent, extent, (n, 3)) for n in (n_contact, n_site, n_site)
    )
    return contact, start, end


def rotation(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


# ------------------------------------------------------------------------------------ closed forms


@both_media
def test_point_and_line_against_120_digits(sigma, agreement):
    contact, start, end = random_lines(0, 20, 30)
    for made, exact in (
        (line_source(contact, start, end, sigma, 0.0), exact_line(contact, start, end, sigma)),
        (point_source(contact, start, sigma, 0.0), exact_line(contact, start, start, sigma)),
    ):
        share = np.asarray(made) / exact  # each to its own size
        agreement("point and line", "closed form in 120 digits", share, np.ones_like(share), 1e-12)


AXES = {"along z": [0.0, 0.0, 1.0], "tilted": [2 / 7, 3 / 7, 6 / 7]}


@both_media
@pytest.mark.parametrize("axis", AXES)
def test_line_where_the_textbook_form_fails(sigma, axis, agreement):
    u = np.array(AXES[axis])
    side = np.array([u[2], 0.0, -u[0]]) / np.hypot(u[2], u[0])
    start, end = np.zeros((1, 3)), 16.0 * u[None]
    along = np.array([-1e7, -16.0, -1e-3, -1e-6, 16 + 1e-3, 17.0, 33.0, 1.6e7])
    on_axis = along[:, None] * u
    t, rho = (
        x.ravel() for x in np.meshgrid([0, 1e-3, 5.0, 8.0, 16.0, 20.0], [1e-2, 1.0, 50.0, 1e7])
    )
    beside = t[:, None] * u + rho[:, None] * side
    contact = np.concatenate([on_axis, beside])
    reference = exact_line(contact, start, end, sigma)
    share = np.asarray(line_source(contact, start, end, sigma, 0.0)) / reference
    agreement(
        "line on its axis, near it and far away",
        "closed form in 120 digits",
        share,
        np.ones_like(share),
        1e-12,
    )


@both_media
def test_line_very_close_to_its_axis(sigma):
    start, end = np.zeros((1, 3)), np.array([[0.0, 0.0, 16.0]])
    contact = np.array(
        [[rho, 0.0, z] for rho in (1e-3, 1e-8, 1e-30) for z in (0.0, 1e-9, 3.0, 16.0)]
    )
    close_each(line_source(contact, start, end, sigma, 0.0), exact_line(contact, start, end, sigma))


@both_media
def test_short_lines_and_points(sigma):
    """From the logarithm through the series to no length at all."""
    lengths = np.array([60.0, 12.0, 10.1, 10.0, 9.9, 1.0, 1e-3, 1e-6, 1e-9, 1e-12, 0.0])
    start = np.full((len(lengths), 3), 0.25)
    end = start + lengths[:, None] * np.array([0.6, 0.0, 0.8])
    contact = np.array([[-30.0, 40.0, 7.0], [50.0, 0.0, 0.0], [0.25, 50.0, 0.25]])
    close_each(line_source(contact, start, end, sigma, 0.0), exact_line(contact, start, end, sigma))
    same = line_source(contact, start[-1:], end[-1:], sigma, 0.0)
    close_each(same, point_source(contact, start[-1:], sigma, 0.0), 1e-15)


def test_units_and_sign():
    """1 nA leaving the cell raises the potential: 1 nA / (4 pi 0.3 S/m 100 um) is 2.65 uV."""
    (value,) = np.ravel(point_source(np.array([[100.0, 0, 0]]), np.zeros((1, 3)), 0.3, 1.0))
    assert abs(value - 1e-9 / (4 * np.pi * 0.3 * 100e-6) * 1e6) < 1e-12


@both_media
def test_far_field_of_a_line_is_that_of_a_point(sigma):
    _, start, end = random_lines(1, extent=1.0)
    contact = 1e5 * rotation(2)
    close(
        line_source(contact, start, end, sigma, 0.0),
        point_source(contact, (start + end) / 2, sigma, 0.0),
        1e-9,
    )
    dipole = np.array([[1.0], [-1.0]])  # r and 2 r: a closed cell falls as 1 / r^2
    pair = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, -0.5]])
    near, far = (
        line_source(r * rotation(2), pair, pair + 1e-3, sigma, 0.0) @ dipole for r in (1e3, 2e3)
    )
    close(far * 4, near, 1e-2)


# ----------------------------------------------------------------------------------------- clamping


def test_within_min_distance_of_a_point():
    inside = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, -1.2, 2.2]])
    surface = point_source(np.array([[0, 0, 4.0]]), np.zeros((1, 3)), SIGMA, 0.0)
    close_each(point_source(inside, np.zeros((1, 3)), SIGMA, 4.0), np.repeat(surface, 3, 0), 1e-15)
    line = line_source(inside, np.zeros((1, 3)), np.zeros((1, 3)), SIGMA, 4.0)
    close_each(line, np.repeat(surface, 3, 0), 1e-15)


def test_within_min_distance_of_a_line():
    """Beside the segment the distance from the axis is clamped, beyond its ends that to the end."""
    start, end = np.zeros((1, 3)), np.array([[0.0, 0.0, 16.0]])
    contact = np.array([[0.0, 0, 0], [1, 0, 5], [0, 0, 16], [0, 0, 18], [1, 0, 17.5], [1, 0, 21]])
    moved = contact.copy()  # away from the axis, until 3 from the segment
    moved[:4, 0] = [3, 3, 3, np.sqrt(9 - 2**2)]
    moved[4, 0] = np.sqrt(9 - 1.5**2)
    reference = exact_line(moved, start, end, SIGMA)
    close_each(line_source(contact, start, end, SIGMA, 3.0), reference)


@both_media
def test_min_distance_touches_nothing_farther_and_is_continuous(sigma):
    start, end = np.zeros((1, 3)), np.array([[0.0, 0.0, 16.0]])
    angle = np.linspace(0, np.pi, 7)
    ring = np.stack([np.sin(angle), 0.3 * np.sin(angle), np.cos(angle)], 1)
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    middle = np.where(ring[:, 2:] < -1e-9, start, np.where(ring[:, 2:] > 1e-9, end, end / 2))
    for make in (line_source, lambda p, a, b, s, d: point_source(p, (a + b) / 2, s, d)):
        centre = middle if make is line_source else end / 2
        free = make(centre + 3 * ring * (1 + 1e-9), start, end, sigma, 0.0)
        close_each(make(centre + 3 * ring * (1 + 1e-9), start, end, sigma, 3.0), free, 1e-15)
        close_each(make(centre + 3 * ring * (1 - 1e-9), start, end, sigma, 3.0), free, 1e-8)


def test_three_equal_conductivities_are_one():
    contact, start, end = random_lines(3)
    limit = np.full(7, 60.0)
    three = np.full(3, SIGMA)
    for make, sites in ((line_source, (start, end)), (point_source, (start,))):
        close_each(make(contact, *sites, three, limit), make(contact, *sites, SIGMA, limit), 2e-15)


def test_clamped_anisotropic_point_reads_the_geometric_mean_at_its_centre():
    value = point_source(np.zeros((1, 3)), np.zeros((1, 3)), SIGMAS, 4.0)
    mean = SIGMAS.prod() ** (1 / 3)
    close_each(value, point_source(np.array([[4.0, 0, 0]]), np.zeros((1, 3)), mean, 0.0), 1e-15)


# --------------------------------------------------------------------------------------------- laws


@given(seeds)
def test_translation_and_rotation(seed):
    contact, start, end = random_lines(seed)
    limit = np.random.default_rng(seed).uniform(0, 40, 7)
    reference = line_source(contact, start, end, SIGMA, limit)
    moved = [x @ rotation(seed).T + np.array([3.0, -40.0, 55.0]) for x in (contact, start, end)]
    close(line_source(*moved, SIGMA, limit), reference, 1e-11)
    swapped = [x[:, [2, 0, 1]] for x in (contact, start, end)]
    close(
        line_source(*swapped, SIGMAS[[2, 0, 1]], limit),
        line_source(contact, start, end, SIGMAS, limit),
        1e-13,
    )


@given(seeds)
def test_order_of_contacts_of_sites_and_of_ends(seed):
    contact, start, end = random_lines(seed)
    rng = np.random.default_rng(seed)
    limit, c, s = rng.uniform(0, 40, 7), rng.permutation(5), rng.permutation(7)
    for sigma in (SIGMA, SIGMAS):
        reference = np.asarray(line_source(contact, start, end, sigma, limit))
        permuted = line_source(contact[c], end[s], start[s], sigma, limit[s])
        close_each(permuted, reference[c][:, s], 1e-13)


@given(seeds)
def test_change_of_units(seed):
    contact, start, end = random_lines(seed)
    reference = line_source(contact, start, end, SIGMAS, 20.0)
    scaled = line_source(1e3 * contact, 1e3 * start, 1e3 * end, SIGMAS, 20e3)
    close_each(1e3 * scaled, reference, 1e-13)
    close_each(5 * line_source(contact, start, end, 5 * SIGMAS, 20.0), reference, 1e-13)


@given(seeds, st.floats(0.01, 0.99))
def test_cutting_a_segment_in_two_conserves(seed, where):
    contact, start, end = random_lines(seed)
    middle = start + where * (end - start)
    for sigma in (SIGMA, SIGMAS):
        first = line_source(contact, start, middle, sigma, 0.0)
        second = line_source(contact, middle, end, sigma, 0.0)
        whole = line_source(contact, start, end, sigma, 0.0)
        close(where * first + (1 - where) * second, whole)


@given(seeds)
def test_reciprocity(seed):
    """A point contact and a point source may change places; so may a line and a line of contacts."""
    contact, start, end = random_lines(seed)
    for sigma in (SIGMA, SIGMAS):
        there = point_source(contact, start, sigma, 30.0)
        close_each(there, np.asarray(point_source(start, contact, sigma, 30.0)).T, 1e-14)
    x, w = np.polynomial.legendre.leggauss(60)
    nodes = start + (1 + x[:, None, None]) / 2 * (end - start)  # (node, site, 3)
    averaged = np.stack([point_source(n, contact, SIGMA, 0.0) for n in nodes])
    near = line_source(contact, start, end, SIGMA, 0.0)
    distance = np.linalg.norm(nodes[:, None] - contact[:, None], axis=-1).min(0)
    smooth = distance > 0.2 * np.linalg.norm(end - start, axis=1)  # the quadrature has converged
    averaged = np.einsum("k,ksc->cs", w / 2, averaged)
    close(np.where(smooth, averaged, 0), np.where(smooth, near, 0), 1e-12)


def test_root_as_point_composes():
    contact, start, end = random_lines(4)
    root = np.arange(7) % 3 == 0
    value = np.asarray(root_as_point(contact, start, end, root, SIGMAS, 10.0))
    points = point_source(contact, (start + end) / 2, SIGMAS, 10.0)
    close_each(value[:, root], np.asarray(points)[:, root], 1e-14)
    lines = line_source(contact, start, end, SIGMAS, 10.0)
    close_each(value[:, ~root], np.asarray(lines)[:, ~root], 0)


# ---------------------------------------------------------------------------------------- gradients


def hard_lines():
    """Contacts and segments: in the series, exactly beside an end, clamped."""
    contact, start, end = random_lines(5, 2, 3)
    contact[0] = [5.0, 5.0, 40.0]
    start[0], end[0] = 30.0, 30.5
    start[1], end[1] = [0.0, 0.0, 40.0], [0.0, 0.0, 80.0]
    return tuple(jnp.asarray(x) for x in (contact, start, end, [1.0, 2.0, 400.0]))


@pytest.mark.slow
@both_media
def test_gradients_in_every_argument(check_derivatives, sigma):
    contact, start, end, limit = hard_lines()
    tight = {"rtol": 1e-6, "atol": 1e-6}
    check_derivatives(line_source, (contact, start, end, sigma, limit), **tight)
    check_derivatives(point_source, (contact, start, sigma, limit), **tight)


@pytest.mark.slow
@pytest.mark.parametrize("stretch", [None, (0.3, 0.4, 0.2)], ids=["isotropic", "anisotropic"])
def test_second_derivatives(check_derivatives, stretch):
    contact, start, end, limit = hard_lines()

    def total(contact, start, end, limit):
        p, a, b = (field.components(x) for x in (contact[:, None], start, end))
        return field.mean_inverse_distance(p, a, b, limit**2, stretch, 0.1).sum()

    check_derivatives(total, (contact, start, end, limit), order=2)


def test_gradient_beside_an_end_in_closed_form():
    """At the axial position of an end, d phi / dz = (1 / rho - 1 / r) / (4 pi sigma L)."""
    start, end = np.zeros((1, 3)), np.array([[0.0, 0.0, 16.0]])
    slope = jax.jit(
        jax.grad(lambda z: line_source(jnp.array([[3.0, 0, z]]), start, end, SIGMA, 1.0)[0, 0])
    )
    expected = 1e3 / (4 * np.pi * SIGMA * 16) * (1 / 3 - 1 / np.hypot(3, 16))
    assert abs(slope(0.0) - expected) < 1e-12 * expected
    assert abs(slope(16.0) + expected) < 1e-12 * expected


@pytest.mark.slow
def test_gradient_on_the_axis_beyond_the_end_in_closed_form():
    start, end = np.zeros((1, 3)), np.array([[0.0, 0.0, 16.0]])
    potential = lambda p: line_source(p[None], start, end, SIGMA, 0.0)[0, 0]
    slope = jax.jit(jax.grad(potential))(jnp.array([0.0, 0.0, 17.0]))
    scale = 1e3 / (4 * np.pi * SIGMA * 16)
    close(slope, scale * np.array([0, 0, 1 / 17 - 1]))
    curvature = jax.jit(jax.hessian(potential))(jnp.array([0.0, 0.0, 17.0]))
    across = scale * (1 / 17**2 - 1) / 2
    close(curvature, np.diag([across, across, -2 * across]), 1e-11)  # Laplace: the trace is 0


@pytest.mark.slow
def test_gradient_of_a_segment_of_no_length():
    """Both ends share the gradient of the point; the second derivative is that of the average."""
    contact, site = jnp.array([[5.0, 40.0, -3.0]]), jnp.array([[1.0, 2.0, 3.0]])
    of_point = jax.jit(jax.grad(lambda s: point_source(contact, s, SIGMA, 1.0).sum()))(site)
    of_ends = jax.jit(jax.grad(lambda a, b: line_source(contact, a, b, SIGMA, 1.0).sum(), (0, 1)))
    for g in of_ends(site, site):
        close(g, of_point / 2)
    for length in (1e-9, 1e-5, 1e-3):
        for g in of_ends(site - length / 2, site + length / 2):
            close(g, of_point / 2, 1e-2 * length + 1e-12)
    y = jnp.array([0.0, 1.0, 0.0])
    along = lambda f, s: jax.jit(jax.hessian(lambda h: f(s + h * y).sum()))(0.0)
    point_curvature = along(lambda s: point_source(contact, s, SIGMA, 1.0), site)
    one_end = along(lambda b: line_source(contact, site, b, SIGMA, 1.0), site)
    close(one_end, point_curvature / 3, 1e-11)  # the mean of s^2 over 0 < s < 1


@pytest.mark.slow
@both_media
def test_gradients_are_finite_at_every_kink(sigma):
    start = np.zeros((4, 3))
    end = np.array([[0.0, 0, 16], [0, 0, 0], [1e-9, 0, 0], [6.0, 8.0, 0.0]])
    contact = np.array(
        [
            [0.0, 0, 0],
            [0, 0, 8],
            [0, 0, 16],
            [0, 0, 17],
            [0, 0, 1e5],
            [3, 0, 8],
            [3, 4, 0],
            [0, 0, -3],
        ]
    )
    for make, sites in ((line_source, (start, end)), (point_source, (start,))):
        arguments = [jnp.asarray(x) for x in (contact, *sites, sigma)]
        number = range(len(arguments) + 1)
        both = jax.jit(jax.value_and_grad(lambda *x, make=make: make(*x).sum(), tuple(number)))
        for limit in (0.0, 3.0, 1e-9):
            value, grads = both(*arguments, jnp.full(4, limit))
            assert np.isfinite(value)
            assert all(np.isfinite(g).all() for g in grads)


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.slow
def test_blocks_of_contacts_change_nothing(monkeypatch):
    contact, start, end = random_lines(6, 23, 7)
    whole = np.asarray(line_source(contact, start, end, SIGMA, 1.0))
    gradient = jax.grad(lambda *x: (field.point_source(*x, SIGMA, 1.0) ** 2).sum(), (0, 1))
    whole_gradient = gradient(contact, start)
    for size in (1, 35, 10**6):  # blocks of 1, 5 and all 23 rows
        monkeypatch.setattr(field, "_BLOCK", size)
        close_each(field.line_source(contact, start, end, SIGMA, 1.0), whole, 1e-15)
        for g, reference in zip(gradient(contact, start), whole_gradient, strict=True):
            close(g, reference, 1e-13)


@pytest.mark.parametrize(("n_contact", "n_site"), [(0, 3), (3, 0), (0, 0), (1, 1)])
def test_nothing_to_do(n_contact, n_site):
    contact, site = np.ones((n_contact, 3)), np.zeros((n_site, 3))
    assert point_source(contact, site, SIGMA, 1.0).shape == (n_contact, n_site)
    assert line_source(contact, site, site, SIGMA, np.ones(n_site)).shape == (n_contact, n_site)
    assert jax.grad(lambda c: line_source(c, site, site, SIGMA, 1.0).sum())(contact).shape == (
        n_contact,
        3,
    )


def test_memory_is_the_result_and_a_little():
    contact, start, end = random_lines(7, 384, 4000)
    compiled = line_source.lower(contact, start, end, SIGMA, np.ones(4000)).compile()
    memory = compiled.memory_analysis()
    assert memory.output_size_in_bytes == 384 * 4000 * 8
    assert memory.temp_size_in_bytes < 0.2 * memory.output_size_in_bytes


def test_single_precision_follows_the_input():
    contact, start, end = (x.astype(np.float32) for x in random_lines(8))
    reference = exact_line(contact, start, end, SIGMA)
    value = line_source(contact, start, end, SIGMA, np.float32(0))
    assert value.dtype == np.float32
    close_each(value.astype(float), reference, 2e-5)
    gradient = jax.grad(lambda p: line_source(p, start, start, SIGMA, 0.0).sum())(start)
    assert np.isfinite(gradient).all()


def test_vmap_and_integers():
    contact, start, end = random_lines(9)
    stacked = np.stack([contact, contact + 1.0])
    mapped = jax.vmap(line_source, (0, None, None, None, None))(stacked, start, end, SIGMA, 1.0)
    for c, value in zip(stacked, mapped, strict=True):
        close_each(value, line_source(c, start, end, SIGMA, 1.0), 1e-14)
    whole = np.array([[10, 0, 0]])
    close_each(point_source(whole, 0 * whole, 1, 1), np.array([[100 / (4 * np.pi)]]), 1e-15)


# ------------------------------------------------------------------------------------------ oracles


def lfpykit_cell(start, end, diameter):
    import lfpykit

    axes = {k: np.stack([start[:, i], end[:, i]], 1) for i, k in enumerate("xyz")}
    return lfpykit.CellGeometry(**axes, d=diameter)


def branch(seed, n=40):
    """A chain of short segments with contacts around it."""
    rng = np.random.default_rng(seed)
    nodes = np.cumsum(rng.normal(0, 8, (n + 1, 3)), 0)
    return rng.uniform(-150, 150, (30, 3)), nodes[:-1], nodes[1:], rng.uniform(0.5, 4, n)


@pytest.mark.oracle
@both_media
@pytest.mark.parametrize("method", ["linesource", "pointsource", "root_as_point"])
def test_against_lfpykit(sigma, method, agreement):
    """Where no contact is within min_distance of the infinite line through a segment."""
    import lfpykit

    contact, start, end, diameter = branch(10)
    if method == "root_as_point":
        diameter[0] = diameter.max() + 1  # LFPykit's root is the first; ours is a mask
    electrode = lfpykit.RecExtElectrode(
        lfpykit_cell(start, end, diameter),
        sigma=sigma if np.ndim(sigma) == 0 else list(sigma),
        **dict(zip("xyz", contact.T, strict=True)),
        method=method,
    )
    reference = 1e3 * electrode.get_transformation_matrix()
    u = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
    apart = np.linalg.norm(np.cross(contact[:, None] - start, u), axis=-1) > diameter / 2
    limit = diameter / 2
    ours = {
        "linesource": lambda: line_source(contact, start, end, sigma, limit),
        "pointsource": lambda: point_source(contact, (start + end) / 2, sigma, limit),
        "root_as_point": lambda: root_as_point(
            contact, start, end, np.arange(40) == 0, sigma, limit
        ),
    }[method]()
    assert apart.mean() > 0.9
    agreement(
        "point, line, root as point, isotropic and not, beyond min_distance",
        "LFPykit",
        np.where(apart, ours, 0),
        np.where(apart, reference, 0),
        1e-12,
    )


@pytest.mark.oracle
def test_lfpykit_clamps_to_the_infinite_line_and_we_to_the_segment():
    """On the axis beyond the end the two differ; beside the segment they agree."""
    import lfpykit

    start, end, contact = (
        np.zeros((1, 3)),
        np.array([[0.0, 0, 16.0]]),
        np.array([[0, 0, 20.0], [1, 0, 8]]),
    )
    cell = lfpykit_cell(start, end, np.array([6.0]))
    theirs = (
        1e3 * lfpykit.LineSourcePotential(cell, *contact.T, sigma=SIGMA).get_transformation_matrix()
    )
    ours = np.asarray(line_source(contact, start, end, SIGMA, 3.0))
    close_each(ours[1], theirs[1])
    close_each(ours[0], exact_line(contact[:1], start, end, SIGMA)[0])
    assert abs(theirs[0, 0] / ours[0, 0] - 1) > 0.05


def test_reference_is_consistent():
    """The 120-digit form itself, against cutting the line into points."""
    contact, start, end = random_lines(11, 1, 1)
    cuts = [start + k / 200 * (end - start) for k in range(201)]
    middles = np.concatenate([(a + b) / 2 for a, b in pairwise(cuts)])
    points = exact_line(contact, middles, middles, SIGMA)
    close(points.mean(1, keepdims=True), exact_line(contact, start, end, SIGMA), 1e-4)
