"""Laws over random data: what must make no difference makes none."""

import itertools
import tempfile
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxfne_xr as jfx
from jaxfne_xr.core import arrays as _arrays
from jaxfne_xr.core.units import magnitude

DIMS = ("time", "unit", "trial")
ORDERS = list(itertools.permutations(DIMS))
DTYPES = ["f4", "f8"]

values = st.floats(-100, 100, width=32, allow_subnormal=False)
thresholds = st.floats(-60, 40, width=32, allow_subnormal=False)
rules = st.sampled_from(["crossing", "level"])
shapes = st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(1, 3))
voltages = st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, shapes, elements=values))


def signals_of(v, dims=DIMS, dt_ms=0.1, units="mV", **options):
    """Return Signals with plain arrays, in the dims' usual order."""
    ds = jfx.traces(v, dims, dt_ms=dt_ms, units=units, quantify=False)
    return ds.jfne.to_signals(**options).transpose(*DIMS)


@given(v=voltages, order=st.sampled_from(ORDERS), threshold=thresholds, rule=rules)
def test_the_order_of_dims_makes_no_difference(v, order, threshold, rule):
    options = {"spike_threshold": threshold, "spike_rule": rule}
    turned = v.transpose([DIMS.index(d) for d in order])
    one, other = signals_of(v, **options), signals_of(turned, order, **options)
    xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    if one.sizes["time"] > 1:
        xr.testing.assert_identical(
            one.jfne.firing_rate().drop_attrs(), other.jfne.firing_rate().drop_attrs()
        )


@given(
    v=arrays("i4", shapes, elements=st.integers(-100, 100)),
    threshold=st.integers(-60, 40),
    rule=rules,
)
def test_the_unit_makes_no_difference_where_nothing_is_rounded(v, threshold, rule):
    # in units of 2^-3 mV and, so that both conversions are exact in binary, of 1000 times that
    exact = v.astype("f8")
    one = signals_of(exact, spike_threshold=threshold, spike_rule=rule)
    other = signals_of(exact * 1000, units="uV", spike_threshold=f"{threshold} mV", spike_rule=rule)
    np.testing.assert_allclose(one.V_m, other.V_m, rtol=2**-52)


@given(v=voltages, threshold=thresholds, rule=rules)
def test_volts_differ_from_millivolts_by_rounding_alone(v, threshold, rule):
    """V_m by half an ulp for each of the two roundings; spikes only where a sample is that close to the threshold."""
    one = signals_of(v, spike_threshold=threshold, spike_rule=rule)
    volts = v / v.dtype.type(1000)
    other = signals_of(volts, units="V", spike_threshold=f"{threshold!r} mV", spike_rule=rule)
    ulp = 1.5 * np.finfo(v.dtype).eps
    np.testing.assert_allclose(other.V_m, v, rtol=ulp, atol=np.finfo(v.dtype).tiny * 2000)
    near = np.abs(v - threshold) <= ulp * np.abs(v) + 1e-30
    near[1:] |= near[:-1]
    differ = one.spikes.values != other.spikes.values
    assert not (differ & ~near).any()


@given(v=voltages, data=st.data(), threshold=thresholds, rule=rules)
def test_chunks_make_no_difference(v, data, threshold, rule):
    def cut(n):
        borders = data.draw(st.sets(st.integers(1, n - 1))) if n > 1 else set()
        return tuple(np.diff([0, *sorted(borders), n]).tolist())

    lazy = dask.array.from_array(v, chunks=tuple(map(cut, v.shape)))
    options = {"spike_threshold": threshold, "spike_rule": rule}
    one, other = signals_of(v, **options), signals_of(lazy, **options)
    assert isinstance(other.spikes.data, dask.array.Array)
    xr.testing.assert_identical(other.compute(scheduler="synchronous"), one)


@given(
    v=voltages,
    threshold=thresholds,
    rule=rules,
    block=st.integers(1, 300),
    order=st.sampled_from(ORDERS),
)
def test_blocks_make_no_difference(v, threshold, rule, block, order):
    options = {"spike_threshold": threshold, "spike_rule": rule}
    turned = v.transpose([DIMS.index(d) for d in order])  # any memory order
    one = signals_of(v, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_arrays, "BLOCK_BYTES", block)
        other = signals_of(turned, order, **options)
    xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())


@given(v=voltages, threshold=thresholds)
def test_every_crossing_is_a_rise_of_the_level(v, threshold):
    level = signals_of(v, spike_threshold=threshold, spike_rule="level").spikes.astype(int)
    crossing = signals_of(v, spike_threshold=threshold, refractory=0).spikes
    np.testing.assert_array_equal(crossing[1:], level.values[1:] - level.values[:-1] == 1)
    assert not crossing[:1].any()


@given(v=voltages, threshold=thresholds)
def test_spike_times_and_rates_count_the_same(v, threshold):
    signals = signals_of(v, spike_threshold=threshold, spike_rule="level")
    times = signals.jfne.spike_times()
    assert times.sizes["spike"] == signals.spikes.sum()
    assert (np.diff(times.time) >= 0).all()
    where = {
        "time": (times.time / 0.1).round().astype(int),
        "unit": times.unit,
        "trial": times.trial,
    }
    assert signals.spikes.isel(where).all()
    if len(v) > 1:
        rate = signals.jfne.firing_rate().firing_rate
        np.testing.assert_allclose(rate * len(v) * 1e-4, signals.spikes.sum("time"), rtol=1e-12)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_ .-]{0,8}[A-Za-z0-9]", fullmatch=True)


@given(
    v=voltages,
    order=st.sampled_from(ORDERS),
    quantify=st.booleans(),
    attrs=st.dictionaries(names, json_values, max_size=3),
    label=st.none() | st.lists(text, min_size=1, max_size=1),
)
def test_a_file_makes_no_difference(v, order, quantify, attrs, label):
    ds = jfx.traces(
        v.transpose([DIMS.index(d) for d in order]), order, dt_ms=0.1, quantify=quantify
    )
    signals = ds.jfne.to_signals(source=magnitude(ds.v.data))
    signals = signals.assign_attrs({f"my_{k}": a for k, a in attrs.items()})
    signals.V_m.attrs.update({f"my_{k}": a for k, a in attrs.items()})
    if label and "\0" not in label[0]:
        signals = signals.assign_coords(trial=np.array(label * v.shape[2]))
    with tempfile.TemporaryDirectory() as folder:
        back = jfx.open(jfx.to_netcdf(signals, Path(folder) / "run.nc"))
    xr.testing.assert_identical(back, signals)
    for one, other in ((back, signals), (back.V_m, signals.V_m)):
        assert {k: type(a) for k, a in one.attrs.items()} == {
            k: type(a) for k, a in other.attrs.items()
        }
