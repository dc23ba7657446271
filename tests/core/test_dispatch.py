"""`along`: one kernel, any axis, any kind of array; `blocks`: every sample once, in stretches of memory."""

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.core import arrays as _arrays
from jaxfne_xr.core.arrays import all_finite, blocks, precision_of, take
from jaxfne_xr.core.dispatch import along, checked, mean_over
from jaxfne_xr.core.units import is_quantity, magnitude

pytestmark = [pytest.mark.every_combination, pytest.mark.every_version]


def rise(v, scale, *, axis):
    """Look back two samples: the rise over them, scaled."""
    lead = (slice(None),) * axis
    return (v[(*lead, slice(2, None))] - v[(*lead, slice(None, -2))]) * scale


def risen(v, axis, scale=0.5, fill=-1):
    """Return the same by plain NumPy over the whole array."""
    v = np.moveaxis(v, axis, 0)
    out = np.full_like(v, fill)
    out[2:] = (v[2:] - v[:-2]) * v.dtype.type(scale)
    return np.moveaxis(out, 0, axis)


def run(variable, dim="time", **options):
    options = {"look_back": 2, "fill": -1, "dtype": variable.dtype} | options
    return along(rise, variable, dim, 0.5, **options)


def test_a_kernel_that_looks_back_two(backend, order, voltage):
    v = voltage.transpose(*order)
    variable = backend.by_hand(v.values, order).v.variable
    out = run(variable)
    assert out.dims == order
    assert out.dtype == np.float32
    assert out.attrs == {}
    assert isinstance(out._data, backend.kind)
    np.testing.assert_array_equal(np.asarray(out._data), risen(v.values, order.index("time")))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_samples_than_it_looks_back(backend, n):
    variable = backend.by_hand(np.arange(2.0 * n).reshape(n, 2), ("time", "unit")).v.variable
    np.testing.assert_array_equal(
        np.asarray(run(variable)._data), risen(np.arange(2.0 * n).reshape(n, 2), 0)
    )


def test_float64_stays_float64_on_jax_without_x64():
    assert not jax.config.jax_enable_x64
    v = np.linspace(0, 1, 5) + 1e-12
    with precision_of(v):
        variable = xr.Variable("time", jnp.array(v))
    out = run(variable)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, risen(v, 0))
    assert not jax.config.jax_enable_x64


def test_a_numpy_array_is_neither_changed_nor_aliased():
    v = np.arange(12.0).reshape(6, 2)
    out = run(xr.Variable(("time", "unit"), v))
    np.testing.assert_array_equal(v, np.arange(12.0).reshape(6, 2))
    assert not np.shares_memory(out._data, v)
    assert out._data.flags.writeable


def test_memory_order_follows_the_input():
    v = np.asfortranarray(np.zeros((6, 4)))
    assert run(xr.Variable(("time", "unit"), v))._data.flags.f_contiguous


@given(
    shape=st.tuples(*[st.integers(0, 6)] * 3),
    axis=st.integers(0, 2),
    memory=st.permutations([0, 1, 2]),
    block=st.integers(1, 400),
    flip=st.booleans(),
)
def test_any_block_any_memory_order_gives_the_same(shape, axis, memory, block, flip):
    v = (
        np.random.default_rng(0)
        .normal(size=[shape[m] for m in memory])
        .transpose(np.argsort(memory))
    )
    v = v[::-1] if flip else v
    dims = ["a", "b", "c"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arrays, "BLOCK_BYTES", block)
        out = run(xr.Variable(dims, v), dims[axis], finite="v")
    np.testing.assert_array_equal(out, risen(v, axis))


@given(data=st.data(), axis=st.integers(0, 1))
def test_any_chunks_give_the_same(data, axis):
    shape = (7, 5)
    v = np.random.default_rng(0).normal(size=shape)

    def cut(n):
        borders = data.draw(st.sets(st.integers(1, n - 1)))
        return tuple(np.diff([0, *sorted(borders), n]).tolist())

    lazy = dask.array.from_array(v, chunks=tuple(map(cut, shape)))
    out = run(xr.Variable(("a", "b"), lazy), "ab"[axis])
    assert out._data.dtype == v.dtype
    np.testing.assert_array_equal(out, risen(v, axis))


@given(shape=st.lists(st.integers(0, 7), min_size=1, max_size=3), block=st.integers(1, 300))
def test_blocks_are_the_whole_once(shape, block):
    v = np.zeros(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arrays, "BLOCK_BYTES", block)
        axis, slices = blocks(v)
    for where in slices:
        v[take(axis, where)] += 1
    assert (v == 1).all()


def test_a_block_is_one_stretch_of_memory(monkeypatch):
    monkeypatch.setattr(_arrays, "BLOCK_BYTES", 1000)
    for v in (
        np.zeros((50, 8)),
        np.zeros((8, 50)),
        np.zeros((50, 8)).T,
        np.asfortranarray(np.zeros((50, 8))),
    ):
        axis, slices = blocks(v)
        assert len(slices) > 1
        for where in slices:
            part = v[take(axis, where)]
            assert part.nbytes <= 1000
            assert part.flags.c_contiguous or part.flags.f_contiguous


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "g", "i4", "u1", "?"])
def test_all_finite(dtype):
    v = np.ones((4, 5), dtype)
    assert all_finite(v)
    if v.dtype.kind == "f":
        v[:] = np.finfo(v.dtype).max
        assert all_finite(v)
        for bad in (np.nan, np.inf, -np.inf):
            v[3, 4] = bad
            assert not all_finite(v)
            assert not all_finite(v[::-1, ::2])


def test_checked_gives_the_same_object_unless_it_is_lazy(backend, voltage):
    variable = backend.by_hand(voltage.values, voltage.dims).v.variable
    out = checked(variable, "v")
    lazy = backend.kind is dask.array.Array
    assert (out is variable) == (not lazy)
    assert is_quantity(out._data) == backend.quantified
    assert isinstance(magnitude(out._data), backend.kind)
    np.testing.assert_array_equal(np.asarray(magnitude(out._data)), voltage)
    assert out.attrs == variable.attrs


def test_one_compilation_serves_every_threshold_and_label():
    def kernel(v, threshold, *, axis):
        kernel.traced += 1
        return v >= threshold

    kernel.traced = 0
    for threshold in (0, 1.0, np.float64(2).item()):
        for dims in (("time", "unit"), ("time", "other")):
            v = xr.Variable(dims, jnp.zeros((5, 3)))
            along(kernel, v, "time", float(threshold), look_back=0, fill=False, dtype=bool)
    assert kernel.traced == 1


@pytest.mark.parametrize("of", ["value", "square"])
@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_a_mean_over_no_dim_is_the_value_itself(backend, of, shape):
    values = np.arange(float(np.prod(shape))).reshape(shape) - 3
    if backend.name.startswith("dask") and not shape:
        pytest.skip("dask chunks nothing of no dims")
    made = mean_over(xr.Variable(("a", "b")[: len(shape)], backend.array(values)), [], of)
    np.testing.assert_array_equal(made.data, values**2 if of == "square" else values)
