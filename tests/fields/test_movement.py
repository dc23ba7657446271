"""`translate`, `move_to` and `rotate` of cells and probes: rigid, all coordinates together; and rotations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core import registry
from jaxfne_xr.geometry.rotations import rotation

SETS = ("", "_start", "_end")
MODEL = jfx.LineSource("0.3 S/m")
#: Two cells of three segments; the soma is the first of each.
START = np.array([[0.0, 0, 0], [0, 0, 20], [0, 0, 60], [300, 0, 10], [300, 0, 30], [300, 30, 60]])
END = np.array([[0.0, 0, 20], [0, 0, 60], [0, 40, 90], [300, 0, 30], [300, 30, 60], [310, 30, 99]])
CURRENT = np.random.default_rng(0).normal(size=(6, 4))
PROBE = jfx.linear_probe(4, 30.0, origin=(100, 50, -20), radius=6.0, normal=(1, 0.5, 0.2))


def cells():
    cell = jfx.morphology(START, END, [12.0, 2, 1, 12, 2, 1], [-1, 0, 1, -1, 3, 4])
    i = jfx.traces(CURRENT, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="nA")
    return i.jfne.with_morphology(cell)


def xyz(ds, suffix=""):
    return np.stack([ds[a + suffix].values for a in "xyz"], axis=1)


def normals(ds):
    return np.stack([ds[f"normal_{a}"].values for a in "xyz"], axis=1)


def close(made, want, tol=1e-12):
    assert np.shape(made) == np.shape(want)
    assert np.abs(made - np.asarray(want)).max() <= tol * max(np.abs(want).max(), 1e-300)


def potential(ds, probe=PROBE):
    return jfx.lfp(ds, probe, MODEL).lfp.data.magnitude


def matrix(angle, axis="z", to=None):
    return rotation(angle, axis, to, 1)[0]


def by_a_plain_loop(ds, suffix, turn, about):
    """Each position of each segment turned about the point of its cell, one at a time."""
    return np.stack(
        [
            about[u] + turn[u] @ (p - about[u])
            for p, u in zip(xyz(ds, suffix), ds.unit.values, strict=True)
        ]
    )


# -------------------------------------------------------------------------------------------------- positions


def test_translate_moves_all_coordinates_of_each_cell():
    ds = cells()
    for how, per_cell in (
        ({"x": "0.1 mm", "z": -7}, [[100.0, 0, -7]] * 2),
        ({"y": [5, "1 mm"]}, [[0.0, 5, 0], [0, 1000, 0]]),
        ({"y": xr.DataArray([1000.0, 5.0], {"unit": [1, 0]}, attrs={"units": "um"})},
         [[0.0, 5, 0], [0, 1000, 0]]),
        ({"x": [1.0, 2.0], "by": "unit"}, [[1.0, 0, 0], [2, 0, 0]]),
        ({"x": [2.0, 1.0], "by": "soma"}, None),
    ):  # fmt: skip
        moved = jfx.translate(ds, **how)
        if per_cell is None:  # a boolean is sorted too: what is no soma first
            rows = np.where(ds.soma.values[:, None], [[1.0, 0, 0]], [[2.0, 0, 0]])
        else:
            rows = np.array(per_cell)[ds.unit.values]
        for suffix in SETS:
            close(xyz(moved, suffix), xyz(ds, suffix) + rows)
        assert moved.i_membrane.variable.identical(ds.i_membrane.variable)
        assert moved.attrs.keys() == ds.attrs.keys()
    step = jfx.translate(ds, x="0.1 mm").jfne.provenance["steps"][-1]
    assert step == {
        "function": "translate",
        "parameters": {"x_um": 100.0, "y_um": 0.0, "z_um": 0.0},
    }


def test_move_to_puts_the_soma_of_each_cell_in_place():
    ds = cells()
    moved = jfx.move_to(ds, x=[0, 50], z="-0.2 mm")
    close(xyz(moved)[[0, 3]], [[0, 0, -200], [50, 0, -200]])
    for suffix in SETS:
        close(np.diff(xyz(moved, suffix)[:3], axis=0), np.diff(xyz(ds, suffix)[:3], axis=0))
    without = jfx.move_to(ds.drop_vars("soma"), x=0, y=0, z=0)
    assert np.abs(xyz(without)[:3].mean(0)).max() < 1e-12
    shank = jfx.move_to(PROBE, x=0, y=0, z=-500)
    close(xyz(shank), [[0, 0, -500 + 30 * k] for k in range(4)])
    points = ds.drop_vars("unit").rename(recording="unit")[["i_membrane"]]
    points = points.drop_vars([a + s for a in "xyz" for s in SETS[1:]])
    close(jfx.move_to(points, z=np.arange(6.0)).z.values, np.arange(6.0))


def test_rotate_turns_each_cell_about_its_soma():
    ds = cells()
    somata = (xyz(ds)[0], xyz(ds)[3])
    for angle, axis in ((90, "z"), ("0.3 rad", (1, 2, -1)), ([30.0, -45.0], "y")):
        turn = [matrix(a, axis) for a in np.broadcast_to(angle, 2)]
        turned = jfx.rotate(ds, angle, axis)
        for suffix in SETS:
            close(xyz(turned, suffix), by_a_plain_loop(ds, suffix, turn, somata))
    to = np.array([[1.0, 0, 0], [0, -2, 1]])
    turned = jfx.rotate(ds, to=to)
    close(xyz(turned, "_end"), by_a_plain_loop(ds, "_end", rotation(None, "z", to, 2)[0], somata))
    parameters = jfx.rotate(ds, 30).jfne.provenance["steps"][-1]["parameters"]
    assert parameters == {"angle_deg": 30.0, "axis": "z", "origin": "mean position of soma"}


def test_rotate_about_other_points():
    ds = cells()
    turn = [matrix(40, "x")] * 2
    for origin, about in (
        ((1.0, 2, 3), [np.array([1.0, 2, 3])] * 2),
        ("soma", (xyz(ds)[0], xyz(ds)[3])),
    ):
        turned = jfx.rotate(ds, 40, "x", origin=origin)
        close(xyz(turned), by_a_plain_loop(ds, "", turn, about))
    mean = [xyz(ds)[:3].mean(0), xyz(ds)[3:].mean(0)]
    close(xyz(jfx.rotate(ds.drop_vars("soma"), 40, "x")), by_a_plain_loop(ds, "", turn, mean))
    # a population turns as one, point neurons too
    one = ds.assign_coords(population=("recording", list("aaaaaa")))
    whole = [xyz(ds)[[0, 3]].mean(0)] * 2
    close(xyz(jfx.rotate(one, 40, "x", by="population")), by_a_plain_loop(ds, "", turn, whole))


def test_a_probe_turns_with_its_normals():
    turn = matrix(25, (1, 1, 0))
    made = jfx.rotate(PROBE, 25, (1, 1, 0))
    close(xyz(made), xyz(PROBE)[0] + (xyz(PROBE) - xyz(PROBE)[0]) @ turn.T)
    close(normals(made), normals(PROBE) @ turn.T)
    assert made.radius.identical(PROBE.radius.assign_coords(made.coords))
    moved = jfx.translate(PROBE, x=[1, 2, 3, 4])
    close(xyz(moved), xyz(PROBE) + np.array([1.0, 2, 3, 4])[:, None] * [1, 0, 0])
    assert moved.normal_x.identical(PROBE.normal_x.assign_coords(moved.coords))
    two = PROBE.assign_coords(shank=("contact", [0, 0, 1, 1]))
    apart = jfx.rotate(jfx.translate(two, y=[0, 200], by="shank"), [0, 90], "x", by="shank")
    close(xyz(apart), [*xyz(PROBE)[:2], [100, 250, 40], [100, 220, 40]])


# -------------------------------------------------------------------------------------------------- the physics


@given(
    st.tuples(*[st.floats(-400, 400)] * 3),
    st.floats(-360, 360),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
)
def test_what_moves_together_with_its_probe_has_the_same_field(shift, angle, axis):
    ds, by = cells(), dict(zip("xyz", shift, strict=True))
    origin = (10.0, -20.0, 30.0)
    moved, probe = (
        jfx.rotate(jfx.translate(x, **by), angle, axis, origin=origin) for x in (ds, PROBE)
    )
    close(potential(moved, probe), potential(ds), 1e-10)
    back = jfx.translate(
        jfx.rotate(moved, -angle, axis, origin=origin), **{a: -s for a, s in by.items()}
    )
    close(potential(back), potential(ds), 1e-9)


def test_dipoles_turn_as_their_cells():
    """The moment of a turned cell is the turned moment, and its place too if both turn about the same point."""
    i = CURRENT - np.repeat(CURRENT.reshape(2, 3, 4).mean(1), 3, axis=0)
    closed = cells().assign(i_membrane=(("recording", "time"), i, {"units": "nA"}))
    for how in ({"angle": 50, "axis": (1, 2, 3)}, {"to": [[1.0, 1, 0], [0, 0, -1]]}):
        for origin in (None, (5.0, 6.0, 7.0)):
            a = jfx.dipole_moment(jfx.rotate(closed, origin=origin, **how))
            b = jfx.rotate(jfx.dipole_moment(closed), origin=origin, **how)
            close(*(x.dipole_moment.data.magnitude for x in (a, b)), 1e-12)
            if origin:
                close(xyz(a), xyz(b))
    moved = jfx.translate(jfx.dipole_moment(closed), x=[1, 2], z=5)
    close(xyz(moved), xyz(jfx.dipole_moment(closed)) + [[1, 0, 5], [2, 0, 5]])
    single = jfx.dipole_moment(closed, by=None)
    assert jfx.translate(single, z=5).z.ndim == 0
    assert float(jfx.translate(single, z=5).z - single.z) == 5


@pytest.mark.parametrize("to", [(1e-9, 0, -1), (0, 1e-5, -1), (3e-4, -2e-4, -1), (1, 2, -0.1)])
def test_rotations_are_orthogonal_next_to_their_pole(to):
    for backend, tol in ((np.asarray, 1e-14), (lambda x: jnp.asarray(x, "f4"), 1e-6)):
        r = np.asarray(rotation(None, "z", backend(np.array(to, float)), 1)[0], float)
        close(r @ r.T, np.eye(3), tol)
        close(r[:, 2], np.array(to) / np.linalg.norm(to), tol)


def test_gradients(x64, check_derivatives):
    """Of the potential in a displacement, a place, an angle and a direction."""

    def loss(shift, place, angle, to):
        ds = jfx.translate(cells(), x=shift[0], z=shift[1:])
        ds = jfx.rotate(jfx.move_to(ds, y=place), angle, "y")
        probe = jfx.rotate(PROBE, to=to)
        return (jfx.lead_field(ds, probe, jfx.PointSource()).lead_field.data ** 2).sum()

    arguments = (
        jnp.array([3.0, -4, 5]),
        jnp.array([7.0, 9]),
        jnp.array([20.0, 30]),
        jnp.array([0.1, 0.2, 1]),
    )
    check_derivatives(loss, arguments, modes=["rev"])


def test_kinds_of_array(x64):
    ds = jfx.to_jax(cells())
    assert isinstance(jfx.translate(ds, x=jnp.array([1.0, 2.0])).x_start.data, jax.Array)
    assert isinstance(jfx.rotate(ds, 30).x_start.data, np.ndarray)
    for moved in (jfx.translate(ds, x=1), jfx.rotate(ds, 30), jfx.move_to(ds, x=3)):
        assert isinstance(moved.i_membrane.data, jax.Array)


# -------------------------------------------------------------------------------------------------- refused


def test_a_field_of_the_positions_before_is_not_kept(refused):
    lead = jfx.lead_field(cells(), PROBE)
    lfp = jfx.lfp(cells(), PROBE)
    both = jfx.merge([cells().drop_vars([*"xyz"]), lfp.rename({a: f"contact_{a}" for a in "xyz"})])
    for ds, name in ((lead, "lead_field"), (lfp, "lfp"), (both, "lfp")):
        for move in (
            lambda d: jfx.translate(d, x=1),
            lambda d: jfx.rotate(d, 9),
            lambda d: jfx.move_to(d, x=1),
        ):
            with refused(jfx.ArgumentError, f"{name}: found {name}", "are to be moved") as caught:
                move(ds)
            move(eval(caught.value.problems[0].remedy.partition(", and")[0], {"ds": ds}))
    measured = xr.Dataset({"lfp": (("time", "contact"), np.ones((2, 4)), {"units": "uV"})})
    measured = measured.assign_coords(PROBE.coords)
    measured = measured.assign_coords(PROBE.coords)
    measured = measured.assign_coords(time=("time", [0.0, 0.1], {"units": "ms"}))
    for ds in (measured, jfx.concat([measured, measured], "trial"), jfx.psd(measured)):
        assert jfx.translate(ds, x=5).x.values.tolist() == [105.0] * 4


def _one_more(signals, probe):
    at = {name: c.variable for name, c in probe.coords.items()}
    return signals[["V_m"]].isel(unit=0, drop=True).expand_dims(contact=4).assign_coords(at)


@pytest.mark.parametrize("registered", [True, False])
def test_a_field_of_a_users_readout_is_not_kept(registered, refused, monkeypatch):
    def my_field(signals, probe):
        return _one_more(signals, probe).rename(V_m="my_field")

    def closed_field(signals):
        return _one_more(signals, PROBE).rename(V_m="closed_field")

    signals = jfx.traces(np.full((1, 5), -65.0), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    made = []
    try:
        for function in (my_field, closed_field):
            jfx.readout(units="mV", formula="of the probe")(function)
            made.append(jfx.compute_readout(signals, function.__name__, probe=PROBE))
    finally:
        kept = {name: registry.KNOWN.pop(name, None) for name in ("my_field", "closed_field")}
    if registered:
        for name, one in kept.items():
            monkeypatch.setitem(registry.KNOWN, name, one)
    for ds in made:
        ds = ds.rename({f"contact_{a}": a for a in "xyz"} if "contact_x" in ds.coords else {})
        for form in (ds, jfx.merge([PROBE, ds]), jfx.concat([ds, ds], "trial")):
            with refused(jfx.ArgumentError, "_field on a Dataset whose sensors are to be moved"):
                jfx.translate(form, x=5)


@pytest.mark.parametrize("name", ["lfp_proxy", "csd_proxy"])
def test_a_readout_at_a_probe_is_not_kept(name, refused):
    source = np.random.default_rng(1).normal(size=(3, 20))
    signals = jfx.traces(np.full((3, 20), -65.0), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    place = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 9]])
    signals = signals.assign(source=(("unit", "time"), source, {"units": "nA"})).assign_coords(
        {a: ("unit", place[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
    )
    made = jfx.compute_readout(signals, name, probe=PROBE)
    made = made.drop_vars([*"xyz"], errors="ignore")
    with refused(jfx.ArgumentError, f"{name} on a Dataset whose sensors are to be moved"):
        jfx.translate(made, x=5)


def test_what_cannot_be(refused):
    ds = cells()
    with refused(jfx.UnitError, "3 mV"):
        jfx.translate(ds, x="3 mV")
    for bad in (np.nan, [0, np.inf]):
        for move in (jfx.translate, jfx.move_to):
            with refused(jfx.ArgumentError, "x: found", "in um, finite", 'x="50 um"'):
                move(ds, x=bad)
    with refused(jfx.ArgumentError, "angle: found nan deg", "finite"):
        jfx.rotate(ds, np.nan)
    for bad in (np.zeros(3), jnp.zeros(3), jnp.array([np.nan, 0, 1])):
        with refused(jfx.ArgumentError, "to", "a direction, not all 0"):
            jfx.rotate(ds, to=bad)
    with refused(jfx.DimensionError, "the shape (3,)", "one for each of 2 along 'unit'"):
        jfx.translate(ds, x=[1, 2, 3])
    with refused(jfx.DimensionError, "the shape (3,)", "one for each of 2"):
        jfx.rotate(ds, [1, 2, 3])
    with refused(jfx.DimensionError, "no value for unit 1"):
        jfx.translate(ds, x=xr.DataArray([1.0], {"unit": [0]}))
    with refused(jfx.VariableError, "by", "layer"):
        jfx.translate(ds, x=1, by="layer")
    with refused(jfx.DimensionError, "no positions along", "with_morphology"):
        jfx.translate(ds.drop_vars([a + s for a in "xyz" for s in SETS]), x=1)
    depth = PROBE.drop_vars(["x", "y"])
    assert jfx.translate(depth, z=5).z.values[0] == -15
    with refused(jfx.DimensionError, "along x", "['z'] only"):
        jfx.translate(depth, x=5)
    with refused(jfx.DimensionError, "x: found not there"):
        jfx.rotate(depth, 5)
    with refused(jfx.ArgumentError, "origin", "branch"):
        jfx.rotate(ds, 5, origin="branch")
