"""Transmembrane currents: what leaves each compartment through its membrane, from voltages and axial conductances.

The axial conductances of a cell lie on the dim ``edge``: `from_jaxley`, `from_lfpy` and `morphology` make them. By
Kirchhoff, what enters a compartment along the cable leaves through its membrane, outward positive, in nA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from . import scope
from ._arrays import is_dask, is_traced, precision_of
from ._dispatch import across, checked, contract, jointly, on_arrays
from .errors import (
    ArgumentError,
    DataError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
    warn,
)
from .kernels import current as kernels
from .schema import SITES, find_voltage, kind_problems, unit_problem
from .signals import misaligned
from .time_axis import TIME, time_problem
from .traces import finish
from .units import convert, is_quantity, magnitude, same_dimension, units_of

#: How voltages were integrated, which says what the current of one step is.
SCHEMES = ("backward_euler", "crank_nicolson")
#: What can act as the source of a field, in nA; the first found is it.
CURRENTS = ("i_membrane", "source")

#: Voltages, mV, that the expected error of float32 is stated for.
LARGEST = 100.0

_GET_VOLTAGES = 'module.delete_recordings(); module.record("v") of the whole cell or network, and simulate again'
_GET_CABLE = (
    "ds = jfx.from_jaxley(...) or jfx.from_lfpy(cell), which attach it; "
    "ds.jfne.with_morphology(jfx.morphology(start, end, diameter, parent)) for plain arrays"
)


def transmembrane_currents(
    ds: xr.Dataset, *, scheme: str = "backward_euler", stimulus: xr.DataArray | None = None
) -> xr.Dataset:
    """Return the current that leaves each compartment through its membrane, from the voltages of all of them.

    Parameters
    ----------
    ds : xr.Dataset
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
        If voltages are float32 or coarser: the largest error that their rounding can cause.

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
    if scheme not in SCHEMES:
        raise ArgumentError(
            Problem(
                "scheme",
                repr(scheme),
                f"one of {list(SCHEMES)}",
                'scheme="backward_euler"',
                ArgumentError,
            )
        )
    cable = cable_of(ds)
    v = voltage_of(ds)
    if scheme == "crank_nicolson" and TIME not in v.dims:
        raise time_problem(
            f"the dims {v.dims}", "time: a step lies between two samples", 'scheme="backward_euler"'
        )
    made = across(
        _current,
        v,
        cable.dim,
        cable.conductance,
        look_back=int(scheme == "crank_nicolson"),
        ends=cable.ends,
        method=scheme,
    )
    _warn_of_rounding(v, made, cable)
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


def check_currents(ds: xr.Dataset, *, stimulus: xr.DataArray | None = None) -> CurrentReport:
    """Return how far the currents of each cell are from summing to zero, or to the stimulus that they include.

    Parameters
    ----------
    ds : xr.Dataset
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
    ds, name = with_currents(ds)
    variable = ds.variables[name]
    dim = site_dim_of(variable, name)
    if is_traced(variable._data):
        raise DataError(
            Problem(
                name,
                "data that JAX traces",
                "concrete currents",
                "check_currents outside jit and grad",
                DataError,
            )
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
            _sums, x.transpose(*rest, dim), dims=[("group",)], group=_Static(group), n=len(labels)
        )[0]
        for x in (excess, abs(current))
    )
    rows = zip(labels, np.asarray(sums.data).tolist(), np.asarray(sizes.data).tolist(), strict=True)
    precision = np.finfo(current.dtype if current.dtype.kind == "f" else np.float64)
    return CurrentReport(tuple(rows), float(precision.eps) ** 0.5, included)


# ------------------------------------------------------------------------------------------------ the cable


class _Static:
    """Integer arrays that are known when a kernel is compiled: equal where their numbers are."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays: tuple[Any, ...] = arrays
        self._key = tuple(a.tobytes() for a in arrays)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Static) and self._key == other._key)


@dataclass(frozen=True)
class Cable:
    """The axial conductances among the rows of a Dataset.

    Attributes
    ----------
    dim : str
        The dim of the rows.
    ends : _Static
        The two rows that each edge joins.
    conductance : array (edge)
        uS, NumPy or JAX.
    """

    dim: str
    ends: _Static
    conductance: Any

    @classmethod
    def between(cls, dim: str, start: np.ndarray, stop: np.ndarray, conductance: Any) -> Cable:
        """Return the cable of conductances from the rows `start` to the rows `stop`."""
        return cls(dim, _Static(start.astype(np.int64), stop.astype(np.int64)), conductance)


