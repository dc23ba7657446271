"""`psd`, `coherence`, `band_power`: against scipy and elephant, on every kind of array, in every order of dims."""

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxfne_xr as jfx
from jaxfne_xr.core.units import units_of

DIMS = ("time", "unit", "trial")
N = 96


@pytest.fixture
def v():
    """Float32 voltages on (time, unit, trial)."""
    t = np.arange(N)[:, None, None]
    noise = np.random.default_rng(2).normal(0, 1, (N, 3, 2))
    return (-65 + np.sin(t * np.arange(1, 4)[:, None] / 4) + noise).astype("f4")


@pytest.fixture
def traces(backend, order, v):
    turned = v.transpose([DIMS.index(d) for d in order])
    return backend.by_hand(turned, order, dt=0.5).assign_coords(trial=["a", "b"])


def close(got, want, tol):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tol * np.abs(want).max()


def replaced(order, new):
    return tuple(new if d == "time" else d for d in order)


@pytest.mark.slow
@pytest.mark.parametrize("window", ["hann", "boxcar"])
@pytest.mark.parametrize("detrend", ["constant", "none"])
def test_psd(backend, order, traces, v, window, detrend):
    before = traces.copy(deep=True)
    made = jfx.psd(traces, segment="16 ms", overlap=0.25, window=window, detrend=detrend)
    f, want = scipy.signal.welch(
        v.astype(float),
        2000.0,
        window,
        32,
        8,
        detrend="constant" if detrend == "constant" else False,
        axis=0,
    )
    assert made.psd.dims == replaced(order, "frequency")
    assert backend.holds(made.psd)
    assert (units_of(made.psd), made.psd.dtype) == ("mV^2/Hz", np.float32)
    np.testing.assert_allclose(made.frequency, f, rtol=1e-14)
    assert made.frequency.attrs["units"] == "Hz"
    want = want.transpose([DIMS.index(d) for d in order])
    close(backend.values(made.psd), want, 2e-5 if detrend == "constant" else 2e-4)
    assert made.trial.values.tolist() == ["a", "b"]
    assert traces.identical(before)


def test_coherence(backend, order, traces, v):
    one = traces[["v"]].isel(unit=0)
    made = jfx.coherence(one, traces[["v"]], segment=8.0)
    _, want = scipy.signal.coherence(
        v[:, :1].astype(float), v.astype(float), 2000.0, "hann", 16, axis=0
    )
    assert set(made.coherence.dims) == {"frequency", "unit", "trial"}
    assert backend.holds(made.coherence)
    assert units_of(made.coherence) == "1"
    got = xr.DataArray(backend.values(made.coherence), dims=made.coherence.dims)
    close(got.transpose("frequency", "unit", "trial"), want, 2e-3)


def test_the_wider_of_two_precisions_counts():
    x = np.sin(np.arange(400.0) ** 2)
    wide, narrow = (jfx.traces(a, ["time"], dt_ms=1.0) for a in (x, x.astype("f4")))
    assert (
        jfx.coherence(wide, narrow).coherence.dtype
        == jfx.coherence(narrow, wide).coherence.dtype
        == float
    )


def test_band_power(backend, order, traces):
    spectrum = jfx.psd(traces, segment=16.0)
    made = jfx.band_power(spectrum, {"low": (70, "0.3 kHz"), "high": (300, 1000)})
    assert made.band_power.dims == replaced(order, "band")
    assert backend.holds(made.band_power)
    assert units_of(made.band_power) == "mV^2"
    assert made.band.values.tolist() == ["low", "high"]
    assert (made.low.values.tolist(), made.high.values.tolist()) == ([70, 300], [300, 1000])
    f = spectrum.frequency.values
    density = np.moveaxis(backend.values(spectrum.psd), order.index("time"), -1)
    want = []
    for low, high in ((70, 300), (300, 1000)):
        fine = np.linspace(low, high, 40_001)
        line = np.apply_along_axis(lambda s, at=fine: np.interp(at, f, s), -1, density)
        want.append(np.trapezoid(line, fine))
    close(np.moveaxis(backend.values(made.band_power), order.index("time"), 0), want, 2e-6)


def test_the_usual_bands_reach_as_far_as_the_spectrum():
    x = jfx.traces(np.sin(np.arange(4000.0)), ["time"], dt_ms=10.0)  # 50 Hz
    made = jfx.band_power(jfx.psd(x, segment=1000))
    assert made.band.values.tolist() == ["delta", "theta", "alpha", "beta"]


