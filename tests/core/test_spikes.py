"""What a sample of ``spikes`` stands for: NaN, counts, fractions, other steps, in every function that reads them."""

import warnings

import dask.array
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from packaging.version import Version

import jaxfne_xr as jfx
from jaxfne_xr.core.units import magnitude

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")

matplotlib.use("Agg")

SHAPE = (3, 4, 2000)
V = np.where(np.random.default_rng(0).random(SHAPE) < 0.01, 20.0, -65.0)
POPULATION = {"population": ("unit", list("EEII"))}


def signals_of(v=V, dims=("trial", "unit", "time"), **options):
    ds = jfx.traces(v, dims, dt_ms=0.1, coords=POPULATION, quantify=False)
    return ds.jfne.to_signals(refractory=0, **options)


def number(made):
    """Return the only variable of a result as an array, in its unit."""
    ((_, variable),) = made.data_vars.items()
    return np.asarray(magnitude(variable.variable.data))


SIGNALS = signals_of()
PROBE = jfx.linear_probe(3, origin=(50, 0, 0))


def emm(signals):
    source = SIGNALS.jfne.source()
    field = xr.Dataset(
        {"lfp_proxy": (("trial", "time", "contact"), np.ones((3, 2000, 2)), {"units": "1"})},
        {"time": SIGNALS.time},
    )
    return jfx.emm_proxy(signals, source, field)


#: Every public function that reads spikes, and the part of its result that depends on them.
READERS = {
    "firing_rate": jfx.firing_rate,
    "spike_rate_hz": jfx.spike_rate_hz,
    "spike_count": jfx.spike_count,
    "silent_fraction": jfx.silent_fraction,
    "spike_times": jfx.spike_times,
    "summary": lambda s: s.jfne.summary()[["firing_rate", "population_rate", "silent_sites"]],
    "synaptic_source": lambda s: jfx.synaptic_source(s)[["source"]],
    "rate_loss": lambda s: jfx.rate_loss(s, xr.DataArray(100.0, attrs={"units": "Hz"})),
    "emm_proxy": emm,
    "raster": lambda s: s.isel(trial=0).jfne.plot.raster(),
}
#: Those that need every sample, and refuse NaN.
WHOLE = {"synaptic_source", "emm_proxy"}


def masked(signals, stop=1000):
    """Return Signals of which nothing was observed from a sample on, as ``.where`` makes them."""
    return signals.where(signals.time < stop / 10)


def as_kind(signals, kind):
    """Return Signals with spikes of another kind of array."""
    data = np.asarray(signals.spikes.data)
    made = {"jax": jnp.asarray, "dask": lambda x: dask.array.from_array(x, chunks=(2, 3, 700))}
    dims = signals.spikes.dims
    return signals.assign(spikes=(dims, made[kind](data))) if kind in made else signals


@pytest.mark.parametrize("kind", ["numpy", "jax", "dask"])
def test_nan_is_no_spike(kind, refused):
    with jax.enable_x64(True):
        gone = as_kind(masked(SIGNALS), kind)
        part = as_kind(SIGNALS.isel(time=slice(0, 1000)), kind)
        for name in ("firing_rate", "spike_rate_hz", "spike_count", "silent_fraction", "rate_loss"):
            got, want = (number(READERS[name](s)) for s in (gone, part))
            np.testing.assert_allclose(got, want, rtol=1e-9, err_msg=name)
        got, want = (jfx.spike_times(s) for s in (gone, part))
        assert got.drop_attrs().identical(want.drop_attrs())
        for name in WHOLE:
            with (
                refused(jfx.NonFiniteError, "spikes")
                if kind != "dask"
                else pytest.raises(jfx.NonFiniteError)
            ):
                READERS[name](gone).compute()


