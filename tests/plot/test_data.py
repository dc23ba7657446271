"""What is drawn of long data, against a plain loop; groups and rows."""

from __future__ import annotations

import dask.array
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from jaxfne_xr.plot._beside import colours, edges, nice
from jaxfne_xr.plot._data import envelope
from jaxfne_xr.plot._rows import groups_of, rows


def by_hand(data, axis, step):
    """Return the least and the largest of every `step` samples that are not NaN, and the middles of their numbers."""
    data = np.moveaxis(np.asarray(data, float), axis, -1)
    starts = range(0, data.shape[-1], step)
    parts = [data[..., k : k + step] for k in starts]
    low, high = (
        np.stack([getattr(np, f)(p, axis=-1) for p in parts], axis=-1) for f in ("nanmin", "nanmax")
    )
    n = data.shape[-1]
    return low, high, [(k + min(k + step, n) - 1) / 2 for k in starts]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, bool, np.float16])
@pytest.mark.parametrize("n", [1000, 1003, 999])
def test_the_envelope_is_that_of_a_plain_loop(axis, dtype, n):
    shape = [3, 3, 3]
    shape[axis] = n
    data = (10 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    low, high, middle, samples = envelope(data, axis, 90, np.arange(n, dtype=float))
    assert samples == 12
    expected = by_hand(data, axis, 12)
    for got, want in zip((low, high, middle), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_nan_leaves_the_rest_of_its_stretch_and_inf_does_not():
    data = np.random.default_rng(0).normal(size=(1, 1, 1000))
    data[0, 0, 5], data[0, 0, 24:36], data[0, 0, 100], data[0, 0, -1] = (
        np.nan,
        np.nan,
        np.inf,
        np.nan,
    )
    low, high, *_ = envelope(data, 2, 90, np.arange(1000.0))
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        want_low, want_high, _ = by_hand(data, 2, 12)
    want_high[0, 0, 100 // 12] = np.nan
    np.testing.assert_array_equal(high, want_high)
    np.testing.assert_array_equal(low, want_low)


def test_few_samples_are_kept():
    data = np.random.default_rng(0).normal(size=(4, 179))
    low, high, middle, samples = envelope(data, 1, 90, np.arange(179.0))
    assert samples == 1
    np.testing.assert_array_equal(low, data)
    np.testing.assert_array_equal(high, data)
    np.testing.assert_array_equal(middle, np.arange(179))


def test_dask_goes_chunk_by_chunk_and_jax_as_numpy():
    data = np.random.default_rng(0).normal(size=(5, 1000)).astype(np.float32)
    lazy = dask.array.from_array(data, chunks=(2, 250))
    low, high, middle, samples = envelope(lazy, 1, 100, np.arange(1000.0))
    assert samples == 10
    want = envelope(data, 1, 100, np.arange(1000.0))
    for got, expected in zip((low, high, middle), want[:3], strict=True):
        np.testing.assert_array_equal(got, expected)
    odd = dask.array.from_array(data, chunks=(5, 333))
    low, high, middle, _ = envelope(odd, 1, 100, np.arange(1000.0))
    assert len(middle) == 34 * 3 + 1
    assert (low.min(), high.max()) == (data.min(), data.max())
    on_jax = envelope(jnp.asarray(data), 1, 100, np.arange(1000.0))
    np.testing.assert_array_equal(on_jax[0], want[0])


def test_rows_are_ordered_by_group_and_coordinate():
    coords = {"g": ("unit", ["b", "a", "b", "a"]), "z": ("unit", [1.0, 2.0, 3.0, 4.0])}
    ds = xr.Dataset(coords={"unit": [10, 11, 12, 13], **coords})
    groups = groups_of(ds, ["unit"], "g")
    assert groups.labels == ["b", "a"]
    made = rows(ds, ["unit"], groups, "z")
    assert made.labels == ["12", "10", "13", "11"]
    assert made.order.tolist() == [2, 0, 3, 1]
    assert made.group.tolist() == [0, 0, 1, 1]
    assert rows(ds.isel(unit=[1]), ["unit"], groups).group.tolist() == [1]
    assert groups_of(ds, ["unit"], "auto").by is None


def test_borders_nice_numbers_and_colours():
    np.testing.assert_allclose(edges(np.array([0.0, 1.0, 3.0])), [-0.5, 0.5, 2.0, 4.0])
    for value in np.logspace(-9, 9, 200):
        assert 0.4 < nice(value) / value <= 1 + 1e-9
    assert len(set(colours(6))) == 6
    assert len({tuple(c) for c in colours(30)}) == 30
