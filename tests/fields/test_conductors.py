"""The forward models: what they accept, refuse, say of themselves, and compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.kernels.fields import homogeneous as kernels
from jaxfne_xr.kernels.fields import slab as slab_kernels

ureg = pint.application_registry
MODELS = [jfx.PointSource, jfx.LineSource, jfx.RootAsPoint]


@pytest.fixture
def cell():
    """Return three segments in the tissue of a slab 300 um thick."""
    start = np.array([[0, 0, 100.0], [0, 0, 120], [10, 5, 150]])
    end = np.array([[0, 0, 120.0], [10, 5, 150], [40, -20, 260]])
    return jfx.morphology(start, end, [12.0, 2.0, 1.0], [-1, 0, 1])


@pytest.fixture
def probe():
    """Return four contacts beside it."""
    return jfx.linear_probe(4, 60.0, origin=(30, 10, 20))


@pytest.fixture
def disks():
    """Return the same contacts with a surface."""
    return jfx.linear_probe(4, 60.0, origin=(30, 10, 20), radius=8.0, normal=(1, 0.5, 0))


def matrix(cell, probe, model):
    return jfx.lead_field(cell, probe, model).lead_field.data.magnitude


def arrays(cell, probe):
    def xyz(ds, end=""):
        return np.stack([ds[a + end].values for a in "xyz"], axis=1)

    return xyz(probe), xyz(cell), xyz(cell, "_start"), xyz(cell, "_end"), cell.diameter.values / 2


def expected(kernel, *args, **options):
    with jax.enable_x64(True):
        return np.asarray(kernel(*(jnp.asarray(a) for a in args), **options))


@pytest.mark.parametrize("sigma", [0.3, (0.3, 0.25, 0.45)], ids=["isotropic", "anisotropic"])
def test_homogeneous_models_are_their_kernels(cell, probe, sigma):
    contact, middle, start, end, r = arrays(cell, probe)
    s, root = np.asarray(sigma), np.array([True, False, False])
    medium = "homogeneous" if s.ndim == 0 else "anisotropic"
    for model, want in (
        (jfx.PointSource(sigma), expected(kernels.point_source, contact, middle, s, r)),
        (jfx.LineSource(sigma), expected(kernels.line_source, contact, start, end, s, r)),
        (jfx.RootAsPoint(sigma), expected(kernels.root_as_point, contact, start, end, root, s, r)),
    ):
        np.testing.assert_allclose(matrix(cell, probe, model), want, rtol=1e-14)
        assert model.solver.endswith(medium)


def test_min_distance(cell):
    near = jfx.probe_at([[0, 0, 110]])
    with pytest.warns(UserWarning, match="1 of 1 contacts"):
        by_radius = matrix(cell, near, jfx.PointSource())
    with pytest.warns(UserWarning, match="1 of 1 contacts"):
        given = matrix(cell, near, jfx.PointSource(min_distance="0.02 mm"))
    assert by_radius[0, 0] == pytest.approx(1000 / (4 * np.pi * 0.3 * 6))
    assert given[0, 0] == pytest.approx(1000 / (4 * np.pi * 0.3 * 20))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["disk", "square"])
@pytest.mark.parametrize("model", [*MODELS, jfx.Slab], ids=lambda m: m.__name__)
def test_shapes_average_over_the_surface(cell, probe, disks, shape, model):
    """Against a fine grid of points on each surface."""
    first = {"thickness": 300.0} if model is jfx.Slab else {}
    made = matrix(cell, disks, model(**first, shape=shape, order=6))
    normal = np.stack([disks[f"normal_{a}"].values for a in "xyz"], axis=1)[0]
    across = np.cross(normal, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    grid = (np.arange(40) + 0.5) / 20 - 1
    s, t = (x.ravel() * 8 for x in np.meshgrid(grid, grid))
    if shape == "disk":
        s, t = s[(inside := s**2 + t**2 <= 64)], t[inside]
    contact = arrays(cell, probe)[0]
    for k in range(4):
        points = contact[k] + s[:, None] * across + t[:, None] * np.array([0, 0, 1.0])
        want = matrix(cell, jfx.probe_at(points), model(**first)).mean(axis=0)
        np.testing.assert_allclose(made[k], want, rtol=2e-3)
    assert np.abs(made / matrix(cell, probe, model(**first)) - 1).max() > 5e-3


def test_shape_needs_a_size(cell, probe, refused):
    with refused(jfx.VariableError, "normal_x", "radius=", 'shape="point"'):
        jfx.lead_field(cell, jfx.linear_probe(3, origin=(50, 0, 0)), jfx.LineSource(shape="disk"))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["line", "point", "root_as_point"])
def test_slab(cell, probe, source):
    contact, middle, start, end, r = arrays(cell, probe)
    model = jfx.Slab("0.3 mm", conductivity=0.3, below=0.05, above="15 mS/cm", source=source)
    n = slab_kernels.image_count(0.3, 0.05, 1.5)
    assert model.images == n
    medium = (300.0, 0.3, 0.05, 1.5, r)
    if source == "point":
        want = expected(slab_kernels.slab_point_source, contact, middle, *medium, images=n)
    else:
        if source == "root_as_point":
            start, end = start.copy(), end.copy()
            start[0] = end[0] = middle[0]
        want = expected(slab_kernels.slab_line_source, contact, start, end, *medium, images=n)
    np.testing.assert_allclose(matrix(cell, probe, model), want, rtol=1e-13)

    up = cell.assign_coords({f"z{e}": cell[f"z{e}"] + 70 for e in ("", "_start", "_end")})
    raised = probe.assign_coords(z=probe.z + 70)
    for ds in (up, raised):
        for name in ("z", "z_start", "z_end"):
            if name in ds:
                ds[name].attrs["units"] = "um"
    moved = jfx.Slab(300.0, below=0.05, bottom="70 um", source=source)
    np.testing.assert_allclose(matrix(up, raised, moved), want, rtol=1e-12)
    assert model.solver == {"point": "point_source_slab", "line": "line_source_slab"}.get(
        source, f"{source}_slab"
    )


@pytest.mark.slow
def test_contacts_on_the_glass_take_the_short_way(cell):
    flat = jfx.grid_probe((2, 3), 40.0, rows=(0, 1, 0), normal=(0, 0, 1), radius=5.0)
    for shape in ("point", "disk"):
        made = matrix(cell, flat, jfx.Slab(300.0, shape=shape))
        lifted = flat.assign_coords(z=("contact", np.full(6, 1e-7), {"units": "um"}))
        np.testing.assert_allclose(
            made, matrix(cell, lifted, jfx.Slab(300.0, shape=shape)), rtol=1e-7
        )


def test_outside_the_slab(cell, probe, disks, refused):
    said = ("contact", "2 of 4 outside", "contact 2 at z = 140", 'Slab("200 um", bottom=0)')
    with refused(jfx.ArgumentError, *said):
        jfx.lead_field(cell.isel(recording=[0]), probe, jfx.Slab(130.0))
    with refused(jfx.ArgumentError, "site", "1 of 3 outside", "site 2"):
        jfx.lead_field(cell, probe.isel(contact=[0]), jfx.Slab(250.0))
    with refused(jfx.ArgumentError, "contact", "1 of 4 outside"):
        lower = disks.assign_coords(z=(disks.z - 16).assign_attrs(units="um"))
        jfx.lead_field(cell, lower, jfx.Slab(300.0))
    assert jfx.lead_field(cell, probe, jfx.Slab(260.0)).sizes["contact"] == 4


def test_the_remedies_of_a_slab_run(cell, probe, disks, refused):
    slab = jfx.Slab(300.0)
    for ds, contacts in (
        (cell, jfx.translate(disks, z=-140.123)),
        (jfx.translate(cell, z=100.456), probe),
    ):
        with refused(jfx.ArgumentError, "outside the slab") as caught:
            jfx.lead_field(ds, contacts, slab)
        larger, _, moved = caught.value.problems[0].remedy.partition(", or move it: ")
        assert ('shape="point"' in moved) == (contacts is not probe)
        names = {"jfx": jfx, "ds": ds, "probe": contacts}
        assert jfx.lead_field(ds, contacts, eval(larger, names)).sizes["contact"] == 4
        made = eval(moved.partition(", or")[0], names)
        pair = (ds, made) if "contact" in made.dims else (made, contacts)
        assert jfx.lead_field(*pair, slab).sizes["contact"] == 4


def test_unused_ends_of_a_root_may_lie_outside_a_slab(probe):
    """The root is a point at its middle, that of a slab of points; the middle has to be inside."""
    root = jfx.morphology([[0, 0, -100.0]], [[0, 0, 300]], 2.0, [-1])
    made = matrix(root, probe, jfx.Slab(250.0, source="root_as_point"))
    want = matrix(root, probe, jfx.Slab(250.0, source="point"))
    np.testing.assert_allclose(made, want, rtol=1e-13)
    for source, low in (("line", 0.0), ("root_as_point", -300.0)):
        with pytest.raises(jfx.ArgumentError, match="1 of 1 outside the slab"):
            jfx.lead_field(jfx.translate(root, z=low), probe, jfx.Slab(250.0, source=source))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"conductivity": 0}, jfx.ArgumentError, "0 S/m"),
        ({"conductivity": -0.3}, jfx.ArgumentError, "more than 0"),
        ({"conductivity": float("nan")}, jfx.ArgumentError, "nan"),
        ({"conductivity": "0.3 um"}, jfx.UnitError, "0.3 um"),
        ({"conductivity": "tissue"}, jfx.UnitError, "tissue"),
        ({"conductivity": (0.3, 0.3)}, jfx.DimensionError, "2 numbers"),
        ({"conductivity": (0.3, 0.3, 0.0)}, jfx.ArgumentError, "conductivity"),
        ({"conductivity": jnp.array([0.3, 0.3])}, jfx.DimensionError, "the shape (2,)"),
        ({"conductivity": None}, jfx.UnitError, "None"),
        ({"conductivity": {"x": 0.3}}, jfx.UnitError, "'x'"),
        ({"min_distance": -1.0}, jfx.ArgumentError, "min_distance"),
        ({"min_distance": "1 mV"}, jfx.UnitError, 'min_distance="50 um"'),
        ({"min_distance": (1.0, 2.0, 3.0)}, jfx.ArgumentError, "several numbers"),
        ({"shape": "ring"}, jfx.ArgumentError, "disk"),
        ({"order": 0}, jfx.ArgumentError, "order"),
    ],
)
def test_parameters_that_are_refused(change, error, said, refused):
    for model in MODELS:
        with refused(error, said):
            model(**change)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"thickness": 0.0}, jfx.ArgumentError, "thickness"),
        ({"thickness": "2 S/m"}, jfx.UnitError, "thickness"),
        ({"above": -1.0}, jfx.ArgumentError, "above"),
        ({"above": 0.0}, jfx.ArgumentError, "no reference"),
        ({"source": "sphere"}, jfx.ArgumentError, "source"),
        ({"thickness": None}, jfx.UnitError, "thickness"),
        ({"images": 0}, jfx.ArgumentError, "images"),
        ({"images": 2.5}, jfx.ArgumentError, "images"),
        ({"conductivity": (0.3, 0.3, 0.3)}, jfx.ArgumentError, "several numbers"),
    ],
)
def test_slabs_that_are_refused(change, error, said, refused):
    with refused(error, said):
        jfx.Slab(**({"thickness": 300.0} | change))


def test_units_are_read():
    for given in ("0.3 S/m", "3 mS/cm", 0.3 * ureg.S / ureg.m, np.float64(0.3), np.array(0.3)):
        assert jfx.PointSource(given).conductivity == pytest.approx(0.3, rel=1e-15)
    for given in (
        np.array([0.3, 0.3, 0.4]),
        ["3 mS/cm", 0.3, 0.4],
        [0.3, 0.3, 0.4] * ureg.S / ureg.m,
    ):
        assert jfx.PointSource(given).conductivity == pytest.approx((0.3, 0.3, 0.4), rel=1e-15)


@pytest.mark.parametrize("model", [*(m() for m in MODELS), jfx.Slab(300.0)], ids=lambda m: m.kind)
def test_sites_that_cannot_be(cell, probe, model, refused):
    def with_(name, value):
        return cell.assign_coords({name: ("recording", value, {"units": "um"})})

    for value in (np.nan, np.inf, -2.0):
        with refused(
            jfx.ArgumentError, "diameter", "1 of 3 sites", "recording 1 first", f"{value}"
        ):
            jfx.lead_field(with_("diameter", [12.0, value, 1.0]), probe, model)
    bad = with_("z" if model.kind == "point" else "z_end", [110.0, 150.0, np.nan])
    with refused(jfx.ArgumentError, "recording 2 first", "nan", "drop_isel(recording=[2])"):
        jfx.lead_field(bad, probe, model)


def test_what_sites_lack(cell, probe, refused):
    points = cell.drop_vars([a + e for a in "xyz" for e in ("_start", "_end")])
    with refused(jfx.DimensionError, "x_start", "PointSource"):
        jfx.lead_field(points, probe)
    with refused(jfx.VariableError, "min_distance"):
        jfx.lead_field(points.drop_vars("diameter"), probe, jfx.PointSource())
    with refused(jfx.VariableError, "root", "'soma'"):
        jfx.lead_field(cell, probe, jfx.RootAsPoint(root="trunk"))
    with refused(jfx.DimensionError, "sites", "assign_coords"):
        jfx.lead_field(points.drop_vars(["x", "y", "z"]), probe, jfx.PointSource())
    bare = points.drop_vars("diameter")
    assert jfx.lead_field(bare, probe, jfx.PointSource(min_distance=5.0)).sizes["contact"] == 4
    middles = cell.drop_vars(["x", "y", "z"])
    np.testing.assert_array_equal(
        matrix(middles, probe, jfx.PointSource()), matrix(cell, probe, jfx.PointSource())
    )


@pytest.mark.parametrize(
    "model", [*(m() for m in MODELS), jfx.Slab(300.0)], ids=lambda m: type(m).__name__
)
def test_models_say_what_they_are(model):
    text = repr(model)
    assert text.startswith(type(model).__name__)
    assert "conductivity=0.3 S/m" in text
    assert "phi = " in text
    record = model.parameters()
    assert record["conductivity_S_per_m"] == 0.3
    assert record["model"] == type(model).__name__
    with pytest.raises(AttributeError):
        model.conductivity = 1.0
    leaves, tree = jax.tree.flatten(model)
    assert jax.tree.unflatten(tree, leaves) == model


# ------------------------------------------------------------------------------------------------------ gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        jfx.PointSource(),
        jfx.LineSource((0.3, 0.2, 0.4), min_distance=40.0),  # within which some contacts are
        jfx.RootAsPoint(),
        jfx.Slab(300.0),
        # means over a disk are the same code for every model
        jfx.PointSource(shape="disk"),
        jfx.LineSource((0.3, 0.2, 0.4), min_distance=40.0, shape="disk"),
    ],
    ids=lambda m: f"{type(m).__name__}-{m.shape}",
)
@pytest.mark.filterwarnings("ignore:.*contacts lie within min_distance:UserWarning")
def test_gradients_in_every_parameter_and_position(cell, probe, disks, check_derivatives, model):
    names = [a + e for a in "xyz" for e in (("",) if model.kind == "point" else ("_start", "_end"))]
    names.append("diameter")
    probe = disks if model.shape else probe

    def loss(model, places, sites):
        ds = cell.assign_coords({n: ("recording", sites[n], {"units": "um"}) for n in names})
        contacts = probe.assign_coords({a: ("contact", places[a], {"units": "um"}) for a in "xyz"})
        return jnp.sum(jfx.lead_field(ds, contacts, model).lead_field.data ** 2)

    with jax.enable_x64(True):
        args = (
            jax.tree.map(jnp.asarray, model),
            {a: jnp.asarray(probe[a].values) for a in "xyz"},
            {n: jnp.asarray(cell[n].values) for n in names},
        )
        check_derivatives(loss, args, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(loss)(*args), loss(*args), rtol=1e-12)


@pytest.mark.slow
def test_gradients_on_a_source_are_finite(cell):
    def loss(z):
        contacts = jfx.probe_at(jnp.stack([jnp.zeros(()), jnp.zeros(()), z])[None])
        return jfx.lead_field(
            cell, contacts, jfx.LineSource(min_distance=0.0)
        ).lead_field.data.sum()

    with jax.enable_x64(True):
        for z in (110.0, 100.0, 120.0):
            assert np.isfinite(jax.grad(loss)(z))


@pytest.mark.slow
def test_a_slab_of_traced_conductivities_needs_a_number_of_images(cell, probe, refused):
    def loss(sigma, images):
        model = jfx.Slab(300.0, conductivity=sigma, images=images)
        return jfx.lead_field(cell, probe, model).lead_field.data.sum()

    with refused(jfx.ArgumentError, "images=21"):
        jax.grad(loss)(0.3, None)
    whole = matrix(cell, probe, jfx.Slab(300.0)).sum()
    with jax.enable_x64(True):
        value, slope = jax.value_and_grad(loss)(0.3, 21)
    assert float(value) == pytest.approx(whole, rel=1e-12)
    assert np.isfinite(slope)
