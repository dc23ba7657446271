"""`dipole_moment`, and its `move_to` and `rotate`: on every kind of array, in every order of dims."""

from itertools import permutations

import dask.array
import jax
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.units import factor, units_of
from jaxfne_xr.fields import dipoles as dipole

DIMS = ("time", "recording", "trial")
UNIT = np.array([3, 3, 1, 1, 1, 3, 1])
RNG = np.random.default_rng(7)
PLACE = RNG.uniform(-200, 200, (7, 3))


def closed(i, axis=1):
    """Return currents that sum to zero in each unit."""
    i = np.moveaxis(np.array(i), axis, 0)
    for unit in set(UNIT):
        i[unit == UNIT] -= i[unit == UNIT].mean(axis=0)
    return np.moveaxis(i, 0, axis)


CURRENT = closed(RNG.normal(size=(5, 7, 2)))


def with_sites(ds, place=PLACE):
    ds = ds.assign_coords(
        {a: ("recording", place[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
    )
    return ds.assign_coords(
        unit=("recording", UNIT),
        population=("recording", np.where(UNIT == 3, "E", "I")),
        branch=("recording", np.arange(7)),
        soma=("recording", np.isin(np.arange(7), [0, 2])),
    )


def currents(i=CURRENT, dims=DIMS, units="nA", place=PLACE):
    return with_sites(xr.Dataset({"i_membrane": (dims, i, {"units": units})}), place)


def moments(i=CURRENT, place=PLACE):
    """Return the moments (time, trial, unit, xyz) of units 1 and 3 by a plain loop."""
    of = [sum(i[:, k, :, None] * place[k] for k in np.flatnonzero(unit == UNIT)) for unit in (1, 3)]
    return np.stack(of, axis=2)


def close(a, b, tol):
    assert np.abs(np.asarray(a) - b).max() <= tol * np.abs(b).max()


def by_hand(moment, dims=("time", "xyz"), units="nA*um", **coords):
    return xr.Dataset({"dipole_moment": (dims, moment, {"units": units})}, coords)


@pytest.mark.slow
@pytest.mark.parametrize("order", list(permutations(DIMS)), ids="-".join)
@pytest.mark.parametrize("few", [True, False])
def test_every_array_and_order(backend, order, few, monkeypatch):
    monkeypatch.setattr(dipole, "FEW_GROUPS", 20 if few else 0)
    values = np.transpose(CURRENT, [DIMS.index(d) for d in order])
    ds = with_sites(backend.by_hand(values, order, "nA", "i_membrane"))
    before = ds.copy(deep=True)
    with jax.enable_x64(True):
        made = jfx.dipole_moment(ds)
    assert made.dipole_moment.dims == ("time", "trial", "xyz", "unit")
    assert backend.holds(made.dipole_moment)
    assert factor(units_of(made.dipole_moment), "nA*um") == 1
    want = np.moveaxis(moments(), 2, 3)
    close(backend.values(made.dipole_moment), want, 1e-12)
    assert made.unit.values.tolist() == [1, 3]
    assert made.xyz.values.tolist() == ["x", "y", "z"]
    assert made.population.values.tolist() == ["I", "E"]
    assert "branch" not in made.coords
    for k, a in enumerate("xyz"):
        np.testing.assert_allclose(made[a], [PLACE[unit == UNIT, k].mean() for unit in (1, 3)])
    assert made.time.identical(ds.time)
    assert ds.identical(before)


def test_groups():
    whole, by = (
        jfx.dipole_moment(currents(), by=None),
        jfx.dipole_moment(currents(), by="population"),
    )
    assert whole.dipole_moment.dims == ("time", "trial", "xyz")
    assert whole.x.ndim == 0
    assert by.dipole_moment.dims == ("time", "trial", "xyz", "population")
    close(by.dipole_moment.sum("population").values, whole.dipole_moment.values, 1e-12)
    np.testing.assert_allclose(by.unit, [3, 1])


def test_float32_cells_far_from_zero_keep_their_digits():
    far = jfx.dipole_moment(currents(CURRENT.astype(np.float32), place=PLACE + 1e5))
    assert far.dipole_moment.dtype == np.float32
    close(far.dipole_moment.values, np.moveaxis(moments(), 2, 3), 1e-5)


def test_units_are_covariant():
    ds = currents(CURRENT * 1e3, units="pA")
    ds = ds.assign_coords(
        {a: ds[a].copy(data=ds[a] * 1e-3).assign_attrs(units="mm") for a in "xyz"}
    )
    close(jfx.dipole_moment(ds).dipole_moment.values, np.moveaxis(moments(), 2, 3), 1e-12)


def test_currents_that_do_not_sum_to_zero_say_so():
    i = CURRENT.copy()
    i[:, 0] += 0.5
    with pytest.warns(
        UserWarning, match=r"unit 3 sum to up to .* depends on the origin, mean position"
    ):
        made = jfx.dipole_moment(currents(i))
    assert made.dipole_moment.attrs["origin"] == "mean position of its sites"
    assert made.jfne.provenance["steps"][-1]["parameters"][
        "largest_current_sum_nA"
    ] == pytest.approx(0.5)
    with pytest.warns(UserWarning, match=r"one point for all \(0, 0, 100\) um"):
        about = jfx.dipole_moment(currents(i), origin=("0 mm", 0, 100))
    close(about.dipole_moment.values, np.moveaxis(moments(i, PLACE - [0, 0, 100]), 2, 3), 1e-12)
    with pytest.warns(UserWarning, match="mean position of soma"):
        soma = jfx.dipole_moment(currents(i), origin="soma")
    np.testing.assert_allclose(soma.x, [PLACE[2, 0], PLACE[0, 0]])


def test_a_moment_that_depends_on_the_origin_claims_no_amplitude():
    start = np.array([[0.0, 0, 0], [0, 0, 20], [0, 0, 120]])
    cell = jfx.morphology(start, start + [0, 0, 20.0], 2.0, [-1, 0, 1])
    v = jfx.traces(np.arange(12.0).reshape(3, 4) ** 2, ("recording", "time"), dt_ms=0.1)
    pulse = xr.DataArray(np.ones(4), dims="time", coords={"compartment_id": 0})
    ds, head = v.jfne.with_morphology(cell), jfx.InfiniteHomogeneous()
    sensor = jfx.probe_at([[0, 0, 9e4]], dim="channel")
    closed = ds.jfne.dipole_moment()
    with pytest.warns(UserWarning, match="depends on the origin"):
        injected = ds.jfne.transmembrane_currents(stimulus=pulse).jfne.dipole_moment()
    assert [jfx.eeg(p, sensor, head).attrs["amplitude_status"] for p in (closed, injected)] == [
        1,
        0,
    ]


def test_dask_stays_lazy():
    computed = []

    def watched(block):
        computed.append(block.size)
        return block

    data = dask.array.from_array(CURRENT, chunks=(2, -1, -1))
    data = data.map_blocks(watched, dtype=data.dtype, meta=np.empty((0, 0, 0)))
    made = jfx.dipole_moment(currents(data))
    turned = jfx.rotate(made, 30, "x")
    assert sum(computed) == 0
    assert isinstance(turned.dipole_moment.data, dask.array.Array)


@given(st.integers(0, 2**31), st.floats(-1e3, 1e3), st.integers(0, 6))
def test_laws(seed, shift, roll):
    i = closed(np.random.default_rng(seed).normal(size=(3, 7, 1)))
    made = jfx.dipole_moment(currents(i)).dipole_moment.values
    moved = jfx.dipole_moment(currents(i, place=PLACE + shift)).dipole_moment.values
    np.testing.assert_allclose(moved, made, atol=1e-9)
    mixed = currents(i).isel(recording=np.roll(np.arange(7), roll))
    np.testing.assert_allclose(jfx.dipole_moment(mixed).dipole_moment.values, made, atol=1e-9)


@pytest.mark.slow
def test_gradients(x64, check_derivatives):
    def loss(i, place):
        ds = jfx.dipole_moment(currents(i, place=place))
        turned = jfx.rotate(jfx.move_to(ds, z=place[0, 2]), to=place[:2])
        return ((turned.dipole_moment**2).sum() * (turned.z**2).sum()).data

    check_derivatives(loss, (CURRENT, PLACE / 100), modes=["rev"])


def test_from_voltages_on_a_cable():
    cell = jfx.morphology(
        [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0]
    )
    v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    ds = v.jfne.with_morphology(cell)
    made = jfx.dipole_moment(ds, by=None)
    i = jfx.transmembrane_currents(ds).i_membrane.data.magnitude
    close(made.dipole_moment.data.magnitude[:, 2], i[0] * 5 + i[1] * 15, 1e-12)
    assert made.jfne.scope.source_calibration_status == "transmembrane_current"
    assert not made.jfne.scope.amplitude_status


def test_moving():
    ds = jfx.dipole_moment(currents())
    moved = jfx.move_to(ds, x=0, y=["1 mm", 20.0], z="78 mm")
    assert moved.dipole_moment.identical(ds.assign_coords(moved.coords).dipole_moment)
    assert (moved.y.values.tolist(), moved.z.values.tolist()) == ([1000, 20], [78000, 78000])
    np.testing.assert_array_equal(jfx.move_to(ds, x=0).z, ds.z)
    one = jfx.move_to(jfx.dipole_moment(currents(), by=None), z=5)
    assert one.z.ndim == 0
    assert moved.jfne.provenance["steps"][-1] == {
        "function": "move_to",
        "parameters": {"x_um": [0.0, 0.0], "y_um": [1000.0, 20.0], "z_um": [78000.0, 78000.0]},
    }


def test_turning(backend):
    values = np.random.default_rng(0).normal(size=(4, 3, 2))
    ds = backend.by_hand(values, ("time", "xyz", "unit"), "nA*um", "dipole_moment")
    c, s = np.cos(0.5), np.sin(0.5)
    matrix = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    with jax.enable_x64(True):
        for axis, m in matrix.items():
            turned = jfx.rotate(ds, "0.5 rad", axis)
            assert turned.dipole_moment.dims == ("time", "xyz", "unit")
            assert backend.holds(turned.dipole_moment)
            close(backend.values(turned.dipole_moment), np.einsum("ij,tju->tiu", m, values), 1e-12)
        there_and_back = jfx.rotate(jfx.rotate(ds, 77, (1, 2, 3)), -77, (1, 2, 3))
        close(backend.values(there_and_back.dipole_moment), values, 1e-12)
        up = np.zeros_like(values)
        up[:, 2] = 2
        up = backend.by_hand(up, ("time", "xyz", "unit"), "nA*um", "dipole_moment")
        to = np.array([[1.0, -2.0, 2.0], [0.0, 0.0, -7.0]])
        turned = backend.values(jfx.rotate(up, to=to).dipole_moment)
    close(turned[0].T, 2 * to / [[3], [7]], 1e-12)


def test_components_are_found_by_name():
    ds = by_hand(np.array([[1.0, 2.0, 3.0]]), xyz=("xyz", ["z", "x", "y"]))
    assert jfx.rotate(ds, 0).dipole_moment.sel(xyz=["x", "y", "z"]).values.tolist() == [[2, 3, 1]]


def test_what_cannot_be(refused):
    with refused(jfx.VariableError, "voltage is not a source"):
        jfx.dipole_moment(
            currents().rename(i_membrane="v").assign(v=lambda d: d.v.assign_attrs(units="mV"))
        )
    with refused(jfx.DimensionError, "'x'"):
        jfx.dipole_moment(currents().drop_vars("x"))
    with refused(jfx.VariableError, "layer"):
        jfx.dipole_moment(currents(), by="layer")
    with refused(jfx.ArgumentError, "branch"):
        jfx.dipole_moment(currents(), origin="branch")
    with refused(jfx.ArgumentError, "no site of 1 of 2"):
        jfx.dipole_moment(
            currents().assign_coords(soma=("recording", np.arange(7) == 0)), origin="soma"
        )
    with refused(jfx.DimensionError, "(2,)"):
        jfx.dipole_moment(currents(), origin=(1, 2))
    ds = jfx.dipole_moment(currents())
    with refused(jfx.UnitError, "mV"):
        jfx.move_to(ds, x="3 mV")
    with refused(jfx.DimensionError, "(3,)"):
        jfx.move_to(ds, x=[1, 2, 3])
    with refused(jfx.ArgumentError, "neither"):
        jfx.rotate(ds)
    with refused(jfx.ArgumentError, "both"):
        jfx.rotate(ds, 3, to=(0, 0, 1))
    with refused(jfx.ArgumentError, "not all 0"):
        jfx.rotate(ds, to=(0, 0, 0))
    with refused(jfx.ArgumentError, "'w'"):
        jfx.rotate(ds, 3, "w")
    with refused(jfx.UnitError, "3 um"):
        jfx.rotate(ds, "3 um")
    with refused(jfx.DimensionError, "no positions along", "no dipole_moment"):
        jfx.rotate(currents().drop_vars([*"xyz"]), 3)
    with refused(jfx.UnitError, "nA"):
        jfx.rotate(by_hand(np.zeros((2, 3)), units="nA"), 3)
    with refused(jfx.DimensionError, "xyz"):
        jfx.rotate(by_hand(np.zeros((2, 4))), 3)


@pytest.mark.oracle
def test_against_lfpykit(agreement):
    import lfpykit

    geometry = {
        a: np.stack([PLACE[:, k] - 5, PLACE[:, k] + 5], axis=1) for k, a in enumerate("xyz")
    }
    cell = lfpykit.CellGeometry(**geometry, d=np.full(7, 1.0))
    matrix = lfpykit.CurrentDipoleMoment(cell).get_transformation_matrix()
    made = jfx.dipole_moment(currents(), by=None).dipole_moment
    want = np.einsum("xs,tsk->tkx", matrix, CURRENT)
    agreement("dipole moment", "LFPykit", made.values, want, 1e-10)
