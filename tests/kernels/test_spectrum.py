"""Spectra against scipy.signal, against sums that have a known value, and against laws."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy import signal

from jaxfne_xr.kernels.analysis import spectrum

CUT = ("axis", "nperseg", "noverlap", "window", "detrend")
psd = jax.jit(spectrum.psd, static_argnames=CUT)
cross_spectrum = jax.jit(spectrum.cross_spectrum, static_argnames=CUT)
coherence = jax.jit(spectrum.coherence, static_argnames=CUT)
cross_spectrum_matrix = jax.jit(
    spectrum.cross_spectrum_matrix, static_argnames=(*CUT, "group_axis")
)
coherence_matrix = jax.jit(spectrum.coherence_matrix, static_argnames=(*CUT, "group_axis"))
band_power = jax.jit(spectrum.band_power, static_argnames="axis")
pytestmark = pytest.mark.usefixtures("x64")
DT = 0.5  # ms: 2000 Hz
CUTS = [
    {"nperseg": 64},
    {"nperseg": 64, "noverlap": 0},
    {"nperseg": 63, "noverlap": 50},
    {"nperseg": 64, "noverlap": 33, "window": "boxcar"},
    {"nperseg": 500, "detrend": "none"},
]


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def as_scipy(cut):
    detrend = False if cut.get("detrend") == "none" else "constant"
    return {"fs": 1e3 / DT, "window": "hann", **cut, "detrend": detrend}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_psd_is_scipys(cut, axis):
    x = np.moveaxis(noise(3, 2, 500) * 7 - 65, -1, axis)
    f, s = signal.welch(x, axis=axis, **as_scipy(cut))
    close(psd(x, DT, axis=axis, **cut), s)
    close(spectrum.frequencies(cut["nperseg"], DT), f)


@pytest.mark.parametrize("cut", CUTS)
def test_cross_spectrum_is_scipys(cut):
    x, y = noise(500, 3), noise(500, 1, seed=1) - 65
    _, s = signal.csd(x, y, axis=0, **as_scipy(cut))
    close(cross_spectrum(x, y, DT, axis=0, **cut), s)


@pytest.mark.parametrize("cut", CUTS[:3])
def test_coherence_is_scipys(cut):
    x, y = noise(3, 500), noise(500, seed=1) - 65
    _, c = signal.coherence(x, y, **as_scipy(cut))
    close(coherence(x, y, axis=-1, **cut), c)


def test_matrices_hold_all_pairs():
    x = noise(400, 2, 3)
    cut = {"nperseg": 64}
    s = cross_spectrum_matrix(x, DT, axis=0, group_axis=2, **cut)
    c = coherence_matrix(x, axis=0, group_axis=2, **cut)
    assert s.shape == c.shape == (2, 3, 3, 33)
    for g in range(3):
        for h in range(3):
            a, b = x[..., g], x[..., h]
            close(s[:, g, h], cross_spectrum(a, b, DT, axis=0, **cut).T)
            close(c[:, g, h], coherence(a, b, axis=0, **cut).T)


def test_sum_over_frequency_is_the_variance():
    x = noise(64)
    s = psd(x, DT, axis=0, nperseg=64, window="boxcar")
    close(s.sum() * spectrum.frequencies(64, DT)[1], x.var())


def test_angle_is_negative_where_the_second_lags():
    t = np.arange(2000) * DT * 1e-3
    x, y = (np.sin(2 * np.pi * 50 * t - lag) for lag in (0, 0.7))
    s = cross_spectrum(x, y, DT, axis=0, nperseg=400)
    close(jnp.angle(s[10]), -0.7, 1e-9)


def test_coherence_of_a_constant_is_not_defined():
    x = np.stack([noise(400), np.full(400, -65.1)])
    for dtype in (np.float32, np.float64):
        c = np.asarray(coherence_matrix(x.astype(dtype), axis=1, group_axis=0, nperseg=64))
        assert np.isfinite(c[0, 0]).all()
        assert np.isnan(c[0, 1]).all()
        assert np.isnan(c[1, 1]).all()


def test_coherence_is_not_made_of_rounding():
    """The mean is taken off, and a boxcar leaves none of it at 0 Hz but rounding."""
    x, y = noise(2, 400).astype(np.float32) - 65
    c = np.asarray(coherence(x, y, axis=0, nperseg=64, window="boxcar"))
    assert np.isnan(c[0])
    assert np.isfinite(c[1:]).all()


def test_blocks_do_not_show(monkeypatch):
    x = noise(12, 300)
    whole = spectrum.psd(x, DT, axis=1, nperseg=64)
    monkeypatch.setattr(spectrum, "_BLOCK", 5 * 300)
    close(spectrum.psd(x, DT, axis=1, nperseg=64), whole, 1e-15)


def test_precision_follows_the_input_and_events_are_numbers():
    x = noise(300).astype(np.float32)
    s = psd(x, DT, axis=0, nperseg=64)
    assert s.dtype == np.float32
    close(s, psd(x.astype(float), DT, axis=0, nperseg=64), 1e-6)
    spikes = x > 1
    close(
        psd(spikes, DT, axis=0, nperseg=64),
        psd(spikes.astype(float), DT, axis=0, nperseg=64),
    )


def test_no_signals_give_no_spectra():
    assert psd(np.zeros((100, 0)), DT, axis=0, nperseg=64).shape == (33, 0)


@pytest.mark.slow
def test_gradients(check_derivatives):
    x, y = noise(2, 40), noise(2, 40, seed=1)
    cut = {"axis": 1, "nperseg": 8}
    check_derivatives(lambda x: psd(x, DT, **cut), (x,))
    check_derivatives(lambda x, y: cross_spectrum(x, y, DT, **cut), (x, y))
    check_derivatives(lambda x, y: coherence(x, y, **cut), (x, y))
    check_derivatives(lambda x: coherence_matrix(x, **cut, group_axis=0), (x,))


def test_gradient_is_zero_where_coherence_is_not_defined():
    x = jnp.stack([jnp.asarray(noise(40)), jnp.full(40, -65.0)])
    f = lambda x: jnp.nansum(coherence_matrix(x, axis=1, group_axis=0, nperseg=8))
    gradient = jax.grad(f)(x)
    assert np.isfinite(gradient).all()
    assert (gradient[1] == 0).all()


def test_jit_and_vmap_agree_with_the_plain_call():
    x = noise(3, 4, 100)
    f = lambda x: psd(x, DT, axis=1, nperseg=32)
    close(jax.jit(jax.vmap(f))(x), psd(x, DT, axis=2, nperseg=32), 1e-14)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"nperseg": 101}, "longer than the signal of 100"),
        ({"nperseg": 1}, "2 samples or more"),
        ({"nperseg": 10, "noverlap": 10}, "from 0 to nperseg - 1 = 9"),
        ({"nperseg": 10, "window": "kaiser"}, "'hann', 'boxcar'"),
        ({"nperseg": 10, "detrend": "linear"}, "'constant', 'none'"),
        ({"nperseg": 500, "noverlap": -1}, "longer .* noverlap=-1"),
    ],
)
def test_bad_cuts(bad, words):
    with pytest.raises(ValueError, match=words):
        psd(noise(100), DT, axis=0, **bad)


def test_coherence_of_one_segment_is_refused():
    with pytest.raises(ValueError, match="coherence of one segment is 1"):
        coherence(noise(100), noise(100), axis=0, nperseg=80)


# ------------------------------------------------------------------------------------------- bands


def test_band_power_on_frequencies_is_the_trapezoid_rule():
    f, s = spectrum.frequencies(64, DT), noise(3, 33) ** 2
    power = band_power(s, f, f[4], f[9], axis=1)
    close(power, np.trapezoid(s[:, 4:10], f[4:10], axis=1))


def test_band_power_of_a_line_is_exact_anywhere():
    f = np.array([0.0, 1.0, 2.5, 3.0, 7.0])
    power = band_power(2 * f + 1, f, 0.3, 5.2, axis=0)
    close(power, (5.2**2 + 5.2) - (0.3**2 + 0.3))


def test_band_power_takes_many_bands_on_any_axis():
    f, s = spectrum.frequencies(64, DT), noise(3, 33, 2) ** 2
    low, high = np.array([10.0, 20.0, 30.0, 5.0]), np.array([20.0, 35.0, 77.0, 6.0])
    power = band_power(s, f, low, high, axis=-2)
    assert power.shape == (3, 4, 2)
    for b in range(4):
        close(power[:, b], band_power(s, f, low[b], high[b], axis=1))


@given(st.lists(st.floats(0, 1000), min_size=3, max_size=3, unique=True))
def test_bands_add_up(edges):
    a, b, c = sorted(edges)
    f, s = spectrum.frequencies(64, DT), noise(33) ** 2
    p = lambda low, high: band_power(s, f, low, high, axis=0)
    np.testing.assert_allclose(p(a, b) + p(b, c), p(a, c), rtol=1e-10, atol=1e-12 * p(0, 1000))


def test_band_power_gradient_in_an_edge_is_the_density_there():
    f, s = spectrum.frequencies(8, DT), noise(5) ** 2
    edge = 375.0
    slope = jax.grad(lambda high: band_power(s, f, 10.0, high, axis=0))(edge)
    close(slope, np.interp(edge, f, s))


@given(st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 20))
def test_scale_squares_offset_vanishes_and_coherence_sees_neither(scale, offset, seed):
    x, y = noise(2, 200, seed=seed)
    cut = {"axis": 0, "nperseg": 50}
    close(psd(scale * x + offset, DT, **cut), scale**2 * psd(x, DT, **cut), 1e-9)
    other = coherence(scale * x + offset, y, **cut)
    close(other, coherence(x, y, **cut), 1e-9)
    assert (other <= 1 + 1e-12).all()
