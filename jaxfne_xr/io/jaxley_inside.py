r"""Currents between the insides of compartments that recorded voltages and axial conductances do not show.

Backward Euler of Jaxley solves, for the step from k to k + 1 and the voltages :math:`W` at its end,

.. math:: C (W - V_k) / \Delta t + I_{ion}(W) + I_{syn} + I_{gap} - I_{stim, k} = G W

and then sets :math:`V_{k+1} = W`, except where the voltage is clamped. The current of an electrical synapse (a gap
junction) comes from the inside of another compartment, so the current through the membrane is

.. math:: I_m = G W - I_{gap} = G V_{k+1} + J, \qquad J = G (W - V_{k+1}) - I_{gap}

Jaxley computes the current of a synapse at the voltages before the step, and a slope by a change of both voltages by
the same amount, which is zero for a current that depends on their difference: a gap junction is explicit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_jax, is_traced, precision_of
from jaxfne_xr.core.errors import warn
from jaxfne_xr.core.schema import MIXED
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array

from .jaxley_cable import axial_conductances
from .jaxley_parameters import Parameters

#: What makes the current of a compartment unknown; the labels of ``current_unknown``.
CLAMP, JUNCTION = "voltage clamp", "gap junction"
#: Change of the voltages, mV, by which Jaxley finds the slope of a synaptic current.
CHANGE = 1e-3
#: Voltages, mV, at which it is decided whether a synapse is electrical.
PROBED = np.array([-95.0, -70.0, -41.0, -7.0, 33.0])
#: Presynaptic voltages, mV, at which the release of a transmitter no longer changes, and postsynaptic ones on both
#: sides of every reversal potential.
FAR, AROUND = np.array([1e4, 2e4]), np.array([-200.0, *PROBED, 200.0])
#: The least change between `FAR`, of the largest current, that shows an electrical part.
GROWS = 1e-3
#: Largest difference, mV, between recomputed and recorded voltages that is rounding, by the size of a number in bytes.
ROUNDING = {8: 1e-6, 4: 2e-2}


@dataclass(frozen=True)
class Junction:
    """The electrical synapses of one type.

    Attributes
    ----------
    synapse : jaxley.synapses.Synapse
        Their type.
    pre, post : int array (synapse)
        Rows of ``module.nodes`` between which they are; the current leaves the inside of `post`.
    states, params : dict of str to array (synapse)
        Initial states and parameters.
    by_difference : bool
        Whether the current depends on the difference of the two voltages alone, so that its slope is zero in Jaxley.
    """

    synapse: Any
    pre: np.ndarray
    post: np.ndarray
    states: dict[str, Array]
    params: dict[str, Array]
    by_difference: bool

    @property
    def current(self) -> str:
        """The name of the recorded current."""
        return f"i_{self.synapse.name}"


def junctions(module: Any, given: Parameters | None = None) -> list[Junction]:
    """Return the electrical synapses of a module.

    The current of one vanishes whenever both voltages are equal, whatever they are, and is not zero otherwise. That
    of a chemical synapse vanishes at a reversal potential, or depends on the presynaptic voltage alone.
    """
    index = module.nodes.index
    found = []
    for synapse, of_type, states, params in _types(module):
        with jax.ensure_compile_time_eval():
            electrical, by_difference = _kind(synapse, states, params)
        if not electrical:
            continue
        if given is not None and given.values is not None:
            params = {name: given.values[name] for name in params}
            states = {name: given.values[name] for name in states}
        pre, post = (index.get_indexer(of_type[f"{side}_index"]) for side in ("pre", "post"))
        found.append(Junction(synapse, pre, post, states, params, by_difference))
    return found


def mixed_rows(module: Any) -> np.ndarray:
    """Return the rows of ``module.nodes`` that synapses lead to which are both electrical and chemical; warn of them.

    Their currents from cell to cell are not known, since those of the two parts are not told apart.
    """
    names, posts = [], []
    for synapse, of_type, states, params in _types(module):
        with jax.ensure_compile_time_eval():
            if not _kind(synapse, states, params)[0] and _is_mixed(synapse, states, params):
                names.append(synapse.name)
                posts += module.nodes.index.get_indexer(of_type["post_index"]).tolist()
    if names:
        warn(
            f"the current of the synapses {', '.join(names)} grows without bound with the presynaptic voltage, as that "
            "of a gap junction, and is not zero if both voltages are equal, as that of a chemical synapse. Which part "
            "flows through the membrane is not known: currents and fields at the compartments that they lead to are "
            "wrong. Make two types of synapse of each, an electrical and a chemical one."
        )
    return np.unique(np.asarray(posts, int))


def _types(module: Any) -> Iterator[tuple[Any, Any, dict[str, Any], dict[str, Any]]]:
    """Yield each type of synapse with its rows of ``module.edges``, initial states and parameters."""
    edges = module.edges
    for synapse in module.synapses:
        of_type = edges[edges["type"] == synapse.name]
        if not of_type.empty:
            states = {name: of_type[name].to_numpy(dtype=float) for name in synapse.synapse_states}
            params = {name: of_type[name].to_numpy(dtype=float) for name in synapse.synapse_params}
            yield synapse, of_type, states, params


def _conditions(
    states: dict[str, Any], params: dict[str, Any]
) -> tuple[np.ndarray, tuple[tuple[dict[str, Any], dict[str, Any]], ...]]:
    """Return ones for each synapse, and their states and parameters as they are, and open, with a conductance.

    Training, or the simulation, may open them.
    """
    like = np.ones(len(next(iter({**params, **states}.values()), np.ones(1))))
    opened = dict.fromkeys(states, like), {n: np.where(x == 0, 1, x) for n, x in params.items()}
    return like, ((states, params), opened)


def _is_mixed(synapse: Any, states: dict[str, Any], params: dict[str, Any]) -> bool:
    """Whether the current of a synapse that is not electrical has an electrical part.

    With its states held, that of a chemical synapse stays bounded for any presynaptic voltage, or at least changes its
    sign at a reversal potential; an electrical part falls as the presynaptic voltage rises, whatever the other is.
    """
    like, conditions = _conditions(states, params)
    for now, values in conditions:
        at = jax.vmap(partial(synapse.compute_current, now, params=values))
        for side in (-1, 1):
            pre, post = np.meshgrid(side * FAR, AROUND, indexing="ij")
            columns = (jnp.asarray(x.reshape(-1, 1) * like) for x in (pre, post))
            i = np.asarray(at(*columns)).reshape(*pre.shape, -1)
            fall = side * (i[0] - i[1])
            if (fall > GROWS * np.abs(i).max(axis=(0, 1))).all(axis=0).any():
                return True
    return False


def _kind(synapse: Any, states: dict[str, Any], params: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether a synapse is electrical, and whether its current depends on the difference of voltages alone."""
    like, conditions = _conditions(states, params)
    pre, post = (x.reshape(-1, 1) * like for x in np.meshgrid(PROBED, PROBED, indexing="ij"))
    electrical, by_difference = False, True
    for now, values in conditions:

        def current(pre: Array, post: Array, now: Any = now, values: Any = values) -> Array:
            # a state may hold the current, or follow the difference of the voltages
            new = synapse.update_states(dict(now), 0.025, pre, post, values)
            return synapse.compute_current({**now, **new}, pre, post, values)

        at = jax.vmap(current)
        i, shifted = (
            np.nan_to_num(np.asarray(at(jnp.asarray(pre + by), jnp.asarray(post + by))))
            for by in (0.0, 13.0)
        )
        largest = np.abs(i).max()
        if np.abs(i[pre[:, 0] == post[:, 0]]).max() > 1e-6 * largest:
            return False, False
        electrical |= bool(largest > 0)
        by_difference &= bool(np.abs(shifted - i).max() <= 1e-4 * largest)
    return electrical, by_difference


