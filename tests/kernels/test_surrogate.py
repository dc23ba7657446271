"""Surrogate derivatives against their equations, and against the count that a noisy threshold expects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

from jaxfne_xr.kernels.signals import spikes, surrogate
from jaxfne_xr.kernels.signals.soft_spikes import crossing_count, crossing_times, expected_crossings

NAMES = list(surrogate.SURROGATES)
#: The equations once more, in NumPy, and the sigmoids that they are derivatives of.
WANT = {
    "fast_sigmoid": lambda x, b: b / (1 + np.abs(2 * b * x)) ** 2,
    "arctan": lambda x, b: b / (1 + (np.pi * b * x) ** 2),
    "triangle": lambda x, b: np.where(np.abs(x) < 1 / b, b - b * b * np.abs(x), 0),
}
SIGMOID = {
    "fast_sigmoid": lambda x, b: 0.5 + b * x / (1 + np.abs(2 * b * x)),
    "arctan": lambda x, b: 0.5 + np.arctan(np.pi * b * x) / np.pi,
    "triangle": lambda x, b: (
        0.5 + np.clip(b * x, -1, 1) - np.sign(x) * np.clip(b * x, -1, 1) ** 2 / 2
    ),
}


def voltages(shape=(12, 3, 2), dtype=float, seed=0):
    return np.random.default_rng(seed).normal(0, 20, shape).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slope", [0.02, 1.0])
def test_each_is_its_equation_and_a_density(x64, name, slope):
    x = np.linspace(-60, 60, 241)
    got = surrogate.SURROGATES[name](jnp.array(x), slope)
    np.testing.assert_allclose(got, WANT[name](x, slope), rtol=1e-13, atol=1e-18)
    assert got[120] == got.max() == slope
    area = scipy.integrate.quad(lambda x: WANT[name](x, slope), 0, np.inf, limit=200)[0]
    assert area == pytest.approx(0.5, rel=1e-6)
    h = 1e-5
    difference = (SIGMOID[name](x + h, slope) - SIGMOID[name](x - h, slope)) / (2 * h)
    np.testing.assert_allclose(got, difference, rtol=1e-6, atol=3 * slope * slope * h)  # a kink


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", ["level", "crossing"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16"])
@pytest.mark.parametrize("threshold", [0.0, -5.3])
@pytest.mark.slow
def test_the_value_is_exact(x64, name, rule, dtype, threshold):
    v = voltages(dtype=dtype)
    v.ravel()[:4] = np.array([threshold, np.nextafter(threshold, 9), threshold, 9]).astype(dtype)
    made = getattr(surrogate, rule)
    for array in (v, jnp.array(v)):
        for axis in range(3):
            want = getattr(spikes, rule)(v, threshold, axis=axis)
            got = made(array, threshold, 0.1, axis=axis, surrogate=name)
            assert got.dtype == (np.float64 if dtype == "float64" else np.float32)
            assert isinstance(got, type(array))
            np.testing.assert_array_equal(got, want)
            run = jax.jit(made, static_argnames=("axis", "surrogate"))
            np.testing.assert_array_equal(
                run(array, threshold, 0.1, axis=axis, surrogate=name), want
            )


@pytest.mark.parametrize("name", NAMES)
def test_derivative_of_the_level(x64, name):
    v, g = voltages(), voltages(seed=1)
    run = lambda v: surrogate.level(v, -5.0, 0.03, surrogate=name)
    want = WANT[name](v + 5, 0.03) * g
    _, forward = jax.jvp(run, (jnp.array(v),), (jnp.array(g),))
    (backward,) = jax.vjp(run, jnp.array(v))[1](jnp.array(g))
    np.testing.assert_allclose(forward, want, rtol=1e-12)
    np.testing.assert_allclose(backward, want, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.slow
def test_derivative_of_a_crossing_by_a_plain_loop(x64, name, axis):
    v = voltages()
    w = voltages(seed=1)
    run = lambda v: surrogate.crossing(v, -5.0, 0.03, axis=axis, surrogate=name)
    used = w[(slice(None),) * axis + (slice(1, None),)]
    got = jax.grad(lambda v: (run(v) * used).sum())(jnp.array(v))
    want = np.zeros(v.shape)
    v_first, w_first, out = (np.moveaxis(a, axis, 0) for a in (v, w, want))
    for k, *rest in np.ndindex(v_first.shape):
        now, before = (k, *rest), (k - 1, *rest)
        if k and v_first[now] > v_first[before]:
            out[now] += w_first[now] * WANT[name](v_first[now] + 5, 0.03)
            out[before] -= w_first[now] * WANT[name](v_first[before] + 5, 0.03)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    same = jax.vmap(run, in_axes=3, out_axes=3)(jnp.stack([v, v], -1))
    np.testing.assert_array_equal(same[..., 1], run(jnp.array(v)))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_derivative_of_the_count_to_expect_of_a_noisy_threshold(x64, name):
    """The chance that a threshold lies in a rise, differentiated numerically."""
    v = voltages((40,))
    F = lambda v: SIGMOID[name](v + 5, 0.03)
    expected = lambda v: np.maximum(0, np.diff(F(v))).sum()
    got = jax.grad(lambda v: surrogate.crossing(v, -5.0, 0.03, axis=0, surrogate=name).sum())(
        jnp.array(v)
    )
    h = 1e-5
    want = [(expected(v + h * e) - expected(v - h * e)) / (2 * h) for e in np.eye(len(v))]
    np.testing.assert_allclose(got, want, atol=1e-9)
    random = np.random.default_rng(2).random(200_000)
    thresholds = np.interp(
        random, F(np.linspace(-3e3, 3e3, 600_001)), np.linspace(-3e3, 3e3, 600_001)
    )
    counted = np.mean((v[1:, None] >= thresholds) & (v[:-1, None] < thresholds), axis=1).sum()
    assert counted == pytest.approx(expected(v), rel=0.01)


def bump(dt):
    """Return a failed spike that peaks at -10 mV, at a sampling interval in ms."""
    t = jnp.arange(0, 20 + dt / 2, dt)
    return -65 + 55 * jnp.exp(-(((t - 10) / 2) ** 2))


@pytest.mark.slow
def test_it_does_not_depend_on_the_sampling_interval(x64):
    scale = lambda a, dt: surrogate.crossing(
        -65 + a * (bump(dt) + 65), 0.0, 0.05, axis=0, surrogate="arctan"
    ).sum()
    coarse, fine = (float(jax.grad(scale)(1.0, dt)) for dt in (0.1, 0.0125))
    assert coarse == pytest.approx(fine, rel=1e-3)
    assert fine == pytest.approx(55 * WANT["arctan"](-10, 0.05), rel=1e-3)


@pytest.mark.parametrize("rule", ["level", "crossing"])
@pytest.mark.slow
def test_second_order_is_that_of_the_surrogate(x64, check_derivatives, rule):
    v = jnp.array(voltages((9,)))
    run = lambda v: getattr(surrogate, rule)(v, 1.0, 0.05, axis=0, surrogate="arctan").sum()
    slope = jax.grad(run)
    check_derivatives(slope, (v,))
    for name in NAMES:  # at the kinks too
        at = jnp.array([1.0, 21.0, -19.0, 1.0])
        f = lambda v, name=name: getattr(surrogate, rule)(
            v, 1.0, 0.05, axis=0, surrogate=name
        ).sum()
        assert jnp.isfinite(jax.jit(jax.hessian(f))(at)).all()


def test_the_threshold_has_the_opposite_gradient_and_the_slope_none(x64):
    v = jnp.array(voltages((30,)))
    for rule in ("level", "crossing"):
        f = lambda v, t, b, rule=rule: getattr(surrogate, rule)(
            v, t, b, axis=0, surrogate="arctan"
        ).sum()
        dv, dt, db = jax.grad(f, argnums=(0, 1, 2))(v, 2.0, 0.1)
        assert dt == pytest.approx(-float(dv.sum()), rel=1e-12)
        assert db == 0


def test_a_checkpoint_makes_no_difference(x64):
    v = jnp.array(voltages((30,)))
    f = lambda v: (surrogate.crossing(v, 0.0, 0.1, axis=0, surrogate="triangle") ** 2).sum()
    np.testing.assert_array_equal(jax.grad(jax.checkpoint(f))(v), jax.grad(f)(v))


# ---------------------------------------------------------------------------------------------- soft spikes


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("n", [1, 3, 40])
@pytest.mark.slow
def test_crossing_times_by_a_plain_loop(x64, axis, n):
    v = voltages((30, 3, 2)).transpose(np.roll(range(3), axis))
    axis = v.shape.index(30)
    times_of = jax.jit(crossing_times, static_argnames=("axis", "n"))
    got = np.moveaxis(times_of(v, -5.0, 2.0, 0.1, -1.0, axis=axis, n=n), axis, 0)
    count = crossing_count(v, -5.0, axis=axis)
    assert got.shape[0] == n
    first = np.moveaxis(v, axis, 0)
    for place in np.ndindex(first.shape[1:]):
        row = first[(slice(None), *place)]
        times = [
            np.interp(-5.0, row[k - 1 : k + 1], [2 + 0.1 * (k - 1), 2 + 0.1 * k])
            for k in range(1, 30)
            if row[k - 1] < -5 <= row[k]
        ]
        assert count[place] == len(times)
        want = ([*times, *[-1.0] * n])[:n]
        np.testing.assert_allclose(got[(slice(None), *place)], want, rtol=1e-13)


@pytest.mark.slow
def test_the_gradient_of_a_time_is_that_of_the_implicit_function(x64, check_derivatives):
    """A ramp crosses at (threshold - v0) / rate; and where voltages change at random, -dv(t*) / (dv/dt)."""
    time = jax.jit(
        lambda v0, rate: crossing_times(
            v0 + rate * 0.1 * jnp.arange(50), 0.0, 0.0, 0.1, jnp.nan, axis=0, n=2
        )[0]
    )
    np.testing.assert_allclose(time(-31.0, 10.0), 3.1, rtol=1e-12)
    got = jax.jit(jax.grad(time, argnums=(0, 1)))(-31.0, 10.0)
    np.testing.assert_allclose(got, (-1 / 10, -3.1 / 10), rtol=1e-12)
    v = jnp.array(voltages((40, 2)))
    times = lambda v: crossing_times(v, 0.0, 5.0, 0.1, 0.0, axis=0, n=30)
    check_derivatives(times, (v,), order=2, rtol=1e-4, eps=1e-5)
    none = lambda v: jnp.nansum(crossing_times(v, 99.0, 0.0, 0.1, jnp.nan, axis=0, n=3))
    assert (jax.jit(jax.grad(none))(v) == 0).all()


@pytest.mark.parametrize("shape", [(0, 2), (1, 2), (2, 2)])
@pytest.mark.slow
def test_few_samples(shape):
    v = np.zeros(shape, np.float32)
    if shape[0]:
        assert np.isnan(crossing_times(v, 0.0, 0.0, 0.1, np.nan, axis=0, n=3)).all()
    assert (crossing_count(v, 0.0, axis=0) == 0).all()
    assert (expected_crossings(v, 0.0, 1.0, axis=0) == 0).all()


def test_expected_crossings_by_a_plain_loop(x64, check_derivatives):
    v = voltages()
    F = scipy.special.expit(4 * 0.03 * (v + 5))
    want = np.maximum(0, F[:, 1:] - F[:, :-1]).sum(1)
    np.testing.assert_allclose(expected_crossings(v, -5.0, 0.03, axis=1), want, rtol=1e-12)
    check_derivatives(lambda v: expected_crossings(v, -5.0, 0.03, axis=1), (v,), order=2, eps=1e-5)


def test_expected_crossings_tend_to_crossings_and_do_not_depend_on_the_interval(x64):
    v = voltages((500, 3))
    v = v[(np.abs(v) > 0.5).all(1)]
    count = crossing_count(v, 0.0, axis=0)
    errors = [np.abs(expected_crossings(v, 0.0, b, axis=0) - count).max() for b in (0.1, 1, 20)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9
    coarse, fine = (expected_crossings(bump(dt), 0.0, 0.05, axis=0) for dt in (0.1, 0.0125))
    assert float(coarse) == pytest.approx(float(fine), rel=1e-4)
