"""`configuration`: a value that is completed step by step, prints as a pipeline, and goes to JSON and back."""

import copy
import json
import os
import pickle
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx

ureg = pint.application_registry


def complete(**probe):
    return (
        jfx.configuration()
        .network(n=3, groups={"E": 2, "I": 1})
        .emitter(family="custom", mode="external_voltage", spike_threshold="-0.02 V")
        .field(domain="laminar", sigma="0.12 mm")
        .probe(name="shank", **({"contacts": jfx.linear_probe(4), "modes": ["lfp_proxy"]} | probe))
    )


# ------------------------------------------------------------------------------------------------ a value


def test_a_projection_is_stored_only_if_it_is_not_the_default():
    usual = complete()
    stated = usual.field(domain="laminar", sigma=120.0, mode="row_normalize")
    assert stated.hash() == usual.hash()
    stored = usual.to_dict()
    assert set(stored["stages"]["field"]) == {"domain", "sigma_um"}
    stored["stages"]["field"]["mode"] = "row_normalize"  # by hand
    assert jfx.Configuration.from_dict(stored) == usual
    summed = usual.field(domain="laminar", sigma=120.0, mode="density_preserving")
    assert "mode='density_preserving'" in repr(summed)
    assert summed.hash() != usual.hash()
    assert jfx.Configuration.from_dict(summed.to_dict()) == summed


def test_labels_are_read_in_one_pass(monkeypatch):
    class Label(str):
        compared = 0

        def __eq__(self, other):
            Label.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    n = 500
    stored = jfx.configuration().network(groups={"E": n - 100, "I": 100}).to_dict()
    labels = stored["stages"]["network"]["labels"]
    stored["stages"]["network"]["labels"] = [Label(label) for label in labels]
    jfx.Configuration.from_dict(stored).rows()
    assert Label.compared < 10 * n


def test_each_call_returns_a_new_one():
    empty = jfx.configuration()
    one = empty.network(n=1)
    two = one.network(n=2)
    assert (dict(empty.stages), one.stages["network"]["n"], two.stages["network"]["n"]) == (
        {},
        1,
        2,
    )
    assert empty.missing() == ["network", "emitter", "field", "probe"]
    assert complete().missing() == []
    with pytest.raises(AttributeError):
        one.stages = {}


def test_what_is_passed_in_is_not_shared():
    contacts, matrix, modes = jfx.linear_probe(3), np.eye(2), ["vm"]
    cfg = complete(contacts=contacts, eeg_lead_field=matrix, modes=modes)
    before = cfg.to_json()
    contacts.z.values[:] = 7
    matrix[:] = 7
    modes.append("spk")
    cfg.to_dict()["stages"]["network"]["labels"].append("X")
    assert cfg.to_json() == before


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(network={}),
        lambda s: s.__setitem__("network", {}),
        lambda s: s.pop("probe"),
        lambda s: s["network"].__setitem__("n", 4),
        lambda s: s["network"].clear(),
        lambda s: s["network"]["labels"].append("X"),
        lambda s: s["probe"]["modes"].__setitem__(0, "vm"),
        lambda s: s["probe"]["eeg_lead_field"][0].append(1.0),
        lambda s: s["probe"]["contacts"].z.values.__setitem__(0, 7.0),
        lambda s: s["probe"]["contacts"].z.data.__setitem__(0, 7.0),
    ],
)
@pytest.mark.parametrize("copied", [False, True])
def test_its_stages_cannot_be_changed_in_place(change, copied):
    cfg = complete(eeg_lead_field=[[1.0, 2.0, 3.0]])
    cfg = pickle.loads(pickle.dumps(copy.deepcopy(cfg))) if copied else cfg
    before = cfg.hash(), hash(cfg), cfg.to_json()
    with pytest.raises((TypeError, AttributeError, ValueError)):
        change(cfg.stages)
    assert (cfg.hash(), hash(cfg), cfg.to_json()) == before