def cable_of(ds: xr.Dataset) -> Cable:
    """Return the axial conductances of the cells in a Dataset, between its rows; all compartments must be there."""
    name = find_voltage(ds)
    dim = site_dim_of(ds.variables[name], str(name))
    missing = [n for n in ("conductance", "edge_from", "edge_to") if n not in ds.variables]
    if missing:
        raise VariableError(
            Problem(
                where="conductance",
                found=f"a voltage without {missing}",
                wanted="the axial conductances of the cell: a voltage alone says nothing about currents",
                remedy=_GET_CABLE,
                error=VariableError,
            )
        )
    g = ds.variables["conductance"]
    raise_problems(unit_problem(g, "conductance", "uS"))
    ids = np.asarray(_label(ds, "compartment_id", dim).data)
    start, stop = (np.asarray(ds.variables[n].data) for n in ("edge_from", "edge_to"))
    kept = np.ones(start.shape, bool)
    if "edge_unit" in ds.variables and "unit" in ds.coords and ds.variables["unit"].dims == (dim,):
        kept = np.isin(ds.variables["edge_unit"].data, ds.variables["unit"].data)
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:][np.diff(ids[order]) == 0]
    if twice.size:
        raise DimensionError(
            Problem(
                where="compartment_id",
                found=f"{_counted(twice.size, 'compartment')} recorded twice, the first {twice[0]}",
                wanted="one row for each compartment",
                remedy=f'ds.drop_duplicates("{dim}") after ds.set_index({dim}="compartment_id")',
                error=DimensionError,
            )
        )
    _require_all(ds, kept, ids)
    start, stop = (order[np.searchsorted(ids, end[kept], sorter=order)] for end in (start, stop))
    data = convert(magnitude(g.data), str(units_of(g)), "uS")
    data = data.compute() if is_dask(data) else data
    if not is_traced(data):
        _require_conductances(np.asarray(data))
    return Cable.between(dim, start, stop, data if kept.all() else data[kept])


def _require_conductances(g: np.ndarray) -> None:
    bad = ~((g >= 0) & (g < np.inf))
    if bad.any():
        k = int(np.argmax(bad))
        raise ArgumentError(
            Problem(
                where="conductance",
                found=f"{np.count_nonzero(bad)} of {len(g)} that cannot be, edge {k} first: {g[k]:g} uS",
                wanted="0 uS or more, and finite",
                remedy="correct the resistivity, the diameter or the length that it was made of",
                error=ArgumentError,
            )
        )


def _require_all(ds: xr.Dataset, kept: np.ndarray, ids: np.ndarray) -> None:
    """Raise if an edge leads to a compartment that has no row: name the first few."""
    ends = {side: np.asarray(ds.variables[f"edge_{side}"].data) for side in ("from", "to")}
    places: dict[int, str] = {}
    for side, end in ends.items():
        for k in np.flatnonzero(kept & ~np.isin(end, ids)):
            labels = {"unit": "edge_unit"}
            labels |= {name: f"edge_{side}_{name}" for name in ("branch", "compartment")}
            known = {n: ds.variables[c].data[k] for n, c in labels.items() if c in ds.variables}
            if "compartment" not in known:
                known["compartment_id"] = end[k]
            places.setdefault(int(end[k]), " ".join(f"{n} {value}" for n, value in known.items()))
    if not places:
        return
    total = len(set(np.concatenate([end[kept] for end in ends.values()]).tolist()))
    first = [places[key] for key in sorted(places)[:5]]
    more = ", ..." if len(places) > len(first) else ""
    raise DimensionError(
        Problem(
            where="recording",
            found=f"no voltage of {len(places)} of {total} compartments: {', '.join(first)}{more}",
            wanted="the voltage of every compartment of the cell: a current is the difference to all neighbours",
            remedy=_GET_VOLTAGES,
            error=DimensionError,
        )
    )


def _label(ds: xr.Dataset, name: str, dim: str) -> xr.Variable:
    if name in ds.variables and ds.variables[name].dims == (dim,):
        return ds.variables[name]
    raise DimensionError(
        Problem(
            where=name,
            found=f"no such coordinate along {dim!r}",
            wanted="the number by which edge_from and edge_to know each row",
            remedy=_GET_CABLE,
            error=DimensionError,
        )
    )


def folded(lead_field: Any, cable: Cable) -> Any:
    """Return the lead field that takes voltages instead of currents (contact, site), uV/mV."""
    return on_arrays(_fold, lead_field, cable.conductance, ends=cable.ends)


def along_edges(lead_field: Any, cable: Cable) -> Any:
    """Return the lead field that takes differences of voltage along edges (contact, edge), uV/mV."""
    return on_arrays(_along_edges, lead_field, cable.conductance, ends=cable.ends)


def _current(
    v: Any, g: Any, *, axis: int, time_axis: int | None, ends: _Static, method: Any
) -> Any:
    start, stop = ends.arrays
    return kernels.transmembrane_current(
        v, start, stop, g, axis=axis, time_axis=time_axis, method=method
    )


