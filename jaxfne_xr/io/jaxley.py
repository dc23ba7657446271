"""Jaxley: label what ``jx.integrate`` returned, with the compartment of each row and its position.

Only the tables of the module are read, and the module is not changed; nothing is simulated, except that steps with
clamped voltages are made again. ``module.recordings`` refers to compartments by their label in ``module.nodes.index``,
which has gaps in a network (branch points are numbered between the cells), and to synapses by their number within their
type.
"""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public, require_array
from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    JfneError,
    MissingDependencyError,
    Problem,
    missing_dependency,
    raise_problems,
)
from jaxfne_xr.core.numeric import gathered, native
from jaxfne_xr.core.results import assemble
from jaxfne_xr.core.schema import CURRENT_UNKNOWN, GEOMETRY, INTRACELLULAR, WITH
from jaxfne_xr.core.time_axis import TIME, check_dt, time_from_dt, time_problem
from jaxfne_xr.core.types import Array, ArrayLike, Params, Recordings, Time, TimeStep
from jaxfne_xr.core.unit_checks import kind_problems
from jaxfne_xr.core.units import bare_code, is_quantity, same_dimension, unit_of
from jaxfne_xr.core.values import scalar

from . import jaxley_cable, jaxley_inside
from .jaxley_parameters import Parameters, params_problems, warn_of_trainables
from .jaxley_units import units_of_states

#: The oldest Jaxley version whose tables have the form that is read here.
OLDEST = (0, 14)

ROW = "recording"
SYNAPSE = "synapse"

#: Labels that identify a compartment. Every row has them, also on a dim such as ``recording_i_HH``.
_LABELS = ("unit", "branch", "compartment", "compartment_id")

_UNITS_OF_LABELS = {
    **dict.fromkeys(GEOMETRY, "um"),
    "membrane_area": "um^2",
    "capacitance": "uF/cm^2",
}