def test_a_probe_taken_out_of_a_configuration_is_a_copy():
    cfg = complete()
    before = cfg.hash()
    contacts = cfg.stages["probe"]["contacts"]
    contacts["z"] = contacts.z + 5
    contacts.z.attrs["units"] = "mm"
    contacts.attrs["a"] = 1
    cfg.stages["probe"]["contacts"].x.attrs["units"] = "mm"
    assert cfg.hash() == before


def test_what_a_configuration_is_made_of_by_hand_is_not_shared():
    stages = {"network": {"n": 1, "labels": ["E"]}, "probe": {"contacts": jfx.linear_probe(2)}}
    cfg = jfx.Configuration(stages)
    stages["network"]["labels"].append("I")
    stages["probe"]["contacts"].z.values[:] = 7  # still the owner's to change
    assert cfg.stages["network"]["labels"] == ("E",)
    assert cfg.stages["probe"]["contacts"].z.values.tolist() == [0, 50]


@pytest.mark.parametrize("how", ["quantified", "in attrs", "by pint-xarray", "in um"])
def test_a_probe_in_another_unit_is_at_the_same_place(how):
    want = jfx.probe_at([[10, 0, 0], [20, 30, 150]], radius=[5.0, 7.5], name=["a", "b"])
    places = want
    for name in () if how == "in um" else ("x", "y", "z", "radius"):
        values, attrs = want[name].values / 1000, {"units": "mm"}
        if how != "in attrs":
            values, attrs = ureg.Quantity(values, "mm"), {}
        places = places.assign_coords({name: ("contact", values, attrs)})
    if how == "by pint-xarray":
        import pint_xarray  # noqa: F401  (registers .pint)

        places = want.pint.quantify()
    cfg = complete(contacts=places)
    back = jfx.Configuration.from_dict(json.loads(json.dumps(cfg.to_dict(), allow_nan=False)))
    for each in (cfg, back):
        contacts = each.stages["probe"]["contacts"]
        for name in ("x", "y", "z", "radius"):
            assert contacts[name].attrs["units"] == "um"
            np.testing.assert_allclose(contacts[name].values, want[name].values, rtol=1e-15)
            assert isinstance(contacts[name].variable._data, np.ndarray)
    assert back == cfg


def test_a_coordinate_of_another_kind_keeps_its_unit():
    places = jfx.linear_probe(2).assign_coords(
        impedance=("contact", ureg.Quantity([1.0, 2.0], "kohm"))
    )
    back = jfx.Configuration.from_dict(complete(contacts=places).to_dict())
    impedance = back.stages["probe"]["contacts"].impedance
    assert impedance.values.tolist() == [1, 2]
    assert ureg.Unit(impedance.attrs["units"]) == ureg.kohm


def test_its_repr_is_the_pipeline():
    assert repr(jfx.configuration()) == "configuration()"
    cfg = complete(eeg_lead_field=np.ones((2, 3)))
    assert repr(cfg) == (
        "network(n=3, groups={'E': 2, 'I': 1}) -> emitter(family='custom', mode='external_voltage', "
        "spike_threshold_mV=-20.0) -> field(domain='laminar', sigma_um=120.0) -> "
        "probe(name='shank', contacts=4, modes=['lfp_proxy'], eeg_lead_field=(2, 3))"
    )


def test_the_order_of_calls_makes_no_difference():
    one = jfx.configuration().network(n=1).field(domain="point")
    other = jfx.configuration().field(domain="point").network(n=1)
    assert one == other
    assert (hash(one), one.hash(), str(one)) == (hash(other), other.hash(), str(other))
    assert one != one.network(n=2)
    assert one != "network(n=1)"


@pytest.mark.parametrize(
    "sigma", [120, 120.0, "120 um", "0.12 mm", ureg.Quantity(0.12, "mm"), np.float32(120)]
)
def test_a_length_takes_a_number_a_text_or_a_quantity(sigma):
    cfg = jfx.configuration().field(domain="laminar", sigma=sigma)
    assert cfg.stages["field"] == {"domain": "laminar", "sigma_um": 120.0}


