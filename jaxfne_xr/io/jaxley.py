"""Jaxley: label what ``jx.integrate`` returned, with the compartment of each row and its position.

Only the tables of the module are read: nothing is simulated, and the module is not changed. ``module.recordings``
refers to compartments by their label in ``module.nodes.index``, which has gaps in a network (branch points are numbered
between the cells), and to synapses by their number within their type.
"""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    JfneError,
    MissingDependencyError,
    Problem,
    UnitError,
    missing_dependency,
    raise_problems,
)
from jaxfne_xr.core.inputs import kind_problems
from jaxfne_xr.core.numeric import gathered, native
from jaxfne_xr.core.results import assemble
from jaxfne_xr.core.schema import GEOMETRY
from jaxfne_xr.core.time_axis import TIME, check_dt, time_from_dt, time_problem
from jaxfne_xr.core.types import Array, ArrayLike, Time
from jaxfne_xr.core.units import is_quantity, readable, scalar

from . import jaxley_cable

#: The oldest Jaxley version whose tables have the form that is read here.
OLDEST = (0, 14)

ROW = "recording"
SYNAPSE = "synapse"

#: Units of the states of Jaxley's mechanisms, from their source code; ``{}`` is the name of the instance. `w` of AdEx
#: and `u` of Izhikevich are left out, since no unit makes their equations consistent: the user has to name one. The
#: "current" of a pump is a change of concentration; that of the Nernst pump is zero, and added to the calcium current.
_STATES = {
    "HH": {"{}_m": "1", "{}_h": "1", "{}_n": "1"},
    "Na": {"{}_m": "1", "{}_h": "1"},
    "K": {"{}_n": "1"},
    "Km": {"{}_p": "1"},
    "CaL": {"{}_q": "1", "{}_r": "1"},
    "CaT": {"{}_u": "1"},
    "Fire": {"{}_spikes": "1"},
    "AdEx": {"{}_spikes": "1"},
    "CaPump": {"i_Ca": "mA/cm^2", "CaCon_i": "mM", "i_CaPump": "mM/ms"},
    "CaFaradayConcentrationChange": {"i_Ca": "mA/cm^2", "CaCon_i": "mM", "i_CaCurrent": "mM/ms"},
    "CaNernstReversal": {"i_Ca": "mA/cm^2", "eCa": "mV", "CaCon_i": "mM", "CaCon_e": "mM"},
    "IonotropicSynapse": {"{}_s": "1"},
    "TestSynapse": {"{}_c": "1"},
}

#: Labels that identify a compartment. Every row has them, also on a dim such as ``recording_i_HH``.
_LABELS = ("unit", "branch", "compartment", "compartment_id")

_UNITS_OF_LABELS = {
    **dict.fromkeys(GEOMETRY, "um"),
    "membrane_area": "um^2",
    "capacitance": "uF/cm^2",
}


