"""Contacts with a surface: what a probe says of its contacts decides how they are read, in every conductor."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx

AT = np.array([18.0, 0.0, 50.0])
UP = np.array([0.0, 0.0, 1.0])
MODELS = [
    jfx.PointSource("0.3 S/m"),
    jfx.LineSource((0.3, 0.25, 0.4)),
    jfx.RootAsPoint(),
    jfx.Slab(120.0, bottom=-10.0),
    jfx.OneSphere("0.2 mm", outside=0.05),
]
#: Midpoints of cells of equal area, on a unit disk and along the sides of a square: as many, so kernels compile once.
RING, ANGLE = np.meshgrid(np.sqrt((np.arange(64) + 0.5) / 64), np.pi * np.arange(64) / 32)
DISK = np.c_[(RING * np.cos(ANGLE)).ravel(), (RING * np.sin(ANGLE)).ravel()]
GRID = (np.arange(64) + 0.5) / 32 - 1


@pytest.fixture(scope="module")
def cell():
    z = np.linspace(0.0, 100.0, 6)
    start, end = (np.c_[np.zeros(5), np.zeros(5), part] for part in (z[:-1], z[1:]))
    return jfx.morphology(start, end, 2.0, np.arange(-1, 4))


def close(made, want, tol):
    assert np.shape(made) == np.shape(want)
    assert np.abs(made - want).max() <= tol * np.abs(want).max()


def matrix(cell, probe, model):
    made = jfx.lead_field(cell, probe, model).lead_field.data
    return getattr(made, "magnitude", made)


def spread(shape="disk", size=10.0):
    """Points over a surface in the plane x = 18, of which the plain mean is the reference."""
    s, t = DISK.T if shape == "disk" else (x.ravel() for x in np.meshgrid(GRID, GRID))
    return jfx.probe_at(AT + size * np.c_[0 * s, s, t])


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_a_contact_with_a_radius_and_a_normal_is_a_disk(cell, model):
    disk = jfx.probe_at([AT], radius="10 um", normal=[1, 0, 0])
    made = matrix(cell, disk, model)
    want = matrix(cell, spread(), model).mean(axis=0)
    close(made[0], want, 1e-4)
    point = matrix(cell, jfx.probe_at([AT]), model)
    assert np.abs(made / point - 1).max() > 5e-3
    off = type(model)(**{n: getattr(model, n) for n in ("thickness", "bottom", "radius", "outside")
                         if hasattr(model, n)}, conductivity=model.conductivity, shape="point")  # fmt: skip
    close(matrix(cell, disk, off), point, 1e-14)
    small = jfx.probe_at([AT], radius=1e-4, normal=[1, 0, 0])
    close(matrix(cell, small, model), point, 1e-9)


def test_the_size_is_read_in_any_unit_and_as_an_area(cell):
    disk = jfx.probe_at([AT], radius=10.0, normal=[1, 0, 0])
    want = matrix(cell, disk, None)
    bare = disk.drop_vars("radius")
    for name, value, units in (
        ("radius", 0.01, "mm"),
        ("area", np.pi * 100, "um^2"),
        ("area", np.pi * 1e-4, "mm^2"),
    ):
        other = bare.assign_coords({name: ("contact", [value], {"units": units})})
        close(matrix(cell, other, None), want, 1e-12)


def test_each_contact_has_its_own_shape(cell):
    three = jfx.probe_at(
        AT + [[0, 0, 0], [0, 0, 30], [0, 0, -30]], radius=10.0, normal=[1, 0, 0]
    ).assign_coords(shape=("contact", ["square", "point", "circle"]))
    made = jfx.lead_field(cell, three)
    assert made.lead_field.attrs["contacts"] == "disks and points and squares"
    for k, shape in enumerate(("square", "point", "disk")):
        want = matrix(cell, three.isel(contact=[k]), jfx.LineSource(shape=shape))
        close(made.lead_field.data.magnitude[[k]], want, 1e-14)
    close(made.lead_field.data.magnitude[0],
          matrix(cell, spread("square"), None).mean(axis=0), 1e-3)  # fmt: skip


def test_results_say_what_contacts_were_taken_for(cell):
    i = np.linspace(-1.0, 1.0, 5)[:, None] * np.ones((1, 3))
    currents = jfx.traces(i, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="nA")
    currents = currents.jfne.with_morphology(cell)
    disk = jfx.probe_at([AT], radius=10.0, normal=[1, 0, 0])
    unfaced = jfx.probe_at([AT], radius=10.0)
    for probe, model, said in (
        (disk, None, "disks"),
        (disk, jfx.LineSource(shape="point"), "points"),
        (disk, jfx.LineSource(shape="square"), "squares"),
        (jfx.probe_at([AT], normal=[1, 0, 0]), None, "points"),
        (unfaced, jfx.LineSource(shape="point"), "points"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = jfx.lfp(currents, probe, model)
        assert made.lfp.attrs["contacts"] == said
        assert made.jfne.provenance["steps"][-1]["parameters"]["contacts"] == said
    with pytest.warns(UserWarning, match="radius but no normal, so they are taken as points"):
        made = jfx.lfp(currents, unfaced)
    assert made.lfp.attrs["contacts"] == "points"
    assert "contacts" not in jfx.lfp(currents, disk, lambda s, c: np.ones((1, 5))).lfp.attrs


def test_electrodes_and_coils_of_heads_have_a_size():
    p = np.eye(3)[None].repeat(2, 0)
    dipoles = jfx.move_to(jfx.rotate(_dipoles(p), 0), x=0, y=0, z=[6.0e4, 6.1e4, 6.2e4])
    place, facing = np.array([0.0, 3e3, 8.2e4]), np.array([0.0, 0.0, 1.0])
    s, t = 5e3 * DISK.T
    over = place + np.c_[s, t, 0 * s]
    for name, head in (
        ("eeg", jfx.FourSphere()),
        ("eeg", jfx.InfiniteHomogeneous()),
        ("meg", jfx.InfiniteHomogeneous()),
    ):
        kind = {"normal": facing, "dim": "channel"}
        disk = jfx.probe_at([place], radius="5 mm", **kind)
        sense = getattr(jfx, name)
        made = sense(dipoles, disk, head)[name]
        want = sense(dipoles, jfx.probe_at(over, **kind), head)[name].mean("channel")
        close(made.values[:, 0], want.values, 1e-4)
        assert made.attrs["contacts"] == "disks"
        point = sense(dipoles, disk.drop_vars("radius"), head)[name]
        assert point.attrs["contacts"] == "points"
        assert np.abs(made.values / point.values - 1).max() > 1e-2


def _dipoles(p):
    import xarray as xr

    return xr.Dataset({"dipole_moment": (("time", "unit", "xyz"), p * 1e6, {"units": "nA*um"})})


def test_gradients_in_radius_and_normal(x64, check_derivatives, cell):
    um = {"units": "um"}

    def loss(radius, normal):
        probe = jfx.probe_at([AT]).assign_coords(
            radius=("contact", radius, um),
            **{f"normal_{a}": ("contact", normal[None, k]) for k, a in enumerate("xyz")},
        )
        return (jfx.lead_field(cell, probe, jfx.PointSource()).lead_field.data ** 2).sum()

    check_derivatives(loss, (jnp.array([10.0]), jnp.array([1.0, 0.3, 0.2])), modes=["rev"])


def test_tilted_squares_reach_beyond_a_slab_with_their_corners(cell, refused):
    """Of a square of half side 10 that stands on a corner, the reach is 10 times the root of 2."""
    kind = {"radius": 10.0, "normal": [1.0, 1.0, 1.0]}
    at = np.array([40.0, 0.0, 50.0])
    reach = {"disk": 10 * np.sqrt(2 / 3), "square": 10 * (np.sqrt(1 / 6) + np.sqrt(1 / 2))}
    assert reach["square"] > 10 > reach["disk"]
    for shape, length in reach.items():
        for gap, inside in ((1e-3, True), (-1e-3, False)):
            slab = jfx.Slab(200.0, bottom=-100.0, shape=shape)
            probe = jfx.probe_at([[*at[:2], 100 - length - gap]], **kind)
            if inside:
                assert jfx.lead_field(cell, probe, slab).sizes["contact"] == 1
            else:
                with refused(jfx.ArgumentError, "contact", "1 of 1 outside the slab"):
                    jfx.lead_field(cell, probe, slab)


def test_sizes_and_shapes_that_cannot_be(cell, refused):
    disk = jfx.probe_at([AT, AT + UP * 30], radius=10.0, normal=[1, 0, 0])

    def changed(**coords):
        return disk.assign_coords({n: ("contact", np.array(v)) for n, v in coords.items()})

    um = {"units": "um"}
    for value in (np.nan, -1.0, np.inf):
        bad = disk.assign_coords(radius=("contact", [10.0, value], um))
        with refused(jfx.ArgumentError, "radius", f"{value:g} um at contact 1", "drop_isel"):
            jfx.lead_field(cell, bad)
    with refused(jfx.ArgumentError, "normal", "length 0 at contact 0"):
        jfx.lead_field(cell, changed(normal_x=[0.0, 1.0]))
    with refused(jfx.ArgumentError, "shape", "'ring'"):
        jfx.lead_field(cell, changed(shape=["disk", "ring"]))
    with refused(jfx.UnitError, "radius", "no unit"):
        jfx.lead_field(cell, changed(radius=[1.0, 2.0]))
    with refused(jfx.UnitError, "area", "um^2"):
        bare = disk.drop_vars("radius")
        jfx.lead_field(cell, bare.assign_coords(area=("contact", [1.0, 1.0], um)))


def test_under_jit(cell):
    probe = jfx.probe_at([AT], radius=10.0, normal=[1, 0, 0])

    @jax.jit
    def traced(z):
        moved = probe.assign_coords(z=("contact", z, {"units": "um"}))
        return jfx.lead_field(cell, moved).lead_field.data

    with jax.enable_x64(True):
        close(traced(jnp.array([50.0])), matrix(cell, probe, None), 1e-12)
