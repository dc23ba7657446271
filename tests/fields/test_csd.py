"""`csd`: every kind of array, every order of dims, closed forms, the kernels' own numbers."""

import re
from itertools import permutations

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.units import units_of
from jaxfne_xr.kernels.fields import csd as kernels
from jaxfne_xr.kernels.fields import kernel_csd as kcsd

N = 12
Z = -1200.0 + 100.0 * np.arange(N)
DIMS = ("time", "contact", "trial")
#: A source above a sink.
DENSITY = np.exp(-((Z + 500) ** 2) / 2 / 150**2) - np.exp(-((Z + 800) ** 2) / 2 / 150**2)
METHODS = ["standard", "delta", "step", "spline", "kernel"]


def forward(method="spline", z=Z, diameter=500.0, sigma=0.3, top=None):
    """Return potentials per density, in float64."""
    given = [np.asarray(z, float), np.asarray(diameter, float), np.asarray(sigma)]
    given += [] if top is None else [np.asarray(float(top))]
    return on_arrays(kernels.icsd_forward, *given, method=method)


def labelled(values, dims=("time", "contact"), units="uV", name="lfp", **coords):
    ds = xr.Dataset({name: (dims, values, {"units": units})}, coords)
    return ds if coords else ds.assign_coords(z=("contact", Z, {"units": "um"}))


def on_probe(values, probe):
    return xr.Dataset({"lfp": (("time", "contact"), values, {"units": "uV"})}, probe.coords)


def parameters(ds):
    return ds.jfne.provenance["steps"][-1]["parameters"]


def close(a, b, tol):
    assert np.abs(np.asarray(a) - b).max() <= tol * np.abs(b).max()


@pytest.fixture
def potential():
    """Potentials (time, contact, trial), uV."""
    weights = np.random.default_rng(2).normal(size=(7, 1, 2))
    return weights * (forward() @ DENSITY)[:, None]


# ------------------------------------------------------------------------------------------------ every kind


@pytest.mark.slow
@pytest.mark.parametrize("order", list(permutations(DIMS)), ids="-".join)
@pytest.mark.parametrize("method", METHODS)
def test_every_array_and_order(backend, order, method, potential):
    want = jfx.csd(labelled(potential, DIMS), method).csd
    values = np.transpose(potential, [DIMS.index(d) for d in order])
    lfp = backend.by_hand(values, order, "uV", "lfp").assign_coords(
        z=("contact", Z, {"units": "um"})
    )
    lfp = lfp.assign_coords(trial=("trial", ["a", "b"]))
    before = lfp.copy(deep=True)
    with jax.enable_x64(True):
        made = jfx.csd(lfp, method)
    assert made.csd.dims[0] == "time"
    assert made.csd.dims[-1] == "contact"
    assert backend.holds(made.csd)
    assert units_of(made.csd) == "uA/mm^3"
    assert made.csd.attrs["sign_convention"] == "source positive"
    assert made.trial.values.tolist() == ["a", "b"]
    close(backend.values(made.csd), want.transpose(*made.csd.dims).values, 1e-9)
    assert made.time.identical(lfp.time)
    assert lfp.identical(before)
    np.testing.assert_array_equal(made.z, lfp.z)


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_kept_and_matrices_are_float64(method, potential):
    exact = jfx.csd(labelled(potential, DIMS), method)
    made = jfx.csd(labelled(potential.astype(np.float32), DIMS), method)
    assert made.csd.dtype == np.float32
    settings = {"kernel": 1e-2}  # another regularisation may be chosen
    close(made.csd.values, exact.csd.values, settings.get(method, 1e-4))


@pytest.mark.parametrize("method", METHODS)
def test_dask_stays_lazy(method, potential):
    computed = []

    def watched(block):
        computed.append(block.size)
        return block

    data = dask.array.from_array(potential, chunks=(2, -1, -1))
    data = data.map_blocks(watched, dtype=data.dtype, meta=np.empty((0, 0, 0)))
    made = jfx.csd(labelled(data, DIMS), method)
    assert sum(computed) == 0
    close(made.csd.values, jfx.csd(labelled(potential, DIMS), method).csd.values, 1e-9)


