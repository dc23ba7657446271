"""Losses: against NumPy and SciPy, on every kind of array, in every order of dims, in mixed units."""

import dask
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import units_of

DIMS = ("time", "unit", "trial")
N = 64
random = np.random.default_rng(0)
X = random.normal(2, 3, (N, 3, 2)).astype("f4")
Y = (0.5 * X + random.normal(0, 1, (N, 3, 2))).astype("f4")
LOSSES = {
    "mean_square_loss": jfx.mean_square_loss,
    "correlation_loss": jfx.correlation_loss,
    "spectrum_loss": jfx.spectrum_loss,
}


def want_of(name, x=X, y=Y):
    """Return each loss of (unit, trial), in uV, by NumPy and SciPy."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if name == "mean_square_loss":
        return ((x - y) ** 2).mean(0)
    if name == "correlation_loss":
        return np.array(
            [[1 - np.corrcoef(x[:, i, j], y[:, i, j])[0, 1] for j in range(2)] for i in range(3)]
        )
    n = int(N / 4.5)
    s, r = (scipy.signal.welch(a, 2000.0, "hann", n, n // 2, axis=0)[1][1:] for a in (x, y))
    e = 1e-6 * r.mean(0)
    return (np.log((s + e) / (r + e)) ** 2).mean(0)


def reference(units="mV", scale=1e-3, dims=("trial", "time", "unit"), dtype=float):
    """Return a recording: in another unit, order and precision."""
    y = (Y.astype(float) * scale).transpose([DIMS.index(d) for d in dims]).astype(dtype)
    ds = xr.Dataset({"lfp": (dims, y, {"units": units})})
    return ds.assign_coords(time=("time", 0.5 * np.arange(N), {"units": "ms"}), trial=["a", "b"])


def in_jax(x, name="lfp", units="uV", dims=DIMS, dt=0.5):
    return jfx.traces(x, dims, dt_ms=dt, name=name, units=units, quantify=False)


def value(ds):
    (made,) = ds.values()
    return made.data


# --------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("name", LOSSES)
def test_one_number_with_a_unit(backend, order, name):
    x = X.transpose([DIMS.index(d) for d in order])
    ds = backend.by_hand(x, order, units="uV", name="lfp", dt=0.5).assign_coords(trial=["a", "b"])
    before = ds.copy(deep=True)
    made = LOSSES[name](ds, reference())
    assert list(made.data_vars) == [name]
    assert made[name].dims == ()
    assert backend.holds(made[name])
    assert units_of(made[name]) == ("uV^2" if name == "mean_square_loss" else "1")
    assert made[name].dtype == np.float32
    want = want_of(name)
    assert abs(backend.values(made[name]) - want.mean()) < 2e-5 * want.mean()
    assert made.jfne.provenance["steps"][-1]["function"] == name
    assert ds.identical(before)

    each = LOSSES[name](
        ds, reference(), over=["time"] if name == "mean_square_loss" else _inner(name)
    )
    got = each[name].copy(data=backend.values(each[name])).transpose("unit", "trial")
    assert np.abs(got - want).max() < 5e-5 * want.max()
    assert each.trial.values.tolist() == ["a", "b"]


def _inner(name):
    return ["frequency"] if name == "spectrum_loss" else []


def test_the_methods_are_the_functions():
    ds = in_jax(X)
    for name, function in LOSSES.items():
        made = getattr(ds.jfne, name)(reference())
        assert made.identical(function(ds, reference()))


def test_nothing_between_equals_and_numbers_from_the_outside():
    ds = in_jax(X)
    for function in LOSSES.values():
        assert abs(value(function(ds, ds))) < 1e-6
    assert value(jfx.mean_square_loss(in_jax(X + 2), ds)) == pytest.approx(4, rel=1e-5)
    assert value(jfx.correlation_loss(in_jax(1 - 3 * X), ds)) == pytest.approx(2, rel=1e-5)
    assert value(jfx.spectrum_loss(in_jax(10 * X + 1), ds)) == pytest.approx(
        np.log(100) ** 2, rel=1e-4
    )


def test_bands_and_frequencies():
    ds, other = in_jax(X), reference()
    bands = {"low": (150, "0.4 kHz"), "high": (400, 1000)}
    made = jfx.spectrum_loss(ds, other, bands=bands, segment=16, over=["unit", "trial"])
    powers = [
        jfx.band_power(jfx.psd(in_jax(a), segment=16), bands).band_power.values for a in (X, Y)
    ]
    e = 1e-6 * powers[1].mean(0)
    want = (np.log((powers[0] + e) / (powers[1] + e)) ** 2).mean((1, 2))
    np.testing.assert_allclose(made.spectrum_loss, want, rtol=1e-4)
    assert made.band.values.tolist() == ["low", "high"]
    assert made.high.values.tolist() == [400, 1000]
    step = made.jfne.provenance["steps"][-1]["parameters"]
    assert step["bands_Hz"] == {"low": [150, 400], "high": [400, 1000]}
    assert step["segment_ms"] == 16

    made = jfx.spectrum_loss(ds, other, frequencies=(100, "0.5 kHz"), segment=16, over="unit")
    assert made.frequency.values.tolist() == list(np.arange(2, 9) * 62.5)
    assert made.frequency.attrs["units"] == "Hz"
    f, s = scipy.signal.welch(X.astype(float), 2000.0, "hann", 32, axis=0)
    _, r = scipy.signal.welch(Y.astype(float), 2000.0, "hann", 32, axis=0)
    s, r = (a[(f >= 100) & (f <= 500)] for a in (s, r))
    e = 1e-6 * r.mean(0)
    want = (np.log((s + e) / (r + e)) ** 2).mean(1)
    np.testing.assert_allclose(made.spectrum_loss.transpose("frequency", "trial"), want, rtol=1e-3)
    step = made.jfne.provenance["steps"][-1]["parameters"]
    assert step["frequencies_Hz"] == [125, 500]


def test_the_floor_bounds_what_a_silent_simulation_costs():
    """And a share of 1 of the reference's mean halves what it adds."""
    silent = in_jax(0 * X)
    for floor in (1e-6, 1e-3):
        made = value(jfx.spectrum_loss(silent, in_jax(Y), floor=floor, over="frequency"))
        n = int(N / 4.5)
        r = scipy.signal.welch(Y.astype(float), 2000.0, "hann", n, n // 2, axis=0)[1][1:]
        want = (np.log(floor * r.mean(0) / (r + floor * r.mean(0))) ** 2).mean(0)
        np.testing.assert_allclose(made, want, rtol=1e-3)


def test_a_reference_without_trials_is_laid_over_all():
    ds, other = in_jax(X), reference().isel(trial=0, drop=True)
    for name, function in LOSSES.items():
        want = want_of(name, X, np.repeat(Y[:, :, :1], 2, axis=2)).mean()
        assert value(function(ds, other)) == pytest.approx(want, rel=1e-4)


def test_what_has_which_name():
    ds, other = in_jax(X), reference()
    both = ds.assign(csd=ds.lfp * 2)
    want = value(jfx.mean_square_loss(ds, other))
    assert value(jfx.mean_square_loss(both, other)) == want
    assert value(jfx.mean_square_loss(both, other.assign(csd=other.lfp), "lfp")) == want
    assert value(jfx.mean_square_loss(both, other.lfp)) == want
    assert value(jfx.mean_square_loss(both, other.lfp.rename("seen"), "lfp")) == want
    assert value(jfx.mean_square_loss(ds, other.lfp.rename(None))) == want
    assert value(jfx.mean_square_loss(ds.lfp, other)) == want
    assert value(jfx.mean_square_loss(ds.lfp, other.lfp)) == want
    assert value(jfx.mean_square_loss(ds.lfp.rename(None), other.lfp)) == want
    assert value(jfx.mean_square_loss(ds, other.drop_vars("time"))) == want  # by position


def test_times_of_a_recording_may_be_rounded():
    t = 1e4 + 0.025 * np.arange(N)
    ds = in_jax(X).assign_coords(time=("time", t, {"units": "ms"}))
    other = reference().assign_coords(time=("time", (t * 1e-3).astype("f4"), {"units": "s"}))
    assert value(jfx.mean_square_loss(ds, other)) > 0
    later = reference().assign_coords(time=("time", t + 0.025, {"units": "ms"}))
    with pytest.raises(jfx.DimensionError, match="the same times"):
        jfx.mean_square_loss(ds, later)


def test_numbers_and_truth_values_have_losses_too():
    whole = in_jax(np.round(X).astype("i4"))
    want = ((np.round(X) - np.round(Y)) ** 2).mean()
    assert value(jfx.mean_square_loss(whole, in_jax(np.round(Y)))) == pytest.approx(want, rel=1e-5)
    signals = [jfx.traces(a, DIMS, dt_ms=0.5).jfne.to_signals() for a in (X, Y)]
    made = jfx.mean_square_loss(*signals, "spikes")
    spikes = [s.spikes.values for s in signals]
    assert value(made).magnitude == pytest.approx((spikes[0] ^ spikes[1]).mean())
    assert units_of(next(iter(made.values()))) == "1"


def test_a_loss_claims_the_weaker_of_two_scopes():
    v = random.normal(-65, 5, (400,))
    voltage = jfx.traces(v, ["time"], dt_ms=1.0, name="source", units="nA")
    current = jfx.traces(v, ["time"], dt_ms=1.0).jfne.to_signals(source=v)[["source"]]
    for pair in ((voltage, current), (current, voltage)):
        made = jfx.mean_square_loss(*pair)
        assert made.attrs["source_calibration_status"] == "uncalibrated_voltage_proxy"
        assert not made.jfne.validate().problems
    made = jfx.mean_square_loss(current, current)
    assert made.attrs["source_calibration_status"] == "uncalibrated_current"


# ----------------------------------------------------------------------------------------------------- rates


def spiking(backend, order, seed):
    v = np.random.default_rng(seed).normal(0, 30, (N, 3, 2)).astype("f4")
    return backend.by_hand(v.transpose([DIMS.index(d) for d in order]), order, dt=0.5)


def test_rate_loss(backend, order):
    one = spiking(backend, order, 1).jfne.to_signals(surrogate="arctan")
    other = spiking(backend, DIMS, 2).jfne.to_signals().isel(time=slice(10, 60))
    rates = [
        np.asarray(s.jfne.firing_rate().firing_rate.transpose("unit", "trial").pint.dequantify())
        for s in (one, other)
    ]
    made = jfx.rate_loss(one, other)
    assert (made.rate_loss.dims, units_of(made.rate_loss)) == ((), "Hz^2")
    assert backend.holds(made.rate_loss)
    want = ((rates[0] - rates[1]) ** 2).mean()
    assert abs(backend.values(made.rate_loss) - want) < 1e-5 * want
    each = jfx.rate_loss(one.jfne.firing_rate(), other, over="trial").rate_loss
    assert each.dims == ("unit",)
    np.testing.assert_allclose(
        backend.values(each), ((rates[0] - rates[1]) ** 2).mean(1), rtol=1e-5
    )


def test_rates_from_elsewhere_and_soft_ones():
    signals = jfx.traces(X[:, :, 0] * 20, ["time", "unit"], dt_ms=0.5, quantify=False)
    soft = signals.jfne.soft_firing_rate()
    rates = xr.DataArray([0.1, 0.2, 0.3], dims="unit", attrs={"units": "kHz"})
    want = ((soft.firing_rate.values - [100, 200, 300]) ** 2).mean()
    assert value(soft.jfne.rate_loss(rates)) == pytest.approx(want, rel=1e-6)
    one = xr.DataArray(200.0, attrs={"units": "Hz"})
    want = ((soft.firing_rate.values - 200) ** 2).mean()
    assert value(soft.jfne.rate_loss(one)) == pytest.approx(want, rel=1e-6)
    assert value(jfx.rate_loss(soft.sum("unit").firing_rate.assign_attrs(units="Hz"), one)) > 0


def test_spike_times_have_a_loss_by_composition(x64):
    """Missing spikes stand at the end of the window."""
    ramp = lambda rate: jfx.traces(
        -31.0 + rate * 0.1 * jnp.arange(60)[:, None] * jnp.ones(2), ("time", "unit"), dt_ms=0.1, quantify=False
    )  # fmt: skip
    times = lambda rate: ramp(rate).jfne.soft_spike_times(2, fill=6.0)
    loss = lambda rate: value(jfx.mean_square_loss(times(rate), times(10.0), "spike_time"))
    want = (31 / 12 - 31 / 10) ** 2 / 2
    assert loss(12.0) == pytest.approx(want, rel=1e-9)
    want = (31 / 12 - 31 / 10) * -31 / 12**2
    assert jax.grad(loss)(12.0) == pytest.approx(want, rel=1e-9)


# ----------------------------------------------------------------------------------------------------- gradients


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_gradients(x64, check_derivatives, name):
    other = reference()
    loss = lambda x: value(LOSSES[name](in_jax(x), other))
    x = jnp.array(X, float)
    check_derivatives(loss, (x,), order=2, rtol=2e-4, eps=1e-5)
    made, slope = jax.value_and_grad(loss)(x)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), slope, rtol=1e-9, atol=1e-12)
    again = jax.jit(jax.grad(jax.checkpoint(loss)))(x)
    np.testing.assert_allclose(again, slope, rtol=1e-9, atol=1e-12)
    both = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(both[1][1], jax.grad(loss)(2 * x), rtol=1e-9, atol=1e-12)
    # a reference that is traced as well
    two = jax.jit(lambda x, y: value(LOSSES[name](in_jax(x), in_jax(y))))
    np.testing.assert_allclose(two(x, jnp.array(Y, float)), made, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("constant", [0.0, 3.7])
def test_a_constant_simulation_has_a_finite_gradient(name, constant):
    x = jnp.array(X).at[:, 1].set(constant)
    loss = lambda x: value(LOSSES[name](in_jax(x), reference()))
    made, slope = jax.value_and_grad(loss)(x)
    assert jnp.isfinite(made)
    assert jnp.isfinite(slope).all()
    if name != "mean_square_loss":
        assert (slope[:, 1] == 0).all()
    assert (slope[:60, 0] != 0).all()  # the last may be in no segment


def test_a_silent_reference_that_is_traced_counts_as_unrelated():
    f = jax.jit(jax.value_and_grad(lambda x, y: value(jfx.correlation_loss(in_jax(x), in_jax(y)))))
    made, slope = f(jnp.array(X), jnp.zeros(X.shape))
    assert made == 1
    assert (slope == 0).all()
    f = jax.jit(jax.value_and_grad(lambda x, y: value(jfx.spectrum_loss(in_jax(x), in_jax(y)))))
    made, slope = f(jnp.array(X), jnp.zeros(X.shape))
    assert made == 0
    assert (slope == 0).all()


def test_one_trace_serves_a_hundred_calls():
    traced = []

    @jax.jit
    def f(x):
        traced.append(1)
        return sum(value(function(in_jax(x), reference())) for function in LOSSES.values())

    for k in range(100):
        f(jnp.array(X + k))
    assert len(traced) == 1


@pytest.mark.slow
def test_a_descent_by_optax_finds_the_current():
    optax = pytest.importorskip("optax")
    recorded = jfx.traces(3.0 * X, DIMS, dt_ms=0.5, name="lfp", units="uV")
    loss = lambda gain: value(jfx.mean_square_loss(in_jax(gain * X), recorded))
    gain, optimiser = jnp.array(1.0), optax.adam(0.1)
    state = optimiser.init(gain)
    for _ in range(300):
        _, slope = jax.value_and_grad(loss)(gain)
        updates, state = optimiser.update(slope, state)
        gain = optax.apply_updates(gain, updates)
    assert gain == pytest.approx(3.0, rel=1e-3)


# ---------------------------------------------------------------------------------------------- bad input

DS, REF = in_jax(X), reference()


def later(by=0.0, stretch=1.0):
    return ("time", by + stretch * 0.5 * np.arange(N), {"units": "ms"})


def with_nan(ds):
    hole = xr.DataArray(np.where(np.arange(N) == 5, np.nan, 1).astype("f4"), dims="time")
    return ds.assign(lfp=(ds.lfp * hole).assign_attrs(ds.lfp.attrs))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda f: f(DS, REF.rename(lfp="v")), jfx.VariableError, "['lfp'] and ['v']"),
        (lambda f: f(DS, REF, "v"), jfx.VariableError, "variable='v'"),
        (lambda f: f(DS.assign(a=DS.lfp), REF.assign(a=REF.lfp)), jfx.VariableError, "one of several"),
        (lambda f: f(xr.Dataset(), REF), jfx.VariableError, "[] and ['lfp']"),
        (lambda f: f(DS, reference("nA")), jfx.UnitError, "nA, and a simulation in uV"),
        (lambda f: f(DS, REF.lfp.drop_attrs(deep=False)), jfx.UnitError, "no unit"),
        (lambda f: f(DS.lfp.drop_attrs(deep=False), REF), jfx.UnitError, 'simulated.attrs["units"] = "mV"'),
        (lambda f: f(DS, REF.isel(time=slice(9))), jfx.DimensionError, "'time': 9"),
        (lambda f: f(DS, REF.rename(unit="contact")), jfx.DimensionError, "'contact': 3"),
        (lambda f: f(DS, REF.assign_coords(time=later(1))), jfx.DimensionError, "the same times"),
        (lambda f: f(DS, REF.assign_coords(time=later(stretch=2))), jfx.DimensionError, "from 0 to 63 ms"),
        (
            lambda f: f(DS.assign_coords(trial=["b", "a"]), REF),
            jfx.DimensionError,
            'labels along "trial" that differ from those of the simulated',
        ),
        (lambda f: f(with_nan(DS), REF), jfx.NonFiniteError, "time=5"),
        (lambda f: f(DS, with_nan(REF)), jfx.NonFiniteError, "reference: found 6 of 384"),
        (lambda f: f(DS, REF.astype(complex)), jfx.DataError, "complex"),
        (lambda f: f(DS, REF, over="depth"), jfx.DimensionError, "['depth']"),
        (
            lambda f: f(DS.isel(unit=0).assign(a=DS.lfp), REF, "lfp"),
            jfx.DimensionError,
            "'unit': 3",
        ),
        (lambda f: f(DS.drop_attrs(), REF.drop_attrs()), jfx.UnitError, "time: found no unit"),
        (
            lambda f: f(DS, reference("nA").rename(unit="contact")),
            jfx.UnitError,
            "2 problems",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(refused, name, make, error, said):
    with refused(error, said):
        make(LOSSES[name])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: jfx.correlation_loss(DS, reference(scale=0)), jfx.DataError, "6 of 6 signals constant"),
        (
            lambda: jfx.spectrum_loss(DS, silent()),
            jfx.DataError,
            "2 of 6 signals constant in time, the first at index unit=1, trial=0",
        ),
        (lambda: jfx.correlation_loss(DS.isel(time=0), REF), jfx.DimensionError, "time"),
        (lambda: jfx.correlation_loss(DS, REF, over="time"), jfx.DimensionError, "['unit', 'trial']"),
        (lambda: jfx.spectrum_loss(DS, REF, floor=0), jfx.ArgumentError, "floor"),
        (lambda: jfx.spectrum_loss(DS, REF, floor=float("nan")), jfx.ArgumentError, "floor"),
        (
            lambda: jfx.spectrum_loss(DS, REF, bands={"a": (90, 400)}, frequencies=(1, 2), floor=-1),
            jfx.ArgumentError,
            "2 problems",
        ),
        (lambda: jfx.spectrum_loss(DS, REF, frequencies=(1, 2)), jfx.ArgumentError, "1 to 2 Hz"),
        (lambda: jfx.spectrum_loss(DS, REF, frequencies=3), jfx.ArgumentError, "frequencies=(1, 100)"),
        (lambda: jfx.spectrum_loss(DS, REF, frequencies=(1, "2 ms")), jfx.UnitError, "frequencies"),
        (lambda: jfx.spectrum_loss(DS, REF, segment=1e6), jfx.ArgumentError, "segment"),
        (lambda: jfx.spectrum_loss(DS, REF, bands={}), jfx.ArgumentError, "at least one band"),
        (lambda: jfx.rate_loss(DS, REF), jfx.VariableError, "spikes"),
        (
            lambda: jfx.rate_loss(
                jfx.traces(X, DIMS, dt_ms=0.5).jfne.to_signals(),
                xr.DataArray(3.0, attrs={"units": "mV"}),
            ),
            jfx.UnitError,
            "mV, and a simulation in Hz",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_them_is_said(refused, call, error, said):
    with refused(error, said):
        call()


def silent():
    made = REF.copy(deep=True)
    made.lfp.values[:, :, 1] = 5
    return made


def test_dask_says_it_when_computed():
    made = jfx.mean_square_loss(with_nan(REF).chunk(time=7), REF)
    with pytest.raises(jfx.NonFiniteError, match="time=5"):
        dask.compute(made)


@pytest.mark.parametrize("bare", [False, True])
def test_contacts_with_positions_are_matched_too(bare):
    """Their coordinates x, y and z are no variables to compare, whatever the data are called."""
    probe = jfx.linear_probe(2, origin=(50, 0, 0))
    data = np.random.default_rng(0).normal(size=(2, 5, 2))
    one, other = (
        jfx.traces(a, ["time", "contact"], dt_ms=0.1, name="lfp", units="uV", coords=probe.coords)
        for a in data
    )
    if bare:
        one, other = one.lfp.rename(None), other.lfp.rename(None)
    loss = jfx.mean_square_loss(one, other).mean_square_loss
    expected = np.mean((data[0] - data[1]) ** 2)
    assert abs(loss.data.magnitude - expected) <= 1e-12 * expected
