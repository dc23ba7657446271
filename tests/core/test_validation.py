"""`validate`: every problem at once, each with its remedy, in a fixed order; as text and as a table."""

import dask.array
import jax
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.inputs import find_voltage
from jaxfne_xr.core.units import quantity
from jaxfne_xr.core.validation import stage_of

V = np.array([[-65.0, 20.0, -70.0], [10.0, -65.0, 0.0]])


def traces(**options):
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, quantify=False, **options)


def wrong():
    """Return Signals with everything wrong with them that can be."""
    ds = traces(coords={"x": ("unit", [1.0, 2.0])}).jfne.to_signals(source=V)
    ds["V_m"] = (("unit", "time"), np.where(V > 5, np.nan, V), {"units": "S/m"})
    ds["source"].attrs["units"] = "<mV>"
    ds["spikes"] = ("time", ["a", "b", "c"])
    ds["x"].attrs["units"] = "ms"
    ds = ds.assign_coords(time=("time", [0.0, 0.2, 0.1], {"units": "ms"}))
    return ds.assign_attrs(amplitude_status=1)


def test_what_is_made_here_is_valid(backend, voltage):
    v = voltage.values
    ds = backend.traces(v, voltage.dims, coords={"x": ("unit", [1.0, 2.0, 3.0])})
    signals = ds.jfne.to_signals(source=backend.array(v))
    for stage in (ds, signals, signals.jfne.firing_rate(), signals.jfne.spike_times()):
        report = jfx.validate(stage)
        assert report, report
        lazy = backend.kind is dask.array.Array and {"v", "V_m"} & set(stage)
        assert ("not checked" in str(report)) == bool(lazy)


def test_all_problems_are_found_in_a_fixed_order():
    reports = [jfx.validate(wrong()), jfx.validate(wrong()[["spikes", "source", "V_m"]])]
    for report in reports:
        assert not report
        assert sorted(p.where for p in report.problems) == sorted(
            ["V_m", "V_m", "source", "x", "time", "spikes", "spikes", 'attrs["amplitude_status"]']
        )
    wheres = [p.where for p in reports[0].problems]
    assert wheres[-5:] == ["V_m", "time", "spikes", "spikes", 'attrs["amplitude_status"]']
    assert [str(r) for r in (jfx.validate(wrong()), jfx.validate(wrong()))] == [str(reports[0])] * 2


def test_the_report_raises_one_error_with_all(refused):
    report = jfx.validate(wrong())
    with refused(report.problems[0].error, "8 problems") as caught:
        report.raise_problems()
    assert caught.value.problems == report.problems
    jfx.validate(traces()).raise_problems()


def test_the_report_as_text():
    assert str(jfx.validate(traces())) == "traces: valid"
    text = str(jfx.validate(wrong()))
    assert text.startswith("signals: not valid\n8 problems\n  1. ")
    assert text.count("Remedy: ") == 8
    assert repr(jfx.validate(wrong())) == text
    (problem,) = jfx.validate(traces().assign_coords(time=[0, 1, 2])).problems
    assert (
        str(jfx.validate(traces().assign_coords(time=[0, 1, 2]))) == f"traces: not valid\n{problem}"
    )


def test_the_report_as_a_table():
    table = jfx.validate(wrong())._repr_html_()
    assert table.count("<tr>") == 9
    assert "8 problems" in table
    assert "&lt;mV&gt;" in table
    assert "<mV>" not in table
    assert "<table>" not in jfx.validate(traces())._repr_html_()
    lazy = jfx.traces(dask.array.zeros((2, 3)), ("unit", "time"), dt_ms=0.1)
    assert "not checked" in jfx.validate(lazy)._repr_html_()


def test_validate_changes_and_computes_nothing():
    ds = wrong()
    before = ds.copy(deep=True)
    jfx.validate(ds)
    assert ds.identical(before)
    ds["V_m"] = (("unit", "time"), dask.array.full((2, 3), np.nan), {"units": "mV"})
    assert "NaN" not in str(jfx.validate(ds))


