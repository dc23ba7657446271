"""What the tests of the labelled functions share: every kind of array, every order of dims, what an error says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.units import is_quantity, magnitude, quantity

DIMS = ("time", "unit", "trial")
SIZES = {"time": 9, "unit": 3, "trial": 2}


def to_jax(values: np.ndarray) -> jax.Array:
    """Return a JAX array of the same precision, also where 64 bits are off."""
    with precision_of(values):
        return jnp.array(values)


def to_dask(values: np.ndarray) -> dask.array.Array:
    """Return a dask array in chunks of two, which divide nothing evenly."""
    return dask.array.from_array(values, chunks=2)


@dataclass(frozen=True)
class Backend:
    """One kind of array, with its unit in attrs or as a pint quantity."""

    name: str
    array: Callable[[np.ndarray], Any]
    kind: type
    quantified: bool

    def by_hand(
        self, values: Any, dims: Sequence[str], units: str = "mV", name: str = "v", dt: float = 0.1
    ) -> xr.Dataset:
        """Return the Dataset that someone would make with xarray alone."""
        data, attrs = self.array(np.asarray(values)), {"units": units}
        if self.quantified:
            data, attrs = quantity(data, units), {}
        ds = xr.Dataset({name: (tuple(dims), data, attrs)})
        return ds.assign_coords(time=("time", dt * np.arange(ds.sizes["time"]), {"units": "ms"}))

    def traces(self, values: Any, dims: Sequence[str], **options: Any) -> xr.Dataset:
        """Return `jfx.traces` of this kind of array."""
        options = {"dt_ms": 0.1, "quantify": self.quantified} | options
        return jfx.traces(self.array(np.asarray(values)), dims, **options)

    def holds(self, variable: xr.DataArray, *, unit: bool = True) -> bool:
        """Whether a variable is of this kind; `unit`: whether it has a unit, and so may be a quantity."""
        data = variable.variable._data
        quantified = is_quantity(data)
        return quantified == (self.quantified and unit) and isinstance(magnitude(data), self.kind)

    def values(self, variable: xr.DataArray) -> np.ndarray:
        """Return the numbers of a variable as NumPy."""
        return np.asarray(magnitude(variable.variable._data))


BACKENDS = [
    Backend("numpy", np.array, np.ndarray, False),
    Backend("jax", to_jax, jax.Array, False),
    Backend("dask", to_dask, dask.array.Array, False),
    Backend("numpy-quantified", np.array, np.ndarray, True),
    Backend("dask-quantified", to_dask, dask.array.Array, True),
]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every kind of array, in turn with the other parameters of a test: see `chosen`."""
    return request.param


