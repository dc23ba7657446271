"""`.jfne`: no state, one line a method, and the signature of the function of the same name."""

import inspect

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

ACCESSOR = jfx.JfneAccessor
METHODS = [
    name for name, _ in inspect.getmembers(ACCESSOR, inspect.isfunction) if not name.startswith("_")
]


def signals():
    return jfx.traces(np.full((3, 100), -65.0), ("unit", "time"), dt_ms=0.1).jfne.to_signals()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_its_function(name):
    function, method = getattr(jfx, name), getattr(ACCESSOR, name)
    given, wanted = (list(inspect.signature(f).parameters.values())[1:] for f in (method, function))
    assert [(p.name, p.kind, p.default) for p in given] == [
        (p.name, p.kind, p.default) for p in wanted
    ]
    assert f"jaxfne_xr.{name}" in method.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_a_method_hands_everything_on(name, monkeypatch):
    function = getattr(jfx, name)
    room = inspect.getmodule(function)
    ds = signals()
    method = getattr(ds.jfne, name)
    monkeypatch.setattr(room, name, lambda *args, **options: (args, options))
    parameters = inspect.signature(method).parameters
    values = {p: object() for p in parameters}
    args, options = method(**values)  # where it takes **settings, one of that name
    assert args[0] is ds
    bound = inspect.signature(function).bind(*args, **options)
    given = {**bound.arguments, **bound.kwargs}
    assert list({p: given[p] for p in parameters}.values()) == list(values.values())


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


def test_scope_and_provenance_follow_the_attrs():
    ds = signals()
    assert ds.jfne.scope.amplitude_status is False
    assert ds.jfne.provenance["stage"] == "signals"
    del ds.attrs["jaxfne_xr"]
    assert ds.jfne.provenance is None


def test_it_holds_nothing_but_the_dataset():
    ds = signals()
    assert list(vars(ds.jfne)) == ["_ds"]
    assert "__getattr__" not in vars(ACCESSOR)
    with pytest.raises(AttributeError):
        ds.jfne.spike_tines  # noqa: B018


def _takes_a_dataset(function):
    parameters = list(inspect.signature(function).parameters.values())
    return bool(parameters) and str(parameters[0].annotation).startswith("xr.Dataset")


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
