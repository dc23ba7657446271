"""The registry, `compute_readout`, and the series and scalars: on every kind of array, in every order of dims."""

import html
import inspect
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import registry as entries
from jaxfne_xr.core.units import units_of
from jaxfne_xr.fields import proxies as proxy

ureg = pint.application_registry
SCALARS = ["spike_rate_hz", "spike_count", "mean_V_m", "source_abs_mean"]
ALL = [
    *("vm", "spk", "source", *SCALARS),
    *("lfp_proxy", "csd_proxy", "eeg_proxy", "meg_proxy", "emm_proxy"),
    *("lfp_abs_mean", "csd_abs_mean", "eeg_power"),
]


@pytest.fixture
def signals(backend, order, voltage):
    rng = np.random.default_rng(3)
    positions = {a: ("unit", rng.normal(0, 100, 3), {"units": "um"}) for a in "xyz"}
    ds = backend.by_hand(voltage.transpose(*order).values, order)
    return ds.assign_coords(**positions, trial=[10, 20]).jfne.to_signals()


@pytest.fixture
def places():
    return {
        "probe": jfx.linear_probe(4, origin=(0, 0, -75)),
        "sensors": jfx.probe_at([[0, 0, 1e4], [1e4, 0, 3e3]], dim="channel", name=["Cz", "T8"]),
    }


def small(**options):
    ds = jfx.traces(
        np.array([[-65.0, 20.0, -60.0, -70.0]]).T, ("time", "unit"), dt_ms=0.5, **options
    )
    return ds.jfne.to_signals()


# ------------------------------------------------------------------------------------ series and scalars


def test_series(backend, order, signals, voltage):
    before = signals.copy(deep=True)
    vm, spk = jfx.vm(signals), jfx.spk(signals)
    assert (list(vm.data_vars), list(spk.data_vars)) == (["vm"], ["spk"])
    assert vm.vm.dims == spk.spk.dims == order
    assert backend.holds(vm.vm)
    assert backend.holds(spk.spk, unit=False)
    assert (units_of(vm.vm), vm.vm.dtype, spk.spk.dtype) == ("mV", np.float32, bool)
    np.testing.assert_array_equal(backend.values(vm.vm), voltage.transpose(*order))
    np.testing.assert_array_equal(backend.values(spk.spk), backend.values(signals.spikes))
    assert signals.identical(before)


@pytest.mark.parametrize("window", [None, (0.2, 0.7), ("0.2 ms", "700 us"), (0.2, None)])
def test_scalars(backend, order, signals, voltage, window):
    before = signals.copy(deep=True)
    made = jfx.compute_readout(signals, SCALARS, window=window)
    stop = 9 if window is None or window[1] is None else 7
    start = 0 if window is None else 2
    v = voltage.transpose("time", "unit", "trial").values.astype(float)
    spikes = np.moveaxis(
        backend.values(signals.spikes),
        [order.index(d) for d in ("time", "unit", "trial")],
        [0, 1, 2],
    )
    want = {name: [] for name in SCALARS}
    for trial in range(2):
        count = total = size = 0
        for t in range(start, stop):
            for unit in range(3):
                count += int(spikes[t, unit, trial])
                total += v[t, unit, trial]
                size += abs(v[t, unit, trial])
        n = 3 * (stop - start)
        want["spike_count"].append(count)
        want["spike_rate_hz"].append(count / n / 1e-4)
        want["mean_V_m"].append(total / n)
        want["source_abs_mean"].append(size / n)
    units = {"spike_rate_hz": "Hz", "spike_count": "1", "mean_V_m": "mV", "source_abs_mean": "1"}
    for name in SCALARS:
        assert made[name].dims == ("trial",)
        assert backend.holds(made[name]), name
        assert units_of(made[name]) == units[name]
        np.testing.assert_allclose(backend.values(made[name]), want[name], rtol=3e-6)
    assert made.trial.values.tolist() == [10, 20]
    assert made.mean_V_m.dtype == made.source_abs_mean.dtype == np.float32
    assert made.spike_count.dtype.kind == "i"
    assert signals.identical(before)


