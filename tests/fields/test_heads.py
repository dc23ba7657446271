"""`eeg`, `meg`, `montage` and the heads: every kind of array, every order of dims, closed forms, LFPykit."""

import sys
from dataclasses import dataclass
from itertools import permutations

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.units import units_of
from jaxfne_xr.fields.heads import TERMS_TRACED
from jaxfne_xr.kernels.fields import heads as kernels

DIMS = ("time", "xyz", "unit", "trial")
RNG = np.random.default_rng(3)
MOMENT = RNG.normal(size=(4, 3, 5, 2)) * 1e6
DIRECTION = RNG.normal(size=(5, 3))
DIRECTION[:, 2] = np.abs(DIRECTION[:, 2])
PLACE = 7.5e4 * DIRECTION / np.linalg.norm(DIRECTION, axis=1, keepdims=True)
SCALP = 9e4 * np.array([[0, 0, 1], [0, 0.6, 0.8], [1, 0, 0], [-0.48, 0.6, 0.64]])
#: Sensors (channel, xyz) of each, and the heads that they have one in.
SENSORS = {"eeg": SCALP, "meg": SCALP * 1.2}
NORMAL = RNG.normal(size=(4, 3))
NORMAL /= np.linalg.norm(NORMAL, axis=1, keepdims=True)
CASES = [
    ("eeg", jfx.InfiniteHomogeneous(0.4)),
    ("eeg", jfx.FourSphere()),
    ("meg", jfx.InfiniteHomogeneous()),
    ("meg", jfx.Spherical()),
    ("meg", jfx.FourSphere()),
]
NAMES = [f"{name}-{type(head).__name__}" for name, head in CASES]


def sensors(name, place=None, dim="channel"):
    place = SENSORS[name] if place is None else place
    return jfx.probe_at(
        place, normal=NORMAL[: len(place)] if name == "meg" else None, dim=dim, name="s"
    )


