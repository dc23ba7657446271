"""``xr.open_dataset(path, engine="jfne")``: what `open` returns, through xarray's own functions."""

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import dask.array
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from packaging.version import Version

import jaxfne_xr as jfx
from jaxfne_xr_backend import JfneBackendEntrypoint

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")

pytestmark = pytest.mark.every_version

ENGINE = {"engine": JfneBackendEntrypoint}
V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])


def some(**changed):
    coords = {"label": ("unit", np.array(["a", "bc"])), "z": ("unit", [0.0, 50.0])}
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, coords=coords, **changed)


def test_the_entry_point_is_this_class():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    entry = project["entry-points"]["xarray.backends"]["jfne"]
    assert EntryPoint("jfne", entry, "xarray.backends").load() is JfneBackendEntrypoint


def test_every_stage_is_what_open_returns(tmp_path, stages):
    for name, ds in stages.items():
        path = ds.jfne.to_netcdf(tmp_path / f"{name}.nc")
        made = xr.load_dataset(path, **ENGINE)
        with jfx.open(path, chunks={}) as lazy:
            xr.testing.assert_identical(made, lazy.compute())
        xr.testing.assert_identical(made.jfne.quantify(), jfx.open(path))
        assert made.jfne.scope == ds.jfne.scope


def test_units_in_attrs_come_back_identical(tmp_path):
    ds = some(quantify=False).assign_attrs(ok=True, pair=(1, 2))
    jax = jfx.traces(jnp.array(V), ("unit", "time"), dt_ms=0.1, quantify=False)
    for k, data in enumerate((ds, jax)):
        path = data.jfne.to_netcdf(tmp_path / f"{k}.nc")
        xr.testing.assert_identical(xr.load_dataset(path, **ENGINE), jfx.open(path))


@pytest.mark.skipif(OLD_XARRAY, reason="xarray reads what it opens")
def test_nothing_is_read_before_it_is_used(tmp_path, monkeypatch):
    path = some().jfne.to_signals().jfne.to_netcdf(tmp_path / "a.nc")
    read, names = xr.backends.netCDF4_.NetCDF4ArrayWrapper._getitem, []

    def noted(self, key):
        names.append(self.variable_name)
        return read(self, key)

    monkeypatch.setattr(xr.backends.netCDF4_.NetCDF4ArrayWrapper, "_getitem", noted)
    with xr.open_dataset(path, **ENGINE) as ds:
        assert set(names) <= {"time", "unit", "label"}  # labels only
        assert not any(ds.variables[n]._in_memory for n in ("V_m", "spikes", "z"))
        np.testing.assert_array_equal(ds.V_m[:, 2:4], V[:, 2:4])
        assert ds.jfne.spike_rate_hz().spike_rate_hz.size


@pytest.mark.parametrize("chunks", [{}, {"time": 2}, "auto"])
def test_chunks(tmp_path, chunks):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    with jfx.open(path, chunks=chunks) as expected:
        sizes, values = expected.chunks, expected.compute()
    with xr.open_dataset(path, chunks=chunks, **ENGINE) as ds:
        assert isinstance(ds.v.data, dask.array.Array)
        assert ds.chunks == sizes
        xr.testing.assert_identical(ds.compute(), values)


def test_several_files_at_once(tmp_path):
    paths = [some().jfne.to_signals().jfne.to_netcdf(tmp_path / f"{k}.nc") for k in range(2)]
    with xr.open_mfdataset(paths, combine="nested", concat_dim="trial", **ENGINE) as ds:
        assert ds.V_m.dims == ("trial", "unit", "time")
        assert ds.V_m.attrs["units"] == "mV"
        assert ds.jfne.validate()
        np.testing.assert_array_equal(ds.V_m, np.stack([V, V]))


def test_the_chunks_of_the_file_are_known(tmp_path):
    chosen = {"v": {"chunksizes": (1, 2)}}
    path = jfx.to_netcdf(some(), tmp_path / "a.nc", encoding=chosen)
    with xr.open_dataset(path, chunks={}, **ENGINE) as ds:
        assert ds.v.chunks == ((1, 1), (2, 2, 1))


@pytest.fixture
def bundle(tmp_path):
    cfg = jfx.configuration().network(n=2).emitter(mode="external_voltage").field(domain="point")
    model = jfx.construct(cfg.probe(name="pipette", modes=["lfp_proxy"]))
    signals = model.simulate_external(V.T, dt_ms=0.1)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    return tree.jfne.to_netcdf(tmp_path / "bundle.nc")


def test_bundles_are_trees(bundle):
    with jfx.open(bundle, chunks={}) as lazy:
        expected = lazy.compute()
    with xr.open_datatree(bundle, **ENGINE) as made:
        xr.testing.assert_identical(made.load(), expected)
        assert jfx.replay(made)
    with xr.open_datatree(bundle, chunks={}, **ENGINE) as made:
        assert isinstance(made["signals"].V_m.data, dask.array.Array)
        xr.testing.assert_identical(made.compute(), expected)
    groups = xr.open_groups(bundle, **ENGINE)
    assert set(groups) == {"/", "/probe", "/readouts", "/signals"}
    groups["/"].close()


def test_one_group(bundle, refused):
    expected = jfx.open(bundle)
    for group in ("signals", "/signals", "/signals/", "probe"):
        made = xr.load_dataset(bundle, group=group, **ENGINE)
        xr.testing.assert_identical(made.jfne.quantify(), expected[group].to_dataset())
    assert xr.load_dataset(bundle, group="/", **ENGINE).attrs["bundle_schema"] == 1
    with refused(jfx.SchemaError, "the groups", "group=", "open_datatree"):
        xr.open_dataset(bundle, **ENGINE)
    with refused(jfx.SchemaError, "'nowhere'"):
        xr.open_dataset(bundle, group="nowhere", **ENGINE)


def test_variables_may_be_left_out(tmp_path):
    path = some().jfne.to_signals().jfne.to_netcdf(tmp_path / "a.nc")
    assert set(xr.load_dataset(path, drop_variables="spikes", **ENGINE).data_vars) == {"V_m"}
    assert "z" not in xr.load_dataset(path, drop_variables=["z", "V_m"], **ENGINE).variables


def test_files_of_others_are_refused_in_the_words_of_open(tmp_path, refused):
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc")
    (tmp_path / "b.nc").write_bytes(b"no netCDF")
    for name, error in (("a", jfx.SchemaError), ("b", jfx.FileError), ("none", jfx.FileError)):
        path = tmp_path / f"{name}.nc"
        with pytest.raises(error) as caught:
            jfx.open(path)
        with refused(error, caught.value.problems[0].found):
            xr.open_dataset(path, **ENGINE)
    with (tmp_path / "a.nc").open("rb") as file, refused(jfx.ArgumentError, "path"):
        xr.open_dataset(file, **ENGINE)


def test_a_scope_that_claims_more_is_refused(tmp_path, refused):
    path = some().jfne.to_signals().jfne.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(path) as plain:
        plain.assign_attrs(amplitude_status=1).to_netcdf(tmp_path / "b.nc")
    with refused(jfx.ScopeError, "amplitude_status"):
        xr.open_dataset(tmp_path / "b.nc", **ENGINE)


def test_no_other_file_is_opened_by_it(tmp_path):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    assert not JfneBackendEntrypoint().guess_can_open(path)


def test_xarray_can_load_the_engine_without_the_package():
    """As it does whenever it opens a file without being told the engine."""
    code = "import sys, jaxfne_xr_backend; print([m for m in ('jax', 'jaxfne_xr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