def from_jaxley(
    module: Any,
    recordings: Array,
    *,
    delta_t: Time,
    dims: Sequence[str] = ("recording", "time"),
    units: Mapping[str, str] | None = None,
    quantify: bool | None = None,
) -> xr.Dataset:
    """Label what ``jx.integrate(module)`` returned: which compartment each row is, when, and in which unit.

    Parameters
    ----------
    module : jaxley.Compartment, Branch, Cell or Network
        The module that was integrated, with its recordings as they were then. It is not changed.
    recordings : array (recording, time)
        NumPy or JAX, traced or not: the first value of ``jx.integrate``, one row for each of ``module.recordings``.
    delta_t : float, str or pint.Quantity
        The time step given to ``jx.integrate``, ms (or ``"25 us"``). The first sample is the initial state, at 0 ms.
    dims : sequence of str
        The axes of `recordings`, in order. ``jax.vmap`` adds one: ``("trial", "recording", "time")``.
    units : mapping of str to str, optional
        The unit of each recorded state whose unit is not known: those of mechanisms that are not part of Jaxley. A
        unit is never guessed. Names that are not recorded are ignored.
    quantify : bool, optional
        True: pint quantities (JAX arrays become NumPy). False: units in ``attrs["units"]`` (JAX arrays stay JAX). By
        default True, unless the data is traced by JAX, or dask.

    Returns
    -------
    xr.Dataset
        One variable for each recorded state: ``v`` (mV), membrane currents ``i_*`` (mA/cm^2, outward positive),
        synaptic currents (nA), gates (1), concentrations (mM). With ``time`` (ms) and, on ``recording``:

        ``unit``, ``branch``, ``compartment``
            Number of the cell, of the branch in the cell, of the compartment in the branch: ``net[unit, branch,
            compartment]``.
        ``compartment_id``
            Number of the compartment in the whole module (``global_comp_index``).
        ``x``, ``y``, ``z``; ``x_start`` ... ``z_end``; ``diameter``
            Middle and ends of the compartment, um.
        ``membrane_area``, ``capacitance``
            um^2 and uF/cm^2.
        each group of the module
            Whether the row belongs to it: ``ds.query(recording="soma")``.

        A state that was recorded at other compartments than ``v`` is on the dim ``recording_<state>``, with the labels
        ``unit_<state>`` ... there. States of synapses are on ``synapse``, with ``pre_unit`` ... ``post_compartment``.
        ``conductance`` (uS) on ``edge`` is the axial conductance between compartments ``edge_from`` and ``edge_to``
        (`compartment_id`) of each cell with a recorded voltage, branch points eliminated. ``edge_unit``,
        ``edge_from_branch`` ... ``edge_to_compartment`` label the two ends, also of compartments without a row.

    Raises
    ------
    ArgumentError, DimensionError, UnitError, TimeAxisError, DataError, NonFiniteError
        All problems are listed at once. Values are not checked under a JAX trace.
    MissingDependencyError
        If Jaxley is not installed, or older than 0.14.

    Notes
    -----
    Geometry and conductances are those of ``module.nodes``: after training lengths, radii or resistivities, call
    ``module.write_trainables(params)`` first. Ends are interpolated between the traced points, by path length; the
    middle is half-way between them, as in Jaxley's ``compute_compartment_centers``. A soma traced as one point has no
    extent. A cell without traced points is at the place where Jaxley draws it, with the directions of the drawing and
    the lengths of the table: all such cells are at the same place until they are moved (``net.arrange_in_layers``,
    ``cell.move_to``). The provenance records whether positions were traced or drawn.

    Examples
    --------
    >>> import jaxley as jx
    >>> from jaxley.channels import HH
    >>> cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0])
    >>> cell.insert(HH())
    >>> cell.record(verbose=False)
    >>> ds = from_jaxley(cell, jx.integrate(cell, t_max=1.0), delta_t=0.025)
    >>> ds.branch.values, ds.compartment.values, str(ds.v.pint.units)
    (array([0, 0, 1, 1]), array([0, 1, 0, 1]), 'millivolt')
    """
    version = require_module(module)
    dims = tuple(dims)
    states, index = _recorded(module)
    recordings = _bare(recordings)
    known, problems = _units(module, dict.fromkeys(states), units or {})
    problems += kind_problems(recordings, "recordings")
    problems += _axis_problems(recordings.shape, dims, states)
    try:
        dt_ms = check_dt(scalar(delta_t, "ms", "delta_t"), "delta_t")
    except JfneError as error:
        problems += error.problems
    raise_problems(problems)

    if quantify is None:
        quantify = not (is_traced(recordings) or is_dask(recordings))
    # quantities hold NumPy arrays; a traced array cannot be converted
    if quantify and is_jax(recordings) and not is_traced(recordings):
        recordings = np.asarray(recordings)
    table = jaxley_cable.compartments(module)
    variables: dict[str, tuple[xr.Variable, str]] = {}
    coords: dict[Hashable, xr.Variable] = {}
    dim_of: dict[tuple[str | int, ...], str] = {}  # states recorded at the same sites share a dim
    for state, unit in known.items():
        rows = np.flatnonzero(states == state)
        kind, sites, rows = _sites(module, state, index[rows], rows)
        place = (kind, *sites.tolist())
        if place not in dim_of:
            dim = kind if kind not in dim_of.values() else f"{kind}_{state}"
            labels = table if kind == ROW else _synapses(module, table)
            coords |= _labels(labels, sites, dim, suffix=dim.removeprefix(kind))
            dim_of[place] = dim
        renamed = [dim_of[place] if d == ROW else d for d in dims]
        variable = xr.Variable(renamed, _taken(recordings, rows, dims.index(ROW)))
        variables[state] = checked(variable, state) if state == "v" else variable, unit
    # only the voltage drives axial currents
    if "v" in variables:
        conductance, ends = _edges(module, table, np.unique(coords["unit"].values))
        variables["conductance"] = conductance, "uS"
        coords |= ends
    coords |= _groups(module, coords, taken={*variables, *coords, *dims})

    parameters = {
        "module": type(module).__name__,
        "dt_ms": dt_ms,
        "dims": list(dims),
        "precision": str(recordings.dtype),
        "geometry": jaxley_cable.geometry(module),
        "jaxley": version,
    }
    return assemble(
        variables,
        time_from_dt(dt_ms, recordings.shape[dims.index(TIME)]),
        coords,
        quantify=quantify,
        function="from_jaxley",
        parameters=parameters,
        stage="traces",
        origin="jaxley",
    )


