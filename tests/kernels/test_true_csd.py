"""Binning of segments against plain sums over samples, exact cases and laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.fields.true_csd import (
    binned_density,
    compact_binning,
    density_matrix,
    laminar_binning,
    piece_count,
    voxel_binning,
)

pytestmark = pytest.mark.usefixtures("x64")

EDGES = [
    np.array([-60.0, -20.0, 0.0, 50.0]),
    np.linspace(-40.0, 40.0, 5),
    np.array([-50.0, 10.0, 30.0]),
]


voxels = jax.jit(lambda start, end: voxel_binning(start, end, EDGES))
column = jax.jit(lambda start, end: laminar_binning(start, end, EDGES[2], 40.0))


def segments(n, seed=0, spread=60.0):
    rng = np.random.default_rng(seed)
    start, end = rng.uniform(-spread, spread, (2, n, 3))
    return jnp.asarray(start), jnp.asarray(end)


@jax.jit
def shares(binning):
    """Share of each segment in each bin, (bin, site)."""
    return density_matrix(binning) * binning.volume.ravel()[:, None] * 1e-6


def clipped_length(start, end, low, high):
    """Share of one segment inside one box: the slab method, one box at a time."""
    enter, leave = 0.0, 1.0
    for k in range(3):
        direction = end[k] - start[k]
        near, far = (low[k] - start[k]) / direction, (high[k] - start[k]) / direction
        enter, leave = max(enter, min(near, far)), min(leave, max(near, far))
    return max(leave - enter, 0.0)


def test_voxels_against_clipping_each_box():
    start, end = segments(30)
    expected = [
        [
            clipped_length(s, e, (x[0], y[0], z[0]), (x[1], y[1], z[1]))
            for s, e in zip(start.tolist(), end.tolist(), strict=True)
        ]
        for x in zip(EDGES[0][:-1], EDGES[0][1:], strict=True)
        for y in zip(EDGES[1][:-1], EDGES[1][1:], strict=True)
        for z in zip(EDGES[2][:-1], EDGES[2][1:], strict=True)
    ]
    binning = voxels(start, end)
    assert np.abs(shares(binning) - np.array(expected, float)).max() < 1e-13
    assert binning.volume.shape == (3, 4, 2)
    np.testing.assert_allclose(binning.volume[0, 1, 1], 40 * 20 * 20)


@pytest.mark.slow
@pytest.mark.parametrize("depth_axis", [0, 1, 2])
def test_cylinder_against_many_points(depth_axis):
    start, end = segments(50, seed=1)
    edges, radius, centre = jnp.array([-50.0, -10.0, 20.0]), 35.0, jnp.array([5.0, -8.0])
    binning = laminar_binning(start, end, edges, radius, centre, depth_axis=depth_axis)
    n = 200_000
    at = (np.arange(n) + 0.5) / n
    lateral = [k for k in range(3) if k != depth_axis]
    for site in range(50):
        x = np.asarray(start[site]) + at[:, None] * np.asarray(end[site] - start[site])
        within = np.hypot(*(x[:, lateral] - np.asarray(centre)).T) <= radius
        counted = np.histogram(x[within, depth_axis], edges)[0] / n
        assert np.abs(shares(binning)[:, site] - counted).max() < 4 / n
    np.testing.assert_allclose(binning.volume, np.diff(edges) * np.pi * radius**2)


@pytest.mark.slow
def test_density_of_one_nanoampere_in_a_cubic_millimetre():
    mm = jnp.array([0.0, 1000.0])
    middle = jnp.full((1, 3), 500.0)
    binning = voxel_binning(middle, middle, [mm, mm, mm])
    np.testing.assert_allclose(density_matrix(binning), 1e-3, rtol=1e-14)  # uA/mm^3


def test_a_spanning_segment_fills_its_bins_by_length():
    binning = laminar_binning(
        jnp.array([[0.0, 0.0, -50.0]]),
        jnp.array([[0.0, 0.0, 350.0]]),
        jnp.array([0.0, 100.0, 150.0, 300.0]),
        10.0,
    )
    np.testing.assert_allclose(shares(binning)[:, 0], [0.25, 0.125, 0.375], rtol=1e-14)
    np.testing.assert_allclose(binning.outside, 0.25, rtol=1e-14)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((0.0, 0.0, 10.0), (0.0, 0.0, 10.0)),  # a point on three borders
        ((-10.0, -10.0, 10.0), (20.0, 30.0, 10.0)),  # in a border
        ((0.0, -10.0, 10.0), (0.0, 30.0, 10.0)),  # along the line where two meet
        ((-20.0, -20.0, -20.0), (0.0, 0.0, 0.0)),  # corner to corner
        ((50.0, 40.0, 30.0), (50.0, 40.0, 30.0)),  # a point on the last corner
        ((50.0, -40.0, -50.0), (50.0, 40.0, 30.0)),  # in the last border
    ],
)
@pytest.mark.slow
def test_segments_in_borders_count_once(start, end):
    start, end = jnp.array([start]), jnp.array([end])
    for a, b in ((start, end), (end, start)):
        binning = voxels(a, b)
        np.testing.assert_allclose(shares(binning).sum(), 1, rtol=1e-14)
        assert float(binning.outside[0]) == 0
    binning = laminar_binning(start, end, EDGES[2], 70.0)
    np.testing.assert_allclose(shares(binning).sum(), 1, rtol=1e-14)


@pytest.mark.slow
def test_a_border_belongs_to_the_bin_above_it():
    at = jnp.array([[0.0, 0.0, z] for z in (-50.0, 10.0, 30.0, 30.1)])
    binning = laminar_binning(at, at, EDGES[2], 1.0)
    np.testing.assert_array_equal(shares(binning) > 0.5, [[1, 0, 0, 0], [0, 1, 1, 0]])
    np.testing.assert_array_equal(binning.outside, [0, 0, 0, 1])


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1e-6, 30.0, 100.0, 1e4]))
@pytest.mark.slow
def test_current_is_conserved_and_direction_does_not_matter(seed, spread):
    with jax.enable_x64(True):
        start, end = segments(20, seed, spread)
        for cut in (voxels, column):
            binning, back = cut(start, end), cut(end, start)
            total = shares(binning).sum(0) + binning.outside
            assert jnp.abs(total - 1).max() < 1e-14 * 20
            assert (binning.fraction >= 0).all()
            assert jnp.abs(shares(binning) - shares(back)).max() < 1e-12


def test_splitting_a_segment_changes_nothing():
    start, end = segments(20, seed=3)
    middle = start + 0.3 * (end - start)
    whole = shares(voxels(start, end))
    first = shares(voxels(start, middle))
    second = shares(voxels(middle, end))
    assert jnp.abs(0.3 * first + 0.7 * second - whole).max() < 1e-13


@pytest.mark.slow
def test_compact_and_unstored_matrix_give_the_dense_product():
    start, end = segments(40, seed=4)
    binning = voxels(start, end)
    current = jnp.asarray(np.random.default_rng(5).normal(size=(40, 6, 2)))
    expected = jnp.einsum("bs,s...->b...", density_matrix(binning), current)
    compact = compact_binning(binning, pieces=int(piece_count(binning)))
    assert compact.bin.shape[1] < binning.bin.shape[1]
    for some in (binning, compact):
        density = binned_density(some, current)
        assert density.shape == (3, 4, 2, 6, 2)
        difference = density.reshape(24, 6, 2) - expected
        assert jnp.abs(difference).max() < 1e-13 * jnp.abs(expected).max()


@pytest.mark.slow
def test_gradients(check_derivatives):
    start, end = segments(6, seed=6)
    current = jnp.linspace(-1.0, 2.0, 6)
    weights = jnp.asarray(np.random.default_rng(7).normal(size=(3, 4, 2)))

    def in_voxels(start, end, current):
        return jnp.sum(weights * binned_density(voxels(start, end), current))

    def in_column(start, end, radius, centre):
        binning = laminar_binning(start, end, EDGES[2], radius, centre)
        return jnp.sum(weights[0, :2, 0] @ density_matrix(binning))

    check_derivatives(in_voxels, (start, end, current), eps=1e-6)
    check_derivatives(in_column, (start, end, 35.0, np.zeros(2)), eps=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gradients_are_finite_for_points_and_for_segments_along_borders(dtype):
    start = jnp.array([[0, 0, 10], [0, 0, -20], [1e-25, 0, 5], [35, 0, 0]], dtype=dtype)
    end = jnp.array([[0, 0, 10], [0, 0, 40], [-1e-25, 1e-25, 60], [35, 9, 0]], dtype=dtype)
    edges = [jnp.asarray(e, dtype=dtype) for e in EDGES]

    def total(start, end):
        boxes = binned_density(voxel_binning(start, end, edges), jnp.ones(4, dtype=dtype))
        column = laminar_binning(start, end, edges[2], dtype(35.0))
        discs = density_matrix(column)
        assert boxes.dtype == discs.dtype == dtype
        return jnp.sum(boxes**2) + jnp.sum(discs**2) + jnp.sum(column.outside**2)

    value, gradient = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(start, end)
    assert jnp.isfinite(value)
    assert jnp.isfinite(jnp.stack(gradient)).all()


@pytest.mark.slow
def test_no_segments():
    none = jnp.zeros((0, 3))
    binning = voxel_binning(none, none, EDGES)
    assert density_matrix(binning).shape == (24, 0)
    assert int(piece_count(binning)) == 0
    assert not binned_density(binning, jnp.zeros((0, 5))).any()


def test_vmap_over_positions():
    start, end = segments(8, seed=8)
    shifts = jnp.array([0.0, 7.0])[:, None, None]
    together = jax.vmap(lambda s, e: shares(voxels(s, e)))(start + shifts, end + shifts)
    apart = shares(voxels(start + 7, end + 7))
    assert jnp.abs(together[1] - apart).max() < 1e-14


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:All compartments should be shorter")
def test_lfpykit_where_no_segment_spans_a_bin(agreement):
    import lfpykit

    rng = np.random.default_rng(9)
    start = rng.uniform(-60, 60, (40, 3))
    end = start + rng.uniform(-9, 9, (40, 3))
    edges = np.arange(-80.0, 81.0, 20.0)
    cell = lfpykit.CellGeometry(
        x=np.c_[start[:, 0], end[:, 0]],
        y=np.c_[start[:, 1], end[:, 1]],
        z=np.c_[start[:, 2], end[:, 2]],
        d=np.ones(40),
    )
    bins = np.c_[edges[:-1], edges[1:]]
    reference = lfpykit.LaminarCurrentSourceDensity(cell, bins, np.full(8, 50.0))
    expected = reference.get_transformation_matrix() * 1e6  # nA/um^3 to uA/mm^3
    binning = laminar_binning(jnp.asarray(start), jnp.asarray(end), jnp.asarray(edges), 50.0)
    ours = np.asarray(density_matrix(binning))
    within = np.hypot(*np.maximum(abs(start), abs(end))[:, :2].T) < 50  # wholly in the cylinder
    assert within.sum() > 10
    agreement(
        "laminar ground truth, no segment beyond a bin",
        "LFPykit",
        np.where(within, ours, expected),
        expected,
        1e-12,
    )
