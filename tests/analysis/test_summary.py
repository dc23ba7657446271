"""`summary`: against plain loops, scipy and elephant, on every kind of array, in every order of dims."""

import importlib
import re
import warnings
from dataclasses import replace

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core import dispatch as _dispatch
from jaxfne_xr.core.units import units_of

DIMS = ("time", "unit", "trial")
GROUPS = ["I", "E", "E", "I", "E"]  # in the order in which they first come
BANDS = {"slow": (60, 300), "fast": (300, "0.9 kHz")}
N, DT = 200, 0.5
OPTIONS = {"bin": "5 ms", "bands": BANDS, "segment": 16.0}


def voltages(seed=4):
    """Float32 voltages on (time, unit, trial): noise, some of it shared within a group, with spikes."""
    rng = np.random.default_rng(seed)
    own, shared = rng.normal(0, 6, (N, 5, 2)), rng.normal(0, 4, (N, 2, 2))
    return (
        -65 + own + shared[:, [int(g == "E") for g in GROUPS]] + 85 * (rng.random((N, 5, 2)) < 0.08)
    ).astype("f4")


def close(got, want, tol):
    got, want = np.asarray(got, float), np.asarray(want, float)
    assert got.shape == want.shape
    assert (np.isnan(got) == np.isnan(want)).all()
    assert np.nanmax(np.abs(got - want)) <= tol * np.nanmax(np.abs(want))


