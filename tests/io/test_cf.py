"""What files say to programs that know the CF conventions, and that none of it is in what is opened again."""

import json

import netCDF4
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

pytestmark = pytest.mark.every_version

V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])


def some(**coords):
    return jfx.traces(V, ("unit", "time"), dt_ms=0.1, coords=coords)


def back(ds, path):
    """Return what is opened of a file of `ds`, after comparing it."""
    again = jfx.open(jfx.to_netcdf(ds, path))
    xr.testing.assert_identical(again, ds)
    assert {n: v.dtype for n, v in again.variables.items()} == {
        n: v.dtype for n, v in ds.variables.items()
    }
    return again


# ------------------------------------------------------------------------------------------ what is in the file


def test_files_of_every_stage(tmp_path, stages):
    for name, ds in stages.items():
        back(ds, tmp_path / "a.nc")
        with netCDF4.Dataset(tmp_path / "a.nc") as file:
            assert file.Conventions == "CF-1.8"
            steps = [step["function"] for step in ds.jfne.provenance["steps"]]
            assert file.history.endswith(" -> ".join([*steps, "to_netcdf"])), name
            assert all(str(variable) in file.title for variable in ds.data_vars)
            for attr in file.ncattrs():
                assert np.asarray(file.getncattr(attr)).dtype not in (np.int64, np.uint64), attr
            for key, variable in file.variables.items():
                assert {"long_name", "standard_name"} & set(variable.ncattrs()), (name, key)
                assert key not in ds.coords or "_FillValue" not in variable.ncattrs(), (name, key)
                assert variable.dtype not in (np.int64, np.uint64), (name, key)
            if "time" in ds.dims:
                assert (file["time"].standard_name, file["time"].units) == ("time", "ms")


def test_names_in_words(tmp_path):
    ds = some(
        z=("unit", [0.0, 1.0]),
        my_label=("unit", ["a", "b"]),
        ours=("unit", [1, 2], {"long_name": "days"}),
    )
    with netCDF4.Dataset(jfx.to_netcdf(ds, tmp_path / "a.nc")) as file:
        names = {name: variable.long_name for name, variable in file.variables.items()}
    assert names == {
        "v": "membrane voltage",
        "time": "time",
        "unit": "neuron",
        "z": "position along z",
        "my_label": "my label",
        "ours": "days",
    }


def test_only_the_root_of_a_tree_names_the_conventions(tmp_path):
    cfg = jfx.configuration().network(n=2).emitter(mode="external_voltage").field(domain="point")
    model = jfx.construct(cfg.probe(name="pipette", modes=["lfp_proxy"]))
    signals = model.simulate_external(V.T, dt_ms=0.1)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    path = tree.jfne.to_netcdf(tmp_path / "a.nc")
    with netCDF4.Dataset(path) as file:
        assert (file.Conventions, file.title) == ("CF-1.8", "bundle: signals, readouts, probe")
        for group in file.groups.values():
            assert not {"Conventions", "title", "history"} & set(group.ncattrs())
            assert {"long_name"} <= set.intersection(
                *(set(v.ncattrs()) for v in group.variables.values())
            )
    xr.testing.assert_identical(jfx.open(path), tree)


def test_the_same_data_make_the_same_file(tmp_path):
    files = [jfx.to_netcdf(some(), tmp_path / f"{k}.nc").read_bytes() for k in range(2)]
    assert files[0] == files[1]


# ---------------------------------------------------------------------------------------- and what comes back


@pytest.mark.parametrize("value", ["mine", "", 3, True, ["a", 1]])
def test_attrs_of_these_names_that_are_the_user_s(tmp_path, value):
    ds = some().assign_attrs(dict.fromkeys(("title", "history", "Conventions"), value))
    for name in ("v", "time", "unit"):
        ds[name].attrs |= {"long_name": value, "standard_name": value}
    back(ds, tmp_path / "a.nc")
    if value == "mine":
        with netCDF4.Dataset(tmp_path / "a.nc") as file:
            assert (file.title, file.history, file["time"].standard_name) == ("mine",) * 3


