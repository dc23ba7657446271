"""Trees of any shape come back from a file as they were; what is checked, shown and written agrees."""

import dask.array
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx

pytestmark = pytest.mark.every_version

TRACES = jfx.traces(np.full((2, 5), -65.0), ("unit", "time"), dt_ms=0.1, coords={"unit": [1, 2]})
SIGNALS = TRACES.jfne.to_signals()
LABELLED = SIGNALS.assign_coords(population=("unit", list("EI"))).set_xindex("population")
#: What a node may hold.
CONTENTS = {
    "nothing": xr.Dataset(),
    "attrs": xr.Dataset(attrs={"subject": "m1", "doses": [1, 2.5]}),
    "parameters": xr.Dataset({"g": ("k", [1.0, 2.0]), "v": ("k", [0.1, 0.2])}, attrs={"note": ""}),
    "text": xr.Dataset({"who": ("k", np.array(["a", None], object))}, {"k": [1, 2]}),
    "time": xr.Dataset(coords={"time": SIGNALS.time}),
    "labels": xr.Dataset(coords={"population": ("unit", list("EI")), "unit": [1, 2]}),
    "traces": TRACES,
    "signals": SIGNALS,
    "rates": SIGNALS.jfne.firing_rate(),
    "index": LABELLED,
    "no index": SIGNALS.drop_indexes("unit"),
}
OURS = ("traces", "signals", "rates", "index", "no index")
NAMES = [
    "run0",
    "a b",
    "-65 mV",
    "+10",
    ".hidden",
    "é",
    "e\u0301",
    "unit",
    "k",
    "_q",
    "a" * 300,
    "x ",
]


def saved(tree, path):
    """Assert that a tree is what it was after a round trip."""
    assert tree.jfne.validate()
    back = jfx.open(jfx.to_netcdf(tree, path))
    xr.testing.assert_identical(back, tree)
    assert [node.path for node in back.subtree] == [node.path for node in tree.subtree]
    for node in tree.subtree:
        before, after = node.to_dataset(inherit=False), back[node.path].to_dataset(inherit=False)
        xr.testing.assert_identical(after, before)
        assert after.xindexes.keys() == before.xindexes.keys()
    return back


def trees(depth=3):
    """Return a strategy of nested nodes: a kind of content, and children by their names."""
    contents = st.sampled_from(sorted(CONTENTS))
    none = st.just({})
    nodes = st.tuples(contents, none)
    for _ in range(depth - 1):
        children = st.dictionaries(st.sampled_from(NAMES), nodes, max_size=3)
        nodes = st.tuples(contents, children)
    return nodes


def built(node):
    content, children = node
    return xr.DataTree(CONTENTS[content], children={n: built(c) for n, c in children.items()})


@given(node=trees())
def test_any_tree_comes_back(tmp_path_factory, node):
    try:
        tree = built(node)
    except (AttributeError, KeyError, ValueError):
        # a child has the name of a variable, or does not align with its parent
        return
    path = tmp_path_factory.mktemp("tree") / "a.nc"
    ours = any(content in OURS for content in str(node).split("'"))
    assert bool(tree.jfne.validate()) == ours
    assert str(tree.jfne).startswith("jaxfne_xr: tree")
    if tree.jfne.validate():
        saved(tree, path)
    else:
        with pytest.raises(jfx.VariableError, match="nothing that this package made"):
            jfx.to_netcdf(tree, path)
        assert not path.exists()


@pytest.mark.parametrize("content", CONTENTS)
def test_a_node_of_any_content_comes_back(tmp_path, content):
    ds = CONTENTS[content]
    below = {"/run": SIGNALS, "/node": ds, "/deep/er/node": ds}
    saved(xr.DataTree.from_dict(below), tmp_path / "a.nc")
    saved(xr.DataTree.from_dict({"/": ds, "/run": SIGNALS}), tmp_path / "b.nc")
    tree = xr.DataTree.from_dict({"/run": SIGNALS, "/run/node": ds})
    saved(tree, tmp_path / "c.nc")
    with jfx.open(tmp_path / "c.nc", chunks={}) as lazy:
        assert isinstance(lazy["run"].V_m.variable._data, dask.array.Array)
        assert [node.path for node in lazy.subtree] == [node.path for node in tree.subtree]


@pytest.mark.parametrize("name", NAMES)
def test_a_node_of_any_name_comes_back(tmp_path, name):
    below = xr.DataTree(SIGNALS, children={name: xr.DataTree(SIGNALS)} if name != "unit" else {})
    children = {name: below, "_65 mV": xr.DataTree(SIGNALS)}
    root = xr.Dataset({"w": (("unit", "k"), np.zeros((2, 2)))})
    tree = xr.DataTree(root, children=children, name="mine")
    back = saved(tree, tmp_path / "a.nc")
    assert (back.name, list(back.children)) == ("mine", [name, "_65 mV"])
    encoding = {f"/{name}": {"V_m": {"zlib": True, "complevel": 7}}}
    path = jfx.to_netcdf(tree, tmp_path / "b.nc", encoding=encoding)
    with netCDF4.Dataset(path) as file:
        assert next(iter(file.groups.values()))["V_m"].filters()["complevel"] == 7


def test_children_keep_their_order(tmp_path):
    tree = xr.DataTree.from_dict({f"/{n}": SIGNALS for n in ("b", "c", "a")})
    assert list(saved(tree, tmp_path / "a.nc").children) == ["b", "c", "a"]


