"""Scope follows from provenance, and nothing raises it."""

import itertools
import json

import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core import provenance, scope

PROXY = "uncalibrated_voltage_proxy"
JAXLEY = "uncalibrated_jaxley_voltage_proxy"
CURRENT = "uncalibrated_current"


def a_record(origin="array", **parameters):
    """Return the provenance of Signals from `origin`."""
    before = provenance.record(None, "traces", {}, stage="traces", origin=origin)
    return provenance.record(before, "to_signals", parameters, stage="signals")


def test_what_went_in_beside_is_remembered():
    jaxley = provenance.record(None, "from_jaxley", {}, stage="traces", origin="jaxley")
    mine = provenance.record(None, "traces", {}, stage="traces", origin="array")
    both = provenance.record(
        jaxley, "concat", {}, stage="traces", others=[mine, mine, jaxley, None]
    )
    assert both["steps"][-1]["with"] == [mine, None]
    later = provenance.record(both, "to_signals", {}, stage="signals")
    assert scope.derive(jaxley).source_calibration_status == "uncalibrated_jaxley_voltage_proxy"
    assert scope.derive(later).source_calibration_status == "uncalibrated_voltage_proxy"
    now = provenance.record(later, "i", {"source": "transmembrane_current"}, stage="currents")
    assert scope.derive(now).source_calibration_status == "transmembrane_current"  # of both
    whole = provenance.record(now, "concat", {}, stage="currents", others=[jaxley])
    assert scope.derive(whole).source_calibration_status == "uncalibrated_jaxley_voltage_proxy"
    assert provenance.read(provenance.attrs(whole)) == whole


@pytest.mark.parametrize(
    ("record", "source"),
    [
        (None, PROXY),
        (a_record(), PROXY),
        (a_record("unknown"), PROXY),
        (a_record("jaxley"), JAXLEY),
        (a_record(source="voltage"), PROXY),
        (a_record(source="current"), CURRENT),
        (a_record("jaxley", source="current"), CURRENT),
    ],
)
def test_the_source_follows_from_how_it_was_made(record, source):
    derived = scope.derive(record)
    assert derived.source_calibration_status == source
    assert derived.amplitude_status is False
    assert derived.field_solver_status == "not_computed"
    assert derived.model_status == "computational_scaffold"


def test_attrs_are_text_and_ints_that_netcdf_holds():
    attrs = provenance.attrs(a_record("jaxley"))
    assert attrs["amplitude_status"] == 0
    assert type(attrs["amplitude_status"]) is int
    assert {type(value) for value in attrs.values()} == {int, str}
    assert provenance.read(attrs) == a_record("jaxley")


def test_traces_claim_nothing():
    assert set(provenance.attrs(provenance.record(None, "traces", {}, stage="traces"))) == {
        "jaxfne_xr"
    }


def test_a_record_grows_and_changes_nothing_before():
    first = provenance.record(None, "traces", {"a": 1}, stage="traces", origin="jaxley")
    copy = json.loads(json.dumps(first))
    second = provenance.record(first, "to_signals", {"b": 2}, stage="signals")
    assert first == copy
    assert [step["function"] for step in second["steps"]] == ["traces", "to_signals"]
    assert second["origin"] == "jaxley"
    assert {"python", "jax", "numpy", "xarray", "jaxfne-xr"} <= set(second["versions"])
    assert provenance.record(None, "to_signals", {}, stage="signals")["origin"] == "unknown"


