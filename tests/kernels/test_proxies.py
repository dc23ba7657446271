"""Proxies against plain loops, closed forms and limits."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from jax.test_util import check_grads

from jaxfne_xr.kernels.fields import proxies as proxy

gaussian_weights = jax.jit(proxy.gaussian_weights, static_argnames="normalise")
second_derivative_matrix = jax.jit(proxy.second_derivative_matrix)
toy_eeg_lead_field = jax.jit(proxy.toy_eeg_lead_field)
toy_meg_lead_field = jax.jit(proxy.toy_meg_lead_field)
activity_cost = jax.jit(proxy.activity_cost, static_argnames="axis")
pytestmark = pytest.mark.usefixtures("x64")


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def points(n, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)) * 100


# ---------------------------------------------------------------------------------------- gaussian


@pytest.mark.parametrize("dim", [1, 3])
def test_gaussian_weights_are_their_formula(dim):
    contact, site = points(4, dim), points(9, dim, seed=1)
    w = np.array([[np.exp(-sum((c - n) ** 2) / 2 / 80**2) for n in site] for c in contact])
    close(gaussian_weights(contact, site, 80.0), w / w.sum(1, keepdims=True))
    close(gaussian_weights(contact, site, 80.0, normalise=False), w)


def test_gaussian_weights_survive_where_the_formula_is_zero_over_zero():
    contact, site = np.array([[1e5]]), np.array([[0.0], [2.0], [2.1]])
    with mpmath.workdps(50):
        w = [mpmath.exp(-((mpmath.mpf(1e5) - z) ** 2) / (2 * 100**2)) for z in (0, 2, 2.1)]
        want = [[float(v / sum(w)) for v in w]]
    close(gaussian_weights(contact, site, 100.0), want, 1e-9)
    single = gaussian_weights(*(a.astype(np.float32) for a in (contact, site)), 1.0)
    assert single.dtype == np.float32
    assert single.tolist() == [[0, 0, 1]]
    f = lambda c, s, sigma: gaussian_weights(c, s, sigma)[0, 1]
    for slope in jax.grad(f, (0, 1, 2))(contact, site, 1.0):
        assert np.isfinite(slope).all()


@given(st.floats(1e-2, 1e4), st.integers(0, 100))
def test_gaussian_rows_add_to_one_and_move_with_everything(sigma, seed):
    contact, site = points(3, seed=seed), points(5, seed=seed + 1)
    w = gaussian_weights(contact, site, sigma)
    close(w.sum(1), np.ones(3))
    assert (w >= 0).all()
    shifted = gaussian_weights(contact + 8, site + 8, sigma)
    assert np.abs(shifted - w).max() <= 1e-6
    close(gaussian_weights(contact * 2, site * 2, sigma * 2), w, 1e-9)


def test_gaussian_gradient_and_limits():
    contact, site = points(3), points(5, seed=1)
    check_grads(gaussian_weights, (contact, site, 90.0), 1)
    close(gaussian_weights(contact, site, 1e9), np.full((3, 5), 1 / 5))
    assert gaussian_weights(contact, np.zeros((0, 3)), 1.0).shape == (3, 0)
    assert gaussian_weights(np.zeros((0, 3)), site, 1.0).shape == (0, 5)


# ------------------------------------------------------------------------------- second derivative


DEPTHS = np.array([0.0, 20.0, 60.0, 70.0, 150.0, 155.0])


def test_even_spacing_is_the_three_point_formula():
    d = second_derivative_matrix(np.arange(5) * 25.0)
    want = np.array([[1, -2, 1, 0, 0]] * 2 + [[0, 1, -2, 1, 0]] + [[0, 0, 1, -2, 1]] * 2) / 625
    close(d, want)


@given(
    st.lists(st.integers(-500, 500), min_size=3, max_size=12, unique=True),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(-2, 2),
)
def test_parabolas_are_exact_at_every_contact_in_any_order(depth, a, b, c):
    z = np.array(depth) * 10.0
    d = np.asarray(second_derivative_matrix(z))
    size = np.abs(d).max() * (abs(a) * 2.5e7 + abs(b) * 5e3 + abs(c) + 1)
    assert np.abs(d @ (a * z**2 + b * z + c) - 2 * a).max() <= 1e-12 * size


def test_order_of_accuracy():
    """Second order on even spacing, first on uneven, as the docstring says."""

    def error(z):
        inner = (second_derivative_matrix(z) @ np.sin(z) + np.sin(z))[1:-1]
        return np.abs(inner).max()

    even, uneven = np.linspace(0, 1, 21), np.linspace(0, 1, 21) + np.tile([0, 0.01, 0], 7)
    assert error(np.linspace(0, 1, 41)) < error(even) / 3.5
    gaps = np.diff(uneven)
    leading = np.abs((gaps[1:] - gaps[:-1]) * np.cos(uneven[1:-1]) / 3).max()
    assert abs(error(uneven) - leading) < 0.1 * leading


def test_the_order_of_contacts_only_orders_the_matrix():
    order = np.array([3, 0, 5, 1, 4, 2])
    d = second_derivative_matrix(DEPTHS)
    close(second_derivative_matrix(DEPTHS[order]), d[order][:, order])
    close(second_derivative_matrix(-DEPTHS), d)


def test_a_straight_line_has_no_sources_and_ends_repeat_their_neighbours():
    d = second_derivative_matrix(DEPTHS)
    assert np.abs(d @ (3 * DEPTHS - 7)).max() <= 1e-12 * np.abs(d).max() * 500
    close(d[0], d[1])
    close(d[-1], d[-2])


def test_second_derivative_gradient_and_refusal():
    check_grads(second_derivative_matrix, (DEPTHS / 20,), 1)
    with pytest.raises(ValueError, match="needs 3 contacts or more, and there are 2"):
        second_derivative_matrix(np.array([0.0, 1.0]))


# ------------------------------------------------------------------------------------ lead fields


@pytest.mark.parametrize("each", [False, True])
def test_toy_lead_fields_are_their_formulas(each):
    sensor, site = points(3), points(5, seed=1)
    direction = points(5, seed=2) if each else points(1, seed=2)[0]
    eeg, meg = np.zeros((3, 5)), np.zeros((3, 5))
    for c in range(3):
        for n in range(5):
            away = sensor[c] - site[n]
            o = direction[n] if each else direction
            distance = np.linalg.norm(away)
            cosine = away @ o / distance / np.linalg.norm(o)
            eeg[c, n] = cosine / distance**2
            meg[c, n] = np.sqrt(1 - cosine**2) / distance**2
    close(toy_eeg_lead_field(sensor, site, direction), eeg / np.abs(eeg).max())
    close(toy_meg_lead_field(sensor, site, direction), meg / meg.max())


@pytest.mark.parametrize("toy", [toy_eeg_lead_field, toy_meg_lead_field])
@pytest.mark.slow
def test_toy_lead_fields_on_their_poles_and_kinks(toy):
    sensor = np.array([[0.0, 0, 2], [0, 0, 0]])
    site = np.array([[0.0, 0, 0], [1, 1, 0], [0, 0, 1]])
    lead = np.asarray(toy(sensor, site))
    assert np.isfinite(lead).all()
    assert lead[1, 0] == 0
    assert np.abs(lead).max() == 1
    for slope in jax.grad(lambda a, b: (toy(a, b) ** 2).sum(), (0, 1))(sensor, site):
        assert np.isfinite(slope).all()
    assert (toy(sensor[:1], sensor[:1]) == 0).all()
    assert toy(sensor, np.zeros((0, 3))).shape == (2, 0)


@pytest.mark.parametrize("toy", [toy_eeg_lead_field, toy_meg_lead_field])
def test_toy_lead_field_gradient_and_scale(toy):
    sensor, site = points(2) / 100, points(3, seed=1) / 100
    check_grads(toy, (sensor, site), 1)
    close(toy(sensor * 7, site * 7), toy(sensor, site))


# ------------------------------------------------------------------------------------ activity cost


def activity(n=50):
    rng = np.random.default_rng(0)
    return rng.random((6, n)) < 0.2, rng.normal(size=(6, n)), rng.normal(size=(4, n)) * 9


def terms(spikes, source, field, axis=0):
    """Return rate (Hz), size and power over time, from arrays with sites or contacts along `axis`."""
    return spikes.mean(axis) / 0.1e-3, np.abs(source).mean(axis), (field**2).mean(axis)


def test_activity_cost_is_its_formula():
    given = terms(*activity())
    want = sum(w * t / t.mean() for w, t in zip((1, 2, 3), given, strict=True)) / 6
    close(activity_cost(*given, (1, 2, 3), axis=0), want)
    close(want.mean(), 1.0)
    scales = (40, 0.2, 50)
    want = sum(w * t / s for w, t, s in zip((1, 2, 3), given, scales, strict=True)) / 6
    close(activity_cost(*given, (1, 2, 3), scales, axis=0), want)


def test_activity_cost_takes_any_axis():
    given = terms(*activity())
    want = activity_cost(*given, axis=0)
    trials = [np.stack([t, 2 * t], axis=1) for t in given]  # (time, trial)
    close(activity_cost(*trials, axis=0), np.stack([want, want], axis=1))


def test_activity_cost_of_silence():
    rate, size, power = terms(*activity())
    close(activity_cost(0 * rate, size, power, axis=0).mean(), 2 / 3)
    f = lambda r, s: activity_cost(r, s, power, axis=0).max()
    for slope in jax.grad(f, (0, 1))(0 * rate, 0 * size):
        assert np.isfinite(slope).all()


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_activity_cost_does_not_depend_on_units(a, b):
    rate, size, power = terms(*activity(20))
    close(
        activity_cost(rate, a * size, b * power, axis=0),
        activity_cost(rate, size, power, axis=0),
        1e-9,
    )


def test_activity_cost_gradient_and_transformations():
    given = terms(*activity(7))
    f = lambda *t: activity_cost(*t, (1, 2, 3), jnp.array([40.0, 0.2, 50.0]), axis=0)
    check_grads(jax.jit(f), given, 1)
    batch = tuple(np.stack([t, 2 * t]) for t in given)
    close(jax.jit(jax.vmap(f))(*batch)[1], f(*(2 * t for t in given)))
    assert f(*(np.zeros(0),) * 3).shape == (0,)