def test_a_summary_of_what_was_observed(refused):
    # windows of one length, so that each kernel compiles once
    t = SIGNALS.time
    part = SIGNALS.isel(time=slice(0, 1000)).jfne.summary()
    xr.testing.assert_allclose(masked(SIGNALS).jfne.summary().drop_attrs(), part.drop_attrs())
    both = SIGNALS.where((t >= 50) & (t < 150))
    want = SIGNALS.isel(time=slice(500, 1500)).jfne.summary()
    xr.testing.assert_allclose(both.jfne.summary().drop_attrs(), want.drop_attrs())
    gap = SIGNALS.where((t < 20) | (t >= 100))
    with refused(jfx.NonFiniteError, "in gaps", "window=(100, 200)"):
        gap.jfne.summary()
    gap.jfne.summary(window=(100, 200))
    one = SIGNALS.where((SIGNALS.unit > 0) | (t < 100))
    with refused(jfx.NonFiniteError, "at some sites only", "window=(0, 100)"):
        one.jfne.summary()
    with refused(jfx.NonFiniteError, "not finite"):
        SIGNALS.where(t < -1).jfne.summary()
    with pytest.raises(jfx.NonFiniteError):
        gap.assign(V_m=gap.V_m.chunk(time=500)).jfne.summary(window=(0, 100)).compute()


def test_gaps_of_one_site_alone():
    spikes = SIGNALS.spikes.where((SIGNALS.unit != 1) | (SIGNALS.time < 50))
    spikes = spikes.where(SIGNALS.unit != 3)  # never observed
    made = SIGNALS.assign(spikes=spikes)
    count = SIGNALS.spikes.values[:, :, :500].sum(-1)
    rate = jfx.firing_rate(made).firing_rate.values
    np.testing.assert_allclose(rate[:, 1], count[:, 1] / 0.05)
    np.testing.assert_allclose(rate[:, 0], SIGNALS.spikes.values[:, 0].sum(-1) / 0.2)
    assert np.isnan(rate[:, 3]).all()
    assert jfx.spike_times(made).sizes["spike"] == np.nansum(spikes)
    seen = np.isfinite(spikes.values)
    want = np.nansum(spikes.values, (1, 2)) / (seen.sum((1, 2)) * 1e-4)
    np.testing.assert_allclose(number(jfx.spike_rate_hz(made)), want)
    quiet = made.assign(spikes=spikes * (SIGNALS.unit != 0))
    np.testing.assert_allclose(
        number(jfx.silent_fraction(quiet)), 1 / 3
    )  # of three that were observed


def test_runs_of_different_length():
    a, b = (signals_of(v, ("unit", "time"))[["spikes"]] for v in V[:2])
    both = xr.concat([a, b.isel(time=slice(0, 1500))], "run", join="outer")
    assert jfx.spike_times(both).sizes["spike"] == int(a.spikes.sum() + b.spikes[:, :1500].sum())
    rates = jfx.firing_rate(both).firing_rate
    for k, one in enumerate((a, b.isel(time=slice(0, 1500)))):
        np.testing.assert_allclose(rates[k], jfx.firing_rate(one).firing_rate)


# -------------------------------------------------------------------------------- counts, fractions, other steps