def test_inherited_coordinates_are_written_once(tmp_path):
    root = xr.Dataset(coords={"time": SIGNALS.time, "unit": SIGNALS.unit})
    bare = SIGNALS.drop_vars(["time", "unit"])
    tree = xr.DataTree.from_dict({"/": root, "/run": bare, "/run/again": bare})
    back = saved(tree, tmp_path / "a.nc")
    assert "time" in back["run/again"].coords
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert set(file["run"].variables) == {"V_m", "spikes"}


def test_a_part_of_a_tree_comes_back(tmp_path):
    root = xr.Dataset(coords={"time": SIGNALS.time})
    bare = SIGNALS.drop_vars("time")
    tree = xr.DataTree.from_dict({"/": root, "/day/run": bare, "/day/run/more": TRACES})
    path = jfx.to_netcdf(tree["day/run"], tmp_path / "a.nc")
    xr.testing.assert_identical(jfx.open(path), tree["day/run"].copy())
    path = tree["day"].jfne.to_netcdf(tmp_path / "b.nc")
    xr.testing.assert_identical(jfx.open(path), tree["day"].copy())
    assert isinstance(jfx.open(path), xr.DataTree)
    single = xr.DataTree(SIGNALS)
    assert isinstance(saved(single, tmp_path / "c.nc"), xr.DataTree)


def test_a_multiindex_is_inherited(tmp_path):
    many = pd.MultiIndex.from_tuples([("L4", 1), ("L5", 2)], names=["layer", "n"])
    coords = xr.Coordinates.from_pandas_multiindex(many, "unit")
    root = xr.Dataset(coords=coords)
    saved(xr.DataTree.from_dict({"/": root, "/run": SIGNALS.drop_vars("unit")}), tmp_path / "a.nc")


@pytest.mark.parametrize("part", ["", "day", "day/run"])
def test_problems_are_told_with_their_part_and_remedies_run(tmp_path, refused, part):
    tree = xr.DataTree.from_dict({"/day/run": SIGNALS, "/other": SIGNALS})
    node = tree[part] if part else tree
    bad = {"-65mV": ("k", [1.0, 2.0]), "w": ("k", [1j, 2.0]), "tiny": ("k", np.zeros(2, "f2"))}
    node.dataset = node.to_dataset(inherit=False).assign(bad)
    assert tree.jfne.validate()
    for said in ("complex128", "float16", "a name"):
        with refused(jfx.FileError, f"{part}: " if part else said, said) as caught:
            jfx.to_netcdf(tree, tmp_path / "a.nc")
        exec(caught.value.problems[0].remedy, {"tree": tree, "np": np})
    saved(tree, tmp_path / "a.nc")


def test_bad_data_in_a_part_are_refused(tmp_path, refused):
    bad = SIGNALS.copy(deep=True)
    bad.V_m.data[0, 0] = np.nan * bad.V_m.data.units
    tree = xr.DataTree.from_dict({"/a": SIGNALS, "/b": bad})
    assert not tree.jfne.validate()
    with refused(jfx.NonFiniteError, "b: V_m"):
        jfx.to_netcdf(tree, tmp_path / "a.nc")
    claims = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"amplitude_status": 1}), "/a": SIGNALS})
    assert not claims.jfne.validate()
    with refused(jfx.ScopeError, "amplitude_status"):
        jfx.to_netcdf(claims, tmp_path / "a.nc")
    by_hand = SIGNALS.drop_attrs().pint.dequantify().drop_vars("spikes")
    by_hand.V_m.attrs["units"] = "S/m"
    tree = xr.DataTree.from_dict({"/a": SIGNALS, "/b": by_hand})
    with refused(jfx.UnitError, "b: V_m"):
        jfx.to_netcdf(tree, tmp_path / "a.nc")


@pytest.mark.parametrize("content", ["nothing", "attrs", "parameters", "time"])
def test_a_tree_of_something_else_is_refused(tmp_path, refused, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/a": CONTENTS[content]})
    assert not tree.jfne.validate()
    with refused(jfx.VariableError, "tree") as caught:
        jfx.to_netcdf(tree, tmp_path / "a.nc")
    exec(caught.value.problems[0].remedy, {"tree": tree})
    with refused(jfx.SchemaError, "plain=True"):
        jfx.open("run.nc")
    assert isinstance(jfx.open("run.nc", plain=True), xr.DataTree)


def test_a_tree_that_xarray_wrote_is_opened(tmp_path):
    plain = SIGNALS.pint.dequantify(format="~P")
    tree = xr.DataTree.from_dict({"/run": plain, "/params": CONTENTS["parameters"]})
    tree.to_netcdf(tmp_path / "a.nc")
    xr.testing.assert_identical(jfx.open(tmp_path / "a.nc"), tree)


def test_a_group_that_others_added_is_opened(tmp_path):
    path = jfx.to_netcdf(xr.DataTree.from_dict({"/run": SIGNALS}), tmp_path / "a.nc")
    xr.Dataset({"g": ("k", [1.0, 2.0])}).to_netcdf(path, group="params", mode="a")
    back = jfx.open(path)
    assert back["params"].g.values.tolist() == [1, 2]
    xr.testing.assert_identical(back["run"].to_dataset(), SIGNALS)
