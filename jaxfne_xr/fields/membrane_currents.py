"""Transmembrane currents: what leaves each compartment through its membrane, from voltages and axial conductances.

The axial conductances of a cell lie on the dim ``edge``: `from_jaxley`, `from_lfpy` and `morphology` make them. By
Kirchhoff, what enters a compartment along the cable leaves through its membrane, outward positive, in nA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import blocks, is_dask, is_jax, is_traced, precision_of, take
from jaxfne_xr.core.cards import Badge, Card, Table
from jaxfne_xr.core.dispatch import across, checked, contract, jointly, on_arrays
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    raise_problems,
    warn,
)
from jaxfne_xr.core.inputs import (
    as_dataset,
    current_name,
    groups_of,
    in_nA,
    misaligned,
    require_site_dim,
    unit_problem,
    voltage_of,
)
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.time_axis import TIME, time_problem
from jaxfne_xr.core.units import is_quantity, magnitude, units_of
from jaxfne_xr.geometry.cable import Cable, Static, cable_of
from jaxfne_xr.kernels.fields import membrane_currents as kernels
from jaxfne_xr.kernels.fields import membrane_currents_numpy as current_numpy

#: How voltages were integrated, which says what the current of one step is.
SCHEMES = ("backward_euler", "crank_nicolson")
#: Voltages, mV, that the expected error of float32 is stated for.
LARGEST = 100.0


def transmembrane_currents(
    ds: xr.Dataset | xr.DataArray,
    *,
    scheme: str = "backward_euler",
    stimulus: xr.DataArray | None = None,
) -> xr.Dataset:
    """Return the current that leaves each compartment through its membrane, from the voltages of all of them.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Traces or Signals: a voltage (mV) on ``recording`` and any other dims, in any order; ``compartment_id`` on
        ``recording``; ``conductance`` (uS) on ``edge`` with ``edge_from`` and ``edge_to``, numbers as in
        ``compartment_id``. Cells without a voltage are left out; of the others every compartment is needed.
    scheme : {"backward_euler", "crank_nicolson"}
        How the voltages were integrated. ``I[k]`` is ``G V[k]`` or ``G (V[k-1] + V[k]) / 2``, the current of the step
        from k-1 to k. Jaxley's default is the first; NEURON's too, unless ``secondorder`` is set.
    stimulus : xr.DataArray, optional
        Current injected by intracellular electrodes (nA), positive inward, to be included: on dims of the voltage, or
        without ``recording`` but with a coordinate ``compartment_id`` that says where. Sample k counts in step k: in
        Jaxley, whose sample k acts from k to k+1, shift it by one first.

    Returns
    -------
    xr.Dataset
        ``i_membrane`` (nA, outward positive) on the dims of the voltage: capacitive, ionic and synaptic currents
        together, ``I_i = sum_j g_ij (V_j - V_i) + stimulus_i``. Without the stimulus the currents of a cell sum to
        zero, and an electrode's current is missing where it enters; with it they sum to the stimulus.
        ``attrs["stimulus"]`` says which.

    Raises
    ------
    VariableError
        If there is no voltage or no conductance.
    DimensionError
        If a compartment of a recorded cell has no voltage: which.
    ArgumentError, UnitError
        If the scheme is not known, or the stimulus does not fit.

    Warns
    -----
    UserWarning
        If voltages are float32 or coarser: the largest error that their rounding can cause. If every cell has a single
        compartment: all of its currents are zero.

    Notes
    -----
    Exact for the spatial discretisation of the simulator, to rounding: these are the currents that its own equations
    contain, while summing recorded channel currents, which belong to another time, is off by tens of percent.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0])
    >>> v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    >>> i = transmembrane_currents(v.jfne.with_morphology(cell)).i_membrane
    >>> i.data.magnitude.round(3).tolist(), i.stimulus
    ([[0.0, -1.257], [0.0, 1.257]], 'not included')
    """
    ds = as_dataset(ds, "ds")
    if scheme not in SCHEMES:
        raise ArgumentError.of(
            "scheme",
            found=repr(scheme),
            expected=f"one of {list(SCHEMES)}",
            remedy='scheme="backward_euler"',
        )
    cable = cable_of(ds)
    v = voltage_of(ds)
    if scheme == "crank_nicolson" and TIME not in v.dims:
        raise time_problem(
            f"the dims {v.dims}", "time: a step lies between two samples", 'scheme="backward_euler"'
        )
    made = across(
        _current,
        _current_of_numpy,
        v,
        cable.dim,
        cable.conductance,
        look_back=int(scheme == "crank_nicolson"),
        ends=cable.ends,
        method=scheme,
    )
    if cable.ends.arrays[0].size:
        _warn_of_rounding(v, made, cable)
    elif stimulus is None:
        warn(
            "no two compartments are joined, so that all transmembrane currents are 0, and any field of them: what "
            "enters a compartment leaves it at the same place. Use cells of several compartments, or a proxy: "
            "ds.jfne.to_signals().jfne.lfp_proxy(...)."
        )
    if stimulus is not None:
        made = _plus(made, _stimulus(ds, stimulus, v, cable.dim))
    included = "not included" if stimulus is None else "included"
    return finish(
        ds,
        "i_membrane",
        made,
        "nA",
        {
            "source": "transmembrane_current",
            "scheme": scheme,
            "stimulus": included,
            "precision": str(v.dtype),
        },
        stage="currents",
        attrs={"stimulus": included, "scheme": scheme, "sign_convention": "outward positive"},
        function="transmembrane_currents",
    )


@dataclass(frozen=True)
class CurrentReport:
    """How far the transmembrane currents of each cell are from summing to what they should; true where they do.

    Attributes
    ----------
    cells : tuple of (label, residual, largest)
        Of each cell: the largest size over time of the sum of its currents less its stimulus, nA, and of the sum of
        their sizes, nA.
    tolerance : float
        Residuals up to this share of the sum of sizes are rounding.
    stimulus : str
        ``"included"`` or ``"not included"`` in the currents.
    """

    cells: tuple[tuple[Any, float, float], ...]
    tolerance: float
    stimulus: str

    def __bool__(self) -> bool:
        return all(residual <= self.tolerance * size for _, residual, size in self.cells)

    def __str__(self) -> str:
        rows = [
            f"{label!s:>8}  {residual:12.3e}  {size:12.3e}"
            + ("" if residual <= self.tolerance * size else "  not closed")
            for label, residual, size in self.cells
        ]
        head = f"transmembrane currents, stimulus {self.stimulus}: "
        head += "every cell is closed" if self else "not every cell is closed"
        title = f"{'unit':>8}  {'|sum I| (nA)':>12}  {'sum |I| (nA)':>12}"
        return "\n".join(line.rstrip() for line in (head, title, *rows))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = tuple(
            (f"{label}", f"{residual:.3g}", f"{size:.3g}") for label, residual, size in self.cells
        )
        table = Table(("unit", "|sum I| (nA)", "sum |I| (nA)"), rows)
        badge = Badge("closed", "good") if self else Badge("not closed", "bad")
        about = (("stimulus", self.stimulus), ("cells", table))
        return Card("Transmembrane currents of each cell", about, badge).html()


def check_currents(
    ds: xr.Dataset | xr.DataArray, *, stimulus: xr.DataArray | None = None
) -> CurrentReport:
    """Return how far the currents of each cell are from summing to zero, or to the stimulus that they include.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With ``i_membrane``, or ``source`` in nA, or what `transmembrane_currents` needs.
    stimulus : xr.DataArray, optional
        What was included in the currents, as for `transmembrane_currents`.

    Returns
    -------
    CurrentReport
        One row a ``unit``; prints as a table. The currents are computed where they are dask.

    Raises
    ------
    DataError
        If JAX traces them: a report needs numbers.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0])
    >>> v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    >>> check_currents(v.jfne.with_morphology(cell))
    transmembrane currents, stimulus not included: every cell is closed
        unit  |sum I| (nA)  sum |I| (nA)
           0     0.000e+00     2.513e+00
    """
    ds = as_dataset(ds, "ds")
    ds, name = with_currents(ds)
    variable = ds.variables[name]
    dim = require_site_dim(variable, name)
    if is_traced(variable._data):
        raise DataError.of(
            name,
            found="data that JAX traces",
            expected="concrete currents",
            remedy="check_currents outside jit and grad",
        )
    current = xr.Variable(variable.dims, magnitude(variable.data))
    included = str(
        variable.attrs.get("stimulus", "not included" if stimulus is None else "included")
    )
    labels, group = ["all"], np.zeros(ds.sizes[dim], int)
    if "unit" in (*ds.coords, dim):
        labels, group = groups_of(ds, dim, "unit")
    rest = tuple(d for d in current.dims if d != dim)
    excess = current if stimulus is None else _plus(current, -_stimulus(ds, stimulus, current, dim))
    sums, sizes = (
        jointly(
            _sums, x.transpose(*rest, dim), dims=[("group",)], group=Static(group), n=len(labels)
        )[0]
        for x in (excess, abs(current))
    )
    rows = zip(labels, np.asarray(sums.data).tolist(), np.asarray(sizes.data).tolist(), strict=True)
    precision = np.finfo(current.dtype if current.dtype.kind == "f" else np.float64)
    return CurrentReport(tuple(rows), float(precision.eps) ** 0.5, included)


def _current(v: Any, g: Any, *, axis: int, time_axis: int | None, ends: Static, method: Any) -> Any:
    start, stop = ends.arrays
    return kernels.transmembrane_current(
        v, start, stop, g, axis=axis, time_axis=time_axis, method=method
    )


def _current_of_numpy(
    v: np.ndarray, g: Any, *, axis: int, time_axis: int | None, ends: Static, method: Any
) -> np.ndarray:
    start, stop = ends.arrays
    return current_numpy.transmembrane_current(
        v, start, stop, g, axis=axis, time_axis=time_axis, method=method
    )


def _sums(current: Any, *, group: Static, n: int) -> Any:
    """Return the largest size of the sum over each group, over all other axes."""
    total = abs(kernels.current_sum(current, group.arrays[0], n_groups=n, axis=-1))
    return total.reshape(-1, n).max(axis=0, initial=0)


# ----------------------------------------------------------------------------------- what the Dataset holds


def with_currents(ds: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return a Dataset with currents (nA) and their name: those it has, else those that its voltages imply.

    A voltage without conductances is refused, with the way to get currents.
    """
    name = current_name(ds)
    if name is not None:
        return ds, name
    return transmembrane_currents(ds), "i_membrane"