def test_traced_data_are_said_to_be_unchecked():
    def run(v):
        assert "traced by JAX" in str(jfx.validate(jfx.traces(v, ("unit", "time"), dt_ms=0.1)))
        return v

    jax.jit(run)(V)


@pytest.mark.parametrize(
    ("ds", "error", "said"),
    [
        (traces().rename(time="t"), jfx.DimensionError, '"time"'),
        (traces().isel(time=[]), jfx.TimeAxisError, "no samples"),
        (traces().drop_vars("time"), jfx.TimeAxisError, "no time coordinate"),
        (traces().assign_coords(time=[0, 1, 2]), jfx.UnitError, 'attrs["units"] = "ms"'),
        (traces().assign(v=(("unit", "time"), V)), jfx.UnitError, "no unit"),
        (traces().assign(v=(("unit", "time"), V > 0, {"units": "mV"})), jfx.DataError, "bool"),
        (
            traces().assign(v=(("unit", "time"), V.astype(object), {"units": "mV"})),
            jfx.DataError,
            "object",
        ),
        (
            traces().assign(v=(("unit", "time"), np.where(V == 0, np.inf, V), {"units": "mV"})),
            jfx.NonFiniteError,
            "1 of 6",
        ),
        (xr.Dataset(), jfx.VariableError, "no variable"),
        (traces().assign_attrs(jaxfne_xr="{"), jfx.SchemaError, "not a provenance record"),
        (traces().assign_coords(diameter=("unit", [1, 2])), jfx.UnitError, "um"),
    ],
)
def test_one_problem(refused, ds, error, said):
    with refused(error, said):
        jfx.validate(ds).raise_problems()


def test_a_volt_is_a_voltage_and_a_hand_made_dataset_is_one():
    ds = xr.Dataset(
        {"soma": ("time", V[0], {"units": "V"})}, {"time": ("time", [0.0, 1, 2], {"units": "s"})}
    )
    assert jfx.validate(ds)
    assert find_voltage(ds) == "soma"


@pytest.mark.parametrize("place", ["positions", "quantified positions", "none"])
def test_the_remedy_for_a_chunked_quantity_works(refused, place):
    coords = {} if place == "none" else {a: ("unit", [0.0, 1.0, 2.0]) for a in "xyz"}
    quantified = jfx.traces(np.zeros((9, 3)), ("time", "unit"), dt_ms=0.1, coords=coords)
    if place == "quantified positions":
        quantified = quantified.assign_coords(z=("unit", quantity(np.zeros(3), "um")))
    with refused(jfx.UnitError, "a dask array of quantities") as caught:
        quantified.chunk(time=4).jfne.to_signals()
    code = caught.value.problems[0].remedy.split(": ")[1].replace(".chunk()", ".chunk(time=4)")
    signals = eval(code, {"quantified": quantified}).jfne.to_signals()
    assert signals.V_m.chunks[0] == (4, 4, 1)
    assert signals.compute().jfne.validate()


def test_a_dim_called_x_needs_no_unit():
    assert jfx.validate(jfx.traces(V, ("x", "time"), dt_ms=0.1).assign_coords(x=[1, 2]))


def test_the_stage_is_what_the_dataset_says_else_what_it_looks_like():
    signals = traces().jfne.to_signals()
    assert stage_of(traces()) == "traces"
    assert stage_of(signals) == stage_of(signals.drop_attrs()) == "signals"
    assert stage_of(signals.jfne.spike_times()) == "spike_times"
    assert stage_of(traces().assign_attrs(jaxfne_xr="{")) == "traces"


def test_a_source_is_looked_at_too():
    signals = traces().jfne.to_signals(source=np.zeros(traces().v.shape))
    signals.source.data[...] = signals.source.data * np.nan
    report = jfx.validate(signals)
    assert [p.where for p in report.problems] == ["source"]
    assert "NaN" in str(report)
