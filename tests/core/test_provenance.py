"""What results claim and which attrs they keep, over all public functions: a new one has to be listed here."""

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core import provenance, registry
from jaxfne_xr.core.scope import STRENGTH, geometry, weaker

MINE = {"subject": "m3", "trials": [1, 2]}
CAP = jfx.probe_at([[0, 0, 9e4]], dim="channel", normal=[1, 0, 0])
WEIGHTS = np.ones((1, 3))

#: Functions that return what they are given with something added, moved, joined or read together, and so keep attrs
#: that are not ours. Each is called with Datasets of all stages.
KEEPS = {
    "to_signals": lambda s: jfx.to_signals(s["traces"]),
    "synaptic_source": lambda s: jfx.synaptic_source(s["signals"]),
    "with_morphology": lambda s: jfx.with_morphology(s["traces"], s["morphology"]),
    "translate": lambda s: jfx.translate(s["currents"], x=10),
    "move_to": lambda s: jfx.move_to(s["dipoles"], x=0),
    "rotate": lambda s: jfx.rotate(s["dipoles"], 30, "y"),
    "quantify": lambda s: jfx.quantify(s["signals"]),
    "to_jax": lambda s: jfx.to_jax(s["signals"][["spikes"]]),
    "concat": lambda s: jfx.concat([s["lfp"], s["lfp"]], "trial"),
    "merge": lambda s: jfx.merge([s["signals"], s["lfp"]]),
    "compute_readout": lambda s: jfx.compute_readout(s["signals"], ["vm", "lfp"], probe=s["probe"]),
}
#: Functions that make a new quantity, which the attrs of what went in do not describe.
MAKES = {
    "transmembrane_currents": lambda s: jfx.transmembrane_currents(s["traces"]),
    "spike_times": lambda s: jfx.spike_times(s["signals"]),
    "firing_rate": lambda s: jfx.firing_rate(s["signals"]),
    "soft_spike_times": lambda s: jfx.soft_spike_times(s["signals"], 2),
    "soft_firing_rate": lambda s: jfx.soft_firing_rate(s["signals"]),
    "source": lambda s: jfx.source(s["signals"]),
    "lead_field": lambda s: jfx.lead_field(s["currents"], s["probe"]),
    "lfp": lambda s: jfx.lfp(s["currents"], s["probe"]),
    "csd": lambda s: jfx.csd(s["lfp"]),
    "ground_truth_csd": lambda s: jfx.ground_truth_csd(s["currents"], [0.0, 200.0, 400.0]),
    "dipole_moment": lambda s: jfx.dipole_moment(s["currents"]),
    "eeg": lambda s: jfx.eeg(s["dipoles"], CAP, jfx.InfiniteHomogeneous()),
    "meg": lambda s: jfx.meg(s["dipoles"], CAP, jfx.InfiniteHomogeneous()),
    "calibrate": lambda s: jfx.calibrate(s["lfp"], s["lfp"]),
    "psd": lambda s: jfx.psd(s["lfp"], segment="10 ms"),
    "coherence": lambda s: jfx.coherence(s["lfp"], s["lfp"], segment="10 ms"),
    "band_power": lambda s: jfx.band_power(s["psd"], {"all": (10, 100)}),
    "summary": lambda s: jfx.summary(s["signals"], by="layer"),
    "mean_square_loss": lambda s: jfx.mean_square_loss(s["lfp"], s["lfp"]),
    "correlation_loss": lambda s: jfx.correlation_loss(s["lfp"], s["lfp"]),
    "spectrum_loss": lambda s: jfx.spectrum_loss(s["lfp"], s["lfp"]),
    "rate_loss": lambda s: jfx.rate_loss(s["signals"], s["signals"]),
    "vm": lambda s: jfx.vm(s["signals"]),
    "spk": lambda s: jfx.spk(s["signals"]),
    "spike_rate_hz": lambda s: jfx.spike_rate_hz(s["signals"]),
    "silent_fraction": lambda s: jfx.silent_fraction(s["signals"]),
    "spike_count": lambda s: jfx.spike_count(s["signals"]),
    "mean_V_m": lambda s: jfx.mean_V_m(s["signals"]),
    "source_abs_mean": lambda s: jfx.source_abs_mean(s["source"]),
    "lfp_proxy": lambda s: jfx.lfp_proxy(s["signals"], s["probe"]),
    "csd_proxy": lambda s: jfx.csd_proxy(s["lfp proxy"]),
    "eeg_proxy": lambda s: jfx.eeg_proxy(s["signals"], eeg_lead_field=WEIGHTS),
    "meg_proxy": lambda s: jfx.meg_proxy(s["signals"], meg_lead_field=WEIGHTS),
    "emm_proxy": lambda s: jfx.emm_proxy(s["signals"], s["source"], s["lfp proxy"]),
    "lfp_abs_mean": lambda s: jfx.lfp_abs_mean(s["lfp proxy"]),
    "csd_abs_mean": lambda s: jfx.csd_abs_mean(jfx.csd_proxy(s["lfp proxy"])),
    "eeg_power": lambda s: jfx.eeg_power(jfx.eeg_proxy(s["signals"], eeg_lead_field=WEIGHTS)),
}
#: Functions that make no Dataset of a Dataset.
OTHERS = {
    "entries": ["traces", "morphology", "from_jaxley", "from_lfpy", "jaxley_trace_to_signals"],
    "places": ["probe_at", "linear_probe", "grid_probe", "from_probeinterface", "montage"],
    "simulations": ["integrate_field"],
    "files": ["open", "to_netcdf", "report"],
    "reports": ["validate", "check_currents", "readout", "readouts"],
    "workflow": ["configuration", "construct", "bundle", "replay"],
    "transformations": ["checkify", "enable_pytrees", "grad", "jit", "scan", "value_and_grad", "vmap"],
}  # fmt: skip

