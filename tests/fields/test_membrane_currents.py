"""`transmembrane_currents` and `check_currents`: exact, on every kind of array, in every order of dims."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

import jaxfne_xr as jfx
from jaxfne_xr.core.units import magnitude, quantity, units_of
from jaxfne_xr.kernels.fields import membrane_currents_numpy as current_numpy

#: Older than some tests here need.
OLD_XARRAY = Version(xr.__version__) < Version("2025.11")

PARENT = [
    -1,
    0,
    1,
    1,
    0,
    -1,
    5,
]  # two cells: one with a fork and a second stem, one of two segments
N = len(PARENT)


def cells(quantify=True):
    """Return two cells with all that differs between segments."""
    random = np.random.default_rng(3)
    start = random.normal(0, 50, (N, 3))
    return jfx.morphology(
        start,
        start + random.normal(0, 30, (N, 3)),
        random.uniform(0.5, 5, N),
        PARENT,
        axial_resistivity=random.uniform(80, 200, N),
        quantify=quantify,
    )


def dense(cell):
    """Return the Laplacian by a plain loop, uS."""
    g = np.zeros((N, N))
    for i, j, x in zip(
        cell.edge_from.values, cell.edge_to.values, magnitude(cell.conductance.data), strict=True
    ):
        g[i, j] += x
        g[j, i] += x
        g[i, i] -= x
        g[j, j] -= x
    return g


def voltages(dtype=np.float64):
    """Return voltages on (time, recording, trial)."""
    values = np.random.default_rng(1).normal(-65, 10, (9, N, 2)).astype(dtype)
    return xr.DataArray(values, dims=("time", "recording", "trial"))


def traces(backend, v, cell=None):
    """Return labelled voltages of `cells`."""
    ds = backend.traces(v.values, v.dims)
    return ds.jfne.with_morphology(cells(backend.quantified) if cell is None else cell)


def close(a, b, tol=1e-12):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


ORDERS = [
    ("time", "recording", "trial"),
    ("recording", "time", "trial"),
    ("trial", "recording", "time"),
    ("trial", "time", "recording"),
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("scheme", ["backward_euler", "crank_nicolson"])
@pytest.mark.parametrize("block", [64, 1 << 20])
def test_currents(backend, order, scheme, block, monkeypatch):
    monkeypatch.setattr(current_numpy, "TILE_BYTES", block)
    v = voltages()
    ds = traces(backend, v.transpose(*order))
    before = ds.copy(deep=True)
    made = ds.jfne.transmembrane_currents(scheme=scheme)

    want = np.einsum("ij,tjk->tik", dense(cells()), v.values)
    if scheme == "crank_nicolson":
        want[1:] = (want[1:] + want[:-1]) / 2
    want = xr.DataArray(want, dims=v.dims).transpose(*order).values
    assert list(made) == ["i_membrane"]
    assert made.i_membrane.dims == order
    assert made.i_membrane.dtype == np.float64
    assert backend.holds(made.i_membrane)
    assert units_of(made.i_membrane) == "nA"
    assert close(backend.values(made.i_membrane), want)
    assert made.i_membrane.attrs["scheme"] == scheme
    assert made.i_membrane.attrs["stimulus"] == "not included"
    assert {"unit", "x_start", "diameter", "time"} <= set(made.coords)
    assert "edge" not in made.dims
    assert made.attrs["source_calibration_status"] == "transmembrane_current"
    assert made.attrs["amplitude_status"] == 0  # no field, no amplitude
    assert made.jfne.provenance["steps"][-1]["parameters"]["scheme"] == scheme
    assert made.jfne.validate()
    assert ds.identical(before)


def test_dask_stays_lazy_along_time(backend):
    if backend.name != "dask":
        pytest.skip("dask only")
    made = traces(backend, voltages()).jfne.transmembrane_currents(scheme="crank_nicolson")
    assert made.i_membrane.data.chunksize[0] == 2


def test_signals_and_traces_give_the_same(backend):
    ds = traces(backend, voltages())
    a, b = (d.jfne.transmembrane_currents().i_membrane for d in (ds, ds.jfne.to_signals()))
    assert close(backend.values(a), backend.values(b), 0)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_coarse_voltages_warn_with_an_error_that_holds(backend, dtype):
    v = voltages()
    coarse = v.astype(dtype)
    with pytest.warns(UserWarning, match=rf"voltages are {dtype}.*nA") as caught:
        made = traces(backend, coarse).jfne.transmembrane_currents()
    text = str(caught[0].message)
    assert caught[0].filename == __file__
    assert ("of the largest current" in text) == (not backend.name.startswith("dask"))
    bound = float(text.split("up to ")[1].split()[0])
    want = np.einsum("ij,tjk->tik", dense(cells()), v.values)
    exact = np.einsum("ij,tjk->tik", dense(cells()), coarse.values.astype(float))
    assert made.i_membrane.dtype == np.float32  # what half precision is computed in
    assert np.abs(exact - want).max() <= bound
    assert close(backend.values(made.i_membrane), exact, 3 * np.finfo(np.float32).eps * 20)


def test_float64_does_not_warn(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traces(backend, voltages()).jfne.transmembrane_currents()


def test_integers_are_exact():
    ds = jfx.traces(np.arange(N * 3).reshape(N, 3) % 7, ("recording", "time"), dt_ms=1.0)
    made = ds.jfne.with_morphology(cells()).jfne.transmembrane_currents()
    assert close(made.i_membrane.data.magnitude, dense(cells()) @ ds.v.data.magnitude.astype(float))


# ------------------------------------------------------------------------------------------------ the stimulus


def test_stimulus_on_all_dims(backend):
    v = voltages()
    ds = traces(backend, v)
    current = np.random.default_rng(2).normal(size=v.shape)
    bare = ds.jfne.transmembrane_currents().i_membrane
    stimulus = xr.DataArray(current * 1e3, dims=v.dims, attrs={"units": "pA"})
    made = ds.jfne.transmembrane_currents(stimulus=stimulus.transpose("trial", "time", "recording"))
    assert made.i_membrane.dims == v.dims
    assert backend.holds(made.i_membrane)
    assert made.i_membrane.attrs["stimulus"] == "included"
    assert close(backend.values(made.i_membrane), backend.values(bare) + current)


@pytest.mark.parametrize("as_dim", [False, True])
def test_stimulus_at_one_compartment(backend, as_dim):
    ds = traces(backend, voltages())
    pulse = xr.DataArray(np.arange(9.0), dims="time", coords={"compartment_id": 5})
    if as_dim:
        pulse = pulse.drop_vars("compartment_id").expand_dims("recording")
        pulse = pulse.assign_coords(compartment_id=("recording", [5]))
    made = ds.jfne.transmembrane_currents(stimulus=pulse)
    extra = backend.values(made.i_membrane) - backend.values(
        ds.jfne.transmembrane_currents().i_membrane
    )
    want = np.zeros((9, N, 2))
    want[:, 5] = np.arange(9.0)[:, None]
    assert np.abs(extra - want).max() < 1e-12 * np.abs(backend.values(made.i_membrane)).max()
    assert made.jfne.check_currents(stimulus=pulse)
    report = made.jfne.check_currents()
    assert not report
    assert "included" in str(report)
    assert report.cells[1][1] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("stimulus", "said"),
    [
        (np.zeros(9), "ndarray"),
        (xr.DataArray(np.zeros(9), dims="time"), "compartment_id"),
        (
            xr.DataArray(np.zeros(9), dims="time", coords={"compartment_id": 77}),
            "not in ds",
        ),
    ],
)
def test_stimuli_that_do_not_fit(stimulus, said, refused):
    ds = jfx.traces(voltages().values, voltages().dims, dt_ms=0.1).jfne.with_morphology(cells())
    with refused(jfx.DimensionError, said, "compartment_id"):
        ds.jfne.transmembrane_currents(stimulus=stimulus)


@pytest.mark.parametrize("n", [5, 8, 11])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_stimulus_of_another_duration(n, labelled):
    """The error says at which end samples are missing; its remedy runs, and shifts the stimulus by one sample."""
    ds = jfx.traces(voltages().values, voltages().dims, dt_ms=0.1).jfne.with_morphology(cells())
    pulse = xr.DataArray(1.0 + np.arange(n), dims="time", coords={"compartment_id": 5})
    pulse = pulse.assign_coords(time=0.1 * np.arange(n)) if labelled else pulse
    with pytest.raises(
        jfx.DimensionError, match=f"{n} samples, and 9 .* a zero in front"
    ) as caught:
        ds.jfne.transmembrane_currents(stimulus=pulse)
    shifted = eval(caught.value.problems[0].remedy, {"stimulus": pulse})
    np.testing.assert_array_equal(shifted, [0, *pulse.values[:8], *np.zeros(max(8 - n, 0))])
    made = ds.jfne.transmembrane_currents(stimulus=shifted)
    assert made.jfne.check_currents(stimulus=shifted)


def test_stimulus_in_another_unit(refused):
    ds = jfx.traces(voltages().values, voltages().dims, dt_ms=0.1).jfne.with_morphology(cells())
    stimulus = xr.DataArray(np.zeros((9, N)), dims=("time", "recording"), attrs={"units": "mV"})
    with refused(jfx.UnitError, "stimulus"):
        ds.jfne.transmembrane_currents(stimulus=stimulus)


@pytest.mark.skipif(
    OLD_XARRAY, reason="xarray drops attrs, and so the record, in arithmetic and reductions"
)
def test_a_stimulus_at_other_times(ds, refused):
    pulse = xr.DataArray(np.zeros(9), dims="time", coords={"compartment_id": 0, "time": ds.time})
    late = pulse.assign_coords(time=ds.time + 0.05)
    assert ds.jfne.transmembrane_currents(stimulus=pulse).jfne.check_currents()
    with refused(
        jfx.DimensionError, "stimulus", 'labels along "time"', "assign_coords(time=ds.time)"
    ):
        ds.jfne.transmembrane_currents(stimulus=late)


# ---------------------------------------------------------------------------------------------- what is missing


@pytest.fixture
def ds():
    """Return voltages of two cells."""
    return jfx.traces(voltages().values, voltages().dims, dt_ms=0.1).jfne.with_morphology(cells())


def test_a_missing_compartment_is_named(ds, refused):
    with refused(jfx.DimensionError, "no voltage of 1 of 7", "unit 0 compartment_id 3", "record"):
        ds.isel(recording=[0, 1, 2, 4, 5, 6]).jfne.transmembrane_currents()


def test_only_the_soma(ds, refused):
    with refused(jfx.DimensionError, "no voltage of 4 of 5 compartments: unit 0 compartment_id 1"):
        ds.isel(recording=[0]).jfne.transmembrane_currents()


def test_a_whole_cell_may_be_left_out_and_rows_be_in_any_order(ds):
    whole = ds.jfne.transmembrane_currents().i_membrane.data.magnitude
    part = ds.query(recording="unit == 0").jfne.transmembrane_currents().i_membrane
    np.testing.assert_array_equal(part.data.magnitude, whole[:, :5])
    order = [3, 6, 0, 5, 1, 2, 4]
    mixed = ds.isel(recording=order).jfne.transmembrane_currents().i_membrane
    assert close(mixed.data.magnitude, whole[:, order])


def test_no_conductance(refused):
    plain = jfx.traces(np.zeros((3, 4)), ("recording", "time"), dt_ms=0.1)
    with refused(jfx.VariableError, "conductance", "from_jaxley", "from_lfpy", "morphology"):
        plain.jfne.transmembrane_currents()


def test_other_bad_input(ds, refused):
    with refused(jfx.ArgumentError, "scheme", "crank_nicolson"):
        ds.jfne.transmembrane_currents(scheme="euler")
    with refused(jfx.DimensionError, "compartment_id"):
        ds.drop_vars("compartment_id").jfne.transmembrane_currents()
    with refused(jfx.DimensionError, "recorded twice"):
        ds.isel(recording=[0, 1, 2, 3, 4, 4, 5, 6]).jfne.transmembrane_currents()
    with refused(jfx.UnitError, "conductance"):
        wrong = xr.Variable("edge", ds.conductance.data.magnitude, {"units": "mV"})
        ds.assign(conductance=wrong).jfne.transmembrane_currents()
    with refused(jfx.TimeAxisError, "time"):
        ds.isel(time=0).jfne.transmembrane_currents(scheme="crank_nicolson")
    with refused(jfx.VariableError, "voltage"):
        cells().jfne.transmembrane_currents()
    broken = ds.v.data.magnitude.copy()
    broken[3, 2, 1] = np.nan
    with refused(jfx.NonFiniteError, "time=3"):
        ds.assign(v=(ds.v.dims, quantity(broken, "mV"))).jfne.transmembrane_currents()


@pytest.mark.parametrize("g", [-1.0, np.nan, np.inf])
def test_conductances_that_cannot_be(ds, g, refused):
    values = ds.conductance.data.magnitude.copy()
    values[2] = g
    with refused(jfx.ArgumentError, "conductance", "edge 2 first", f"{g:g} uS"):
        ds.assign(conductance=("edge", values, {"units": "uS"})).jfne.transmembrane_currents()


def test_conductances_in_another_unit(ds):
    want = ds.jfne.transmembrane_currents().i_membrane.data.magnitude
    nano = ds.assign(conductance=("edge", quantity(ds.conductance.data.magnitude * 1e3, "nS")))
    assert close(nano.jfne.transmembrane_currents().i_membrane.data.magnitude, want)


# ---------------------------------------------------------------------------------------------------- the report


def test_report(ds):
    report = ds.jfne.check_currents()
    assert report
    assert [cell[0] for cell in report.cells] == [0, 1]
    assert all(residual <= 1e-14 * size for _, residual, size in report.cells)
    assert "every cell is closed" in str(report)

    open_ = ds.jfne.transmembrane_currents()
    open_["i_membrane"] = open_.i_membrane.copy(
        data=quantity(open_.i_membrane.data.magnitude + 0.1, "nA")
    )
    report = open_.jfne.check_currents()
    assert not report
    assert str(report).count("not closed") == 2
    assert report.cells[0][1] == pytest.approx(0.5, rel=1e-9)


def test_report_on_every_kind_of_array(backend):
    made = traces(backend, voltages()).jfne.transmembrane_currents()
    assert made.jfne.check_currents()


def test_report_of_traced_data(refused):
    @jax.jit
    def run(v):
        made = jfx.traces(v, ("recording", "time"), dt_ms=0.1).jfne.with_morphology(cells(False))
        with refused(jfx.DataError, "traces"):
            made.jfne.transmembrane_currents().jfne.check_currents()
        return v

    with jax.enable_x64(True):
        run(jnp.zeros((N, 3)))


# ------------------------------------------------------------------------------------------------------ gradients


@pytest.mark.slow
def test_gradients_in_voltages_and_conductances(check_derivatives):
    cell = cells(False)

    def loss(v, g):
        ds = jfx.traces(v, ("recording", "time"), dt_ms=0.1, quantify=False).jfne.with_morphology(
            cell.assign(conductance=("edge", g, cell.conductance.attrs))
        )
        made = ds.jfne.transmembrane_currents(scheme="crank_nicolson").i_membrane.data
        return (made**2).sum()

    with jax.enable_x64(True):
        v = jnp.asarray(voltages().values[..., 0].T)
        g = jnp.asarray(cell.conductance.data)
        check_derivatives(loss, (v, g), rtol=1e-6)
        many = jax.jit(jax.vmap(loss, (0, None)))(jnp.stack([v, v + 1]), g)
        assert close(many, [loss(v, g)] * 2)


def test_a_conductance_that_jax_traces_makes_jax_of_numpy_voltages(x64):
    cell, v = cells(False), voltages().values[..., 0].T

    def loss(g):
        ds = jfx.traces(v, ("recording", "time"), dt_ms=0.1, quantify=False).jfne.with_morphology(
            cell.assign(conductance=("edge", g, cell.conductance.attrs))
        )
        return (ds.jfne.transmembrane_currents().i_membrane.data ** 2).sum()

    g = jnp.asarray(cell.conductance.data)
    step = 1e-6 * g
    slope = jax.jit(jax.grad(loss))(g)
    assert close(slope @ step, (loss(g + step) - loss(g - step)) / 2, 1e-6)


def test_inside_a_jit_numpy_voltages_stay_numpy():
    ds = jfx.traces(voltages().values[..., 0], ("time", "recording"), dt_ms=0.1, quantify=False)
    ds = ds.jfne.with_morphology(cells(False))
    seen = []

    @jax.jit
    def outer(x):
        seen.append(ds.jfne.transmembrane_currents().i_membrane.data)
        seen.append(ds.jfne.transmembrane_currents().jfne.check_currents())
        return x

    outer(1.0)
    assert isinstance(seen[0], np.ndarray)
    assert seen[1]


# ----------------------------------------------------------------------------------------------------------- laws


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no two compartments are joined")
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_laws(seed, n):
    random = np.random.default_rng(seed)
    parent = np.array(
        [-1 if k == 0 or random.random() < 0.1 else random.integers(k) for k in range(n)]
    )
    start = random.normal(0, 50, (n, 3))
    cell = jfx.morphology(
        start,
        start + random.normal(0, 20, (n, 3)),
        random.uniform(0.3, 10, n),
        parent,
        at=random.choice([0, 0.5, 1], n),
    )
    v, w = random.normal(-60, 20, (2, n, 4))

    def currents(x, where=cell, units="mV"):
        ds = jfx.traces(x, ("recording", "time"), dt_ms=0.1, units=units).jfne.with_morphology(
            where
        )
        return ds.jfne.transmembrane_currents().i_membrane.data.magnitude

    i = currents(v)
    scale = np.abs(i).max() + np.abs(currents(w)).max() + 1e-9
    assert np.abs(currents(2 * v - 3 * w) - 2 * i + 3 * currents(w)).max() <= 1e-10 * scale
    assert np.abs(currents(v + 7.0) - i).max() <= 1e-9 * scale  # an offset drives nothing
    assert np.abs(currents(v * 1e-3, units="V") - i).max() <= 1e-10 * scale
    for unit in np.unique(cell.unit):
        assert np.abs(i[cell.unit.values == unit].sum(axis=0)).max() <= 1e-12 * scale


# --------------------------------------------------------------------------------------------------------- Jaxley


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cell", "network"])
@pytest.mark.filterwarnings("ignore:The .* channel does not support:UserWarning")
def test_jaxleys_own_balance(kind, agreement):
    """What flows in along the cable is what Jaxley's own equation sends through the membrane."""
    import jaxley as jx
    from jaxley.channels import Leak
    from jaxley.connect import connect
    from jaxley.synapses import IonotropicSynapse

    dt = 0.025
    with jax.enable_x64(True):
        branch = jx.Branch(ncomp=3)
        module = jx.Cell(branch, parents=[-1, 0, 0, 1])
        if kind == "network":
            module = jx.Network([module, module])
            connect(
                module.cell(0).branch(2).loc(1.0),
                module.cell(1).branch(0).loc(0.0),
                IonotropicSynapse(),
            )
            module.set("IonotropicSynapse_gS", 1e-3)
            module.record("IonotropicSynapse_s", verbose=False)
        module.insert(Leak())
        module.set("radius", 1.5)
        module.set("Leak_gLeak", 3e-4)
        first = module.cell(0) if kind == "network" else module
        stimulus = np.where(np.arange(200) > 40, 0.2, 0.0)
        first.branch(0).comp(0).stimulate(jnp.asarray(stimulus), verbose=False)
        module.record("v", verbose=False)
        recorded = jx.integrate(module, delta_t=dt)
        ds = jfx.from_jaxley(module, recorded, delta_t=dt)
    v = ds.v.data.magnitude
    nodes = module.nodes
    farad = nodes["capacitance"].to_numpy() * nodes["area"].to_numpy() * 1e-5  # nF
    leak = nodes["Leak_gLeak"].to_numpy() * nodes["area"].to_numpy() * 1e-2  # uS
    want = farad[:, None] * np.diff(v, axis=1) / dt
    want += leak[:, None] * (v[:, 1:] - nodes["Leak_eLeak"].to_numpy()[:, None])
    want[0] -= stimulus[: want.shape[1]]
    if kind == "network":
        s = ds["IonotropicSynapse_s"].data.magnitude[0]
        row = int(np.flatnonzero(ds.compartment_id == ds.post_compartment_id.values[0])[0])
        edge = module.edges.iloc[0]
        reversal = edge["IonotropicSynapse_e_syn"]
        want[row] += edge["IonotropicSynapse_gS"] * s[1:] * (v[row, 1:] - reversal)
    made = ds.jfne.transmembrane_currents()
    agreement(
        "transmembrane currents",
        "Jaxley's own balance, a cell and a network",
        made.i_membrane.data.magnitude[:, 1:],
        want,
        1e-9,
    )
    assert made.jfne.check_currents()

    late = xr.DataArray(
        np.concatenate([[0.0], stimulus])[: v.shape[1]], dims="time", coords={"compartment_id": 0}
    )
    assert ds.jfne.transmembrane_currents(stimulus=late).jfne.check_currents(stimulus=late)