@pytest.mark.parametrize(
    "groups",
    [
        {"E": 2, "I": 1},
        {"E": [0, 1], "I": [2]},
        {"I": [2], "E": np.array([0, 1])},
        {"I": [2], "E": (1, 0)},
    ],
)
def test_groups_are_counts_or_indices(groups):
    cfg = jfx.configuration().network(groups=groups)
    assert cfg.stages["network"] == {"n": 3, "labels": ("E", "E", "I")}


# ------------------------------------------------------------------------------------------------ to JSON


@pytest.mark.parametrize(
    "cfg",
    [
        jfx.configuration(),
        complete(),
        complete(
            contacts=jfx.grid_probe((2, 2), radius=5.0),
            sensors=jfx.probe_at([[0, 0, 1e4]], dim="channel"),
        ),
        complete(contacts=jfx.probe_at(jnp.array([[0.1, 0, 0], [0, 0.2, 0]]))),
        complete(eeg_lead_field=[[0.1, 1 / 3, 1e-300]], meg_lead_field=jnp.array([[0.1, 0.2]])),
        jfx.configuration().emitter(
            mode="external_spikes", kernel="alpha", tau=1 / 3, weight="-20 pA"
        ),
        jfx.configuration().emitter(mode="external_current"),
        jfx.configuration().emitter(spike_threshold=None),
    ],
)
def test_to_dict_loses_nothing(cfg):
    text = json.dumps(cfg.to_dict(), allow_nan=False)
    back = jfx.Configuration.from_dict(json.loads(text))
    assert back == cfg
    assert back.hash() == cfg.hash()
    assert str(back) == str(cfg)
    assert back.to_dict() == cfg.to_dict()
    for stage, options in cfg.stages.items():
        for key, value in options.items():
            other = back.stages[stage][key]
            if isinstance(value, xr.Dataset):
                assert value.as_numpy().identical(other)
                assert {n: v.dtype for n, v in value.variables.items()} == {
                    n: v.dtype for n, v in other.variables.items()
                }
            else:
                assert value == other
                assert type(value) is type(other)
    assert pickle.loads(pickle.dumps(cfg)) == cfg


@pytest.mark.slow
def test_the_hash_is_the_same_in_another_process():
    code = """
import jaxfne_xr as jfx
cfg = (jfx.configuration().probe(contacts=jfx.linear_probe(3, "0.1 mm"), modes=["vm"])
       .network(groups={"E": [0, 2], "I": [1]})
       .emitter(mode="external_spikes", tau=0.1).field(domain="volume", sigma=1/3))
print(cfg.hash())
"""
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0].strip()) == 16


def test_the_hash_does_not_depend_on_which_versions_run(monkeypatch):
    from jaxfne_xr.core import provenance

    before = complete().hash()
    monkeypatch.setattr(provenance, "versions", lambda: {"numpy": "99.0"})
    assert complete().hash() == before


@given(
    n=st.integers(1, 50),
    sigma=st.floats(1e-3, 1e6),
    tau=st.floats(1e-3, 1e3),
    weight=st.floats(-1e3, 1e3),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    z=st.lists(
        st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=4, unique=True
    ),
)
def test_any_configuration_comes_back(n, sigma, tau, weight, name, z):
    contacts = jfx.probe_at([[0, 0, x] for x in z])
    cfg = (
        jfx.configuration()
        .network(n=n)
        .emitter(mode="external_spikes", tau=tau, weight=weight)
        .field(domain="volume", sigma=sigma)
        .probe(name=name, contacts=contacts)
    )
    back = jfx.Configuration.from_dict(json.loads(json.dumps(cfg.to_dict(), allow_nan=False)))
    assert back == cfg
    assert (back.stages["field"]["sigma_um"], back.stages["emitter"]["tau_ms"]) == (sigma, tau)


# ------------------------------------------------------------------------------------------------ bad input

