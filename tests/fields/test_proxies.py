"""Proxies of LFP, CSD, EEG, MEG and activity: against plain loops, on every kind of array, in every order of dims."""

import itertools

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxfne_xr as jfx
from jaxfne_xr.core.units import quantity, units_of

SITES = np.array([[10.0, -20.0, 5.0], [0.0, 30.0, 80.0], [-40.0, 0.0, 190.0]])
CONTACTS = np.array([[20.0, 0.0, z] for z in (0.0, 40.0, 130.0, 200.0)])
CHANNELS = np.array([[0.0, 0.0, 9e3], [7e3, 0.0, 5e3]])
PROBE = jfx.probe_at(CONTACTS)
SENSORS = jfx.probe_at(CHANNELS, dim="channel", name=["Cz", "T8"])


def positions(xyz=SITES, dim="unit"):
    return {a: (dim, xyz[:, i], {"units": "um"}) for i, a in enumerate("xyz")}


def close(got, want, tol=3e-6):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tol * np.abs(want).max()


@pytest.fixture
def signals(backend, order, voltage):
    ds = backend.by_hand(voltage.transpose(*order).values, order)
    return ds.assign_coords(positions()).jfne.to_signals()


@pytest.fixture
def v(voltage):
    """The voltages on (time, unit, trial), float64."""
    return voltage.transpose("time", "unit", "trial").values.astype(float)


def weights(contacts, sites, sigma, axes, mode="row_normalize"):
    """Return the Gaussian weights by their definition."""
    w = np.zeros((len(contacts), len(sites)))
    for c, contact in enumerate(contacts):
        for n, site in enumerate(sites):
            w[c, n] = np.exp(-sum((contact[a] - site[a]) ** 2 for a in axes) / (2 * sigma**2))
        if mode == "row_normalize":
            w[c] /= sum(w[c])
    return w


def through(matrix, v):
    """Return (time, trial, row) by a plain loop over sites."""
    out = np.zeros((v.shape[0], v.shape[2], len(matrix)))
    for c, row in enumerate(matrix):
        for n, weight in enumerate(row):
            out[:, :, c] += weight * v[:, n]
    return out


def as_expected(backend, ds, name, dim, unit, want, tol=3e-6):
    assert list(ds.data_vars) == [name]
    made = ds[name]
    assert made.dims == ("time", "trial", dim)
    assert backend.holds(made)
    assert (units_of(made), made.dtype) == (unit, np.float32)
    assert "proxy" in made.attrs["long_name"].lower()
    assert ds.jfne.scope.amplitude_status is False
    close(backend.values(made), want, tol)


# ------------------------------------------------------------------------------------------------ fields


@pytest.mark.parametrize(("domain", "axes"), [("laminar", [2]), ("volume", [0, 1, 2])])
def test_lfp(backend, signals, v, domain, axes):
    before, probe = signals.copy(deep=True), PROBE.copy(deep=True)
    made = jfx.lfp_proxy(signals, probe, domain=domain, sigma="0.06 mm")
    want = through(weights(CONTACTS, SITES, 60.0, axes), v)
    as_expected(backend, made, "lfp_proxy", "contact", "1", want)
    assert made.z.values.tolist() == CONTACTS[:, 2].tolist()
    assert made.name.values.tolist() == ["probe0", "probe1", "probe2", "probe3"]
    assert made.jfne.scope.field_solver_status == "gaussian_kernel_proxy"
    assert signals.identical(before)
    assert probe.identical(PROBE)


@pytest.mark.parametrize(("domain", "axes"), [("laminar", [2]), ("volume", [0, 1, 2])])
def test_lfp_that_preserves_density(backend, signals, v, domain, axes):
    mode = "density_preserving"
    made = jfx.lfp_proxy(signals, PROBE, domain=domain, sigma="0.06 mm", mode=mode)
    want = through(weights(CONTACTS, SITES, 60.0, axes, mode), v)
    as_expected(backend, made, "lfp_proxy", "contact", "1", want)
    assert made.jfne.scope.field_solver_status == "gaussian_kernel_proxy"
    assert made.jfne.provenance["steps"][-1]["parameters"]["mode"] == mode
    again = signals.jfne.lfp_proxy(PROBE, domain=domain, sigma=60.0, mode=mode)
    xr.testing.assert_identical(again, made)