@public
def from_jaxley(
    module: Any,
    recordings: Recordings,
    *,
    delta_t: TimeStep,
    params: Params | None = None,
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
    params : list of dict, optional
        The trainable parameters given to ``jx.integrate(params=...)``, NumPy or JAX, traced or not: conductances,
        areas, diameters and capacitances are those of this simulation, and differentiable in `params`.
    dims : sequence of str
        The axes of `recordings`, in order. ``jax.vmap`` adds one: ``("trial", "recording", "time")``.
    units : mapping of str to str, optional
        The unit of each recorded state whose unit is not known: those of mechanisms that are not part of Jaxley. A
        unit is never guessed. Names that are not recorded are ignored.
    quantify : bool, optional
        True: pint quantities (JAX arrays become NumPy). False: units in ``attrs["units"]`` (JAX arrays stay JAX). By
        default True, unless the data or `params` are traced by JAX, or the data is dask.

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
        ``i_intracellular`` (nA), on the dims of ``v``, if the module has electrical synapses or clamped voltages: see
        the notes. It belongs to ``conductance``, whose ``attrs["ancillary_variables"]`` names it.

    Raises
    ------
    ArgumentError, DimensionError, UnitError, TimeAxisError, DataError, NonFiniteError
        All problems are listed at once. Values are not checked under a JAX trace.
    MissingDependencyError
        If Jaxley is not installed, or older than 0.14.

    Warns
    -----
    UserWarning
        If the module has trainable radii, lengths, axial resistivities, capacitances or conductances of electrical
        synapses and `params` is not given. If what a clamp, or a synapse that is both electrical and chemical, moves
        between compartments cannot be computed.

    Notes
    -----
    Conductances are those of ``module.nodes``, or of `params`. Positions are always those of ``module.nodes``: Jaxley
    does not move a compartment whose length is trained; ``module.write_trainables(params)`` does. Ends are
    interpolated between the traced points, by path length; the middle is half-way between them, as in Jaxley's
    ``compute_compartment_centers``. A compartment is never longer than its length in the table: where a branch leaves
    a soma, the path from or to the soma's point belongs to it if Jaxley counts it in its length. A soma traced as one
    point has no extent. A cell without traced points is at the place where Jaxley draws it, with the directions of the
    drawing and the lengths of the table: all such cells are at the same place until they are moved
    (``net.arrange_in_layers``, ``cell.move_to``). The provenance records whether positions were traced or drawn.

    A clamp sets a voltage after each step of Jaxley, whose equations had another value there, W; and the current of an
    electrical synapse (zero whenever both voltages are equal) flows between two insides. ``i_intracellular`` is
    ``G (W - V) - I_gap``, which added to ``G V`` makes the current through the membrane, as in these equations. For W
    every step is made again from the recorded voltages, with backward Euler and the stimuli of the module, which takes
    as long as the simulation. Compartments for which this is not possible are named in ``current_unknown``, with those
    to which a synapse leads that is electrical and chemical at once; whether the repetition gives the recorded voltages
    is not checked under a JAX trace.

    What was only passed to ``jx.integrate`` is not in the module, and is not seen: for values of ``data_set``
    (``param_state=``), call ``module.set`` with the same key and value before `from_jaxley`; for clamps of
    ``data_clamp`` (``data_clamps=``), ``module.clamp``.

    Recordings of dask stay lazy, except that ``i_intracellular`` is computed at once, from the recorded currents of the
    electrical synapses or else from all recorded voltages, which then have to fit into memory.

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
    require_module(module)
    problems = params_problems(module, params)
    given = Parameters() if problems else Parameters.of(module, params)
    if params is None and not module.recordings.empty and "v" in {*module.recordings["state"]}:
        found = jaxley_inside.junctions(module) if module.trainable_params else ()
        warn_of_trainables(module, jaxley_inside.trained_names(found))
    return labelled(
        module,
        recordings,
        given,
        delta_t=delta_t,
        dims=tuple(dims),
        units=units,
        quantify=quantify,
        problems=problems,
    )


def labelled(
    module: Any,
    recordings: Array,
    given: Parameters,
    *,
    delta_t: Time,
    dims: tuple[str, ...] = (ROW, TIME),
    units: Mapping[str, str] | None = None,
    quantify: bool | None = None,
    problems: Sequence[Problem] = (),
    repeatable: bool = True,
) -> xr.Dataset:
    """Label recordings as `from_jaxley` does, given the parameters of the simulation; raise its `problems` too.

    Steps are `repeatable` with backward Euler and the stimuli of the module.
    """
    states, index = _recorded(module)
    recordings = _bare(recordings)
    known, found = units_of_states(module, dict.fromkeys(states), units or {})
    problems = [*found, *problems, *kind_problems(recordings, "recordings")]
    problems += _axis_problems(recordings.shape, dims, states)
    try:
        dt_ms = check_dt(scalar(delta_t, "ms", "delta_t"), "delta_t")
    except JfneError as error:
        problems += error.problems
    raise_problems(problems)

    if quantify is None:
        quantify = not (is_traced(recordings) or is_dask(recordings) or given.traced)
    # quantities hold NumPy arrays; a traced array cannot be converted
    if quantify and is_jax(recordings) and not is_traced(recordings):
        recordings = np.asarray(recordings)
    table = jaxley_cable.compartments(module, given.geometry)
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
        conductance, ends = _edges(module, table, np.unique(coords["unit"].values), given.shape)
        variables["conductance"] = conductance, "uS"
        coords |= ends
        own = _inside(module, variables["v"][0], coords, recordings, dims, given, dt_ms, repeatable)
        variables |= own[0]
        coords |= own[1]
    coords |= _groups(module, coords, taken={*variables, *coords, *dims})

    parameters = {
        "module": type(module).__name__,
        "dt_ms": dt_ms,
        "dims": list(dims),
        "precision": str(recordings.dtype),
        "geometry": jaxley_cable.geometry(module),
        "trained": list(given.trained),
        "jaxley": importlib.metadata.version("jaxley"),
    }
    made = assemble(
        variables,
        time_from_dt(dt_ms, recordings.shape[dims.index(TIME)]),
        coords,
        quantify=quantify,
        function="from_jaxley",
        parameters=parameters,
        stage="traces",
        origin="jaxley",
    )
    if INTRACELLULAR in variables:  # of which a selection of the conductances says that it lacks it
        made.variables["conductance"].attrs[WITH] = INTRACELLULAR
    return made


def sites_of(
    module: Any, time: np.ndarray, parameters: Mapping[str, Any], given: Parameters
) -> xr.Dataset:
    """Return every compartment of a module, with the labels that `from_jaxley` gives, before it is simulated.

    Parameters
    ----------
    module : jaxley module
        As for `from_jaxley`; nothing has to be recorded.
    time : array (time)
        ms.
    parameters : mapping
        Of the simulation, for the provenance.
    given : Parameters
        Trained parameters of the simulation.
    """
    table = jaxley_cable.compartments(module, given.geometry)
    coords = _labels(table, np.arange(len(table["unit"])), ROW, suffix="")
    conductance, ends = _edges(module, table, np.unique(table["unit"]), given.shape)
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
            remedy="the whole network to from_jaxley, and then ds.query(recording='unit == 0')"
            if part
            else "for a bare array, jfx.traces with layout='recording_by_time'",
        )
    return version