def _stimulus(ds: xr.Dataset, stimulus: xr.DataArray, v: xr.Variable, dim: str) -> xr.Variable:
    """Return the injected current, bare, in nA and in the precision of `v`, on dims of `v`."""
    if not isinstance(stimulus, xr.DataArray):
        raise _misfit(f"a {type(stimulus).__name__}", v, dim)
    raise_problems(misaligned(ds, stimulus, "stimulus"))
    bare = stimulus.variable
    given = xr.Variable(bare.dims, bare._data if is_quantity(bare._data) else bare.data, bare.attrs)
    if units_of(given) is None:
        given.attrs["units"] = "nA"
    raise_problems(unit_problem(given, "stimulus", "nA"))
    current = in_nA(given)
    dtype = v.dtype if v.dtype.kind == "f" else np.dtype(np.float64)
    current = xr.Variable(current.dims, current.data.astype(dtype))
    if current.sizes.get(dim) != v.sizes[dim]:  # only some of the compartments: where?
        if "compartment_id" not in stimulus.coords or "compartment_id" not in ds.coords:
            raise _misfit(
                f"the sizes {dict(current.sizes)}, without a compartment_id to say where", v, dim
            )
        if dim not in current.dims:
            current = xr.Variable((dim, *current.dims), current.data[None])
        ids = np.asarray(ds.variables["compartment_id"].data)
        here = ids == np.atleast_1d(stimulus.coords["compartment_id"].values)[:, None]
        if not here.any(axis=1).all():
            raise _misfit("a compartment_id that is not among the rows", v, dim)
        (current,) = [contract(here.T.astype(dtype), current, dim, dim)]
    if any(current.sizes[d] != v.sizes.get(d) for d in current.dims):
        raise _misfit(f"the sizes {dict(current.sizes)}", v, dim)
    return checked(current, "stimulus")