# --------------------------------------------------------------------------------------------- right numbers


def test_standard_is_minus_the_second_derivative():
    lfp = labelled((1e-4 * Z**2)[None])
    made = jfx.csd(lfp, conductivity="3 mS/cm", ends="drop")
    close(made.csd.values, np.full((1, N - 2), -0.3 * 2e-4 * 1e3), 1e-9)
    assert parameters(made) == {
        "method": "standard",
        "ends": "drop",
        "conductivity_S_per_m": pytest.approx(0.3),
        "spacing_um": 100.0,
        "sign_convention": "source positive",
    }


def test_vaknin_keeps_the_ends(potential):
    lfp = labelled(potential[..., 0])
    made = jfx.csd(lfp)
    assert made.identical(jfx.csd(lfp, ends="vaknin"))
    assert made.sizes["contact"] == N
    close(made.csd.values[:, 1:-1], jfx.csd(lfp, ends="drop").csd.values, 1e-12)


def of_planes(u, radius):
    """Return the potential, per 1/(2 sigma), at a height u over an infinite plane of unit density (per area)."""
    return -np.abs(u)


def of_discs(u, radius):
    """Return the same over the middle of a disc."""
    return np.hypot(u, radius) - np.abs(u)


def of_cylinders(u, radius, h=100.0):
    """Return the same over the middle of a cylinder of unit density (per area, over its height h)."""
    whole = lambda s: (
        (s * np.hypot(s, radius) + radius**2 * np.arcsinh(s / radius) - s * abs(s)) / 2
    )
    return (whole(u + h / 2) - whole(u - h / 2)) / h


@pytest.mark.parametrize("units", [("uV", "um"), ("V", "m"), ("mV", "mm")], ids="-".join)
@pytest.mark.parametrize(
    ("method", "potential_of", "radius"),
    [
        ("standard", of_planes, None),
        ("delta", of_discs, 500.0),
        ("delta", of_discs, np.linspace(300, 700, 21)),
        ("step", of_cylinders, 500.0),
        ("step", of_cylinders, np.linspace(300, 700, 21)),
    ],
    ids=["planes", "discs", "discs of all sizes", "cylinders", "cylinders of all sizes"],
)
def test_elephants_own_cases(method, potential_of, radius, units):
    """A sink, a source and a sink among 21 contacts, in closed form, in units of all kinds."""
    z = np.arange(21) * 100.0
    density = np.zeros(21)
    density[[7, 9, 11]] = -0.5, 1.0, -0.5  # uA/mm^3
    planar = density * 100.0 * 1e-3  # uA/mm^2, which is A/m^2
    phi = potential_of(z[:, None] - z, radius) @ planar / (2 * 0.3)  # um A/m^2 / (S/m) is uV
    volt, metre = (
        {"uV": 1, "mV": 1e-3, "V": 1e-6}[units[0]],
        {"um": 1, "mm": 1e-3, "m": 1e-6}[units[1]],
    )
    lfp = xr.Dataset({"lfp": (("time", "contact"), phi[None] * volt, {"units": units[0]})})
    lfp = lfp.assign_coords(z=("contact", z * metre, {"units": units[1]}))
    made = jfx.csd(lfp, method, **({} if radius is None else {"radius": radius}))
    close(made.csd.values[0], density, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["delta", "step", "spline"])
@pytest.mark.parametrize("top", [None, 0.0, 1.5])
def test_inverse_methods_undo_their_own_forward_model(method, top):
    sizes = np.linspace(200, 800, N)
    depth = 20.0 - Z
    phi = forward(method, depth, 2 * sizes, 0.4, top) @ DENSITY
    given = {} if top is None else {"conductivity_top": top, "surface": "20 um"}
    made = jfx.csd(labelled(phi[None]), method, radius=sizes, conductivity=0.4, **given)
    close(made.csd.values[0], DENSITY, 1e-10)


