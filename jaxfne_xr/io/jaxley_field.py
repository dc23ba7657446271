"""Compute a field while Jaxley simulates, without storing voltages.

Jaxley's own functions step the module. The voltage differences along its axial conductances are multiplied by the lead
field for a block of steps at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import MOST, public
from jaxfne_xr.core.arrays import is_traced
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    raise_problems,
    warn,
)
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.results import finish, owned_data
from jaxfne_xr.core.schema import UNITS
from jaxfne_xr.core.time_axis import TIME, check_dt, time_from_dt
from jaxfne_xr.core.types import Array, Params, Probe, ReadoutNames, Time, TimeStep
from jaxfne_xr.core.values import scalar
from jaxfne_xr.fields.conductors import LineSource
from jaxfne_xr.fields.dipoles import dipole_moment
from jaxfne_xr.fields.membrane_currents import LARGEST
from jaxfne_xr.fields.potentials import FAR, PotentialModel, labelled_lfp, matrix_of, nearest
from jaxfne_xr.geometry.cable import Cable, along_edges
from jaxfne_xr.geometry.positions import positions_along, positions_of, prefixed
from jaxfne_xr.kernels import loop
from jaxfne_xr.signals.traces import quantify as with_quantities

from .jaxley import ROW, labelled, require_module, sites_of
from .jaxley_cable import axial_conductances
from .jaxley_inside import Junction, exchanging, junctions, mixed_rows, stepped
from .jaxley_parameters import Parameters, as_arrays, params_problems, quantity_problems
from .jaxley_units import known_unit

#: What can be read while the simulation runs.
READOUTS = ("lfp", "dipole_moment", "recordings")
#: Solvers of Jaxley, and the scheme of `transmembrane_currents` that relates a current to its time step.
SOLVERS = {"bwd_euler": "backward_euler", "crank_nicolson": "crank_nicolson"}
#: Approximate number of steps in a block: its voltages fit in the cache, and one matrix product serves all of them.
BLOCK = 64
#: Arrays by name: the state, the parameters and the inputs of Jaxley, and what is read of a state.
Arrays: TypeAlias = dict[str, Array]
#: (state, all_params, externals) -> the next state
Step: TypeAlias = Callable[[Arrays, Arrays, Arrays], Arrays]
#: (state before a step, after it, and with clamped voltages, all_params) -> what is read of it
Take: TypeAlias = Callable[[Arrays, Arrays, Arrays, Arrays], Arrays]


@public
def integrate_field(
    module: Any,
    probe: Probe | None = None,
    *,
    delta_t: TimeStep,
    t_max: Time | None = None,
    model: PotentialModel | None = None,
    params: Params | None = None,
    stimuli: tuple[Any, list[Any], list[Any]] | None = None,
    readouts: ReadoutNames = ("lfp",),
    checkpoint: int | Sequence[int] | None = None,
    solver: str = "bwd_euler",
    quantify: bool | None = None,
) -> xr.Dataset:
    r"""Simulate a Jaxley module and return the field at a probe, without storing voltages.

    .. math:: \phi_c[k] = \sum_e g_e (L_{ca} - L_{cb}) (V_b[k] - V_a[k])

    Parameters
    ----------
    module : jaxley.Compartment, Branch, Cell or Network
        With its stimuli and clamps. It is not changed; no recordings are needed.
    probe : xr.Dataset, optional
        Contacts, um: `linear_probe`, `grid_probe`, `probe_at`, `from_probeinterface`. Needed for ``"lfp"``. Positions
        may be JAX arrays, traced or not.
    delta_t : float, str or pint.Quantity
        Time step, ms (or ``"25 us"``).
    t_max : float, str or pint.Quantity, optional
        Duration, ms; gives as many steps as ``jx.integrate(t_max=...)``. By default that of the stimuli.
    model : PointSource, LineSource, RootAsPoint, Slab or callable, optional
        ``LineSource()`` by default; see `lead_field`. Its parameters may be JAX arrays.
    params : list of dict, optional
        What ``module.get_parameters()`` returned after ``module.make_trainable(...)``.
    stimuli : tuple, optional
        What ``module.data_stimulate(current)`` returned: stimuli that are passed with each call.
    readouts : sequence of {"lfp", "dipole_moment", "recordings"}
        What to compute: the potential; the dipole moment of each cell; the rows of ``module.recordings``.
    checkpoint : int or sequence of int, optional
        For the reverse pass of a gradient: number of steps between two stored states; or, as a sequence, the number of
        parts of each level, the last of which are steps. Must divide the number of steps. With ``n`` steps, ``sqrt(n)``
        stores about ``2 sqrt(n)`` states instead of ``n``, at the cost of one more forward pass.
    solver : {"bwd_euler", "crank_nicolson"}
        Solver of Jaxley. For ``"crank_nicolson"``, the current of a step is that of the mean voltage of its two ends.
    quantify : bool, optional
        As in `from_jaxley`: pint quantities by default, unless the result is traced by JAX.

    Returns
    -------
    xr.Dataset
        ``lfp`` (time, contact), uV, the initial state first, with the coordinates of the contacts: up to rounding, the
        same as ``lfp(from_jaxley(module, jx.integrate(module, ...), delta_t=...), probe, model)`` of all voltages. On
        request also ``dipole_moment`` (time, xyz, unit), nA*um, about each cell's middle, and the recordings as
        `from_jaxley` labels them. Currents of gap junctions and of clamped voltages are those of Jaxley's equations in
        every step, as `from_jaxley` describes. With several readouts the coordinates of contacts are ``contact_x``,
        ..., those of dipoles ``unit_x``, .... As in `lfp`, the stimulus is not included.

    Raises
    ------
    ArgumentError, DimensionError, UnitError, VariableError
        If it is not a module of Jaxley; if a readout or a solver is not known, or the probe is missing; if the
        checkpoint does not divide the steps; if all contacts are over 10 mm from every site (not checked if positions
        are traced). Raised when the function is called or traced.
    MissingDependencyError
        If Jaxley is not installed, or older than 0.14.

    Warns
    -----
    UserWarning
        If contacts are inside a site. If the simulation is in float32: says the largest error that rounding can cause.

    Notes
    -----
    Memory grows with contacts times time. Differentiable in `params` (conductances, radii, ...), in the stimuli, in
    the positions of the contacts and in the parameters of the model. Trained radii, lengths and resistivities change
    the currents, and trained radii the distance that limits a potential; positions are those of ``module.nodes``. As
    with ``jx.integrate``, use `jax.jit` for code that is called more than once.

    Examples
    --------
    >>> import jax, jaxley as jx, jaxfne_xr as jfx
    >>> from jaxley.channels import HH
    >>> cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0])
    >>> cell.insert(HH())
    >>> with jax.enable_x64(True):
    ...     made = integrate_field(cell, jfx.linear_probe(3, origin=(50, 0, 0)), delta_t=0.025, t_max=1.0)
    >>> made.lfp.dims, made.lfp.shape, str(made.lfp.pint.units)
    (('time', 'contact'), (41, 3), 'microvolt')
    """
    require_module(module)
    asked = [readouts] if isinstance(readouts, str) else list(dict.fromkeys(readouts))
    model = LineSource() if model is None else model
    problems = _request_problems(module, asked, probe, solver)
    problems += params_problems(module, params)
    problems += _stimuli_problems(stimuli)
    raise_problems(problems)
    dt_ms = check_dt(scalar(delta_t, "ms", "delta_t"), "delta_t")
    externals, where, steps = _externals(module, stimuli, t_max, dt_ms)
    lengths = _lengths(steps, checkpoint)

    state, step, all_params = _stepping(module, params, dt_ms, solver, where)
    given = Parameters.made(params, state | all_params)
    sites = sites_of(
        module,
        time_from_dt(dt_ms, steps + 1),
        parameters={
            "dt_ms": dt_ms,
            "precision": str(state["v"].dtype),
            "solver": solver,
            "scheme": SOLVERS[solver],
            "stimulus": "not included",
            "source": "transmembrane_current",
            "trained": list(given.trained),
        },
        given=given,
    )
    start, stop, conductance = axial_conductances(module, given.shape)
    joined = Cable.between(ROW, start, stop, conductance)

    found = junctions(module)
    mixed_rows(module)  # which warns of what is not known
    weights, inside = {}, None
    if "lfp" in asked and probe is not None:
        _require_near(sites, probe, model)
        matrix, inside = matrix_of(sites, probe, model)
        weights["lfp"] = _weights(matrix, joined, found)
        _warn_of_rounding(weights["lfp"]["differences"], state["v"].dtype)
    if "dipole_moment" in asked:
        # about the middle of each cell: with gap junctions, the moment depends on the origin
        of_cell = np.asarray(sites["unit"])
        place = np.asarray(positions_of(sites, ROW, "xyz"), float)
        middle = np.stack([np.bincount(of_cell, x) / np.bincount(of_cell) for x in place.T], axis=1)
        weights["dipole_moment"] = _weights((place - middle[of_cell]).T, joined, found)

    unit = {f"junctions_{k}": np.asarray(sites["unit"])[x.post] for k, x in enumerate(found)}
    unit["differences"] = np.asarray(sites["edge_unit"])
    read = partial(_read, unit=unit, n=int(sites["unit"].max()) + 1)
    take = _taking(module, joined, found, solver, "recordings" in asked)
    with working("integrate_field"):
        made = _run(
            step,
            take,
            read,
            state,
            all_params,
            externals,
            weights,
            where.get("v"),
            lengths,
            steps,
            checkpoint is not None,
        )
        if not any(map(is_traced, made.values())):
            jax.block_until_ready(made)
    if quantify is None:
        quantify = not any(map(is_traced, made.values()))
    if quantify:
        made = {name: owned_data(value, True) for name, value in made.items()}
        sites = with_quantities(sites)

    results = []
    for name in asked:
        if name == "lfp":
            results.append(_labelled_lfp(sites, made[name], probe, model, inside))
        elif name == "dipole_moment":
            results.append(_labelled_dipoles(sites, made[name], not exchanging(module, found)))
        else:
            own = stimuli is None and solver == "bwd_euler"
            rows = labelled(
                module,
                made[name].T,
                given,
                delta_t=dt_ms,
                quantify=quantify,
                repeatable=own,
            )
            results.append(rows)
    return results[0] if len(results) == 1 else _side_by_side(results)


# ---------------------------------------------------------------------------------------- checks of the input


def _request_problems(
    module: Any, asked: Sequence[str], probe: xr.Dataset | None, solver: str
) -> list[Problem]:
    unknown = [name for name in asked if name not in READOUTS] if asked else [()]
    problems = [_unknown("readouts", name, READOUTS, 'readouts=("lfp",)') for name in unknown]
    if solver not in SOLVERS:
        problems.append(_unknown("solver", solver, tuple(SOLVERS), 'solver="bwd_euler"'))
    if "lfp" in asked and probe is None:
        problems.append(
            Problem(
                where="probe",
                found="no probe",
                expected="contacts, for the readout 'lfp'",
                remedy="probe=jfx.linear_probe(16)",
                error=ArgumentError,
            )
        )
    if "recordings" in asked and module.recordings.empty:
        problems.append(
            Problem(
                where="module.recordings",
                found="no recordings",
                expected="at least one, for the readout 'recordings'",
                remedy="module.record() first",
                error=ArgumentError,
            )
        )
    if known_unit(module, "v") is None:
        problems.append(
            Problem(
                where="module",
                found="a rate without a unit in place of the voltage",
                expected="a membrane voltage in mV: a rate drives no current",
                remedy="insert channels of a spiking or graded neuron, such as jaxley.channels.HH",
                error=ArgumentError,
            )
        )
    return problems


def _stimuli_problems(stimuli: object) -> list[Problem]:
    """Return the problem of stimuli for Jaxley, which fails with an unclear error."""
    problems = []
    remedy = "stimuli=cell.branch(0).comp(0).data_stimulate(current), with current in nA"
    problems += quantity_problems("stimuli", stimuli, remedy)
    parts = stimuli if isinstance(stimuli, tuple) and len(stimuli) == 3 else (None, ())
    if stimuli is not None and not all(isinstance(part, list) for part in parts[1:]):
        problems.append(
            Problem(
                where="stimuli",
                found=f"a {type(stimuli).__name__}",
                expected="what module.data_stimulate(current) returned",
                remedy="stimuli = cell.branch(0).comp(0).data_stimulate(current)",
                error=ArgumentError,
            )
        )
    return problems


def _unknown(where: str, found: object, known: Sequence[str], remedy: str) -> Problem:
    return Problem(where, repr(found), f"some of {list(known)}", remedy, ArgumentError)


def _require_near(sites: xr.Dataset, probe: xr.Dataset, model: PotentialModel) -> None:
    """Raise if no contact is near: checked before the simulation, which may take long."""
    near = nearest(sites, positions_along(probe, "contact", "xyz"), model)
    if near is not None and near[0].min() > FAR:
        raise DimensionError.of(
            "probe",
            found=f"contacts that are {near[0].min() / 1000:.3g} mm or more from the nearest compartment",
            expected="a probe within 10 mm of the module, both in um and with the same origin",
            remedy='jfx.probe_at(positions, units="mm") if they are in mm; module.move_to(x, y, z)',
        )


def _lengths(steps: int, checkpoint: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the length of each level of the loop; without checkpoints, of blocks that hold all steps and few more."""
    if checkpoint is None:
        blocks = math.ceil(steps / BLOCK)
        return blocks, math.ceil(steps / blocks)
    given = tuple(checkpoint) if isinstance(checkpoint, (list, tuple)) else (checkpoint,)
    counts = (int, np.integer)
    if given and all(isinstance(n, counts) and n is not True and n > 0 for n in given):
        levels = [int(n) for n in given]
        if len(levels) == 1 and steps % levels[0] == 0:
            return steps // levels[0], levels[0]
        if math.prod(levels) == steps:
            return tuple(levels)
    # suggest the divisor nearest to sqrt(steps), which stores the fewest states
    root = math.isqrt(steps)
    divisor = min((n for n in range(1, steps + 1) if steps % n == 0), key=lambda n: abs(n - root))
    raise ArgumentError.of(
        "checkpoint",
        found=f"{checkpoint!r} for {steps} steps",
        expected="a divisor of this number, or numbers whose product it is",
        remedy=f"checkpoint={divisor}"
        + ("" if divisor > 1 else "; another t_max, since the number of steps is prime"),
    )