def test_a_data_array_will_do(v):
    ds = jfx.traces(v[:, 0, 0], ["time"], dt_ms=0.5)
    assert jfx.psd(ds.v).psd.equals(jfx.psd(ds).psd)
    assert jfx.psd(ds.v.rename(None)).psd.equals(jfx.psd(ds).psd)


def test_spikes_have_a_spectrum():
    signals = jfx.traces(
        np.where(np.arange(1000) % 20 == 5, 20.0, -65.0), ["time"], dt_ms=1.0, quantify=False
    ).jfne.to_signals()
    made = jfx.psd(signals, "spikes", segment=200)
    assert units_of(made.psd) == "1/Hz"
    peaks = made.frequency[1:][made.psd.values[1:] > 1e-3 * made.psd.values.max()]
    assert set(np.round(peaks.values / 50.0) * 50) == {50.0 * k for k in range(1, 11)}


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_spectra_are_those_of_elephant(v):
    import elephant.spectral
    import neo
    import quantities as pq

    x = v[:, :, 0].astype(float)
    signal = neo.AnalogSignal(x, units="mV", sampling_rate=2000 * pq.Hz)
    ds = jfx.traces(x, ("time", "unit"), dt_ms=0.5)
    options = {"len_segment": 32, "overlap": 0.5, "window": "hann"}
    _, want = elephant.spectral.welch_psd(signal, **options)
    close(jfx.psd(ds, segment=16.0).psd.data.magnitude.T, np.asarray(want), 1e-9)
    _, want, _ = elephant.spectral.welch_coherence(signal[:, 0], signal[:, 1], **options)
    made = jfx.coherence(ds.isel(unit=0), ds.isel(unit=1), segment=16.0)
    close(made.coherence.data.magnitude, np.asarray(want).ravel(), 1e-9)


@pytest.mark.slow
def test_gradients_and_jit(x64):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(64, 2)))

    def power(x):
        ds = jfx.traces(x, ("time", "unit"), dt_ms=1.0, quantify=False)
        together = jfx.coherence(
            ds.isel(unit=0), ds.isel(unit=1), segment=16.0
        ).coherence.data.sum()
        return (
            jfx.band_power(jfx.psd(ds, segment=16.0), {"b": (90, 300)}).band_power.data.sum()
            + together
        )

    slope = jax.jit(jax.grad(power))(x)
    way = np.random.default_rng(1).normal(size=x.shape)
    want = (power(x + 1e-5 * way) - power(x - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose((slope * way).sum(), want, rtol=1e-6)
    assert jax.vmap(power)(jnp.stack([x, x])).shape == (2,)


# ---------------------------------------------------------------------------------------------- bad input


def trace(n=64, dt=1.0):
    return jfx.traces(np.sin(np.arange(float(n))), ["time"], dt_ms=dt)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: jfx.psd(trace(), segment=1000), jfx.ArgumentError, "1000 samples, of 64 in all"),
        (lambda: jfx.psd(trace(), segment=0), jfx.ArgumentError, "at least two samples"),
        (lambda: jfx.psd(trace(), segment=float("inf")), jfx.ArgumentError, "segment"),
        (lambda: jfx.psd(trace(), segment=float("nan")), jfx.ArgumentError, "segment"),
        (lambda: jfx.psd(trace(), segment="3 Hz"), jfx.UnitError, "segment"),
        (lambda: jfx.psd(trace(), overlap=1.0), jfx.ArgumentError, "less than 1"),
        (lambda: jfx.psd(trace(), overlap=-0.1), jfx.ArgumentError, "overlap"),
        (lambda: jfx.psd(trace(), window="kaiser"), jfx.ArgumentError, "['hann', 'boxcar']"),
        (lambda: jfx.psd(trace(), detrend="linear"), jfx.ArgumentError, "['constant', 'none']"),
        (
            lambda: jfx.psd(trace(), detrend="x", window="y", overlap=2),
            jfx.ArgumentError,
            "3 problems",
        ),
        (lambda: jfx.psd(trace(), "u"), jfx.VariableError, "'u'"),
        (lambda: jfx.psd(trace().jfne.to_signals()), jfx.VariableError, "ds[['V_m']]"),
        (lambda: jfx.psd(trace().isel(time=0)), jfx.DimensionError, "time"),
        (lambda: jfx.psd(trace().isel(time=[0])), jfx.TimeAxisError, "one sample"),
        (
            lambda: jfx.coherence(trace(), trace(32)),
            jfx.DimensionError,
            "isel(time=slice(0, 32))",
        ),
        (lambda: jfx.coherence(trace(), trace(dt=2.0)), jfx.DimensionError, "the same times"),
        (
            lambda: jfx.coherence(trace(), trace(), segment=64),
            jfx.ArgumentError,
            "coherence of one is 1",
        ),
        (lambda: jfx.coherence(trace(2), trace(2)), jfx.ArgumentError, "at least two"),
        (lambda: jfx.band_power(trace()), jfx.VariableError, "psd"),
        (lambda: jfx.band_power(jfx.psd(trace()), {"g": (30, 501)}), jfx.ArgumentError, "Nyquist"),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"g": (30, 30)}),
            jfx.ArgumentError,
            "30 to 30 Hz",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"g": (80, 30)}),
            jfx.ArgumentError,
            "a higher one",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"g": (-1, 30)}),
            jfx.ArgumentError,
            "bands['g']",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"g": 30}),
            jfx.ArgumentError,
            "a lower and an upper edge",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"g": ("30 ms", 80)}),
            jfx.UnitError,
            "bands['g']",
        ),
        (lambda: jfx.band_power(jfx.psd(trace()), ["g"]), jfx.ArgumentError, "a mapping"),
        (lambda: jfx.band_power(jfx.psd(trace()), {}), jfx.ArgumentError, "at least one band"),
        (
            lambda: jfx.band_power(jfx.psd(trace(), segment=50), {"g": (30, 49.9)}),
            jfx.ArgumentError,
            "30 to 49.9 Hz, narrower than the frequency spacing of 20 Hz",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace(), segment=50), {"a": (8, 12), "b": (1, 4)}),
            jfx.ArgumentError,
            "segment='250 ms'",
        ),
        (
            lambda: jfx.band_power(jfx.psd(trace(), segment=2)),
            jfx.ArgumentError,
            "segments of 20 ms",
        ),
        (lambda: jfx.band_power(jfx.psd(trace(dt=1000.0))), jfx.ArgumentError, "at least one band"),
        (
            lambda: jfx.band_power(jfx.psd(trace()), {"a": (1, 999), "b": (2, 1)}),
            jfx.ArgumentError,
            "2 problems",
        ),
    ],
)
def test_what_is_wrong_is_said(refused, call, error, said):
    with refused(error, said):
        call()


