"""`morphology`, `with_morphology`, `from_lfpy`: geometry and axial conductances."""

from contextlib import nullcontext
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx
from jaxfne_xr.core.units import magnitude

ureg = pint.application_registry


def straight(n, parent, **options):
    """Return n segments of 10 um by 2 um, one above the other: half of each is 1.59 MOhm."""
    z = 10.0 * np.arange(n)
    start = np.stack([0 * z, 0 * z, z], axis=1)
    return jfx.morphology(start, start + [0, 0, 10], 2.0, parent, **options)


HALF = 100 / 100 * 5 / np.pi  # MOhm


def edges(cell):
    """Return the conductance of every pair that is joined, uS."""
    pairs = zip(cell.edge_from.values.tolist(), cell.edge_to.values.tolist(), strict=True)
    return dict(zip(pairs, magnitude(cell.conductance.data).tolist(), strict=True))


def test_a_chain():
    cell = straight(3, [-1, 0, 1])
    assert edges(cell) == pytest.approx({(0, 1): 1 / (2 * HALF), (1, 2): 1 / (2 * HALF)}, rel=1e-14)
    assert cell.membrane_area.data == pytest.approx(np.full(3, np.pi * 20))
    assert cell.soma.values.tolist() == [True, False, False]
    assert cell.z.values.tolist() == [5, 15, 25]
    assert {cell[n].attrs["units"] for n in ("x", "z_end", "diameter")} == {"um"}
    assert cell.membrane_area.attrs["units"] == "um^2"
    assert cell.jfne.provenance["steps"][0]["parameters"]["geometry"] == "declared"


def test_a_fork_is_a_star_turned_into_a_mesh():
    third = 1 / (3 * HALF)
    want = {(0, 1): third, (0, 2): third, (1, 2): third}
    assert edges(straight(3, [-1, 0, 0])) == pytest.approx(want, rel=1e-14)


@pytest.mark.parametrize(
    ("at", "want"),
    [
        ([1, 0.5, 1], {(0, 1): 1 / HALF, (1, 2): 1 / (2 * HALF)}),
        ([1, 0, 0], {(0, 1): 1 / (3 * HALF), (0, 2): 1 / (3 * HALF), (1, 2): 1 / (3 * HALF)}),
        ([1, 0.5, 0], {(0, 1): 1 / HALF, (0, 2): 1 / HALF}),
    ],
    ids=["middle", "start of the root", "start of what is attached to a middle"],
)
def test_where_on_the_parent(at, want):
    assert edges(straight(3, [-1, 0, 1], at=at)) == pytest.approx(want, rel=1e-14)


def test_units_lengths_and_areas():
    mm = jfx.morphology(
        np.zeros((2, 3)) * ureg.mm, [[0, 0, 0.01], [0, 0, 0.01]] * ureg.mm, "2 um", [-1, 0],
        length=[20.0, 20.0], axial_resistivity="1 ohm*m", membrane_area=[1.0, 2.0], soma=[False, True],
    )  # fmt: skip
    assert edges(mm) == pytest.approx({(0, 1): 1 / (4 * HALF)}, rel=1e-14)
    assert mm.z_end.values == pytest.approx([10, 10])
    assert mm.membrane_area.data.tolist() == [1, 2]
    assert mm.soma.values.tolist() == [False, True]
    point = jfx.morphology([[1, 2, 3]], [[1, 2, 3]], 6.0, [-1])  # a soma traced as one point
    assert point.membrane_area.data[0] == pytest.approx(np.pi * 36)
    assert point.sizes["edge"] == 0


def test_a_root_or_a_soma_may_be_a_point():
    ends = [[0, 0, 0], [0, 0, 0], [0, 0, 5]], [[0, 0, 0], [0, 0, 5], [0, 0, 5]]
    cell = jfx.morphology(*ends, [6.0, 1.0, 4.0], [-1, 0, 1], soma=[False, False, True])
    assert cell.membrane_area.data == pytest.approx(np.pi * np.array([36, 5, 16]))


def test_a_short_segment_is_the_limit_of_none():
    """A segment of 1e-9 um adds nothing to the cable: leaving it out, as the error for 0 um says, is right."""
    whole = jfx.morphology(np.zeros((2, 3)), [[0, 0, 10.0], [0, 0, 50.0]], [5.0, 2.0], [-1, 0])
    start, end = [[0, 0, 0], [0, 0, 10], [0, 0, 10]], [[0, 0, 10.0], [0, 0, 10 + 1e-9], [0, 0, 60]]
    split = jfx.morphology(start, end, [5.0, 2.0, 2.0], [-1, 0, 1])
    g = edges(split)
    assert 1 / (1 / g[0, 1] + 1 / g[1, 2]) == pytest.approx(edges(whole)[0, 1], rel=1e-6)


