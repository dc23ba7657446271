"""Spike times as the input of a model: what `spike_times` lists comes back, and ragged lists become spikes."""

import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx

ureg = pint.application_registry
N = 400
V = np.where(np.random.default_rng(0).random((N, 3)) < 0.02, 20.0, -65.0)
TIMES = [[0.1, 3.0, 3.04, 39.9], [], [20.0]]


def model(n=3, **emitter):
    cfg = jfx.configuration().network(n=n).emitter(mode="external_spikes", **emitter)
    return jfx.construct(cfg.field(domain="point").probe(name="p"))


def spikes_of(source, n=3, **options):
    return model(n).simulate_external(source, **options).spikes


def signals_of(v=V, dims=("time", "unit"), dt=0.1, **coords):
    return jfx.traces(v, dims, dt_ms=dt, coords=coords).jfne.to_signals(refractory=0)


@pytest.mark.parametrize("dims", [("time", "unit"), ("unit", "time"), ("trial", "time", "unit")])
@pytest.mark.parametrize("dt", [0.1, 0.025, 1 / 30])
def test_a_list_comes_back_as_the_spikes_it_was_made_of(dims, dt):
    v = {2: V if dims[0] == "time" else V.T, 3: np.stack([V, V[::-1]])}[len(dims)]
    signals = signals_of(v, dims, dt)
    times = signals.jfne.spike_times()
    for source, how in (
        (times, {}),
        (times, {"dt_ms": dt}),
        (times.time, {"dt_ms": dt, "duration": N * dt}),
    ):
        made = spikes_of(source, **how)
        if source is times:
            assert made.dims == dims
            np.testing.assert_array_equal(made, signals.spikes)
            np.testing.assert_array_equal(made.time, signals.time)
            np.testing.assert_array_equal(made.unit, signals.unit)
        elif len(dims) == 2:
            np.testing.assert_array_equal(made.transpose("time", "unit"), V > 0)


def test_a_selection_a_window_and_soft_times():
    signals = signals_of()
    later = signals.sel(time=slice(20, 30))
    made = spikes_of(later.jfne.spike_times())
    np.testing.assert_array_equal(made, later.spikes)
    np.testing.assert_array_equal(made.time, later.time)
    times = signals.jfne.spike_times()
    made = spikes_of(times.isel(spike=times.unit.values != 1))
    np.testing.assert_array_equal(made, signals.spikes.where(signals.unit != 1, 0))
    soft = jfx.soft_spike_times(signals, 30, refractory=0).spike_time.data.magnitude
    ragged = [row[np.isfinite(row)] for row in soft.T]
    np.testing.assert_array_equal(spikes_of(ragged, dt_ms=0.1, duration=40), signals.spikes)


def test_a_ragged_list():
    want = np.zeros((N, 3), int)
    want[[1, 30, 31, 399], 0] = 1
    want[200, 2] = 1
    seconds = [ureg.Quantity(np.array(t) / 1e3, "s") for t in TIMES]
    for source in (TIMES, tuple(TIMES), [np.array(t) for t in TIMES], seconds):
        for duration in (40.0, "40 ms", "0.04 s"):
            made = spikes_of(source, dt_ms=0.1, duration=duration)
            np.testing.assert_array_equal(made, want)
            assert made.dims == ("time", "unit")
            assert made.dtype == bool
    counts = spikes_of([[5.0, 4.95, 5.0], [5.0], []], dt_ms=0.1, duration=10)
    assert counts.sum("time").values.tolist() == [3, 1, 0]
    assert counts.sel(time=5.0).values.tolist() == [3, 1, 0]
    equal = spikes_of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dt_ms=0.1, duration=10)
    assert equal.sum() == 6
    assert spikes_of([[1.0, 2.0]], n=1, dt_ms=0.1, duration=10).shape == (100, 1)
    none = spikes_of([[], [], []], dt_ms=0.1, duration=10)
    assert (none.shape, int(none.sum())) == ((100, 3), 0)
    # an array and nested lists of equal length stay arrays of spikes
    assert spikes_of([[0, 1, 0], [1, 0, 0]], dt_ms=0.1).sizes["time"] == 2


def test_charge_and_labels():
    made = model(weight=2.0, tau=5.0).simulate_external(TIMES, dt_ms=0.1, duration=40)
    dense = model(weight=2.0, tau=5.0).simulate_external(made.spikes.values, dt_ms=0.1)
    np.testing.assert_array_equal(made.source, dense.source)
    names = signals_of(unit=("unit", list("cab"))).jfne.spike_times()
    assert {*np.unique(names.unit)} == {*"abc"}
    back = spikes_of(names)
    for name in "abc":
        np.testing.assert_array_equal(
            back.sel(unit=name), V[:, "cab".index(name)] * (V[:, "cab".index(name)] > 0) > 0
        )
    by_hand = xr.Dataset(
        coords={"time": ("spike", [1.0, 2.0], {"units": "ms"}), "unit": ("spike", [2, 0])}
    )
    assert spikes_of(by_hand, dt_ms=0.1, duration=5).values.nonzero()[0].tolist() == [10, 20]
    steps = [s["function"] for s in model().simulate_external(names).jfne.provenance["steps"]]
    assert steps[:3] == ["traces", "to_signals", "spike_times"]
    mean = signals_of(np.stack([V, V]), ("trial", "time", "unit")).assign()
    mean = mean.assign(spikes=mean.spikes.astype(float)).mean("trial")
    assert jfx.spike_times(mean * 1).sizes["spike"] == (V > 0).sum()


