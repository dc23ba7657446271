"""The workflow: a complete configuration, activity from elsewhere, readouts, and what was run."""

import json

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import quantity, units_of

ureg = pint.application_registry
N, DT = 40, 0.25


def voltages():
    """Voltages on (time, neuron, feature)."""
    return np.random.default_rng(5).normal(-50, 30, (N, 3, 2)).astype("f4")


def configured(mode="external_voltage", n=3, **emitter):
    return (
        jfx.configuration()
        .network(n=n)
        .emitter(family="custom", mode=mode, **emitter)
        .field(domain="laminar", sigma=120.0)
        .probe(name="shank", contacts=jfx.linear_probe(4), modes=["lfp_proxy", "csd_proxy"])
    )


# -------------------------------------------------------------------------------------- the documented block


@pytest.mark.parametrize(
    "kind", ["dataset", "data array", "bare", "with a feature", "jax", "dask", "quantity"]
)
def test_the_documented_workflow(kind):
    v = np.where(np.arange(4000) % 1000 == 500, 20.0, -65.0).astype("f4")[:, None]
    ds = jfx.traces(v, ("time", "unit"), dt_ms=0.025)
    source = {
        "dataset": ds,
        "data array": ds.v,
        "bare": v,
        "with a feature": v[:, :, None],
        "jax": jnp.asarray(v),
        "dask": dask.array.from_array(v, chunks=(500, 1)),
        "quantity": quantity(v / 1000, "V"),
    }[kind]

    cfg = (jfx.configuration().network(n=1).emitter(family="custom", mode="external_voltage")
           .field(domain="point").probe(name="jaxley_soma"))  # fmt: skip
    model = jfx.construct(cfg)
    signals = model.simulate_external(source, dt_ms=0.025)
    readouts = model.compute_readout(signals, ["vm", "spike_rate_hz", "lfp_proxy"])

    assert set(signals.data_vars) == {"V_m", "spikes"}
    assert signals.jfne.validate()
    assert list(readouts.data_vars) == ["vm", "spike_rate_hz", "lfp_proxy"]
    assert units_of(readouts.spike_rate_hz) == "Hz"
    np.testing.assert_allclose(
        np.asarray(readouts.spike_rate_hz.compute().pint.dequantify()), 40.0, rtol=1e-6
    )
    assert readouts.contact_name.values.tolist() == ["jaxley_soma"]
    assert "contact_x" not in readouts.coords  # a point has no place
    lfp = readouts.lfp_proxy.compute().pint.dequantify()
    np.testing.assert_allclose(lfp.isel(contact=0).squeeze(), v[:, 0], rtol=1e-6)
    assert readouts.jfne.scope.amplitude_status is False
    assert repr(model).startswith(f"Model {cfg.hash()}: network(n=1) -> ")


# ------------------------------------------------------------------------------------------------- the modes


def test_voltages(backend):
    v = voltages()[..., 0]
    source = backend.by_hand(v, ("time", "unit"), dt=DT)
    before = source.copy(deep=True)
    model = jfx.construct(configured(spike_threshold="-20 mV", spike_rule="level"))
    signals = model.simulate_external(source)
    want = source.jfne.to_signals(spike_threshold=-20.0, spike_rule="level")
    for name in ("V_m", "spikes"):
        np.testing.assert_array_equal(backend.values(signals[name]), backend.values(want[name]))
        assert backend.holds(signals[name], unit=name == "V_m")
    assert source.identical(before)
    step = signals.jfne.provenance["steps"][-1]
    assert step == {
        "function": "simulate_external",
        "parameters": {"configuration": model.configuration.hash(), "mode": "external_voltage"},
    }


def test_currents(backend):
    i = voltages()[..., 0]
    model = jfx.construct(configured("external_current"))
    signals = model.simulate_external(
        backend.by_hand(i * 1000, ("time", "unit"), units="pA", name="source", dt=DT)
    )
    assert list(signals.data_vars) == ["source"]
    assert backend.holds(signals.source)
    assert units_of(signals.source) == "nA"
    np.testing.assert_allclose(backend.values(signals.source), i, rtol=1e-6)
    assert signals.jfne.scope.source_calibration_status == "uncalibrated_current"
    assert signals.jfne.validate()


