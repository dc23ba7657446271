"""A sphere in another conductor: its series in many digits, its boundary conditions, limits, LFPykit, laws."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxfne_xr.kernels.fields import heads as head
from jaxfne_xr.kernels.fields import one_sphere
from jaxfne_xr.kernels.fields.homogeneous import point_source

R = 10_000.0
SKULL = (0.3, 0.03)  # S/m: inside, outside
MEDIA = [SKULL, (0.3, 1.5), (0.3, 1e-4), (0.3, 300.0), (0.3, 0.2999)]
each_medium = pytest.mark.parametrize("sigmas", MEDIA, ids=str)

_points = jax.jit(one_sphere.one_sphere_point_source)


@jax.jit
def _along(contact, direction, site, *rest):
    """Return the derivative of each contact's potential in its own direction."""
    at = lambda c: one_sphere.one_sphere_point_source(c, site, *rest)
    return jax.jvp(at, (contact,), (direction,))[1]


@jax.jit
def _dipoles(contact, site, *rest):
    """Return the derivative in x, y, z of each site (contact, xyz, site): the potential of dipoles."""
    at = lambda s: one_sphere.one_sphere_point_source(contact, s, *rest)
    moves = jnp.eye(3)[:, None, :] + jnp.zeros((3, *site.shape))
    return jax.vmap(lambda d: jax.jvp(at, (site,), (d,))[1], out_axes=1)(moves)


@pytest.fixture(autouse=True)
def _double(x64):
    pass


def close(a, b, tol=1e-14):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def points(contact, site, sigmas=SKULL, limit=0.0, radius=R):
    return np.asarray(_points(contact, site, radius, *sigmas, limit))


def directions(seed, n):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def places(seed=0):
    """Contacts (8, 3) inside, on and outside of the sphere; sites (6, 3), the first at its centre."""
    radii = np.array([0.05, 0.2, 0.6, 0.9, 1.0, 1.02, 1.5, 8.0])
    contact = directions(seed, 8) * radii[:, None] * R
    site = directions(seed + 1, 6) * np.array([0.0, 0.1, 0.4, 0.7, 0.85, 0.93])[:, None] * R
    return contact, site


def on_arc(radii, angles, of_source):
    """Contacts at a radius and an angle from a source on the z axis, radii in units of R."""
    radii, angles = R * np.asarray(radii, float), np.asarray(angles, float)
    contact = np.stack([radii * np.sin(angles), 0 * radii, radii * np.cos(angles)], axis=1)
    return contact, np.array([[0.0, 0.0, of_source * R]])


def in_digits(contact, site, sigmas, radius=R, *, line=None):
    """Return the potential of one source at one contact, the series summed in 50 digits.

    With `line`, a function of x, cos and b, in place of the part of the series with 1 / (n + b).
    """
    with mp.workdps(50):
        p, s = ([mp.mpf(float(v)) for v in x] for x in (contact, site))
        inside, outside, sphere = (mp.mpf(float(v)) for v in (*sigmas, radius))
        dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))
        r, rs = mp.sqrt(dot(p, p)), mp.sqrt(dot(s, s))
        cos = dot(p, s) / (r * rs) if r * rs else mp.mpf(1)
        m = max(r, sphere)
        x, direct = r * rs / m**2, mp.sqrt(sum((a - b) ** 2 for a, b in zip(p, s, strict=True)))
        if line is not None:
            b, k = outside / (inside + outside), (inside - outside) / (inside + outside)
            image = 1 / mp.sqrt(1 - 2 * x * cos + x * x)
            total = k * (image + (1 - b) * line(x, cos, b)) / m + 1 / direct
            return float(1000 * total / (4 * mp.pi * inside))
        total, power, n = mp.mpf(0), mp.mpf(1), 0
        before, legendre = mp.mpf(0), mp.mpf(1)
        while power > mp.mpf(10) ** -32 * (1 - x):
            gain = (inside - outside) * (n + 1) if r <= sphere else inside * (2 * n + 1)
            total += gain / (inside * n + outside * (n + 1)) * power * legendre
            following = ((2 * n + 1) * cos * legendre - n * before) / (n + 1)
            before, legendre, n, power = legendre, following, n + 1, power * x
        total = total / m + (1 / direct if r <= sphere else 0)
        return float(1000 * total / (4 * mp.pi * inside))


# --------------------------------------------------------------------------------------- references


@pytest.mark.slow
@each_medium
def test_series_in_many_digits(sigmas, agreement):
    """Inside, on the surface and outside; a source and a contact at the centre."""
    contact, site = places()
    for at_centre in (site, contact):
        site[0] = contact[0] = 0.05 * R
        at_centre[0] = 0
        reference = np.array([[in_digits(c, s, sigmas) for s in site] for c in contact])
        ours = points(contact, site, sigmas)
        agreement("one sphere, point", "the series in 50 digits", ours, reference, 1e-12)
        assert (np.abs(ours / reference - 1) < 1e-13).all()