@pytest.mark.parametrize(
    ("source", "options", "error", "said"),
    [
        (TIMES, {"dt_ms": 0.1}, jfx.TimeAxisError, "duration"),
        (TIMES, {"duration": 40}, jfx.TimeAxisError, "dt_ms"),
        (TIMES[:2], {"dt_ms": 0.1, "duration": 40}, jfx.DimensionError, "each of the 3 sites"),
        (
            [1.0, 2.0, 3.0],
            {"dt_ms": 0.1, "duration": 40},
            jfx.DimensionError,
            "[times] for a single",
        ),
        ([[41.0], [], []], {"dt_ms": 0.1, "duration": 40}, jfx.DataError, 'duration="41.1 ms"'),
        (
            [[39.95], [], []],
            {"dt_ms": 0.1, "duration": 40},
            jfx.DataError,
            "that of the last sample",
        ),
        ([[-1.0], [], []], {"dt_ms": 0.1, "duration": 40}, jfx.DataError, "the first at -1 ms"),
        ([[-0.01], [], []], {"dt_ms": 0.1, "duration": 40}, jfx.DataError, "outside"),
        ([[np.nan], [], []], {"dt_ms": 0.1, "duration": 40}, jfx.NonFiniteError, "1 of 1"),
        ([["x"], [], []], {"dt_ms": 0.1, "duration": 40}, jfx.UnitError, "source[0]"),
        (TIMES, {"dt_ms": 0.1, "duration": "4 mV"}, jfx.UnitError, "duration"),
        (TIMES, {"dt_ms": 0.1, "duration": -1}, jfx.ArgumentError, "at least one sample"),
        (TIMES, {"dt_ms": 0.1, "duration": np.nan}, jfx.ArgumentError, "finite"),
        (V > 0, {"dt_ms": 0.1, "duration": 40}, jfx.ArgumentError, "leave it out"),
    ],
)
def test_what_is_wrong_is_said(refused, source, options, error, said):
    with refused(error, said):
        model().simulate_external(source, **options)


def test_lists_of_datasets_that_say_too_little(refused):
    times = signals_of().jfne.spike_times()
    with refused(jfx.TimeAxisError, "duration"):
        model().simulate_external(times.drop_attrs(), dt_ms=0.1)
    with refused(jfx.VariableError, "time"):
        model().simulate_external(times.drop_vars("time"))
    with refused(jfx.DimensionError, "no coordinate 'unit'", "assign_coords(unit="):
        model().simulate_external(times.drop_vars("unit"))
    few = times.isel(spike=times.unit.values > 0).assign_coords(
        unit=("spike", ["a"] * int((times.unit > 0).sum()))
    )
    with refused(jfx.DimensionError, "the list does not name others"):
        model().simulate_external(few)
    with refused(jfx.DimensionError, "the configuration with n=3"):
        model(2).simulate_external(times)
    cfg = jfx.configuration().network(n=3).emitter().field(domain="point").probe(name="p")
    with refused(jfx.ArgumentError, "duration"):
        jfx.construct(cfg).simulate_external(V, dt_ms=0.1, duration=40)
    for no_array in (TIMES, [["x"], ["y"], ["z"]], [None, 1.0, 2.0]):
        with refused(jfx.ArgumentError, "source", "array of real numbers"):
            jfx.construct(cfg).simulate_external(no_array, dt_ms=0.1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("dt", [0.1, 0.025])
def test_times_in_32_bits_are_those_of_their_samples(dtype, dt):
    samples = np.arange(round(50_000 / dt), round(50_000 / dt) + 500)  # 50 s, rounded by up to 2 us
    times = (samples * dt).astype(dtype)
    duration = float((samples[-1] + 1) * dt)
    ragged = [times, times[:2].tolist()]  # the coarsest of them decides
    listed = xr.Dataset(
        coords={"time": ("spike", times, {"units": "ms"}), "unit": ("spike", 0 * samples)}
    )
    for source, n in ((ragged, 2), (listed, 1)):
        made = spikes_of(source, n, dt_ms=dt, duration=duration)
        row = made.transpose("unit", "time").values[0]
        np.testing.assert_array_equal(np.flatnonzero(row), samples)
    made = spikes_of([times + np.asarray(0.6 * dt, dtype)], 1, dt_ms=dt, duration=duration + dt)
    np.testing.assert_array_equal(np.flatnonzero(made.values.ravel()), samples + 1)