def test_a_window_holds_its_start_and_not_its_stop():
    v = np.array([1.0, 2.0, 4.0, 8.0])[:, None]
    signals = jfx.traces(v, ("time", "unit"), dt_ms=0.1, quantify=False).jfne.to_signals()
    for window, want in (
        ((0.1, 0.3), 3.0),
        ((0.1, 0.2), 2.0),
        ((None, 0.2), 1.5),
        ((0.3, 0.4), 8.0),
    ):
        made = jfx.mean_V_m(signals, window=window)
        assert float(made.mean_V_m) == want
        step = made.jfne.provenance["steps"][-1]["parameters"]
        assert (step["start_ms"], step["stop_ms"]) == pytest.approx((window[0] or 0.0, window[1]))


def test_readouts_of_signals_in_another_unit_are_right(backend):
    v = np.array([[-65.0], [20.0]])
    volts = backend.by_hand(v / 1000, ("time", "unit"), units="V", name="V_m")
    np.testing.assert_allclose(backend.values(jfx.vm(volts).vm), v, rtol=1e-6)
    np.testing.assert_allclose(backend.values(jfx.mean_V_m(volts).mean_V_m), -22.5, rtol=1e-6)
    np.testing.assert_allclose(
        backend.values(jfx.source_abs_mean(volts).source_abs_mean), 42.5, rtol=1e-6
    )


def test_the_source_of_a_current_is_in_nA(backend):
    v = np.array([[-65.0], [20.0]])
    signals = backend.by_hand(v, ("time", "unit")).jfne.to_signals(source=backend.array(v / 100))
    made = jfx.compute_readout(signals, ["source", "source_abs_mean"])
    assert units_of(made.source) == units_of(made.source_abs_mean) == "nA"
    np.testing.assert_allclose(backend.values(made.source_abs_mean), 0.425, rtol=1e-6)
    assert made.jfne.scope.source_calibration_status == "uncalibrated_current"


# --------------------------------------------------------------------------------------------- the registry


def test_every_readout_is_listed_and_public():
    known = jfx.readouts()
    assert set(ALL) <= set(known)
    for name in ALL:
        entry = known[name]
        assert entry.function is getattr(jfx, name)
        assert entry.formula
        assert entry.units
        assert name in repr(known)
        assert set(entry.needs) | set(entry.takes) <= {*entries.GIVEN, *known}
        signature = inspect.signature(entry.function).parameters.values()
        assert {p.name for p in signature if p.kind is p.KEYWORD_ONLY} == set(entry.settings)
    assert len(known.rows()) == len(known)


def test_the_registry_and_each_readout_have_a_card():
    known = jfx.readouts()
    text, page = str(known), known._repr_html_()
    for entry in known.values():
        for said in (entry.name, entry.units, entry.formula):
            assert said in text
            assert html.escape(said) in page
        own, page_of_own = str(entry), entry._repr_html_()
        assert entry.formula in " ".join(own.split())
        for setting in entry.settings:
            assert f" {setting} " in own
            assert f"<td>{setting}</td>" in page_of_own
        assert "0x" not in own
    assert 'compute_readout("csd_abs_mean", probe=probe)' in str(known["csd_abs_mean"])
    assert 'compute_readout("csd", probe=probe)' in str(known["csd"])


@pytest.mark.parametrize("name", ["vm", "spike_rate_hz", "eeg_power", "lfp_proxy"])
def test_the_next_step_of_a_readout_runs(name, stages):
    cap = jfx.probe_at([[0, 0, 90], [0, 90, 0]], units="mm", dim="channel")
    given = {"signals": stages["signals"], "probe": stages["probe"], "sensors": cap}
    made = eval(str(jfx.readouts()[name]).rpartition("next")[2].strip(), given)
    assert name in made


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"source": "nA"}, 'emitter(mode="external_voltage"), or "external_spikes": there is no'),
        ({"v": "mV"}, "ds.jfne.to_signals() first"),
    ],
)
def test_what_was_driven_by_a_current_has_no_voltage_to_be_made(variables, said, refused):
    ds = xr.Dataset(
        {n: (("time", "unit"), np.zeros((5, 2)), {"units": u}) for n, u in variables.items()},
        {"time": ("time", 0.1 * np.arange(5), {"units": "ms"})},
    )
    with refused(jfx.VariableError, "spikes: found", said):
        jfx.spike_count(ds)
    with refused(jfx.VariableError, "V_m: found", said.partition(", or")[0]):
        jfx.vm(ds)