def placed(ds, place=PLACE):
    return ds.assign_coords(
        {a: ("unit", place[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
    )


def dipoles(moment=MOMENT, dims=DIMS, units="nA*um", place=PLACE):
    return placed(xr.Dataset({"dipole_moment": (dims, moment, {"units": units})}), place)


def compute(name, *args, **settings):
    return getattr(jfx, name)(*args, **settings)


def matrix_of(name, head):
    """Return the lead field in float64, by the head itself."""
    sensor = (SENSORS[name],) if name == "eeg" else (SENSORS[name], NORMAL)
    return getattr(head, f"{name}_lead_field")(PLACE, *sensor)


def close(a, b, tol):
    assert np.abs(np.asarray(a) - b).max() <= tol * np.abs(b).max()


def step(ds):
    return ds.jfne.provenance["steps"][-1]["parameters"]


# ------------------------------------------------------------------------------------------------ every kind


@pytest.mark.parametrize("order", list(permutations(DIMS))[::5], ids="-".join)
@pytest.mark.parametrize(("name", "head"), CASES, ids=NAMES)
def test_every_array_and_order(backend, order, name, head):
    values = np.transpose(MOMENT, [DIMS.index(d) for d in order])
    ds = placed(backend.by_hand(values, order, "nA*um", "dipole_moment"))
    before = ds.copy(deep=True)
    with jax.enable_x64(True):
        made = compute(name, ds, sensors(name), head)
    assert made[name].dims == ("time", "trial", "channel")
    assert backend.holds(made[name])
    assert units_of(made[name]) == {"eeg": "uV", "meg": "fT"}[name]
    close(
        backend.values(made[name]), np.einsum("cxd,txdk->tkc", matrix_of(name, head), MOMENT), 1e-12
    )
    assert made.name.values.tolist() == ["s0", "s1", "s2", "s3"]
    np.testing.assert_array_equal(made.z, SENSORS[name][:, 2])
    assert made.time.identical(ds.time)
    assert ds.identical(before)


@pytest.mark.parametrize(("name", "head"), CASES, ids=NAMES)
def test_float32_is_kept_and_lead_fields_are_float64(name, head):
    made = compute(name, dipoles(MOMENT.astype(np.float32)), sensors(name), head)[name]
    assert made.dtype == np.float32
    close(made.values, compute(name, dipoles(), sensors(name), head)[name].values, 1e-6)


def test_dask_stays_lazy():
    computed = []

    def watched(block):
        computed.append(block.size)
        return block

    data = dask.array.from_array(MOMENT, chunks=(2, -1, -1, -1))
    data = data.map_blocks(watched, dtype=data.dtype, meta=np.empty((0,) * 4))
    made = jfx.eeg(dipoles(data), sensors("eeg"))
    assert sum(computed) == 0
    close(made.eeg.values, jfx.eeg(dipoles(), sensors("eeg")).eeg.values, 1e-12)


# --------------------------------------------------------------------------------------------- right numbers


def test_infinite_medium_in_closed_form():
    d = SCALP[:, None] - PLACE
    r = np.linalg.norm(d, axis=-1)
    potential = np.einsum("txdk,cdx,cd->tkc", MOMENT, d, 1 / (4 * np.pi * 0.4 * r**3)) * 1e3
    close(
        jfx.eeg(dipoles(), sensors("eeg"), jfx.InfiniteHomogeneous("0.4 S/m")).eeg.values,
        potential,
        1e-12,
    )
    d = SENSORS["meg"][:, None] - PLACE
    r = np.linalg.norm(d, axis=-1)
    p = MOMENT.transpose(0, 3, 2, 1)[:, :, None]
    # mu_0 / (4 pi) = 1e-7; 1 nA*um / um^2 = 1e-3 A/m; T to fT
    field = np.cross(p, d) / r[..., None] ** 3 * 1e-7 * 1e-3 * 1e15
    want = np.einsum("tkcdx,cx->tkc", field, NORMAL)
    close(jfx.meg(dipoles(), sensors("meg"), jfx.InfiniteHomogeneous()).meg.values, want, 1e-12)


def test_two_monopoles_are_a_dipole_far_away():
    source = xr.Dataset({"i_membrane": (("time", "recording"), [[1.0, -1.0]], {"units": "nA"})})
    ends = {"x": [3.0, -3.0], "y": [0.0, 0.0], "z": [4.0, -4.0]}
    source = source.assign_coords({a: ("recording", v, {"units": "um"}) for a, v in ends.items()})
    at = np.array([[3e3, 1e3, 4e3], [0.0, 5e3, 5e3]])
    made = jfx.eeg(
        jfx.dipole_moment(source, by=None), sensors("eeg", at), jfx.InfiniteHomogeneous(0.3)
    )
    plus, minus = (np.linalg.norm(at - np.array(p), axis=1) for p in ([3, 0, 4], [-3, 0, -4]))
    close(made.eeg.values[0], (1 / plus - 1 / minus) / (4 * np.pi * 0.3) * 1e3, 1e-5)


def test_four_spheres_are_the_kernels_own():
    radii, sigma = np.array([79e3, 80e3, 85e3, 90e3]), np.array([0.3, 1.5, 0.015, 0.3])
    want = on_arrays(kernels.sphere_lead_field, PLACE, SCALP, radii, sigma, n_terms=600)
    close(jfx.FourSphere().eeg_lead_field(PLACE, SCALP), want, 1e-12)
    moved = jfx.FourSphere(centre=("1 mm", 2000, -3e3))
    shift = np.array([1e3, 2e3, -3e3])
    close(moved.eeg_lead_field(PLACE + shift, SCALP + shift), want, 1e-11)
    nearly = SCALP * np.array([[1.009], [1.005], [1.0], [1.0001]])
    close(jfx.FourSphere().eeg_lead_field(PLACE, nearly), want, 1e-12)


#: Electrodes deep in the brain, at its surface, in fluid, skull and scalp, and on each boundary, um from the centre.
INSIDE = (
    np.array([0.0, 5e4, 7.6e4, 7.9e4, 7.95e4, 8e4, 8.3e4, 8.5e4, 8.8e4])[:, None] * SCALP[[1]] / 9e4
)


def test_electrodes_inside_the_head():
    """In brain, fluid and skull: the kernel, tested in every shell, with terms enough; and limits of the physics."""
    ecog = jfx.probe_at(INSIDE[1:], dim="channel")
    made = jfx.eeg(dipoles(), ecog)
    assert made.attrs["amplitude_status"] == 0  # by-hand moments: the same as on the scalp
    radii, sigma = np.array([79e3, 80e3, 85e3, 90e3]), np.array([0.3, 1.5, 0.015, 0.3])
    want = on_arrays(kernels.sphere_lead_field, PLACE, INSIDE, radii, sigma, n_terms=900)
    close(jfx.FourSphere().eeg_lead_field(PLACE, INSIDE), want, 1e-12)
    # four equal conductors are one, in which the electrode of a dipole at the centre has a closed form
    same = jfx.FourSphere(conductivities=(0.3,) * 4).eeg_lead_field(np.zeros((1, 3)), INSIDE[1:])
    r = np.linalg.norm(INSIDE[1:], axis=1)[:, None]
    close(same[:, :, 0], 1e3 * INSIDE[1:] / (4 * np.pi * 0.3) * (1 / r**3 + 2 / 9e4**3), 1e-12)
    # a very large head is an infinite medium
    large = jfx.FourSphere(radii=[9e9], conductivities=[0.3]).eeg_lead_field(PLACE, INSIDE)
    close(large, jfx.InfiniteHomogeneous(0.3).eeg_lead_field(PLACE, INSIDE), 1e-11)


def test_traced_electrodes_have_enough_terms_or_are_nan():
    """On the scalp and in the skull as without a trace; next to a dipole there would be too few."""
    head = jfx.FourSphere()
    with jax.enable_x64(True):
        traced = jax.jit(lambda x: head.eeg_lead_field(PLACE, x))
        far = np.concatenate([SCALP, INSIDE[6:]])
        close(traced(far), head.eeg_lead_field(PLACE, far), 1e-9)
        deep = PLACE[0] * 7.9e4 / 7.5e4
        near = traced(np.stack([deep, deep, SCALP[0], SCALP[1], *INSIDE[6:]]))
        assert np.isfinite(near[:2, :, 0]).all()
        top = jax.jit(lambda x: head.eeg_lead_field(PLACE * 7.89 / 7.5, x))(deep[None])
        assert np.isnan(top[0, :, 0]).all()


def test_electrodes_at_a_dipole_and_too_near_to_one(refused):
    with refused(jfx.ArgumentError, "sensors", "number 1 at the place of dipole 3"):
        jfx.FourSphere().eeg_lead_field(PLACE, np.stack([SCALP[0], PLACE[3]]))
    with refused(jfx.ArgumentError, "terms are needed"):
        up = np.array([[0, 0, 1.0]])
        jfx.FourSphere().eeg_lead_field(78_990.0 * up, 79_000.0 * up)


@pytest.mark.oracle
def test_electrodes_inside_against_lfpykit():
    from lfpykit.eegmegcalc import FourSphereVolumeConductor

    head = jfx.FourSphere()
    beyond = INSIDE[2:]  # it has none nearer to the centre than the dipole
    lfpykit = FourSphereVolumeConductor(
        beyond, list(head.radii), list(head.conductivities), iter_factor=1e-16
    )
    for k in range(2):
        want = lfpykit.get_transformation_matrix(PLACE[k]) * 1e3
        made = head.eeg_lead_field(PLACE[[k]], beyond)[..., 0]
        close(made, want, 1e-11)


def test_a_homogeneous_sphere_has_its_closed_form():
    """A radial dipole at the centre of one sphere: three times the infinite medium's potential."""
    one = jfx.FourSphere(radii=["90 mm"], conductivities=[0.3])
    made = one.eeg_lead_field(np.zeros((1, 3)), SCALP)
    close(made[:, :, 0], 3 * SCALP / 9e4**3 / (4 * np.pi * 0.3) * 1e3, 1e-12)
    same = jfx.FourSphere(conductivities=(0.3,) * 4)
    close(same.eeg_lead_field(PLACE, SCALP), one.eeg_lead_field(PLACE, SCALP), 1e-11)


def test_radial_dipoles_have_no_magnetic_field():
    radial = dipoles((PLACE.T * np.ones((1, 3, 5)))[..., None])
    strong = jfx.meg(dipoles(MOMENT[:1, :, :, :1]), sensors("meg"), jfx.InfiniteHomogeneous()).meg
    made = jfx.meg(radial, sensors("meg"), jfx.Spherical("90 mm")).meg
    assert np.abs(made.values).max() < 1e-9 * np.abs(strong.values).max()
    # along the radius, return currents make no field: as in the infinite medium
    along = jfx.probe_at(SENSORS["meg"], normal=SENSORS["meg"], dim="channel")
    sphere = jfx.meg(dipoles(), along, jfx.Spherical()).meg.values
    close(sphere, jfx.meg(dipoles(), along, jfx.InfiniteHomogeneous()).meg.values, 1e-9)
    close(jfx.meg(dipoles(), sensors("meg"), jfx.FourSphere()).meg.values,
          jfx.meg(dipoles(), sensors("meg")).meg.values, 1e-12)  # fmt: skip


@given(st.floats(-180, 180), st.sampled_from("xyz"), st.integers(0, 2**31))
def test_laws(angle, axis, seed):
    """Turning dipoles and sensors together changes nothing; signals are linear, and blind to the order of dipoles."""
    p = np.random.default_rng(seed).normal(size=(2, 3, 5, 1)) * 1e6
    ds = dipoles(p)
    rows = xr.Dataset({"dipole_moment": (("xyz", "unit"), np.eye(3), {"units": "nA*um"})})
    turn = jfx.rotate(rows, angle, axis).dipole_moment.values
    turned = jfx.rotate(placed(ds, PLACE @ turn.T), angle, axis)
    order = np.random.default_rng(seed).permutation(5)
    for name, head in CASES:
        want = compute(name, ds, sensors(name), head)[name].values
        at = jfx.probe_at(
            SENSORS[name] @ turn.T, normal=NORMAL @ turn.T if name == "meg" else None, dim="channel"
        )
        close(compute(name, turned, at, head)[name].values, want, 1e-9)
        close(compute(name, ds.isel(unit=order), sensors(name), head)[name].values, want, 1e-12)
        double = ds.assign(dipole_moment=ds.dipole_moment.copy(data=2 * p))
        close(compute(name, double, sensors(name), head)[name].values, 2 * want, 1e-12)


def test_units_are_covariant():
    for name, head in CASES:
        want = compute(name, dipoles(), sensors(name), head)[name].values
        other = dipoles(MOMENT * 1e-15, units="A*m")
        other = other.assign_coords(
            {a: ("unit", other[a].values * 1e-3, {"units": "mm"}) for a in "xyz"}
        )
        close(compute(name, other, sensors(name), head)[name].values, want, 1e-12)
    mm = jfx.FourSphere(
        radii=("7.9 cm", "80 mm", "85 mm", "0.09 m"), conductivities=("3 mS/cm", 1.5, 0.015, 0.3)
    )
    close(mm.eeg_lead_field(PLACE, SCALP), jfx.FourSphere().eeg_lead_field(PLACE, SCALP), 1e-12)


def test_one_dipole_and_one_place_for_all():
    one = xr.Dataset(
        {"dipole_moment": (("xyz", "time"), MOMENT[:, :, 0, 0].T, {"units": "nA*um"})},
        {a: ((), PLACE[0, k], {"units": "um"}) for k, a in enumerate("xyz")},
    )
    want = jfx.eeg(dipoles().isel(unit=[0], trial=0), sensors("eeg")).eeg
    close(jfx.eeg(one, sensors("eeg")).eeg.values, want.values, 1e-12)
    there = jfx.move_to(dipoles(), x=0, y=0, z=7e4)
    scalars = there.drop_vars(list("xyz")).assign_coords(
        {a: ((), p, {"units": "um"}) for a, p in zip("xyz", (0.0, 0.0, 7e4), strict=True)}
    )
    np.testing.assert_array_equal(
        jfx.eeg(scalars, sensors("eeg")).eeg, jfx.eeg(there, sensors("eeg")).eeg
    )
    labelled = one.assign_coords(xyz=["x", "y", "z"]).isel(xyz=[2, 0, 1])
    close(jfx.eeg(labelled, sensors("eeg")).eeg.values, want.values, 1e-12)


# ----------------------------------------------------------------------------------------- given lead fields


def test_a_given_lead_field():
    matrix = matrix_of("eeg", jfx.FourSphere())  # uV/(nA*um) is 1e9 V/(A*m)
    want = jfx.eeg(dipoles(), sensors("eeg")).eeg.values
    bare = jfx.LeadField(matrix * 1e9, "V/(A*m)")
    made = jfx.eeg(dipoles(), head=bare)
    close(made.eeg.values, want, 1e-12)
    assert "name" not in made.coords
    assert jfx.eeg(dipoles(), sensors("eeg"), bare).name.values[0] == "s0"
    named = xr.DataArray(
        matrix.transpose(2, 0, 1)[:, :, [2, 0, 1]],
        dims=("source", "channel", "xyz"),
        coords={"xyz": ["z", "x", "y"], "channel": list("abcd"), "source": np.arange(5)[::-1]},
        attrs={"units": "uV/(nA*um)"},
    )
    made = jfx.eeg(dipoles().drop_vars(list("xyz")), head=jfx.LeadField(named))
    close(made.eeg.values, want, 1e-12)
    assert made.channel.values.tolist() == list("abcd")
    by_label = jfx.eeg(dipoles().assign_coords(unit=np.arange(5)), head=jfx.LeadField(named))
    reversed_ = jfx.eeg(dipoles(MOMENT[:, :, ::-1]), head=bare)
    close(by_label.eeg.values, reversed_.eeg.values, 1e-12)
    tesla = jfx.LeadField(matrix_of("meg", jfx.Spherical()), "fT/(nA*um)")
    close(
        jfx.meg(dipoles(), head=tesla).meg.values,
        jfx.meg(dipoles(), sensors("meg")).meg.values,
        1e-12,
    )


def test_given_lead_fields_that_do_not_fit(refused):
    matrix = matrix_of("eeg", jfx.FourSphere())
    with refused(jfx.UnitError, "no unit"):
        jfx.LeadField(matrix)
    with refused(jfx.DimensionError, "(4, 15)"):
        jfx.LeadField(matrix.reshape(4, 15), "V/(A*m)")
    with refused(jfx.DimensionError, "'a', 'xyz', 'b'"):
        jfx.LeadField(xr.DataArray(matrix, dims=("a", "xyz", "b")))
    with refused(jfx.DimensionError, "4 dipoles for 5"):
        jfx.eeg(dipoles(), head=jfx.LeadField(matrix[..., :4], "V/(A*m)"))
    with refused(jfx.DimensionError, "4 channels"):
        jfx.eeg(dipoles(), sensors("eeg", SCALP[:2]), jfx.LeadField(matrix, "V/(A*m)"))
    with refused(jfx.UnitError, "T/(A*m)"):
        jfx.eeg(dipoles(), head=jfx.LeadField(matrix, "T/(A*m)"))


def test_a_class_of_ones_own():
    @dataclass(frozen=True)
    class Flat:
        gain: float

        def eeg_lead_field(self, dipole, sensor):
            return self.gain * np.ones((len(sensor), 3, len(dipole)))

    made = jfx.eeg(dipoles(), sensors("eeg"), Flat(2.0))
    close(
        made.eeg.values, 2 * np.broadcast_to(MOMENT.sum(axis=(1, 2))[..., None], (4, 2, 4)), 1e-12
    )
    assert made.jfne.scope.field_solver_status == "custom"


# -------------------------------------------------------------------------------------------- differentiable


@pytest.mark.slow
@pytest.mark.parametrize(("name", "head"), CASES, ids=NAMES)
def test_gradients_in_moments_places_sensors_and_numbers(check_derivatives, name, head, x64):
    scale = jnp.asarray(1.0)

    def loss(p, place, at, scale):
        model = jax.tree.map(lambda x: x * scale, head)
        probe = jfx.probe_at(SENSORS[name], normal=NORMAL if name == "meg" else None, dim="channel")
        probe = probe.assign_coords(
            {a: ("channel", at[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
        )
        made = compute(name, dipoles(p * 1e6, place=place * 1e4), probe, model)
        return (made[name] ** 2).sum().data

    arrays = (
        jnp.asarray(MOMENT[:1] / 1e6),
        jnp.asarray(PLACE / 1e4) * 0.9,
        jnp.asarray(SENSORS[name]),
        scale,
    )
    value = jax.jit(loss)(*arrays)
    assert np.isfinite(value)
    relative = lambda p, place, scale: loss(p, place, arrays[2], scale) / value
    check_derivatives(relative, (*arrays[:2], scale), modes=["rev"], rtol=1e-4)


def test_traced_radii_have_enough_terms():
    deepest = (79 / 90) ** np.arange(TERMS_TRACED)
    assert TERMS_TRACED**2 * deepest[-1] < 1e-14

    def loss(radii):
        return jfx.FourSphere(radii=radii).eeg_lead_field(PLACE, SCALP).sum()

    grad = jax.grad(loss)(jnp.array([79e3, 80e3, 85e3, 90e3]))
    assert np.isfinite(grad).all()


def test_jit_and_vmap():
    p = jnp.asarray(MOMENT, jnp.float32)

    def one(p):
        ds = xr.Dataset({"dipole_moment": (("time", "xyz", "unit"), p, {"units": "nA*um"})})
        return jfx.eeg(placed(ds), sensors("eeg")).eeg.data

    made = jax.jit(jax.vmap(one, in_axes=3, out_axes=1))(p)
    close(made, jfx.eeg(dipoles(), sensors("eeg")).eeg.values, 1e-5)


# ---------------------------------------------------------------------------------------------------- honest


def currents(**cable):
    cell = jfx.morphology(
        [[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0], **cable
    )
    v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    return v.jfne.with_morphology(cell).jfne.transmembrane_currents()


def test_scope():
    cell = jfx.move_to(jfx.dipole_moment(currents(), by=None), z="75 mm", x=0, y=0)
    for name, head, status in (
        ("eeg", jfx.FourSphere(), "four_sphere"),
        ("eeg", jfx.InfiniteHomogeneous(), "infinite_homogeneous"),
        ("meg", jfx.Spherical(), "spherical"),
    ):
        physical = compute(name, cell, sensors(name), head).jfne.scope
        assert physical.amplitude_status
        assert physical.source_calibration_status == "transmembrane_current"
        assert physical.field_solver_status == status
        declared = compute(name, dipoles(), sensors(name), head).jfne.scope
        assert not declared.amplitude_status
        assert declared.field_solver_status == status
    given = jfx.eeg(cell, head=jfx.LeadField(np.ones((2, 3, 1)), "V/(A*m)")).jfne.scope
    assert not given.amplitude_status
    assert given.field_solver_status == "given_lead_field"
    # a moment written over by hand is no longer that of the currents' record
    forged = currents().assign(dipole_moment=("xyz", [1.0, 2.0, 3.0], {"units": "nA*um"}))
    forged = jfx.move_to(forged.drop_vars([*"xyz"]), x=0, y=0, z=0)
    assert not jfx.eeg(forged, sensors("eeg")).jfne.scope.amplitude_status


def test_what_is_recorded():
    made = jfx.eeg(dipoles(), sensors("eeg"), jfx.FourSphere())
    record = step(made)
    assert record["model"] == "FourSphere"
    assert record["radii_um"] == [79e3, 80e3, 85e3, 90e3]
    assert record["conductivities_S_per_m"] == [0.3, 1.5, 0.015, 0.3]
    text = repr(jfx.FourSphere())
    for part in ("79000", "0.015", "S/m", "um", "phi ="):
        assert part in text
    seen = []
    jax.jit(lambda head: seen.append(repr(head)))(jfx.InfiniteHomogeneous())
    assert seen[0].startswith(
        "InfiniteHomogeneous(conductivity=traced S/m, min_distance=0 um)\n  phi"
    )
    assert len(jax.tree.leaves(jfx.FourSphere())) == 3
    assert len(jax.tree.leaves(jfx.InfiniteHomogeneous())) == 1


# --------------------------------------------------------------------------------------------------- refused


def test_places_that_cannot_be(refused):
    outside = jfx.move_to(dipoles(), x=0, y=0, z=[1e4, 2e4, 8.1e4, 3e4, 7.95e4])
    with refused(
        jfx.ArgumentError, "2 of 5 outside the brain sphere", "number 2 at 81000 um", "79000 um"
    ):
        jfx.eeg(outside, sensors("eeg"))
    with refused(jfx.ArgumentError, "4 of 4 next to the centre", "90 um", 'units="mm"'):
        jfx.eeg(dipoles(), sensors("eeg", SCALP / 1000))
    with refused(jfx.ArgumentError, "outside the head", "95000 um"):
        jfx.eeg(dipoles(), sensors("eeg", SCALP * 95 / 90))
    with refused(jfx.ArgumentError, "4 of 4 inside the head", "81000 um", "90000 um"):
        jfx.meg(dipoles(), sensors("meg", SCALP * 0.9))
    with refused(jfx.ArgumentError, "outside the conductor", "95000 um"):
        jfx.meg(jfx.move_to(dipoles(), x=0, y=0, z=9.5e4), sensors("meg"))
    with refused(jfx.DimensionError, "'x'", "unit"):
        jfx.eeg(dipoles().drop_vars("x"), sensors("eeg"))
    with refused(jfx.DimensionError, "trial", "unit"):
        jfx.eeg(dipoles().assign_coords(x=("trial", [1.0, 2.0], {"units": "um"})), sensors("eeg"))
    with refused(jfx.UnitError, "no unit"):
        jfx.eeg(dipoles().assign_coords(x=("unit", np.zeros(5))), sensors("eeg"))
    for head in (jfx.FourSphere(), jfx.InfiniteHomogeneous()):
        with refused(jfx.NonFiniteError, "x, y, z", "NaN at index unit=3", "move_to"):
            jfx.eeg(jfx.move_to(dipoles(), x=0, y=[0, 0, 0, np.nan, 0]), sensors("eeg"), head)
    moment = dipoles().isel(unit=0).drop_vars(list("xyz"))
    with refused(jfx.DimensionError, "x, y, z", 'move_to(dipoles, x="0 mm", y="0 mm", z="0 mm")'):
        jfx.eeg(moment, sensors("eeg"))


def test_sensors_that_cannot_be(refused):
    with refused(jfx.DimensionError, "no normals", "normal_x"):
        jfx.meg(dipoles(), sensors("eeg", SENSORS["meg"]))
    with refused(jfx.DimensionError, "'contact'", 'dim="channel"'):
        jfx.eeg(dipoles(), sensors("eeg", dim="contact"))
    with refused(jfx.ArgumentError, "sensors", "montage"):
        jfx.eeg(dipoles())
    with refused(jfx.ArgumentError, "90 um from its centre", 'units="mm"'):
        jfx.eeg(dipoles(), sensors("eeg", SCALP / 1e3))
    zero = sensors("meg").assign_coords(normal_x=("channel", np.zeros(4)), normal_y=("channel", np.zeros(4)),
                                        normal_z=("channel", np.zeros(4)))  # fmt: skip
    with refused(jfx.ArgumentError, "not all 0"):
        jfx.meg(dipoles(), zero)


def test_heads_that_cannot_be(refused):
    with refused(jfx.ArgumentError, "Spherical", "no eeg_lead_field", "FourSphere"):
        jfx.eeg(dipoles(), sensors("eeg"), jfx.Spherical())
    with refused(jfx.ArgumentError, "no eeg_lead_field"):
        jfx.eeg(dipoles(), sensors("eeg"), "four spheres")
    with refused(jfx.ArgumentError, "0 S/m"):
        jfx.InfiniteHomogeneous(0)
    with refused(jfx.ArgumentError, "-0.3 S/m"):
        jfx.InfiniteHomogeneous("-0.3 S/m")
    with refused(jfx.UnitError, "0.3 ohm"):
        jfx.InfiniteHomogeneous("0.3 ohm")
    with refused(jfx.ArgumentError, "increasing outwards", "80000"):
        jfx.FourSphere(radii=(80e3, 79e3, 85e3, 90e3))
    with refused(jfx.ArgumentError, "0.3, 0, 0.015, 0.3"):
        jfx.FourSphere(conductivities=(0.3, 0, 0.015, 0.3))
    with refused(jfx.DimensionError, "4 radii and 3 conductivities"):
        jfx.FourSphere(conductivities=(0.3, 1.5, 0.3))
    with refused(jfx.UnitError, "79 S/m"):
        jfx.FourSphere(radii=("79 S/m", 80e3, 85e3, 90e3))
    with refused(jfx.DimensionError, "(2,)"):
        jfx.Spherical(centre=(0, 0))
    with refused(jfx.ArgumentError, "min_distance", "-3 um"):
        jfx.InfiniteHomogeneous(min_distance="-3 um")
    for nothing in (lambda: jfx.InfiniteHomogeneous(None), lambda: jfx.FourSphere(radii=None)):
        with refused(jfx.UnitError, "None"):
            nothing()
    with refused(jfx.DimensionError, "shape ()"):
        jfx.LeadField("New York", "V/(A*m)")
    with refused(jfx.NonFiniteError, "lead_field", "channel=1"):
        jfx.LeadField(
            np.where(np.arange(2) == 1, np.nan, 1.0)[:, None, None] * np.ones((1, 3, 4)), "V/(A*m)"
        )


def test_three_magnetometers_at_one_place():
    place = np.repeat(SENSORS["meg"][:1], 3, axis=0)
    made = jfx.meg(dipoles(), jfx.probe_at(place, normal=np.eye(3), dim="channel"))
    along = np.array([1.0, -2.0, 2.0]) / 3
    other = jfx.meg(dipoles(), jfx.probe_at(place[:1], normal=along, dim="channel"))
    np.testing.assert_allclose(made.meg.values @ along, other.meg.values[..., 0], rtol=1e-10)


def test_moments_that_cannot_be(refused):
    proxy = xr.Dataset({"source_proxy": (("time", "unit"), np.zeros((3, 2)), {"units": "1"})})
    with refused(jfx.VariableError, "which a voltage or a proxy is not"):
        jfx.eeg(proxy, sensors("eeg"))
    with refused(jfx.UnitError, "mV"):
        jfx.eeg(dipoles(units="mV"), sensors("eeg"))
    bad = MOMENT.copy()
    bad[1, 2, 3, 0] = np.inf
    with refused(jfx.NonFiniteError, "time=1, xyz=2, unit=3"):
        jfx.eeg(dipoles(bad), sensors("eeg"))


# ------------------------------------------------------------------------------------------------ other codes


def test_montage_without_mne(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne", None)
    with refused(jfx.MissingDependencyError, "mne", "jaxfne-xr[mne]"):
        jfx.montage("easycap-M1")


@pytest.mark.oracle
def test_montage(refused):
    import mne

    head = jfx.FourSphere(radii=np.array([79e3, 80e3, 85e3, 90e3]) / 2, centre=(0, 0, 1e4))
    cap = jfx.montage("easycap-M1", head)
    place = {n: cap.isel(channel=i) for i, n in enumerate(cap.name.values)}
    top = place["Cz"]
    np.testing.assert_allclose([top.x, top.y, top.z], [0, 0, 5.5e4], atol=1)
    assert place["T8"].x > 4e4
    assert place["Fpz"].y > 4e4
    made = jfx.eeg(jfx.move_to(dipoles(), x=0, y=0, z=3e4), cap, head)
    assert made.eeg.isel(channel=int(np.flatnonzero(made.name == "Cz")[0])).shape == (4, 2)
    known = mne.channels.get_builtin_montages()
    name = (
        "colin27_1020" if "colin27_1020" in known else "standard_1020"
    )  # what MNE called it before
    both = jfx.montage(name, head)  # T3 is another name of T7
    t3, t7 = (both.isel(channel=int(np.flatnonzero(both.name == n)[0])) for n in ("T3", "T7"))
    assert [float(t3[a]) for a in "xyz"] == [float(t7[a]) for a in "xyz"]
    made = jfx.eeg(jfx.move_to(dipoles(), x=0, y=0, z=3e4), both, head)
    assert made.sizes["channel"] == both.sizes["channel"]
    with refused(jfx.ArgumentError, "'my_cap'", "biosemi64"):
        jfx.montage("my_cap")


@pytest.mark.oracle
def test_against_lfpykit():
    from lfpykit import eegmegcalc

    radii, sigma = [79e3, 80e3, 85e3, 90e3], [0.3, 1.5, 0.015, 0.3]
    # its own default cuts the series at 1e-5
    sphere = eegmegcalc.FourSphereVolumeConductor(SCALP, radii, sigma, iter_factor=1e-16)
    infinite = eegmegcalc.InfiniteVolumeConductor(0.3)
    for k, place in enumerate(PLACE):
        theirs = sphere.get_transformation_matrix(place) * 1e3  # mV to uV
        close(jfx.FourSphere().eeg_lead_field(PLACE[k : k + 1], SCALP)[:, :, 0], theirs, 1e-10)
        theirs = infinite.get_transformation_matrix(SCALP - place) * 1e3
        close(
            jfx.InfiniteHomogeneous().eeg_lead_field(PLACE[k : k + 1], SCALP)[:, :, 0],
            theirs,
            1e-10,
        )
        p = MOMENT[:, :, k, 0].T
        one = dipoles().isel(unit=[k], trial=0)
        field = eegmegcalc.SphericallySymmetricVolCondMEG(SENSORS["meg"]).calculate_H(p, place)
        want = np.einsum("cxt,cx->tc", field, NORMAL) * 4e-7 * np.pi * 1e-3 * 1e15
        close(jfx.meg(one, sensors("meg")).meg.values, want, 1e-9)
