"""`.jfne` of Datasets and DataArrays: no state, one line a method, the signature of the function of the same name."""

import inspect
import re
import typing

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.display.overview import facts

ACCESSOR = jfx.JfneAccessor
METHODS = [
    name for name, _ in inspect.getmembers(ACCESSOR, inspect.isfunction) if not name.startswith("_")
]
OF_ARRAYS = [name for name in METHODS if hasattr(jfx.JfneArrayAccessor, name)]


def signals():
    return jfx.traces(np.full((3, 100), -65.0), ("unit", "time"), dt_ms=0.1).jfne.to_signals()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_its_function(name):
    function, method = getattr(jfx, name), getattr(ACCESSOR, name)
    given, expected = (
        list(inspect.signature(f).parameters.values())[1:] for f in (method, function)
    )
    assert [(p.name, p.kind, p.default) for p in given] == [
        (p.name, p.kind, p.default) for p in expected
    ]
    assert f"jaxfne_xr.{name}" in method.__doc__


def _types(function):
    """The annotations of a function but that of its first parameter, without the modules of classes of ours."""
    _, *parameters = inspect.signature(function).parameters.values()
    given = {p.name: p.annotation for p in parameters}
    given["return"] = inspect.signature(function).return_annotation
    return {
        name: re.sub(r"\b(?!xr\.)[a-z_]\w*\.(?=[A-Z])", "", text) for name, text in given.items()
    }


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_annotations_of_its_function(name):
    method, function = getattr(ACCESSOR, name), getattr(jfx, name)
    assert _types(method) == _types(function)
    typing.get_type_hints(method)  # every name in them is imported


@pytest.mark.parametrize("name", METHODS)
def test_a_method_passes_everything_on(name, monkeypatch):
    function = getattr(jfx, name)
    module = inspect.getmodule(function)
    ds = signals()
    monkeypatch.setattr(module, name, lambda *args, **options: (args, options))
    for data in (ds, ds.V_m) if name in OF_ARRAYS else (ds,):
        method = getattr(data.jfne, name)
        parameters = inspect.signature(method).parameters
        values = {p: object() for p in parameters}
        args, options = method(**values)  # where it takes **settings, one of that name
        assert args[0] is data
        bound = inspect.signature(function).bind(*args, **options)
        given = {**bound.arguments, **bound.kwargs}
        assert list({p: given[p] for p in parameters}.values()) == list(values.values())


def test_a_data_array_has_the_methods_that_one_variable_is_enough_for():
    needs_more = {"transmembrane_currents", "summary", "emm_proxy", "lead_field"}
    keeps_the_record = {"to_netcdf", "report"}
    same_again = {"source", "vm", "spk", "compute_readout"}
    assert {*METHODS} - {*OF_ARRAYS} == needs_more | keeps_the_record | same_again
    assert isinstance(signals().V_m.jfne.plot, jfx.plot.Plot)
    assert not hasattr(signals().V_m.jfne, "scope")


def test_quantify_and_to_jax_of_a_data_array_return_one():
    v = jfx.traces(np.full((3, 5), -65.0, "f4"), ("unit", "time"), dt_ms=0.1, quantify=False).v
    for array in (v, v.rename(None)):
        quantified = array.jfne.quantify()
        assert str(quantified.pint.units) == "millivolt"
        jax_backed = quantified.jfne.to_jax()
        assert isinstance(jax_backed.data, jax.Array)
        for made in (quantified, jax_backed):
            assert isinstance(made, xr.DataArray)
            assert made.name == array.name
            assert made.coords.identical(array.coords)
        assert jax_backed.attrs == array.attrs
    assert v.attrs["units"] == "mV"
    assert v.time.jfne.quantify().identical(v.time)


@pytest.mark.parametrize(
    "ds",
    [
        xr.Dataset(),
        xr.Dataset(attrs={"jaxfne_xr": "{"}),
        xr.Dataset({"a": ("time", [1])}),
        xr.Dataset({"V_m": 3}),
    ],
)
def test_it_is_there_and_reads_well_on_any_dataset(ds):
    assert repr(ds.jfne).startswith("jaxfne_xr: ")


def test_it_reads_well_on_any_data_array():
    ds = signals()
    odd = [
        xr.DataArray(),
        xr.DataArray(["a"], dims="time"),
        xr.DataArray(np.ones(2), name=("a", 1)),
    ]
    odd += [ds.time, ds.unit, ds.V_m.isel(time=0), ds.V_m.assign_attrs(ds.attrs)]
    for array in (ds.V_m, ds.spikes, *odd):
        text, page = repr(array.jfne), array.jfne._repr_html_()
        assert text.startswith("jaxfne_xr: variable")
        assert "no record" in text
        assert "ds.jfne" not in text + page


@pytest.mark.slow
def test_the_next_steps_of_a_data_array_run():
    cell = jfx.morphology(
        [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0]
    )
    v = jfx.traces(np.full((2, 300), -65.0), ("recording", "time"), dt_ms=0.1)
    sine = np.sin(np.arange(300.0))
    currents = v.jfne.with_morphology(cell).assign(
        i_membrane=(("recording", "time"), [sine, -sine], {"units": "nA"})
    )
    lfp = jfx.lfp(currents, jfx.linear_probe(4, origin=(50, 0, 0)))
    for array in (v.v, v.jfne.to_signals().spikes, currents.i_membrane, lfp.lfp):
        steps = facts(array)["next"]
        assert steps
        for step in steps:
            assert step.count("array.jfne") == 1
            exec(step, {"array": array, "jfx": jfx})
    plt.close("all")


def test_scope_and_provenance_follow_the_attrs():
    ds = signals()
    assert ds.jfne.scope.amplitude_status is False
    assert ds.jfne.provenance["stage"] == "signals"
    del ds.attrs["jaxfne_xr"]
    assert ds.jfne.provenance is None


def test_it_holds_nothing_but_the_data():
    ds = signals()
    assert list(vars(ds.jfne)) == ["_data"]
    assert list(vars(ds.V_m.jfne)) == ["_data"]
    assert not hasattr(ACCESSOR, "__getattr__")
    with pytest.raises(AttributeError):
        ds.jfne.spike_tines  # noqa: B018


def _takes_a_dataset(function):
    parameters = list(inspect.signature(function).parameters.values())
    return bool(parameters) and str(parameters[0].annotation).startswith(("xr.Dataset", "Data"))


@pytest.mark.parametrize(
    "name",
    [
        n
        for n, f in vars(jfx).items()
        if inspect.isfunction(f) and not n.startswith("_") and _takes_a_dataset(f)
    ],
)
def test_every_function_of_a_dataset_has_its_method(name):
    assert name in METHODS