@pytest.mark.slow
def test_no_readout_claims_an_amplitude(signals, places):
    made = jfx.compute_readout(signals, ALL, **places)
    assert made.jfne.scope.amplitude_status is False
    for name in ALL:
        assert jfx.compute_readout(signals, [name], **places).attrs["amplitude_status"] == 0


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(entries, "KNOWN", dict(entries.KNOWN))


def test_a_new_readout_is_one_decorated_function(registry):
    @jfx.readout(units="mV^2", formula="variance of vm over time")
    def vm_power(vm, probe=None, *, scale=1.0):
        return (scale * vm.var("time")).rename(vm="vm_power")

    assert jfx.readouts()["vm_power"].needs == ("vm",)
    assert jfx.readouts()["vm_power"].takes == ("probe",)
    made = jfx.compute_readout(small(quantify=False), ["vm_power", "mean_V_m"], scale=2.0)
    assert float(made.vm_power[0]) == pytest.approx(2 * np.var([-65.0, 20.0, -60.0, -70.0]))
    assert made.jfne.provenance["steps"][-1]["parameters"]["settings"] == {"scale": 2.0}


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        (lambda s: None, jfx.VariableError, "readout mine: found None, returned"),
        (lambda s: s.V_m.max(), jfx.VariableError, "found a DataArray, returned"),
        (lambda s: np.zeros(4), jfx.VariableError, "found a ndarray, returned"),
        (lambda s: 3.0, jfx.VariableError, "found a float, returned"),
        (lambda s: s, jfx.VariableError, "found the variables ['V_m', 'spikes'], returned"),
        (lambda s: s[["V_m"]], jfx.VariableError, "the variables ['V_m']"),
        (lambda s: xr.Dataset(), jfx.VariableError, "the variables []"),
        (
            lambda s: s[["V_m"]].rename(V_m="mine").isel(time=slice(2)),
            jfx.DimensionError,
            "readout mine: found 2 along 'time', against 4 of the Signals",
        ),
        (
            lambda s: s[["V_m"]].rename(V_m="mine").assign_coords(time=s.time + 0.25),
            jfx.DimensionError,
            "other labels along 'time' than those of the Signals, the first 0.25 and 0.0",
        ),
        (
            lambda s: xr.Dataset({"mine": ("time", [1.0, 2.0])}),
            jfx.DimensionError,
            "2 along 'time'",
        ),
        (
            lambda s: xr.Dataset({"mine": (("time", "unit"), np.zeros((4, 5)))}),
            jfx.DimensionError,
            "5 along 'unit', against 1 of the Signals",
        ),
    ],
)
@pytest.mark.parametrize("needed", ["asked for", "an input of another"])
def test_what_a_readout_of_ones_own_returns_is_checked(
    registry, refused, made, error, said, needed
):
    @jfx.readout(units="mV", formula="anything")
    def mine(signals):
        return made(signals)

    @jfx.readout(units="mV", formula="anything else")
    def on_top(mine):
        return mine.mean().rename(mine="on_top")

    with refused(error, said):
        jfx.compute_readout(small(), "mine" if needed == "asked for" else "on_top")


def test_readouts_that_disagree_with_each_other_are_named(registry, refused):
    @jfx.readout(units="1", formula="two")
    def two(signals):
        return xr.Dataset({"two": ("lag", [1.0, 2.0])}, {"lag": [0.0, 1.0]})

    @jfx.readout(units="1", formula="other two")
    def other(signals):
        return xr.Dataset({"other": ("lag", [1.0, 2.0])}, {"lag": [0.0, 5.0]})

    @jfx.readout(units="1", formula="three")
    def three(signals):
        return xr.Dataset({"three": ("lag", [1.0, 2.0, 3.0])})

    assert jfx.compute_readout(small(), ["two", "vm"]).two.dims == ("lag",)
    with refused(
        jfx.DimensionError, "readout other: found other labels along 'lag' than those of two"
    ):
        jfx.compute_readout(small(), ["two", "vm", "other"])
    with refused(jfx.DimensionError, "readout three: found 3 along 'lag', against 2 of two"):
        jfx.compute_readout(small(), ["two", "three"])


