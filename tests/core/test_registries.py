"""pint's registries: set, replaced or used first at any moment, with any options; and units that hang pint."""

from __future__ import annotations

import subprocess
import sys
import threading
from decimal import Decimal

import dask.array
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import units, values
from jaxfne_xr.core.registries import standard, unsafe

V = np.random.default_rng(1).normal(-0.04, 0.02, (2, 200))
#: Options of a registry; None is a registry without a single unit.
OPTIONS = [
    {},
    {"force_ndarray_like": True},
    {"force_ndarray": True},
    {"non_int_type": Decimal},
    {"case_sensitive": False},
    {"system": "imperial"},
    {"auto_reduce_dimensions": True, "autoconvert_to_preferred": True},
    {"autoconvert_offset_to_baseunit": True},
    None,
]


@pytest.fixture
def application():
    """Restore the application registry after a test that replaces it."""
    before = pint.get_application_registry().get()
    yield pint.set_application_registry
    pint.set_application_registry(before)


def run(folder, old):
    """Return results of functions that parse units, make quantities, and combine them with older ones."""
    ds = jfx.traces(V, ("unit", "time"), dt_ms="25 us", units="V")
    signals = ds.jfne.to_signals(spike_threshold="-40 mV")
    signals.jfne.to_netcdf(folder / "a.nc")
    lazy = dask.array.from_array(V, chunks=(1, 50))
    made = [
        signals,
        ds.jfne.psd(segment="1 ms"),
        signals.jfne.firing_rate(),
        jfx.open(folder / "a.nc"),
        jfx.concat([ds, old], "trial"),
        jfx.mean_square_loss(ds, old),
        jfx.traces(lazy, ("unit", "time"), dt_ms=0.1, units="V").compute(),
        old.jfne.to_signals(spike_threshold=pint.UnitRegistry().Quantity(-40, "mV")),
        jfx.quantify(xr.Dataset({"i": ("time", [1.0], {"units": "mA/cm^2"})})),
    ]
    return [
        (str(name), units.units_of(x), np.asarray(units.magnitude(x.variable.data)))
        for one in made
        for name, x in one.data_vars.items()
    ]


@pytest.mark.slow
def test_results_are_the_same_whichever_registry_is_set_and_when(application, tmp_path):
    old = jfx.traces(V, ("unit", "time"), dt_ms="25 us", units="V")
    before = run(tmp_path, old)
    for options in OPTIONS:
        application(pint.UnitRegistry(None) if options is None else pint.UnitRegistry(**options))
        for (name, unit, made), (_, u, x) in zip(run(tmp_path, old), before, strict=True):
            assert unit == u, (options, name)
            np.testing.assert_array_equal(made, x, err_msg=f"{options} {name}")


def test_quantities_are_of_the_registry_that_is_set(application):
    ureg = pint.UnitRegistry()
    application(ureg)
    ds = jfx.traces(V, ("unit", "time"), dt_ms=0.1, units="V")
    assert ds.v.data._REGISTRY is ureg
    shifted = ds.v - ureg.Quantity(-65.0, "mV")
    np.testing.assert_allclose(shifted.mean().data.magnitude, V.mean() * 1e3 + 65)
    assert ds.v.pint.to("V").pint.units == ureg.Unit("V")


def test_a_unit_of_the_application_is_known_as_long_as_its_registry_is_set(application, refused):
    ureg = pint.UnitRegistry()
    with refused(jfx.UnitError, "cannot read"):
        units.factor("spikelet", "mV")
    ureg.define("spikelet = 2 * millivolt")
    application(ureg)
    assert units.factor("spikelet", "mV") == 2
    assert values.scalar("3 spikelet", "mV", "x") == 6
    made = jfx.traces(V, ("unit", "time"), dt_ms=0.1, units="spikelet")
    np.testing.assert_allclose(made.v.data.magnitude, 2 * V)
    assert units.text_of(ureg.Unit("spikelet/s")) == "spikelet/s"
    assert not units.same_dimension("spikelet", "nA")
    application(pint.UnitRegistry())
    assert not units.same_dimension("spikelet", "mV")


def test_contexts_of_pint_make_no_unit_convertible(refused):
    with standard().context("spectroscopy"):
        units._in_standard.cache_clear()
        with refused(jfx.UnitError, "converts to 'Hz'"):
            units.factor("um", "Hz")
        assert units.factor("mm", "um") == 1000


# ------------------------------------------------------------------------------------------ first use