def stepped(
    junction: Junction, states: Mapping[str, Array], pre: Array, post: Array, after: Array
) -> Array:
    """Return the currents (synapse) of a step from the voltages `pre` and `post`, with `post` at its end, nA."""
    at = partial(junction.synapse.compute_current, dict(states))
    current = at(pre, post, junction.params)
    if junction.by_difference:
        return current
    slope = (at(pre + CHANGE, post + CHANGE, junction.params) - current) / CHANGE
    return current + slope * (after - post)


def _recomputed(junction: Junction, pre: Array, post: Array, dt_ms: float) -> Array:
    """Return the currents (synapse, time) of electrical synapses between recorded voltages (synapse, time)."""

    def step(states: dict[str, Array], v: tuple[Array, Array, Array]) -> tuple[Any, Array]:
        before, behind, after = v
        new = junction.synapse.update_states(dict(states), dt_ms, before, behind, junction.params)
        states = {**states, **{n: jnp.asarray(x, states[n].dtype) for n, x in new.items()}}
        return states, stepped(junction, states, before, behind, after)

    start = {name: jnp.asarray(x, pre.dtype) for name, x in junction.states.items()}
    first = junction.synapse.compute_current(dict(start), pre[:, 0], post[:, 0], junction.params)
    rows = pre.T[:-1], post.T[:-1], post.T[1:]
    if start:
        _, rest = jax.lax.scan(step, start, rows)
    else:
        rest = jax.vmap(lambda *v: step({}, v)[1])(*rows) if len(rows[0]) else first[None][:0]
    return jnp.concatenate([first[None], rest]).T


# ------------------------------------------------------------------------------------------ of recorded voltages