def test_a_depth_that_grows_downwards():
    phi = forward("step", Z - Z[0] + 60, 500.0, 0.3, 0.0) @ DENSITY
    lfp = labelled(phi[None], depth=("contact", (Z - Z[0] + 60) * 1e-3, {"units": "mm"}))
    made = jfx.csd(lfp, "step", conductivity_top="0 S/m", surface=0)
    close(made.csd.values[0], DENSITY, 1e-10)
    assert parameters(made)["surface_um"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_contacts_does_not_matter(method, potential):
    lfp = labelled(potential[..., 0]).assign_coords(name=("contact", [f"c{i}" for i in range(N)]))
    shuffle = np.random.default_rng(3).permutation(N)
    sorted_, mixed = jfx.csd(lfp, method), jfx.csd(lfp.isel(contact=shuffle), method)
    kept = [name for name in lfp.name.values[shuffle] if name in sorted_.name.values]
    assert mixed.name.values.tolist() == kept
    there = [mixed.name.values.tolist().index(name) for name in sorted_.name.values]
    close(mixed.csd.values[:, there], sorted_.csd.values, 1e-9)
    reverse = jfx.csd(lfp.isel(contact=slice(None, None, -1)), method)
    close(reverse.csd.values[:, ::-1], sorted_.csd.values, 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_line_of_a_tilted_probe(method, potential):
    tilted = jfx.linear_probe(N, 100.0, origin=(50, 20, -900), direction=(1, 2, 2))
    lfp = labelled(potential[..., 0])
    made = jfx.csd(lfp.drop_vars("z").assign_coords(tilted.coords), method)
    close(made.csd.values, jfx.csd(lfp, method).csd.values, 1e-8)
    assert made.name.sizes == made.z.sizes


@pytest.mark.parametrize("method", METHODS)
def test_units_are_covariant(method, potential):
    lfp = labelled(potential[..., 0])
    other = labelled(potential[..., 0] * 1e-3, units="mV", z=("contact", Z * 1e-3, {"units": "mm"}))
    close(
        jfx.csd(other, method).csd.values, jfx.csd(lfp, method, conductivity=0.3).csd.values, 1e-9
    )
    settings = {} if method == "standard" else {"radius": "0.25 mm"}
    with_units = jfx.csd(lfp, method, conductivity="0.003 S/cm", **settings)
    close(with_units.csd.values, jfx.csd(lfp, method).csd.values, 1e-12)


def test_uneven_spacing_works_where_it_can():
    z = np.cumsum(np.random.default_rng(0).uniform(50, 150, N))
    density = np.exp(-((z - 600) ** 2) / 2 / 150**2)
    lfp = labelled((forward(z=z) @ density)[None], z=("contact", z, {"units": "um"}))
    for method, tol in {"delta": 0.2, "step": 0.1, "spline": 1e-10, "kernel": 0.05}.items():
        close(jfx.csd(lfp, method).csd.values[0], density, tol)


@pytest.mark.parametrize("method", ["spline", "kernel"])
def test_elsewhere_than_at_contacts(method, potential):
    lfp = labelled(
        potential[..., 0],
        x=("contact", 0 * Z, {"units": "um"}),
        y=("contact", 0 * Z, {"units": "um"}),
        z=("contact", Z, {"units": "um"}),
    )
    here = jfx.csd(lfp, method)
    there = jfx.csd(lfp, method, at=Z)
    assert there.csd.dims == ("time", "depth")
    np.testing.assert_array_equal(there.depth, Z)
    close(there.csd.values, here.csd.values, 1e-9)
    fine = jfx.csd(lfp, method, at=["-0.7 mm", -650.0])
    assert fine.depth.values.tolist() == [-700, -650]
    probe = jfx.probe_at([[0, 0, -700], [0, 0, -650]], name=["a", "b"])
    as_probe = jfx.csd(lfp, method, at=probe)
    assert as_probe.csd.dims == ("time", "contact")
    assert as_probe.name.values.tolist() == ["a", "b"]
    close(as_probe.csd.values, fine.csd.values, 1e-12)


# ---------------------------------------------------------------------------------------------------- kernel


@pytest.mark.slow
def test_kernel_is_the_kernels_own_with_the_pair_that_leave_one_out_prefers(potential):
    lfp = labelled(potential[..., 0])
    widths, strengths = np.array([80.0, 160.0]), np.array([1e-6, 1e-3, 1e-1])
    made = jfx.csd(lfp, "kernel", width=["80 um", 160], regularisation=strengths, radius=300)
    source = np.arange(Z[0] - 320, Z[-1] + 320 + 79, 80)
    lower, upper = np.array([Z[0] - 320]), np.array([Z[-1] + 320])
    source = on_arrays(
        kcsd.source_grid, lower, upper, shape=(int(np.ceil((upper - lower)[0] / 80)) + 1,)
    )
    place, sigma, extent = Z[:, None], np.array(0.3), np.array(300.0)
    errors = on_arrays(
        kcsd.kcsd_errors, place, source, potential[..., 0].T, widths, strengths, sigma, extent
    )
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    matrix = on_arrays(
        kcsd.kcsd_matrix, place, source, place, widths[i], strengths[j], sigma, extent
    ).matrix
    close(made.csd.values, potential[..., 0] @ matrix.T, 1e-10)
    record = parameters(made)
    assert (record["width_um"], record["regularisation"]) == (widths[i], strengths[j])
    assert record["leave_one_out_uV"] == pytest.approx(errors.min(), rel=1e-8)
    fixed = jfx.csd(lfp, "kernel", width=widths[i], regularisation=strengths[j], radius=300)
    close(fixed.csd.values, made.csd.values, 1e-2)  # with another margin of basis sources


@pytest.mark.slow
def test_kernel_chooses_dims_by_where_contacts_are():
    rng = np.random.default_rng(1)
    flat, thick = jfx.grid_probe((5, 4), (40, 40)), jfx.probe_at(rng.uniform(0, 200, (15, 3)))
    for probe, dims in ((jfx.linear_probe(6), 1), (flat, 2), (thick, 3)):
        n = probe.sizes["contact"]
        lfp = on_probe(rng.normal(size=(3, n)), probe)
        made = jfx.csd(lfp, "kernel", regularisation=1e-2)
        assert parameters(made)["dims"] == dims
        assert made.csd.shape == (3, n)
    column = on_probe(rng.normal(size=(3, 5)), flat.isel(contact=flat.column == 1))
    made = jfx.csd(column, "kernel", dims="z", regularisation=1e-2)
    close(made.csd.values, jfx.csd(column, "kernel", regularisation=1e-2).csd.values, 1e-12)
    lfp = on_probe(rng.normal(size=(3, 20)), flat)
    made = jfx.csd(lfp, "kernel", at=np.array([[60.0, 80.0]]), regularisation=1e-2)
    assert made.csd.dims == ("time", "point")
    assert (made.x.item(), made.z.item()) == (60, 80)
    assert jfx.csd(lfp, "kernel", at=thick, regularisation=1e-2).csd.shape == (3, 15)


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "tol"), [("xz", 0.15), ("xyz", 0.15)])
def test_kernel_finds_a_gaussian_in_2d_and_3d(dims, tol):
    axes = [np.arange(0, 500, 100.0) for _ in dims]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(dims))
    middle, width = np.full((1, len(dims)), 200.0), np.array(100.0)
    extent = [np.array(500.0)] if len(dims) == 2 else []
    phi = on_arrays(kcsd.basis_potential, place, middle, width, np.array(0.3), *extent)[:, 0]
    coords = {a: ("contact", place[:, i], {"units": "um"}) for i, a in enumerate(dims)}
    made = jfx.csd(labelled(phi[None], **coords), "kernel", radius=250)
    density = on_arrays(kcsd.basis_density, place, middle, width)[:, 0]
    close(made.csd.values[0], density, tol)


