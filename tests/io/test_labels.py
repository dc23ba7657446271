"""Labels of every kind, and indexes on any of them, come back from a file as they were, or are refused by name."""

import json

import dask.array
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import jaxfne_xr as jfx
from jaxfne_xr.io.labels import decoded, encoded

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")

pytestmark = pytest.mark.every_version

V = np.array([[-65.0, 20.0, 30.0], [10.0, -65.0, 0.0], [1.0, 2.0, 3.0]])
DATES = ["2020-01-01", "2021-02-03T00:00:01.5", None]


def some(**coords):
    """Return small quantified traces of three units."""
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, coords=coords)


def kinds(ds):
    """Return the dtypes of variables, and the types and dtypes of indexes."""
    dtypes = {name: v.dtype for name, v in ds.variables.items()}
    indexes = {
        name: (type(index), getattr(getattr(index, "index", None), "dtype", None))
        for name, index in ds.xindexes.items()
    }
    return dtypes, indexes


def same(ds, path, exactly=True):
    """Assert that a Dataset is what it was after a round trip."""
    back = jfx.open(jfx.to_netcdf(ds, path))
    assert kinds(back) == kinds(ds)
    if exactly and ds.identical(ds.copy(deep=True)):
        xr.testing.assert_identical(back, ds)
    else:  # with missing values in tuples, or NA among booleans, which xarray finds different from themselves
        assert str(back) == str(ds)
        assert all(back.indexes[n].equals(index) for n, index in ds.indexes.items())
    return back


def categorical(values, **options):
    return pd.Categorical(values, **options)


TEXTS = {
    "object": np.array(["a", "b", "ü"], object),
    "None": np.array(["a", None, ""], object),
    "all missing": np.array([None, np.nan, pd.NaT], object),
    "NUL": np.array(["a\0b", "c", None], object),
    "surrogate": np.array(["a\ud800", "c", ""], object),
    "fixed": np.array(["a\0b", "c", "\ud800"]),
    "mixed": np.array(["a", 1, 2.5], object),
    "numbers": np.array([True, 2**70, np.int16(3)], object),
    "StringDType": np.array(["a", "b", ""], np.dtypes.StringDType()),
    "StringDType, nan": np.array(["a", np.nan, ""], np.dtypes.StringDType(na_object=np.nan)),
    "StringDType, None": np.array(["a", None, ""], np.dtypes.StringDType(na_object=None)),
}
OF_PANDAS = {
    "str": pd.array(["a", "", "b"], dtype=pd.Series(["a"]).dtype),
    "string": pd.array(["a", "c", "b"], dtype="string"),
    "categories": categorical(["b", "a", "b"], categories=["b", "z", "a"], ordered=True),
    "categories, missing": categorical(["", None, "b"]),
    "categories of int": categorical([3, None, 1]),
    "categories of bool": categorical([True, None, False]),
    "categories of float": categorical([0.1, None, 1 / 3]),
    "categories of times": categorical(pd.to_datetime(["2020", "2021", None])),
    "categories of intervals": pd.cut([10.0, np.nan, 300.0], [0, 100, 400]),
    "no categories": categorical([None, None, None]),
    "Int64": pd.array([1, 2, 2**62], dtype="Int64"),
    "Int64, missing": pd.array([2**63 - 1, None, -(2**63)], dtype="Int64"),
    "UInt8, missing": pd.array([255, None, 0], dtype="UInt8"),
    "boolean, missing": pd.array([True, None, False], dtype="boolean"),
    "Float32, missing": pd.array([0.1, None, 3], dtype="Float32"),
    "intervals": pd.IntervalIndex.from_breaks([0.0, 1 / 3, 2.0, 3.0], closed="left"),
    "periods": pd.PeriodIndex(["2020Q1", "2020Q2", "2021Q1"], freq="Q-NOV"),
    "times in a zone": pd.to_datetime(DATES, format="ISO8601").tz_localize("Europe/Berlin"),
    "times at an offset": pd.to_datetime(["2020-01-01T00:00+01:00"] * 3),
}


@pytest.mark.skipif(OLD_XARRAY, reason="xarray holds types of pandas as objects")
@pytest.mark.parametrize("kind", TEXTS)
def test_text_comes_back(tmp_path, kind):
    values = TEXTS[kind]
    same(some(label=("unit", values), scalar=((), values[0])), tmp_path / "a.nc")
    same(some().assign(label=(("unit", "other"), values[:, None])), tmp_path / "b.nc")
    # None in an index of StringDType is "nan" in xarray
    if not pd.isna(values.astype(object)).all() and kind != "StringDType, None":
        same(some(unit=values), tmp_path / "c.nc")