PUBLIC = {n: f for n, f in vars(jfx).items() if inspect.isfunction(f) and not n.startswith("_")}


@pytest.fixture(scope="module")
def mine(stages):
    """Datasets of all stages with attrs that are not ours, and places for dipoles far from any sensor."""
    given = {name: ds.assign_attrs(MINE) for name, ds in stages.items()}
    given["psd"] = jfx.psd(given["lfp"], segment="20 ms").assign_attrs(MINE)
    return given


def test_every_public_function_is_of_one_kind():
    listed = [*KEEPS, *MAKES, *(name for names in OTHERS.values() for name in names)]
    assert sorted(listed) == sorted(PUBLIC)


@pytest.mark.filterwarnings("ignore:the currents of")
@pytest.mark.parametrize("name", [*KEEPS, *MAKES])
def test_attrs_that_are_not_ours_are_kept_or_dropped_by_kind(mine, name):
    before = {key: dict(ds.attrs) for key, ds in mine.items()}
    made = {**KEEPS, **MAKES}[name](mine)
    assert provenance.own(made.attrs) == (MINE if name in KEEPS else {})
    assert {key: dict(ds.attrs) for key, ds in mine.items()} == before  # no input was changed
    agrees(made)


def agrees(made):
    """The record can be read, and the scope in attrs is the one that follows from it."""
    steps = provenance.steps_of(made)
    assert steps
    scope = {name: made.attrs[name] for name in STRENGTH if name in made.attrs}
    assert scope == ({} if made.jfne.provenance["stage"] == "traces" else made.jfne.scope.attrs())
    assert not provenance.problems(made.attrs)


def test_attrs_on_which_parts_differ_are_dropped(mine):
    other = mine["lfp"].assign_attrs(subject="m4")
    for made in (jfx.concat([mine["lfp"], other], "trial"), jfx.merge([mine["signals"], other])):
        assert provenance.own(made.attrs) == {"trials": [1, 2]}


def test_attrs_go_through_a_model(mine):
    cfg = jfx.configuration().network(n=3).emitter(mode="external_voltage").field(domain="point")
    model = jfx.construct(cfg.probe(name="soma", modes=["vm", "lfp_proxy"]))
    signals = model.simulate_external(mine["traces"])
    made = model.compute_readout(signals)
    for ds in (signals, made):
        assert provenance.own(ds.attrs) == MINE
        agrees(ds)
    cfg = jfx.configuration().network(n=3).emitter(mode="external_spikes").field(domain="point")
    model = jfx.construct(cfg.probe(name="soma", modes=["spk"]))
    assert provenance.own(model.simulate_external(mine["signals"][["spikes"]]).attrs) == MINE


def test_a_round_trip_keeps_all_attrs(mine, tmp_path):
    made = KEEPS["compute_readout"](mine)
    assert jfx.open(jfx.to_netcdf(made, tmp_path / "run.nc")).identical(made)


# ------------------------------------------------------------------------------------------- claims of two

#: Functions of two Datasets whose claims meet: each is called with Datasets that claim what `a` and `b` do.
PAIRS = {
    "mean_square_loss": lambda s, a, b: jfx.mean_square_loss(a(s["lfp"]), b(s["lfp"])),
    "correlation_loss": lambda s, a, b: jfx.correlation_loss(a(s["lfp"]), b(s["lfp"])),
    "spectrum_loss": lambda s, a, b: jfx.spectrum_loss(a(s["lfp"]), b(s["lfp"])),
    "rate_loss": lambda s, a, b: jfx.rate_loss(a(s["firing rate"]), b(s["firing rate"])),
    "calibrate": lambda s, a, b: jfx.calibrate(a(s["lfp"]), b(s["lfp"])),
    "coherence": lambda s, a, b: jfx.coherence(a(s["lfp"]), b(s["lfp"]), segment="10 ms"),
    "concat": lambda s, a, b: jfx.concat([a(s["lfp"]), b(s["lfp"])], "trial"),
    "merge": lambda s, a, b: jfx.merge([a(s["lfp"]), b(s["csd"])]),
    "emm_proxy": lambda s, a, b: jfx.emm_proxy(a(s["signals"]), a(s["source"]), b(s["lfp proxy"])),
    "compute_readout": lambda s, a, b: jfx.compute_readout(a(s["signals"]), ["vm", "theirs"]),
}
#: Functions whose other input says where, not what: it makes no claim, and weakens none.
PLACED = {
    "csd",
    "lead_field",
    "lfp",
    "eeg",
    "meg",
    "lfp_proxy",
    "eeg_proxy",
    "meg_proxy",
    "translate",
}
#: ... whose other input is tested below, or that return no Dataset.
APART = {"with_morphology", "transmembrane_currents", "check_currents", "bundle"}