def test_only_what_preserves_density_decays():
    options = {"dt_ms": 0.1, "name": "source", "units": "nA", "coords": positions()}
    ds = jfx.traces(np.ones((5, 3)), ("time", "unit"), **options)
    far = jfx.probe_at([[0.0, 0.0, 100.0], [0.0, 0.0, 1300.0]])
    near, away = jfx.lfp_proxy(ds, far).lfp_proxy.data.magnitude[0]
    assert near == pytest.approx(1, rel=1e-6)
    assert away == pytest.approx(1, rel=1e-6)
    once = jfx.lfp_proxy(ds, far, mode="density_preserving").lfp_proxy.data.magnitude[0]
    assert once[1] < 1e-20 < once[0]
    twice = jfx.lfp_proxy(jfx.concat([ds, ds], "unit"), far, mode="density_preserving")
    close(twice.lfp_proxy.data.magnitude[0], 2 * once)


@pytest.mark.parametrize("mode", ["row_normalize", "density_preserving"])
@pytest.mark.parametrize("probe", [None, PROBE])
def test_a_point_is_the_mean_or_the_sum_of_all_sites(backend, signals, v, probe, mode):
    made = jfx.lfp_proxy(signals.drop_vars(["x", "y", "z"]), probe, domain="point", mode=mode)
    shape = (1 if probe is None else 4, 3)
    matrix = np.full(shape, 1 / 3 if mode == "row_normalize" else 1.0)
    as_expected(backend, made, "lfp_proxy", "contact", "1", through(matrix, v))


def test_csd(backend, signals, v):
    lfp = jfx.lfp_proxy(signals, PROBE, domain="laminar", sigma=60.0)
    before = lfp.copy(deep=True)
    made = jfx.csd_proxy(lfp)
    phi, z = through(weights(CONTACTS, SITES, 60.0, [2]), v), CONTACTS[:, 2]
    want = np.zeros_like(phi)
    for c in range(4):
        i = min(max(c, 1), 2)  # at the ends, the nearest three
        g, h = z[i] - z[i - 1], z[i + 1] - z[i]
        curve = (
            phi[..., i - 1] / (g * (g + h))
            - phi[..., i] / (g * h)
            + phi[..., i + 1] / (h * (g + h))
        )
        want[..., c] = -2 * curve
    as_expected(backend, made, "csd_proxy", "contact", "1/um^2", want, tol=1e-5)
    assert lfp.identical(before)


def test_the_csd_of_a_parabola_along_any_line_in_any_order():
    line = np.array([0.6, 0.0, 0.8])
    along = np.array([70.0, 0.0, 25.0, 190.0, 110.0])
    probe = jfx.probe_at(3.0 + along[:, None] * line)
    lfp = jfx.lfp_proxy(one([1.0, 1.0]), probe)
    lfp["lfp_proxy"] = (
        lfp.lfp_proxy.dims,
        np.broadcast_to(0.01 * along**2, (4, 5)),
        {"units": "1"},
    )
    np.testing.assert_allclose(jfx.csd_proxy(lfp).csd_proxy, -0.02, rtol=1e-11)


def test_the_csd_of_what_compute_readout_returned():
    signals = one([1.0, 2.0])
    made = jfx.compute_readout(signals, ["lfp_proxy", "csd_proxy"], probe=PROBE)
    again = jfx.csd_proxy(made[["lfp_proxy"]])
    np.testing.assert_array_equal(again.csd_proxy, made.csd_proxy)


