"""`lead_field` and `lfp`: microvolts from currents and voltages, against LFPy, on every kind of array."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.scope import weaker
from jaxfne_xr.core.units import magnitude, quantity, units_of
from jaxfne_xr.fields import potentials as field

PARENT = [-1, 0, 1, 1, 0, -1, 5]
N = len(PARENT)
ORDERS = [
    ("time", "recording", "trial"),
    ("recording", "trial", "time"),
    ("trial", "time", "recording"),
]


def cells(quantify=True):
    random = np.random.default_rng(3)
    start = random.normal(0, 50, (N, 3))
    cell = jfx.morphology(
        start,
        start + random.normal(0, 30, (N, 3)),
        random.uniform(0.5, 5, N),
        PARENT,
        quantify=quantify,
    )
    return cell.assign_coords(population=("recording", list("aabbbaa")))


PROBE = jfx.linear_probe(3, 60.0, origin=(90, 10, -20))


def voltages(dtype=np.float64):
    values = np.random.default_rng(1).normal(-65, 10, (9, N, 2)).astype(dtype)
    return xr.DataArray(values, dims=("time", "recording", "trial"))


def traces(backend, v):
    return backend.traces(v.values, v.dims).jfne.with_morphology(cells(backend.quantified))


def reference(model=None):
    """Return the potentials by plain products, on (time, trial, contact)."""
    g = np.zeros((N, N))
    cell = cells(False)
    for i, j, x in zip(
        cell.edge_from.values, cell.edge_to.values, cell.conductance.values, strict=True
    ):
        g[i, j] = g[j, i] = x
    np.fill_diagonal(g, -g.sum(axis=1))
    matrix = jfx.lead_field(cell, PROBE, model).lead_field.values
    return np.einsum("cr,rs,tsk->tkc", matrix, g, voltages().values)


def close(a, b, tol=1e-11):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


# ------------------------------------------------------------------------------------------------------ potentials


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("path", ["folded", "currents", "i_membrane"])
def test_lfp(backend, order, path, monkeypatch):
    if path == "currents":
        monkeypatch.setattr(field, "_cheaper_folded", lambda *_: False)
    ds = traces(backend, voltages().transpose(*order))
    if path == "i_membrane":
        ds = ds.jfne.transmembrane_currents()
    before = ds.copy(deep=True)
    made = ds.jfne.lfp(PROBE)
    assert list(made) == ["lfp"]
    assert made.lfp.dims == ("time", "trial", "contact")
    assert backend.holds(made.lfp)
    assert units_of(made.lfp) == "uV"
    assert made.lfp.dtype == np.float64
    assert close(backend.values(made.lfp), reference())
    assert {"x", "y", "z", "name", "time"} <= set(made.coords)
    assert "recording" not in made.dims
    assert made.attrs["amplitude_status"] == 1
    assert made.jfne.scope.field_solver_status == "line_source_homogeneous"
    assert made.attrs["source_calibration_status"] == "transmembrane_current"
    step = made.jfne.provenance["steps"][-1]
    assert step["parameters"]["conductivity_S_per_m"] == 0.3
    assert step["parameters"]["contacts_inside"] == 0
    assert made.jfne.validate()
    assert ds.identical(before)


def test_float32_goes_through_the_currents(backend):
    v = voltages().astype(np.float32)
    with pytest.warns(UserWarning, match="voltages are float32"):
        made = traces(backend, v).jfne.lfp(PROBE)
    assert made.lfp.dtype == np.float32
    assert close(backend.values(made.lfp), reference(), 1e-5)


def test_folding_is_for_more_samples_than_contacts():
    v = voltages().variable
    assert field._cheaper_folded(v, "recording", PROBE)
    assert not field._cheaper_folded(v, "recording", jfx.linear_probe(18))
    assert not field._cheaper_folded(v.astype(np.float32), "recording", PROBE)


def test_dask_stays_lazy(backend):
    if not backend.name.startswith("dask"):
        pytest.skip("dask only")
    made = traces(backend, voltages()).jfne.lfp(PROBE)
    assert magnitude(made.lfp.variable._data).chunksize[0] == 2


def test_signals_without_trials():
    v = voltages().isel(trial=0)
    ds = jfx.traces(v.values, v.dims, dt_ms=0.1).jfne.with_morphology(cells())
    made = ds.jfne.to_signals().jfne.lfp(PROBE, jfx.PointSource(0.4))
    assert close(made.lfp.data.magnitude, reference(jfx.PointSource(0.4))[:, 0])
    one = ds.isel(time=3).drop_vars("time").jfne.lfp(PROBE)
    assert one.lfp.dims == ("contact",)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["folded", "currents"])
@pytest.mark.parametrize("by", ["population", "unit", "compartment_id", "soma"])
def test_by_adds_up(backend, by, path, monkeypatch):
    if path == "currents":
        monkeypatch.setattr(field, "_cheaper_folded", lambda *_: False)
    ds = traces(backend, voltages())
    made = ds.jfne.lfp(PROBE, by=by)
    labels = np.unique(ds[by].values)
    assert made.lfp.dims == ("time", by, "trial", "contact")
    assert backend.holds(made.lfp)
    assert made[by].values.tolist() == labels.tolist()
    values = backend.values(made.lfp)
    assert close(values.sum(axis=1), reference())
    i = ds.jfne.transmembrane_currents()
    for k, label in enumerate(labels):
        only = i.isel(recording=np.flatnonzero(ds[by].values == label)).jfne.lfp(PROBE)
        assert close(values[:, k], backend.values(only.lfp), 1e-10)


def test_by_unit_of_point_neurons():
    ds = point_neurons()
    made = ds.jfne.lfp(PROBE, jfx.PointSource(), by="unit")
    total = ds.jfne.lfp(PROBE, jfx.PointSource())
    assert close(made.lfp.data.magnitude.sum(axis=1), total.lfp.data.magnitude)


def test_by_something_else(refused):
    ds = traces_of_cells()
    with refused(jfx.VariableError, "layer", "population"):
        ds.jfne.lfp(PROBE, by="layer")


# ------------------------------------------------------------------------------------------- what is not a source


def traces_of_cells():
    return jfx.traces(voltages().values, voltages().dims, dt_ms=0.1).jfne.with_morphology(cells())


def point_neurons():
    """Return Signals of point neurons with their own current."""
    v = np.random.default_rng(0).normal(-65, 1, (5, 4))
    coords = {a: ("unit", np.arange(4) * 30.0) for a in "xyz"} | {"diameter": ("unit", [10.0] * 4)}
    return jfx.traces(v, ("time", "unit"), dt_ms=0.1, coords=coords).jfne.to_signals(source=v / 100)


def test_a_voltage_is_no_source(refused):
    signals = point_neurons().drop_vars("source")
    for ds in (signals, jfx.source(signals), jfx.lfp_proxy(signals, PROBE)):
        with refused(jfx.VariableError, "no current", "transmembrane", "from_jaxley", "lfp_proxy"):
            ds.jfne.lfp(PROBE, jfx.PointSource())


def test_a_current_of_ones_own_has_no_amplitude_status():
    ds = point_neurons()
    made = ds.jfne.lfp(PROBE, jfx.PointSource())
    assert made.attrs["amplitude_status"] == 0
    assert made.attrs["source_calibration_status"] == "uncalibrated_current"
    assert made.attrs["field_solver_status"] == "point_source_homogeneous"
    want = (
        ds.source.data.magnitude
        @ jfx.lead_field(ds, PROBE, jfx.PointSource()).lead_field.data.magnitude.T
    )
    assert close(made.lfp.data.magnitude, want)


def test_a_name_makes_no_transmembrane_current():
    ds = cells().assign(i_membrane=(("time", "recording"), np.ones((2, N)), {"units": "nA"}))
    ds.attrs = {}
    made = ds.jfne.lfp(PROBE)
    assert made.attrs["amplitude_status"] == 0


@pytest.mark.slow
def test_drawn_cells_have_no_amplitude_status():
    import jaxley as jx

    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0])
    cell.record("v", verbose=False)
    with pytest.warns(UserWarning, match="float32"):
        made = jfx.from_jaxley(cell, jx.integrate(cell, t_max=0.1), delta_t=0.025).jfne.lfp(PROBE)
    assert made.attrs["amplitude_status"] == 0
    assert made.attrs["source_calibration_status"] == "transmembrane_current"


def test_the_scope_of_a_proxy_with_a_field_is_the_proxys():
    made = traces_of_cells().jfne.lfp(PROBE)
    both = jfx.Scope(), made.jfne.scope
    assert weaker(*both).amplitude_status is False
    raised = made.copy()
    raised.attrs["field_solver_status"] = "line_source_slab"
    assert not raised.jfne.validate()


def test_currents_in_another_unit(refused):
    ds = point_neurons()
    ds["source"] = (ds.source.dims, ds.source.data.magnitude, {"units": "mV"})
    with refused(jfx.UnitError, "source"):
        ds.jfne.lfp(PROBE, jfx.PointSource())
    pico = point_neurons()
    want = pico.jfne.lfp(PROBE, jfx.PointSource()).lfp.data.magnitude
    pico["source"] = (pico.source.dims, pico.source.data.magnitude * 1e3, {"units": "pA"})
    assert close(magnitude(pico.jfne.lfp(PROBE, jfx.PointSource()).lfp.variable._data), want)


# ----------------------------------------------------------------------------------------------------- probes


def test_contacts_inside_are_counted_and_said_once():
    cell = cells()
    middle = np.array(
        [[float(cell[a][0]) for a in "xyz"], [float(cell[a][1]) for a in "xyz"], [500, 0, 0]]
    )
    ds = traces_of_cells()
    with pytest.warns(UserWarning, match="2 of 3 contacts lie within min_distance") as caught:
        made = ds.jfne.lfp(jfx.probe_at(middle))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert made.jfne.provenance["steps"][-1]["parameters"]["contacts_inside"] == 2
    assert np.isfinite(made.lfp.data.magnitude).all()


def test_a_probe_far_away():
    with pytest.warns(UserWarning, match=r"(49\.\d|50) mm from the nearest site.* um\?"):
        cells().jfne.lead_field(jfx.linear_probe(3, origin=(50_000, 0, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cells().jfne.lead_field(jfx.probe_at([[9_000.0, 0, 0], [900_000.0, 0, 0]]))


def test_probes_that_are_none(refused):
    ds = traces_of_cells()
    with refused(jfx.ArgumentError, "probe", "linear_probe"):
        ds.jfne.lfp(np.zeros((3, 3)))
    with refused(jfx.DimensionError, "z"):
        ds.jfne.lfp(PROBE.drop_vars("z"))
    with refused(jfx.DimensionError, "channel"):
        ds.jfne.lfp(jfx.probe_at(np.eye(3), dim="channel"))
    with refused(jfx.UnitError, "z"):
        ds.jfne.lfp(PROBE.assign_coords(z=("contact", [1.0, 2, 3], {"units": "mV"})))


# ------------------------------------------------------------------------------------------------- lead fields


def test_lead_field(backend):
    ds = traces(backend, voltages())
    made = ds.jfne.lead_field(PROBE)
    assert made.lead_field.dims == ("contact", "recording")
    assert units_of(made.lead_field) == "uV/nA"
    assert isinstance(magnitude(made.lead_field.variable._data), np.ndarray)
    assert {"x_start", "unit", "contact_x", "contact_name"} <= set(made.coords)
    i = ds.jfne.transmembrane_currents()
    plain = xr.dot(
        xr.DataArray(magnitude(made.lead_field.variable._data), dims=made.lead_field.dims),
        xr.DataArray(backend.values(i.i_membrane), dims=i.i_membrane.dims),
    )
    want = ds.jfne.lfp(PROBE).lfp
    assert close(backend.values(want), plain.transpose(*want.dims).values)


def test_any_callable_is_a_model(refused):
    def mine(sites, contacts):
        assert {"x", "diameter"} <= set(sites.coords)
        return np.outer(contacts.z.values, sites.diameter.values)

    ds = traces_of_cells()
    made = ds.jfne.lfp(PROBE, mine)
    want = np.outer(PROBE.z.values, ds.diameter.values)
    assert close(ds.jfne.lead_field(PROBE, mine).lead_field.data.magnitude, want)
    assert made.attrs["field_solver_status"] == "custom"
    assert made.attrs["amplitude_status"] == 0
    assert made.jfne.provenance["steps"][-1]["parameters"]["model"] == "mine"
    labelled = lambda s, c: xr.DataArray(mine(s, c).T, dims=("recording", "contact"))
    assert close(ds.jfne.lfp(PROBE, labelled).lfp.data.magnitude, made.lfp.data.magnitude)
    lists = lambda s, c: mine(s, c).tolist()
    assert close(ds.jfne.lfp(PROBE, lists).lfp.data.magnitude, made.lfp.data.magnitude)
    with refused(jfx.DimensionError, "model", "(3, 7)"):
        ds.jfne.lfp(PROBE, lambda s, c: mine(s, c).T)


def test_the_unit_of_what_a_callable_returns_is_read(refused):
    ds, mine = traces_of_cells(), np.arange(3.0 * N).reshape(3, N)
    want = ds.jfne.lead_field(PROBE, lambda s, c: mine).lead_field.data.magnitude
    V_per_A = 1e3 * mine  # the same
    for returned in (
        quantity(V_per_A, "V/A"),
        xr.DataArray(quantity(V_per_A, "V/A"), dims=("contact", "recording")),
        xr.DataArray(V_per_A.T, dims=("recording", "contact"), attrs={"units": "V/A"}),
    ):
        made = ds.jfne.lead_field(PROBE, lambda s, c, m=returned: m).lead_field
        assert close(made.data.magnitude, want)
        assert units_of(made) == "uV/nA"
    with refused(jfx.UnitError, "model", "'um'", "drop_attrs"):
        ds.jfne.lfp(PROBE, lambda s, c: (c.x - s.x).assign_attrs(units="um"))


@pytest.mark.parametrize(
    ("returned", "error", "said"),
    [
        (np.full((3, N), np.nan), jfx.NonFiniteError, "contact=0"),
        (np.full((3, N), 1j), jfx.DataError, "complex128"),
        (None, jfx.DimensionError, "shape ()"),
    ],
    ids=["NaN", "complex", "nothing"],
)
def test_callables_that_return_no_lead_field(returned, error, said, refused):
    with refused(error, "model", said):
        traces_of_cells().jfne.lfp(PROBE, lambda s, c: returned)


def test_currents_that_are_not_finite(backend, refused):
    i = np.ones((5, 4))
    i[3, 1] = np.nan
    ds = backend.by_hand(i, ("time", "unit"), units="nA", name="source")
    ds = ds.assign_coords({a: ("unit", np.arange(4) * 30.0, {"units": "um"}) for a in "xyz"})
    with refused(jfx.NonFiniteError, "source", "time=3"):
        ds.jfne.lfp(PROBE, jfx.PointSource(min_distance=1.0)).compute()


@pytest.mark.parametrize("model", [0.3, jfx.LineSource], ids=["a number", "a class"])
def test_what_is_no_model(model, refused):
    with refused(jfx.ArgumentError, "model", "LineSource(0.3)"):
        traces_of_cells().jfne.lfp(PROBE, model)


def test_ones_own_class_cannot_claim_a_solver():
    class Mine(jfx.PointSource):
        pass

    made = traces_of_cells().jfne.lfp(PROBE, Mine())
    assert made.attrs["field_solver_status"] == "custom"
    assert made.attrs["amplitude_status"] == 0


# --------------------------------------------------------------------------------------------------- gradients


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jax", "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:voltages are float32:UserWarning")
def test_gradients_through_lfp(check_derivatives, kind, dtype):
    """In positions of contacts and in the conductivity, whatever the voltages are."""
    v = voltages(dtype).isel(trial=0)

    def loss(sigma, z):
        data = jnp.asarray(v.values) if kind == "jax" else v.values
        ds = jfx.traces(data, v.dims, dt_ms=0.1, quantify=False).jfne.with_morphology(cells(False))
        contacts = PROBE.assign_coords(z=("contact", z, {"units": "um"}))
        made = ds.jfne.lfp(contacts, jfx.LineSource(sigma)).lfp.data
        assert isinstance(made, jax.Array)
        return (made**2).sum()

    with jax.enable_x64(dtype == np.float64):
        args = jnp.asarray(0.3, dtype), jnp.asarray(PROBE.z.values, dtype)
        if dtype == np.float64:
            check_derivatives(loss, args, rtol=1e-6)
        value, slope = jax.jit(jax.value_and_grad(loss, (0, 1)))(*args)
        want = -2 * value / 0.3  # phi is as 1 / sigma
        assert float(slope[0]) == pytest.approx(float(want), rel=1e-4)
        assert slope[0].dtype == dtype


def test_a_model_is_an_argument_of_a_jitted_function():
    v = voltages().isel(trial=0)

    @jax.jit
    def power(model, v_):
        ds = jfx.traces(v_, v.dims, dt_ms=0.1).jfne.with_morphology(cells(False))
        return (ds.jfne.lfp(PROBE, model).lfp.data ** 2).sum()

    with jax.enable_x64(True):
        data = jnp.asarray(v.values)
        for model in (jfx.LineSource(), jfx.PointSource((0.3, 0.3, 0.4)), jfx.LineSource(0.6)):
            want = (reference(model)[:, 0] ** 2).sum()
            assert float(power(model, data)) == pytest.approx(want, rel=1e-11)
        slopes = jax.grad(power)(jfx.LineSource(), data)
        assert isinstance(slopes, jfx.LineSource)
        want = -2 * power(jfx.LineSource(), data) / 0.3
        assert float(slopes.conductivity) == pytest.approx(float(want), rel=1e-11)
        assert jax.vmap(power, (None, 0))(jfx.LineSource(), jnp.stack([data, data])).shape == (2,)


@pytest.mark.parametrize(
    "model", [jfx.LineSource(), jfx.Slab(300.0, bottom=-150.0)], ids=["line", "slab"]
)
@pytest.mark.filterwarnings("ignore:voltages are float32:UserWarning")
@pytest.mark.slow
def test_only_the_voltages_are_traced(model):
    v = voltages(np.float32).isel(trial=0)
    flat = jfx.grid_probe((2, 2), origin=(90, 10, -150), rows=(0, 1, 0))

    @jax.jit
    def field_of(data):
        ds = jfx.traces(data, v.dims, dt_ms=0.1).jfne.with_morphology(cells(False))
        return ds.jfne.lfp(flat, model).lfp.data

    eager = (
        jfx.traces(v.values, v.dims, dt_ms=0.1).jfne.with_morphology(cells()).jfne.lfp(flat, model)
    )
    assert close(field_of(jnp.asarray(v.values)), eager.lfp.data.magnitude, 1e-6)


# -------------------------------------------------------------------------------------------------------- laws


@pytest.mark.slow
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([jfx.PointSource, jfx.LineSource, jfx.RootAsPoint])
)
def test_laws(seed, kind):
    random = np.random.default_rng(seed)
    n, m = int(random.integers(2, 8)), 3
    start = random.normal(0, 50, (n, 3))
    end, d = start + random.normal(0, 20, (n, 3)), random.uniform(0.5, 4, n)
    contact = random.normal(0, 1, (m, 3))
    contact *= (400 + random.uniform(0, 200, (m, 1))) / np.linalg.norm(
        contact, axis=1, keepdims=True
    )
    i = random.normal(size=(4, n))

    def potential(i, *ends, contact=contact, order=None, units="nA", lengths="um", model=None):
        widths = d if lengths == "um" else d * 1e-3
        cell = jfx.morphology(*(ends or (start, end)), widths, np.arange(-1, n - 1), units=lengths)
        cell = cell.assign(i_membrane=(("time", "recording"), i, {"units": units}))
        cell = cell if order is None else cell.isel(recording=order)
        return cell.jfne.lfp(
            jfx.probe_at(contact, units=lengths), model or kind()
        ).lfp.data.magnitude

    phi = potential(i)
    assert close(potential(3 * i - i[::-1]), 3 * phi - phi[::-1], 1e-10)
    assert close(potential(i, order=random.permutation(n)), phi, 1e-12)
    assert close(potential(i * 1e-3, units="uA"), phi, 1e-12)
    assert close(
        potential(i, start * 1e-3, end * 1e-3, contact=contact * 1e-3, lengths="mm"), phi, 1e-10
    )
    shift = np.array([700.0, -20.0, 33.0])
    assert close(potential(i, start + shift, end + shift, contact=contact + shift), phi, 1e-8)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert close(potential(i, start @ turn, end @ turn, contact=contact @ turn), phi, 1e-9)
    assert close(potential(i, model=kind(0.6)) * 2, phi, 1e-12)
    mirrored = potential(i, model=kind((0.3, 0.3, 0.3)))
    assert close(mirrored, phi, 1e-11)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from([jfx.PointSource, jfx.LineSource]))
def test_far_field_of_a_closed_cell_is_its_dipoles_and_falls_as_the_square(seed, kind):
    """What is left is the quadrupole: a over r of it, a the size of the cell."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 9))
    start = random.uniform(-50, 50, (n, 3))
    end = start + random.uniform(-20, 20, (n, 3))
    v = jfx.traces(random.normal(-65, 10, (n, 4)), ("recording", "time"), dt_ms=0.1)
    cell = jfx.morphology(start, end, 2.0, [-1, *random.integers(0, np.arange(1, n))])
    i = v.jfne.with_morphology(cell).jfne.transmembrane_currents()
    dipole = i.jfne.dipole_moment(by=None)
    away = random.normal(size=3)
    away /= np.linalg.norm(away)
    middle = np.array([float(dipole[a]) for a in "xyz"])
    size = max(np.linalg.norm(x - middle, axis=1).max() for x in (start, end))
    total = np.abs(i.i_membrane.data.magnitude).sum(axis=0)
    r = np.array([2e6, 4e6])  # um
    places = middle + r[:, None] * away
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it is far away
        phi = i.jfne.lfp(jfx.probe_at(places), kind(0.3)).lfp.data.magnitude
    sensors = jfx.probe_at(places, dim="channel")
    want = dipole.jfne.eeg(sensors, jfx.InfiniteHomogeneous(0.3)).eeg.data.magnitude
    monopole = 1e3 * total[:, None] / (4 * np.pi * 0.3 * r)
    assert (np.abs(phi - want) <= 1.1 * (size / r) ** 2 * monopole).all()
    left = np.abs(phi[:, 0] / phi[:, 1] - 4) * np.abs(phi[:, 1])
    assert (left <= 10 * ((size / r) ** 2 * monopole)[:, 1]).all()


