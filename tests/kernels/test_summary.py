"""Summaries against plain loops over pairs and groups, elephant, and laws."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.test_util import check_grads

from jaxfne_xr.kernels.analysis import summary
from jaxfne_xr.kernels.mean import mean_over

AXES = ("axis", "site_axis")
pairwise_correlation = jax.jit(summary.pairwise_correlation, static_argnames=(*AXES, "n_groups"))
correlation_matrix = jax.jit(summary.correlation_matrix, static_argnames=AXES)
synchrony = jax.jit(summary.synchrony, static_argnames=(*AXES, "n_groups"))
pytestmark = pytest.mark.usefixtures("x64")


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert (np.isnan(a) == np.isnan(b)).all()
    assert np.nanmax(np.abs(a - b), initial=0) <= tol * np.nanmax(np.abs(b), initial=0)


def counts(sites=12, bins=50, seed=0):
    """Poisson counts with a shared part, and one silent and one constant site."""
    rng = np.random.default_rng(seed)
    c = rng.poisson(2, (sites, bins)) + rng.poisson(1, bins)
    c[3], c[7] = 0, 2
    return c


GROUP = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1, 2, 2, 1])


# ------------------------------------------------------------------------------------------ counts


@pytest.mark.parametrize("samples", [1, 7, 255, 256, 400])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_spike_counts_are_sums_over_bins(samples, axis):
    s = np.random.default_rng(0).random((1000, 3)) < 0.6
    s = s if axis == 0 else s.T
    whole = 1000 // samples
    t = s if axis == 0 else s.T
    want = [t[k * samples : (k + 1) * samples].sum(0) for k in range(whole)]
    want = np.array(want) if axis == 0 else np.array(want).T
    got = summary.spike_counts(s, samples=samples, axis=axis)
    assert got.dtype == int
    close(got, want)
    got = summary.spike_counts(s * 0.5, samples=samples, axis=axis)
    assert got.dtype == float
    close(got, want * 0.5)


def test_a_full_bin_counts_255():
    assert summary.spike_counts(np.ones(510, bool), samples=255, axis=0).tolist() == [255, 255]


def test_an_empty_bin_is_refused():
    with pytest.raises(ValueError, match="samples=1 or more"):
        summary.spike_counts(np.ones(5, bool), samples=0, axis=0)


@pytest.mark.parametrize("n", [1, 100, 255, 1000, 2601])
def test_firing_rate_is_the_count_over_the_duration(n):
    s = np.random.default_rng(n).random((2, n, 3)) < 0.4
    want = s.sum(1) / (n * 0.025e-3)
    close(summary.firing_rate(s, 0.025, axis=1), want)
    close(summary.firing_rate(s * 1.0, 0.025, axis=-2), want)


def test_the_rate_of_nothing_is_not_defined():
    assert np.isnan(summary.firing_rate(np.zeros((0, 2), bool), 0.1, axis=0)).all()


def test_means():
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    close(mean_over(x, axes=(0, 2)), x.mean((0, 2)))
    close(mean_over(x, axes=(0, 1, 2), of="abs"), np.abs(x).mean())
    close(mean_over(x, axes=(1,), of="square"), (x**2).mean(1))
    close(mean_over(x > 0, axes=(0,)), (x > 0).mean(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [-65.1, 0.3, 1e-20, 0.0])
def test_a_constant_centred_is_exactly_zero(dtype, value):
    x = np.full((4001, 2), value, dtype)
    assert (summary.centred(x, axis=0) == 0).all()


def test_centred_is_the_distance_from_the_mean():
    x = np.random.default_rng(0).normal(size=(3, 40)) - 65
    close(summary.centred(x, axis=1), x - x.mean(1, keepdims=True))
    check_grads(jax.jit(lambda x: summary.centred(x, axis=1) ** 3), (x,), 1)


# ------------------------------------------------------------------------------------------ groups


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_group_mean(axis):
    x = np.moveaxis(np.random.default_rng(0).normal(size=(12, 9)), 0, axis)
    want = [np.take(x, np.flatnonzero(g == GROUP), axis).mean(axis) for g in range(3)]
    want = np.stack([*want, np.full_like(want[0], np.nan)], axis)
    close(summary.group_mean(x, GROUP, n_groups=4, axis=axis), want)


# ------------------------------------------------------------------------------------- correlation


def loop_over_pairs(c, group, n_groups):
    varies = c.std(1) > 0
    mean = np.full((n_groups, n_groups), np.nan)
    pairs = np.zeros((n_groups, n_groups))
    for g in range(n_groups):
        for h in range(n_groups):
            r = [
                np.corrcoef(c[i], c[j])[0, 1]
                for i in range(len(c))
                for j in range(len(c))
                if group[i] == g and group[j] == h and (i < j or g != h) and varies[i] and varies[j]
            ]
            pairs[g, h] = len(r)
            if r:
                mean[g, h] = np.mean(r)
    return mean, pairs


@pytest.mark.parametrize("order", ["site first", "time first"])
def test_pairwise_correlation_is_the_mean_over_pairs(order):
    c = counts()
    mean, pairs = loop_over_pairs(c, GROUP, 4)
    data, axis = (c, 1) if order == "site first" else (c.T, 0)
    got = pairwise_correlation(data, GROUP, n_groups=4, axis=axis, site_axis=1 - axis)
    close(got.mean, mean)
    close(got.pairs, pairs)
    assert got.silent.tolist() == [1, 1, 0, 0]


def test_correlation_matrix_is_numpys_where_it_is_defined():
    c = counts()
    with np.errstate(invalid="ignore"):
        want = np.corrcoef(c)
    close(correlation_matrix(c, axis=1, site_axis=0), want)
    close(correlation_matrix(np.stack([c, c]), axis=2, site_axis=1), np.stack([want] * 2))


def test_correlation_of_group_rates():
    c = counts()
    rates = summary.group_mean(c, GROUP, n_groups=3, axis=0)
    want = np.corrcoef([c[g == GROUP].mean(0) for g in range(3)])
    close(correlation_matrix(rates, axis=1, site_axis=0), want)


def test_float32_keeps_a_weak_correlation_of_many_units():
    rng = np.random.default_rng(0)
    c = rng.poisson(3, (600, 200)) + (rng.random(200) < 0.05)
    group = np.arange(600) % 2
    one, two = (
        pairwise_correlation(x, group, n_groups=2, axis=1, site_axis=0).mean
        for x in (c.astype(np.float32), c.astype(float))
    )
    assert one.dtype == np.float32
    close(one, two, 1e-4)


def test_between_within_ratio():
    mean, pairs = loop_over_pairs(counts(), GROUP, 4)
    within = np.nansum(np.diag(mean) * np.diag(pairs)) / np.trace(pairs)
    upper = np.triu_indices(4, 1)
    between = np.nansum(mean[upper] * pairs[upper]) / pairs[upper].sum()
    close(summary.between_within_ratio(mean, pairs), between / within)


@pytest.mark.parametrize("missing", ["within", "between", "zero"])
def test_ratio_that_is_not_defined(missing):
    mean, pairs = np.full((2, 2), 0.5), np.ones((2, 2))
    if missing == "zero":
        mean = np.where(np.eye(2), 0, mean)
    else:
        gone = np.eye(2) == (missing == "within")
        mean, pairs = np.where(gone, np.nan, mean), np.where(gone, 0, pairs)
    assert np.isnan(summary.between_within_ratio(mean, pairs))
    slope = jax.grad(lambda m: jnp.nansum(summary.between_within_ratio(m, pairs)))(mean)
    assert np.isfinite(slope).all()


@pytest.mark.slow
def test_gradients_are_finite_with_silent_units():
    c = jnp.asarray(counts(bins=8), float)

    def ratio(c):
        r = pairwise_correlation(c, GROUP, n_groups=4, axis=1, site_axis=0)
        return summary.between_within_ratio(r.mean, r.pairs)

    gradient = jax.jit(jax.grad(ratio))(c)
    assert np.isfinite(gradient).all()
    assert (gradient[3] == 0).all()
    active = jnp.delete(c, jnp.array([3, 7]), 0)
    group = np.delete(GROUP, [3, 7])
    f = lambda c: pairwise_correlation(c, group, n_groups=3, axis=1, site_axis=0).mean
    check_grads(jax.jit(f), (active,), 1)
    f = lambda c: jnp.nansum(correlation_matrix(c, axis=1, site_axis=0) ** 2)
    assert np.isfinite(jax.jit(jax.grad(f))(c)).all()


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-100, 100))
def test_correlation_is_blind_to_scale_offset_and_order(seed, scale, offset):
    c = counts(seed=seed)
    order = np.random.default_rng(seed).permutation(12)
    k = {"n_groups": 3, "axis": 1, "site_axis": 0}
    one = pairwise_correlation(c, GROUP, **k)
    two = pairwise_correlation(scale * c[order] + offset, GROUP[order], **k)
    close(two.mean, one.mean, 1e-9)
    close(two.pairs, one.pairs)


@pytest.mark.oracle
def test_correlation_is_elephants():
    import neo
    import quantities as pq
    from elephant.conversion import BinnedSpikeTrain
    from elephant.spike_train_correlation import correlation_coefficient

    s = np.random.default_rng(0).random((5, 4000)) < 0.01
    trains = [neo.SpikeTrain(np.flatnonzero(row) + 0.5, units=pq.ms, t_stop=4000) for row in s]
    binned = BinnedSpikeTrain(trains, bin_size=20 * pq.ms, t_start=0 * pq.ms, t_stop=4000 * pq.ms)
    ours = summary.spike_counts(s, samples=20, axis=1)
    close(ours, binned.to_array())
    close(correlation_matrix(ours, axis=1, site_axis=0), correlation_coefficient(binned))


# --------------------------------------------------------------------------------------- synchrony


def chi_of(v):
    return np.sqrt(v.mean(0).var() / v.var(1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1), (1, 2, 0)])
def test_synchrony_is_its_definition_on_any_axes(axes):
    v = np.random.default_rng(0).normal(size=(2, 12, 100)) - 65  # trial, site, time
    want = [[chi_of(trial[g == GROUP]) for g in range(3)] + [np.nan] for trial in v]
    moved = np.transpose(v, axes)
    got = synchrony(moved, GROUP, n_groups=4, axis=axes.index(2), site_axis=axes.index(1) - 3)
    close(got, want)


def test_synchrony_has_its_limits():
    rng = np.random.default_rng(0)
    one = np.zeros(400, int)
    k = {"n_groups": 1, "axis": 1, "site_axis": 0}
    same = np.tile(rng.normal(size=1000), (400, 1))
    close(synchrony(same, one, **k), [1.0])
    independent = rng.normal(size=(400, 4000))
    close(synchrony(independent, one, **k), [1 / 20], 0.05)
    cancelling = np.array([[1.0, -1, 1, -1], [-1, 1, -1, 1]])
    assert synchrony(cancelling, one[:2], **k).tolist() == [0]
    constant = np.full((400, 50), -65.1, np.float32)
    assert np.isnan(synchrony(constant, one, **k)).all()


@pytest.mark.slow
def test_synchrony_gradient():
    k = {"n_groups": 2, "axis": 1, "site_axis": 0}
    group = np.array([0, 0, 1, 1])
    v = np.random.default_rng(0).normal(size=(4, 6))
    check_grads(jax.jit(lambda v: synchrony(v, group, **k)), (v,), 1)
    v[1], v[2:] = -v[0], -65
    gradient = jax.grad(lambda v: jnp.nansum(synchrony(v, group, **k)))(v)
    assert np.isfinite(gradient).all()


def test_transformations_and_empty_axes():
    c = np.stack([counts(seed=0), counts(seed=1)])
    f = lambda c: pairwise_correlation(c, GROUP, n_groups=3, axis=1, site_axis=0)
    for one, two in zip(jax.jit(jax.vmap(f))(c), (f(c[0]), f(c[1])), strict=False):
        assert one.shape[0] == len(two) or len(two) == 3
    close(jax.jit(jax.vmap(f))(c).mean, np.stack([f(c[0]).mean, f(c[1]).mean]))
    none = pairwise_correlation(np.zeros((0, 9)), np.zeros(0, int), n_groups=2, axis=1, site_axis=0)
    assert np.isnan(none.mean).all()
    assert (none.pairs == 0).all()
    assert np.isnan(
        synchrony(np.zeros((3, 0)), np.zeros(3, int), n_groups=1, axis=1, site_axis=0)
    ).all()
