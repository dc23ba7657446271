"""`ground_truth_csd`: no current is lost, on every kind of array, in every order of dims."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import units_of

SITES = ("time", "recording", "trial")


def close(a, b, tol):
    assert np.abs(np.asarray(a) - b).max() <= tol * np.abs(b).max()


@pytest.fixture
def currents():
    """Currents (time, recording, trial) of segments, nA, and their ends, um."""
    rng = np.random.default_rng(5)
    n = 30
    start = rng.uniform(-150, 150, (n, 3))
    end = start + rng.normal(0, 60, (n, 3))
    return rng.normal(size=(6, n, 2)), start, end


def segments(i, start, end, dims=SITES, units="nA"):
    ds = xr.Dataset({"i_membrane": (dims, i, {"units": units})})
    ends = {"_start": start, "_end": end, "": (start + end) / 2}
    return ds.assign_coords(
        {
            a + side: ("recording", p[:, k], {"units": "um"})
            for side, p in ends.items()
            for k, a in enumerate("xyz")
        }
    )


EDGES = np.arange(-250, 251, 50.0)


@pytest.mark.slow
@pytest.mark.parametrize("order", list(permutations(SITES)), ids="-".join)
@pytest.mark.parametrize(
    "how",
    [{"bins": EDGES}, {"grid": {"x": EDGES, "y": EDGES[::2], "z": EDGES}}],
    ids=["bins", "grid"],
)
def test_the_truth_conserves_current(backend, order, how, currents):
    i, *ends = currents
    values = np.transpose(i, [SITES.index(d) for d in order])
    made = backend.by_hand(values, order, "nA", "i_membrane").assign_coords(
        segments(i, *ends).coords
    )
    with jax.enable_x64(True):
        truth = jfx.ground_truth_csd(made, **how)
    assert backend.holds(truth.csd)
    assert backend.holds(truth.i_outside)
    assert truth.csd.dims[0] == "time"
    assert truth.csd.dims[2:] == (("depth",) if "bins" in how else ("x", "y", "z"))
    assert (units_of(truth.csd), units_of(truth.i_outside)) == ("uA/mm^3", "nA")
    volume = np.asarray(truth.volume)
    axes = tuple(range(2, 2 + volume.ndim))
    inside = (backend.values(truth.csd) * volume).sum(axis=axes) * 1e-6
    np.testing.assert_allclose(inside + backend.values(truth.i_outside), i.sum(axis=1), atol=1e-10)
    bare = jfx.ground_truth_csd(segments(i, *ends), **how)
    close(backend.values(truth.csd), bare.csd.transpose(*truth.csd.dims).values, 1e-12)


@pytest.mark.slow
def test_the_truth_against_points_along_segments(currents):
    i, start, end = currents
    steps = 20_000
    share = (np.arange(steps) + 0.5) / steps
    depth = start[:, 2] + share[:, None] * (end - start)[:, 2]
    across = (start[:, :2] + share[:, None, None] * (end - start)[:, :2]) - [10.0, -20.0]
    near = np.linalg.norm(across, axis=-1) <= 120.0
    counts = (
        np.stack(
            [np.histogram(depth[:, k][near[:, k]], EDGES)[0] for k in range(len(start))], axis=-1
        )
        / steps
    )
    want = np.einsum("bs,tsk->tkb", counts, i) * 1e6 / (np.pi * 120.0**2 * 50)
    made = jfx.ground_truth_csd(segments(i, start, end), EDGES, radius="120 um", centre=(10, -20))
    close(made.csd.values, want, 1e-3)
    assert made.depth.values.tolist() == ((EDGES[1:] + EDGES[:-1]) / 2).tolist()
    assert made.depth_upper.values.tolist() == EDGES[1:].tolist()
    sideways = jfx.ground_truth_csd(
        segments(i, start[:, [2, 0, 1]], end[:, [2, 0, 1]]),
        EDGES,
        radius=120,
        centre=(10, -20),
        along="x",
    )
    close(sideways.csd.values, made.csd.values, 1e-12)


def test_points_units_and_other_currents(currents):
    i, start, _ = currents
    points = segments(i, start, start).drop_vars([a + s for a in "xyz" for s in ("_start", "_end")])
    made = jfx.ground_truth_csd(points, EDGES)
    np.testing.assert_array_equal(
        made.csd, jfx.ground_truth_csd(segments(i, start, start), EDGES).csd
    )
    smaller = jfx.ground_truth_csd(
        segments(i * 1e3, start, start, units="pA"), [f"{e} um" for e in EDGES]
    )
    close(smaller.csd.values, made.csd.values, 1e-12)
    source = points.rename(i_membrane="source")
    np.testing.assert_array_equal(jfx.ground_truth_csd(source, EDGES).csd, made.csd)
    assert not made.jfne.scope.amplitude_status


@pytest.mark.slow
def test_the_truth_is_differentiable(check_derivatives, currents, x64):
    def loss(i, start, end, bins):
        how = {"bins": EDGES} if bins else {"grid": dict.fromkeys("xyz", EDGES)}
        return (jfx.ground_truth_csd(segments(i, start, end), **how).csd ** 2).sum().data

    arrays = [jnp.asarray(a) for a in currents]
    for bins in (True, False):
        check_derivatives(lambda *a, b=bins: loss(*a, b), arrays, modes=["rev"], rtol=1e-3)


def test_bins_that_cannot_be(refused, currents):
    ds = segments(*currents)
    with refused(jfx.ArgumentError, "neither"):
        jfx.ground_truth_csd(ds)
    for bins in (EDGES[::-1], 10.0, [0.0]):
        with refused(jfx.ArgumentError, "increasing"):
            jfx.ground_truth_csd(ds, bins)
    with refused(jfx.ArgumentError, "along"):
        jfx.ground_truth_csd(ds, grid={"x": EDGES})
    with refused(jfx.UnitError, "mV"):
        jfx.ground_truth_csd(ds, EDGES, radius="1 mV")
    with refused(jfx.DimensionError, "'x'"):
        jfx.ground_truth_csd(ds.drop_vars(["x", "x_start"]), EDGES)
    voltage = ds.rename(i_membrane="v").assign(v=lambda d: d.v.assign_attrs(units="mV"))
    with refused(jfx.VariableError, "voltage is not a source", "from_jaxley"):
        jfx.ground_truth_csd(voltage, EDGES)