# --------------------------------------------------------------------------------------------------- laws

signal = arrays(float, (40, 2), elements=st.floats(-100, 100, allow_subnormal=False))


def spectrum(x, **options):
    ds = xr.Dataset({"x": (("time", "unit"), x, {"units": "mV"})})
    ds = ds.assign_coords(time=("time", np.arange(len(x)) * 1.0, {"units": "ms"}))
    return jfx.psd(ds, **options).psd


@given(x=signal, factor=st.floats(-10, 10), shift=st.floats(-100, 100))
def test_power_is_quadratic_and_blind_to_the_mean(x, factor, shift):
    want = factor**2 * spectrum(x)
    scale = 1e-9 * (1 + factor**2) * (1 + np.abs(x).max() + abs(shift)) ** 2
    np.testing.assert_allclose(spectrum(factor * x + shift), want, rtol=1e-9, atol=scale)


@given(x=signal)
def test_the_sum_is_the_variance(x):
    """One segment without a taper: Parseval."""
    made = spectrum(x, segment=40, window="boxcar")
    df = float(made.frequency[1])
    np.testing.assert_allclose(
        made.sum("frequency") * df, x.var(0), rtol=1e-9, atol=1e-20 + 1e-12 * np.abs(x).max() ** 2
    )


def test_a_band_as_wide_as_the_spacing_will_do():
    spectrum = jfx.psd(trace(), segment=50)  # 20 Hz
    for low in (0, 3.3, 20, 480):
        assert np.isfinite(jfx.band_power(spectrum, {"a": (low, low + 20)}).band_power.data.m).all()


def test_bands_that_are_not_resolved_are_no_default():
    made = jfx.band_power(jfx.psd(trace(), segment=50))
    assert made.band.values.tolist() == ["gamma"]  # beta is 17 Hz wide


@given(x=signal, low=st.floats(0, 400), width=st.floats(25, 75), rest=st.floats(25, 25))
def test_neighbouring_bands_add_up(x, low, width, rest):
    mid, high = low + width, low + width + rest
    made = jfx.band_power(
        spectrum(x, segment=40).to_dataset(),  # 25 Hz
        {"a": (low, mid), "b": (mid, high), "all": (low, high)},
    ).band_power
    a, b, both = (made.sel(band=name) for name in ("a", "b", "all"))
    np.testing.assert_allclose(a + b, both, rtol=1e-9, atol=1e-12 * np.abs(x).max() ** 2)