def _bare(recordings: ArrayLike) -> Array:
    """Return `recordings` as an array; raise if it is something else."""
    if isinstance(recordings, tuple):
        found = "a tuple, as jx.integrate(..., return_states=True) returns"
        remedy = "recordings, states = recordings"
    elif is_quantity(recordings):
        unit = unit_of(recordings)
        found = f"a {type(recordings).__name__} in {unit}"
        remedy = bare_code(recordings, "recordings", "mV" if same_dimension(unit, "mV") else unit)
    elif isinstance(recordings, (xr.DataArray, xr.Dataset, xr.Variable)):
        found, remedy = f"a {type(recordings).__name__}", "pass the bare array"
    else:
        require_array(recordings, "recordings")
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


def _inside(
    module: Any,
    v: xr.Variable,
    coords: Mapping[Hashable, xr.Variable],
    recordings: Array,
    dims: tuple[str, ...],
    given: Parameters,
    dt_ms: float,
    repeatable: bool,
) -> tuple[dict[str, tuple[xr.Variable, str]], dict[Hashable, xr.Variable]]:
    """Return the currents between insides that voltages do not show, and the label of those that are not known."""
    if not module.synapses and "v" not in module.externals:
        return {}, {}
    states, index = _recorded(module)
    recorded = {}
    for name in {f"i_{synapse.name}" for synapse in module.synapses} & {*states}:
        rows = np.flatnonzero(states == name)
        rows = rows[index[rows] < (module.edges["type"] == name[2:]).sum()]
        recorded[name] = index[rows], xr.Variable(dims, _taken(recordings, rows, dims.index(ROW)))
    current, unknown = jaxley_inside.of_recorded(
        module,
        v,
        ROW,
        coords["compartment_id"].values,
        recorded,
        given,
        dt_ms,
        repeatable=repeatable,
    )
    made = {} if current is None else {INTRACELLULAR: (current, "nA")}
    return made, {CURRENT_UNKNOWN: xr.Variable(ROW, unknown)} if (unknown != "").any() else {}


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
    module: Any,
    table: Mapping[str, np.ndarray],
    units: np.ndarray,
    parameters: Mapping[str, Array] | None,
) -> tuple[xr.Variable, dict[Hashable, xr.Variable]]:
    """Return the axial conductances inside the cells `units`, and the coordinates of the compartments they join."""
    i, j, conductance = jaxley_cable.axial_conductances(module, parameters)
    inside = np.isin(table["unit"][i], units)
    i, j, conductance = i[inside], j[inside], conductance[inside]
    ends = {"edge_from": i, "edge_to": j, "edge_unit": table["unit"][i]}
    for name in ("branch", "compartment"):
        ends |= {f"edge_from_{name}": table[name][i], f"edge_to_{name}": table[name][j]}
    return (
        xr.Variable("edge", conductance),
        {name: xr.Variable("edge", numbers) for name, numbers in ends.items()},
    )