def gaussian(dims, width, counts, spacing=100.0):
    """Return potentials at a grid of contacts, and the density there, of a Gaussian in its middle."""
    axes = [np.arange(counts) * spacing for _ in dims]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(dims))
    middle = np.full((1, len(dims)), (counts - 1) * spacing / 2 + 17.0)
    extent = {1: [np.array(250.0)], 2: [np.array(500.0)], 3: []}[len(dims)]
    width = np.array(width)
    phi = on_arrays(kcsd.basis_potential, place, middle, width, np.array(0.3), *extent)[:, 0]
    coords = {a: ("contact", place[:, i], {"units": "um"}) for i, a in enumerate(dims)}
    return labelled(phi[None], **coords), on_arrays(kcsd.basis_density, place, middle, width)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("dims", ["z", "xyz"])
def test_the_width_is_chosen_by_how_smooth_the_density_is(dims):
    for width, chosen in ((60.0, 100.0), (280.0, 200.0)):
        lfp, density = gaussian(dims, width, {1: 12, 2: 6, 3: 5}[len(dims)])
        made = jfx.csd(lfp, "kernel", radius=250, dims=dims)
        assert parameters(made)["width_um"] == pytest.approx(chosen)
        errors = [
            np.abs(
                jfx.csd(lfp, "kernel", radius=250, dims=dims, width=w).csd.values - density
            ).max()
            for w in (100.0, 200.0)
        ]
        error = np.abs(made.csd.values - density).max()
        assert error <= 1.1 * min(errors)  # the margin of basis sources differs
        assert error <= 0.5 * max(errors)
    fixed = jfx.csd(lfp, "kernel", radius=250, dims=dims, regularisation=1e-3)
    assert parameters(fixed)["width_um"] == [pytest.approx(100.0)]


