"""`calibrate`: the gain that fits best, what is left over, and what it claims."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from packaging.version import Version

import jaxfne_xr as jfx
from jaxfne_xr.core.units import units_of

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")


def close(a, b, tol=1e-11):
    a, b = np.asarray(a), np.asarray(b)
    return np.abs(a - b).max() <= tol * np.abs(b).max()


def proxy(backend, gain=20.0, noise=0.0):
    random = np.random.default_rng(5)
    x = random.normal(size=(9, 3))
    ds = backend.by_hand(x, ("time", "contact"), units="1", name="lfp_proxy")
    return ds, gain * x + noise * random.normal(size=x.shape)


def test_calibrate(backend):
    ds, y = proxy(backend, noise=1.0)
    reference = xr.DataArray(y.T, dims=("contact", "time"), attrs={"units": "uV"}, name="lfp")
    made = ds.jfne.calibrate(reference)
    x = np.asarray(backend.values(ds.lfp_proxy))
    gain = (x * y).sum() / (x * x).sum()
    residual = np.sqrt(((y - gain * x) ** 2).mean() / (y**2).mean())
    assert backend.holds(made.lfp_proxy_calibrated)
    assert units_of(made.lfp_proxy_calibrated) == units_of(made.calibration_gain) == "uV"
    assert close(backend.values(made.lfp_proxy_calibrated), gain * x)
    assert float(backend.values(made.calibration_gain)) == pytest.approx(gain)
    assert float(backend.values(made.calibration_residual)) == pytest.approx(residual)
    step = made.jfne.provenance["steps"][-1]
    assert step["function"] == "calibrate"
    assert step["parameters"] == {
        "gain": pytest.approx(gain), "residual": pytest.approx(residual), "reference": "lfp", "units": "uV"
    }  # fmt: skip
    assert made.attrs["amplitude_status"] == 0


def test_calibrating_a_field_keeps_its_scope_but_for_the_amplitude(stages):
    lfp = stages["lfp"]
    made = lfp.jfne.calibrate(lfp * 2)
    assert lfp.jfne.scope.amplitude_status
    assert made.jfne.scope == dataclasses.replace(lfp.jfne.scope, amplitude_status=False)
    poorer = (lfp * 2).drop_attrs(deep=False)
    claims = lfp.jfne.calibrate(poorer).jfne.scope
    assert claims.source_calibration_status == "uncalibrated_voltage_proxy"
    assert float(made.calibration_gain.data.magnitude) == pytest.approx(2)
    assert units_of(made.calibration_gain) == "1"


def test_times_that_differ_by_rounding_are_the_same(stages):
    ds = stages["lfp"].isel(time=slice(0, 9))
    ms = ds.time.values
    seconds = ds.assign_coords(time=("time", ms * 1e-3, {"units": "s"}))
    assert float(ds.jfne.calibrate(seconds).calibration_gain.data.magnitude) == pytest.approx(1)


@pytest.mark.skipif(
    OLD_XARRAY, reason="xarray drops attrs, and so the record, in arithmetic and reductions"
)
def test_calibrate_refuses(refused, stages):
    ds = stages["lfp"].isel(time=slice(0, 9), contact=[0, 1, 2])
    with refused(jfx.DimensionError, "reference", "'contact': 2"):
        ds.jfne.calibrate(ds.isel(contact=[0, 1]))
    with refused(
        jfx.DimensionError,
        'labels along "time" that differ',
        "reference.assign_coords(time=readout.time)",
    ):
        ds.jfne.calibrate(ds.assign_coords(time=ds.time + 1))
    with refused(jfx.UnitError, "no unit"):
        ds.jfne.calibrate(xr.DataArray(np.zeros((9, 3)), dims=("time", "contact")))
    with refused(jfx.ArgumentError, "reference", "ndarray"):
        ds.jfne.calibrate(np.zeros((9, 3)))
    with refused(jfx.ArgumentError, "readout", "variables"):
        ds.assign(other=ds.lfp).jfne.calibrate(ds)
    with refused(jfx.DataError, "0 throughout"):
        (ds * 0).jfne.calibrate(ds)
    with refused(jfx.DataError, "0 throughout"):
        ds.jfne.calibrate(ds * 0)
    for pair in ((ds, ds * np.nan), (ds * np.nan, ds)):
        with refused(jfx.NonFiniteError, "lfp"):
            jfx.calibrate(*pair)