# ------------------------------------------------------------------------------------------------- the simulation


def _externals(
    module: Any, stimuli: Any, t_max: Time | None, dt_ms: float
) -> tuple[Arrays, dict[str, Any], int]:
    """Return stimuli and clamps (step, row), the rows they act on, and the number of steps, as in Jaxley."""
    from jaxley.integrate import add_stimuli

    externals, where = add_stimuli(module.externals.copy(), module.external_inds.copy(), stimuli)
    externals = {key: jnp.asarray(value).T for key, value in externals.items()}
    if t_max is None:
        if not externals:
            raise ArgumentError.of(
                "t_max",
                found="neither a duration nor a stimulus",
                expected="one of them",
                remedy="t_max=100.0",
            )
        return externals, where, len(next(iter(externals.values())))
    duration = scalar(t_max, "ms", "t_max")
    if not 0 < duration < math.inf:
        raise ArgumentError.of(
            "t_max", found=f"{duration:g} ms", expected="a positive duration", remedy="t_max=100.0"
        )
    if not dt_ms <= duration <= MOST * dt_ms:
        raise ArgumentError.of(
            "delta_t",
            found=f"{dt_ms:g} ms, with t_max={duration:g} ms",
            expected="at least one step, and not billions",
            remedy="delta_t=0.025",
        )
    steps = int(duration // dt_ms + 1)  # as in jx.integrate
    for key, rows in externals.items():
        # a stimulus that ends early is followed by zeros, as in jx.integrate; a clamp has no such default
        lacking = steps - len(rows)
        if lacking > 0 and key != "i":
            raise DimensionError.of(
                f"clamp of {key}",
                found=f"{len(rows)} samples",
                expected=f"{steps}, one for each step",
                remedy="clamp for the whole of t_max, or reduce t_max",
            )
        externals[key] = jnp.pad(rows, ((0, max(lacking, 0)), (0, 0)))[:steps]
    return externals, where, steps


def _stepping(
    module: Any,
    params: Sequence[Mapping[str, Array]] | None,
    dt_ms: float,
    solver: str,
    where: dict[str, Any],
) -> tuple[Arrays, Step, Arrays]:
    """Return the initial state, a function (state, all_params, externals) -> state, and all parameters."""
    from jaxley.integrate import build_init_and_step_fn

    module.to_jax()
    device = "gpu" if module._solver_device in ("gpu", "tpu") else "cpu"
    initial, advance = build_init_and_step_fn(module, f"jaxley.dhs.{device}", solver)
    state, all_params = initial(as_arrays(params), delta_t=dt_ms)

    def step(state: Arrays, all_params: Arrays, externals: Arrays) -> Arrays:
        return advance(state, all_params, externals, where, dt_ms)

    return state, step, all_params


def _taking(
    module: Any, joined: Cable, found: Sequence[Junction], solver: str, recorded: bool
) -> Take:
    """Return a function of the states before and after a step that returns what is read of it.

    These are the voltage differences along edges, of Crank-Nicolson in the middle of the step; the currents of gap
    junctions; and the recorded rows. Voltages are those of the equations, before a clamp sets them.
    """
    label = module.nodes.index.to_numpy()
    start, stop = (label[end] for end in joined.ends.arrays)
    rows: dict[str, np.ndarray] = {}
    order: np.ndarray | slice = slice(None)
    if recorded:
        rows = {
            str(n): part.to_numpy() for n, part in module.recordings.groupby("state")["rec_index"]
        }
        # rows are gathered state by state; the inverse permutation restores the order of module.recordings
        order = np.argsort(np.argsort(module.recordings["state"].to_numpy(), kind="stable"))

    def take(before: Arrays, after: Arrays, kept: Arrays, all_params: Arrays) -> Arrays:
        end = (before["v"] + after["v"]) / 2 if solver == "crank_nicolson" else after["v"]
        taken = {"differences": end[stop] - end[start]}
        for k, junction in enumerate(found):
            states = {name: after[name] for name in junction.states}
            params = {name: all_params[name] for name in junction.params}
            pre, post = (before["v"][label[at]] for at in (junction.pre, junction.post))
            own = replace(junction, params=params)
            taken[f"junctions_{k}"] = -stepped(own, states, pre, post, end[label[junction.post]])
        if recorded:
            taken["recordings"] = jnp.concatenate([kept[n][i] for n, i in rows.items()])[order]
        return taken

    return take


def _weights(matrix: Array, joined: Cable, found: Sequence[Junction]) -> Arrays:
    """Return what a readout (row, site) of currents makes of what `_taking` takes: (row, edge), (row, synapse)."""
    weights = {f"junctions_{k}": matrix[:, junction.post] for k, junction in enumerate(found)}
    return {"differences": along_edges(matrix, joined), **weights}


def _read(samples: Arrays, weights: dict[str, Arrays], *, unit: Arrays, n: int) -> Arrays:
    """Return the readouts of a block of samples: potentials (step, contact), moments (step, xyz, unit), rows."""
    made = {key: samples[key] for key in samples if key == "recordings"}
    for part, weight in weights.get("lfp", {}).items():
        # GPUs would otherwise multiply in reduced precision
        potential = jnp.matmul(samples[part], weight.T, precision=jax.lax.Precision.HIGHEST)
        made["lfp"] = made["lfp"] + potential if "lfp" in made else potential
    for part, weight in weights.get("dipole_moment", {}).items():
        parts = jnp.moveaxis(samples[part][:, None] * weight, -1, 0)
        moments = jnp.moveaxis(jax.ops.segment_sum(parts, unit[part], n), 0, -1)
        made["dipole_moment"] = (
            made["dipole_moment"] + moments if "dipole_moment" in made else moments
        )
    return made


def _run(
    step: Step,
    take: Take,
    read: Callable[..., Arrays],
    state: Arrays,
    all_params: Arrays,
    externals: Arrays,
    weights: dict[str, Arrays],
    clamped: Array | None,
    lengths: tuple[int, ...],
    steps: int,
    checkpoint: bool,
) -> Arrays:
    """Simulate, and return the readouts of the initial state and of every step."""
    extra = math.prod(lengths) - steps  # simulated and discarded; a clamp keeps its last value

    @jax.jit
    def run(
        state: Arrays, all_params: Arrays, externals: Arrays, weights: dict[str, Arrays]
    ) -> Arrays:
        weights = jax.tree.map(lambda w: jnp.asarray(w, state["v"].dtype), weights)

        def advance(state: Arrays, now: Arrays) -> tuple[Arrays, Arrays]:
            clamp = now.get("v")
            # Jaxley changes the dict that it is given
            now = {key: x for key, x in now.items() if key != "v"}
            after = step(dict(state), all_params, now)
            kept = after
            if clamp is not None:  # as in Jaxley, after the step: its equations do not know of it
                kept = {**after, "v": after["v"].at[clamped].set(clamp)}
            return kept, take(state, after, kept, all_params)

        inputs = {
            key: jnp.pad(rows, ((0, extra), (0, 0)), mode="edge") for key, rows in externals.items()
        }
        first = read(
            jax.tree.map(lambda x: x[None], take(state, state, state, all_params)), weights
        )
        made = loop.read_in_blocks(
            advance, partial(read, weights=weights), state, inputs, lengths, checkpoint=checkpoint
        )
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[:steps]]), first, made)

    return run(state, all_params, externals, weights)