def test_the_weaker_of_two_is_the_weaker_of_each_claim():
    names = list(scope.STRENGTH)
    every = [
        scope.Scope(**dict(zip(names, claims, strict=True)))
        for claims in itertools.product(*([*known][-2:] for known in scope.STRENGTH.values()))
    ]
    for a, b in itertools.product(every, repeat=2):
        both = scope.weaker(a, b)
        assert both == scope.weaker(b, a)
        for name in scope.STRENGTH:
            ranks = [scope.strength(name, getattr(s, name)) for s in (a, b, both)]
            assert ranks[2] == min(ranks[:2])


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("amplitude_status", True),
        ("amplitude_status", 1),
        ("amplitude_status", np.int8(1)),
        ("amplitude_status", "0"),
        ("amplitude_status", np.array([0, 0])),
        ("source_calibration_status", CURRENT),
        ("source_calibration_status", "calibrated"),
        ("field_solver_status", "line_source_homogeneous"),
        ("field_solver_status", "toy_lead_field_proxy"),
        ("model_status", "recording"),
        ("model_status", None),
    ],
)
def test_a_claim_that_is_not_supported_is_a_problem(name, claim):
    attrs = provenance.attrs(a_record("jaxley"))
    assert provenance.problems(attrs) == []
    (problem,) = provenance.problems({**attrs, name: claim})
    assert problem.error is jfx.ScopeError
    assert name in problem.where
    assert repr(provenance.attrs(a_record("jaxley"))[name]) in problem.expected
    assert name in problem.remedy


def test_claiming_less_is_allowed_and_so_is_a_numpy_zero():
    attrs = provenance.attrs(a_record("jaxley", source="current"))
    weaker = {"source_calibration_status": PROXY, "amplitude_status": np.int64(0)}
    assert provenance.problems({**attrs, **weaker}) == []
    assert provenance.problems({}) == []


def test_claims_without_provenance_support_nothing():
    (problem,) = provenance.problems({"source_calibration_status": JAXLEY})
    assert problem.error is jfx.ScopeError


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"schema": "x"}',
        '{"schema": 1, "steps": 3}',
        '{"schema": 1, "steps": ["x"]}',
        3,
    ],
)
def test_a_record_that_cannot_be_read(refused, text):
    with refused(jfx.SchemaError, "not a provenance record"):
        provenance.read({"jaxfne_xr": text})
    assert [p.error for p in provenance.problems({"jaxfne_xr": text})] == [jfx.SchemaError]


def test_a_newer_record(refused):
    with refused(jfx.SchemaError, "version 99", "upgrade"):
        provenance.read({"jaxfne_xr": '{"schema": 99, "steps": "of another kind"}'})


def test_scope_reads_as_text():
    assert str(scope.Scope()).splitlines()[1] == "amplitude_status: False"


def test_which_of_two_equal_solvers_is_reported_does_not_depend_on_imports(monkeypatch):
    old = (
        "toy_lead_field_proxy", "given_lead_field_proxy", "gaussian_kernel_proxy", "custom",
        "given_lead_field", "point_source_homogeneous", "point_source_slab", "root_as_point_anisotropic",
        "line_source_homogeneous", "line_source_slab", "infinite_homogeneous", "spherical", "four_sphere",
    )  # fmt: skip
    for known in (dict(scope.SOLVERS), dict(reversed(scope.SOLVERS.items()))):
        monkeypatch.setattr(scope, "SOLVERS", known)
        for a, b in itertools.combinations(old, 2):
            both = scope.weaker(*(scope.Scope(field_solver_status=s) for s in (b, a)))
            assert both.field_solver_status == a
        new = scope.Scope(field_solver_status="point_source_one_sphere")
        assert (
            scope.weaker(new, scope.Scope(field_solver_status="spherical")).field_solver_status
            == "spherical"
        )


def test_a_name_is_registered_once():
    from dataclasses import dataclass

    from jaxfne_xr.fields.model import ForwardModel, forward_model, is_ours

    with pytest.raises(TypeError, match="spherical"):
        scope.register_solver("spherical", "Something else.", scope.PHYSICAL)

    @dataclass(frozen=True)
    class PointSource(ForwardModel):
        solvers = {}

    with pytest.raises(TypeError, match="PointSource is registered already"):
        forward_model(PointSource)
    assert is_ours(jfx.PointSource())
    assert scope.SOLVERS["spherical"].words.startswith("The field is that of current dipoles")