@each_medium
@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6, 1e-8])
def test_on_the_axis_near_the_surface(sigmas, gap):
    """The line image of a contact on the source's radius is a hypergeometric function.

    The distance to the surface is that of rounded positions: hence the tolerance.
    """
    radii = np.array([1 - gap / 3, 1 - 2 * gap, 1.0, 1 + gap, 1 + 50 * gap, gap / 3 - 1, 0.5, 3.0])
    contact, site = on_arc(radii, np.zeros(8), 1 - gap)
    line = lambda x, cos, b: mp.hyp2f1(1, b, b + 1, x * cos) / b
    reference = np.array([[in_digits(c, site[0], sigmas, line=line)] for c in contact])
    tolerance = 1e-12 + 2e-17 / gap
    assert (np.abs(points(contact, site, sigmas) / reference - 1) < tolerance).all()


def test_beside_the_axis_near_the_surface():
    def line(x, cos, b):
        root = lambda t: mp.sqrt(1 - 2 * t * x * cos + (t * x) ** 2)
        ends = [0, *(1 - mp.mpf(10) ** -k for k in range(1, 9)), 1]
        return mp.quad(lambda t: t ** (b - 1) * (1 / root(t) - 1), ends) + 1 / b

    radii = [1 - 1e-4, 1 - 1e-5, 1.0, 1 + 1e-4, 1 - 1e-4, 1 - 1e-7, 1 + 1e-6, 0.999]
    contact, site = on_arc(radii, [1e-4, 1e-3, 1e-5, 2e-4, 0.1, 1.0, 1e-6, 3.0], 1 - 1e-4)
    with mp.workdps(25):
        reference = np.array([[in_digits(c, site[0], (0.3, 0.1), line=line)] for c in contact])
    assert (np.abs(points(contact, site, (0.3, 0.1)) / reference - 1) < 1e-12).all()


@each_medium
def test_potential_and_current_pass_through_the_surface(sigmas):
    normal, (_, site) = directions(3, 8), places()
    site[5] = 0.99 * R * normal[0]  # 100 um below the first contact
    inner, outer = (1 - 1e-13) * R * normal, (1 + 1e-13) * R * normal
    close(points(inner, site, sigmas), points(outer, site, sigmas), 1e-7)
    current_in, current_out = (
        sigma * _along(c, normal, site, R, *sigmas, 0.0)
        for c, sigma in zip((inner, outer), sigmas, strict=True)
    )
    for column in range(6):  # of sources whose currents differ much
        close(current_in[:, column], current_out[:, column], 1e-7)


@pytest.mark.slow
def test_insulated_sphere_of_dipoles():
    """Against the head model with a single shell, whose series is another one, of dipoles."""
    contact, site = places()
    contact[5:] = directions(7, 3) * R
    ours = _dipoles(contact, site, R, 0.3, 1e-13, 0.0)
    numbers = jnp.array([R]), jnp.array([0.3])
    n = head.series_terms(0.93)
    reference = head.sphere_lead_field(jnp.asarray(site), jnp.asarray(contact), *numbers, n_terms=n)
    own = np.zeros((8, 1, 6), bool)
    own[0, 0, 0] = True  # at the dipole itself the head model has 0
    close(np.where(own, 0, ours), np.where(own, 0, reference), 1e-11)


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("limit", [0.0, 3000.0])
def test_equal_conductivities_are_no_sphere(limit):
    contact, site = places(4)
    close(points(contact, site, (0.3, 0.3), limit), point_source(contact, site, 0.3, limit))


def test_large_sphere_is_an_infinite_conductor():
    contact, site = places(4)
    ours = points(contact, site, (0.3, 0.03), radius=1e19)
    close(ours, point_source(contact, site, 0.3, 0.0), 1e-13)


def test_good_conductor_around_it_is_a_ground():
    contact, site = places(4)
    contact[5:] = directions(5, 3) * R * 0.99
    radius = np.linalg.norm(site, axis=1)
    image = site[1:] * (R / radius[1:, None]) ** 2
    reference = point_source(contact, site, 0.3, 0.0).at[:, 0].add(-1e3 / (4 * np.pi * 0.3 * R))
    mirrored = R / radius[1:] * point_source(contact, image, 0.3, 0.0)
    close(points(contact, site, (0.3, 1e17)), reference.at[:, 1:].add(-mirrored))


def test_far_away_all_current_is_in_the_outer_medium():
    _, site = places()
    contact = directions(6, 8) * 1e10 * R
    close(points(contact, site), np.full((8, 6), 1e3 / (4 * np.pi * 0.03 * 1e10 * R)), 1e-9)


# --------------------------------------------------------------------------------------------- laws


@each_medium
def test_reciprocity_in_the_sphere(sigmas):
    a = directions(8, 8) * np.linspace(0.05, 0.999, 8)[:, None] * R
    b = directions(9, 6) * np.linspace(0.999, 0.1, 6)[:, None] * R
    swapped = points(np.concatenate([b, b[:2]]), a[:6], sigmas)[:6].T
    close(points(a, b, sigmas)[:6], swapped)


def test_turns_and_change_of_units():
    contact, site = places(10)
    turn = np.linalg.qr(np.random.default_rng(10).normal(size=(3, 3)))[0]
    reference = points(contact, site)
    close(points(contact @ turn, site @ turn), reference, 1e-13)
    close(1e3 * points(1e3 * contact, 1e3 * site, radius=1e3 * R), reference)
    close(5 * points(contact, site, [5 * s for s in SKULL]), reference)