def sites_of(module: Any, time: np.ndarray, parameters: Mapping[str, Any]) -> xr.Dataset:
    """Return every compartment of a module, with the labels that `from_jaxley` gives, before it is simulated.

    Parameters
    ----------
    module : jaxley module
        As for `from_jaxley`; nothing has to be recorded.
    time : array (time)
        ms.
    parameters : mapping
        Of the simulation, for the provenance.
    """
    table = jaxley_cable.compartments(module)
    coords = _labels(table, np.arange(len(table["unit"])), ROW, suffix="")
    conductance, ends = _edges(module, table, np.unique(table["unit"]))
    coords |= ends
    coords |= _groups(module, coords, taken={*coords, ROW, TIME})
    parameters = {
        "module": type(module).__name__,
        **parameters,
        "geometry": jaxley_cable.geometry(module),
        "jaxley": importlib.metadata.version("jaxley"),
    }
    return assemble(
        {"conductance": (conductance, "uS")},
        time,
        coords,
        quantify=False,
        function="integrate_field",
        parameters=parameters,
        stage="traces",
        origin="jaxley",
    )


# ----------------------------------------------------------------------------------- checks of the input


def require_module(module: Any) -> str:
    """Return the version of Jaxley; raise if it is too old, or `module` is not a whole module."""
    try:
        from jaxley.modules.base import Module, View
    except ImportError as error:
        raise missing_dependency("jaxley", "jaxley", "to read its modules") from error
    version = importlib.metadata.version("jaxley")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        raise MissingDependencyError.of(
            "jaxley",
            found=f"version {version}",
            expected="0.14 or newer",
            remedy='pip install --upgrade "jaxfne-xr[jaxley]"',
        )
    if not isinstance(module, Module) or isinstance(module, View):
        part = isinstance(module, View)
        raise ArgumentError.of(
            "module",
            found="a part of a module (a View)" if part else type(module).__name__,
            expected="the Compartment, Branch, Cell or Network that jx.integrate ran",
            remedy="from_jaxley(net, ...) and then ds.query(recording='unit == 0')"
            if part
            else "for a bare array, jfx.traces(array, layout='recording_by_time', dt_ms=...)",
        )
    return version


