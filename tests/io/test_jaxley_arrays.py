"""What `from_jaxley` takes for an array of recordings, and what it refuses."""

import importlib.metadata
import sys
from functools import cache

import dask.array
import jax
import jax.numpy as jnp
import jaxley as jx
import numpy as np
import pytest
import xarray as xr
from jaxley.channels import HH, Leak

import jaxfne_xr as jfx

DT = 0.025


@cache
def small_cell() -> jx.Cell:
    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1])
    cell.record(verbose=False)
    return cell


def small():
    return small_cell(), np.array([[-65.0, -60.0, -55.0], [-65.0, -64.0, -63.0]], np.float32)


def test_a_numpy_array_is_not_shared():
    cell, recordings = small()
    ds = jfx.from_jaxley(cell, recordings, delta_t=DT)
    before = ds.copy(deep=True)
    recordings[:] = 0.0
    assert ds.identical(before)
    assert ds.v.dtype == np.float32


def test_jax_stays_jax_unless_quantified():
    cell, recordings = small()
    plain = jfx.from_jaxley(cell, jnp.asarray(recordings), delta_t=DT, quantify=False)
    assert isinstance(plain.v.data, jax.Array)
    assert plain.v.attrs["units"] == "mV"
    quantified = jfx.from_jaxley(cell, jnp.asarray(recordings), delta_t=DT)
    assert str(quantified.v.pint.units) == "millivolt"
    assert quantified.identical(jfx.from_jaxley(cell, recordings, delta_t=DT))


def test_dask_stays_lazy():
    cell, recordings = small()
    ds = jfx.from_jaxley(cell, dask.array.from_array(recordings, chunks=(1, 2)), delta_t=DT)
    assert ds.v.chunks is not None
    assert ds.compute().identical(jfx.from_jaxley(cell, recordings, delta_t=DT, quantify=False))


def test_axes_go_by_name():
    cell, recordings = small()
    trials = np.stack([recordings, recordings + 1, recordings + 2])
    ds = jfx.from_jaxley(cell, trials, delta_t=DT, dims=("trial", "recording", "time"))
    assert ds.v.dims == ("trial", "recording", "time")
    assert ds.isel(trial=0, drop=True).identical(
        jfx.from_jaxley(cell, recordings, delta_t=DT).assign_attrs(ds.attrs)
    )
    turned = jfx.from_jaxley(
        cell, trials.transpose(2, 0, 1), delta_t=DT, dims=("time", "trial", "recording")
    )
    assert turned.v.transpose(*ds.v.dims).identical(ds.v)


@pytest.mark.slow
def test_gradients_of_a_simulation_pass_through():
    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1])
    cell.insert(Leak())
    cell.record(verbose=False)
    cell.record("i_Leak", verbose=False)
    cell.make_trainable("Leak_gLeak", verbose=False)

    def end(params):
        recordings = jx.integrate(cell, params=params, t_max=1.0)
        ds = jfx.from_jaxley(cell, recordings, delta_t=DT)
        assert isinstance(ds.v.data, jax.core.Tracer)
        assert ds.v.attrs["units"] == "mV"
        return ds.v.isel(time=-1).data.sum() + ds.i_Leak.isel(time=-1).data.sum()

    def bare(params):
        return jx.integrate(cell, params=params, t_max=1.0)[:, -1].sum()

    cell.set("v", -60.0)
    params = cell.get_parameters()
    (ours,), (expected,) = jax.jit(jax.grad(end))(params), jax.jit(jax.grad(bare))(params)
    np.testing.assert_allclose(ours["Leak_gLeak"], expected["Leak_gLeak"], rtol=1e-6)
    assert np.abs(expected["Leak_gLeak"]).max() > 0


@pytest.mark.slow
def test_vmap_outside_gives_one_more_dim():
    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1])
    cell.insert(Leak())
    cell.record(verbose=False)

    def simulate(conductance):
        state = cell.data_set("Leak_gLeak", conductance, None)
        return jx.integrate(cell, param_state=state, t_max=0.5)

    recordings = jax.vmap(simulate)(jnp.array([1e-4, 2e-4, 3e-4]))
    ds = jfx.from_jaxley(cell, recordings, delta_t=DT, dims=("trial", "recording", "time"))
    assert dict(ds.v.sizes) == {"trial": 3, "recording": 2, "time": recordings.shape[2]}


# --------------------------------------------------------------------------------------------- bad input


def test_the_wrong_number_of_rows():
    cell, recordings = small()
    with pytest.raises(jfx.DimensionError, match=r"found 1 rows on axis 0; expected 2, .*2 of v"):
        jfx.from_jaxley(cell, recordings[:1], delta_t=DT)