@pytest.fixture
def signals(backend, order):
    if "dask" in backend.name:  # chunks of two would be thousands
        halves = lambda x: dask.array.from_array(x, chunks=tuple(-(-n // 2) for n in x.shape))
        backend = replace(backend, array=halves)
    ds = backend.by_hand(voltages().transpose([DIMS.index(d) for d in order]), order, dt=DT)
    return ds.assign_coords(population=("unit", GROUPS), trial=[7, 8]).jfne.to_signals(
        spike_threshold=-30.0
    )


def reference(v, spikes):
    """Return every number for one trial by plain loops over sites and bins, float64; v and spikes on (time, unit)."""
    labels = ["I", "E"]
    members = [[i for i, g in enumerate(GROUPS) if g == label] for label in labels]
    bins = [spikes[start : start + 10].sum(0) for start in range(0, N - 9, 10)]
    counts = np.array(bins, float)
    mean = [v[:, m].mean(1) for m in members]
    group_rate = [counts[:, m].mean(1) for m in members]

    def pairs(g, h):
        return [
            np.corrcoef(counts[:, i], counts[:, j])[0, 1]
            for i in members[g]
            for j in members[h]
            if i != j
        ]

    f, _ = scipy.signal.welch(mean[0], 2000.0, nperseg=32)
    power = [scipy.signal.welch(m, 2000.0, nperseg=32)[1] for m in mean]
    fine = {
        name: np.linspace(*edges, 40_001)
        for name, edges in {"slow": (60, 300), "fast": (300, 900)}.items()
    }
    between = np.array([[np.mean(pairs(g, h)) for h in range(2)] for g in range(2)])
    within = [p for g in range(2) for p in pairs(g, g)]
    return {
        "firing_rate": [spikes[:, m].sum() / len(m) / (N * DT * 1e-3) for m in members],
        "population_rate": spikes.sum() / 5 / (N * DT * 1e-3),
        "sites": [2, 3],
        "mean_V_m": [v[:, m].mean() for m in members],
        "synchrony": [np.sqrt(v[:, m].mean(1).var() / v[:, m].var(0).mean()) for m in members],
        "field_power": [
            [np.trapezoid(np.interp(at, f, p), at) for at in fine.values()] for p in power
        ],
        "coherence": [
            [scipy.signal.coherence(a, b, 2000.0, nperseg=32)[1] for b in mean] for a in mean
        ],
        "pairwise_correlation": np.diagonal(between),
        "silent_sites": [0, 0],
        "rate_correlation": np.corrcoef(group_rate),
        "between_correlation": between,
        "between_within_ratio": np.mean(pairs(0, 1)) / np.mean(within),
    }


UNITS = {"firing_rate": "Hz", "population_rate": "Hz", "mean_V_m": "mV"}


@pytest.mark.slow
def test_every_number(backend, order, signals):
    before = signals.copy(deep=True)
    made = jfx.summary(signals, **OPTIONS)
    v = voltages().astype(float)
    where = [order.index(d) for d in DIMS]
    spikes = np.moveaxis(backend.values(signals.spikes), where, [0, 1, 2])
    assert spikes.sum(0).min() > 5
    trials = [reference(v[..., k], spikes[..., k]) for k in range(2)]
    assert set(made.data_vars) == set(trials[0])
    for name, variable in made.data_vars.items():
        assert variable.dims[: variable.ndim - np.ndim(trials[0][name])] in ((), ("trial",)), name
        got = variable.transpose("trial", ...) if "trial" in variable.dims else variable
        want = [trial[name] for trial in trials] if "trial" in variable.dims else trials[0][name]
        close(backend.values(got), want, 2e-4 if name == "coherence" else 2e-5)
        assert units_of(variable) == UNITS.get(name, "1"), name
        if name != "sites":
            assert backend.holds(variable), name
    assert made.population.values.tolist() == made.population_other.values.tolist() == ["I", "E"]
    assert made.band.values.tolist() == ["slow", "fast"]
    assert made.frequency.attrs["units"] == "Hz"
    assert made.trial.values.tolist() == [7, 8]
    assert made.jfne.provenance["steps"][-1]["parameters"]["bin_ms"] == 5.0
    assert made.jfne.scope.amplitude_status is False
    assert signals.identical(before)


def numpy_signals(v=None, groups=GROUPS, **options):
    v = voltages()[..., 0].astype(float) if v is None else v
    coords = {} if groups is None else {"population": ("unit", groups)}
    ds = jfx.traces(v, ("time", "unit"), dt_ms=DT, quantify=False, coords=coords)
    return ds.jfne.to_signals(spike_threshold=-30.0, **options)


def test_a_window_is_as_a_selection():
    signals = numpy_signals()
    made = jfx.summary(signals, window=("20 ms", 70.0), **OPTIONS)
    want = jfx.summary(signals.isel(time=slice(40, 140)), **OPTIONS)
    assert made.drop_attrs().identical(want.drop_attrs())
    step = made.jfne.provenance["steps"][-1]["parameters"]
    assert (step["start_ms"], step["stop_ms"]) == (20.0, 70.0)


def test_the_unit_of_time_may_be_in_its_index():
    ds = numpy_signals()
    assert type(ds.pint.quantify().xindexes["time"]).__name__ == "PintIndex"
    made, want = (jfx.summary(x, **OPTIONS) for x in (ds.pint.quantify(), ds))
    for name in want.data_vars:
        np.testing.assert_array_equal(made[name].data.magnitude, want[name], name)


def test_all_as_one_group_and_each_site_as_its_own():
    signals = numpy_signals()
    whole = jfx.summary(signals, by=None, **OPTIONS)
    assert whole.group.values.tolist() == ["all"]
    assert np.isnan(whole.between_within_ratio)
    np.testing.assert_allclose(whole.firing_rate[0], whole.population_rate, rtol=1e-12)
    each = jfx.summary(signals, by="unit", **OPTIONS)
    assert each.unit.values.tolist() == list(range(5))
    np.testing.assert_allclose(each.synchrony, 1, rtol=1e-9)
    assert np.isnan(each.pairwise_correlation).all()  # no pair within a site
    np.testing.assert_allclose(each.firing_rate, signals.jfne.firing_rate().firing_rate, rtol=1e-12)


def test_groups_may_be_numbers():
    signals = numpy_signals().assign_coords(layer=("unit", [4, 2, 2, 4, 2]))
    made = jfx.summary(signals, by="layer", **OPTIONS)
    assert made.layer.values.tolist() == [4, 2]
    named = jfx.summary(signals, **OPTIONS)
    for name in named.data_vars:
        np.testing.assert_array_equal(made[name], named[name])


def test_the_field_of_a_current_is_in_its_unit():
    signals = numpy_signals(source=voltages()[..., 0].astype(float) / 100)
    made = jfx.summary(signals, **OPTIONS)
    assert units_of(made.field_power) == "nA^2"
    proxy = jfx.summary(numpy_signals(), **OPTIONS)
    np.testing.assert_allclose(made.field_power, proxy.field_power * 1e-4, rtol=1e-9)
    np.testing.assert_allclose(made.coherence, proxy.coherence, rtol=1e-6)


def test_spikes_and_a_current_do_without_a_voltage():
    signals = numpy_signals(source=voltages()[..., 0].astype(float)).drop_vars("V_m")
    made = jfx.summary(signals, **OPTIONS)
    assert not {"mean_V_m", "synchrony"} & set(made.data_vars)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "jax", "dask"])
def test_a_silent_site_is_counted_and_warned_of_by_nobody(kind):
    v = voltages()[..., 0]
    v[:, 1] = -65.0  # one of three in E
    v[:, [0, 3]] = -65.0  # all of I
    v = {"numpy": v, "jax": jnp.asarray(v), "dask": dask.array.from_array(v, chunks=(50, 2))}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = jfx.summary(numpy_signals(v), **OPTIONS).compute()
    assert made.silent_sites.values.tolist() == [2, 1]
    assert made.silent_sites.dtype.kind == "i"
    assert np.isnan(made.pairwise_correlation).values.tolist() == [True, False]
    assert np.isnan(made.rate_correlation).values.tolist() == [[True, True], [True, False]]
    assert np.isnan(made.between_correlation).values.tolist() == [[True, True], [True, False]]
    assert np.isnan(made.between_within_ratio)
    assert np.isnan(made.synchrony).values.tolist() == [True, False]
    assert np.isnan(made.coherence[0]).all()
    assert made.firing_rate[0] == 0
    left = jfx.summary(numpy_signals(np.asarray(v)).isel(unit=[2, 4]), **OPTIONS)
    np.testing.assert_allclose(
        made.pairwise_correlation[1], left.pairwise_correlation[0], rtol=1e-5
    )


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_correlations_are_those_of_elephant():
    import elephant.conversion
    import elephant.spike_train_correlation
    import neo
    import quantities as pq

    signals = numpy_signals()
    rows = jfx.spike_times(signals)
    trains = [
        neo.SpikeTrain(
            rows.time.values[rows.unit.values == unit] + DT / 2, units="ms", t_stop=N * DT
        )
        for unit in range(5)
    ]
    binned = elephant.conversion.BinnedSpikeTrain(trains, bin_size=5 * pq.ms)
    r = elephant.spike_train_correlation.correlation_coefficient(binned)
    made = jfx.summary(signals, by="unit", **OPTIONS)
    off = ~np.eye(5, dtype=bool)
    close(made.between_correlation.values[off], r[off], 1e-9)


def test_the_field_of_a_voltage_is_contracted_once(monkeypatch):
    """Group means of V_m serve the mean, the synchrony and, where V_m stands in for the source, the field."""
    summary = importlib.import_module("jaxfne_xr.analysis.summary")  # jfx.summary is the function
    seen = []
    contract = _dispatch.contract
    monkeypatch.setattr(
        summary, "contract", lambda m, x, *dims: seen.append(x.dims) or contract(m, x, *dims)
    )
    jfx.summary(numpy_signals(), **OPTIONS)
    assert seen.count(("time", "unit")) == 1


@pytest.mark.slow
def test_under_jit_grad_and_vmap(x64):
    v = jnp.asarray(voltages()[..., 0], float)

    def run(v):
        made = jfx.summary(numpy_signals(v), **OPTIONS)
        return {name: x.data for name, x in made.data_vars.items()}

    def loss(v):
        made = run(v)
        return made["synchrony"].sum() + made["field_power"].sum() + made["coherence"].sum()

    eager, jitted = run(v), jax.jit(run)(v)
    for name, want in eager.items():
        close(jitted[name], want, 1e-9)
    slope = jax.jit(jax.grad(loss))(v)
    way = np.random.default_rng(1).normal(size=v.shape)
    want = (loss(v + 1e-5 * way) - loss(v - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose((slope * way).sum(), want, rtol=1e-5)
    assert jax.vmap(run)(jnp.stack([v, v]))["coherence"].shape[0] == 2


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "options", "error", "said"),
    [
        (
            lambda s: s,
            {"by": "layer"},
            jfx.DimensionError,
            "layer: found no such coordinate along 'unit'",
        ),
        (
            lambda s: s.assign_coords(population=("unit", ["E", "", "E", "I", ""])),
            {},
            jfx.DimensionError,
            "2 of 5 sites without a group, the first at 1",
        ),
        (
            lambda s: s.assign_coords(
                population=("unit", np.array(["E", None, "E", "I", "I"], object))
            ),
            {},
            jfx.DimensionError,
            "1 of 5 sites without a group",
        ),
        (
            lambda s: s.assign_coords(population=("unit", [1.0, np.nan, 1, 2, 2])),
            {},
            jfx.DimensionError,
            "1 of 5 sites",
        ),
        (
            lambda s: s,
            {"window": (0, 1e4)},
            jfx.TimeAxisError,
            "0 to 10000 ms, outside data from 0 to 100 ms",
        ),
        (lambda s: s, {"window": (50, 50)}, jfx.TimeAxisError, "without a sample"),
        (lambda s: s, {"window": ("0 mV", "1 mV")}, jfx.UnitError, "window"),
        (lambda s: s, {"window": 5}, jfx.TimeAxisError, "a start and a stop"),
        (lambda s: s, {"bin": 0}, jfx.TimeAxisError, "0 ms, 0 samples"),
        (lambda s: s, {"bin": -5}, jfx.TimeAxisError, "bin"),
        (lambda s: s, {"bin": 60}, jfx.TimeAxisError, "at least two bins"),
        (lambda s: s.isel(time=[0]), {}, jfx.TimeAxisError, "more samples"),
        *(
            (
                lambda s, by=by: s.rename(population=by),
                {"by": by},
                jfx.ArgumentError,
                f"by: found {by!r}, a name that the summary itself uses",
            )
            for by in ("band", "low", "frequency", "bin", "sites", "coherence", "mean_V_m")
        ),
        (lambda s: s, {"bands": {"g": (30, 31)}}, jfx.ArgumentError, "narrower than"),
        (lambda s: s, {"bin": float("nan")}, jfx.ArgumentError, "bin"),
        (lambda s: s, {"bin": "5 Hz"}, jfx.UnitError, "bin"),
        (lambda s: s, {"bands": {"g": (30, 1001)}}, jfx.ArgumentError, "Nyquist"),
        (lambda s: s, {"bands": {}}, jfx.ArgumentError, "at least one band"),
        (lambda s: s, {"segment": 1e4}, jfx.ArgumentError, "20000 samples"),
        (lambda s: s, {"segment": 100.0}, jfx.ArgumentError, "coherence of one is 1"),
        (lambda s: s.drop_vars("spikes"), {}, jfx.VariableError, "spikes"),
        (lambda s: s.drop_vars("V_m"), {}, jfx.VariableError, "neither a source nor a voltage"),
        (lambda s: s.isel(unit=0), {}, jfx.VariableError, "expand_dims"),
    ],
)
def test_what_is_wrong_is_said(refused, change, options, error, said):
    with refused(error, said):
        jfx.summary(change(numpy_signals()), **options)


@pytest.mark.parametrize(("samples", "bin"), [(N, 60.0), (N, 0.0), (5, 5.0), (7, 1e3), (N, 1e-9)])
def test_the_remedy_for_a_bin_is_accepted(samples, bin):
    signals = numpy_signals().isel(time=slice(0, samples))
    with pytest.raises(jfx.TimeAxisError) as caught:
        jfx.summary(signals, bin=bin)
    remedy = caught.value.problems[0].remedy
    for text in re.findall(r"bin=([\d.e-]+)|from ([\d.e-]+) to|to ([\d.e-]+) ms", remedy):
        assert jfx.summary(signals, bin=float("".join(text)))


def test_short_data_have_no_band_that_nobody_asked_for(refused):
    """20 ms hold no frequency spacing fine enough: then there is no power, rather than an interpolated one."""
    short = numpy_signals().isel(time=slice(0, 40))
    made = jfx.summary(short)
    assert "field_power" not in made
    assert "band" not in made.coords
    assert set(numpy_summary := jfx.summary(numpy_signals(), segment=50.0).data_vars) == {
        *made.data_vars,
        "field_power",
    }, numpy_summary
    with refused(jfx.ArgumentError, "narrower than the frequency spacing"):
        jfx.summary(short, bands={"gamma": (30, 80)})


@pytest.mark.parametrize("by", ["unit", "_", "population_other", "x y"])
def test_any_other_name_will_do(by):
    signals = numpy_signals()
    signals = signals if by == "unit" else signals.rename(population=by)
    made = jfx.summary(signals, by=by)
    assert made.firing_rate.dims == (by,)
    assert made.coherence.dims == (by, f"{by}_other", "frequency")


# ---------------------------------------------------------------------------------------------------- laws


@given(seed=st.integers(0, 99), turn=st.permutations(range(5)))
def test_the_order_of_sites_makes_no_difference(seed, turn):
    v = voltages(seed)[..., 0].astype(float)
    one = jfx.summary(numpy_signals(v), **OPTIONS)
    other = jfx.summary(numpy_signals(v[:, turn], [GROUPS[i] for i in turn]), **OPTIONS)
    other = other.sel(population=["I", "E"], population_other=["I", "E"])
    for name in one.data_vars:
        close(other[name], one[name], 1e-9)


@pytest.mark.slow
@given(seed=st.integers(0, 99), chunks=st.sampled_from([(70, 3), (N, 1), (33, 5)]))
def test_chunks_make_no_difference(seed, chunks):
    """Few sizes, since each compiles anew: uneven, of whole traces, and of no whole number of bins."""
    v = voltages(seed)[..., 0].astype(float)
    lazy = jfx.summary(numpy_signals(dask.array.from_array(v, chunks=chunks)), **OPTIONS)
    one = jfx.summary(numpy_signals(v), **OPTIONS)
    for name in one.data_vars:
        close(lazy[name].compute(scheduler="synchronous"), one[name], 1e-9)


@given(seed=st.integers(0, 99), factor=st.floats(0.5, 3))
def test_units_of_synchrony_and_coherence_cancel(seed, factor):
    v = voltages(seed)[..., 0].astype(float)
    one, other = (jfx.summary(numpy_signals(x), **OPTIONS) for x in (v, factor * v))
    np.testing.assert_allclose(other.synchrony, one.synchrony, rtol=1e-9)
    close(other.coherence, one.coherence, 1e-9)
    np.testing.assert_allclose(other.field_power, factor**2 * one.field_power, rtol=1e-9)


@pytest.mark.parametrize("by", ["population", None])
def test_no_sites_are_refused_by_name(by, refused):
    coords = {"population": ("unit", list("EEI"))}
    ds = jfx.traces(np.zeros((3, 500)), ("unit", "time"), dt_ms=0.1, coords=coords)
    with refused(jfx.DimensionError, "unit: found no sites", "check the selection"):
        ds.jfne.to_signals().isel(unit=[]).jfne.summary(by=by)
