"""Units: one checked factor, short strings that pint reads again, one number from many spellings."""

from fractions import Fraction

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.registries import standard
from jaxfne_xr.core.units import (
    _of_foreign,
    convert,
    factor,
    magnitude,
    pretty,
    quantity,
    same_dimension,
    text_of,
    units_of,
)
from jaxfne_xr.core.values import carries_unit, scalar, values_in

pytestmark = pytest.mark.every_version

ureg = pint.application_registry
UNITS = [
    "mV",
    "V",
    "uV",
    "nA",
    "pA",
    "A",
    "ms",
    "s",
    "um",
    "mm",
    "S/m",
    "mA/cm^2",
    "uA/mm^3",
    "Hz",
    "1",
    "nA*um",
]


@pytest.mark.parametrize(
    ("source", "target", "want"),
    [
        ("V", "mV", 1000.0), ("mV", "V", 0.001), ("uV", "mV", 0.001), ("mV", "mV", 1.0), ("millivolt", "mV", 1.0),
        ("uA", "nA", 1000.0), ("pA", "nA", 0.001), ("mA/cm^2", "A/m^2", 10.0), ("uA/mm^3", "A/m^3", 1000.0),
        ("S/m", "mS/cm", 10.0), ("mm", "um", 1000.0), ("kHz", "Hz", 1000.0), ("1/ms", "Hz", 1000.0), ("", "1", 1.0),
        ("µV", "uV", 1.0), ("%", "1", 0.01), ("mA/cm**2", "mA/cm^2", 1.0),
    ],
)  # fmt: skip
def test_factors_are_exact(source, target, want):
    assert factor(source, target) == want


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("S/m", "mV", "'S/m'"), ("mV", "S/m", "'mV'"), ("ms", "mV", "ms"), ("bananas", "mV", "cannot read"),
        ("mV", "bananas", "cannot read"), ("mV*", "mV", "cannot read"), ("degC", "K", "zero"), ("1", "mV", "'1'"),
    ],
)  # fmt: skip
def test_bad_units_are_refused(refused, source, target, said):
    with refused(jfx.UnitError, said):
        factor(source, target)
    assert not same_dimension(source, target)


@given(st.sampled_from(UNITS), st.sampled_from(UNITS))
def test_there_and_back_is_one(a, b):
    if same_dimension(a, b):
        assert factor(a, b) * factor(b, a) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    "unit",
    [
        *UNITS,
        "uA/cm^2",
        "µm^2",
        "mM/ms",
        "Mohm",
        "ohm*cm",
        "%",
        "degC",
        "delta_degC",
        "1/ms",
        "um**0.5",
        "fT",
        "T",
    ],
)
def test_texts_are_read_again(unit):
    parsed = ureg.Unit("" if unit == "1" else unit)
    text = text_of(parsed)
    assert ureg.Unit("" if text == "1" else text) == parsed
    assert "µ" not in text


@pytest.mark.parametrize(
    "value",
    [
        25,
        25.0,
        np.float32(25),
        np.int64(25),
        np.array(25.0),
        Fraction(25),
        "25 ms",
        "0.025 s",
        "25ms",
        ureg.Quantity(25, "ms"),
        ureg.Quantity(np.array(0.025), "s"),
    ],
)
def test_one_number_from_many_spellings(value):
    number = scalar(value, "ms", "dt_ms")
    assert type(number) is float
    assert number == pytest.approx(25, rel=1e-15)


@pytest.mark.parametrize(
    "value",
    [
        "25",
        "25 mV",
        "ms",
        "",
        "?",
        True,
        None,
        1j,
        [1],
        np.array([1.0]),
        ureg.Quantity([1.0], "ms"),
        ureg.Quantity(1, "m"),
        "5 m/ms",
        np.datetime64("2020"),
        {},
    ],
)
def test_what_is_not_one_number_is_refused(refused, value):
    with refused(jfx.UnitError, "dt_ms", "one number in ms"):
        scalar(value, "ms", "dt_ms")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_convert_keeps_precision_and_kind(dtype):
    assert not jax.config.jax_enable_x64
    data = np.full(3, 2.0, dtype)
    with jax.enable_x64(True):
        on_jax = jnp.array(data)
    for array in (data, on_jax, dask.array.from_array(data)):
        out = convert(array, "V", "mV")
        assert (type(out), out.dtype) == (type(array), data.dtype) or isinstance(out, jax.Array)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, 2000)
        assert convert(array, "mV", "millivolt") is array
    assert (data == 2).all()


def test_convert_is_differentiable():
    assert jax.grad(lambda v: convert(v, "V", "mV"))(1.0) == 1000