c = jfx.configuration


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: c().network(), jfx.ArgumentError, "neither n nor groups"),
        (lambda: c().network(n=0), jfx.ArgumentError, "at least 1"),
        (lambda: c().network(n=True), jfx.ArgumentError, "True"),
        (lambda: c().network(n=2.0), jfx.ArgumentError, "2.0"),
        (
            lambda: c().network(size=3),
            jfx.ArgumentError,
            "size=3, which is not an option; expected some of ['n', 'groups']",
        ),
        (
            lambda: c().network(n=4, groups={"E": 2, "I": 1}),
            jfx.DimensionError,
            "groups of 3 sites in total; expected a group for every site of the 4",
        ),
        (
            lambda: c().network(n=4, groups={"E": [0, 1], "I": [3]}),
            jfx.DimensionError,
            "1 site(s) in no group, the first is 2",
        ),
        (
            lambda: c().network(groups={"E": [0, 1], "I": [1, 2]}),
            jfx.DimensionError,
            "1 site(s) in two groups",
        ),
        (
            lambda: c().network(n=2, groups={"E": [0, 1], "I": [2]}),
            jfx.DimensionError,
            "1 site(s) out of range",
        ),
        (lambda: c().network(groups={"E": [0, -1]}), jfx.DimensionError, "-1"),
        (lambda: c().network(groups={}), jfx.DimensionError, "{}"),
        (lambda: c().network(groups=["E", "I"]), jfx.DimensionError, "['E', 'I']"),
        (lambda: c().network(groups={"E": 0}), jfx.DimensionError, "a group of 0 sites"),
        (lambda: c().network(groups={"E": -3, "I": 2}), jfx.DimensionError, "a group of -3 sites"),
        (lambda: c().network(groups={"E": 2.5}), jfx.DimensionError, "not integers"),
        (lambda: c().network(groups={"E": [True, False]}), jfx.DimensionError, "not integers"),
        (lambda: c().network(groups={"E": [0, 1], "I": 2}), jfx.DimensionError, "mixed"),
        (lambda: c().network(groups={"E": "all"}), jfx.DimensionError, "not integers"),
        (
            lambda: c().emitter(mode="voltage"),
            jfx.ArgumentError,
            "['external_voltage', 'external_current', 'external_spikes']",
        ),
        (lambda: c().emitter(family="hh"), jfx.ArgumentError, "['custom']"),
        (
            lambda: c().emitter(threshold=3),
            jfx.ArgumentError,
            "threshold=3, which is not an option",
        ),
        (lambda: c().emitter(spike_rule="peak"), jfx.ArgumentError, "'level'"),
        (lambda: c().emitter(spike_threshold="20 um"), jfx.UnitError, "spike_threshold"),
        (lambda: c().emitter(spike_threshold=float("nan")), jfx.ArgumentError, "in mV, finite"),
        (lambda: c().emitter(mode="external_spikes", kernel="gauss"), jfx.ArgumentError, "'alpha'"),
        (lambda: c().emitter(mode="external_spikes", tau=0), jfx.ArgumentError, "0 ms"),
        (lambda: c().emitter(mode="external_spikes", tau="5 mV"), jfx.UnitError, "tau"),
        (lambda: c().emitter(mode="external_spikes", weight="5 mV"), jfx.UnitError, "weight"),
        (
            lambda: c().emitter(mode="external_current", tau=3.0),
            jfx.ArgumentError,
            "tau: found a value, in mode 'external_current'",
        ),
        (
            lambda: c().emitter(mode="external_spikes", spike_threshold=-20),
            jfx.ArgumentError,
            "spike_threshold",
        ),
        (lambda: c().emitter(kernel="alpha", weight=2.0), jfx.ArgumentError, "2 problems"),
        (lambda: c().field(domain="planar"), jfx.ArgumentError, "['point', 'laminar', 'volume']"),
        (lambda: c().field(domain="laminar"), jfx.ArgumentError, "sigma: found none"),
        (lambda: c().field(domain="volume", sigma=0), jfx.ArgumentError, "0 um"),
        (lambda: c().field(domain="volume", sigma=-5), jfx.ArgumentError, "-5 um"),
        (lambda: c().field(domain="laminar", sigma="5 ms"), jfx.UnitError, "sigma"),
        (lambda: c().field(domain="point", sigma=-5), jfx.ArgumentError, "-5 um"),
        (lambda: c().field(domain="point", sigma=50), jfx.ArgumentError, "which has no extent"),
        (lambda: c().field(width=50), jfx.ArgumentError, "['domain', 'sigma', 'mode']"),
        (lambda: c().probe(modes=["lfq"]), jfx.ArgumentError, "'lfp_proxy'"),
        (lambda: c().probe(modes="lfq"), jfx.ArgumentError, "'lfq'"),
        (lambda: c().probe(modes=["a", "b"]), jfx.ArgumentError, "modes: found 'a'"),
        (lambda: c().probe(electrodes=3), jfx.ArgumentError, "electrodes=3"),
        (lambda: c().probe(contacts=np.zeros((3, 3))), jfx.ArgumentError, "a ndarray"),
        (
            lambda: c().probe(contacts=jfx.linear_probe(3).drop_vars("z")),
            jfx.DimensionError,
            "z: found not there",
        ),
        (
            lambda: c().probe(contacts=jfx.probe_at([[0, 0, 0]], dim="channel")),
            jfx.DimensionError,
            "along 'contact'",
        ),
        (lambda: c().probe(sensors=jfx.linear_probe(2)), jfx.DimensionError, "along 'channel'"),
        (
            lambda: c().probe(
                contacts=jfx.linear_probe(2).assign_coords(
                    z=("contact", [0.0, 1.0], {"units": "mV"})
                )
            ),
            jfx.UnitError,
            "'mV'",
        ),
        (
            lambda: c().probe(
                contacts=jfx.linear_probe(2).assign_coords(
                    z=("contact", [0.0, 0.0], {"units": "um"})
                )
            ),
            jfx.ArgumentError,
            "both at (0, 0, 0) um",
        ),
        (
            lambda: c().probe(eeg_lead_field=[1.0, 2.0]),
            jfx.DimensionError,
            "eeg_lead_field: found shape (2,)",
        ),
        (
            lambda: c().probe(meg_lead_field=[[1.0], [1.0, 2.0]]),
            jfx.ArgumentError,
            "meg_lead_field",
        ),
        (lambda: c().probe(meg_lead_field=[[np.nan]]), jfx.DimensionError, "not finite"),
        (
            lambda: jfx.Configuration.from_dict({"schema": 2, "stages": {}}),
            jfx.SchemaError,
            "schema version 2",
        ),
        (
            lambda: c().emitter(mode="external_spikes", weight="inf nA"),
            jfx.UnitError,
            "weight",
        ),
        (
            lambda: c().emitter(mode="external_spikes", weight=np.inf),
            jfx.ArgumentError,
            "one number, finite",
        ),
        (lambda: c().field(domain=["laminar"]), jfx.ArgumentError, "['laminar']"),
        (lambda: c().emitter(mode=np.zeros(3)), jfx.ArgumentError, "external_voltage"),
        (
            lambda: c().emitter(mode="external_current", tau=np.zeros(3)),
            jfx.UnitError,
            "tau: found",
        ),
        (lambda: c().probe(modes=5), jfx.ArgumentError, "modes: found 5"),
        (lambda: c().probe(name=None), jfx.ArgumentError, "name: found None"),
        (lambda: jfx.Configuration.from_dict({"schema": 1}), jfx.SchemaError, "to_dict"),
        (
            lambda: jfx.Configuration.from_dict({"schema": True, "stages": {}}),
            jfx.SchemaError,
            "to_dict",
        ),
        (
            lambda: jfx.Configuration.from_dict({"schema": "1", "stages": {}}),
            jfx.SchemaError,
            "to_dict",
        ),
        (lambda: jfx.Configuration.from_dict({}), jfx.SchemaError, "'{}'"),
        (lambda: jfx.Configuration.from_dict("network(n=1)"), jfx.SchemaError, "to_dict"),
    ],
)
def test_what_is_wrong_is_said(refused, call, error, said):
    with refused(error, said):
        call()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(extra=1), "['schema', 'stages']"),
        (lambda d: d["stages"].update(neurons={}), "['network', 'emitter', 'field', 'probe']"),
        (lambda d: d["stages"].update(field=3), "field: found 3; expected a mapping of"),
        (lambda d: d["stages"]["field"].update(width=3), "['domain', 'sigma_um', 'mode']"),
        (lambda d: d["stages"]["field"].update(sigma_um=-3), "field: sigma: found -3 um"),
        (lambda d: d["stages"]["field"].update(sigma_um="wide"), "field: sigma"),
        (lambda d: d["stages"]["field"].update(mode="sum"), "'density_preserving'"),
        (lambda d: d["stages"]["field"].update(domain="planar"), "['point', 'laminar', 'volume']"),
        (lambda d: d["stages"]["network"].update(n="3"), "network: n: found '3'"),
        (lambda d: d["stages"]["network"].update(n=4), "1 site(s) in no group"),
        (lambda d: d["stages"]["network"].update(labels=["E", "I", 3]), "a string for each site"),
        (lambda d: d["stages"]["network"].update(labels=7), "network: groups: found 7"),
        (lambda d: d["stages"]["emitter"].update(mode="voltage"), "'external_spikes'"),
        (lambda d: d["stages"]["emitter"].update(spike_rule="peak"), "'level'"),
        (lambda d: d["stages"]["emitter"].update(spike_threshold_mV="x"), "spike_threshold"),
        (lambda d: d["stages"]["emitter"].update(tau_ms=5.0), "tau_ms=5.0, which is not an option"),
        (lambda d: d["stages"]["emitter"].update(tau_ms=2.0), "mode 'external_voltage'"),
        (lambda d: d["stages"]["probe"].update(modes=["none"]), "'lfp_proxy'"),
        (lambda d: d["stages"]["probe"].update(modes=3), "modes: found 3"),
        (lambda d: d["stages"]["probe"].update(contacts=3), "found 3"),
        (lambda d: d["stages"]["probe"].update(contacts={"dataset": 3}), "do not form a Dataset"),
        (
            lambda d: d["stages"]["probe"]["contacts"]["dtypes"].update(z="what"),
            "do not form a Dataset (TypeError",
        ),
        (
            lambda d: d["stages"]["probe"]["contacts"]["dataset"]["coords"].pop("z"),
            "probe: contacts",
        ),
        (lambda d: d["stages"]["probe"].update(eeg_lead_field=[1.0]), "eeg_lead_field"),
    ],
)
def test_every_value_of_a_stored_configuration_is_checked(change, said):
    stored = json.loads(json.dumps(complete().to_dict()))
    change(stored)
    with pytest.raises(jfx.JfneError) as caught:
        jfx.Configuration.from_dict(stored)
    assert said in str(caught.value)
    assert caught.value.problems[0].remedy


def test_all_that_is_wrong_with_a_stored_configuration_is_said_at_once():
    stored = complete().to_dict()
    stored["stages"]["network"]["n"] = 0
    stored["stages"]["field"] = {"domain": "laminar", "sigma_um": 0, "width": 1}
    stored["stages"]["neurons"] = {}
    with pytest.raises(jfx.JfneError) as caught:
        jfx.Configuration.from_dict(stored)
    text = str(caught.value)
    assert "3 problems" in text
    assert all(part in text for part in ("network: n", "width=1", "neurons"))


def test_a_newer_schema_says_so(refused):
    newer = {"schema": 2, "stages": {"network": {"n": 1, "dendrites": 3}}, "extra": 1}
    with refused(jfx.SchemaError, "schema version 2", "pip install --upgrade jaxfne-xr"):
        jfx.Configuration.from_dict(newer)