@pytest.mark.slow
@pytest.mark.parametrize("dims", ["z", "xz", "xyz"])
def test_basis_sources_may_be_counted(dims):
    lfp, _ = gaussian(dims, 120.0, {1: 12, 2: 6, 3: 4}[len(dims)])
    settings = {"radius": 250, "dims": dims, "width": 120.0, "regularisation": 1e-6}
    made = {n: jfx.csd(lfp, "kernel", n_sources=n, **settings) for n in (1000, 3000)}
    for number, ds in made.items():
        assert 0.4 * number < parameters(ds)["basis_sources"] <= number
    close(made[1000].csd.values, made[3000].csd.values, 1e-2)
    close(jfx.csd(lfp, "kernel", **settings).csd.values, made[3000].csd.values, 1e-2)


@pytest.mark.slow
def test_as_many_basis_sources_as_narrow_widths_need():
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*[np.linspace(50, 950, 5)] * 3, indexing="ij"), axis=-1)
    probe = jfx.probe_at(place.reshape(-1, 3)[::5])
    lfp = on_probe(rng.normal(size=(3, 25)), probe)
    widths = np.array([100.0, 250.0, 500.0]) / 3
    settings = {"dims": "xyz", "basis": "step", "regularisation": 1e-3}
    assert parameters(jfx.csd(lfp, "kernel", width=widths, **settings))["basis_sources"] > 20_000
    few = jfx.csd(lfp, "kernel", width=widths, n_sources=1000, **settings)
    assert 500 < parameters(few)["basis_sources"] <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"width": 0.01}, {"width": 1.0, "dims": "xz"}])
def test_too_many_basis_sources_are_refused_with_what_they_take(refused, settings):
    probe = jfx.grid_probe((10, 6), (100, 100))
    lfp = on_probe(np.random.default_rng(0).normal(size=(2, 60)), probe)
    lfp = lfp if "dims" in settings else lfp.isel(contact=probe.column == 0)
    settings |= {"regularisation": 1e-2}
    with refused(jfx.ArgumentError, "basis sources", "GB", " s;", "n_sources=") as caught:
        jfx.csd(lfp, "kernel", **settings)
    remedy = caught.value.problems[0].remedy.split(",")[0]
    made = eval(f"jfx.csd(lfp, 'kernel', {remedy}, **settings)", globals() | locals())
    assert np.isfinite(made.csd.values).all()


