"""Datasets across the boundary of jit: what survives, what is compared, who else may have registered."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pint_xarray  # noqa: F401
import pytest
import xarray as xr
from pint_xarray.index import PintIndex

import jaxfne_xr as jfx
from jaxfne_xr.transforms.pytrees import pack, same, split, unpack


@pytest.fixture(autouse=True)
def _enabled():
    jfx.enable_pytrees()


def signals(**attrs):
    """Return Signals in JAX, made again each time, with labels of every kind."""
    v = jnp.sin(jnp.arange(60.0, dtype="f4")).reshape(3, 20) * 60
    ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=False).jfne.to_signals()
    ds = ds.assign_coords(
        population=("unit", np.array(["E", "E", "I"])),
        x=("unit", np.array([1.0, np.nan, 3.0]), {"units": "um"}),
        y=("unit", jnp.arange(3.0), {"units": "um"}),
        label=("unit", np.array(["a", None, 1], object)),
    )
    return ds.assign_attrs(note=[1, 2], missing=np.nan, array=np.array([np.nan, 1.0]), **attrs)


def counted(fn):
    """Return `fn` jitted, and the list that grows with each trace."""
    traces = []

    def traced(*args):
        traces.append(1)
        return fn(*args)

    return jax.jit(traced), traces


def test_all_of_it_survives():
    ds = signals()
    back = jax.jit(lambda ds: ds)(ds)
    xr.testing.assert_identical(back, ds)
    assert back.jfne.scope == ds.jfne.scope
    assert back.jfne.provenance == ds.jfne.provenance
    assert back.y.attrs == {"units": "um"}
    assert list(back.data_vars) == list(ds.data_vars)
    for part in (ds.V_m, ds.V_m.variable, ds.time.variable, ds.V_m.isel(time=0)):
        xr.testing.assert_identical(jax.jit(lambda x: x)(part), part)


def test_one_trace_for_a_hundred_equal_datasets():
    run, traces = counted(lambda ds: ds.V_m.data.sum())
    for _ in range(100):
        run(signals())
    assert len(traces) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.assign_coords(time=ds.time.assign_attrs(units="s")),
        lambda ds: ds.assign(V_m=ds.V_m.assign_attrs(units="V")),
        lambda ds: ds.assign_attrs(note=[1, 3]),
        lambda ds: ds.assign_attrs(amplitude_status=False),  # 0, but of another type
        lambda ds: ds.assign_attrs(array=np.array([np.nan, 2.0])),
        lambda ds: ds.assign_coords(time=ds.time + 1.0),
        lambda ds: ds.assign_coords(x=("unit", np.array([1.0, np.nan, 4.0]), {"units": "um"})),
        lambda ds: ds.assign_coords(label=("unit", np.array(["a", None, 1.0], object))),
        lambda ds: ds.assign_coords(y=ds.y.assign_attrs(units="mm")),
        lambda ds: ds.drop_indexes("time"),
        lambda ds: ds.reset_coords("y"),
        lambda ds: ds.transpose("time", "unit"),
        lambda ds: ds.drop_indexes("time").set_xindex("time", PintIndex, units=pint_unit("ms")),
    ],
)
def test_what_is_changed_is_seen(change):
    run, traces = counted(lambda ds: ds)
    before, after = signals(), change(signals())
    run(before)
    made = run(after)
    assert len(traces) == 2
    xr.testing.assert_identical(made, after)
    assert [type(i) for i in made.xindexes.values()] == [type(i) for i in after.xindexes.values()]
    xr.testing.assert_identical(run(signals()), before)
    assert len(traces) == 2


def pint_unit(name):
    import pint

    return pint.get_application_registry().Unit(name)


def test_the_unit_of_a_pint_index_is_compared():
    ds = signals().drop_indexes("time")
    one, two = (ds.set_xindex("time", PintIndex, units=pint_unit(u)) for u in ("ms", "s"))
    run, traces = counted(lambda ds: ds)
    for given in (one, two, one):
        assert run(given).xindexes["time"].units == given.xindexes["time"].units
    assert len(traces) == 2


def test_nobody_can_change_what_jax_keeps():
    ds = signals()
    positions = ds.x.data
    run, _ = counted(lambda ds: ds)
    first = run(ds)
    positions[0] = 77.0
    assert run(ds).x.values[0] == 77.0
    assert first.x.values[0] == 1.0
    first.attrs["note"].append(9)
    first.x.attrs["units"] = "mm"
    with pytest.raises(ValueError, match="read-only"):
        first.x.values[0] = 5.0
    again = run(signals())
    assert again.attrs["note"] == [1, 2]
    assert again.x.attrs["units"] == "um"
    assert again.x.values[0] == 1.0


def test_placeholders():
    ds = signals()
    leaves, tree = jax.tree.flatten(ds)
    assert len(leaves) == 3
    for value in (object(), True, None, "text", 1.5, jax.ShapeDtypeStruct((3, 20), "f4")):
        held = jax.tree.unflatten(tree, [value] * 3)
        assert "V_m" in repr(held)
        if value is not None:
            assert jax.tree.leaves(held)[0] is value
            assert jax.tree.structure(held) == tree
    assert jax.tree.all(jax.tree.map(lambda x: True, ds))
    assert jax.eval_shape(lambda ds: ds.isel(time=slice(5)), ds).V_m.shape == (3, 5)
    assert "V_m" in str(jax.tree_util.tree_flatten_with_path(ds)[0][0][0])


def test_grad_scan_and_device_get():
    ds = signals()
    slope = jax.grad(lambda v: (v.data**2).sum())(ds.V_m)
    np.testing.assert_allclose(slope.data, 2 * ds.V_m.data, rtol=1e-6)

    def step(carry, x):
        return carry.copy(data=carry.data + x), None

    start = ds.V_m.isel(time=0, drop=True)
    last, _ = jax.lax.scan(step, start, jnp.arange(4.0))
    np.testing.assert_allclose(last.data, start.data + 6, rtol=1e-6)
    assert last.attrs == start.attrs
    assert isinstance(jax.device_get(ds).V_m.data, np.ndarray)


def test_an_axis_without_a_name_is_refused(refused):
    ds = signals().drop_vars("y")[["V_m"]]
    with refused(jfx.DimensionError, "V_m", "vmap(fn, dim="):
        jax.vmap(lambda ds: ds.V_m.data)(ds)


@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (lambda ds: ds.jfne.quantify(), jfx.UnitError, ".jfne.to_jax()"),
        (lambda ds: ds.assign(o=("unit", np.array([1, None, "a"], object))), jfx.DataError, "o:"),
        (lambda ds: ds.assign(s=("unit", np.array(["a", "b", "c"]))), jfx.DataError, "drop_vars"),
        (lambda ds: ds.assign(d=("unit", np.zeros(3, "m8[ns]"))), jfx.DataError, "timedelta64"),
        (lambda ds: ds.assign(c=ds.V_m.copy(data=ds.V_m.values).chunk()), jfx.DataError, "dask"),
        (lambda ds: ds.assign_coords(c=xr.Variable("unit", np.arange(3)).chunk()), jfx.DataError, "c:"),
    ],
)  # fmt: skip
def test_what_jax_cannot_hold_is_refused(bad, error, said, refused):
    for run in (jax.jit(lambda ds: 1.0), jfx.jit(lambda ds: 1.0)):
        with refused(error, said):
            run(bad(signals()))


def test_a_traced_time_is_refused(refused):
    v = jnp.zeros((3, 5))
    with refused(jfx.TimeAxisError, "traced"):
        jax.jit(lambda t: jfx.traces(v, ("unit", "time"), time=xr.Variable("time", t)).v.data)(
            jnp.arange(5.0)
        )
    with refused(jfx.TimeAxisError, "traced"):
        jax.jit(lambda t: jfx.traces(v, ("unit", "time"), time=t).v.data)(jnp.arange(5.0))
    bare = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=False).drop_vars("time")
    timed = bare.assign_coords(xr.Coordinates({"time": ("time", jnp.arange(5.0))}, indexes={}))
    with refused(jfx.TimeAxisError, "traced"):
        jax.jit(lambda ds: ds.jfne.to_signals())(timed)


def test_same():
    assert same({"a": [1, (np.nan, "x")]}, {"a": [1, (np.nan, "x")]})
    assert not same(1, 1.0)
    assert not same(0, False)
    assert not same({"a": 1}, {"a": 1, "b": 2})
    assert not same(np.array([1.0]), np.array([1.0], "f4"))
    odd = type("Odd", (), {"__eq__": lambda self, other: np.ones(2) == 1})
    assert not same(odd(), odd())


def test_packed_is_the_same_without_registration():
    ds = signals()
    xr.testing.assert_identical(unpack(jax.jit(lambda t: t)(pack({"a": [ds, 1.0]})))["a"][0], ds)
    assert split(ds)[1] == split(signals())[1]
    assert hash(split(ds)[1]) == hash(split(signals())[1])


def in_a_fresh_process(code):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


BY_NAME = """
import jax.numpy as jnp
ds = jfx.traces(jnp.ones((2, 3, 5)), ("trial", "unit", "time"), dt_ms=0.1, quantify=False)
slope = jfx.jit(jfx.vmap(jfx.grad(lambda ds: (ds.v.data ** 2).sum()), dim="trial"))(ds)
assert slope.v.attrs == {"units": "1/mV"} and slope.v.dims == ("trial", "unit", "time")
carry, ys = jfx.scan(lambda c, x: (c, x), ds.v.isel(time=0, drop=True), ds)
assert ys.v.dims == ("time", "trial", "unit") and carry.attrs == ds.v.attrs
"""


@pytest.mark.slow
def test_importing_registers_nothing_and_by_name_works_without():
    code = "import jax, xarray as xr, jaxfne_xr as jfx\n" + BY_NAME
    code += """
ds = xr.Dataset({"a": ("x", [1.0])})
assert jax.tree.leaves(ds)[0] is ds
"""
    in_a_fresh_process(code)


@pytest.mark.slow
def test_a_foreign_owner_is_accepted():
    code = """
import jax, xarray as xr
jax.tree_util.register_pytree_node(
    xr.Dataset, lambda ds: ([v.data for v in ds.values()], tuple(ds)), lambda names, x: "theirs"
)
import jaxfne_xr as jfx
print(*jfx.enable_pytrees(), *jfx.enable_pytrees())
assert jax.tree.map(lambda x: x, xr.Dataset({"a": ("x", [1.0])})) == "theirs"
"""
    said = in_a_fresh_process(code + BY_NAME)
    assert said == ["DataArray", "Variable", "IndexVariable"] * 2
