"""The cable of cells: axial conductances between the rows of a Dataset, and lead fields that include them.

Conductances are on the dim ``edge``, with the two compartments that each connects. `from_jaxley`, `from_lfpy` and
`morphology` make them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import GET_CABLE, find_voltage, require_site_dim
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.unit_checks import unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of
from jaxfne_xr.kernels.fields import membrane_currents as kernels

_GET_VOLTAGES = 'module.delete_recordings(); module.record("v") of the whole cell or network, and simulate again'


class Static:
    """Integer arrays as a static argument of a compiled kernel: hashable, and equal if their values are."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays: tuple[Array, ...] = arrays  # NumPy; the annotations of kernels say JAX
        self._key = tuple(a.tobytes() for a in arrays)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Static) and self._key == other._key)


@dataclass(frozen=True)
class Cable:
    """The axial conductances between the rows of a Dataset.

    Attributes
    ----------
    dim : str
        The dim of the rows.
    ends : Static
        The two rows that each edge connects.
    conductance : array (edge)
        uS, NumPy or JAX.
    """

    dim: str
    ends: Static
    conductance: Array

    @classmethod
    def between(cls, dim: str, start: np.ndarray, stop: np.ndarray, conductance: Array) -> Cable:
        """Return the cable of conductances from the rows `start` to the rows `stop`."""
        return cls(dim, Static(start.astype(np.int64), stop.astype(np.int64)), conductance)


def cable_of(ds: xr.Dataset) -> Cable:
    """Return the axial conductances between the rows of a Dataset, which must hold all compartments of its cells."""
    name = find_voltage(ds)
    dim = require_site_dim(ds.variables[name], str(name))
    missing = [n for n in ("conductance", "edge_from", "edge_to") if n not in ds.variables]
    if missing:
        whole = (
            "the whole Dataset, if this is one variable of it; else "
            if len(ds.data_vars) == 1
            else ""
        )
        raise VariableError.of(
            "conductance",
            found=f"a voltage without {missing}",
            expected="the axial conductances of the cell: currents cannot be computed from a voltage alone",
            remedy=whole + GET_CABLE,
        )
    g = ds.variables["conductance"]
    raise_problems(unit_problem(g, "conductance", "uS"))
    ids = np.asarray(_label(ds, "compartment_id", dim).data)
    start, stop = (np.asarray(ds.variables[n].data) for n in ("edge_from", "edge_to"))
    # If units were selected, their edges are kept. Units may also have been renumbered, so that `edge_unit` no longer
    # matches: edges to compartments that are present are kept too.
    kept = np.ones(start.shape, bool)
    if "edge_unit" in ds.variables and "unit" in ds.coords and ds.variables["unit"].dims == (dim,):
        kept = np.isin(ds.variables["edge_unit"].data, ds.variables["unit"].data)
        kept |= np.isin(start, ids) | np.isin(stop, ids)
    # Edges refer to compartment_id: rows are found by a search in the sorted ids.
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:][np.diff(ids[order]) == 0]
    if twice.size:
        raise DimensionError.of(
            "compartment_id",
            found=f"{twice.size} compartment{'s' * (twice.size > 1)} recorded twice, the first {twice[0]}",
            expected="one row for each compartment",
            remedy=f'ds.drop_duplicates("{dim}") after ds.set_index({dim}="compartment_id")',
        )
    _require_all(ds, kept, ids)
    start, stop = (order[np.searchsorted(ids, end[kept], sorter=order)] for end in (start, stop))
    data = convert(magnitude(g.data), str(units_of(g)), "uS")
    data = data.compute() if is_dask(data) else data
    if not is_traced(data):
        _require_conductances(np.asarray(data))
    return Cable.between(dim, start, stop, data if kept.all() else data[kept])


def folded(lead_field: Array, cable: Cable) -> Array:
    """Return the lead field of voltages instead of currents (contact, site), uV/mV."""
    return on_arrays(_fold, lead_field, cable.conductance, ends=cable.ends)


def along_edges(lead_field: Array, cable: Cable) -> Array:
    """Return the lead field of voltage differences along edges (contact, edge), uV/mV."""
    return on_arrays(_along_edges, lead_field, cable.conductance, ends=cable.ends)


def _require_conductances(g: np.ndarray) -> None:
    bad = ~((g >= 0) & (g < np.inf))  # negated, so that NaN is bad
    if bad.any():
        k = int(np.argmax(bad))
        raise ArgumentError.of(
            "conductance",
            found=f"{np.count_nonzero(bad)} of {len(g)} negative or not finite, edge {k} first: {g[k]:g} uS",
            expected="0 uS or more, and finite",
            remedy="correct the resistivity, the diameter or the length from which it was computed",
        )


def _require_all(ds: xr.Dataset, kept: np.ndarray, ids: np.ndarray) -> None:
    """Raise if an edge leads to a compartment that has no row; the error names the first few."""
    ends = {side: np.asarray(ds.variables[f"edge_{side}"].data) for side in ("from", "to")}
    absent: dict[int, str] = {}
    for side, end in ends.items():
        for k in np.flatnonzero(kept & ~np.isin(end, ids)):
            labels = {"unit": "edge_unit"}
            labels |= {name: f"edge_{side}_{name}" for name in ("branch", "compartment")}
            known = {n: ds.variables[c].data[k] for n, c in labels.items() if c in ds.variables}
            if "compartment" not in known:
                known["compartment_id"] = end[k]
            absent.setdefault(int(end[k]), " ".join(f"{n} {value}" for n, value in known.items()))
    if not absent:
        return
    total = len(set(np.concatenate([end[kept] for end in ends.values()]).tolist()))
    first = [absent[key] for key in sorted(absent)[:5]]
    more = ", ..." if len(absent) > len(first) else ""
    raise DimensionError.of(
        "recording",
        found=f"no voltage of {len(absent)} of {total} compartments: {', '.join(first)}{more}",
        expected="the voltage of every compartment of the cell: a current is made of the differences to all neighbours",
        remedy=_GET_VOLTAGES,
    )


def _label(ds: xr.Dataset, name: str, dim: str) -> xr.Variable:
    if name in ds.variables and ds.variables[name].dims == (dim,):
        return ds.variables[name]
    raise DimensionError.of(
        name,
        found=f"no such coordinate along {dim!r}",
        expected="the number by which edge_from and edge_to refer to each row",
        remedy=GET_CABLE,
    )


def _fold(lead_field: Array, g: Array, *, ends: Static) -> Array:
    start, stop = ends.arrays
    return kernels.fold(lead_field, start, stop, g)


def _along_edges(lead_field: Array, g: Array, *, ends: Static) -> Array:
    start, stop = ends.arrays
    return kernels.difference_weights(lead_field, start, stop, g)