@pytest.mark.parametrize("name", ["eeg_proxy", "meg_proxy"])
def test_toy_lead_fields(backend, signals, v, name):
    made = getattr(jfx, name)(signals, SENSORS)
    toy = np.zeros((2, 3))
    for c, n in np.ndindex(2, 3):
        away = CHANNELS[c] - SITES[n]
        d = np.sqrt(sum(away**2))
        cosine = away[2] / d
        toy[c, n] = (cosine if name == "eeg_proxy" else np.sqrt(1 - cosine**2)) / d**2
    as_expected(backend, made, name, "channel", "1", through(toy / abs(toy).max(), v), 1e-5)
    assert made.jfne.scope.field_solver_status == "toy_lead_field_proxy"
    assert made.name.values.tolist() == ["Cz", "T8"]


@pytest.mark.parametrize("form", ["list", "array", "turned", "jax", "quantity"])
@pytest.mark.parametrize("name", ["eeg_proxy", "meg_proxy"])
def test_a_lead_field_may_be_given(backend, signals, v, name, form):
    matrix = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    labelled = xr.DataArray(matrix.T, dims=("unit", "channel"), coords={"channel": ["Cz", "T8"]})
    forms = {
        "list": matrix.tolist(),
        "array": matrix.astype("f4"),
        "turned": labelled,
        "jax": jnp.asarray(matrix) if backend.name == "jax" else matrix,
        "quantity": quantity(matrix, "1"),
    }
    made = getattr(jfx, name)(signals, **{f"{name[:3]}_lead_field": forms[form]})
    as_expected(backend, made, name, "channel", "1", through(matrix, v))
    assert made.jfne.scope.field_solver_status == "given_lead_field_proxy"
    if form == "turned":
        assert made.channel.values.tolist() == ["Cz", "T8"]


@pytest.mark.parametrize("scales", [None, (50.0, 20.0, 300.0)])
def test_emm(backend, signals, order, v, scales):
    source = jfx.source(signals)
    lfp = jfx.lfp_proxy(source, PROBE, sigma=60.0)
    made = jfx.emm_proxy(signals, source, lfp, emm_weights=(1, 2, 3), emm_scales=scales)
    where = [order.index(d) for d in ("time", "unit", "trial")]
    spikes = np.moveaxis(backend.values(signals.spikes), where, [0, 1, 2])
    field = through(weights(CONTACTS, SITES, 60.0, [0, 1, 2]), v)
    terms = [spikes.mean(1) / 1e-4, abs(v).mean(1), (field**2).mean(2)]
    norm = [t.mean(0) for t in terms] if scales is None else scales
    want = sum(w * t / n for w, t, n in zip((1, 2, 3), terms, norm, strict=True)) / 6
    assert made.emm_proxy.dims == ("time", "trial")
    assert backend.holds(made.emm_proxy)
    close(backend.values(made.emm_proxy), want, 1e-5)
    if scales is None:
        close(backend.values(made.emm_proxy).mean(0), [1, 1], 1e-6)


def test_field_summaries(backend, signals, v):
    lfp = jfx.lfp_proxy(signals, PROBE, sigma=60.0)
    csd, eeg = jfx.csd_proxy(lfp), jfx.eeg_proxy(signals, SENSORS)
    for name, ds, of, units in (
        ("lfp_abs_mean", lfp, abs, "1"),
        ("csd_abs_mean", csd, abs, "1/um^2"),
        ("eeg_power", eeg, np.square, "1"),
    ):
        made = getattr(jfx, name)(ds, window=(0.2, 0.6))
        series = backend.values(next(iter(ds.data_vars.values())))
        assert made[name].dims == ("trial",)
        assert backend.holds(made[name])
        assert units_of(made[name]) == units
        close(backend.values(made[name]), of(series[2:6].astype(float)).mean((0, 2)), 2e-6)


