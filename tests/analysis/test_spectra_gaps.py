"""NaN gaps in spectra: segments without are averaged and a warning says so; nothing is drawn as having no power."""

import warnings

import dask.array
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

matplotlib.use("Agg")

X = np.random.default_rng(0).normal(-65, 2, (2, 3, 400))
DIMS = ("unit", "trial", "time")
GAP = X.copy()
GAP[0, 1, 100:130] = np.nan
GAP[1, 2, :3] = np.nan
GAP[1, 0, 399] = np.nan
SEGMENT, STEP = 40, 20


def ds_of(x, dims=DIMS):
    ds = jfx.traces(np.zeros(x.shape), dims, dt_ms=1.0, quantify=False)
    return ds.assign(v=(dims, x, {"units": "mV"}))


def whole(x):
    """Return the segments of a signal that have no NaN."""
    pieces = [x[k : k + SEGMENT] for k in range(0, len(x) - SEGMENT + 1, STEP)]
    return [p for p in pieces if np.isfinite(p).all()]


def loop(x):
    """Return the mean periodogram of the segments without NaN, with Hann's window."""
    taper = np.hanning(SEGMENT + 1)[:-1]
    spectra = [np.abs(np.fft.rfft(taper * (p - p.mean()))) ** 2 for p in whole(x)]
    double = np.full(SEGMENT // 2 + 1, 2.0)
    double[[0, -1]] = 1
    return np.mean(spectra, axis=0) * double / (taper**2).sum() * 1e-3


@pytest.mark.filterwarnings("ignore:v.* are NaN")
def test_segments_without_gaps_are_averaged(backend, order):
    x = xr.DataArray(GAP, dims=DIMS).transpose(*[{"unit": "unit"}.get(d, d) for d in order])
    ds = backend.by_hand(x.values, order, dt=1.0)
    for how in ({}, {"skipna": True}):
        made = jfx.psd(ds, segment=SEGMENT, **how).psd
        assert backend.holds(made)
        got = backend.values(made.transpose(*DIMS[:2], "frequency"))
        for place in np.ndindex(2, 3):
            want = loop(GAP[place])
            assert np.abs(got[place] - want).max() < 1e-5 * want.max()


def test_a_warning_says_what_is_left():
    with pytest.warns(UserWarning, match=r"34 of 2400 values are NaN.*16 to 19 of 19.*skipna=True"):
        jfx.psd(ds_of(GAP), segment=SEGMENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jfx.psd(ds_of(GAP), segment=SEGMENT, skipna=True)
        one = jfx.psd(ds_of(X), segment=SEGMENT)
        for how in (True, False):
            assert one.identical(jfx.psd(ds_of(X), segment=SEGMENT, skipna=how))


def test_coherence_leaves_out_gaps_of_either():
    a, b = GAP[0, 1], GAP[1, 2] + GAP[0, 1]
    with pytest.warns(UserWarning, match="v and v"):
        made = jfx.coherence(
            ds_of(a, ["time"]), ds_of(GAP[1, 2] + X[0, 1], ["time"]), segment=SEGMENT
        )
    taper = np.hanning(SEGMENT + 1)[:-1]
    both = [
        [np.fft.rfft(taper * (q - q.mean())) for q in (p.real, p.imag)] for p in whole(a + 1j * b)
    ]
    sx, sy = np.array(both).transpose(1, 0, 2)
    cross = np.abs((sx.conj() * sy).mean(0)) ** 2
    want = cross / ((np.abs(sx) ** 2).mean(0) * (np.abs(sy) ** 2).mean(0))
    np.testing.assert_allclose(made.coherence, want, rtol=1e-6)
    assert (made.coherence <= 1 + 1e-9).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_what_cannot_be_estimated_is_refused(refused, lazy):
    wrap = (lambda x: dask.array.from_array(x, chunks=(1, 2, 100))) if lazy else (lambda x: x)
    far = GAP.copy()
    far[1, 1, 30::60] = np.nan
    call = lambda x, **how: jfx.psd(ds_of(wrap(x)), segment=SEGMENT, **how).compute()
    check = pytest.raises(jfx.NonFiniteError)
    with check if lazy else refused(jfx.NonFiniteError, "34 of 2400"):
        call(GAP, skipna=False)
    far[1, 1, 5::30] = np.nan
    with (
        check
        if lazy
        else refused(jfx.NonFiniteError, "the first at unit=1, trial=1", "segment=") as caught
    ):
        call(far, skipna=True)
    if not lazy:
        remedy = caught.value.problems[0].remedy
        segment = remedy.removeprefix("segment=").strip('"')
        assert np.isfinite(jfx.psd(ds_of(far), segment=segment, skipna=True).psd).all()
    with check if lazy else refused(jfx.NonFiniteError, "Inf"):
        call(np.where(np.isnan(GAP), np.inf, GAP))
    everything = X.copy()
    everything[0] = np.nan
    with check if lazy else refused(jfx.NonFiniteError, "3 of 6 signals", "dropna"):
        call(everything)
    if not lazy:
        kept = eval('data.dropna("unit", how="all")', {"data": ds_of(everything)})
        assert kept.sizes["unit"] == 1
        with refused(jfx.NonFiniteError, "v"):
            jfx.coherence(ds_of(X[0, 0], ["time"]), ds_of(far[1, 1], ["time"]), segment=SEGMENT)
        with refused(jfx.ArgumentError, "'no'"):
            jfx.psd(ds_of(X), skipna="no")
        bad = jfx.psd(ds_of(X), segment=SEGMENT)
        bad = bad.assign(psd=bad.psd.where(bad.unit > 0))
        with refused(jfx.NonFiniteError, "psd"):
            jfx.band_power(bad, {"all": (0, 400)})


def test_under_jit_nan_stay_unless_they_are_to_be_skipped():
    run = lambda x, **how: jfx.psd(ds_of(x), segment=SEGMENT, **how).psd.data
    x = jnp.asarray(GAP, jnp.float32)
    want = run(np.asarray(x), skipna=True)
    np.testing.assert_allclose(jax.jit(lambda x: run(x, skipna=True))(x), want, rtol=1e-5)
    slope = jax.grad(lambda x: run(x, skipna=True).sum())(x)
    assert np.isfinite(slope).all()
    assert not slope[0, 1, 100:130].any()
    assert np.isnan(jax.jit(run)(x)[0, 1]).all()


def test_pictures_of_gaps_show_the_rest():
    ds = ds_of(GAP[0, :2], ("unit", "time"))
    with pytest.warns(UserWarning, match="are NaN"):
        ax = ds.jfne.plot.spectrum(segment=SEGMENT)
    assert all(np.isfinite(line.get_ydata()).all() for line in ax.lines[:2])
    assert not [t for t in ax.texts if "power" in t.get_text()]
    ax = ds.isel(unit=1).jfne.plot.spectrogram(segment=SEGMENT, overlap=0.5)
    image = np.ma.filled(ax.collections[0].get_array(), np.nan)
    blank = [not np.isfinite(GAP[0, 1, k : k + SEGMENT]).all() for k in range(0, 361, STEP)]
    np.testing.assert_array_equal(np.isnan(image).all(axis=0), blank)
    np.testing.assert_array_equal(np.isnan(image).any(axis=0), blank)
    ax = ds.where(ds.time < 0).jfne.plot.spectrum(segment=SEGMENT)
    assert [t.get_text() for t in ax.texts] == ["no finite values"]
    with pytest.warns(UserWarning, match="0 to 16 of 19"):
        ax = ds.where(ds.unit > 0).jfne.plot.spectrum(segment=SEGMENT)
    assert [np.isfinite(line.get_ydata()).any() for line in ax.lines[:2]] == [False, True]
    nothing = ds.isel(unit=1).where(ds.time < 0).jfne.plot.spectrogram(segment=SEGMENT)
    assert "no finite values" in [t.get_text() for t in nothing.texts]
    lost = jfx.psd(ds_of(X[0], ("unit", "time")), segment=SEGMENT)
    ax = lost.where(lost.frequency < 0).jfne.plot.spectrum()
    assert [t.get_text() for t in ax.texts] == ["no finite values"]
    ax = (0 * lost).jfne.plot.spectrum()
    assert [t.get_text() for t in ax.texts] == ["no power"]