def test_a_setting_of_any_kind_is_recorded(registry):
    @jfx.readout(units="1", formula="what was set")
    def anything(signals, *, how=None):
        return xr.Dataset({"anything": 1.0})

    for how in (
        ureg.Quantity([1, 2], "ms"),
        {"a": np.float32(0.5)},
        np.eye(2),
        len,
        (1, "b", None),
    ):
        made = jfx.compute_readout(small(), "anything", how=how)
        json.loads(made.attrs["jaxfne_xr"])


def test_a_readout_that_cannot_be_is_refused(registry, refused):
    with refused(jfx.ArgumentError, "['unheard_of']", "signals"):

        @jfx.readout(units="1", formula="none")
        def mine(unheard_of): ...

    with refused(jfx.ArgumentError, "['vm']"):  # would depend on what else is asked for

        @jfx.readout(units="1", formula="none")
        def hers(signals, vm=None): ...

    with refused(jfx.ArgumentError, "a name that is not taken"):

        @jfx.readout(units="1", formula="none")
        def vm(signals): ...


# --------------------------------------------------------------------------------------- compute_readout


@pytest.mark.slow
def test_together_is_as_one_by_one(backend, signals, places):
    before = signals.copy(deep=True)
    together = jfx.compute_readout(signals, ALL, **places)
    source = jfx.source(signals)
    lfp = jfx.lfp_proxy(source, places["probe"])
    csd, eeg = jfx.csd_proxy(lfp), jfx.eeg_proxy(source, places["sensors"])
    one_by_one = [
        *(jfx.vm(signals), jfx.spk(signals), source, lfp, csd, eeg),
        *(jfx.spike_rate_hz(signals), jfx.spike_count(signals), jfx.mean_V_m(signals)),
        *(
            jfx.source_abs_mean(source),
            jfx.lfp_abs_mean(lfp),
            jfx.csd_abs_mean(csd),
            jfx.eeg_power(eeg),
        ),
        *(jfx.meg_proxy(source, places["sensors"]), jfx.emm_proxy(signals, source, lfp)),
    ]
    made = {name: variable for ds in one_by_one for name, variable in ds.data_vars.items()}
    assert set(made) == set(together.data_vars) == set(ALL) - {"source"} | {"source_proxy"}
    for name, variable in made.items():
        assert variable.dims == together[name].dims
        np.testing.assert_array_equal(backend.values(variable), backend.values(together[name]))
        assert backend.holds(together[name], unit=name != "spk"), name
    assert together.contact_z.values.tolist() == [-75, -25, 25, 75]
    assert together.channel_name.values.tolist() == ["Cz", "T8"]
    assert together.z.dims == ("unit",)
    assert signals.identical(before)


def test_what_several_need_is_computed_once(monkeypatch, signals, places):
    calls = {"lfp_proxy": 0, "source": 0, "csd_proxy": 0}

    def counted(name):
        entry = entries.KNOWN[name]

        def function(*args, **options):
            calls[name] += 1
            return entry.function(*args, **options)

        return entries.Readout(**{**vars(entry), "function": function})

    monkeypatch.setattr(
        entries, "KNOWN", {**entries.KNOWN, **{name: counted(name) for name in calls}}
    )
    jfx.compute_readout(
        signals,
        ["csd_abs_mean", "lfp_abs_mean", "emm_proxy", "eeg_power", "lfp_proxy", "csd_proxy"],
        **places,
    )
    assert calls == {"lfp_proxy": 1, "source": 1, "csd_proxy": 1}