@pytest.mark.parametrize("dims", [("recording",), ("recording", "recording"), ("unit", "time")])
def test_dims_that_do_not_fit(dims):
    with pytest.raises(jfx.DimensionError, match='"recording" and "time" among them'):
        jfx.from_jaxley(*small(), delta_t=DT, dims=dims)


def test_a_vmapped_array_without_dims_names_the_remedy():
    cell, recordings = small()
    with pytest.raises(jfx.DimensionError, match='dims=\\("trial", "recording", "time"\\)'):
        jfx.from_jaxley(cell, recordings[None], delta_t=DT)


def test_no_recordings():
    with pytest.raises(jfx.ArgumentError, match=r"no recordings(?s:.*)module\.record\(\)"):
        jfx.from_jaxley(jx.Cell(), np.zeros((0, 3)), delta_t=DT)


def test_no_samples():
    cell, recordings = small()
    with pytest.raises(jfx.TimeAxisError, match="no samples"):
        jfx.from_jaxley(cell, recordings[:, :0], delta_t=DT)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("quantify", [True, False])
def test_a_voltage_that_blew_up(bad, as_array, quantify):
    cell, recordings = small()
    recordings[1, 2] = bad
    with pytest.raises(jfx.NonFiniteError, match=r"1 of 6 values .* recording=1, time=2"):
        jfx.from_jaxley(cell, as_array(recordings), delta_t=DT, quantify=quantify)


def test_a_gate_where_there_is_no_channel_may_be_nan():
    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1])
    cell.comp(0).insert(HH())
    cell.record("HH_m", verbose=False)
    recordings = np.zeros((2, 3))
    recordings[1] = np.nan  # as Jaxley records it
    assert np.isnan(jfx.from_jaxley(cell, recordings, delta_t=DT).HH_m[1].pint.magnitude).all()


@pytest.mark.parametrize("delta_t", ["25 us", "0.025 ms", np.float32(0.025)])
def test_delta_t_takes_a_unit(delta_t):
    ds = jfx.from_jaxley(*small(), delta_t=delta_t)
    np.testing.assert_allclose(ds.time, [0.0, 0.025, 0.05], rtol=1e-7)


@pytest.mark.parametrize(("delta_t", "error"), [
    (0.0, jfx.TimeAxisError), (-1.0, jfx.TimeAxisError), (np.nan, jfx.TimeAxisError),
    ("1 mV", jfx.UnitError), (None, jfx.UnitError),
])  # fmt: skip
def test_a_time_step_that_is_none(delta_t, error):
    with pytest.raises(error):
        jfx.from_jaxley(*small(), delta_t=delta_t)


@pytest.mark.parametrize("dtype", [complex, str, object])
def test_values_that_are_not_real_numbers(dtype):
    cell, recordings = small()
    with pytest.raises(jfx.DataError, match="numbers"):
        jfx.from_jaxley(cell, recordings.astype(dtype), delta_t=DT)


def test_other_than_the_array_itself():
    cell, recordings = small()
    with pytest.raises(jfx.DataError, match="return_states=True"):
        jfx.from_jaxley(cell, (recordings, {}), delta_t=DT)
    with pytest.raises(jfx.DataError, match="DataArray"):
        jfx.from_jaxley(cell, xr.DataArray(recordings), delta_t=DT)


@pytest.mark.parametrize("module", [None, np.zeros((2, 3)), "cell"])
def test_not_a_module(module):
    with pytest.raises(jfx.ArgumentError, match=r"module: found .*jx\.integrate"):
        jfx.from_jaxley(module, np.zeros((2, 3)), delta_t=DT)


def test_a_view_of_a_module():
    """A view drops rows of its recordings by the wrong numbering, and Jaxley does not integrate one."""
    cell, recordings = small()
    with pytest.raises(jfx.ArgumentError, match=r"View(?s:.*)query"):
        jfx.from_jaxley(cell.branch(0), recordings, delta_t=DT)


def test_traced_data_cannot_be_quantified():
    cell, recordings = small()
    with pytest.raises(jfx.DataError, match="quantify=False"):
        jax.jit(lambda r: jfx.from_jaxley(cell, r, delta_t=DT, quantify=True).v.data)(recordings)


def test_without_jaxley(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxley.modules.base", None)
    with pytest.raises(jfx.MissingDependencyError, match=r'pip install "jaxfne-xr\[jaxley\]"'):
        jfx.from_jaxley(object(), np.zeros((1, 2)), delta_t=DT)


def test_an_older_jaxley(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.9.1")
    with pytest.raises(jfx.MissingDependencyError, match=r"version 0\.9\.1; expected 0\.14"):
        jfx.from_jaxley(*small(), delta_t=DT)