@pytest.mark.parametrize("dtype", [bool, int, "f4"])
@pytest.mark.parametrize("kernel", ["exponential", "alpha"])
def test_spikes(backend, kernel, dtype):
    spikes = voltages()[..., 0] > 0
    ds = xr.Dataset({"spikes": (("time", "unit"), backend.array(spikes.astype(dtype)))})
    ds = ds.assign_coords(time=("time", DT * np.arange(N), {"units": "ms"}))
    model = jfx.construct(configured("external_spikes", kernel=kernel, tau="2000 us", weight=-0.1))
    signals = model.simulate_external(ds)
    assert set(signals.data_vars) == {"spikes", "source"}
    want = np.zeros(spikes.shape)
    for k, site in zip(*np.nonzero(spikes), strict=True):
        s = (np.arange(N) - k) * DT / 2.0
        shape = np.exp(-s) if kernel == "exponential" else s * np.exp(1 - s)
        want[:, site] -= 0.1 * np.where(s >= 0, shape, 0)
    got = backend.values(signals.source)
    assert np.abs(got - want).max() <= 3e-6 * np.abs(want).max()
    assert isinstance(signals.source.variable._data, backend.kind)
    assert signals.jfne.validate()
    assert signals.jfne.scope.source_calibration_status == "uncalibrated_current"
    bare = model.simulate_external(backend.array(spikes.astype(dtype)), dt_ms=DT)
    np.testing.assert_array_equal(backend.values(bare.source), got)


@pytest.mark.parametrize("mode", ["external_voltage", "external_current", "external_spikes"])
def test_any_name_will_do_for_the_only_variable(mode):
    name, units = {
        "external_voltage": ("soma", "mV"),
        "external_current": ("i", "nA"),
        "external_spikes": ("s", None),
    }[mode]
    data = voltages()[..., 0] > 0 if mode == "external_spikes" else voltages()[..., 0]
    da = xr.DataArray(
        data, dims=("time", "unit"), attrs={} if units is None else {"units": units}, name=name
    )
    da = da.assign_coords(time=("time", DT * np.arange(N), {"units": "ms"}))
    model = jfx.construct(configured(mode))
    one, other, bare = (model.simulate_external(x) for x in (da, da.to_dataset(), da.rename(None)))
    assert one.drop_attrs().identical(other.drop_attrs())
    assert bare.drop_attrs().identical(other.drop_attrs())


def test_groups_label_the_sites(order, backend, voltage):
    ds = backend.by_hand(voltage.transpose(*order).values, order)
    cfg = configured().network(groups={"E": [0, 2], "I": [1]})
    signals = jfx.construct(cfg).simulate_external(ds)
    assert signals.V_m.dims == order
    assert signals.population.dims == ("unit",)
    assert signals.population.values.tolist() == ["E", "I", "E"]


# ----------------------------------------------------------------------------------------------- the readouts


def test_the_configuration_reads_it_out(backend, order, voltage):
    positions = {a: ("unit", np.array([0.0, 60.0, 140.0]), {"units": "um"}) for a in "xyz"}
    ds = backend.by_hand(voltage.transpose(*order).values, order).assign_coords(positions)
    model = jfx.construct(configured())
    signals = model.simulate_external(ds)
    made = model.compute_readout(signals)
    want = jfx.compute_readout(
        signals,
        ["lfp_proxy", "csd_proxy"],
        probe=jfx.linear_probe(4),
        domain="laminar",
        sigma=120.0,
    )
    assert list(made.data_vars) == ["lfp_proxy", "csd_proxy"]
    for name in made.data_vars:
        assert backend.holds(made[name])
        np.testing.assert_array_equal(backend.values(made[name]), backend.values(want[name]))
    other = model.compute_readout(signals, "lfp_proxy", sigma=50.0)  # overrides the configuration's
    assert np.abs(backend.values(other.lfp_proxy) - backend.values(made.lfp_proxy)).max() > 1
    assert list(model.compute_readout(signals, ["vm"]).data_vars) == ["vm"]


def test_a_projection_may_be_configured():
    coords = {"z": ("unit", [0.0, 60.0, 140.0], {"units": "um"})}
    ds = jfx.traces(np.full((4, 3), -65.0), ("time", "unit"), dt_ms=0.1, coords=coords)
    cfg = configured().field(domain="laminar", sigma=120.0, mode="density_preserving")
    model = jfx.construct(cfg)
    signals = model.simulate_external(ds)
    readouts = model.compute_readout(signals)
    probe, mode = jfx.linear_probe(4), "density_preserving"
    want = jfx.lfp_proxy(signals, probe, domain="laminar", sigma=120.0, mode=mode)
    xr.testing.assert_equal(readouts.lfp_proxy.variable, want.lfp_proxy.variable)
    assert jfx.replay(jfx.bundle(model, signals, readouts))
    averaged = model.compute_readout(signals, "lfp_proxy", mode="row_normalize").lfp_proxy
    np.testing.assert_allclose(averaged.data.magnitude, -65.0, rtol=1e-5)