FIRST = """
import threading
import numpy as np, jaxfne_xr as jfx
barrier, failed = threading.Barrier(9), []
def go(task):
    barrier.wait()
    try:
        task()
    except Exception as error:
        failed.append(f"{type(error).__name__}: {str(error)[:200]}")
def with_pint():
    import pint
    assert pint.Quantity(1.0, "mV").to("V").magnitude == 1e-3
def with_accessor():
    import xarray as xr
    xr.Dataset({"v": ("time", [1.0], {"units": "mV"})}).pint.quantify()
tasks = 3 * [
    lambda: jfx.traces(np.full((4, 100), -0.065), ("unit", "time"), dt_ms="25 us", units="V"),
    lambda: jfx.linear_probe(3, "0.05 mm"),
    lambda: jfx.traces(np.zeros((4, 100)), ("unit", "time"), dt_ms="1 ms").jfne.to_signals(spike_threshold="-20 mV"),
]
threads = [threading.Thread(target=go, args=(task,)) for task in tasks]
[t.start() for t in threads]; [t.join() for t in threads]
assert not failed, failed
"""


@pytest.mark.slow
def test_the_first_use_may_be_in_many_threads():
    done = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_accessor_of_pint_is_there_without_its_package():
    code = """
import sys
{first}
import xarray as xr, jaxfne_xr
assert {loaded} == ("pint_xarray" in sys.modules), "pint-xarray is imported early"
ds = xr.Dataset({{"v": ("time", [1.0], {{"units": "mV"}})}})
{then}
assert ds.pint.quantify().v.pint.to("V").data.magnitude[0] == 1e-3
assert ds.v.pint.quantify().pint.units == "millivolt" and "pint" in dir(ds)
"""
    for first, then in (("", ""), ("", "import pint_xarray"), ("import pint_xarray", "")):
        text = code.format(first=first, then=then, loaded=bool(first))
        done = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", text], capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]


def test_a_registry_that_another_thread_is_building_is_waited_for():
    from jaxfne_xr.core import registries

    ureg = pint.UnitRegistry()
    ureg._initialized = False
    threading.Timer(0.05, lambda: setattr(ureg, "_initialized", True)).start()
    assert registries._built(ureg)._initialized


# ------------------------------------------------------------------------------------------ units of strangers

EVIL = [
    "9**9**9**9", "9^9^9^9", "9**(9**9**9)", "((9**99)**99)**99", "9^,9^9^9", "9*,*9**9", "9⁹⁹⁹⁹⁹", "9⁹^9^9", "9**9999",
    "9**1e9", "mV**9**9**9**9", "m squared squared squared squared squared squared", "sq sq sq sq sq m",
    "9**(9/1)**9**9",
    "9** 9 ** 9 **9",
    "2**(2)**(2)**(2)**(2)**(2)", "x" * 1000, "9" * 60, "(" * 150, "mV^m", "mV**",
]  # fmt: skip
FINE = [
    "mV", "mA/cm^2", "um^(1/2)", "um**0.5", "1/s", "m^2 kg s^-3 A^-1", "kilogram * meter ** 2 / ampere / second ** 3",
    "m squared", "square m", "µm²", "m⁻¹", "%", "", "(um**2*mS)", "S / m ** 2", "m^( -2 )", "cubic mm",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_units_that_would_hang_pint_are_refused_before_it_reads_them(text, refused):
    with refused(jfx.UnitError, "which pint cannot read"):
        units.factor(text, "mV")
    assert not units.same_dimension(text, "mV")
    with refused(jfx.UnitError, ""):
        values.scalar(f"1 {text}", "ms", "dt_ms")
    ds = xr.Dataset({"v": (("unit", "time"), np.zeros((1, 3)), {"units": text})})
    assert not jfx.validate(ds)
    with refused(jfx.UnitError, "cannot read"):
        ds.jfne.to_signals(dt_ms=0.1)
    assert units.pretty(text) == text


@pytest.mark.parametrize("text", FINE)
def test_units_in_use_are_safe(text):
    assert unsafe(text) is None
    assert unsafe(f"10^-3 {text}") is None
    units.readable(text)


def test_units_in_a_file_are_checked_before_pint_reads_them(tmp_path, refused):
    import netCDF4

    path = tmp_path / "a.nc"
    ds = jfx.traces(V, ("unit", "time"), dt_ms=0.1, units="V").jfne.to_signals()
    ds.pint.quantify({"time": "ms"}).jfne.to_netcdf(path)
    assert "PintIndex" in str(type(jfx.open(path).xindexes["time"]))
    with netCDF4.Dataset(path, "a") as file:
        record = file.getncattr("jaxfne_xr_file")
        file.setncattr("jaxfne_xr_file", record.replace('"millisecond"', '"9**9**9**9"'))
    with refused(jfx.UnitError, "which pint cannot read"):
        jfx.open(path)