def test_counts_in_bins_are_counts():
    total = int(SIGNALS.spikes.sum())
    binned = SIGNALS[["spikes"]].coarsen(time=50).sum()
    assert binned.spikes.max() > 1
    for made in (binned, binned.astype(float)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert jfx.spike_times(made).sizes["spike"] == total
            assert number(jfx.spike_count(made)).sum() == total
            np.testing.assert_allclose(
                number(jfx.firing_rate(made)), number(jfx.firing_rate(SIGNALS)), rtol=1e-12
            )
    where = jfx.spike_times(binned.isel(trial=0, unit=0))
    want = np.repeat(binned.time, binned.spikes[0, 0].values)
    np.testing.assert_array_equal(where.time, want)


@pytest.mark.parametrize("kind", ["numpy", "jax", "dask"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_over_bins_are_counts_again(kind, dtype):
    with jax.enable_x64(True):
        means = SIGNALS.coarsen(time=10).mean()
        means = as_kind(means.assign(spikes=means.spikes.astype(dtype)), kind)
        for name in ("firing_rate", "spike_rate_hz", "spike_count", "rate_loss", "silent_fraction"):
            got, want = (number(READERS[name](s)) for s in (means, SIGNALS))
            np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)
        assert jfx.spike_times(means).sizes["spike"] == SIGNALS.spikes.sum()


@pytest.mark.skipif(
    OLD_XARRAY, reason="xarray drops attrs, and so the record, in arithmetic and reductions"
)
def test_means_over_trials_are_expected_numbers():
    mean = SIGNALS.mean("trial")
    want = number(jfx.firing_rate(SIGNALS)).mean(0)
    np.testing.assert_allclose(number(jfx.firing_rate(mean)), want, rtol=1e-12)
    with pytest.warns(UserWarning, match="fractions"):
        times = jfx.spike_times(mean)
    assert float(times.weight.sum()) == pytest.approx(float(SIGNALS.spikes.sum()) / 3)
    current = jfx.synaptic_source(mean).source
    np.testing.assert_allclose(
        current, jfx.synaptic_source(SIGNALS).source.mean("trial"), atol=1e-5
    )


def test_a_stride_is_named_in_a_warning():
    strided = SIGNALS.isel(time=slice(None, None, 4))
    for made in (
        strided,
        SIGNALS.coarsen(time=4).max(),
        strided.assign(spikes=strided.spikes.astype("f4")),
        strided.assign(spikes=strided.spikes.astype(int)),
        SIGNALS.assign(spikes=SIGNALS.spikes.astype("u1")).coarsen(time=200).max(),
        SIGNALS.reindex(time=np.arange(4000) / 20, method="nearest"),
    ):
        for name in READERS:
            if name == "emm_proxy" or (name == "summary" and made is not strided):
                continue
            with pytest.warns(UserWarning, match=r"detected every 0.1 ms.*coarsen"):
                READERS[name](made)
        (text,) = made.jfne.validate().unchecked
        assert "detected every 0.1 ms" in text
    with warnings.catch_warnings():  # a window is no stride
        warnings.simplefilter("error")
        jfx.firing_rate(SIGNALS.sel(time=slice(30, 80)))
        jfx.firing_rate(SIGNALS.isel(time=slice(1, None)))


@pytest.mark.skipif(
    OLD_XARRAY, reason="xarray drops attrs, and so the record, in arithmetic and reductions"
)
@pytest.mark.parametrize("dtype", [int, "u1", "f4", "f8"])
def test_overlapping_sums_are_named_in_a_warning(dtype):
    spikes = SIGNALS[["spikes"]].astype(dtype)
    for made in (
        spikes.rolling(time=10, min_periods=1).sum(),
        spikes.rolling(time=10).sum().dropna("time").astype(int),
        spikes.cumsum("time").astype(int),
        spikes.sum("trial"),
    ):
        with pytest.warns(UserWarning, match=r"trials are exact; .*overlap, such as rolling"):
            made.jfne.firing_rate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in (spikes, spikes.isel(time=[5]), spikes.coarsen(time=50).sum()):
            made.jfne.spike_count()
        if dtype != "u1":
            spikes.mean("trial").jfne.firing_rate()
        level = signals_of(spike_rule="level")[["spikes"]].astype(dtype)
        level.jfne.firing_rate()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.coarsen(time=10).mean().mean("trial"), "fractions of spikes"),
        (lambda s: s.coarsen(time=10).sum().mean("trial"), "fractions of spikes"),
        (lambda s: s.drop_attrs().assign(spikes=s.spikes * 0.5), "no record"),
        (lambda s: s.assign(spikes=s.spikes * -1), "negative or infinite"),
        (lambda s: s.assign(spikes=s.spikes.where(~s.spikes, np.inf)), "negative or infinite"),
        (lambda s: s.assign(spikes=s.spikes * 1j), "complex"),
        (lambda s: s.assign(spikes=s.spikes.astype(str)), "<U"),
    ],
)
def test_what_is_no_number_of_spikes_is_refused(refused, change, said):
    bad = change(SIGNALS)
    if "V_m" in bad:
        bad["time"].attrs["units"] = "ms"
        bad["V_m"].attrs["units"] = "mV"
    for name, read in READERS.items():
        if name == "emm_proxy" and bad.sizes["time"] != 2000:
            continue
        with pytest.raises(jfx.DataError):
            read(bad if "trial" in bad.dims else bad.expand_dims("trial"))
        with refused(jfx.DataError, said):
            jfx.firing_rate(bad)