# -------------------------------------------------------------------------------------------- differentiable


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_gradients_in_potential_and_numbers(check_derivatives, method, potential, x64):
    phi = jnp.asarray(potential[:3, :, 0])
    settings = {"regularisation": 1e-3} if method == "kernel" else {}

    def energy(phi, sigma, scale):
        if method == "kernel":
            lfp = labelled(phi)
        else:
            lfp = labelled(phi, z=("contact", jnp.asarray(Z) * scale, {"units": "um"}))
        return (jfx.csd(lfp, method, conductivity=sigma, **settings).csd ** 2).sum().data

    check_derivatives(energy, (phi, 0.3, 1.0), modes=["rev"], rtol=1e-4)


@pytest.mark.slow
def test_jit_and_vmap_with_a_lambda_that_is_chosen(potential):
    values = jnp.asarray(potential, jnp.float32)

    def one(phi):
        return jfx.csd(labelled(phi), "kernel").csd.data

    made = jax.jit(jax.vmap(one, in_axes=2, out_axes=2))(values)
    want = [
        jfx.csd(labelled(potential[..., k]), "kernel", regularisation=1e-5).csd.values
        for k in range(2)
    ]
    close(made, np.stack(want, axis=-1), 0.1)
    grad = jax.grad(lambda phi: (one(phi) ** 2).sum())(values[..., 0])
    assert np.isfinite(grad).all()


# --------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("error", "settings", "said"),
    [
        (jfx.ArgumentError, {"method": "laplace"}, ["'laplace'", "spline"]),
        (jfx.ArgumentError, {"radius": 100}, ["radius", "standard"]),
        (jfx.ArgumentError, {"conductivity": 0}, ["0 S/m", "positive"]),
        (jfx.ArgumentError, {"conductivity": -0.3}, ["-0.3 S/m"]),
        (jfx.UnitError, {"conductivity": "0.3 ohm"}, ["0.3 ohm", "S/m"]),
        (jfx.ArgumentError, {"ends": "mirror"}, ["mirror", "vaknin"]),
        (jfx.ArgumentError, {"method": "step", "ends": "drop"}, ["ends", "step"]),
        (jfx.ArgumentError, {"method": "step", "radius": -1}, ["positive"]),
        (jfx.UnitError, {"method": "step", "radius": "250 mV"}, ["250 mV"]),
        (jfx.DimensionError, {"method": "step", "radius": [1.0, 2.0]}, ["(2,)", "12"]),
        (jfx.ArgumentError, {"method": "step", "surface": 0}, ["conductivity_top"]),
        (jfx.ArgumentError, {"method": "step", "conductivity_top": -1}, ["-1 S/m"]),
        (
            jfx.ArgumentError,
            {"method": "step", "conductivity_top": 0, "surface": -150},
            ["contacts beyond it", "50 um"],
        ),
        (jfx.ArgumentError, {"method": "kernel", "regularisation": 0}, ["positive"]),
        (jfx.ArgumentError, {"method": "kernel", "width": "0.01 um"}, ["basis sources", "width"]),
        (jfx.ArgumentError, {"method": "kernel", "n_sources": 11}, ["n_sources", "11", "12"]),
        (jfx.ArgumentError, {"method": "kernel", "n_sources": 50.0}, ["n_sources", "50.0"]),
        (jfx.ArgumentError, {"method": "kernel", "n_sources": True}, ["n_sources", "True"]),
        (jfx.ArgumentError, {"method": "step", "n_sources": 50}, ["n_sources", "step"]),
        (jfx.ArgumentError, {"method": "kernel", "dims": "zz"}, ["x, y and z"]),
        (jfx.DimensionError, {"method": "kernel", "dims": "x"}, ["'x'"]),
        (jfx.DimensionError, {"method": "kernel", "at": [[1.0, 2.0]]}, ["(1, 2)"]),
    ],
)
def test_settings_that_cannot_be(refused, potential, error, settings, said):
    with refused(error, *said):
        jfx.csd(labelled(potential[..., 0]), **settings)