def test_the_field_is_one_product(monkeypatch, signals, places):
    products = []
    contract = proxy.contract
    monkeypatch.setattr(
        proxy, "contract", lambda *args: products.append(args[3]) or contract(*args)
    )
    jfx.compute_readout(
        signals, ["lfp_proxy", "csd_proxy", "emm_proxy", "lfp_abs_mean", "csd_abs_mean"], **places
    )
    assert products == ["contact", "contact"]  # the field, and its second derivative


@pytest.mark.slow
def test_the_order_of_names_makes_no_difference(signals, places):
    one = jfx.compute_readout(signals, ALL, **places)
    other = jfx.compute_readout(signals, ALL[::-1], **places)
    assert set(one.coords) == set(other.coords)
    for name in one.data_vars:
        assert one[name].variable.equals(other[name].variable)


def test_provenance_says_how():
    signals = small()
    made = jfx.compute_readout(
        signals, ["vm", "lfp_proxy"], probe=None, domain="point", sigma=ureg.Quantity(0.1, "mm")
    )
    steps = made.jfne.provenance["steps"]
    assert [s["function"] for s in steps] == [
        "traces",
        "to_signals",
        "vm",
        "source",
        "lfp_proxy",
        "compute_readout",
    ]
    assert steps[-1]["parameters"] == {
        "names": ["vm", "lfp_proxy"],
        "settings": {"domain": "point", "sigma": "0.1 mm"},
    }
    assert made.jfne.scope.field_solver_status == "gaussian_kernel_proxy"
    assert made.jfne.provenance["stage"] == "readout"


def test_one_name_will_do():
    assert list(jfx.compute_readout(small(), "vm").data_vars) == ["vm"]


# -------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("names", "options", "error", "said"),
    [
        (["volts"], {}, jfx.ArgumentError, "volts: found a readout that is not known"),
        (["vm", "a", "b"], {"c": 1}, jfx.ArgumentError, "3 problems"),
        (3, {}, jfx.ArgumentError, "names: found 3"),
        (
            ["vm"],
            {"sigma": 100},
            jfx.ArgumentError,
            "sigma: found a setting that none of ['vm'] takes",
        ),
        (["lfp_abs_mean"], {"sigma_um": 1}, jfx.ArgumentError, "'sigma'"),
        (["csd_abs_mean"], {}, jfx.VariableError, "lfp_proxy: found no probe"),
        (["eeg_power"], {}, jfx.VariableError, "eeg_proxy: found neither sensors nor a lead field"),
        (["meg_proxy"], {}, jfx.VariableError, "meg_lead_field"),
        (
            ["mean_V_m"],
            {"window": (1, 99)},
            jfx.TimeAxisError,
            "1 to 99 ms, outside data from 0 to 2 ms",
        ),
        (["mean_V_m"], {"window": (-1, 1)}, jfx.TimeAxisError, "outside"),
        (["mean_V_m"], {"window": (1, 1)}, jfx.TimeAxisError, "without a sample"),
        (["mean_V_m"], {"window": (1.5, 0.5)}, jfx.TimeAxisError, "without a sample"),
        (["mean_V_m"], {"window": (float("nan"), 1)}, jfx.TimeAxisError, "nan"),
        (["mean_V_m"], {"window": ("0 mV", "1 mV")}, jfx.UnitError, "'0 mV'"),
        (["mean_V_m"], {"window": 1}, jfx.TimeAxisError, "a start and a stop"),
        (["mean_V_m"], {"window": (0, 1, 2)}, jfx.TimeAxisError, "a start and a stop"),
    ],
)
def test_what_is_wrong_is_said(refused, names, options, error, said):
    with refused(error, said):
        jfx.compute_readout(small(), names, **options)


@pytest.mark.parametrize("name", SCALARS[:3])
def test_a_missing_variable_is_named(refused, name):
    needs = "spikes" if "spike" in name else "V_m"
    with refused(jfx.VariableError, needs):
        getattr(jfx, name)(small().drop_vars(needs))


@pytest.mark.parametrize("name", ["lfp_abs_mean", "csd_abs_mean", "eeg_power"])
def test_a_summary_of_a_field_needs_the_field(refused, name):
    with refused(jfx.VariableError, "no such variable"):
        getattr(jfx, name)(small())


