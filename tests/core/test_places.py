"""Cells moved by some of their coordinates are found by every function that uses places; legitimate ones are not."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.places import place_disagreement

N = 6
SETS = {"middles": "", "starts": "_start", "ends": "_end"}


def cell(seed=0, *, units=2, scale=20.0, bare=False):
    """Two crooked cells of three segments each; `bare` without areas and diameters, as made by hand."""
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.normal(size=(units, N // units + 1, 3)) * scale, axis=1)
    start, end = points[:, :-1].reshape(-1, 3), points[:, 1:].reshape(-1, 3)
    parent = np.concatenate(
        [[-1, *range(k * N // units, (k + 1) * N // units - 1)] for k in range(units)]
    )
    made = jfx.morphology(start, end, 1.5, parent)
    return made.drop_vars(["membrane_area", "diameter"]) if bare else made


def shifted(ds, which, shift, rows=slice(None)):
    """Move some coordinates of some rows by (3,) um, keeping their units."""
    coords = {}
    for kind in which:
        for a, s in zip("xyz", shift, strict=True):
            x = ds[a + SETS[kind]].values.copy()
            x[rows] += s
            coords[a + SETS[kind]] = ("recording", x, {"units": "um"})
    return ds.assign_coords(coords)


def problems(ds):
    return place_disagreement(ds, "recording")


def fixed(ds):
    """What the remedy makes of the Dataset."""
    (problem,) = problems(ds)
    return eval(problem.remedy, {"jfx": jfx, "ds": ds})


@given(
    st.integers(0, 10_000),
    st.sampled_from(["middles", "starts", "ends", "starts ends", "middles starts", "middles ends"]),
    st.sampled_from([(1.0, 0, 0), (0, 0, 100.0), (-30.0, 7.0, 2000.0), (0, 0.2, 0)]),
    st.booleans(),
    st.booleans(),
)
def test_a_cell_moved_by_some_of_its_coordinates(seed, which, shift, bare, both):
    """All cells or one of them, by little or much, along one axis or three."""
    before = cell(seed, bare=bare)
    rows = slice(None) if both else slice(3, None)
    moved = shifted(before, which.split(), shift, rows)
    (problem,) = problems(moved)
    assert f"of {6 if both else 3} of 6 sites" in problem.found
    assert f"recording {0 if both else 3} first" in problem.found
    assert not problems(shifted(before, SETS, shift, rows))


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("attrs", [{}, {"units": "mV"}])
def test_coordinates_without_a_unit_are_reported_whatever_the_model_reads(which, attrs):
    """As of xarray's arithmetic with ``keep_attrs=False``, or an array of numbers."""
    ds = cell()
    name = "x" + SETS[which]
    moved = ds.assign_coords({name: ("recording", ds[name].values + 100.0, attrs)})
    current = jfx.traces(
        np.ones((2, N)), ("time", "recording"), dt_ms=1.0, name="i_membrane", units="nA"
    ).assign_coords(moved.coords)
    for model in (jfx.PointSource("0.3 S/m"), jfx.LineSource("0.3 S/m")):
        with pytest.raises(jfx.UnitError, match=f"{name}: "):
            jfx.lfp(current, jfx.linear_probe(3, 25.0, origin=(90, 0, 0)), model)
    assert [p.where for p in jfx.validate(current).problems] == [name]
    assert not problems(moved.assign_coords({name: ds[name]}))


def test_the_remedy_moves_all_coordinates():
    """Of middles that were moved; of starts or ends too, where areas say how long segments are."""
    for shift in ((100.0, 0, 0), (0, -30.0, 1.0)):
        for rows in (slice(None), slice(3, None)):
            moved = shifted(cell(), ["middles"], shift, rows)
            want = shifted(cell(), SETS, shift, rows)
            for name in want.coords:
                if name[0] in "xyz":
                    np.testing.assert_allclose(fixed(moved)[name], want[name], atol=1e-3)
    for kind, unit in (("starts", "um"), ("ends", "um"), ("ends", "mm")):
        moved = shifted(cell(), [kind], (200.0, 0, 0))
        if unit == "mm":
            moved = moved.assign_coords(
                x_end=("recording", moved.x_end.values / 1e3, {"units": unit})
            )
        want = shifted(cell(), SETS, (200.0, 0, 0))
        for name in want.coords:
            if name[0] in "xyz":
                np.testing.assert_allclose(fixed(moved)[name], want[name], atol=1e-3)
    turned = cell()
    by_hand = jfx.rotate(turned, 90, "x", origin=(500, 500, 500))
    half = turned.assign_coords({a: by_hand[a].variable for a in "xyz"})
    (problem,) = problems(half)
    assert not problems(eval(problem.remedy.partition(", if")[0], {"ds": half}))


def test_cells_of_one_segment():
    """Moved together; one of them, by more than its length; and on the dim of units."""
    one = cell(units=6)
    assert len(problems(shifted(one, ["middles"], (5.0, 0, 0)))) == 1
    (problem,) = problems(shifted(one, ["middles"], (500.0, 0, 0), [2]))
    assert "1 of 6 sites" in problem.found
    assert "recording 2 first" in problem.found
    points = one.drop_vars("unit").drop_dims("edge").rename(recording="unit")
    moved = points.assign_coords(x=(points.x + 500).assign_attrs(units="um"))
    assert len(place_disagreement(moved, "unit")) == 1