@pytest.mark.skipif(OLD_XARRAY, reason="xarray holds types of pandas as objects")
@pytest.mark.filterwarnings("ignore")  # xarray uses what pandas is about to change
@pytest.mark.parametrize("kind", OF_PANDAS)
def test_labels_of_pandas_come_back(tmp_path, kind):
    labels = OF_PANDAS[kind]
    labels = labels if isinstance(labels, pd.Index) else pd.Index(labels)
    same(some(label=("unit", labels)), tmp_path / "a.nc")
    same(some().assign_coords(unit=labels), tmp_path / "b.nc")
    same(some(label=("unit", labels)).set_xindex("label"), tmp_path / "c.nc")
    many = pd.MultiIndex.from_arrays([labels, [1, 2, 3]], names=["label", "n"])
    ds = some().drop_vars("unit", errors="ignore")
    ds = ds.assign_coords(xr.Coordinates.from_pandas_multiindex(many, "unit"))
    back = same(ds, tmp_path / "d.nc", exactly=not labels.isna().any())
    assert back.indexes["unit"].get_level_values(0).dtype == labels.dtype


@pytest.mark.parametrize("stacked", [True, False])
def test_a_multiindex_comes_back(tmp_path, stacked):
    if stacked:
        v = V.reshape(1, 3, 3)
        dims, coords = ("layer", "n", "time"), {"layer": ["L4"], "n": [0, 1, 2]}
        ds = jfx.traces(v, dims, dt_ms=0.1, coords=coords).stack(unit=["layer", "n"])
    else:
        many = pd.MultiIndex.from_tuples([("L5", 2), ("L4", 1), ("L4", 1)], names=["layer", "n"])
        ds = some().assign_coords(xr.Coordinates.from_pandas_multiindex(many, "unit"))
    ds.unit.attrs["note"] = ds.layer.attrs["note"] = {"nested": True}
    back = same(ds, tmp_path / "a.nc")
    assert back.unit.attrs == back.layer.attrs == {"note": {"nested": True}}
    assert back.sel(layer="L4").sizes == ds.sel(layer="L4").sizes
    with xr.open_dataset(tmp_path / "a.nc") as plain:
        assert plain.layer.values.tolist() == ds.layer.values.tolist()
    with jfx.open(tmp_path / "a.nc", chunks={}) as lazy:
        assert kinds(lazy)[1] == kinds(ds)[1]


def test_other_indexes_come_back(tmp_path):
    ds = some(
        unit=[10, 20, 30],
        population=("unit", list("EEI")),
        layer=("unit", pd.CategoricalIndex(["L4", "L5", "L4"])),
        x=("unit", [1.0, 2.0, 2.0], {"units": "um"}),
    )
    back = same(ds.set_xindex("population"), tmp_path / "a.nc")
    assert back.sel(population="E").sizes["unit"] == 2
    two = ds.drop_indexes("unit").set_xindex("population").set_xindex("layer")
    assert set(same(two, tmp_path / "b.nc").xindexes) == {"time", "population", "layer"}
    same(ds.set_xindex("x"), tmp_path / "c.nc")
    same(ds.drop_indexes(["unit"]), tmp_path / "d.nc")
    pinted = ds.pint.quantify().set_xindex("population")
    same(pinted, tmp_path / "e.nc")
    signals = ds.jfne.to_signals().set_xindex("population")
    same(signals, tmp_path / "f.nc")
    with jfx.open(tmp_path / "f.nc", chunks={}) as lazy:
        assert kinds(lazy)[1] == kinds(signals)[1]


def test_labels_of_concat_come_back(tmp_path):
    signals = some().jfne.to_signals()
    for epochs in (pd.Index(["pre", "post"], name="epoch"), pd.CategoricalIndex(["b", "a"])):
        same(jfx.concat([signals, signals], epochs.rename("epoch")), tmp_path / "a.nc")
    binned = xr.DataArray(V[0], {"unit": [1, 2, 3]}, name="rate").groupby_bins("unit", [0, 1, 3])
    means = binned.mean().to_dataset().assign_attrs(some().attrs)
    same(means, tmp_path / "b.nc")


def test_text_in_dask_comes_back_in_memory(tmp_path):
    text = np.array(["a", None, "c"], object)
    ds = some(label=("unit", dask.array.from_array(text, chunks=1)))
    back = jfx.open(jfx.to_netcdf(ds, tmp_path / "a.nc"))
    xr.testing.assert_identical(back, ds.compute())


@pytest.mark.parametrize("labels", [pd.array([5, None, -7]), OF_PANDAS["boolean, missing"]])
def test_other_programs_see_what_is_missing(tmp_path, labels):
    jfx.to_netcdf(some(label=("unit", labels)), tmp_path / "a.nc")
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        assert np.ma.getmaskarray(file["label"][:]).tolist() == [False, True, False]
    with xr.open_dataset(tmp_path / "a.nc") as plain:
        assert plain.label.isnull().values.tolist() == [False, True, False]