def test_what_another_program_writes_there_stays(tmp_path):
    path = jfx.to_netcdf(some(), tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.history = f"{file.history}\nncks -d time,0,3 a.nc b.nc"  # as NCO does
        file["unit"].long_name = "cell"
    again = jfx.open(path)
    assert again.attrs["history"].endswith("b.nc")
    assert not {"title", "Conventions"} & set(again.attrs)
    assert again.unit.attrs == {"long_name": "cell"}


def test_through_plain_xarray_too(tmp_path):
    path = jfx.to_netcdf(some(label=("unit", ["a", "b"])), tmp_path / "a.nc")
    with xr.open_dataset(path) as plain:
        assert plain.attrs["title"] == "traces: v"
        plain.to_netcdf(tmp_path / "b.nc")
    again, once = jfx.open(tmp_path / "b.nc"), jfx.open(path)
    xr.testing.assert_identical(again, once)


KINDS = (np.int64, np.uint64, np.int32, np.uint8, ">i8")
EDGES = ([0, 1], [0, 2**31 - 1], [-(2**31), 5], [0, 2**31], [-(2**63), 0], [0, 2**64 - 1])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (kind, values)
        for kind in KINDS
        for values in EDGES
        if all(np.iinfo(kind).min <= x <= np.iinfo(kind).max for x in values)
    ],
)
def test_integers_keep_type_and_value(tmp_path, kind, values):
    numbers = np.array(values, kind)
    ds = some(n=("unit", numbers), scalar=numbers[1]).assign(count=("unit", numbers))
    back(ds, tmp_path / "a.nc")
    back(some(unit=numbers), tmp_path / "a.nc")
    with jfx.open(tmp_path / "a.nc", chunks={}) as lazy:
        assert lazy.unit.dtype == numbers.dtype
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        wide = not all(-(2**31) <= x < 2**31 for x in values) or kind == ">i8"
        assert wide or file["unit"].dtype.itemsize <= 4


def test_coordinates_that_are_not_numbers(tmp_path):
    ds = some(
        x=("unit", [np.nan, 1.0]), scalar=np.nan, y=("unit", np.array([np.inf, np.nan], "f4"))
    )
    back(ds, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as plain:
        np.testing.assert_array_equal(plain.x, [np.nan, 1.0])


def test_an_encoding_of_a_coordinate_may_be_chosen(tmp_path):
    ds = some(x=("unit", [np.nan, 1.0]))
    chosen = {"x": {"zlib": True}, "time": {"_FillValue": -1.0}}
    path = jfx.to_netcdf(ds, tmp_path / "a.nc", encoding=chosen)
    with netCDF4.Dataset(path) as file:
        assert file["x"].filters()["zlib"]
        assert "_FillValue" not in file["x"].ncattrs()
        assert file["time"]._FillValue == -1.0


def test_files_of_earlier_versions(tmp_path):
    """They have no such attrs, 64-bit integers, and a record that says nothing of either."""
    ds = some(n=("unit", [1, 2])).assign_attrs(count=7)
    with xr.open_dataset(jfx.to_netcdf(ds, tmp_path / "a.nc"), decode_times=False) as new:
        old = new.load()
    record = json.loads(old.attrs["jaxfne_xr_file"])
    for owner, attrs in record.pop("added").items():
        where = old[owner].attrs if owner else old.attrs
        for key in attrs:
            del where[key]
    for kind, names in record.pop("small").items():
        old = old.assign_coords({n: old[n].astype(kind).assign_attrs(old[n].attrs) for n in names})
    old.attrs |= {"jaxfne_xr_file": json.dumps(record), "count": np.int64(7)}
    old.to_netcdf(tmp_path / "old.nc")
    xr.testing.assert_identical(jfx.open(tmp_path / "old.nc"), ds)
    assert jfx.open(tmp_path / "old.nc").n.dtype == np.int64


# -------------------------------------------------------------------------------------------------- an oracle

#: What the checker says of times that have no calendar: CF knows times since a date alone.
ELAPSED = {
    "time must be in a valid units format <unit> since <epoch> not ms",
    "time does not have correct time units",
}


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_compliance_checker(tmp_path, stages):
    runner = pytest.importorskip("compliance_checker.runner")
    runner.CheckSuite.load_all_available_checkers()
    for name, ds in stages.items():
        path = jfx.to_netcdf(ds, tmp_path / f"{name.replace(' ', '_')}.nc")
        suite = runner.CheckSuite()
        with suite.load_dataset(str(path)) as file:
            results, _ = suite.run_all(file, ["cf:1.8"])["cf:1.8"]
        errors = {
            message
            for result in results
            if result.weight == 3 and result.value is not True and result.value[0] < result.value[1]
            for message in result.msgs
        }
        assert errors <= ELAPSED, (name, errors - ELAPSED)
        assert bool(errors) == ("time" in ds.variables), name