@pytest.fixture(params=list(permutations(DIMS)), ids="-".join)
def order(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Every order of three dims, in turn with the other parameters of a test: see `chosen`."""
    return request.param


#: The parameters that meet in `core.dispatch` and nowhere else.
LAYOUT = {"backend", "order"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say how many cases of a test with parameters run."""
    group = parser.getgroup("cases of a test")
    group.addoption(
        "--every-combination",
        action="store_true",
        help="run every kind of array in every order of dims with every other parameter",
    )
    group.addoption(
        "--one-each",
        action="store_true",
        help="run every test function with the first values of its parameters, but every kind of array",
    )


def chosen(cases: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return which cases of a test to run: few, in which every value of `LAYOUT`, and all else, still occurs.

    How an array is laid out in memory is decided in `core.dispatch`, whose tests run every kind of array in every
    order of dims (the mark ``every_combination``). Elsewhere each kind and each order is tested at least once, and so
    is every combination of the other parameters; not their product.
    """
    parts = []
    for case in cases:
        # by identity: values need not be hashable, and are the same objects in all cases
        rest = tuple((name, id(value)) for name, value in case.items() if name not in LAYOUT)
        layout = {(name, id(value)) for name, value in case.items() if name in LAYOUT}
        parts.append(layout | {("the rest", rest)})
    seen: set[Any] = set()
    found: list[int] = []
    for new in (3, 2, 1):  # first the cases of which all parts are new
        for k, part in enumerate(parts):
            if len(part - seen) >= min(new, len(part)):
                found.append(k)
                seen |= part
    return sorted(found)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases of each test function that `chosen` leaves out."""
    if config.getoption("every_combination"):
        return
    functions: dict[Any, list[pytest.Item]] = {}
    for item in items:
        functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    one_each = config.getoption("one_each")
    kept: set[pytest.Item] = set()
    for cases in functions.values():
        first, parameters = cases[0], [getattr(c, "callspec", None) for c in cases]
        calls = [{} if call is None else call.params for call in parameters]
        if one_each and not first.get_closest_marker("every_version"):
            # every kind of array and every order of dims, with the first values of all other parameters
            calls = [{k: v for k, v in call.items() if k in LAYOUT} for call in calls]
        elif first.get_closest_marker("every_combination") or not LAYOUT & {*calls[0]}:
            kept.update(cases)
            continue
        kept.update(cases[k] for k in chosen(calls))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


@pytest.fixture
def voltage() -> xr.DataArray:
    """Float32 voltages around 0 mV, so that many samples cross it, on (time, unit, trial)."""
    random = np.random.default_rng(1)
    values = random.normal(0, 30, tuple(SIZES[d] for d in DIMS)).astype(np.float32)
    return xr.DataArray(values, dims=DIMS)


@pytest.fixture
def refused() -> Callable[..., Any]:
    """Return a context manager: the body must raise one error of exactly this type, which says what to do."""

    @contextmanager
    def check(error: type[jfx.JfneError], *said: str) -> Iterator[pytest.ExceptionInfo[Any]]:
        with pytest.raises(jfx.JfneError) as caught:
            yield caught
        assert type(caught.value) is error, caught.value
        text = str(caught.value)
        for problem in caught.value.problems:
            for part in (problem.where, problem.found, problem.expected, problem.remedy):
                assert part
                assert part in text
        for part in said:
            assert part in text

    return check


def check_derivatives(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    eps: float = 1e-4,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> None:
    """Require that derivatives of `f`, forward and reverse, are central differences along a random direction.

    What `jax.test_util.check_grads` requires, with its tolerances, from one compiled program instead of up to ten. It
    computes the value and the derivative in reverse; and what both change by, forward, or, of first order, what the
    value changes by. `f` must allow to be traced.
    """
    rng = np.random.default_rng(0)

    def random(tree: Any) -> Any:
        def like(x: Any) -> Any:
            real, imaginary = rng.normal(size=(2, *x.shape))
            is_complex = np.issubdtype(x.dtype, np.complexfloating)
            return (real + 1j * imaginary if is_complex else real).astype(x.dtype)

        return jax.tree.map(like, tree)

    def inner(a: Any, b: Any) -> Any:
        return sum(np.sum(x * y).real for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))

    def moved(step: float) -> Any:
        return jax.tree.map(lambda x, t: x + x.dtype.type(step) * t, args, way)

    def both(args: Any, weight: Any) -> Any:
        value, pull = jax.vjp(f, *args)
        return value, pull(weight)

    @jax.jit
    def run(args: Any, way: Any, weight: Any) -> Any:
        if order == 2:
            return jax.jvp(lambda args: both(args, weight), (args,), (way,))
        pushed = (jax.jvp(lambda args: f(*args), (args,), (way,))[1],) if "fwd" in modes else ()
        return both(args, weight), pushed

    args = jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), tuple(args))
    way = random(args)
    weight = random(jax.eval_shape(f, *args))
    at = lambda args: jax.tree.map(np.asarray, run(args, way, weight))
    (_, pulled), found = at(args)
    up, down = (at(moved(step))[0] for step in (eps, -eps))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(pulled))
    want = jax.tree.map(lambda a, b: (a - b) / (2 * eps), up[:order], down[:order])
    same = zip(*map(jax.tree.leaves, (found, want)), strict=True) if found else ()
    for got, expected in same:
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    np.testing.assert_allclose(inner(way, pulled), inner(weight, want[0]), rtol=rtol, atol=atol)


@pytest.fixture(name="check_derivatives")
def _check_derivatives() -> Callable[..., None]:
    """Compare derivatives with central differences."""
    return check_derivatives


def crossings(v: np.ndarray, threshold: float, axis: int, apart: int = 1) -> np.ndarray:
    """Return the crossings of a threshold, none less than `apart` after another, by a plain loop over samples."""
    v = np.moveaxis(np.asarray(v), axis, 0)
    spikes = np.zeros(v.shape, bool)
    for place in np.ndindex(v.shape):
        k, *rest = place
        dead = spikes[(slice(max(k - apart + 1, 0), k), *rest)].any()
        rises = k > 0 and v[place] >= threshold and v[(k - 1, *rest)] < threshold
        spikes[place] = rises and not dead
    return np.moveaxis(spikes, 0, axis)