def _plus(current: xr.Variable, more: xr.Variable) -> xr.Variable:
    with precision_of(current):
        return (current + more).transpose(*current.dims)


def _misfit(found: str, v: xr.Variable, dim: str) -> DimensionError:
    return DimensionError.of(
        "stimulus",
        found=found,
        expected=f"a DataArray (nA) on dims of the voltage, {dict(v.sizes)}, or for one compartment",
        remedy=f'xr.DataArray(i, dims="time", coords={{"compartment_id": ds.compartment_id[0].item()}}), '
        f"one sample for each of the voltage; along {dim!r} too where there are several",
    )


def _warn_of_rounding(v: xr.Variable, made: xr.Variable, cable: Cable) -> None:
    """Say what rounding the voltages can do to the currents, where they are coarser than float64."""
    if v.dtype.kind != "f" or v.dtype.itemsize >= 8 or is_traced(cable.conductance):
        return
    size = np.full(v.sizes[cable.dim], LARGEST)
    g = np.asarray(cable.conductance, float)
    bound = float(
        np.max(on_arrays(_bound, size, g, ends=cable.ends, dtype=str(v.dtype)), initial=0)
    )
    share = ""
    if made.size and not (is_dask(made.data) or is_traced(made.data)):
        largest = _largest(made.data)
        share = f", which is {bound / largest:.1e} of the largest current" if largest else ""
    warn(
        f"voltages are {v.dtype}: their rounding can change a transmembrane current by up to {bound:.1e} nA{share}. "
        'Simulate and keep them in float64 where that is too much: jax.config.update("jax_enable_x64", True).'
    )


def _largest(data: Any) -> float:
    """Return the largest size of any number."""
    if is_jax(data):
        return float(abs(data).max())
    axis, slices = blocks(data)
    parts = [data[take(axis, where)] for where in slices]  # each looked at twice while in cache
    return max(max(float(part.max()), -float(part.min())) for part in parts)


def _bound(size: Any, g: Any, *, ends: Static, dtype: str) -> Any:
    start, stop = ends.arrays
    return kernels.rounding_bound(size, start, stop, g, dtype=dtype)
