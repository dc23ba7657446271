"""The cable of a Jaxley module, read from its tables: where each compartment lies, and how they are joined.

Compartments are numbered as the rows of ``module.nodes`` (``global_comp_index``). Its index is another numbering, with
gaps in a network, where branch points sit between the cells; ``_comp_edges`` uses that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: The columns of a table of compartments that say how well current flows along them.
RESISTANCE = ("axial_resistivity", "resistive_load_in", "resistive_load_out")


def compartments(module: Any) -> dict[str, np.ndarray]:
    """Return labels, middle, ends and diameter (um), area (um^2), capacitance (uF/cm^2) of every compartment."""
    nodes = module.nodes
    start, end = _ends(module)
    table: dict[str, Any] = {
        "unit": nodes["global_cell_index"],
        "branch": nodes["local_branch_index"],
        "compartment": nodes["local_comp_index"],
        "compartment_id": np.arange(len(nodes)),
    }
    for suffix, points in (("", (start + end) / 2), ("_start", start), ("_end", end)):
        table |= {axis + suffix: points[:, i] for i, axis in enumerate("xyz")}
    table |= {
        "diameter": 2 * nodes["radius"],
        "membrane_area": nodes["area"],
        "capacitance": nodes["capacitance"],
    }
    return {name: np.asarray(values) for name, values in table.items()}


def geometry(module: Any) -> str:
    """Return where the positions come from. Jaxley draws what was not traced, and gives it no radius along the way."""
    drawn = [bool(np.isnan(points[:, 3]).any()) for points in module.xyzr]
    if not any(drawn):
        return "traced"
    return "drawn by Jaxley" if all(drawn) else "partly drawn by Jaxley"


def axial_conductances(
    module: Any, parameters: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return compartments i < j and the conductance between them, uS, with branch points eliminated.

    They are the off-diagonal of the Laplacian G of the module, whose rows sum to zero: ``I_m = G V`` in nA. With the
    `parameters` of a simulation, by the labels of ``module.nodes.index`` as Jaxley holds them, the conductances are
    those and JAX arrays; else they are those of the table.

    Notes
    -----
    Two compartments of a branch meet through a half of each, ``g = 1 / (R_out + R_in)``. A branch point has no
    membrane, so the half conductances ``g_a`` that meet there join into ``g_a g_b / sum(g)`` for every pair (star-mesh
    transform). Jaxley's edges are of type 0 within a branch (both ways), 3 and 4 from the end of a parent and the start
    of a child to the branch point.
    """
    nodes, edges = module.nodes, module._comp_edges
    kind = edges["type"].to_numpy()
    source, sink = (edges[end].to_numpy(dtype=np.int64) for end in ("source", "sink"))
    row = nodes.index.get_indexer
    if parameters is None:
        xp: Any = np
        table = {name: nodes[name].to_numpy(dtype=float) for name in RESISTANCE}
    else:
        xp = jnp
        table = {name: parameters[name][nodes.index.to_numpy()] for name in RESISTANCE}
    # resistive load (1/um) * resistivity (ohm cm) is in 1e4 ohm: a hundredth of 1/uS
    resistivity, into, out_of = (table[name] for name in RESISTANCE)
    into, out_of = resistivity * into / 100, resistivity * out_of / 100

    within = (kind == 0) & (edges["ordered"].to_numpy() == 1)
    a, b = row(source[within]), row(sink[within])
    found = [(a, b, 1 / (out_of[a] + into[b]))]

    arm = np.flatnonzero(np.isin(kind, (3, 4)))
    arm = arm[np.argsort(sink[arm], kind="stable")]
    tip = row(source[arm])
    g = 1 / xp.where(kind[arm] == 3, out_of[tip], into[tip])
    _, hub, arms = np.unique(sink[arm], return_inverse=True, return_counts=True)
    total = (
        np.bincount(hub, g)
        if parameters is None
        else jax.ops.segment_sum(g, hub, max(len(arms), 1))
    )
    for shift in range(1, arms.max(initial=0)):  # every arm with the one `shift` places after it
        first = np.flatnonzero(hub[:-shift] == hub[shift:])
        second = first + shift
        found.append((tip[first], tip[second], g[first] * g[second] / total[hub[first]]))

    starts, stops, conductances = zip(*found, strict=True)
    a, b, g = np.concatenate(starts), np.concatenate(stops), xp.concatenate(conductances)
    i, j = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((j, i))
    return i[order], j[order], g[order]


def _ends(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return where each compartment starts and ends (compartment, xyz), um: along its branch, by path length."""
    nodes = module.nodes
    branch = nodes["global_branch_index"].to_numpy()
    length = nodes["length"].to_numpy(dtype=float)
    by_branch = nodes["length"].groupby(branch)
    total = by_branch.sum().to_numpy()
    stop = by_branch.cumsum().to_numpy()

    # All branches at once: branch b runs from 2 b to 2 b + 1 on one axis.
    paths = _paths(module, total)
    owner = np.repeat(np.arange(len(paths)), [len(points) for points in paths])
    points = np.concatenate(paths)
    step = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
    step[np.diff(owner, prepend=-1) != 0] = 0.0
    traced = np.bincount(owner, step)
    path = np.cumsum(step) - (np.cumsum(traced) - traced)[owner]
    extended = traced > 0  # a soma traced as one point is not
    axis = 2 * owner + np.clip(path / np.where(extended, traced, 1.0)[owner], 0.0, 1.0)

    def at(distance: np.ndarray) -> np.ndarray:
        along = np.where(extended[branch], np.clip(distance / total[branch], 0.0, 1.0), 0.0)
        return np.stack([np.interp(2 * branch + along, axis, xyz) for xyz in points.T], axis=1)

    return at(stop - length), at(stop)


def _paths(module: Any, lengths: np.ndarray) -> list[np.ndarray]:
    """Return the points (point, xyz) of each branch, um; drawn ones as long as their compartments are.

    Jaxley draws an untraced cell when it is built, and ``module.set("length", ...)`` does not draw it again.
    """
    parents = np.asarray(module.comb_parents)
    paths: list[np.ndarray] = []
    for points, parent, length in zip(module.xyzr, parents, lengths, strict=True):
        xyz = np.asarray(points[:, :3], dtype=float)
        if np.isnan(points[:, 3]).any():
            chord = xyz[-1] - xyz[0]
            first = paths[parent][-1] if parent >= 0 else xyz[0]
            xyz = np.stack([first, first + chord * (length / np.linalg.norm(chord))])
        paths.append(xyz)
    return paths