def test_legitimate_middles_are_left_alone():
    for seed in range(5):
        ds = cell(seed)
        small = {
            n: c.astype("f4").assign_attrs(c.attrs) for n, c in ds.coords.items() if c.dtype == "f8"
        }
        for legitimate in (
            ds,
            ds.assign_coords(small),
            jfx.rotate(jfx.translate(ds, z=9e4), 30, (1, 2, 3)),
            jfx.translate(ds.assign_coords(small), x=7e4),
            ds.assign_coords(
                {
                    n: (c.dims, c.values.round(2), c.attrs)
                    for n, c in ds.coords.items()
                    if n[0] in "xyz"
                }
            ),
            ds.assign_coords(
                {a: (ds[a].dims, ds[a].values / 1000, {"units": "mm"}) for a in "xyz"}
            ),
        ):
            assert not problems(legitimate)


@pytest.mark.parametrize("known", [True, False], ids=["with areas", "by hand"])
def test_middles_along_a_curved_path_are_legitimate(known):
    """Half a circle, from which the middle is off by the radius; and a spring, four times as long as its chord."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(N, 3)) * 50
    across = rng.normal(size=(N, 3))
    length = rng.uniform(10, 60, N)
    along = np.cross(across, rng.normal(size=(N, 3)))
    across, along = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (across, along))
    half_circle = length[:, None] / np.pi * across
    end = start + 2 * length[:, None] / np.pi * along
    ds = jfx.morphology(start, end, 2.0, np.arange(-1, N - 1), length=length)
    if not known:
        ds = ds.drop_vars(["membrane_area", "diameter"])
    curved = (start + end) / 2 + half_circle
    ds = ds.assign_coords(
        {a: ("recording", curved[:, k], {"units": "um"}) for k, a in enumerate("xyz")}
    )
    assert not problems(ds)
    assert not problems(jfx.translate(ds, x=100))
    (problem,) = problems(shifted(ds, ["middles"], (0, 0, 400.0)))
    assert "recording" in problem.found


def test_values_that_are_not_finite_and_units():
    for name in ("x", "z_end"):
        x = cell()[name].values.copy()
        x[3] = np.nan
        (problem,) = problems(cell().assign_coords({name: ("recording", x, {"units": "um"})}))
        assert problem.where == name
        assert "recording 3 first: nan" in problem.found
        left = eval(problem.remedy.partition("site out: ")[2], {"ds": cell()})
        assert left.sizes["recording"] == 5
    mm = cell().assign_coords(z=cell().z.assign_attrs(units="mm"))
    assert len(problems(mm)) == 1


def test_what_is_traced_or_incomplete_is_not_checked():
    ds = cell()
    assert not problems(ds.drop_vars("x_end").drop_vars("y_end").drop_vars("z_end"))
    depth = ds.drop_vars([a + s for a in "xy" for s in SETS.values()])
    assert len(problems(depth.assign_coords(z=(depth.z + 50).assign_attrs(units="um")))) == 1

    def traced(x):
        moved = ds.assign_coords(x=("recording", x, {"units": "um"}))
        return jfx.lead_field(
            moved, jfx.linear_probe(2, origin=(900, 0, 0)), jfx.PointSource()
        ).lead_field.data

    assert jax.jit(traced)(jnp.asarray(ds.x.values)).shape == (2, N)


def test_every_function_that_uses_places_finds_it(refused):
    """And a report of what is wrong lists it."""
    i = np.array([1.0, -1, 2, -2, 1, -1])[:, None] * np.ones((1, 3))
    currents = jfx.traces(i, ("recording", "time"), dt_ms=0.1, name="i_membrane", units="nA")
    moved = shifted(currents.jfne.with_morphology(cell()), ["middles"], (100.0, 0, 0))
    probe = jfx.linear_probe(3, origin=(900, 0, 0))
    cap = jfx.probe_at([[0, 0, 9e4]], dim="channel", normal=[1, 0, 0])
    models = (jfx.PointSource(), jfx.LineSource(), jfx.RootAsPoint(), jfx.OneSphere("5 mm"))
    calls = [
        *(lambda m=m: jfx.lead_field(moved, probe, m) for m in models),
        *(lambda m=m: jfx.lfp(moved, probe, m) for m in models),
        lambda: jfx.lfp(moved, probe, jfx.Slab("9 mm", bottom="-4 mm")),
        lambda: jfx.lfp(moved, probe, by="unit"),
        lambda: jfx.dipole_moment(moved),
        lambda: jfx.ground_truth_csd(moved, [-500.0, 0.0, 500.0]),
        lambda: jfx.lfp_proxy(moved.rename(i_membrane="source"), probe),
        lambda: jfx.eeg_proxy(moved.rename(i_membrane="source"), cap),
        lambda: jfx.translate(moved, x=1),
        lambda: jfx.move_to(moved, x=1),
        lambda: jfx.rotate(moved, 10),
        moved.jfne.plot.morphology,
        lambda: jfx.compute_readout(moved, "lfp", probe=probe),
        jfx.validate(moved).raise_problems,
    ]
    for call in calls:
        with refused(jfx.ArgumentError, "moved by some of their coordinates only", "translate("):
            call()
    assert re.fullmatch(r".*translate\(ds.drop_vars\(\['x', 'y', 'z'\]\), x=100\)",
                        jfx.validate(moved).problems[0].remedy)  # fmt: skip