def test_labels_that_were_edited_in_the_file_count(tmp_path):
    ds = some(
        a=("unit", categorical(["E", None, "I"])),
        b=("unit", np.array(["E", None, "I"], object)),
        c=("unit", OF_PANDAS["intervals"]),
    )
    path = jfx.to_netcdf(ds.set_xindex("b"), tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["a"][0], file["b"][1], file["c"][0] = "PV", "PV", "all"
    back = jfx.open(path)
    assert list(back.a.variable.data.categories) == ["E", "I", "PV"]
    assert list(back.a.variable.data.codes) == [2, -1, 1]
    assert back.b.values.tolist() == ["E", "PV", "I"]
    assert back.sel(b="PV").b == "PV"
    assert back.c.values[0] == "all"


UNSTORABLE = {
    "bytes and text": np.array(["a", b"b", "c"], object),
    "sparse": pd.arrays.SparseArray([0, 0, 1]),
    "complex": np.array([1j, 2, 3]),
    "float16": np.array([1, 2, 3], "f2"),
    "long double": np.array([1, 2, 3], np.longdouble),
    "records": np.array([(1, 2.0)] * 3, "i4,f8"),
}


@pytest.mark.parametrize("place", ["coordinate", "variable"])
@pytest.mark.parametrize("kind", UNSTORABLE)
def test_what_is_refused_is_saved_after_the_remedy(tmp_path, refused, kind, place):
    labels = UNSTORABLE[kind]
    ds = some(w=("unit", labels)) if place == "coordinate" else some().assign(w=("unit", labels))
    with refused(jfx.FileError, '"w"', str(ds.w.dtype)) as caught:
        jfx.to_netcdf(ds, tmp_path / "a.nc")
    (problem,) = caught.value.problems
    saved_after(problem.remedy, ds, tmp_path / "a.nc")


@pytest.mark.parametrize(
    "index", [xr.indexes.RangeIndex.arange(0.0, 3.0, dim="unit")], ids=["RangeIndex"]
)
def test_an_unknown_index_is_saved_after_the_remedy(tmp_path, refused, index):
    ds = some().assign_coords(xr.Coordinates.from_xindex(index))
    with refused(jfx.FileError, type(index).__name__) as caught:
        jfx.to_netcdf(ds, tmp_path / "a.nc")
    saved_after(caught.value.problems[0].remedy, ds, tmp_path / "a.nc")


@pytest.mark.parametrize("name", ["-65mV", "e\u0301", "a" * 300, "a\ud800", "trailing ", "a/b", 3])
def test_a_name_is_saved_after_the_remedy(tmp_path, refused, name):
    ds = some().assign({name: ("unit", [1.0, 2.0, 3.0])})
    with refused(jfx.FileError, "name") as caught:
        jfx.to_netcdf(ds, tmp_path / "a.nc")
    saved_after(caught.value.problems[0].remedy, ds, tmp_path / "a.nc")


@pytest.mark.parametrize(("dim", "n"), [("string3", 3), ("string1", 1)])
def test_a_dim_of_the_name_of_bytes_is_saved_after_the_remedy(tmp_path, refused, dim, n):
    ds = some().rename(unit=dim).assign(b=(dim, np.array([b"abc"[:n], b"a", b"b"])))
    with refused(jfx.FileError, dim) as caught:
        jfx.to_netcdf(ds, tmp_path / "a.nc")
    saved_after(caught.value.problems[0].remedy, ds, tmp_path / "a.nc")


def saved_after(remedy, ds, path):
    names = {"ds": ds, "np": np, "jfx": jfx, "xr": xr}
    same(eval(remedy, names), path)


TEXT = st.text(max_size=4) | st.sampled_from(
    [None, np.nan, pd.NA, "", "\0", "\ud800", "a\0", 1, True, 0.1, np.float32(0.1)]
)


@given(labels=st.lists(TEXT, max_size=6))
def test_any_text_is_decoded_as_it_was(labels):
    values = np.empty(len(labels), object)
    values[:] = labels
    stored, form = encoded(values)
    "".join(stored).encode()
    again = decoded(stored, json.loads(json.dumps(form)))
    assert [(type(a), str(a)) for a in again] == [(type(a), str(a)) for a in values]


@given(
    codes=st.lists(st.integers(-1, 3), max_size=6),
    categories=st.sampled_from([list("abcd"), [3, 1, 2, 0], [0.5, 1 / 3, 2.0, -1.0]]),
    ordered=st.booleans(),
)
def test_any_categories_are_decoded_as_they_were(codes, categories, ordered):
    labels = pd.Categorical.from_codes(codes, categories=categories, ordered=ordered)
    stored, form = encoded(labels)
    again = decoded(stored, json.loads(json.dumps(form)))
    assert again.dtype == labels.dtype
    assert again.codes.tolist() == labels.codes.tolist()
