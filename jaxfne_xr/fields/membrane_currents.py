"""Transmembrane currents of all compartments, from voltages and axial conductances.

The axial conductances of a cell are on the dim ``edge``, as from `from_jaxley`, `from_lfpy` and `morphology`. By
Kirchhoff's law, the current that enters a compartment along the cable leaves it through the membrane: outward positive,
in nA.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
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
    find_voltage,
    groups_of,
    require_site_dim,
    voltage_of,
)
from jaxfne_xr.core.labels import misaligned
from jaxfne_xr.core.numeric import as_floats, is_floating, native, together
from jaxfne_xr.core.results import Made, finish_several
from jaxfne_xr.core.schema import CURRENT_UNKNOWN, INTRACELLULAR, MIXED, WITH
from jaxfne_xr.core.time_axis import TIME, time_problem
from jaxfne_xr.core.types import Array, Stimulus
from jaxfne_xr.core.unit_checks import in_nA, unit_problem
from jaxfne_xr.core.units import bare, is_quantity, units_of
from jaxfne_xr.geometry.cable import Cable, Static, cable_of
from jaxfne_xr.kernels.fields import membrane_currents as kernels
from jaxfne_xr.kernels.fields import membrane_currents_numpy

Scheme = Literal["backward_euler", "crank_nicolson"]
#: Integration schemes of the voltages, which determine the current of one step.
SCHEMES = ("backward_euler", "crank_nicolson")
#: Largest size of a voltage, mV, for which the expected error of float32 is stated.
LARGEST = 100.0


@public
def transmembrane_currents(
    ds: xr.Dataset | xr.DataArray,
    *,
    scheme: str = "backward_euler",
    stimulus: Stimulus | None = None,
) -> xr.Dataset:
    """Compute the current that leaves each compartment through its membrane, from the voltages of all compartments.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Traces or Signals: a voltage (mV) on ``recording`` and any other dims, in any order; ``compartment_id`` on
        ``recording``; ``conductance`` (uS) on ``edge`` with ``edge_from`` and ``edge_to``, numbers as in
        ``compartment_id``. Cells without any voltage are left out; the others need one for every compartment.
    scheme : {"backward_euler", "crank_nicolson"}
        The scheme with which the voltages were integrated: ``I[k]`` is ``G V[k]`` or ``G (V[k-1] + V[k]) / 2``, the
        current of the step from k-1 to k. The first is the default of Jaxley, and of NEURON unless ``secondorder`` is
        set.
    stimulus : xr.DataArray, optional
        Current injected by intracellular electrodes (nA), positive inward, to be included: on dims of the voltage, or
        without ``recording`` but with a coordinate ``compartment_id`` of the compartments. Sample k is added in step k;
        shift a stimulus of Jaxley, whose sample k acts from k to k+1, by one sample first.

    Returns
    -------
    xr.Dataset
        ``i_membrane`` (nA, outward positive) on the dims of the voltage: capacitive, ionic and synaptic currents
        together, ``I_i = sum_j g_ij (V_j - V_i) + stimulus_i``. Without the stimulus the currents of a cell sum to
        zero, and the current of an electrode is missing where it enters; with it they sum to the stimulus.
        ``attrs["stimulus"]`` is ``"included"`` or ``"not included"``. If `ds` has ``i_intracellular`` (nA), the current
        of gap junctions and voltage clamps that `from_jaxley` found, it is added, and also returned.

    Raises
    ------
    VariableError
        If there is no voltage or no conductance.
    DimensionError
        If compartments of a recorded cell have no voltage; the error lists them.
    ArgumentError, UnitError
        If the scheme is not known, or the stimulus does not fit.

    Warns
    -----
    UserWarning
        If voltages are float32 or coarser, with the largest error that their rounding can cause. If every cell has a
        single compartment, whose currents are all zero. If ``i_intracellular`` was not selected with the other
        variables of `from_jaxley`. If what a gap junction or a voltage clamp moves between compartments is not known
        (``current_unknown``): names them.

    Notes
    -----
    Exact to rounding for the spatial discretisation of the simulator: these are the currents in the equations that it
    solves. A sum of recorded channel currents, which belong to another time, has errors of tens of percent.

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
    given = ds.variables[find_voltage(ds)].dtype
    if scheme == "crank_nicolson" and TIME not in v.dims:
        raise time_problem(
            f"the dims {v.dims}",
            "time, since a step lies between two samples",
            'scheme="backward_euler"',
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
        _warn_of_rounding(v, made, cable, given)
    elif stimulus is None and INTRACELLULAR not in ds:
        warn(
            "no two compartments are joined, so all transmembrane currents, and their fields, are 0: the current that "
            "enters a compartment leaves it at the same position. Use cells of several compartments, or a proxy: "
            "ds.jfne.to_signals().jfne.lfp_proxy(...)."
        )
    inside = _from_inside(ds, v, cable.dim)
    if _left_out(ds):
        warn(
            f"{INTRACELLULAR} is not there, the current of gap junctions and voltage clamps that from_jaxley found: "
            "transmembrane currents, and their fields, are wrong at these compartments. Select it with the voltage: "
            f'ds[["{find_voltage(ds)}", "conductance", "{INTRACELLULAR}"]].'
        )
    if inside is not None:
        made = _plus(made, inside)
    if stimulus is not None:
        made = _plus(made, _stimulus(ds, stimulus, v, cable.dim))
    included = "not included" if stimulus is None else "included"
    attrs = {"stimulus": included, "scheme": scheme, "sign_convention": "outward positive"}
    variables: dict[str, Made] = {"i_membrane": (made, "nA", attrs)}
    if inside is not None:
        variables[INTRACELLULAR] = inside, "nA"
    return finish_several(
        ds,
        "transmembrane_currents",
        variables,
        {
            "source": "transmembrane_current",
            "scheme": scheme,
            "stimulus": included,
            "precision": str(given),
        },
        stage="currents",
    )


@dataclass(frozen=True)
class CurrentReport:
    """The error of the sum of each cell's transmembrane currents; true if all are within rounding.

    Attributes
    ----------
    cells : tuple of (label, residual, largest)
        For each cell: the maximum over time of the absolute sum of its currents, minus its stimulus and what gap
        junctions bring, nA, and of the sum of their absolute values, nA.
    tolerance : float
        Residuals up to this fraction of the sum of absolute values are rounding.
    stimulus : str
        Whether it is ``"included"`` or ``"not included"`` in the currents.
    """

    cells: tuple[tuple[Hashable, float, float], ...]
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


@public
def check_currents(
    ds: xr.Dataset | xr.DataArray, *, stimulus: Stimulus | None = None
) -> CurrentReport:
    """Check that the currents of each cell sum to zero, or to the stimulus and currents of gap junctions in them.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With ``i_membrane``, or ``source`` in nA, or the inputs of `transmembrane_currents`; with ``i_intracellular``,
        if the currents include it.
    stimulus : xr.DataArray, optional
        The stimulus that the currents include, as for `transmembrane_currents`.

    Returns
    -------
    CurrentReport
        One row for each ``unit``; prints as a table. Currents in dask are computed.

    Raises
    ------
    DataError
        If JAX traces the currents, since a report needs numbers.

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
            expected="currents with known values",
            remedy="call check_currents outside jit and grad",
        )
    current = xr.Variable(variable.dims, as_floats(in_nA(variable).data))
    included = str(
        variable.attrs.get("stimulus", "not included" if stimulus is None else "included")
    )
    labels, group = ["all"], np.zeros(ds.sizes[dim], int)
    if "unit" in (*ds.coords, dim):
        labels, group = groups_of(ds, dim, "unit")
    rest = tuple(d for d in current.dims if d != dim)
    # The currents of a cell sum to the stimulus that they include; without it they sum to 0.
    excess = current if stimulus is None else _plus(current, -_stimulus(ds, stimulus, current, dim))
    if name == "i_membrane" and (inside := _from_inside(ds, current, dim)) is not None:
        excess = _plus(excess, -inside)
    sums, sizes = (
        jointly(
            _sums, x.transpose(*rest, dim), dims=[("group",)], group=Static(group), n=len(labels)
        )[0]
        for x in (excess, abs(current))
    )
    rows = zip(labels, np.asarray(sums.data).tolist(), np.asarray(sizes.data).tolist(), strict=True)
    # The square root of the precision is a heuristic: half of the digits may be lost to sums over many compartments.
    precision = np.finfo(current.dtype if current.dtype.kind == "f" else np.float64)
    return CurrentReport(tuple(rows), float(precision.eps) ** 0.5, included)


def _current(
    v: Array, g: Array, *, axis: int, time_axis: int | None, ends: Static, method: Scheme
) -> Array:
    start, stop = ends.arrays
    return kernels.transmembrane_current(
        v, start, stop, g, axis=axis, time_axis=time_axis, method=method
    )


def _current_of_numpy(
    v: np.ndarray, g: Array, *, axis: int, time_axis: int | None, ends: Static, method: Scheme
) -> np.ndarray:
    start, stop = ends.arrays
    return membrane_currents_numpy.transmembrane_current(
        v, start, stop, g, axis=axis, time_axis=time_axis, method=method
    )


def _sums(current: Array, *, group: Static, n: int) -> Array:
    """Return the maximum absolute sum of the currents of each group, over all other axes."""
    total = abs(kernels.current_sum(current, group.arrays[0], n_groups=n, axis=-1))
    return total.reshape(-1, n).max(axis=0, initial=0)


# ----------------------------------------------------------------------------------- what the Dataset holds


def with_currents(ds: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Return a Dataset with currents (nA), and their name: those that it has, else those that its voltages imply.

    A voltage without conductances is an error, which says how to get currents.
    """
    name = current_name(ds)
    if name is not None:
        return ds, name
    return transmembrane_currents(ds), "i_membrane"


def _stimulus(ds: xr.Dataset, stimulus: xr.DataArray, v: xr.Variable, dim: str) -> xr.Variable:
    """Return the injected current as bare numbers, nA, on dims of `v` and in its precision."""
    if not isinstance(stimulus, xr.DataArray):
        raise _stimulus_error(f"a {type(stimulus).__name__}", v, dim)
    native(bare(stimulus.variable._data), "stimulus.data")  # of known size, and without a mask
    raise_problems(misaligned(ds, stimulus, "stimulus"))
    x = stimulus.variable
    given = xr.Variable(x.dims, x._data if is_quantity(x._data) else x.data, x.attrs)
    # Bare numbers are in nA, as everywhere in this package.
    if units_of(given) is None:
        given.attrs["units"] = "nA"
    raise_problems(unit_problem(given, "stimulus", "nA"))
    current = in_nA(given)
    dtype = v.dtype if v.dtype.kind == "f" else np.dtype(np.float64)
    current = xr.Variable(current.dims, current.data.astype(dtype))
    # Only some of the compartments: expand to all by their ids.
    if current.sizes.get(dim) != v.sizes[dim]:
        if "compartment_id" not in stimulus.coords or "compartment_id" not in ds.coords:
            raise _stimulus_error(
                f"the sizes {dict(current.sizes)}, without a compartment_id", v, dim
            )
        if dim not in current.dims:
            current = xr.Variable((dim, *current.dims), current.data[None])
        ids = np.asarray(ds.variables["compartment_id"].data)
        here = ids == np.atleast_1d(stimulus.coords["compartment_id"].values)[:, None]
        if not here.any(axis=1).all():
            raise _stimulus_error("a compartment_id that is not in ds", v, dim)
        current = contract(here.T.astype(dtype), current, dim, dim)
    unfit = [d for d in current.dims if current.sizes[d] != v.sizes.get(d)]
    if unfit == [TIME] and TIME in v.dims:
        raise _duration_error(current.sizes[TIME], v.sizes[TIME])
    if unfit:
        raise _stimulus_error(f"the sizes {dict(current.sizes)}", v, dim)
    return checked(current, "stimulus")


def needs_currents(ds: xr.Dataset) -> bool:
    """Whether the axial conductances and the voltages of a Dataset do not tell all of its currents."""
    return INTRACELLULAR in ds.data_vars or CURRENT_UNKNOWN in ds.coords or _left_out(ds)


def _left_out(ds: xr.Dataset) -> bool:
    """Whether a current from inside belongs to the conductances, and was not selected with them."""
    named = str(ds.variables["conductance"].attrs.get(WITH, "")).split()
    return INTRACELLULAR in named and INTRACELLULAR not in ds.data_vars


def _from_inside(ds: xr.Dataset, v: xr.Variable, dim: str) -> xr.Variable | None:
    """Return the current that enters from inside other than along the cable, bare; warn of those not known."""
    if CURRENT_UNKNOWN in ds.coords:
        why = np.asarray(ds.variables[CURRENT_UNKNOWN].data).astype(str)
        for cause in np.unique(why[why != ""]):
            _warn_of_unknown(ds, dim, np.flatnonzero(why == cause), cause)
    if INTRACELLULAR not in ds.data_vars:
        return None
    current = in_nA(ds.variables[INTRACELLULAR])
    missing = {*current.dims} ^ {*v.dims}
    if missing or any(current.sizes[d] != v.sizes[d] for d in v.dims):
        raise DimensionError.of(
            INTRACELLULAR,
            found=f"the sizes {dict(current.sizes)}",
            expected=f"those of the voltage, {dict(v.sizes)}",
            remedy=f'ds.drop_vars("{INTRACELLULAR}"), if the currents of gap junctions and clamps may be left out',
        )
    return current.transpose(*v.dims)


def _warn_of_unknown(ds: xr.Dataset, dim: str, rows: np.ndarray, cause: str) -> None:
    names = [n for n in ("unit", "branch", "compartment") if n in ds.coords] or [dim]
    labels = ds.coords.to_dataset()[names].isel({dim: rows[:5]})
    listed = ", ".join(
        " ".join(f"{name} {labels[name].values[k]}" for name in names)
        for k in range(labels.sizes[dim])
    )
    known = "Make it two types of synapse, an electrical and a chemical one."
    if cause != MIXED:
        known = "integrate_field computes fields in the simulation."
    warn(
        f"the currents of {listed}{', ...' if len(rows) > 5 else ''} are wrong by what is not known of a {cause}: it "
        f"moves charge between insides that voltages do not show. {known}"
    )


def _plus(current: xr.Variable, more: xr.Variable) -> xr.Variable:
    data, other = together(current.data, more.data)
    current, more = xr.Variable(current.dims, data), xr.Variable(more.dims, other)
    with precision_of(data):
        return (current + more).transpose(*current.dims)


def _stimulus_error(found: str, v: xr.Variable, dim: str) -> DimensionError:
    return DimensionError.of(
        "stimulus",
        found=found,
        expected=f"a DataArray (nA) on dims of the voltage, {dict(v.sizes)}, or for one compartment",
        remedy=f'xr.DataArray(current, dims="time", coords={{"compartment_id": ds.compartment_id[0].item()}}), '
        f"with as many samples as the voltage; for several compartments also along {dim!r}",
    )


def _duration_error(given: int, wanted: int) -> DimensionError:
    """Return the error for a stimulus of another number of samples, with the way to line up that of a simulator."""
    lacking = wanted - 1 - given
    cut = f".isel(time=slice({wanted - 1}))" if lacking < 0 else ""
    behind = max(lacking, 0)
    end = " and zeros at the end" if behind else ""
    return DimensionError.of(
        "stimulus",
        found=f"{given} samples, and {wanted} of the voltage",
        expected=f"{wanted}: sample k is the current of the step from k-1 to k, and no step leads to the first sample. "
        f"Sample k of a stimulus of Jaxley acts from k to k+1: it needs a zero in front{end}, which shifts it",
        remedy=f'stimulus.drop_vars("time", errors="ignore"){cut}.pad(time=(1, {behind}), constant_values=0)',
    )


def _warn_of_rounding(v: xr.Variable, made: xr.Variable, cable: Cable, given: np.dtype) -> None:
    """Warn of the error that rounding can cause in the currents if voltages were `given` coarser than float64."""
    if not is_floating(given) or given.itemsize >= 8 or is_traced(cable.conductance):
        return
    size = np.full(v.sizes[cable.dim], LARGEST)
    g = np.asarray(cable.conductance, float)
    bound = float(np.max(on_arrays(_bound, size, g, ends=cable.ends, dtype=str(given)), initial=0))
    share = ""
    if made.size and not (is_dask(made.data) or is_traced(made.data)):
        largest = _largest(made.data)
        share = f", which is {bound / largest:.1e} of the largest current" if largest else ""
    warn(
        f"voltages are {given}: their rounding can change a transmembrane current by up to {bound:.1e} nA{share}. "
        'If that is too much, simulate and store them in float64: jax.config.update("jax_enable_x64", True).'
    )


def _largest(data: Array) -> float:
    """Return the largest absolute value."""
    if is_jax(data):
        return float(abs(data).max())
    axis, slices = blocks(data)
    # Each block is read twice while it is in cache.
    parts = [data[take(axis, where)] for where in slices]
    return max(max(float(part.max()), -float(part.min())) for part in parts)


def _bound(size: Array, g: Array, *, ends: Static, dtype: str) -> Array:
    start, stop = ends.arrays
    return kernels.rounding_bound(size, start, stop, g, dtype=dtype)