# ------------------------------------------------------------------------------------------------------- LFPy


@pytest.mark.oracle
@pytest.mark.parametrize("run", ["synapses", "clamp"])
@pytest.mark.parametrize("kind", ["line", "point", "root_as_point"])
def test_against_lfpy(neuron_cells, run, kind, agreement):
    import lfpykit

    cell = neuron_cells[run]
    contact = np.stack([np.full(8, 40.0), np.full(8, 15.0), np.linspace(-200, 300, 8)], axis=1)
    contact[:, 1:] = contact[:, :0:-1]
    method = {"line": "linesource", "point": "pointsource"}.get(kind, kind)
    places = dict(zip("xyz", contact.T, strict=True))
    oracle = lfpykit.RecExtElectrode(cell.cell, sigma=0.3, method=method, **places)
    want = oracle.get_transformation_matrix() @ cell.imem * 1e3  # mV
    model = {
        "line": jfx.LineSource(),
        "point": jfx.PointSource(),
        "root_as_point": jfx.RootAsPoint(),
    }[kind]
    probe, ds = jfx.probe_at(contact), jfx.from_lfpy(cell)
    made = ds.jfne.lfp(probe, model)
    agreement(
        "potential of a branched cell: point, line, root as point",
        "LFPykit with LFPy's currents",
        made.lfp.data.magnitude.T,
        want,
        1e-9,
    )
    assert made.attrs["amplitude_status"] == 1
    if run == "synapses":  # from voltages alone, as one matrix and through the currents
        for samples in (slice(None), slice(0, 300, 60)):
            part = ds.drop_vars("i_membrane").isel(time=samples).jfne.lfp(probe, model)
            assert (
                np.abs(part.lfp.data.magnitude.T - want[:, samples]).max()
                <= 1e-9 * np.abs(want).max()
            )