@pytest.mark.slow
def test_jaxley_cells_name_what_is_missing(refused):
    import jaxley as jx

    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0])
    cell.branch(0).comp(0).record("v", verbose=False)
    ds = jfx.from_jaxley(cell, jx.integrate(cell, t_max=0.1), delta_t=0.025)
    missing = "3 of 4 compartments: unit 0 branch 0 compartment 1, unit 0 branch 1 compartment 0"
    with refused(jfx.DimensionError, missing, 'module.record("v")'):
        ds.jfne.transmembrane_currents()


def test_cells_of_one_compartment_have_no_currents():
    """Their voltages, in any precision, tell nothing of a field: it says so, and the card suggests none."""
    points = jfx.morphology(np.zeros((2, 3)), np.full((2, 3), 10.0), 10.0, [-1, -1])
    v = jfx.traces(np.zeros((2, 5), np.float32), ("recording", "time"), dt_ms=0.1)
    ds = v.jfne.with_morphology(points)
    with pytest.warns(UserWarning, match="no two compartments are joined.*lfp_proxy") as said:
        made = ds.jfne.transmembrane_currents()
    assert len(said) == 1
    assert not magnitude(made.i_membrane.data).any()
    assert "transmembrane_currents" not in str(ds.jfne)
    assert "jfne.lfp(" not in str(ds.jfne)
    injected = xr.DataArray(np.ones((2, 5)), dims=("recording", "time"), attrs={"units": "nA"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds.jfne.transmembrane_currents(stimulus=injected)


def test_units_may_be_given_other_numbers():
    """Compartments are joined by their own ids: names of cells are the user's."""
    values = voltages().values[..., 0]
    ds = jfx.traces(values, ("time", "recording"), dt_ms=0.1).jfne.with_morphology(cells())
    want = magnitude(ds.jfne.transmembrane_currents().i_membrane.data)
    assert np.abs(want).max() > 0.1
    renamed = ds.assign_coords(unit=("recording", [f"cell {u}" for u in ds.unit.values]))
    got = magnitude(renamed.jfne.transmembrane_currents().i_membrane.data)
    np.testing.assert_array_equal(got, want)
    alone = renamed.isel(recording=renamed.unit == "cell 1")
    got = magnitude(alone.jfne.transmembrane_currents().i_membrane.data)
    np.testing.assert_array_equal(got, want[:, ds.unit.values == 1])
