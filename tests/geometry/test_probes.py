"""Probes: contacts and sensors as Datasets with a place for each."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxfne_xr as jfx
from jaxfne_xr.geometry.positions import check_probe, positions_of

ureg = pint.application_registry
places = st.floats(-1e4, 1e4, allow_subnormal=False)


def xyz(probe):
    return np.stack([probe[a].values for a in "xyz"], axis=1)


# ------------------------------------------------------------------------------------------ what comes back


def test_linear_probe():
    probe = jfx.linear_probe(
        4, "0.1 mm", origin=(1, 2, 3), direction=(0, 3, 4), radius=5, normal=(2, 0, 0), name="tip"
    )
    want = [[1.0, 2 + 100 * k * 3 / 5, 3 + 100 * k * 4 / 5] for k in range(4)]
    np.testing.assert_allclose(xyz(probe), want, rtol=1e-14)
    assert probe.name.values.tolist() == ["tip0", "tip1", "tip2", "tip3"]
    assert probe.radius.values.tolist() == [5.0] * 4
    assert (probe.normal_x.values == 1).all()
    assert not probe.data_vars
    assert {probe[c].attrs["units"] for c in ("x", "y", "z", "radius")} == {"um"}
    assert check_probe(probe) is probe
    assert probe.jfne.provenance["stage"] == "probe"


@pytest.mark.parametrize(
    "spacing", [50, 50.0, "50 um", "0.05 mm", ureg.Quantity(0.05, "mm"), np.float32(50)]
)
def test_a_spacing_takes_a_number_a_text_or_a_quantity(spacing):
    assert jfx.linear_probe(3, spacing).z.values.tolist() == [0, 50, 100]


@pytest.mark.parametrize(
    "spacing", [(20, 30), ["20 um", "0.03 mm"], ureg.Quantity([20, 30], "um"), np.array([20, 30])]
)
def test_grid_probe(spacing):
    probe = jfx.grid_probe((3, 2), spacing, origin=(0, 7, 0))
    want = [[30 * c, 7, 20 * r] for r in range(3) for c in range(2)]
    assert xyz(probe).tolist() == want
    assert probe.row.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert probe.column.values.tolist() == [0, 1] * 3
    facing = np.cross((0, 0, 1), (1, 0, 0))  # rows x columns
    assert [float(probe[f"normal_{a}"][0]) for a in "xyz"] == facing.tolist()


def test_one_spacing_does_for_both():
    assert jfx.grid_probe((2, 2), "20 um").equals(jfx.grid_probe((2, 2), (20, 20)))


def test_probe_at():
    probe = jfx.probe_at(
        [[0, 0, 0], [0, 0, 0.1]], units="mm", name=["a", "b"], dim="channel", radius=[1, 2]
    )
    assert probe.z.dims == ("channel",)
    assert probe.z.values.tolist() == [0, 100]
    assert probe.name.values.tolist() == ["a", "b"]
    assert probe.radius.values.tolist() == [1, 2]
    quantified = jfx.probe_at(ureg.Quantity([[0, 0, 0], [0, 0, 0.1]], "mm"))
    assert quantified.z.values.tolist() == [0, 100]
    radius = jfx.probe_at([[0, 0, 0]], radius=ureg.Quantity([0.01], "mm")).radius
    assert radius.values.tolist() == [10]


def test_a_normal_is_one_for_all_or_one_for_each():
    probe = jfx.probe_at(np.eye(2, 3), normal=[[0, 0, 2], [3, 0, 4]])
    assert [probe[f"normal_{a}"].values.tolist() for a in "xyz"] == [[0, 0.6], [0, 0], [1, 0.8]]


def test_positions_are_not_shared_and_not_changed():
    mine = np.eye(3)
    probe = jfx.probe_at(mine)
    mine[:] = 7
    assert xyz(probe).tolist() == np.eye(3).tolist()


def test_jax_positions_stay_jax_and_are_differentiable():
    def far(positions):
        probe = jfx.probe_at(positions, units="mm")
        assert isinstance(probe.x.variable._data, jax.Array)
        return (positions_of(probe, "contact", "xyz") ** 2).sum()

    positions = jnp.asarray([[0.0, 1, 2], [3, 4, 5]])
    np.testing.assert_allclose(jax.grad(far)(positions), 2e6 * positions, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(far)(positions), 1e6 * 55, rtol=1e-6)


# ---------------------------------------------------------------------------------------- probeinterface


def test_from_probeinterface():
    import probeinterface

    theirs = probeinterface.Probe(ndim=2, si_units="mm")
    theirs.set_contacts(
        positions=[[0, 0], [0.02, 0.05]],
        shapes=["circle", "square"],
        shape_params=[{"radius": 0.01}, {"width": 0.02}],
        shank_ids=["a", "b"],
    )
    theirs.set_contact_ids(["left", "right"])
    probe = jfx.from_probeinterface(theirs)
    np.testing.assert_allclose(xyz(probe), [[0, 0, 0], [20, 0, 50]], atol=1e-12)
    np.testing.assert_allclose(probe.radius, [10, np.sqrt(400 / np.pi)])
    normals = [probe[f"normal_{a}"].values.tolist() for a in "xyz"]
    assert normals == [[0, 0], [-1, -1], [0, 0]]  # the pictures of probeinterface have x and z here
    assert probe.name.values.tolist() == ["left", "right"]
    assert probe.shank.values.tolist() == ["a", "b"]

    solid = probeinterface.Probe(ndim=3)
    across = np.tile(np.eye(2, 3), (3, 1, 1))
    solid.set_contacts(np.eye(3), "rect", {"width": 2, "height": 8}, plane_axes=across)
    nameless = jfx.from_probeinterface(solid)
    assert xyz(nameless).tolist() == np.eye(3).tolist()
    assert "shank" not in nameless.coords
    assert nameless.normal_z.values.tolist() == [1, 1, 1]
    np.testing.assert_allclose(nameless.radius, np.sqrt(16 / np.pi))


def test_only_a_probeinterface_probe_will_do(refused):
    with refused(jfx.ArgumentError, "a dict", "ProbeGroup"):
        jfx.from_probeinterface({})


# ------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: jfx.linear_probe(0), jfx.ArgumentError, "n: found 0"),
        (lambda: jfx.linear_probe(True), jfx.ArgumentError, "n: found True"),
        (lambda: jfx.linear_probe(2.5), jfx.ArgumentError, "whole number, at least 1"),
        (lambda: jfx.linear_probe(3, 0), jfx.ArgumentError, "a positive length"),
        (lambda: jfx.linear_probe(3, -50), jfx.ArgumentError, "-50 um"),
        (lambda: jfx.linear_probe(3, float("nan")), jfx.ArgumentError, "nan um"),
        (lambda: jfx.linear_probe(3, "50 mV"), jfx.UnitError, "spacing"),
        (lambda: jfx.linear_probe(3, "far"), jfx.UnitError, "spacing"),
        (lambda: jfx.linear_probe(3, direction=(0, 0, 0)), jfx.ArgumentError, "not all 0"),
        (lambda: jfx.linear_probe(3, direction=(0, 1)), jfx.ArgumentError, "three finite numbers"),
        (lambda: jfx.linear_probe(3, origin=(0, 0)), jfx.ArgumentError, "origin"),
        (lambda: jfx.linear_probe(3, origin="here"), jfx.UnitError, "origin"),
        (lambda: jfx.linear_probe(3, radius=-1), jfx.ArgumentError, "radius"),
        (lambda: jfx.linear_probe(3, radius="1 mV"), jfx.UnitError, "radius"),
        (lambda: jfx.linear_probe(3, radius=[1, 2]), jfx.DimensionError, "radius"),
        (lambda: jfx.linear_probe(3, radius=[1, 2, -3]), jfx.ArgumentError, "radius"),
        (lambda: jfx.linear_probe(3, normal=(0, 0, 0)), jfx.ArgumentError, "normal"),
        (lambda: jfx.linear_probe(3, normal=np.ones((2, 3))), jfx.DimensionError, "normal"),
        (lambda: jfx.grid_probe((2,)), jfx.ArgumentError, "shape"),
        (lambda: jfx.grid_probe(4), jfx.ArgumentError, "shape"),
        (lambda: jfx.grid_probe((2, 0)), jfx.ArgumentError, "shape"),
        (lambda: jfx.grid_probe((2, 2), (1, 2, 3)), jfx.ArgumentError, "spacing"),
        (lambda: jfx.grid_probe((2, 2), "1 s"), jfx.UnitError, "spacing"),
        (lambda: jfx.probe_at([1, 2, 3]), jfx.DimensionError, "(3,)"),
        (lambda: jfx.probe_at(np.zeros((0, 3))), jfx.DimensionError, "(n, 3), n at least 1"),
        (lambda: jfx.probe_at(np.zeros((4, 2))), jfx.DimensionError, "(4, 2)"),
        (lambda: jfx.probe_at([["a", "b", "c"]]), jfx.ArgumentError, "numbers"),
        (lambda: jfx.probe_at([[1, 2], [3]]), jfx.ArgumentError, "numbers"),
        (lambda: jfx.probe_at([[0, 0, 0]], units="mV"), jfx.UnitError, "'mV'"),
        (lambda: jfx.probe_at([[0, 0, 0]], dim="site"), jfx.ArgumentError, "'site'"),
        (lambda: jfx.probe_at([[0, 0, 0]], name=["a", "b"]), jfx.DimensionError, "1 names"),
        (
            lambda: jfx.probe_at([[0, 0, np.nan]]),
            jfx.ArgumentError,
            "1 not finite, the first at contact 0",
        ),
        (lambda: jfx.probe_at(jnp.array([[0, 0, jnp.inf]])), jfx.ArgumentError, "1 not finite"),
        (
            lambda: jfx.probe_at([[1, 2, 3], [0, 0, 0], [1, 2, 3]]),
            jfx.ArgumentError,
            "contacts 0 and 2 both at (1, 2, 3) um",
        ),
        (lambda: check_probe({"x": 3}), jfx.ArgumentError, "a dict"),
        (lambda: check_probe(xr.Dataset()), jfx.DimensionError, "contact or channel"),
        (
            lambda: check_probe(jfx.linear_probe(3).drop_vars("z")),
            jfx.DimensionError,
            "z: found not there",
        ),
        (
            lambda: check_probe(jfx.linear_probe(3).rename(contact="site")),
            jfx.DimensionError,
            "rename",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(refused, call, error, said):
    with refused(error, said):
        call()


def test_all_problems_are_said_at_once(refused):
    with refused(jfx.DimensionError, "3 problems", "shape (2,)", "'site'", "'mV'"):
        jfx.probe_at([1, 2], dim="site", units="mV")
    bare = jfx.linear_probe(3).drop_vars("x")
    with refused(jfx.DimensionError, "x: found", "z: found"):
        check_probe(bare.assign_coords(z=("contact", [1, 2, 3], {"units": "mV"})))


@pytest.mark.parametrize(("units", "said"), [(None, "no unit"), ("mV", "'mV'")])
def test_a_position_needs_a_unit_of_length(refused, units, said):
    attrs = {} if units is None else {"units": units}
    with refused(jfx.UnitError, said):
        check_probe(jfx.linear_probe(2).assign_coords(z=("contact", [0.0, 1.0], attrs)))


def test_positions_in_another_unit_are_converted():
    probe = jfx.linear_probe(2).assign_coords(z=("contact", [0.0, 1.0], {"units": "mm"}))
    assert positions_of(probe, "contact", "z").ravel().tolist() == [0, 1000]


def test_two_contacts_at_one_place_are_found_whatever_lies_between():
    """Sorted by depth, another contact at the same depth comes between two that differ by rounding."""
    with pytest.raises(jfx.ArgumentError, match="contacts 0 and 2 both at"):
        jfx.probe_at([[0, 0, 0.3], [50, 0, 0.3], [0, 0, 0.1 + 0.2]])


# ------------------------------------------------------------------------------------------------ laws


@given(
    n=st.integers(1, 9),
    step=st.floats(0.1, 1e3),
    origin=arrays(float, 3, elements=places),
    way=arrays(float, 3, elements=places),
)
def test_a_line_is_straight_and_evenly_spaced(n, step, origin, way):
    if np.linalg.norm(way) < 1e-3:
        way = np.array([0.0, 0.0, 1.0])
    p = xyz(jfx.linear_probe(n, step, origin=origin, direction=way))
    assert p[0].tolist() == origin.tolist()
    size = np.abs(p).max() + step
    np.testing.assert_allclose(np.linalg.norm(np.diff(p, axis=0), axis=1), step, atol=1e-12 * size)
    unit = way / np.linalg.norm(way)
    np.testing.assert_allclose(np.diff(p, axis=0) @ unit, step, atol=1e-12 * size)


@given(
    p=arrays(int, (6, 3), elements=st.integers(-9999, 9999), unique=True),
    order=st.permutations(range(6)),
    where=st.integers(0, 5),
)
def test_a_repeated_place_is_found_in_any_order(p, order, where):
    jfx.probe_at(p)
    twice = np.concatenate([p, p[where : where + 1]])
    for turn in itertools.islice(itertools.permutations(order), 3):
        with pytest.raises(jfx.ArgumentError, match="both at"):
            jfx.probe_at(twice[[*turn, 6]])