def test_contacts_that_cannot_be(refused, potential):
    lfp = labelled(potential[..., 0])
    uneven = lfp.assign_coords(z=("contact", np.where(Z[3] == Z, Z + 20, Z), {"units": "um"}))
    with refused(jfx.ArgumentError, "80 to 120 um", "delta", "kernel"):
        jfx.csd(uneven)
    double = lfp.assign_coords(z=("contact", np.where(Z[3] == Z, Z[5], Z), {"units": "um"}))
    for method in METHODS:
        with refused(jfx.ArgumentError, "contacts 3 and 5"):
            jfx.csd(double, method)
    with refused(jfx.DimensionError, "2 contacts", "at least 3"):
        jfx.csd(lfp.isel(contact=[0, 1]), ends="drop")
    for method in METHODS:
        with refused(jfx.DimensionError, "1 contacts", "at least 2"):
            jfx.csd(lfp.isel(contact=[0]), method)
    with refused(jfx.DimensionError, "'z'", "um"):
        jfx.csd(lfp.drop_vars("z"))
    with refused(jfx.UnitError, "no unit"):
        jfx.csd(lfp.assign_coords(z=("contact", Z)))
    grid = on_probe(np.zeros((2, 6)), jfx.grid_probe((3, 2)))
    with refused(jfx.DimensionError, "off the line", "kernel"):
        jfx.csd(grid, "step")


def test_the_column_that_the_remedy_for_a_zigzag_probe_selects_has_a_csd(refused):
    """Whatever the names and units; in columns up to rounding, by number; if there are none, only by the kernel."""
    n, um = 12, {"units": "um"}
    z = 20.0 * np.arange(n)
    two = np.where(np.arange(n) % 2, 16.0, -16.0)
    four = np.array([43.0, 11.0, 59.0, 27.0])[np.arange(n) % 4]
    deep = jfx.traces(np.ones((n, 3)), ("contact", "time"), dt_ms=1.0, name="lfp", units="uV")

    def placed(name="lfp", units=um, **axes):
        ds = deep.rename(lfp=name)
        return ds.assign_coords({a: ("contact", x, units) for a, x in axes.items()})

    lying = placed(x=z, z=two)
    for ds, kept in (
        (placed(x=two, z=z), 6),
        (placed(x=four, y=0 * z, z=z), 3),
        (placed("V", {"units": "mm"}, y=two / 1000, z=z / 1000), 6),
        (placed(x=two + 1e-9 * np.arange(n), z=z), 6),
        (lying, 6),
        (lying.lfp, 6),
        (lying.rename(x="contact_x", z="contact_z"), 6),
    ):
        with refused(jfx.DimensionError, "off the line") as caught:
            jfx.csd(ds, "step")
        (expression,) = re.findall(r"one column: (.*); or", str(caught.value))
        column = eval(expression, {"ds": ds})
        assert jfx.csd(column, "step").sizes["contact"] == kept
    with refused(jfx.DimensionError, "off the line", 'Remedy: method="kernel"'):
        jfx.csd(placed(x=two + 3 * np.arange(n) ** 1.5, z=z), "step")


@pytest.mark.parametrize("scale", [1e-3, 1e3], ids=["mm read as um", "um read as mm"])
def test_contacts_in_another_unit_are_warned_of(potential, scale):
    lfp = labelled(potential, DIMS)
    moved = lfp.assign_coords(z=(lfp.z * scale).assign_attrs(units="um"))
    with pytest.warns(
        UserWarning, match=r"contacts lie about .* um apart: are their positions in um"
    ):
        moved.jfne.csd()


@pytest.mark.slow
def test_a_traced_probe_may_be_listed_downwards(x64):
    """With a surface, up has to be up."""
    z, phi = np.array([-400.0, -300, -200, -100]), np.array([[1.0, -3, 2, 0.5]])

    def density(z, phi):
        ds = xr.Dataset({"lfp": (("time", "contact"), phi, {"units": "uV"})})
        places = {"x": 0 * z, "y": 0 * z, "z": z}
        ds = ds.assign_coords({a: ("contact", p, {"units": "um"}) for a, p in places.items()})
        return ds.jfne.csd("step", conductivity_top=0.0).csd.data

    want = density(z, phi)
    for order in (slice(None), slice(None, None, -1)):
        made = jax.jit(density)(jnp.asarray(z[order]), jnp.asarray(phi[:, order]))
        np.testing.assert_allclose(made[:, order], want, rtol=1e-9)