def test_several_cells():
    cell = straight(5, [-1, 0, -1, 2, 3])
    assert cell.unit.values.tolist() == [0, 0, 1, 1, 1]
    assert cell.edge_unit.values.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"start": np.zeros((2, 2))}, jfx.DimensionError, "start"),
        ({"end": np.zeros((3, 3))}, jfx.DimensionError, "end"),
        ({"start": [[0, 0, np.nan]] * 2}, jfx.ArgumentError, "start"),
        ({"diameter": 0.0}, jfx.ArgumentError, "diameter"),
        ({"diameter": "2 mV"}, jfx.UnitError, "diameter"),
        ({"diameter": [1.0, 2.0, 3.0]}, jfx.DimensionError, "diameter"),
        ({"axial_resistivity": -1.0}, jfx.ArgumentError, "axial_resistivity"),
        ({"parent": [-1, 2]}, jfx.ArgumentError, "numbers from -1 to 2"),
        ({"parent": [-1.0, 0.0]}, jfx.ArgumentError, "parent"),
        ({"parent": [1, 0]}, jfx.ArgumentError, "a cycle"),
        ({"at": 0.3}, jfx.ArgumentError, "at"),
        ({"at": "end"}, jfx.UnitError, "at=0.5"),
        ({"at": [1.0, 1.0, 1.0]}, jfx.DimensionError, "at"),
        ({"start": [[0, 0, 0], [0]]}, jfx.ArgumentError, "start"),
        ({"soma": [True]}, jfx.DimensionError, "soma"),
        ({"units": "mV"}, jfx.UnitError, "mV"),
        ({"end": [[1.0, 1, 1], [0, 0, 0]]}, jfx.ArgumentError, "segment 1"),
        ({"length": [2.0, 1.7]}, jfx.ArgumentError, "for segment 1, from start to end 1.73205"),
    ],
)
def test_bad_input(change, error, said, refused):
    given_ = {"start": np.zeros((2, 3)), "end": np.ones((2, 3)), "diameter": 2.0, "parent": [-1, 0]}
    with refused(error, said):
        jfx.morphology(**(given_ | change))


def test_traced_numbers_are_refused(refused):
    def make(d):
        with refused(jfx.DataError, "diameter"):
            jfx.morphology(np.zeros((1, 3)), np.ones((1, 3)), d, [-1])
        return d

    jax.jit(make)(jnp.ones(1))


@given(st.integers(0, 2**32 - 1), st.integers(2, 15))
def test_conductances_are_those_of_the_whole_network_of_resistors(seed, n):
    """Against the Schur complement of the dense network, points between segments included."""
    random = np.random.default_rng(seed)
    parent = np.array([-1, *(random.integers(k) for k in range(1, n))])
    at, d = random.choice([0.0, 0.5, 1.0], n), random.uniform(0.5, 4, n)
    cell = jfx.morphology(
        np.zeros((n, 3)), np.eye(3)[random.integers(3, size=n)] * 30, d, parent, at=at
    )
    half = 15 / (np.pi * d**2 / 4)
    g = np.zeros((3 * n, 3 * n))  # middles, ends, starts

    def place(k):
        if parent[k] < 0:
            return 2 * n + k
        p = parent[k]
        return {1.0: n + p, 0.5: p}.get(at[k], place(p) if at[k] == 0 else 0)

    for k in range(n):
        for other in (n + k, place(k)):
            for a, b in ((k, other), (other, k)):
                g[a, b] += 1 / half[k]
                g[a, a] -= 1 / half[k]
    used = np.flatnonzero(np.diag(g)[n:]) + n
    want = g[:n, :n] - g[:n, used] @ np.linalg.solve(g[np.ix_(used, used)], g[used, :n])
    made = np.zeros((n, n))
    for (i, j), x in edges(cell).items():
        made[i, j] += x
        made[j, i] += x
    np.fill_diagonal(made, -made.sum(axis=1))
    assert np.abs(made - want).max() <= 1e-12 * np.abs(want).max()


# ----------------------------------------------------------------------------------------------- with_morphology


def test_with_morphology(backend):
    cell = straight(3, [-1, 0, 1])
    ds = backend.traces(np.zeros((3, 4)), ("recording", "time"))
    made = ds.jfne.with_morphology(cell)
    assert backend.holds(made.v)
    assert made.conductance.dims == ("edge",)
    assert ("pint" in str(type(made.conductance.variable._data))) == backend.quantified
    assert made.jfne.provenance["steps"][-1]["function"] == "with_morphology"
    assert made.jfne.validate()
    again = made.jfne.with_morphology(straight(3, [-1, 0, 0]))
    assert again.sizes["edge"] == 3
    signals = ds.jfne.to_signals().jfne.with_morphology(cell)
    assert signals.jfne.provenance["stage"] == "signals"
    assert signals.attrs["amplitude_status"] == 0