def _bare(recordings: ArrayLike) -> Array:
    """Return `recordings` as an array; raise if it is something else."""
    if isinstance(recordings, tuple):
        found = "a tuple, as jx.integrate(..., return_states=True) returns"
        remedy = "recordings, states = jx.integrate(...)"
    elif is_quantity(recordings) or isinstance(recordings, (xr.DataArray, xr.Dataset, xr.Variable)):
        found, remedy = f"a {type(recordings).__name__}", "pass the bare array"
    else:
        recordings = gathered(native(recordings, "recordings"))
        is_array = is_jax(recordings) or is_dask(recordings)
        return recordings if is_array else native(np.asarray(recordings))
    raise DataError.of(
        "recordings",
        found=found,
        expected="the bare array that jx.integrate returns",
        remedy=remedy,
    )


def _recorded(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the state and the index of each recorded row."""
    table = module.recordings
    if table.empty:
        raise ArgumentError.of(
            "module.recordings",
            found="no recordings",
            expected="at least one",
            remedy="module.record() before jx.integrate(module)",
        )
    return table["state"].to_numpy(), table["rec_index"].to_numpy(dtype=np.int64)


def _axis_problems(
    shape: tuple[int, ...], dims: tuple[str, ...], states: np.ndarray
) -> list[Problem]:
    if len(dims) != len(shape) or len({*dims}) < len(dims) or not {ROW, TIME} <= {*dims}:
        return [
            Problem(
                where="dims",
                found=f"{dims} for an array of shape {tuple(shape)}",
                expected='one name for each axis, "recording" and "time" among them',
                remedy='dims=("trial", "recording", "time") for what jax.vmap returned',
                error=DimensionError,
            )
        ]
    problems: list[Problem] = []
    if shape[dims.index(ROW)] != len(states):
        counts = ", ".join(f"{n} of {state}" for state, n in Counter(states).items())
        problems.append(
            Problem(
                where="recordings",
                found=f"{shape[dims.index(ROW)]} rows on axis {dims.index(ROW)}",
                expected=f"{len(states)}, one for each row of module.recordings ({counts})",
                remedy="pass the module as it was when jx.integrate ran; "
                "module.delete_recordings() before recording again",
                error=DimensionError,
            )
        )
    if shape[dims.index(TIME)] == 0:
        problems += time_problem("no samples", "at least one", "check the array").problems
    return problems


# ---------------------------------------------------------------------------------------------- units


def _units(
    module: Any, states: Iterable[str], given: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the unit of each state, that of the voltage first, and the problems of states without one."""
    units: dict[str, str] = {}
    problems: list[Problem] = []
    for state in sorted(states, key=lambda state: state != "v"):
        known, named = known_unit(module, state), given.get(state)
        try:
            unit = known if named is None else readable(named)
        except UnitError as error:
            problems += error.problems
            continue
        if unit is None:
            problems.append(_unit_problem(state, "a state whose unit is not known", "its unit"))
        elif known is not None and unit != known:
            problems.append(_unit_problem(state, f"the unit {unit!r}", f"{known!r}, as in Jaxley"))
        else:
            units[state] = unit
    return units, problems


def _unit_problem(state: str, found: str, expected: str) -> Problem:
    return Problem(
        where=state,
        found=found,
        expected=expected,
        remedy=f'from_jaxley(..., units={{"{state}": "1"}}), if it is a gate',
        error=UnitError,
    )


def known_unit(module: Any, state: str) -> str | None:
    """Return the unit of a recorded state if Jaxley's own code determines it, else None."""
    mechanisms = [*module.channels, *module.pumps, *module.synapses]
    own = [m for m in mechanisms if type(m).__module__.startswith("jaxley.")]
    if state == "v":  # Rate makes the voltage a number without a unit
        return None if any(type(m).__name__ == "Rate" for m in own) else "mV"
    found = {
        unit
        for mechanism in own
        for name, unit in _STATES.get(type(mechanism).__name__, {}).items()
        if name.format(mechanism.name) == state
    }
    # Jaxley's base classes require these units or convert by them: channel densities and synaptic point currents.
    if any(channel.current_name == state for channel in module.channels):
        found.add("mA/cm^2")
    if any(f"i_{synapse.name}" == state for synapse in module.synapses):
        found.add("nA")
    return found.pop() if len(found) == 1 else None


# --------------------------------------------------------------------------------------------- labels


def _sites(
    module: Any, state: str, index: np.ndarray, rows: np.ndarray
) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the dim of a state (compartments or synapses), the number of each row's site, and the valid rows."""
    edges = module.edges
    for synapse in module.synapses:
        if state not in synapse.synapse_states and state != f"i_{synapse.name}":
            continue
        of_type = np.flatnonzero(edges["type"].to_numpy() == synapse.name)
        there = index < len(of_type)
        if not there.all():
            # module.record(state) counts the synapses of all types together; JAX clips an index past the end to the
            # last synapse of this type.
            warnings.warn(
                f"{np.count_nonzero(~there)} of {len(rows)} rows of {state!r} are not synapses: there are "
                f"{len(of_type)} of type {synapse.name}. Jaxley recorded the last one again; these rows are left out. "
                f"Record with module.{synapse.name}.record({state!r}).",
                stacklevel=3,
            )
        return SYNAPSE, of_type[index[there]], rows[there]
    return ROW, module.nodes.index.get_indexer(index), rows


def _taken(recordings: Array, rows: np.ndarray, axis: int) -> Array:
    """Return some rows: a copy for NumPy, which cannot change later; a slice for other arrays if rows are adjacent."""
    if isinstance(recordings, np.ndarray):
        return np.take(recordings, rows, axis=axis)
    where = slice(rows[0], rows[-1] + 1) if (np.diff(rows) == 1).all() else rows
    return recordings[(slice(None),) * axis + (where,)]


def _labels(
    table: Mapping[str, np.ndarray], sites: np.ndarray, dim: str, *, suffix: str
) -> dict[Hashable, xr.Variable]:
    """Return the coordinates of `sites` on `dim`; names with a suffix get no positions."""
    return {
        name + suffix: xr.Variable(
            dim, values[sites], {"units": unit} if (unit := _UNITS_OF_LABELS.get(name)) else None
        )
        for name, values in table.items()
        if not suffix or name in _LABELS or name.startswith(("pre_", "post_", SYNAPSE))
    }


def _groups(
    module: Any, coords: Mapping[Hashable, xr.Variable], taken: set[Hashable]
) -> dict[Hashable, xr.Variable]:
    """Return for each group of the module whether each row belongs to it."""
    if "compartment_id" not in coords:
        return {}
    rows = coords["compartment_id"]
    return {
        f"group_{name}" if name in taken else name: xr.Variable(
            rows.dims, module.nodes[name].to_numpy(dtype=bool)[rows.values]
        )
        for name in module.group_names
    }


def _synapses(module: Any, compartments: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the type and the two compartments of every synapse, in the order of ``module.edges``."""
    edges, index = module.edges, module.nodes.index
    table = {
        "synapse_type": edges["type"].to_numpy(dtype=str),
        "synapse_id": edges["global_edge_index"].to_numpy(dtype=np.int64),
    }
    for side in ("pre", "post"):
        rows = index.get_indexer(edges[f"{side}_index"])
        table |= {f"{side}_{name}": compartments[name][rows] for name in _LABELS}
    return table


def _edges(
    module: Any, table: Mapping[str, np.ndarray], units: np.ndarray
) -> tuple[xr.Variable, dict[Hashable, xr.Variable]]:
    """Return the axial conductances inside the cells `units`, and the coordinates of the compartments they join."""
    i, j, conductance = jaxley_cable.axial_conductances(module)
    inside = np.isin(table["unit"][i], units)
    i, j, conductance = i[inside], j[inside], conductance[inside]
    ends = {"edge_from": i, "edge_to": j, "edge_unit": table["unit"][i]}
    for name in ("branch", "compartment"):
        ends |= {f"edge_from_{name}": table[name][i], f"edge_to_{name}": table[name][j]}
    return (
        xr.Variable("edge", conductance),
        {name: xr.Variable("edge", numbers) for name, numbers in ends.items()},
    )