# -------------------------------------------------------------------------------------- as in jaxfne, and traced


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_fields_are_those_of_jaxfne():
    """Its laminar projection (row-normalised, depths from 0 to 1), lead fields, and activity cost."""
    from jaxfne.fields import eeg_proxy_transform, emm_proxy_transform, project_laminar_sources

    rng = np.random.default_rng(0)
    v, depth = rng.normal(-50, 20, (30, 6)).astype("f4"), rng.uniform(0, 1, 6).astype("f4")
    coords = positions(np.stack([0 * depth, 0 * depth, 1000 * depth], axis=1))
    signals = jfx.traces(
        v, ("time", "unit"), dt_ms=0.1, quantify=False, coords=coords
    ).jfne.to_signals()
    probe = jfx.linear_probe(9, 125.0)
    matrix = rng.normal(size=(2, 6)).astype("f4")
    scales = (1.0, 1 / 6, 1 / 9)  # it sums over sites and contacts, where we average
    names = ["lfp_proxy", "csd_proxy", "eeg_proxy", "emm_proxy"]
    options = {"domain": "laminar", "sigma": 120.0, "eeg_lead_field": matrix, "emm_scales": scales}
    ours = jfx.compute_readout(signals, names, probe=probe, **options)

    places = np.stack([0 * depth, 0 * depth, depth], axis=1)
    theirs = project_laminar_sources(v, places, n_contacts=9, width=0.12, mode="row_normalize")
    close(ours.lfp_proxy, theirs.lfp_proxy, 1e-5)
    close(-np.diff(theirs.lfp_proxy, 2, axis=1) / 125.0**2, ours.csd_proxy[:, 1:-1], 1e-3)
    close(ours.eeg_proxy, eeg_proxy_transform(v, matrix), 1e-5)
    rate = np.asarray(signals.spikes).mean(1) / 1e-4
    close(ours.emm_proxy, np.asarray(emm_proxy_transform(rate, v, theirs.lfp_proxy))[:, 0], 1e-5)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("mode", "tol"),
    [("row_normalize", 1e-7), ("density_preserving", 1e-12)],  # it adds 1e-8 to the sum of a row
)
def test_both_projections_are_those_of_jaxfne(x64, mode, tol):
    from jaxfne.fields import project_laminar_sources

    rng = np.random.default_rng(0)
    v, depth = rng.normal(-50, 20, (30, 6)), rng.uniform(0, 1, 6)
    coords = positions(np.stack([0 * depth, 0 * depth, 1000 * depth], axis=1))
    ds = jfx.traces(v, ("time", "unit"), dt_ms=0.1, quantify=False, coords=coords).jfne.to_signals()
    shank = jfx.linear_probe(9, 125.0)
    ours = jfx.lfp_proxy(ds, shank, domain="laminar", sigma=120.0, mode=mode)
    places = np.stack([0 * depth, 0 * depth, depth], axis=1)
    theirs = project_laminar_sources(v, places, n_contacts=9, width=0.12, mode=mode)
    assert theirs.lfp_proxy.dtype == np.float64
    close(ours.lfp_proxy, theirs.lfp_proxy, tol)


def one(values=(1.0, 3.0), n=4, **coords):
    """Return plain Signals: each site constant in time."""
    v = np.broadcast_to(np.asarray(values, float), (n, len(values)))
    xyz = np.arange(len(values))[:, None] * [0.0, 0.0, 100.0]
    coords = positions(xyz) | coords
    return jfx.traces(
        v, ("time", "unit"), dt_ms=0.1, quantify=False, coords=coords
    ).jfne.to_signals()


