"""Arguments are checked by the types in signatures."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.arguments import public, public_class
from jaxfne_xr.core.types import (
    AnyTime,
    Array,
    ArrayLike,
    Count,
    Length,
    Lengths,
    Probe,
    Time,
    Vector,
)

if TYPE_CHECKING:
    from somewhere import Thing


@public
def everything(
    ds: xr.Dataset | xr.DataArray | None = None,
    tau: Time = 5.0,
    *,
    radius: Lengths | None = None,
    fill: AnyTime | None = None,
    way: Vector = (0, 0, 1),
    data: Array | None = None,
    places: ArrayLike | None = None,
    n: Count = 1,
    name: str = "a",
    names: str | Sequence[str] = "a",
    flag: bool = False,
    share: float = 0.5,
    table: Mapping[str, int] | None = None,
    fn: Callable[..., Any] | None = None,
    probe: Probe | None = None,
    thing: Thing | None = None,
    model: jfx.PointSource | None = None,
    **more: Any,
) -> Any:
    """Return its arguments."""
    return locals()


GOOD = {
    "ds": [None, xr.Dataset(), xr.DataArray(1)],
    "tau": [1, 2.5, "5 ms", "0.1 s", np.float32(1), np.array(3), jnp.array(1.0)],
    "radius": [1, "2 mm", [1, "2 mm"], np.ones(3), (jnp.array(1.0), 2), xr.DataArray([1.0, 2.0])],
    "fill": [float("nan"), "3 ms", np.nan],
    "way": [(0, 1, 0), [1.0, 2.0, 3.0], np.eye(3), jnp.ones(3)],
    "data": [np.ones(3), [1, 2], jnp.ones(2), np.ones(2, complex), np.array(True)],
    "places": [np.ones((2, 3)), [[1, 2, 3]], xr.DataArray([1.0])],
    "n": [1, np.int32(5)],
    "names": ["a", ["a", "b"], ("a",), np.array(["a"]), []],
    "flag": [True, np.True_],
    "share": [0, 1.5, np.float32(1)],
    "table": [{}, {"a": 1}],
    "fn": [abs, jfx.psd],
    "probe": [xr.Dataset()],
    "thing": [3, "anything: its type is known to type checkers only"],
    "model": [jfx.PointSource()],
    "other": [object()],
}
BAD = {
    "ds": [3, "run.nc", np.ones(3)],
    "tau": [None, True, "3 kg", "x", [1.0], float("nan"), 1e308, 10**400, 1j, np.timedelta64(3, "ns")],
    "radius": ["3 ms", [1, "3 kg"], [1, np.nan], np.array([np.inf]), {}, jnp.array([jnp.nan]), [True]],
    "fill": ["3 mV", [1.0], 10**400],
    "way": ["z", np.array(["a"]), [[1], [1, 2]], (np.nan, 0, 0)],
    "data": ["text", np.array(["a"]), np.array([None]), np.ma.masked_less([1, 2], 2), {}],
    "places": [np.ones(2, complex), [[1], [1, 2]], [None], xr.Dataset()],
    "n": [0, -1, 2.0, True, "3", 10**30, np.timedelta64(3, "ns")],
    "name": [None, 3, ["a"], b"a"],
    "names": [3, ["a", 3], {"a"}, None],
    "flag": [1, "yes", None, np.array([True])],
    "share": ["0.5", None, np.array(0.5), float("nan"), True],
    "table": [[("a", 1)], xr.Dataset(), 3],
    "fn": [3, "psd"],
    "probe": [3, xr.DataArray(1)],
    "model": [jfx.PointSource, 0.3],
}  # fmt: skip


def test_what_is_accepted_comes_through():
    for name, values in GOOD.items():
        for value in values:
            made = everything(**{name: value})
            assert (made["more"] if name == "other" else made)[name] is value
    ds = xr.Dataset()
    assert everything(ds, "3 ms")["ds"] is ds


def test_what_is_not_is_refused_with_what_to_type():
    for name, values in BAD.items():
        for value in values:
            with pytest.raises(jfx.JfneError) as caught:
                everything(**{name: value})
            (problem,) = caught.value.problems
            assert problem.where == name
            assert all((problem.found, problem.expected, problem.remedy)), (name, value)


def test_all_are_listed_by_place_and_by_name(refused):
    with refused(jfx.ArgumentError, "3 problems", "ds: found a int", "'3 kg'", "n: found 0"):
        everything(3, "3 kg", n=0)


def test_a_mistake_of_another_kind_is_pythons():
    with pytest.raises(TypeError, match="positional"):
        everything(None, 1.0, 2.0)

    @public
    def broken(x: float) -> float:
        raise KeyError("a mistake in this package")

    with pytest.raises(KeyError, match="in this package"):  # never called the user's
        broken(1.0)


def test_tracers_are_arrays_whose_values_are_not_known():
    @jax.jit
    def traced(x):
        assert everything(tau=x[0], radius=x, way=x, data=x, places=x)["radius"] is x
        for wrong in ({"n": x[0]}, {"flag": x[0] > 0}, {"share": x[0]}, {"tau": x}, {"name": x}):
            with pytest.raises(jfx.JfneError):
                everything(**wrong)
        return x

    assert np.isnan(traced(jnp.full(3, jnp.nan))).all()


def test_functions_stay_what_they_were():
    assert inspect.signature(everything) == inspect.signature(everything.__wrapped__)
    assert everything.__doc__ == "Return its arguments."
    assert pickle.loads(pickle.dumps(jfx.psd)) is jfx.psd
    assert inspect.getsource(jfx.psd).startswith("@public\ndef psd(")
    assert inspect.isfunction(jfx.psd)


def test_arguments_of_dataclasses_are_checked(refused):
    @public_class
    @dataclass(frozen=True)
    class Settings:
        length: Length = 3.0

    assert Settings("2 mm").length == "2 mm"
    with refused(jfx.UnitError, "length: found '2 s'"):
        Settings("2 s")


def test_remedies_are_the_default_or_an_example():
    said = {"name": "name='a'", "tau": 'tau="0.1 ms"', "probe": "probe=jfx.linear_probe("}
    for name, remedy in said.items():
        with pytest.raises(jfx.JfneError) as caught:
            everything(**{name: [1.0]})
        assert caught.value.problems[0].remedy.startswith(remedy)


def test_the_values_of_a_large_array_of_jax_are_not_waited_for():
    @public
    def several(x: Lengths) -> Lengths:
        return x

    large = jnp.full(10_000, jnp.nan)
    assert several(large) is large
    with pytest.raises(jfx.JfneError):
        several(large * 1j)
    for bad in (np.nan, np.inf, -1e39):
        for some in (np.full(10_000, bad), jnp.full(10, bad), np.r_[np.zeros(9_999), bad]):
            with pytest.raises(jfx.ArgumentError, match="finite"):
                several(some)
    assert several(np.zeros((0, 3))).shape == (0, 3)