def _of_junction(
    junction: Junction,
    v: Callable[[], Array],
    place: np.ndarray,
    recorded: Mapping[str, tuple[np.ndarray, Array]],
    dt_ms: float,
    unknown: np.ndarray,
) -> tuple[Array | None, np.ndarray]:
    """Return the currents (trial, synapse, time) of the known synapses, and the position of `post` of each."""
    pre, post = place[junction.pre], place[junction.post]
    needed = np.flatnonzero(post >= 0)
    numbers, currents = recorded.get(junction.current, (np.empty(0, int), None))
    if junction.by_difference and needed.size and np.isin(needed, numbers).all():
        order = np.argsort(numbers)
        taken = order[np.searchsorted(numbers, needed, sorter=order)]
        return jnp.asarray(currents)[:, taken], post[needed]
    unknown[post[needed[pre[needed] < 0]]] = JUNCTION
    known = needed[pre[needed] >= 0]
    if not known.size:
        return None, known
    part = Junction(
        junction.synapse,
        pre[known],
        post[known],
        {name: x[known] for name, x in junction.states.items()},
        {name: x[known] for name, x in junction.params.items()},
        junction.by_difference,
    )
    voltages = v()
    made = jax.vmap(lambda a, b: _recomputed(part, a, b, dt_ms))
    return made(voltages[:, part.pre], voltages[:, part.post]), part.post


def of_recorded(
    module: Any,
    v: xr.Variable,
    dim: str,
    rows: np.ndarray,
    recorded: Mapping[str, tuple[np.ndarray, xr.Variable]],
    given: Parameters,
    dt_ms: float,
    *,
    repeatable: bool,
) -> tuple[xr.Variable | None, np.ndarray]:
    """Return the currents between insides for recorded voltages, and why those of a compartment are not known.

    Parameters
    ----------
    module : jaxley module
        With its synapses and clamps.
    v : xr.Variable
        Recorded voltages, mV, on `dim`, time and any other dims. Those of dask are computed here, all in memory, where
        a step has to be made again: for clamps of cells of several compartments, and for electrical synapses whose own
        currents were not recorded.
    dim : str
        The dim of the compartments.
    rows : int array
        The row of ``module.nodes`` of each compartment.
    recorded : mapping of str to (int array, xr.Variable)
        Recorded synaptic currents, nA, on `dim`, by their name, with the number of each synapse in its type.
    given : Parameters
        Of the simulation.
    dt_ms : float
    repeatable : bool
        Whether the solver was backward Euler, with the stimuli of the module. If not, currents of clamps are not known.

    Returns
    -------
    current : xr.Variable or None
        J, nA, on the dims of `v`: enters each compartment from inside, and leaves it through the membrane. None if
        there is none.
    unknown : array of str
        Why the current of each compartment is not known; empty if it is.
    """
    found, clamped = junctions(module, given), clamped_rows(module)
    mixed = mixed_rows(module)
    if not found and not clamped.size and not mixed.size:
        return None, np.full(len(rows), "")
    others = [d for d in v.dims if d not in (dim, TIME)]

    def flat(x: xr.Variable) -> Array:
        data = x.transpose(*others, dim, TIME).data
        return data.reshape(-1, *data.shape[len(others) :])

    currents = {name: (number, flat(x)) for name, (number, x) in recorded.items()}

    @cache
    def voltages() -> Array:  # a recording in chunks is computed if the currents need it, and once
        return jnp.asarray(flat(v))

    shape = [v.sizes[d] for d in (*others, dim, TIME)]
    unknown = np.full(len(rows), "", dtype=np.array([CLAMP, JUNCTION, MIXED]).dtype)
    place = np.full(len(module.nodes), -1)
    place[rows] = np.arange(len(rows))
    made: Array | None = None
    with precision_of(v):
        for junction in found:
            current, post = _of_junction(junction, voltages, place, currents, dt_ms, unknown)
            if current is not None:
                made = (
                    jnp.zeros((len(current), *shape[-2:]), current.dtype) if made is None else made
                )
                made = made.at[:, post].add(-current)
        at = place[clamped]
        shift = _of_clamps(module, voltages, rows, at[at >= 0], given, dt_ms, unknown, repeatable)
        if shift is not None:
            made = shift if made is None else made + shift
    post = place[mixed]
    unknown[post[post >= 0]] = MIXED
    if made is None:
        return None, unknown
    data = made if is_jax(v.data) or is_traced(made) else np.asarray(made)
    return xr.Variable((*others, dim, TIME), data.reshape(shape)).transpose(*v.dims), unknown


def clamped_rows(module: Any) -> np.ndarray:
    """Return the rows of ``module.nodes`` whose voltage is clamped."""
    labels = np.unique(np.asarray(module.external_inds.get("v", np.empty(0)), dtype=int))
    return module.nodes.index.get_indexer(labels)