def test_means_over_bins_under_jit_are_refused(refused):
    means = signals_of(V.astype("f4"), surrogate="arctan").coarsen(time=10).mean().jfne.to_jax()

    def run(x):
        return jfx.firing_rate(means.assign(spikes=(means.spikes.dims, x))).firing_rate.data.sum()

    with refused(jfx.DataError, "under a JAX trace"):
        jax.jit(run)(means.spikes.data)


def test_gaps_under_jit_are_those_outside():
    gone = (
        masked(SIGNALS).jfne.to_jax()
        if jax.config.jax_enable_x64
        else masked(SIGNALS.assign(V_m=SIGNALS.V_m.astype("f4")))
        .astype("f4", keep_attrs=True)
        .jfne.to_jax()
    )

    def run(x):
        made = gone.assign(spikes=(gone.spikes.dims, x))
        return jfx.firing_rate(made).firing_rate.data, jfx.silent_fraction(
            made
        ).silent_fraction.data

    for one, other in zip(jax.jit(run)(gone.spikes.data), run(gone.spikes.data), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    slope = jax.grad(lambda x: run(x)[0].sum())(gone.spikes.data)
    assert np.isfinite(slope).all()


def test_a_raster_of_a_gap_shows_no_rate_there():
    gap = SIGNALS.isel(trial=0).where((SIGNALS.time < 50) | (SIGNALS.time >= 100))
    ax = gap.jfne.plot.raster(bin="10 ms", by=None)
    (step,) = ax.child_axes[0].patches
    rate = step.get_data().values
    assert np.isnan(rate[5:10]).all()
    assert np.isfinite(np.delete(rate, range(5, 10))).all()
    half = SIGNALS.isel(trial=0).where((SIGNALS.unit > 1) | (SIGNALS.time < 50))
    (step,) = half.jfne.plot.raster(bin="10 ms", by=None).child_axes[0].patches
    spikes = SIGNALS.spikes.values[0, 2:, 500:].sum(0).reshape(15, 100).sum(1)
    np.testing.assert_allclose(step.get_data().values[5:], spikes / (2 * 0.01))
    ax = gap.where(gap.time < -1).jfne.plot.raster()
    assert "nothing observed" in [t.get_text() for t in ax.texts]


def test_validate_names_what_is_no_number(refused):
    with refused(jfx.DataError, "negative"):
        SIGNALS.assign(spikes=SIGNALS.spikes * -1).jfne.validate().raise_problems()
    assert masked(SIGNALS)[["spikes"]].jfne.validate()


def test_the_precision_is_kept_where_64_bits_are_off():
    with jax.enable_x64(True):
        gone = as_kind(masked(SIGNALS), "jax")
    for name in ("firing_rate", "spike_rate_hz", "silent_fraction", "spike_count"):
        got = READERS[name](gone)
        assert number(got).dtype == np.float64, name
        np.testing.assert_allclose(number(got), number(READERS[name](masked(SIGNALS))), rtol=1e-12)


@pytest.mark.parametrize("kind", ["boolean", "Int64", "Float32"])
def test_nullable_spikes_of_pandas_are_those_of_numpy(kind):
    spikes = np.tile([1.0, np.nan, 0.0], 30)
    time = ("time", 0.1 * np.arange(90), {"units": "ms"})
    for given in (spikes, np.nan_to_num(spikes)):
        typed = bool if kind == "boolean" else float
        array = pd.array([None if np.isnan(x) else typed(x) for x in given], dtype=kind)
        of_pandas = xr.Dataset({"spikes": ("time", array)}, {"time": time})
        of_numpy = xr.Dataset({"spikes": ("time", given)}, {"time": time})
        for name in ("firing_rate", "spike_rate_hz", "spike_count", "silent_fraction"):
            got, want = (number(READERS[name](s)) for s in (of_pandas, of_numpy))
            np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)
        assert jfx.spike_times(of_pandas).sizes == jfx.spike_times(of_numpy).sizes
