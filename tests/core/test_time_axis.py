"""Time axes: float64 ms in even steps, from any unit and precision; refused where they are not."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.time_axis import check_dt, even_times, same_times, time_from_dt, time_remedy
from jaxfne_xr.core.units import magnitude, units_of

ureg = pint.application_registry
MS = {"units": "ms"}


def at(times, attrs=None, n=None):
    """Return a hand-made Dataset with a time coordinate."""
    n = len(times) if n is None else n
    return xr.Dataset(
        {"v": ("time", np.zeros(n), {"units": "mV"})}, {"time": ("time", times, attrs)}
    )


def times_of(ds, **options):
    """Return the times of Signals and the interval that they record."""
    signals = ds.jfne.to_signals(**options)
    assert signals.time.dtype == np.float64
    assert signals.time.attrs["units"] == "ms"
    assert signals.jfne.validate(), signals.jfne.validate()
    return signals.time.values, signals.jfne.provenance["steps"][-1]["parameters"]["dt_ms"]


STEPS = 0.025 * np.arange(40)


@pytest.mark.parametrize(
    ("times", "attrs"),
    [
        (STEPS, {"units": "ms"}),
        (STEPS, {"units": "milliseconds", "note": "any spelling"}),
        (STEPS / 1000, {"units": "s"}),
        (STEPS * 1000, {"units": "us"}),
        ((STEPS * 1000).round().astype("i4"), {"units": "us"}),
        (STEPS.astype("f4"), {"units": "ms"}),
        ((STEPS / 1000).astype("f4"), {"units": "s"}),
        ((STEPS * 1e6).round().astype("m8[ns]"), {}),
        ((STEPS * 1e3).round().astype("m8[us]"), {}),
    ],
)
def test_times_of_any_unit_and_precision(times, attrs):
    found, dt = times_of(at(times, attrs))
    np.testing.assert_allclose(found, STEPS, rtol=2e-7, atol=1e-12)
    assert dt == pytest.approx(0.025, rel=2e-7)


@pytest.mark.parametrize("offset", [-50.0, 0.0, 1e5])
def test_times_may_start_anywhere(offset):
    found, dt = times_of(at(offset + STEPS, MS))
    np.testing.assert_array_equal(found, offset + STEPS)
    assert dt == pytest.approx(0.025, rel=1e-9)


def test_float32_times_come_back_even():
    raw = (1000 + 0.025 * np.arange(4000)).astype("f4")
    assert np.ptp(np.diff(raw)) > 1e-5
    found, dt = times_of(at(raw, MS))
    assert np.ptp(np.diff(found)) < 1e-9
    assert np.abs(found - raw).max() < 1e-4
    assert dt == pytest.approx(0.025, rel=1e-5)


def test_a_rate_that_is_no_whole_number_of_nanoseconds():
    times = (np.arange(3000) * 1e6 / 30).round().astype("m8[ns]")  # 30 kHz
    found, dt = times_of(at(times))
    assert dt == pytest.approx(1 / 30, rel=1e-7)
    assert np.ptp(np.diff(found)) < 1e-12


def test_a_pint_index_comes_out_plain():
    for unit in ("ms", "s"):
        ds = at(STEPS, {"units": unit}).pint.quantify()
        assert type(ds.xindexes["time"]).__name__ == "PintIndex"
        found, _ = times_of(ds)
        np.testing.assert_allclose(found, STEPS * (1000 if unit == "s" else 1), rtol=1e-14)


def test_a_good_axis_keeps_its_index_and_its_attrs():
    ds = at(STEPS, {"units": "ms", "axis": "T"})
    signals = ds.jfne.to_signals()
    assert signals.xindexes["time"] is ds.xindexes["time"]
    assert signals.time.attrs == ds.time.attrs


def test_one_sample():
    assert times_of(at([3.0], MS)) == ([3.0], None)
    assert times_of(at([3.0], MS), dt_ms=0.5) == ([3.0], 0.5)


def test_without_a_unit_dt_says_that_it_is_ms(refused):
    with refused(jfx.UnitError, "no unit", "dt_ms"):
        at(STEPS).jfne.to_signals()
    np.testing.assert_array_equal(times_of(at(STEPS), dt_ms=0.025)[0], STEPS)
    with refused(jfx.TimeAxisError, "agree"):
        at(STEPS / 1000).jfne.to_signals(dt_ms=0.025)


@pytest.mark.parametrize(
    ("times", "attrs", "error", "said"),
    [
        ([0, 1, 2.1, 3], MS, jfx.TimeAxisError, "uneven steps: 1.1 ms after index 1"),
        ([0, 1, 1, 2], MS, jfx.TimeAxisError, "a repeated time at index 2"),
        ([0, 1, 0.5, 2], MS, jfx.TimeAxisError, "a step back at index 2"),
        ([3, 2, 1, 0], MS, jfx.TimeAxisError, "a step back at index 1"),
        (
            [0, np.nan, 2, np.inf],
            MS,
            jfx.TimeAxisError,
            "2 values not finite, the first at index 1",
        ),
        (np.array([0, "NaT", 2], "m8[ns]"), None, jfx.TimeAxisError, "1 values not finite"),
        (np.array(["2020", "2021"], "M8[ns]"), None, jfx.TimeAxisError, "datetime64"),
        (["a", "b"], MS, jfx.TimeAxisError, "<U1"),
        ([0.0, 1.0], {"units": "mV"}, jfx.UnitError, "'mV'"),
        ([0.0, 1.0], {"units": "moments"}, jfx.UnitError, "cannot read"),
        (np.array([0, 1, 2.01], "f4"), MS, jfx.TimeAxisError, "uneven"),
    ],
)
def test_bad_axes_are_refused(refused, times, attrs, error, said):
    ds = at(times, attrs)
    before = ds.copy(deep=True)
    for call in (ds.jfne.to_signals, ds.jfne.validate().raise_problems):
        with refused(error, said):
            call()
    assert ds.identical(before)


@pytest.mark.parametrize(
    "times", [STEPS, STEPS.astype("f4"), (0.025 * np.arange(40001)).astype("f4")]
)
@pytest.mark.parametrize("dt", [0.0251, 0.02499, 0.05, "25 ms"])
def test_a_dt_that_disagrees_is_refused(refused, times, dt):
    with refused(jfx.TimeAxisError, "to agree", "drop_vars"):
        at(times, MS).jfne.to_signals(dt_ms=dt)


@pytest.mark.parametrize("dt", [0.025, "25 us", ureg.Quantity(25e-6, "s")])
def test_a_dt_that_agrees_is_taken(dt):
    for times in (STEPS, STEPS.astype("f4")):
        assert times_of(at(times, MS), dt_ms=dt)[1] == pytest.approx(0.025, rel=1e-15)


@pytest.mark.parametrize("dt", [0, -1, np.nan, np.inf, -np.inf])
def test_check_dt(refused, dt):
    with refused(jfx.TimeAxisError, "positive"):
        check_dt(dt)


def test_times_from_dt_do_not_drift():
    times = time_from_dt(0.1, 1_000_001)
    assert times[-1] == 0.1 * 1_000_000
    assert even_times(xr.Variable("time", times, MS), None)[1] == pytest.approx(0.1, rel=1e-12)


# ------------------------------------------------------------------------- times are the numbers that one types


@pytest.mark.parametrize(
    "dt", [0.1, 0.2, 0.025, 0.05, 1e-3, "25 us", "0.1 ms", "1e-4 s", "0.3 ms", 1 / 30]
)
def test_labels_and_slices_are_what_is_typed(dt):
    n = 400
    ds = jfx.traces(np.zeros((1, n)), ("unit", "time"), dt_ms=dt)
    step = Fraction(1, 30) if dt == 1 / 30 else Fraction(str(ds.time.values[1]))
    typed = [float(step * k) for k in range(n)]
    assert ds.time.values.tolist() == typed
    for k in (0, 1, 3, 7, 57, n - 1):
        assert ds.sel(time=typed[k]).time == typed[k]
        assert ds.sel(time=slice(0, typed[k])).sizes["time"] == k + 1
    assert ds.jfne.to_signals().time.values.tolist() == typed
    assert ds.jfne.provenance["steps"][-1]["parameters"]["dt_ms"] == float(step)


def test_converted_times_are_what_is_typed():
    want = [float(Fraction(k, 10)) for k in range(2000)]
    k = np.arange(2000)
    for times, unit in (
        (k * 1e-4, "s"),
        (k / 1e4, "s"),
        (k * 100, "us"),
        ((k * 1e-4).astype("f4"), "s"),
    ):
        found, dt = times_of(at(times, {"units": unit}))
        assert (found.tolist(), dt) == (want, 0.1), unit
    assert times_of(at((k * 1e5).astype("m8[ns]")))[0].tolist() == want
    assert times_of(at((k * 0.1 + 500).astype("f4"), MS))[0].tolist() == [
        float(Fraction(k, 10) + 500) for k in range(2000)
    ]
    # those given in ms stay the same floats: they may label other data of the same user
    np.testing.assert_array_equal(jfx.traces(np.zeros(2000), ["time"], time=k * 0.1).time, k * 0.1)


def test_times_are_the_same_up_to_rounding():
    k = np.arange(2000)
    one = k / 10
    for other in (
        k * 0.1,
        (k * 0.1).astype("f4").astype(float),
        np.cumsum(np.full(2000, 0.1)) - 0.1,
        one + 9e-4,
    ):
        assert same_times(one, other)
    for other in (k * 0.1001, one + 0.05, one + 2e-3, one[1:], np.arange(2000) / 5):
        assert not same_times(one, other)
    assert same_times(one[:1], one[:1] + 1e-12)
    assert not same_times(one[:1], one[:1] + 1e-3)
    assert same_times(one[:0], one[:0])


def test_a_remedy_gives_the_same_times():
    k = np.arange(100)
    data = at(k / 10, MS)
    for other in (at(k[:40] / 10 + 3, MS), at(k * 0.1 + 2, MS), at(k[:50] / 5, MS)):
        for a, b in ((data, other), (other, data)):
            said = time_remedy(a.time.values, b.time.values, "data", "other")
            parts = said.split(", ", said.count(", "))[0:-1]
            made = [eval(p, {"data": a, "other": b}) for p in ", ".join(parts).split(" and ")]
            pair = made if len(made) == 2 else [made[0], b if said.startswith("data") else a]
            assert same_times(*(x.time.values for x in pair)), said
    assert "simulate or record" in time_remedy(k / 10, k / 15, "data", "other")
    shifted = time_remedy(k / 10, k / 10 + 0.05, "data", "other")
    assert shifted.startswith("other.assign_coords(time=data.time)")


K = np.arange(2000)


@pytest.mark.parametrize("quantify", [False, True])
@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (K * 0.1, "ms"),
        (K / 3e4 + 2, "s"),
        ((K * 0.1 + 500).astype("f4"), "ms"),
        (K * 100, "us"),
        ((K * 1e5).astype("m8[ns]"), None),
    ],
)
def test_a_gap_is_filled_with_nan(refused, times, unit, quantify):
    v = np.where(np.random.default_rng(0).random((3, 2000)) < 0.02, 20.0, -65.0)
    attrs = {} if unit is None else {"units": unit}
    whole = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=quantify)
    whole = whole.assign_coords(time=("time", times, attrs)).jfne.to_signals()
    whole = whole.assign_coords(time=("time", times, attrs))
    seen = (K <= 500) | ((K > 1000) & (K < 1007)) | (K > 1010)
    gap = whole.isel(time=seen)
    with refused(jfx.TimeAxisError, "uneven steps", "reindex") as caught:
        gap.jfne.firing_rate()
    filled, part = caught.value.problems[0].remedy.split(
        ", with NaN in the gap; or samples without a gap: "
    )
    dt = 1e-3 / 30 if unit == "s" else 1e-4
    for remedy, want in (
        (filled, whole.spikes.values[:, seen]),
        (part, whole.spikes.values[:, 1011:]),
    ):
        made = eval(remedy, {"ds": gap, "np": np})
        rate = magnitude(made.jfne.firing_rate().firing_rate.variable.data)
        np.testing.assert_allclose(rate, want.mean(1) / dt, rtol=1e-6)
        assert units_of(made.V_m) == "mV"
    if unit == "ms" and times.dtype == float:
        np.testing.assert_array_equal(eval(filled, {"ds": gap, "np": np}).time, K / 10)


@pytest.mark.parametrize(("jitter", "shift"), [(0.0, 50.03), (0.02, 50.0)])
def test_a_gap_between_other_times_is_not_interpolated(refused, jitter, shift):
    times = K * 0.1 + np.random.default_rng(0).uniform(-jitter, jitter, 2000) + shift * (K > 900)
    with refused(jfx.TimeAxisError, "uneven steps") as caught:
        at(times, MS).jfne.to_signals()
    remedy = caught.value.problems[0].remedy.partition("gap: ")[2]
    part = eval(remedy, {"ds": at(times, MS)})
    assert part.sizes["time"] == 1099
    if jitter:
        with refused(jfx.TimeAxisError, "resample first", "interp"):
            part.jfne.to_signals()
    else:
        part.jfne.to_signals()


def test_times_and_an_interval_that_agree_are_decimal():
    for times in (K * 0.1, np.linspace(0, 199.9, 2000), K * 0.1 + 0.3):
        ds = jfx.traces(np.zeros(2000), ["time"], time=times, dt_ms=0.1)
        assert ds.time.values.tolist() == [float(round(t, 9)) for t in times]
    own = jfx.traces(np.zeros(2000), ["time"], time=K * 0.1)
    assert own.jfne.to_signals(dt_ms=0.1).time.identical(own.time)  # they align with the traces


@pytest.mark.parametrize("start", ["0.3 ms", "0.0003 s", "500.1 ms"])
def test_a_neo_signal_has_decimal_times(start):
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    number, unit = start.split()
    first = pq.Quantity(float(number), unit)
    signal = neo.AnalogSignal(
        np.zeros((2000, 2)), units="mV", sampling_rate=10 * pq.kHz, t_start=first
    )
    ds = jfx.traces(signal, ("time", "unit"))
    first = Fraction(number) * (1000 if unit == "s" else 1)
    assert ds.time.values.tolist() == [float(first + Fraction(int(k), 10)) for k in K]


@pytest.mark.parametrize("n", [2, 50])
def test_a_transposed_neo_signal_is_refused(refused, n):
    neo, pq = pytest.importorskip("neo"), pytest.importorskip("quantities")
    signal = neo.AnalogSignal(np.zeros((50, n)), units="mV", sampling_rate=10 * pq.kHz)
    with refused(jfx.DimensionError, "leave out .T", "('time', 'unit')"):
        jfx.traces(signal.T, ("unit", "time"))
    v = jfx.traces(np.zeros((50, 50)), ("unit", "time"), dt_ms=0.1)
    if n == 50:
        current = neo.AnalogSignal(np.zeros((50, n)), units="nA", sampling_rate=10 * pq.kHz)
        with refused(jfx.DimensionError, "source"):
            v.jfne.to_signals(source=current)


def test_float32_is_the_decimal_that_it_shows():
    f4, ureg = np.float32, pint.application_registry
    for dt in (f4(0.1), np.array(0.1, "f4"), ureg.Quantity(f4(0.1), "ms"), jnp.float32(0.1)):
        ds = jfx.traces(np.zeros(20), ["time"], dt_ms=dt)
        assert ds.time.values.tolist() == (np.arange(20) / 10).tolist()
    for dt in (ureg.Quantity(f4(25), "us"), ureg.Quantity(np.array(25e-6, "f4"), "s")):
        assert jfx.traces(np.zeros(4), ["time"], dt_ms=dt).time.values[3] == 0.075