def test_units_of_reads_the_quantity_before_the_attrs():
    data = quantity(np.zeros(2), "mA/cm^2")
    for wrap in (
        lambda d, a: xr.Variable("x", d, a),
        lambda d, a: xr.DataArray(d, dims="x", attrs=a),
    ):
        assert units_of(wrap(data, {"units": "S"})) == "mA/cm^2"
        assert units_of(wrap(np.zeros(2), {"units": "S"})) == "S"
        assert units_of(wrap(np.zeros(2), {})) is None
    assert magnitude(data) is data.magnitude
    assert magnitude("anything") == "anything"


def test_units_that_a_user_defines_are_known():
    ureg.define("smoot = 1.7018 m")
    assert factor("smoot", "m") == 1.7018


@pytest.mark.parametrize("foreign_first", [True, False])
def test_units_of_several_registries_live_side_by_side(foreign_first):
    text_of.__globals__["_text"].cache_clear()
    units = [pint.UnitRegistry().Unit("mV"), pint.get_application_registry().Unit("mV")]
    for unit in units if foreign_first else units[::-1]:
        assert text_of(unit) == "mV"
    v = pint.UnitRegistry().Quantity(np.zeros((2, 5)), "V")
    ds = jfx.traces(v, ("unit", "time"), dt_ms="0.1 ms")
    assert ds.jfne.to_signals(
        spike_threshold=pint.UnitRegistry().Quantity(-20, "mV")
    ).V_m.shape == (2, 5)


@pytest.mark.parametrize(
    "bare",
    [
        [[1, 2.5], [np.float32(3.5), np.int8(4)]],
        ((1.0, 2.0), [3, 4]),
        [np.array([1.0, 2.0]), [3.0, 4.0]],
        [[[1.0]], [[2.0]]],
        [],
    ],
)
def test_nested_numbers_are_converted_as_one_by_one(bare):
    assert not carries_unit(bare)
    want = np.array([np.asarray(row, float) / 1000 for row in bare])
    np.testing.assert_allclose(values_in(bare, "mm", "x", given="um"), want, rtol=1e-15)
    np.testing.assert_array_equal(values_in(bare, "um", "x"), want * 1000)


@pytest.mark.parametrize(
    ("value", "has_unit"),
    [
        ([[1.0, "3 um"], [2.0, 4.0]], True),
        ([[1.0, 2.0], [3.0, 4.0 * pint.Unit("um")]], True),
        ([1.0, [2.0, (3.0, np.str_("4 um"))]], True),
        (np.array([[1.0, "3 um"]], object), True),
        ([[True, False], [np.True_, 1j]], False),
        ([1.0, ["um", None]], False),
    ],
)
def test_one_unit_in_nested_lists_is_found(value, has_unit):
    assert carries_unit(value) == has_unit


def test_what_is_no_number_in_a_list_is_refused(refused):
    for value in ([[1.0, True]], [1.0, np.timedelta64(3, "ns")], [1j], [[1.0], [None]]):
        with refused(jfx.UnitError):
            values_in(value, "um", "x")
    itself: list = []
    itself.append(itself)
    with pytest.raises(RecursionError):
        values_in(itself, "um", "x")


def test_nothing_is_kept_of_a_registry_that_may_be_replaced():
    before = pint.application_registry.get()
    said, values, pretties = [], [], []
    try:
        for size in (3, 7):
            mine = pint.UnitRegistry()
            mine.define(f"blip = {size} * millivolt = bl")
            pint.set_application_registry(mine)
            values.append(scalar("2 blip", "mV", "x"))
            pretties.append(pretty("blip"))
            said.append(_of_foreign("blip", ("kg*m^2/(A*s^3)", size * 1e-3)))
        pint.set_application_registry(before)
        assert _of_foreign("blip", ("kg*m^2/(A*s^3)", 7e-3)) == ("V", 7e-3)
        with pytest.raises(jfx.UnitError):
            scalar("2 blip", "mV", "x")
        assert pretty("blip") == "blip"
    finally:
        pint.set_application_registry(before)
    np.testing.assert_allclose(values, [6, 14], rtol=1e-15)
    assert pretties == ["bl", "bl"]
    assert said == [("bl", 1.0), ("bl", 1.0)]


def test_what_the_standard_registry_reads_is_read_once(monkeypatch):
    reads: list[int] = []
    assert scalar("31.25 us", "ms", "dt_ms") == 0.03125
    monkeypatch.setattr(type(standard()), "parse_expression", lambda *_, **__: reads.append(1))
    assert scalar("31.25 us", "ms", "dt_ms") == 0.03125
    assert scalar("31.25 us", "s", "dt") == 3.125e-5
    assert not reads