def test_with_morphology_that_does_not_fit(refused):
    ds = jfx.traces(np.zeros((2, 4)), ("recording", "time"), dt_ms=0.1)
    with refused(jfx.DimensionError, "recording: 3"):
        ds.jfne.with_morphology(straight(3, [-1, 0, 1]))
    with refused(jfx.VariableError, "conductances"):
        ds.jfne.with_morphology(ds)
    with refused(jfx.ArgumentError, "ndarray"):
        ds.jfne.with_morphology(np.zeros(3))


# ------------------------------------------------------------------------------------------------------ from_lfpy


def test_what_is_no_lfpy_cell(refused):
    with refused(jfx.ArgumentError, "SimpleNamespace", "allseclist"):
        jfx.from_lfpy(SimpleNamespace(totnsegs=3))
    with refused(jfx.ArgumentError, "no cells"):
        jfx.from_lfpy([])


@pytest.mark.oracle
@pytest.mark.parametrize("recorded", ["both", "v", "nothing"])
def test_from_lfpy(neuron_cells, recorded):
    cell = SimpleNamespace(**vars(neuron_cells["synapses"]))
    if recorded != "both":
        del cell.imem
    if recorded == "nothing":
        del cell.vmem
    ds = jfx.from_lfpy(cell)
    assert list(ds) == [
        *{"both": ["v", "i_membrane"], "v": ["v"], "nothing": []}[recorded],
        "conductance",
    ]
    n = cell.totnsegs
    assert ds.sizes["recording"] == n
    assert ds.sizes["edge"] >= n - 1
    np.testing.assert_array_equal(ds.x_end.values, cell.x[:, 1])
    np.testing.assert_array_equal(ds.diameter.values, cell.d)
    assert ds.section.values[0] == "soma[0]"
    assert ds.soma.values.nonzero()[0].tolist() == cell.somaidx.tolist()
    if recorded != "nothing":
        np.testing.assert_array_equal(ds.v.data.magnitude, cell.vmem)
        assert np.abs(ds.time.values - cell.tvec).max() < 1e-9


@pytest.mark.oracle
@pytest.mark.parametrize("tstart", [0.0, -1.0])
@pytest.mark.parametrize("voltages", [True, False])
def test_the_initial_state_has_no_capacitive_current(neuron_cells, tstart, voltages):
    cell = SimpleNamespace(**vars(neuron_cells["synapses"]), tstart=tstart)
    cell.imem = cell.imem.copy()
    cell.imem[0, 0] += 0.01
    if not voltages:
        del cell.vmem
    warns = tstart == 0.0 and not voltages
    with pytest.warns(UserWarning, match="time=slice") if warns else nullcontext():
        ds = jfx.from_lfpy(cell)
    assert bool(ds.jfne.check_currents()) == (voltages and tstart == 0.0)
    np.testing.assert_array_equal(ds.i_membrane.data.magnitude[:, 1:], cell.imem[:, 1:])
    if warns:
        assert ds.isel(time=slice(1, None)).jfne.check_currents()


@pytest.mark.oracle
@pytest.mark.parametrize("many", [False, True])
def test_transmembrane_currents_are_neurons(neuron_cells, many, agreement):
    cell = neuron_cells["synapses"]
    ds = jfx.from_lfpy([cell, cell] if many else cell)
    made = ds.jfne.transmembrane_currents().i_membrane.data.magnitude
    want = np.concatenate([cell.imem] * (1 + many))
    agreement("transmembrane currents", "NEURON through LFPy, a branched cell", made, want, 1e-10)
    assert ds.drop_vars("i_membrane").jfne.check_currents()
    assert ds.jfne.check_currents()


@pytest.mark.oracle
def test_neurons_current_clamp_is_not_in_g_v(neuron_cells, agreement):
    cell = neuron_cells["clamp"]
    ds = jfx.from_lfpy(cell)
    pulse = np.where((cell.tvec > 2.0) & (cell.tvec <= 7.0 + 1e-9), 0.3, 0.0)
    stimulus = xr.DataArray(pulse, dims="time", coords={"compartment_id": 0})
    made = ds.jfne.transmembrane_currents(stimulus=stimulus).i_membrane.data.magnitude
    agreement(
        "transmembrane currents with a stimulus",
        "NEURON through LFPy, a branched cell",
        made,
        cell.imem,
        1e-10,
    )
    assert ds.i_membrane.attrs["stimulus"] == "included"
    assert ds.jfne.check_currents(stimulus=stimulus)
    assert not ds.jfne.check_currents()