@pytest.mark.slow
def test_gradients_reach_data_places_and_width(x64):
    v = jnp.asarray(np.random.default_rng(0).normal(-50, 20, (5, 3)))

    def power(v, contacts, sites, sigma):
        ds = jfx.traces(v, ("time", "unit"), dt_ms=0.1, quantify=False)
        ds = ds.assign_coords(
            {a: ("unit", sites[:, i], {"units": "um"}) for i, a in enumerate("xyz")}
        )
        lfp = jfx.lfp_proxy(ds.jfne.to_signals(), jfx.probe_at(contacts), sigma=sigma)
        return (jfx.csd_proxy(lfp).csd_proxy.data ** 2).sum() + (lfp.lfp_proxy.data**2).sum()

    at = (v, jnp.asarray(CONTACTS), jnp.asarray(SITES), jnp.asarray(60.0))
    slopes = jax.jit(jax.grad(power, argnums=(0, 1, 2, 3)))(*at)
    step = 1e-5
    for i, (slope, where) in enumerate(zip(slopes, at, strict=True)):
        way = np.random.default_rng(i).normal(size=np.shape(where))
        if i == 1:
            way = np.broadcast_to(
                way[:1], way.shape
            )  # all contacts together: they stay on their line
        ends = [power(*at[:i], where + sign * step * way, *at[i + 1 :]) for sign in (1, -1)]
        want = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((slope * way).sum(), want, rtol=1e-5)


def test_a_lead_field_is_differentiable_through_compute_readout():
    signals = jfx.to_jax(one([1.0, 3.0]).astype("f4", keep_attrs=True))

    def power(matrix):
        return jfx.compute_readout(signals, ["eeg_power"], eeg_lead_field=matrix).eeg_power.data

    slope = jax.grad(power)(jnp.array([[1.0, 2.0]]))
    np.testing.assert_allclose(slope, [[14.0, 42.0]], rtol=1e-6)  # 2 (L s) s


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda s: jfx.lfp_proxy(s, PROBE, mode="sum"),
            jfx.ArgumentError,
            "one of ['row_normalize', 'density_preserving']",
        ),
        (
            lambda s: jfx.lfp_proxy(s, PROBE, domain="flat"),
            jfx.ArgumentError,
            "['point', 'laminar', 'volume']",
        ),
        (lambda s: jfx.lfp_proxy(s, PROBE, sigma=0), jfx.ArgumentError, "0 um"),
        (lambda s: jfx.lfp_proxy(s, PROBE, sigma=-120.0), jfx.ArgumentError, "-120 um"),
        (lambda s: jfx.lfp_proxy(s, PROBE, sigma=jnp.float32(-1)), jfx.ArgumentError, "-1 um"),
        (lambda s: jfx.lfp_proxy(s, PROBE, sigma="1 mV"), jfx.UnitError, "sigma"),
        (jfx.lfp_proxy, jfx.VariableError, "no probe"),
        (lambda s: jfx.lfp_proxy(s, SENSORS), jfx.DimensionError, "along 'channel'"),
        (lambda s: jfx.lfp_proxy(s, SENSORS, domain="point"), jfx.DimensionError, "'contact'"),
        (
            lambda s: jfx.lfp_proxy(s, PROBE.drop_vars("x")),
            jfx.DimensionError,
            "x: found not there",
        ),
        (lambda s: jfx.lfp_proxy(s, CONTACTS), jfx.ArgumentError, "a ndarray"),
        (lambda s: jfx.lfp_proxy(s.drop_vars(["y", "z"]), PROBE), jfx.DimensionError, "2 problems"),
        (
            lambda s: jfx.lfp_proxy(s.assign_coords(z=("unit", [0, 1])), PROBE),
            jfx.UnitError,
            "no unit",
        ),
        (lambda s: jfx.lfp_proxy(s.isel(unit=0), PROBE), jfx.VariableError, "expand_dims"),
        (
            lambda s: jfx.lfp_proxy(s.drop_vars("V_m"), PROBE),
            jfx.VariableError,
            "neither a source nor a voltage",
        ),
        (jfx.csd_proxy, jfx.VariableError, "lfp_proxy"),
        (
            lambda s: jfx.csd_proxy(jfx.lfp_proxy(s, PROBE.isel(contact=[0, 1]))),
            jfx.DimensionError,
            "2 contacts",
        ),
        (
            lambda s: jfx.csd_proxy(jfx.lfp_proxy(s, domain="point")),
            jfx.DimensionError,
            "1 contacts",
        ),
        (
            lambda s: jfx.csd_proxy(jfx.lfp_proxy(s, jfx.grid_probe((3, 2)))),
            jfx.DimensionError,
            "off the line",
        ),
        (jfx.eeg_proxy, jfx.VariableError, "neither sensors nor a lead field"),
        (lambda s: jfx.eeg_proxy(s, PROBE), jfx.DimensionError, "'channel'"),
        (
            lambda s: jfx.eeg_proxy(s, PROBE, eeg_lead_field=np.ones((4, 2))),
            jfx.DimensionError,
            "'channel'",
        ),
        (lambda s: jfx.eeg_proxy(s, eeg_lead_field=np.ones((2, 3))), jfx.DimensionError, "(2, 3)"),
        (lambda s: jfx.eeg_proxy(s, eeg_lead_field=[1.0, 2.0]), jfx.DimensionError, "(2,)"),
        (
            lambda s: jfx.eeg_proxy(s, SENSORS, eeg_lead_field=np.ones((3, 2))),
            jfx.DimensionError,
            "each of the sensors",
        ),
        (
            lambda s: jfx.meg_proxy(
                s, meg_lead_field=xr.DataArray(np.ones((2, 2)), dims=("a", "unit"))
            ),
            jfx.DimensionError,
            "('a', 'unit')",
        ),
        (
            lambda s: jfx.meg_proxy(
                s,
                meg_lead_field=xr.DataArray(
                    np.ones((1, 2)), dims=("channel", "unit"), coords={"unit": [1, 0]}
                ),
            ),
            jfx.DimensionError,
            'labels along "unit"',
        ),
        (
            lambda s: jfx.emm_proxy(s, s, jfx.lfp_proxy(s, PROBE), emm_weights=(1, 1)),
            jfx.ArgumentError,
            "three numbers",
        ),
        (
            lambda s: jfx.emm_proxy(s, s, jfx.lfp_proxy(s, PROBE), emm_weights=(0, 0, 0)),
            jfx.ArgumentError,
            "not all 0",
        ),
        (
            lambda s: jfx.emm_proxy(s, s, jfx.lfp_proxy(s, PROBE), emm_weights=(1, -1, 1)),
            jfx.ArgumentError,
            "not negative",
        ),
        (
            lambda s: jfx.emm_proxy(s, s, jfx.lfp_proxy(s, PROBE), emm_weights=(1, np.inf, 1)),
            jfx.ArgumentError,
            "emm_weights",
        ),
        (
            lambda s: jfx.emm_proxy(s, s, jfx.lfp_proxy(s, PROBE), emm_scales=(1, 0, 1)),
            jfx.ArgumentError,
            "three positive",
        ),
        (lambda s: jfx.emm_proxy(s, s, s), jfx.VariableError, "lfp_proxy"),
        (lambda s: jfx.emm_proxy(s.drop_vars("spikes"), s, s), jfx.VariableError, "spikes"),
    ],
)
def test_what_is_wrong_is_said(refused, call, error, said):
    with refused(error, said):
        call(one())