def test_potentials_that_cannot_be(refused, potential):
    lfp = labelled(potential[..., 0])
    with refused(jfx.VariableError, "csd_proxy"):
        jfx.csd(
            lfp.rename(lfp="lfp_proxy").assign(
                lfp_proxy=lambda d: d.lfp_proxy.assign_attrs(units="1")
            )
        )
    with refused(jfx.UnitError, "S/m"):
        jfx.csd(lfp.assign(lfp=lfp.lfp.assign_attrs(units="S/m")))
    bad = lfp.copy(deep=True)
    bad.lfp[2, 3] = np.nan
    with refused(jfx.NonFiniteError, "time=2, contact=3"):
        jfx.csd(bad, "kernel")
    other = lfp.rename(lfp="phi")
    assert jfx.csd(other).csd.identical(jfx.csd(lfp).csd)


def test_scope_is_that_of_the_potential(potential):
    made = jfx.csd(labelled(potential[..., 0]), "delta")
    assert not made.jfne.scope.amplitude_status
    assert made.jfne.scope.field_solver_status == "not_computed"
    assert made.jfne.provenance["stage"] == "readout"
    cell = jfx.morphology(
        [[0, 0, -900], [0, 0, -600]], [[0, 0, -600], [0, 0, -300]], diameter=2.0, parent=[-1, 0]
    )
    v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    currents = v.jfne.with_morphology(cell).jfne.transmembrane_currents()
    lfp = currents.jfne.lfp(
        jfx.linear_probe(N, 100.0, origin=(30, 0, -1200)), model=jfx.LineSource()
    )
    made = lfp.jfne.csd("spline")
    assert made.jfne.scope.amplitude_status
    assert made.jfne.scope == lfp.jfne.scope
    truth = currents.jfne.ground_truth_csd(np.arange(-1250, 0, 100.0), radius="500 um")
    assert np.argmax(abs(truth.csd.data.magnitude[1])) in (3, 4, 5, 6, 7, 8)
    np.testing.assert_allclose(
        (truth.csd.data.magnitude * truth.volume.values).sum(axis=1), 0, atol=1e-9
    )


# ------------------------------------------------------------------------------------------------ other codes


@pytest.mark.oracle
@pytest.mark.parametrize("top", [0.3, 0.0])
def test_against_elephant(top):
    import quantities as pq
    from elephant.current_source_density_src import icsd

    depth = 100.0 * np.arange(1, N + 1)
    phi = forward("step", depth) @ np.random.default_rng(4).normal(size=(N, 5))
    lfp = labelled(phi.T * 1e-3, units="mV", z=("contact", -depth * 1e-3, {"units": "mm"}))
    given = {
        "lfp": phi * 1e-6 * pq.V,
        "coord_electrode": depth * 1e-6 * pq.m,
        "sigma": 0.3 * pq.S / pq.m,
    }
    standard = (
        np.asarray(icsd.StandardCSD(**given).get_csd()).T / 100e-6 * 1e-3
    )  # it divides by h, not by h^2
    close(jfx.csd(lfp).csd.values, standard, 1e-10)
    given |= {"diam": 500e-6 * pq.m, "sigma_top": top * pq.S / pq.m}
    delta = np.asarray(icsd.DeltaiCSD(**given).get_csd()).T / 100e-6 * 1e-3  # A/m^2 of each plane
    close(jfx.csd(lfp, "delta", conductivity_top=top).csd.values, delta, 1e-9)
    step = (
        np.asarray(icsd.StepiCSD(**given, h=np.full(N, 100e-6) * pq.m, tol=1e-14).get_csd()).T
        * 1e-3
    )
    close(jfx.csd(lfp, "step", conductivity_top=top).csd.values, step, 1e-6)