@pytest.fixture(name="crossings")
def _crossings() -> Callable[..., np.ndarray]:
    """The reference for the rule of crossings."""
    return crossings


#: A soma, an axon, and an apical dendrite that forks; made up for these tests.
SWC = """\
1 1 0 0 0 8 -1
2 1 0 8 0 8 1
3 1 0 -8 0 8 1
4 3 0 20 0 2 1
5 3 0 120 0 1.5 4
6 3 60 200 10 1 5
7 3 -60 210 -20 1 5
8 3 -100 260 -20 0.6 7
9 2 10 -20 0 0.8 1
10 2 40 -150 5 0.5 9
"""


@pytest.fixture(scope="session")
def neuron_cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SimpleNamespace]:
    """Return a branched LFPy cell as two runs left it: with two synapses, and with a current clamp besides.

    There is only one cell in all: NEURON crashes when another is made after one with synapses.
    """
    import LFPy

    path = tmp_path_factory.mktemp("swc") / "cell.swc"
    path.write_text(SWC)
    cell = LFPy.Cell(
        morphology=str(path), passive=True, passive_parameters={"g_pas": 1e-4, "e_pas": -65.0},
        cm=1.0, Ra=120.0, nsegs_method="lambda_f", lambda_f=500, dt=2**-5, tstart=0, tstop=20, v_init=-65.0,
    )  # fmt: skip
    for place, weight in (((60, 200, 10), 0.005), ((-100, 260, -20), 0.003)):
        synapse = LFPy.Synapse(
            cell, idx=cell.get_closest_idx(*place), e=0, syntype="ExpSyn", tau=3.0, weight=weight
        )
        synapse.set_spike_times(np.array([3.0, 7.0]))
    runs = {}
    for name in ("synapses", "clamp"):
        if name == "clamp":
            LFPy.StimIntElectrode(cell, idx=0, pptype="IClamp", amp=0.3, delay=2.0, dur=5.0)
        cell.simulate(rec_vmem=True, rec_imem=True)
        names = (
            "allseclist",
            "totnsegs",
            "x",
            "y",
            "z",
            "d",
            "area",
            "somaidx",
            "vmem",
            "imem",
            "tvec",
        )
        runs[name] = SimpleNamespace(cell=cell, **{n: getattr(cell, n) for n in names})
    return runs


@pytest.fixture(scope="session")
def stages() -> dict[str, xr.Dataset]:
    """Return a small Dataset of every stage, quantified NumPy."""
    rng = np.random.default_rng(3)
    ends = [[0, 0, 0], [0, 0, 100], [0, 0, 300]], [[0, 0, 100], [0, 0, 300], [0, 0, 400]]
    cell = jfx.morphology(*ends, diameter=2.0, parent=[-1, 0, 1])
    probe = jfx.linear_probe(6, spacing="100 um", origin=(50, 0, -50))
    v = jfx.traces(
        np.where(rng.random((3, 1200)) < 0.02, 20.0, rng.normal(-65, 1, (3, 1200))),
        ("recording", "time"),
        dt_ms=0.1,
        coords={"layer": ("recording", ["L5", "L5", "L2/3"])},
    )
    traces = v.jfne.with_morphology(cell)
    signals = traces.jfne.to_signals()
    currents = traces.jfne.transmembrane_currents()
    lfp = currents.jfne.lfp(probe)
    dipoles = currents.jfne.dipole_moment()
    cap = jfx.probe_at([[0, 0, 90], [0, 90, 0]], units="mm", name=["Cz", "Fpz"], dim="channel")
    return {
        "plain traces": v,
        "traces": traces,
        "signals": signals,
        "spike times": signals.jfne.spike_times(),
        "firing rate": signals.jfne.firing_rate(),
        "source": signals.jfne.source(),
        "currents": currents,
        "lead field": currents.jfne.lead_field(probe),
        "lfp": lfp,
        "csd": lfp.jfne.csd("kernel"),
        "psd": lfp.jfne.psd("lfp"),
        "dipoles": dipoles,
        "eeg": dipoles.jfne.move_to(x=0, y=0, z="78 mm").jfne.eeg(cap),
        "lfp proxy": signals.jfne.lfp_proxy(probe),
        "readouts": signals.jfne.compute_readout(["vm", "spike_rate_hz"]),
        "summary": signals.jfne.summary(by="layer"),
        "probe": probe,
        "morphology": cell,
    }