# ---------------------------------------------------------------------------------------------------- laws

finite = st.floats(-100, 100, allow_subnormal=False)
activity = arrays(float, (5, 4), elements=finite)
sites = arrays(float, (4, 3), elements=st.floats(-300, 300, allow_subnormal=False))
DOMAIN = st.sampled_from(["point", "laminar", "volume"])


def fields(v, xyz, shift=(0, 0, 0), domain="volume", dims=("time", "unit")):
    """Return the numbers of every field, as (time, place)."""
    coords = positions(xyz + np.asarray(shift))
    order = [("time", "unit").index(d) for d in dims]
    signals = jfx.traces(
        v.transpose(order), dims, dt_ms=0.1, quantify=False, coords=coords
    ).jfne.to_signals()
    made = jfx.compute_readout(
        signals,
        ["lfp_proxy", "csd_proxy", "eeg_proxy", "meg_proxy"],
        probe=jfx.linear_probe(4, 60.0, origin=shift),
        sensors=jfx.probe_at(CHANNELS + shift, dim="channel"),
        domain=domain,
        sigma=70.0,
    )
    return {name: variable.values for name, variable in made.data_vars.items()}


def same(one, other, size, tol=1e-9):
    for name, values in one.items():
        scale = size * (1e-3 if name == "csd_proxy" else 1)
        np.testing.assert_allclose(other[name], values, rtol=0, atol=tol * (scale + 1e-30))


