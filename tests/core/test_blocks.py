"""Sums and products of NumPy arrays in blocks: as NumPy's own in float64, whatever the memory looks like."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core import blocks as _blocks
from jaxfne_xr.core.blocks import owned, product, total


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_blocks, "PRODUCT_BYTES", 1)
    monkeypatch.setattr(_blocks, "PRODUCT_BLOCK_BYTES", 4 * 7 * 33)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("start", [0, 1])
def test_a_product_is_the_product(dtype, order, start):
    """On (time, trial, site), laid out in memory in any order, aligned or not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=[(101, 3, 7)[i] for i in order]).astype(dtype)
    memory = np.empty(x.size + 64, dtype)
    memory = memory[(-memory.ctypes.data % 64) // memory.itemsize + start :][: x.size]
    memory[:] = x.ravel()
    x = memory.reshape(x.shape).transpose(np.argsort(order))
    weights = rng.normal(size=(5, 7)).astype(dtype)
    made = product(x, weights)
    want = x.astype("f8") @ weights.astype("f8").T
    assert made.dtype == dtype
    assert isinstance(made, np.ndarray)
    tolerance = 1e-6 if dtype == "f4" else 1e-14
    assert np.abs(made - want).max() <= tolerance * np.abs(want).max()
    np.testing.assert_array_equal(made, product(x, weights))


@pytest.mark.parametrize("trials", [1, 3, 8, 40])
@pytest.mark.parametrize("sites", [16, 7])
def test_a_product_holds_no_more_than_a_block(monkeypatch, trials, sites):
    """However few trials there are, and with time put first, as it is before a product."""
    limit = 1 << 13
    monkeypatch.setattr(_blocks, "PRODUCT_BYTES", 1)
    monkeypatch.setattr(_blocks, "PRODUCT_BLOCK_BYTES", limit)
    sizes = []

    def watched(block, rows, of=_blocks._product):
        sizes.append(block.nbytes)
        return of(block, rows)

    monkeypatch.setattr(_blocks, "_product", watched)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(trials, 1001, sites)).astype("f4").transpose(1, 0, 2)
    weights = rng.normal(size=(5, sites)).astype("f4")
    want = x.astype("f8") @ weights.astype("f8").T
    assert np.abs(product(x, weights) - want).max() <= 1e-6 * np.abs(want).max()
    assert max(sizes) <= 2 * limit


@pytest.mark.usefixtures("small_blocks")
def test_a_product_of_sites_alone_is_the_product():
    assert product(np.ones(2000, "f4"), np.ones((3, 2000), "f4")).tolist() == [2000] * 3


@pytest.mark.usefixtures("small_blocks")
def test_where_an_array_starts_makes_no_difference():
    """A file gives back arrays that start elsewhere in memory, and the same bits have to come of them."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(1000, 33)).astype("f4"), rng.normal(size=(5, 33)).astype("f4")
    results = []
    for start in (0, 4, 16, 33):
        memory = np.empty(x.nbytes + 128, np.uint8)
        memory = memory[-memory.ctypes.data % 64 + start :][: x.nbytes]
        copy = memory.view(np.uint8)
        copy[:] = x.view(np.uint8).ravel()
        array = np.ndarray(x.shape, "f4", buffer=memory.data)
        results.append(product(array, weights).tobytes())
    assert len(set(results)) == 1


@pytest.mark.usefixtures("small_blocks")
def test_a_product_inside_a_jit_stays_numpy():
    x, weights = np.ones((50, 4), "f4"), np.ones((2, 4), "f4")

    @jax.jit
    def run(y):
        made = product(x, weights)
        assert isinstance(made, np.ndarray)
        return y + made.sum()

    assert run(jnp.zeros(())) == 400


@pytest.mark.parametrize("dtype", [bool, "i2", "f4", "f8"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("shape", [(70, 3, 21), (9, 1, 4100), (300, 2, 16)], ids=str)
def test_a_total_is_the_sum_in_double_precision(dtype, order, axes, shape):
    rng = np.random.default_rng(1)
    x = rng.normal(-65, 30, [shape[i] for i in order])
    x = (x > -60 if dtype is bool else x.astype(dtype)).transpose(np.argsort(order))
    for each in (x, x[::2], x[:, :, ::3], x[::-1]):
        want = each.sum(axis=axes, dtype="f8")
        made = total(each, axes)
        assert made.shape == want.shape
        tolerance = 2e-6 if dtype == "f4" else 1e-13
        scale = np.abs(each.astype("f8")).sum(axis=axes).max()
        assert np.abs(made - want).max() <= tolerance * scale


@pytest.mark.parametrize("shape", [(6, 40_000), (262, 1000), (1, 262_144)], ids=str)
def test_the_mean_of_a_resting_voltage_is_as_precise_as_its_numbers(shape):
    """Equal numbers are rounded alike, all in one direction."""
    x = np.full(shape, -65.1, "f4")
    for axes in ((1,), (0, 1)):
        count = x.size if len(axes) == 2 else shape[1]
        assert np.abs(total(x, axes) / (count * float(x[0, 0])) - 1).max() <= 2.5e-7


def test_an_empty_total_is_zero():
    assert total(np.empty((0, 3), "f4"), (0,)).tolist() == [0, 0, 0]
    assert total(np.empty((3, 0), bool), (1,)).tolist() == [0, 0, 0]


def test_what_traces_owns_is_aligned(monkeypatch):
    monkeypatch.setattr(_blocks, "PRODUCT_BYTES", 1)
    for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: x[::2], lambda x: x[::-1]):
        v = layout(np.random.default_rng(0).normal(size=(50, 7)).astype("f4"))
        copy = owned(v)
        np.testing.assert_array_equal(copy, v)
        assert not np.shares_memory(copy, v)
        assert copy.ctypes.data % 64 == 0
        assert np.argsort(copy.strides).tolist() == np.argsort(np.abs(v.strides)).tolist()
        made = jfx.traces(v, ("time", "unit"), dt_ms=0.1, quantify=False).v.values
        assert made.ctypes.data % 64 == 0
        np.testing.assert_array_equal(made, v)