def _of_clamps(
    module: Any,
    recorded: Callable[[], Array],
    rows: np.ndarray,
    clamped: np.ndarray,
    given: Parameters,
    dt_ms: float,
    unknown: np.ndarray,
    repeatable: bool,
) -> Array | None:
    """Return ``G (W - V)`` (trial, recording, time) of clamps, from a repetition of every step; None if not known."""
    if not clamped.size:
        return None
    place = np.full(len(module.nodes), -1)
    place[rows] = np.arange(len(rows))
    i, j, g = axial_conductances(module, given.shape)
    inside = (place[i] >= 0) & (place[j] >= 0)
    i, j, g = place[i[inside]], place[j[inside]], g[inside]
    if not np.isin(clamped, [*i, *j]).any():
        return None  # clamps of cells of one compartment, whose currents are zero
    affected = np.concatenate([clamped, i[np.isin(j, clamped)], j[np.isin(i, clamped)]])
    if not repeatable:
        unknown[affected] = CLAMP
        return None
    v = recorded()
    free = np.setdiff1d(np.arange(len(rows)), clamped)
    again = jax.vmap(_repetition(module, rows, given, dt_ms, v.shape[-1] - 1))
    ends = again(v)  # W of the steps
    shift = jnp.pad(ends[:, clamped] - v[:, clamped, 1:], ((0, 0), (0, 0), (1, 0)))
    off = jnp.abs(ends[:, free] - v[:, free, 1:]).max(initial=0)
    digits = min(np.dtype(x.dtype).itemsize for x in (v, ends))
    tolerance = ROUNDING.get(digits, ROUNDING[4])
    if not is_traced(off) and not off <= tolerance:
        unknown[affected] = CLAMP
        warn(
            f"the currents at {len(clamped)} compartments under a voltage clamp are not known: the clamp sets their "
            "voltage after each step of Jaxley, and a repetition of the steps gives voltages that differ from those "
            f"recorded by up to {float(off):.2g} mV. from_jaxley(..., params=params) takes trained parameters; for "
            "another solver, or stimuli that are not in the module, integrate_field computes fields in the simulation."
        )
        return None
    full = jnp.zeros(v.shape, shift.dtype).at[:, clamped].set(shift)
    along = jnp.asarray(g)[:, None] * (full[:, j] - full[:, i])
    return jnp.zeros_like(full).at[:, i].add(along).at[:, j].add(-along)


def _repetition(
    module: Any, rows: np.ndarray, given: Parameters, dt_ms: float, steps: int
) -> Callable[[Array], Array]:
    """Return a function of recorded voltages (recording, time) that makes each step again, without voltage clamps.

    It returns the voltages at the end of each step (recording, step). Channels and synapses follow the recorded
    voltages from their initial states; compartments that were not recorded are simulated.
    """
    from jaxley.integrate import build_init_and_step_fn

    module.to_jax()
    device = "gpu" if module._solver_device in ("gpu", "tpu") else "cpu"
    initial, advance = build_init_and_step_fn(module, f"jaxley.dhs.{device}")
    state, all_params = initial(list(given.passed), delta_t=dt_ms)
    externals = {}
    for key, values in module.externals.items():
        inputs = jnp.asarray(values).T[:steps]
        lacking = ((0, steps - len(inputs)), (0, 0))
        externals[key] = jnp.pad(inputs, lacking, mode="constant" if key == "i" else "edge")
    clamps, where = externals.pop("v"), module.external_inds
    at = module.nodes.index.to_numpy()[rows]

    def step(state: Any, now: tuple[Array, Any, Array]) -> tuple[Any, Array]:
        v, inputs, clamp = now
        state = {**state, "v": state["v"].at[at].set(v)}
        state = advance(state, all_params, inputs, where, dt_ms)
        end = state["v"][at]
        return {**state, "v": state["v"].at[where["v"]].set(clamp)}, end

    def repeat(v: Array) -> Array:
        before = jnp.asarray(v.T[:-1], state["v"].dtype)
        return jax.lax.scan(step, state, (before, externals, clamps))[1].T

    return repeat


def exchanging(module: Any, found: Sequence[Junction]) -> bool:
    """Whether current may flow from cell to cell, or appear in one, through electrical synapses."""
    cell = module.nodes["global_cell_index"].to_numpy()
    return any(
        (cell[x.pre] != cell[x.post]).any()
        or {*zip(x.pre.tolist(), x.post.tolist(), strict=True)}
        != {*zip(x.post.tolist(), x.pre.tolist(), strict=True)}
        for x in found
    )


def trained_names(found: Sequence[Junction]) -> set[str]:
    """Return the names of parameters and states on which the currents of electrical synapses depend."""
    return {name for junction in found for name in (*junction.params, *junction.states)}
