"""Units that xarray takes off: restored where the values leave no doubt, with a warning; otherwise said."""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr
from packaging.version import Version
from xarray.backends import BackendArray
from xarray.core.indexing import LazilyIndexedArray

import jaxfne_xr as jfx
from jaxfne_xr.core.lost_units import SAMPLES, _spread, restored
from jaxfne_xr.core.units import units_of
from jaxfne_xr_backend import JfneBackendEntrypoint as Jfne

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")

V = np.random.default_rng(5).normal(-65, 5, (2, 100))


def signals(**how):
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1).jfne.to_signals(**how)


def saved(ds, folder):
    """Save as xarray does, and open as this package does."""
    path = folder / "plain.nc"
    ds.to_netcdf(path)
    return path


def stripped(ds):
    """Return a Dataset as xarray's interp leaves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ds.interp(time=ds.time.values[:-1])


def test_a_voltage_that_plain_xarray_saved_is_read_in_mV_with_a_warning(tmp_path):
    path = saved(signals(), tmp_path)
    with pytest.warns(UserWarning, match="V_m has no unit any more and is read in mV"):
        made = jfx.open(path)
    assert units_of(made.V_m) == "mV"
    np.testing.assert_array_equal(made.V_m, V)
    with pytest.warns(UserWarning, match="V_m has no unit any more"):
        assert jfx.mean_V_m(xr.load_dataset(path)).mean_V_m.attrs["units"] == "mV"


class OnDisk(BackendArray):
    """Values in a file, which must not be read."""

    shape, dtype = V.shape, V.dtype

    def __getitem__(self, key):
        raise AssertionError("read")


@pytest.mark.skipif(OLD_XARRAY, reason="xarray reads what it opens")
def test_values_that_are_not_in_memory_are_not_read_for_the_unit(tmp_path, monkeypatch, refused):
    on_disk = signals()[["V_m"]].drop_vars("V_m")
    on_disk["V_m"] = ("unit", "time"), LazilyIndexedArray(OnDisk())
    assert restored(on_disk) is on_disk
    with refused(jfx.UnitError, "V_m: found no unit"):
        jfx.mean_V_m(on_disk)
    path = saved(signals(), tmp_path)
    monkeypatch.setattr("jaxfne_xr.core.lost_units._spread", lambda data: pytest.fail("read"))
    for how in (lambda: jfx.open(path, chunks={}), lambda: xr.open_dataset(path, engine=Jfne)):
        with pytest.warns(UserWarning, match="V_m lost the unit"):
            assert units_of(how().V_m) is None


@pytest.mark.parametrize("shape", [(2, 3_000_000), (400_000, 4), (3, 700_001, 1), (5, 7), (0, 3)])
@pytest.mark.parametrize("to", [np.asarray, jnp.asarray])
def test_some_values_of_many_are_looked_at(shape, to):
    some = _spread(to(np.arange(np.prod(shape), dtype="f4").reshape(shape)))
    size = np.prod(shape)
    assert some.size == size or 0.4 * SAMPLES < some.size < 1.5 * SAMPLES
    if size:
        assert some.min() == 0
        assert some.max() > 0.7 * size or size <= 35


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.assign(V_m=ds.V_m.pint.to("V")),
        lambda ds: ds.assign(V_m=ds.V_m**2),
        lambda ds: ds.assign(V_m=ds.V_m / ds.V_m),
        lambda ds: ds.assign(V_m=ds.V_m.rolling(time=3).var().fillna(0 * ds.V_m**2)),
        lambda ds: ds.assign(V_m=ds.V_m * 0),
    ],
)
def test_what_may_be_something_else_gets_no_unit(change, tmp_path, refused):
    with pytest.warns(UserWarning, match="V_m lost the unit"):
        made = jfx.open(saved(change(signals()), tmp_path))
    assert units_of(made.V_m) is None
    with refused(jfx.UnitError, "V_m: found no unit"):
        jfx.to_signals(made.drop_vars("spikes"))


def test_other_variables_are_said_and_can_be_given_their_unit_as_the_warning_says(
    tmp_path, refused
):
    ds = signals(source=V / 10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = jfx.open(saved(ds, tmp_path))
    (text,) = (str(w.message) for w in caught if "source lost" in str(w.message))
    with refused(jfx.UnitError, "source: found no unit"):
        jfx.source_abs_mean(made)
    exec(text.partition("made in: ")[2], {"ds": made})
    assert units_of(jfx.source_abs_mean(made).source_abs_mean) == "nA"


def test_a_spectrum_and_what_is_not_known_are_said_too(tmp_path):
    ds = jfx.psd(signals()[["V_m"]], segment="2 ms")
    with pytest.warns(UserWarning, match=r'ds\["psd"\].attrs\["units"\] = "mV\^2/Hz"'):
        jfx.open(saved(ds, tmp_path))
    with pytest.warns(UserWarning, match="other without a unit"):
        jfx.open(saved(ds.rename(psd="other"), tmp_path))


def test_a_file_of_this_package_warns_of_nothing(tmp_path):
    signals().jfne.to_netcdf(tmp_path / "a.nc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jfx.open(tmp_path / "a.nc").identical(signals())


def test_an_interpolated_voltage_made_by_hand_keeps_its_unit_if_it_was_quantified(refused):
    time = {"time": ("time", np.arange(100) * 0.1, {"units": "ms"})}
    ds = xr.Dataset({"v": (("unit", "time"), V, {"units": "mV"})}, time)
    made = stripped(ds.jfne.quantify())
    assert units_of(made.v) is None
    with pytest.warns(UserWarning, match="v has no unit any more"):
        assert made.jfne.to_signals().V_m.attrs["units"] == "mV"
    with refused(jfx.UnitError, "v: found no unit"):
        stripped(ds.jfne.quantify() ** 2).jfne.to_signals()
    with refused(jfx.UnitError, "v: found no unit"):
        xr.Dataset({"v": (("unit", "time"), V)}, ds.coords).jfne.to_signals()


def test_the_remedy_for_uneven_times_keeps_the_unit(refused):
    ds = jfx.traces(V, ("unit", "time"), dt_ms=0.1)
    jitter = np.random.default_rng(0).uniform(-0.02, 0.02, ds.sizes["time"])
    ds = ds.assign_coords(time=("time", ds.time.values + jitter, {"units": "ms"}))
    with refused(jfx.TimeAxisError, "uneven steps") as caught:
        jfx.psd(ds)
    even = eval(caught.value.problems[0].remedy.partition("first: ")[2], {"ds": ds, "np": np})
    assert units_of(jfx.psd(even).psd) == "mV^2/Hz"


@pytest.mark.parametrize("kind", [float, np.float32])
def test_a_spectrum_of_data_without_a_unit_is_refused(kind, refused):
    ds = signals()
    bare = ds[["V_m"]].copy(data={"V_m": V.astype(kind) * 1e-3}).drop_attrs(deep=False)
    with refused(jfx.UnitError, "V_m: found no unit"):
        jfx.psd(bare)
    assert units_of(jfx.psd(ds[["spikes"]]).psd) == "1/Hz"


# ------------------------------------------------------------------------------------------ densities


def cell_with(units, **how):
    cell = jfx.morphology(
        [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], 2.0, [-1, 0], membrane_area=[1e3, 1e3]
    )
    i = np.array([[0.01] * 3, [-0.01] * 3])
    made = jfx.traces(i, ("recording", "time"), dt_ms=0.1, name="density", units=units, **how)
    return made.jfne.with_morphology(cell)


@pytest.mark.parametrize("kind", ["numpy", "plain", "quantify", "jax"])
def test_the_product_of_a_density_and_an_area_is_never_a_density(kind):
    ds = cell_with("mA/cm^2", quantify=kind == "numpy")
    ds = ds.jfne.quantify() if kind == "quantify" else ds
    ds = ds.astype("float32").jfne.to_jax() if kind == "jax" else ds
    assert units_of(ds.density) == "mA/cm^2"
    assert units_of(ds.membrane_area) == "um^2"
    made = ds.density * ds.membrane_area
    assert units_of(made) is None
    with pytest.raises(jfx.UnitError):
        jfx.lfp(ds.assign(i_membrane=made), jfx.linear_probe(1, "25 um", origin=(30.0, 0.0, 0.0)))


@pytest.mark.skipif(
    OLD_XARRAY, reason="xarray drops attrs, and so the record, in arithmetic and reductions"
)
def test_a_quantity_times_plain_numbers_is_refused(refused):
    ds = jfx.traces(V[:2], ("recording", "time"), dt_ms=0.1).jfne.with_morphology(cell_with("1"))
    made = ds.assign(v=ds.v * ds.diameter)
    for call in (lambda x: jfx.psd(x[["v"]]), lambda x: x.jfne.to_signals()):
        with refused(jfx.UnitError, "v: found a quantity in 'mV' with 'um' in attrs"):
            call(made)
    assert units_of(ds.v * ds["diameter"].jfne.quantify()) == "um*mV"


@pytest.mark.parametrize("how", ["numpy", "jax"])
def test_what_has_a_morphology_is_written_by_plain_to_netcdf(how, tmp_path):
    ds = jfx.traces(V[:2], ("recording", "time"), dt_ms=0.1, quantify=how == "numpy")
    ds = ds.jfne.with_morphology(cell_with("1")).drop_dims("edge")
    ds.to_netcdf(tmp_path / "plain.nc")
    with xr.open_dataset(tmp_path / "plain.nc") as found:
        assert found.membrane_area.attrs["units"] == "um^2"
        np.testing.assert_array_equal(found.membrane_area, ds.membrane_area)
    assert ds.where(ds.membrane_area > 50).sizes == ds.sizes


@pytest.mark.parametrize("quantified", [True, False])
@pytest.mark.parametrize("unit", ["mA/cm^2", "uA/mm^2"])
def test_a_density_as_a_current_is_refused_with_the_product(quantified, unit, refused):
    ds = cell_with(unit).rename(density="i_membrane")
    if quantified:  # by the user
        ds = ds.assign(i_membrane=(("recording", "time"), pint.Quantity(ds.i_membrane.data, unit)))
    probe = jfx.linear_probe(2, "25 um", origin=(30.0, 0.0, 0.0))
    with refused(jfx.UnitError, "membrane_area") as caught:
        jfx.lfp(ds, probe)
    space = {"ds": ds}
    exec(caught.value.problems[0].remedy, space)
    # 0.01 mA/cm^2 on 1000 um^2 are 0.1 nA; 1 uA/mm^2 is 0.1 mA/cm^2
    nA = (0.1 if unit == "mA/cm^2" else 0.01) * np.array([[1.0] * 3, [-1.0] * 3])
    made = jfx.lfp(space["ds"], probe)
    current = jfx.traces(nA, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="nA")
    want = jfx.lfp(current.jfne.with_morphology(cell_with("mA/cm^2")), probe)
    np.testing.assert_allclose(
        np.asarray(getattr(made.lfp.data, "magnitude", made.lfp.data)),
        want.lfp.data.magnitude,
        rtol=1e-6,
    )


def test_traces_of_a_density_named_as_a_current_say_the_product(refused):
    with refused(jfx.UnitError, "membrane_area"):
        jfx.traces(V, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="mA/cm^2")


def test_areas_have_their_unit_in_attrs(tmp_path):
    ds = cell_with("mA/cm^2")
    ds.jfne.to_netcdf(tmp_path / "a.nc")
    assert jfx.open(tmp_path / "a.nc").identical(ds)
    on_jax = ds.astype("float32").jfne.to_jax()
    assert units_of(on_jax.membrane_area) == "um^2"
    assert isinstance(on_jax.membrane_area.data, np.ndarray)