def test_a_lead_field_and_sensors_may_be_configured():
    matrix = np.array([[1.0, 0.5, 0.1], [0.0, 1.0, 1 / 3]])
    sensors = jfx.probe_at([[0, 0, 1e4], [1e4, 0, 0]], dim="channel", name=["Cz", "T8"])
    cfg = configured().field(domain="point")
    cfg = cfg.probe(sensors=sensors, eeg_lead_field=matrix, modes=["eeg_proxy", "eeg_power"])
    model = jfx.construct(cfg)
    signals = model.simulate_external(voltages()[..., 0], dt_ms=DT)
    made = model.compute_readout(signals)
    assert made.channel_name.values.tolist() == ["Cz", "T8"]
    want = voltages()[..., 0].astype(float) @ matrix.T
    np.testing.assert_allclose(made.eeg_proxy.data.magnitude, want, rtol=1e-5)


def test_under_jit_and_grad():
    model = jfx.construct(configured().field(domain="point").probe())

    def loss(v):
        made = model.compute_readout(
            model.simulate_external(v, dt_ms=DT), ["lfp_abs_mean", "emm_proxy"]
        )
        return made.lfp_abs_mean.data + made.emm_proxy.data.mean()

    v = jnp.asarray(voltages()[..., 0])
    assert np.isfinite(jax.jit(jax.grad(loss))(v)).all()


# ----------------------------------------------------------------------------------------------- the manifest


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "jax", "dask", "dask quantified"])
def test_the_manifest_is_strict_json(kind):
    v = voltages()
    lazy = dask.array.from_array(v, chunks=(10, 2, 1))
    v = {"numpy": v, "jax": jnp.asarray(v), "dask": lazy, "dask quantified": quantity(lazy, "mV")}[
        kind
    ]
    model = jfx.construct(configured().field(domain="point").probe(name="p"))
    signals = model.simulate_external(v, dt_ms=DT)
    readouts = model.compute_readout(
        signals, ["vm", "spk", "spike_count", "spike_rate_hz", "emm_proxy"]
    )
    made = model.manifest(signals, readouts)
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made
    assert made["configuration_hash"] == model.configuration.hash()
    assert jfx.Configuration.from_dict(made["configuration"]) == model.configuration
    assert made["scope"]["amplitude_status"] == 0
    assert made["validation"].startswith("signals: valid")
    assert set(made["versions"]) >= {"jaxfne-xr", "jax", "numpy", "xarray"}
    assert made["signals"]["V_m"] == {
        "dims": ["time", "unit", "feature"],
        "shape": [N, 3, 2],
        "dtype": "float32",
        "units": "mV",
    }
    vm = made["readouts"]["vm"]
    values = voltages()
    np.testing.assert_allclose(
        [vm["least"], vm["mean"], vm["largest"]],
        [values.min(), values.mean(), values.max()],
        rtol=1e-6,
    )


