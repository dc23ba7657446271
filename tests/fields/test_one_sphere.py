"""The sphere as a forward model: its kernel, what it says, what it refuses, and its dipoles as a head for EEG."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.kernels.fields.one_sphere import one_sphere_point_source

CENTRE = np.array([10.0, -20.0, 5.0])
MODEL = jfx.OneSphere(400.0, conductivity=0.3, outside=0.03, centre=tuple(CENTRE))


@pytest.fixture
def cell():
    start = np.array([[0, 0, 100.0], [0, 0, 120], [10, 5, 150]])
    end = np.array([[0, 0, 120.0], [10, 5, 150], [40, -20, 260]])
    return jfx.morphology(start, end, [12.0, 2.0, 1.0], [-1, 0, 1])


@pytest.fixture
def probe():
    return jfx.linear_probe(6, 120.0, origin=(30, 10, 20))


@pytest.fixture
def currents(cell):
    v = np.array([[-65.0, -60.0, -62.0], [-20.0, -50.0, -64.0]])
    ds = jfx.traces(v, ("time", "recording"), dt_ms=0.1).jfne.with_morphology(cell)
    return ds.jfne.transmembrane_currents()


def xyz(ds):
    return np.stack([ds[a].values for a in "xyz"], axis=1)


def close(made, want, tol):
    assert np.shape(made) == np.shape(want)
    assert np.abs(made - want).max() <= tol * np.abs(want).max()


def test_the_lead_field_is_the_kernels(cell, probe):
    made = jfx.lead_field(cell, probe, MODEL).lead_field.data.magnitude
    contact, site = xyz(probe) - CENTRE, xyz(cell) - CENTRE
    assert (np.linalg.norm(contact, axis=1) > 400).any()
    with jax.enable_x64(True):
        numbers = (jnp.asarray(x) for x in (contact, site, 400.0, 0.3, 0.03, cell.diameter / 2))
        close(made, np.asarray(one_sphere_point_source(*numbers)), 1e-14)


def test_equal_conductivities_are_an_infinite_conductor(cell, probe):
    disks = jfx.linear_probe(6, 120.0, origin=(30, 10, 20), radius=8.0, normal=(1, 0.5, 0))
    for contacts in (probe, disks):
        made = jfx.OneSphere(400.0, 0.3, 0.3)
        want = jfx.PointSource(0.3)
        close(
            *(jfx.lead_field(cell, contacts, m).lead_field.data.magnitude for m in (made, want)),
            1e-13,
        )


def test_scope_record_and_words(currents, probe, tmp_path):
    made = currents.jfne.lfp(probe, MODEL)
    assert made.jfne.scope.field_solver_status == "point_source_one_sphere"
    assert made.jfne.scope.amplitude_status
    assert "The field is that of point sources in a sphere inside another conductor." in str(
        made.jfne
    )
    recorded = made.jfne.provenance["steps"][-1]["parameters"]
    assert recorded["model"] == "OneSphere"
    assert (recorded["radius_um"], recorded["outside_S_per_m"]) == (400.0, 0.03)
    assert jfx.open(jfx.to_netcdf(made, tmp_path / "lfp.nc")).identical(made)


def test_a_stored_setting_is_the_model_again(currents, probe):
    from jaxfne_xr.workflow.readouts import restored

    made = jfx.compute_readout(currents, "lfp", probe=probe, model=MODEL)
    stored = made.jfne.provenance["steps"][-1]["parameters"]["settings"]["model"]
    again = restored(stored)
    assert repr(again) == repr(MODEL)
    want = jfx.lfp(currents, probe, MODEL).lfp.data.magnitude
    np.testing.assert_array_equal(jfx.lfp(currents, probe, again).lfp.data.magnitude, want)


def test_a_dipole_is_that_of_one_shell_where_nothing_leaves_the_sphere():
    p = jfx.traces(
        np.array([[0.0, 3e6, 1e7]]), ("time", "xyz"), dt_ms=0.1, name="dipole_moment", units="nA*um"
    )
    p = jfx.move_to(p.assign_coords(xyz=list("xyz")), x=0, y="10 mm", z="70 mm")
    cap = jfx.probe_at([[0, 0, 90], [0, 90, 0], [54, 0, 72]], units="mm", dim="channel")
    shell = jfx.FourSphere(radii=("90 mm",), conductivities=(0.3,))
    made = jfx.eeg(p, cap, jfx.OneSphere("90 mm", 0.3, 1e-9))
    close(made.eeg.data.magnitude, jfx.eeg(p, cap, shell).eeg.data.magnitude, 1e-7)
    assert made.jfne.scope.field_solver_status == "point_source_one_sphere"


def test_a_gradient_in_every_number(currents, probe):
    with jax.enable_x64(True):
        ds = currents.jfne.to_jax()

        def loss(model):
            return (jfx.lfp(ds, probe, model).lfp.data ** 2).sum()

        def at(x):
            return jfx.OneSphere(x[0], x[1], x[2], centre=(x[3], x[4], x[5]))

        x = jnp.array([400.0, 0.3, 0.03, *CENTRE])
        slope = jax.jit(jax.grad(lambda x: loss(at(x))))(x)
        step = 1e-4 * jnp.maximum(abs(x), 0.01)
        value = jax.jit(lambda x: loss(at(x)))
        for k in range(6):
            moved = jnp.zeros(6).at[k].set(step[k])
            rise = (value(x + moved) - value(x - moved)) / (2 * step[k])
            assert abs(slope[k] - rise) <= 1e-5 * abs(rise), k


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"radius": -1.0}, "radius"),
        ({"outside": 0.0}, "outside"),
        ({"conductivity": "3 mV"}, "conductivity"),
        ({"conductivity": (0.3, 0.3, 0.4)}, "conductivity"),
        ({"centre": 5.0}, "centre"),
        ({"centre": (0.0, np.nan, 0.0)}, "centre"),
        ({"shape": "ring"}, "shape"),
    ],
    ids=str,
)
def test_parameters_that_are_refused(change, said):
    with pytest.raises(jfx.JfneError, match=said):
        jfx.OneSphere(**({"radius": 400.0} | change))


def test_sites_outside_the_sphere_are_named(cell, probe, refused):
    with refused(jfx.ArgumentError, "site", "1 of 3 outside the sphere, number 2 at", "OneSphere("):
        jfx.lead_field(cell, probe, jfx.OneSphere(150.0))


@pytest.mark.oracle
def test_it_agrees_with_lfpykit(cell, probe):
    import lfpykit

    far = probe.isel(contact=slice(0, 3))
    middle, contact = xyz(cell)[:1] - CENTRE, xyz(far) - CENTRE
    # LFPykit has its source on the axis of the angle theta
    r0, r = np.linalg.norm(middle), np.linalg.norm(contact, axis=1)
    theta = np.arccos(contact @ middle[0] / (r * r0))
    sphere = lfpykit.OneSphereVolumeConductor(None, np.array([r, theta, 0 * r]), 400.0, 0.3, 0.03)
    want = 1e3 * sphere.calc_potential(rs=float(r0), current=1.0, min_distance=None)  # mV to uV
    made = jfx.lead_field(cell.isel(recording=[0]), far, MODEL).lead_field.data.magnitude[:, 0]
    close(made, want, 1e-12)