def _along_edges(lead_field: Any, g: Any, *, ends: _Static) -> Any:
    start, stop = ends.arrays
    return kernels.difference_weights(lead_field, start, stop, g)


def _fold(lead_field: Any, g: Any, *, ends: _Static) -> Any:
    start, stop = ends.arrays
    return kernels.fold(lead_field, start, stop, g)


def _sums(current: Any, *, group: _Static, n: int) -> Any:
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


def current_name(ds: xr.Dataset) -> str | None:
    """Return the name of the current in a Dataset, checked to be one in nA; None where there is only a voltage."""
    for name in CURRENTS:
        if name in ds.data_vars:
            raise_problems(unit_problem(ds.variables[name], name, "nA"))
            raise_problems(kind_problems(magnitude(ds.variables[name].data), name))
            return name
    voltages = [n for n, x in ds.data_vars.items() if same_dimension(units_of(x) or "1", "mV")]
    if voltages and "conductance" in ds.variables:
        return None
    have = [f"{n} ({units_of(x) or 'no unit'})" for n, x in ds.data_vars.items()]
    raise VariableError(
        Problem(
            where="source",
            found=f"no current among {have}",
            wanted="transmembrane currents in nA; a voltage is no source of a physical field",
            remedy=f"{_GET_CABLE}; or ds.jfne.to_signals(source=...) with a current of your own; "
            "for a proxy, ds.jfne.lfp_proxy(...)",
            error=VariableError,
        )
    )


def is_transmembrane(ds: xr.Dataset, name: str) -> bool:
    """Whether a current is known, from the record, to be the transmembrane current of a morphology."""
    status = scope.derive(scope.read(ds.attrs)).source_calibration_status
    return name == "i_membrane" and status == "transmembrane_current"


def in_nA(variable: xr.Variable) -> xr.Variable:
    """Return a current, bare, in nA."""
    return xr.Variable(
        variable.dims, convert(magnitude(variable.data), str(units_of(variable)), "nA")
    )


def site_dim_of(variable: xr.Variable, name: str) -> str:
    """Return the dim along which sources lie: ``recording`` or ``unit``."""
    for dim in SITES:
        if dim in variable.dims:
            return dim
    raise DimensionError(
        Problem(
            where=name,
            found=f"the dims {variable.dims}",
            wanted=f"sites along one of {list(SITES)}",
            remedy='ds.rename(your_dim="recording")',
            error=DimensionError,
        )
    )


def groups_of(ds: xr.Dataset, dim: str, by: str) -> tuple[list[Any], np.ndarray]:
    """Return the labels of the groups that `by` names along `dim`, sorted, and the group of each row."""
    if by == dim and by not in ds.coords:
        return list(range(ds.sizes[dim])), np.arange(ds.sizes[dim])
    if by not in ds.coords or ds.variables[by].dims != (dim,):
        known = [str(n) for n, c in ds.coords.items() if c.dims == (dim,)]
        raise VariableError(
            Problem(
                where="by",
                found=f"{by!r}, which is no coordinate along {dim!r}",
                wanted=f"one of {known}",
                remedy=f'ds.assign_coords({by}=("{dim}", labels))',
                error=VariableError,
            )
        )
    labels, group = np.unique(np.asarray(ds.variables[by].data), return_inverse=True)
    return labels.tolist(), group.ravel()


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
    return DimensionError(
        Problem(
            where="stimulus",
            found=found,
            wanted=f"a DataArray (nA) on dims of the voltage, {dict(v.sizes)}, or for one compartment",
            remedy=f'xr.DataArray(i, dims="time", coords={{"compartment_id": ds.compartment_id[0].item()}}), '
            f"one sample for each of the voltage; along {dim!r} too where there are several",
            error=DimensionError,
        )
    )


def voltage_of(ds: xr.Dataset) -> xr.Variable:
    """Return the voltage, bare, in mV."""
    name = find_voltage(ds)
    variable = ds.variables[name]
    raise_problems(kind_problems(magnitude(variable.data), str(name)))
    v = checked(variable, str(name))
    return xr.Variable(v.dims, convert(magnitude(v.data), str(units_of(variable)), "mV"))


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
        largest = max(float(made.data.max()), -float(made.data.min()))
        share = f", which is {bound / largest:.1e} of the largest current" if largest else ""
    warn(
        f"voltages are {v.dtype}: their rounding can change a transmembrane current by up to {bound:.1e} nA{share}. "
        'Simulate and keep them in float64 where that is too much: jax.config.update("jax_enable_x64", True).'
    )


def _bound(size: Any, g: Any, *, ends: _Static, dtype: str) -> Any:
    start, stop = ends.arrays
    return kernels.rounding_bound(size, start, stop, g, dtype=dtype)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