def _warn_of_rounding(weights: Array, dtype: np.dtype) -> None:
    """Warn of the largest error that rounding of voltages can cause, if the simulation is in float32."""
    if np.dtype(dtype).itemsize >= 8 or is_traced(weights):
        return
    bound = float(np.abs(np.asarray(weights, float)).sum(axis=1).max(initial=0))
    bound *= float(np.spacing(np.float32(LARGEST)))
    warn(
        f"the simulation is in {dtype}: the rounding of its voltages can change a potential by up to {bound:.1e} uV. "
        'If that is too much, simulate in float64: jax.config.update("jax_enable_x64", True).'
    )


# ------------------------------------------------------------------------------------------------------- labels


def _labelled_lfp(
    sites: xr.Dataset, potential: Array, probe: Any, model: PotentialModel, inside: int | None
) -> xr.Dataset:
    """Label potentials (time, contact) as `lfp` does."""
    parameters = {
        "of": "voltage",
        "source": "transmembrane_current",
        "by": None,
        "contacts_inside": inside,
    }
    variable = xr.Variable((TIME, "contact"), potential)
    return labelled_lfp(sites, variable, probe, model, parameters)


def _labelled_dipoles(sites: xr.Dataset, moments: Array, closed: bool) -> xr.Dataset:
    """Label moments (time, xyz, unit) as `dipole_moment` does; warn if the currents of a cell do not sum to zero."""
    if not closed:
        warn(
            "gap junctions carry current from cell to cell, so the currents of a cell do not sum to 0, and its moment "
            "depends on the origin, the mean position of its sites."
        )
    # dipole_moment of one sample without current has the labels, at little cost
    still = np.zeros((1, sites.sizes[ROW]))
    one = sites.isel({TIME: [0]}).assign(i_membrane=((TIME, ROW), still, {"units": "nA"}))
    like = dipole_moment(one)
    return finish(
        sites,
        "dipole_moment",
        xr.Variable(like["dipole_moment"].dims, moments),
        UNITS["dipole_moment"],
        {
            "by": "unit",
            "origin": like["dipole_moment"].attrs["origin"],
            "groups": like.sizes["unit"],
            **({} if closed else {"closed": False}),
        },
        coords={name: c.variable for name, c in like.coords.items() if name != TIME},
        stage="source",
        attrs={"origin": like["dipole_moment"].attrs["origin"]},
    )


def _side_by_side(results: Sequence[xr.Dataset]) -> xr.Dataset:
    """Merge results into one Dataset; coordinates of the same name get their dim as a prefix."""
    variables: dict[Hashable, xr.Variable] = {}
    coords: dict[Hashable, xr.Variable] = {}
    dims = {dim for result in results for dim in result.dims}
    for result in results:
        variables |= {name: v.variable for name, v in result.data_vars.items()}
        for name, c in result.coords.items():
            own = prefixed(name, c.dims)
            taken = own in coords and coords[own].dims != c.dims
            if taken or (own in dims and c.dims != (own,)):
                own = f"{c.dims[0]}_{name}"
            coords[own] = c.variable
    return provenance.gathered(xr.Dataset(variables, coords), results, stage="readout")