@given(a=activity, b=activity, c=finite, xyz=sites, domain=DOMAIN)
def test_fields_are_linear_in_the_source(a, b, c, xyz, domain):
    one, two, both = (fields(v, xyz, domain=domain) for v in (a, b, a + c * b))
    size = np.abs(a).max() + np.abs(c * b).max()
    same({name: one[name] + c * two[name] for name in one}, both, size)


@given(v=activity, xyz=sites, turn=st.permutations(range(4)), domain=DOMAIN)
def test_the_order_of_sites_makes_no_difference(v, xyz, turn, domain):
    same(
        fields(v, xyz, domain=domain), fields(v[:, turn], xyz[turn], domain=domain), np.abs(v).max()
    )


@given(v=activity, xyz=sites, shift=arrays(float, 3, elements=st.floats(-500, 500)), domain=DOMAIN)
def test_moving_sites_and_probes_together_makes_no_difference(v, xyz, shift, domain):
    same(fields(v, xyz, domain=domain), fields(v, xyz, shift, domain), np.abs(v).max(), 1e-7)


@given(v=activity, xyz=sites)
def test_the_order_of_dims_makes_no_difference(v, xyz):
    same(fields(v, xyz), fields(v, xyz, dims=("unit", "time")), np.abs(v).max(), 1e-13)


@given(v=activity, xyz=sites, data=st.data())
def test_chunks_make_no_difference(v, xyz, data):
    chunks = tuple(data.draw(st.integers(1, n)) for n in v.shape)
    lazy = fields(dask.array.from_array(v, chunks=chunks), xyz)
    same(fields(v, xyz), lazy, np.abs(v).max(), 1e-12)


@given(v=activity, xyz=sites, domain=DOMAIN)
def test_an_average_lies_between_its_sites(v, xyz, domain):
    lfp = fields(v, xyz, domain=domain)["lfp_proxy"]
    slack = 1e-12 * np.abs(v).max()
    assert (lfp <= v.max(1, keepdims=True) + slack).all()
    assert (lfp >= v.min(1, keepdims=True) - slack).all()


def test_every_order_of_dims_gives_the_same_bits_of_time():
    """The dims of a result do not depend on those of the input."""
    v = np.random.default_rng(0).normal(size=(6, 3, 2))
    made = []
    for order in itertools.permutations(("time", "unit", "trial")):
        turned = v.transpose([("time", "unit", "trial").index(d) for d in order])
        signals = jfx.traces(turned, order, dt_ms=0.1, coords=positions()).jfne.to_signals()
        made.append(jfx.lfp_proxy(signals, PROBE).lfp_proxy)
    assert {m.dims for m in made} == {("time", "trial", "contact")}


def test_csd_proxy_of_contacts_with_a_depth_alone():
    z = np.array([0.0, 50.0, 120.0, 170.0])
    ds = jfx.traces(
        z[None] ** 2 * 0.01, ("time", "contact"), dt_ms=1.0, name="lfp_proxy", units="1"
    )
    made = jfx.csd_proxy(ds.assign_coords(z=("contact", z, {"units": "um"})))
    np.testing.assert_allclose(made.csd_proxy.data.magnitude, -0.02, rtol=1e-11)


def test_a_site_without_a_position_is_named(refused):
    ds = jfx.traces(
        np.ones((5, 2)), ["time", "unit"], dt_ms=0.1, coords={"z": ("unit", [0.0, np.nan])}
    )
    with refused(jfx.ArgumentError, "1 of 2 sites", "unit 1 first"):
        jfx.lfp_proxy(ds.jfne.to_signals(), jfx.linear_probe(3), domain="laminar")