def test_a_scalar_readout_has_its_value():
    model = jfx.construct(configured().field(domain="point").probe(name="p"))
    signals = model.simulate_external(voltages()[..., 0], dt_ms=DT)
    made = model.manifest(signals, model.compute_readout(signals, ["mean_V_m", "spike_count"]))
    assert made["readouts"]["mean_V_m"]["value"] == pytest.approx(
        voltages()[..., 0].mean(), rel=1e-6
    )
    assert made["readouts"]["spike_count"]["value"] == int(signals.spikes.sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_readout_that_is_not_finite_is_named(refused, bad):
    model = jfx.construct(configured().field(domain="point").probe(name="p"))
    signals = model.simulate_external(voltages()[..., 0], dt_ms=DT)
    readouts = model.compute_readout(signals, ["vm", "mean_V_m"])
    readouts.vm.data.magnitude[3, 1] = bad
    with refused(jfx.NonFiniteError, "vm: found 1 of 120 values not finite", 'drop_vars("vm")'):
        model.manifest(signals, readouts)


@pytest.mark.parametrize("describe", [lambda m, *given: m.manifest(*given), jfx.bundle])
def test_signals_and_readouts_are_told_apart(refused, describe):
    model = jfx.construct(configured().field(domain="point").probe(name="p"))
    signals = model.simulate_external(voltages()[..., 0], dt_ms=DT)
    readouts = model.compute_readout(signals, ["vm", "mean_V_m"])
    swapped = (
        "signals: found a Dataset of the stage 'readout'",
        "readouts: found a Dataset of the stage 'signals'",
    )
    with refused(jfx.SchemaError, *swapped, "model.compute_readout(signals)"):
        describe(model, readouts, signals)
    with refused(jfx.SchemaError, "signals: found a ndarray", "readouts: found a NoneType"):
        describe(model, voltages(), None)


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("missing", ["network", "emitter", "field", "probe"])
def test_a_missing_stage_is_named(refused, missing):
    cfg = configured()
    part = jfx.Configuration({name: o for name, o in cfg.stages.items() if name != missing})
    with refused(jfx.SchemaError, f"no {missing} in ", f".{missing}("):
        jfx.construct(part)


def test_all_missing_stages_are_named(refused):
    with refused(jfx.SchemaError, "no network, no emitter, no field, no probe in configuration()"):
        jfx.construct(jfx.configuration())


@pytest.mark.parametrize("domain", ["laminar", "volume"])
@pytest.mark.parametrize("probe", [{}, {"modes": ["vm"]}, {"eeg_lead_field": [[1.0, 2.0, 3.0]]}])
def test_a_field_with_an_extent_needs_contacts(refused, domain, probe):
    cfg = configured().field(domain=domain, sigma=50).probe(name="p", **probe)
    with refused(
        jfx.SchemaError,
        f"probe: found no contacts, in a field of the domain {domain!r}",
        ".probe(contacts=jfx.linear_probe(n=16))",
        '.field(domain="point")',
    ):
        jfx.construct(cfg)
    assert jfx.construct(cfg.field(domain="point"))
    assert jfx.construct(cfg.probe(contacts=jfx.linear_probe(n=16)))


@pytest.mark.slow
def test_depth_alone_is_enough_in_the_laminar_domain(refused, backend):
    depth = xr.Dataset(coords={"z": ("contact", [0.0, 0.05, 0.15], {"units": "mm"})})
    sites = {"z": ("unit", [10.0, 70.0, 120.0], {"units": "um"})}
    cfg = configured().probe(contacts=depth, modes=["lfp_proxy", "csd_proxy"])
    model = jfx.construct(cfg)
    ds = backend.by_hand(V, ("time", "unit"), dt=DT).assign_coords(sites)
    signals = model.simulate_external(ds)
    made = model.compute_readout(signals)
    whole = jfx.probe_at([[0, 0, 0], [0, 0, 50], [0, 0, 150]])
    want = jfx.construct(cfg.probe(contacts=whole)).compute_readout(signals, [*made.data_vars])
    for name in made.data_vars:
        np.testing.assert_array_equal(backend.values(made[name]), backend.values(want[name]))
    assert jfx.replay(jfx.bundle(model, signals, made))
    with refused(jfx.SchemaError, "contacts without x, contacts without y", "'volume'"):
        jfx.construct(cfg.field(domain="volume", sigma=50.0))


def test_a_depth_on_top_of_another_is_refused(refused):
    twice = xr.Dataset(coords={"z": ("contact", [5.0, 5.0], {"units": "um"})})
    with refused(jfx.ArgumentError, "contacts 0 and 1 both at (5) um"):
        configured().probe(contacts=twice)
    with refused(jfx.ArgumentError, "found a dict", "from_dict"):
        jfx.construct(configured().to_dict())


def labelled(data, name="v", units="mV", dims=("time", "unit")):
    ds = xr.Dataset({name: (dims, data, {} if units is None else {"units": units})})
    return ds.assign_coords(time=("time", DT * np.arange(ds.sizes["time"]), {"units": "ms"}))


V = voltages()[..., 0]
HOLED = np.where(np.arange(N)[:, None] == 3, np.nan, V)


@pytest.mark.parametrize(
    ("mode", "source", "options", "error", "said"),
    [
        (
            "voltage",
            V[:, :2],
            {"dt_ms": DT},
            jfx.DimensionError,
            "2 sites along 'unit'; expected the 3 of network(n=3)",
        ),
        (
            "voltage",
            labelled(V, dims=("time", "neuron")),
            {},
            jfx.DimensionError,
            "no dim of sites, unit or recording",
        ),
        ("voltage", V[:, 0], {"dt_ms": DT}, jfx.DimensionError, "an array of 1 axes"),
        ("voltage", np.zeros((2,) * 4), {"dt_ms": DT}, jfx.DimensionError, "an array of 4 axes"),
        ("voltage", V, {}, jfx.TimeAxisError, "dt_ms"),
        ("voltage", V, {"dt_ms": 0}, jfx.TimeAxisError, "dt_ms"),
        ("voltage", V, {"dt_ms": "1 mV"}, jfx.UnitError, "dt_ms"),
        ("voltage", labelled(V), {"dt_ms": 1.0}, jfx.TimeAxisError, "the two to agree"),
        ("voltage", labelled(V, units="nA"), {}, jfx.UnitError, "'nA'"),
        ("voltage", HOLED, {"dt_ms": DT}, jfx.NonFiniteError, "time=3"),
        ("voltage", V + 1j, {"dt_ms": DT}, jfx.DataError, "complex"),
        ("current", labelled(V, "source", "mV"), {}, jfx.UnitError, "'mV'"),
        ("current", labelled(V, "source", None), {}, jfx.UnitError, "no unit"),
        (
            "current",
            labelled(HOLED, "source", "nA"),
            {},
            jfx.NonFiniteError,
            "source: found 3 of 120",
        ),
        ("current", HOLED, {"dt_ms": DT}, jfx.NonFiniteError, "time=3"),
        (
            "current",
            labelled(V, "a", "nA").assign(b=("unit", np.ones(3))),
            {},
            jfx.DataError,
            "['a', 'b']",
        ),
        (
            "current",
            labelled(V, "source", "nA").drop_vars("time"),
            {},
            jfx.TimeAxisError,
            "no time coordinate",
        ),
        ("current", labelled(V[:, :2], "source", "nA"), {}, jfx.DimensionError, "2 sites"),
        ("spikes", HOLED, {"dt_ms": DT}, jfx.NonFiniteError, "spikes"),
        (
            "spikes",
            np.where(np.arange(N)[:, None] == 3, -1.0, V > 0),
            {"dt_ms": DT},
            jfx.DataError,
            "spikes: found 3 of 120 values negative; the first is -1 at index time=3, unit=0",
        ),
        (
            "spikes",
            (V > 0) - np.int8(2),
            {"dt_ms": DT},
            jfx.DataError,
            "120 of 120 values negative",
        ),
        ("spikes", HOLED * np.inf, {"dt_ms": DT}, jfx.NonFiniteError, "time=0"),
        ("spikes", V > 0, {}, jfx.TimeAxisError, "no time coordinate"),
        ("spikes", (V > 0).astype(str), {"dt_ms": DT}, jfx.DataError, "source: found"),
        ("spikes", xr.Dataset({"spikes": ("unit", [True])}), {}, jfx.DimensionError, "time"),
    ],
)
def test_what_is_wrong_is_said(refused, mode, source, options, error, said):
    model = jfx.construct(configured(f"external_{mode}"))
    with refused(error, said):
        model.simulate_external(source, **options)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_spikes_that_are_none_are_refused_on_every_kind_of_array(refused, backend, bad):
    spikes = np.where(np.arange(N)[:, None] == 3, bad, (V > 0).astype(float))
    model = jfx.construct(configured("external_spikes"))
    error, said = (jfx.DataError, "negative") if bad == -1 else (jfx.NonFiniteError, "not finite")
    with refused(error, "spikes", said, "time=3"):
        model.simulate_external(backend.array(spikes), dt_ms=DT).source.compute()


def test_a_readout_that_cannot_be_is_named(refused):
    model = jfx.construct(configured().probe(contacts=jfx.linear_probe(2)))
    signals = model.simulate_external(V, dt_ms=DT)
    with refused(jfx.ArgumentError, "a probe without modes", "'lfp_proxy'"):
        model.compute_readout(signals)
    with refused(jfx.VariableError, "eeg_proxy: found neither sensors nor a lead field"):
        model.compute_readout(signals, ["eeg_proxy"])
    with refused(jfx.ArgumentError, "a readout that is not known"):
        model.compute_readout(signals, ["lfq"])
    with refused(jfx.ArgumentError, "width"):
        model.compute_readout(signals, ["vm"], width=3)
    with refused(jfx.DimensionError, "z: found not there"):
        jfx.construct(configured()).compute_readout(signals)


def test_spikes_are_not_voltages(refused):
    cfg = jfx.configuration().network(n=2).emitter(mode="external_spikes").field(domain="point")
    voltages = xr.DataArray(np.full((9, 2), -65.0), dims=("time", "unit"), attrs={"units": "mV"})
    with refused(jfx.UnitError, "mV"):
        jfx.construct(cfg.probe(name="a")).simulate_external(voltages, dt_ms=0.1)