def test_every_function_of_two_is_listed():
    def inputs(function):
        types = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
        kinds = "xr.Data", "Probe", "Sensors", "Morphology", "Stage", "Stimulus"
        return sum(any(k in t for k in kinds) and "DataTree" not in t for t in types) + any(
            "Iterable[xr.Dataset" in t for t in types
        )

    found = {name for name, function in PUBLIC.items() if inputs(function) > 1}
    assert found == {*PAIRS} | PLACED | APART


def claiming(record):
    """Return a function that gives a Dataset the attrs of `record`, or none."""
    return lambda ds: ds.drop_attrs(deep=False).assign_attrs({} if record is None else record)


@pytest.mark.parametrize("name", PAIRS)
def test_a_result_of_two_claims_the_weaker_of_each_kind(name, stages, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "KNOWN", dict(registry.KNOWN))
    given = {
        n: ds.isel(time=slice(0, 300)) if "time" in ds.dims else ds for n, ds in stages.items()
    }
    strong = claiming(stages["lfp"].attrs)
    assert stages["lfp"].jfne.scope.amplitude_status

    def call(a, b):
        def theirs(signals):
            return b(signals.V_m.max().to_dataset(name="theirs"))

        jfx.readout(units="mV", formula="what has a record of its own")(theirs)
        return PAIRS[name](given, a, b)

    for weak in (claiming(None), claiming(stages["signals"].attrs)):
        limit = weaker(call(strong, strong).jfne.scope, call(weak, weak).jfne.scope)
        for pair in ((strong, weak), (weak, strong)):
            made = call(*pair)
            if name == "emm_proxy":  # the only field among its inputs is the second
                field = pair[1](given["lfp proxy"]).jfne.scope.field_solver_status
                limit = dataclasses.replace(limit, field_solver_status=field)
            later = jfx.concat([made, made], "fit")
            saved = jfx.open(jfx.to_netcdf(made, tmp_path / "made.nc"))
            for ds in (made, later, jfx.merge([made]), saved):
                assert ds.jfne.scope == limit
                agrees(ds)


def test_a_place_makes_no_claim(mine):
    for name in PLACED & {*MAKES}:
        known = MAKES[name](mine)
        bare = {**mine, "probe": mine["probe"].drop_attrs(deep=False)}
        assert MAKES[name](bare).jfne.scope == known.jfne.scope, name


def test_a_bare_current_is_no_more_than_a_current(mine):
    v = mine["signals"].V_m
    current = xr.DataArray(np.ones(v.shape), dims=v.dims, attrs={"units": "nA"})
    made = jfx.to_signals(mine["traces"], source=current)
    assert made.attrs["source_calibration_status"] == "uncalibrated_current"
    assert made.jfne.lfp(mine["probe"]).attrs["amplitude_status"] == 0
    one = xr.DataArray(np.ones(v.sizes["time"]), dims="time", coords={"compartment_id": 0})
    for ds in (made, jfx.transmembrane_currents(mine["traces"], stimulus=one)):
        agrees(ds)


def test_a_morphology_claims_no_more_than_the_weakest_that_went_in(stages):
    cell = stages["morphology"]
    by_hand = cell.drop_attrs(deep=False)
    assert geometry(provenance.read(cell.attrs)) == "declared"
    for shape in (by_hand, jfx.merge([cell, by_hand]), jfx.merge([by_hand, cell])):
        made = stages["plain traces"].jfne.with_morphology(shape)
        assert provenance.steps_of(made)[-1]["parameters"]["geometry"] == "unknown"
        assert made.jfne.lfp(stages["probe"]).attrs["amplitude_status"] == 0


def test_only_one_module_writes_records():
    package = Path(jfx.__file__).parent
    ours = "|".join(["jaxfne_xr", *STRENGTH])
    writing = re.compile(
        r"provenance\.(record|attrs)\(|import record\b"
        rf"|\battrs\[[\"']({ours})[\"']\] ?=[^=]|\battrs\[(provenance\.)?KEY\] ?=[^=]"
    )
    for path in package.rglob("*.py"):
        if path.relative_to(package).as_posix() != "core/provenance.py":
            lines = [
                x for x in path.read_text().splitlines() if "remedy" not in x and ">>>" not in x
            ]
            assert not [line for line in lines if writing.search(line)], path
    assert writing.search('made.attrs["amplitude_status"] = 0')