def test_a_rate_needs_an_interval(refused):
    with refused(jfx.TimeAxisError, "one sample"):
        jfx.spike_rate_hz(small().isel(time=[0]))


# ------------------------------------------------------------------------------------- under JAX, and large


@pytest.mark.slow
def test_under_jit_grad_and_vmap(places):
    v = np.random.default_rng(0).normal(-50, 20, (30, 3)).astype("f4")
    positions = {a: ("unit", [0.0, 50.0, 120.0]) for a in "xyz"}
    names = [
        "vm",
        "mean_V_m",
        "lfp_abs_mean",
        "csd_proxy",
        "eeg_power",
        "meg_proxy",
        "emm_proxy",
        "spike_rate_hz",
    ]

    def run(v):
        signals = jfx.traces(v, ("time", "unit"), dt_ms=0.1, coords=positions).jfne.to_signals()
        return jfx.compute_readout(signals, names, **places)

    def loss(v):
        made = {n: x.data for n, x in run(v).data_vars.items()}
        return sum((x**2).sum() for x in made.values()), made

    eager = {n: np.asarray(x.data.magnitude) for n, x in run(v).data_vars.items()}
    both = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, jitted), slope = both(jnp.asarray(v))
    for name, want in eager.items():
        tol = 2e-4 if name == "csd_proxy" else 2e-6  # differences of nearly equal float32 numbers
        assert np.abs(jitted[name] - want).max() <= tol * np.abs(want).max(), name
    assert np.isfinite(slope).all()
    many, _ = jax.jit(jax.vmap(loss))(jnp.stack([v, 2 * v]))
    np.testing.assert_allclose(many, [value, both(2 * v)[0][0]], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_memory_is_inputs_outputs_and_blocks(kind):
    """The peak of a fresh process grows by less than a quarter of the voltages, though every readout reads them all."""
    code = f"""
import resource, numpy as np, xarray as xr, dask.array, dask, jaxfne_xr as jfx
dask.config.set(scheduler="synchronous")
probe = jfx.linear_probe(8)
sensors = jfx.probe_at([[0, 0, 1e4], [1e4, 0, 0]], dim="channel")
names = {[n for n in ALL if n not in ("vm", "spk", "source")]}
def signals(n):
    v = np.full((n, 500), -65, np.float32)
    v[::100] = 20
    spikes = v > 0
    if {kind!r} == "dask":
        v, spikes = (dask.array.from_array(a, chunks=(2000, 500)) for a in (v, spikes))
    ds = xr.Dataset({{"V_m": (("time", "unit"), v, {{"units": "mV"}}), "spikes": (("time", "unit"), spikes)}})
    z = {{a: ("unit", np.arange(500.0), {{"units": "um"}}) for a in "xyz"}}
    return ds.assign_coords(time=("time", 0.1 * np.arange(n), {{"units": "ms"}}), **z)
def run(ds):
    return jfx.compute_readout(ds, names, probe=probe, sensors=sensors).compute()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
run(signals(4000))
ds = signals(80000)
before = peak()
made = run(ds)
print((peak() - before) / (80000 * 500 * 4), sum(v.nbytes for v in made.data_vars.values()) / (80000 * 500 * 4))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    grown, outputs = map(float, out.stdout.split())
    assert grown < outputs + 0.25, (grown, outputs)


@pytest.mark.parametrize("other", [None, np.zeros((5, 2))])
def test_signals_that_are_no_dataset_are_refused(refused, other):
    what = "None" if other is None else f"a {type(other).__name__}"
    with refused(jfx.ArgumentError, f"signals: found {what}", "jfx.traces("):
        jfx.compute_readout(other, ["vm"])


@pytest.mark.parametrize("names", [[["vm"]], ["vm", 3]], ids=str)
def test_names_that_are_no_texts_are_refused(refused, names):
    with refused(jfx.ArgumentError, f"names: found {names}", 'names=["vm", "lfp_proxy"]'):
        jfx.compute_readout(xr.Dataset(), names)