def test_near_a_source_it_reads_as_at_the_least_distance():
    contact, site = places(11)
    contact[1:4] = site[2] + np.array([0, 20.0, 50.0])[:, None] * [1, 0, 0]
    site[5] = [0, 0, R]
    contact[4:6] = [[0, 0, R - 10.0], [0, 0, R + 10.0]]
    near, exact = points(contact, site, limit=50.0), points(contact, site)
    # the image point and line, far away, change little over 50 um
    assert (np.abs(near[1:3, 2] / exact[3, 2] - 1) < 1e-3).all()
    # on the surface the source and its image point are one, and the line adds a little
    on_it = 2e3 / (4 * np.pi * sum(SKULL) * 50.0)
    assert (on_it < near[4:6, 5]).all()
    assert (near[4:6, 5] < 1.1 * on_it).all()
    assert abs(near[4, 5] / near[5, 5] - 1) < 1e-3
    clamped = np.zeros((8, 6), bool)
    clamped[1:3, 2] = clamped[4:6, 5] = True
    close(near[~clamped], exact[~clamped])


def test_source_outside_is_not_a_number():
    contact, site = places(12)
    site[2] *= 10
    value = points(contact, site)
    assert np.isnan(value[:, 2]).all()
    assert np.isfinite(np.delete(value, 2, axis=1)).all()
    on_surface = R * directions(13, 6)
    assert np.isfinite(points(contact, on_surface)).all()


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.slow
def test_gradients_are_finite_at_centre_surface_and_source():
    contact, site = places(14)
    contact[4], contact[5], contact[6] = [0, 0, R], site[3], [0, 0, 0]
    site[1], site[4] = [0, 0, R], site[0]
    total = lambda *x: one_sphere.one_sphere_point_source(*x).sum()
    both = jax.jit(jax.value_and_grad(total, tuple(range(5))))
    for sigmas in (SKULL, (0.3, 0.3)):
        for limit in (0.0, 2.0):
            value, grads = both(contact, site, R, *sigmas, limit)
            assert np.isfinite(value)
            assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.slow
def test_derivatives_at_the_centre():
    """First and second ones of a source there, whose angle to a contact is not defined."""
    contact = jnp.asarray(directions(15, 1) * 0.8 * R)

    @jax.jit
    def derivatives(site):
        at = lambda s: one_sphere.one_sphere_point_source(contact, s * R, R, *SKULL, 0.0)[0, 0]
        along = lambda s, d: jax.jvp(at, (s,), (d,))[1]
        axes = jnp.eye(3)[:, None]
        return jax.vmap(lambda d: jax.jvp(lambda s: along(s, d), (site,), (d,)))(axes)

    centre, near = derivatives(jnp.zeros((1, 3))), derivatives(jnp.full((1, 3), 1e-7))
    for a, b in zip(centre, near, strict=True):
        close(a, b, 1e-5)
    # as a function of the source's place, too, the potential solves Laplace's equation
    assert abs(centre[1].sum()) < 1e-12 * np.abs(centre[1]).max()


# ------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(("n_contact", "n_site"), [(0, 3), (3, 0), (1, 1)])
def test_nothing_to_do(n_contact, n_site):
    contact, site = np.full((n_contact, 3), 9.0), np.ones((n_site, 3))
    assert points(contact, site).shape == (n_contact, n_site)


def test_memory_is_the_result_and_a_little():
    contact, site = np.ones((384, 3)), np.zeros((3000, 3))
    memory = _points.lower(contact, site, R, *SKULL, 1.0).compile().memory_analysis()
    assert memory.output_size_in_bytes == 384 * 3000 * 8
    assert memory.temp_size_in_bytes < 0.5 * memory.output_size_in_bytes


@each_medium
def test_single_precision_follows_the_input(sigmas):
    contact, site = (x.astype(np.float32) for x in places(16))
    value = _points(contact, site, *(np.float32(x) for x in (R, *sigmas, 0)))
    assert value.dtype == np.float32
    close(value.astype(float), points(contact.astype(float), site.astype(float), sigmas), 3e-6)


# ------------------------------------------------------------------------------------------ oracles


@pytest.mark.oracle
@each_medium
def test_against_lfpykit(sigmas, agreement):
    """Where its 1000 terms are enough: r r' / R^2 below 0.96."""
    import lfpykit

    radii, angles = [0.05, 0.3, 0.8, 0.99, 1.0, 1.01, 1.2, 5.0], np.linspace(0.1, 3.0, 8)
    contact, site = on_arc(radii, angles, 0.95)
    radius = np.linalg.norm(contact, axis=1)
    model = lfpykit.OneSphereVolumeConductor(
        None, np.stack([radius, angles, 0 * angles]), R, *sigmas
    )
    theirs = 1e3 * model.calc_potential(0.95 * R, 1.0, min_distance=None)[:, None]
    agreement("one sphere, point", "LFPykit", points(contact, site, sigmas), theirs, 1e-12)