@given(x=signal, time=st.integers(1, 40), unit=st.integers(1, 2))
def test_chunks_and_order_make_no_difference(x, time, unit):
    lazy = spectrum(dask.array.from_array(x, chunks=(time, unit)))
    assert isinstance(lazy.data, dask.array.Array)
    scale = 1e-13 * np.abs(x).max() ** 2
    np.testing.assert_allclose(lazy.compute(), spectrum(x), atol=scale)
    ds = xr.Dataset({"x": (("unit", "time"), x.T, {"units": "mV"})})
    turned = jfx.psd(ds.assign_coords(time=("time", np.arange(40.0), {"units": "ms"}))).psd
    np.testing.assert_allclose(turned.transpose(*lazy.dims), spectrum(x), atol=scale)


@given(x=signal, a=st.floats(0.1, 10), b=st.floats(-10, -0.1))
def test_coherence_is_symmetric_between_0_and_1_and_blind_to_scale(x, a, b):
    def coherence(p, q):
        one, other = (jfx.traces(s, ["time"], dt_ms=1.0, quantify=False) for s in (p, q))
        return jfx.coherence(one, other, segment=10.0).coherence.values

    x = x + np.random.default_rng(0).normal(size=x.shape)  # power at every frequency
    made = coherence(x[:, 0], x[:, 1])
    assert ((made >= 0) & (made <= 1 + 1e-9)).all()
    np.testing.assert_allclose(coherence(x[:, 1], x[:, 0]), made, atol=1e-9)
    np.testing.assert_allclose(coherence(a * x[:, 0], b * x[:, 1]), made, atol=1e-7)
    np.testing.assert_allclose(coherence(x[:, 0], a * x[:, 0]), 1, atol=1e-9)


def test_a_coherence_claims_the_weaker_of_two_scopes():
    v = np.random.default_rng(3).normal(-65, 5, (400,))
    voltage = jfx.traces(v, ["time"], dt_ms=1.0)
    current = jfx.traces(v, ["time"], dt_ms=1.0).jfne.to_signals(source=v)[["source"]]
    for pair in ((voltage, current), (current, voltage)):
        made = jfx.coherence(*pair)
        assert made.attrs["source_calibration_status"] == "uncalibrated_voltage_proxy"
        assert made.jfne.scope.source_calibration_status == "uncalibrated_voltage_proxy"
        assert not made.jfne.validate().problems


def test_frequencies_without_a_unit_are_refused(refused):
    ds = jfx.traces(np.sin(np.arange(400.0)), ["time"], dt_ms=1.0, quantify=False)
    spectrum = jfx.psd(ds, segment="100 ms")
    bare = spectrum.assign_coords(frequency=spectrum.frequency.values / 1000)
    with refused(jfx.UnitError, "frequency: found no unit") as caught:
        jfx.band_power(bare, {"low": (10, 90)})
    exec(caught.value.problems[0].remedy.split(",")[0], {"ds": bare})
    assert units_of(bare.frequency) == "Hz"
    said = bare.assign_coords(frequency=bare.frequency.assign_attrs(units="kHz"))
    got, want = (jfx.band_power(s, {"low": (10, 90)}).band_power for s in (said, spectrum))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("unit", [None, "None", "mV^"])
def test_a_unit_that_is_missing_or_not_one_is_said_of_the_variable(unit, refused):
    ds = jfx.traces(np.arange(400.0), ["time"], dt_ms=1.0, name="gate", units="1", quantify=False)
    spectrum = jfx.psd(ds, segment="100 ms")
    spectrum.psd.attrs["units"] = ds.gate.attrs["units"] = unit
    calls = {
        "psd": lambda: jfx.band_power(spectrum, {"low": (10, 90)}),
        "gate": lambda: jfx.psd(ds),
        **({"gate ": lambda: jfx.quantify(ds)} if unit else {}),
        **({"gate  ": lambda: jfx.mean_square_loss(ds, ds)} if unit else {}),
    }
    for name, call in calls.items():
        found = "no unit" if unit is None else repr(unit)
        with refused(
            jfx.UnitError, f"{name.strip()}: found {found}", f'ds["{name.strip()}"].attrs'
        ):
            call()
