"""The cable of a Jaxley module, read from its tables: the position of each compartment, and their conductances.

Compartments are numbered by their row in ``module.nodes`` (``global_comp_index``). The index of that table is another
numbering, which has gaps in a network, where branch points are numbered between the cells; ``_comp_edges`` uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfne_xr.core.arrays import is_jax
from jaxfne_xr.core.errors import warn
from jaxfne_xr.core.types import Array, ArrayLike

#: Columns of the table of compartments from which the axial conductances follow.
RESISTANCE = ("axial_resistivity", "resistive_load_in", "resistive_load_out")
#: Relative difference of the length of a branch and of its traced path that is rounding.
MISFIT = 1e-4
#: Length, um, that Jaxley gives to a branch without any.
SHORTEST = 0.1


def compartments(
    module: Any, parameters: Mapping[str, Array] | None = None
) -> dict[str, np.ndarray]:
    """Return labels, middle, ends and diameter (um), area (um^2), capacitance (uF/cm^2) of every compartment.

    The `parameters` of a simulation, by the labels of ``module.nodes.index``, replace those of the table; positions are
    those of the table.
    """
    nodes = module.nodes
    start, end = _ends(module)
    table: dict[str, ArrayLike] = {
        "unit": nodes["global_cell_index"],
        "branch": nodes["local_branch_index"],
        "compartment": nodes["local_comp_index"],
        "compartment_id": np.arange(len(nodes)),
    }
    for suffix, points in (("", (start + end) / 2), ("_start", start), ("_end", end)):
        table |= {axis + suffix: points[:, i] for i, axis in enumerate("xyz")}
    own = {name: nodes[name].to_numpy() for name in ("radius", "area", "capacitance")}
    if parameters is not None:
        own |= {name: parameters[name][nodes.index.to_numpy()] for name in own}
    table |= {
        "diameter": 2 * own["radius"],
        "membrane_area": own["area"],
        "capacitance": own["capacitance"],
    }
    return {name: x if is_jax(x) else np.asarray(x) for name, x in table.items()}


def geometry(module: Any) -> str:
    """Return whether positions are traced or drawn by Jaxley, which leaves the radius of drawn points NaN."""
    drawn = [bool(np.isnan(points[:, 3]).any()) for points in module.xyzr]
    if not any(drawn):
        return "traced"
    return "drawn by Jaxley" if all(drawn) else "partly drawn by Jaxley"


def axial_conductances(
    module: Any, parameters: Mapping[str, Array] | None = None
) -> tuple[np.ndarray, np.ndarray, Array]:
    """Return compartments i < j and the conductance between them, uS, with branch points eliminated.

    They are the off-diagonal of the Laplacian G of the module, whose rows sum to zero: ``I_m = G V`` in nA. With the
    `parameters` of a simulation (NumPy or JAX, by the labels of ``module.nodes.index``, as in Jaxley), they are
    computed from these; otherwise from the table.

    Notes
    -----
    Between the middles of two compartments of a branch is one half of each, ``g = 1 / (R_out + R_in)``. A branch point
    has no membrane, so the half conductances ``g_a`` that meet there become ``g_a g_b / sum(g)`` between every pair
    (star-mesh transform). Edges of Jaxley have type 0 within a branch (both directions), 3 from the end of a parent and
    4 from the start of a child to the branch point.
    """
    nodes, edges = module.nodes, module._comp_edges
    kind = edges["type"].to_numpy()
    source, sink = (edges[end].to_numpy(dtype=np.int64) for end in ("source", "sink"))
    row = nodes.index.get_indexer
    if parameters is None:
        table = {name: nodes[name].to_numpy(dtype=float) for name in RESISTANCE}
    else:
        table = {name: parameters[name][nodes.index.to_numpy()] for name in RESISTANCE}
    in_jax = any(map(is_jax, table.values()))
    xp: Any = jnp if in_jax else np
    # resistive load (1/um) * resistivity (ohm cm) is in 1e4 ohm = 0.01 / uS
    resistivity, into, out_of = (table[name] for name in RESISTANCE)
    into, out_of = resistivity * into / 100, resistivity * out_of / 100

    # each edge within a branch is listed in both directions: keep one
    within = (kind == 0) & (edges["ordered"].to_numpy() == 1)
    a, b = row(source[within]), row(sink[within])
    found = [(a, b, 1 / (out_of[a] + into[b]))]

    # arms sorted by their branch point, so that pairs of the same point are at fixed shifts
    arm = np.flatnonzero(np.isin(kind, (3, 4)))
    arm = arm[np.argsort(sink[arm], kind="stable")]
    tip = row(source[arm])
    g = 1 / xp.where(kind[arm] == 3, out_of[tip], into[tip])
    _, hub, arms = np.unique(sink[arm], return_inverse=True, return_counts=True)
    # segment_sum needs a static size, at least 1 also without branch points
    total = jax.ops.segment_sum(g, hub, max(len(arms), 1)) if in_jax else np.bincount(hub, g)
    for shift in range(1, arms.max(initial=0)):  # pairs of arms that are `shift` places apart
        first = np.flatnonzero(hub[:-shift] == hub[shift:])
        second = first + shift
        found.append((tip[first], tip[second], g[first] * g[second] / total[hub[first]]))

    starts, stops, conductances = zip(*found, strict=True)
    a, b, g = np.concatenate(starts), np.concatenate(stops), xp.concatenate(conductances)
    i, j = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((j, i))
    return i[order], j[order], g[order]


def _ends(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end of each compartment (compartment, xyz), um, by path length along its branch."""
    nodes = module.nodes
    branch = nodes["global_branch_index"].to_numpy()
    length = nodes["length"].to_numpy(dtype=float)
    by_branch = nodes["length"].groupby(branch)
    total = by_branch.sum().to_numpy()
    stop = by_branch.cumsum().to_numpy()

    # One interpolation for all branches: branch b has the interval from 2 b to 2 b + 1 of one axis.
    paths = _paths(module, total)
    owner = np.repeat(np.arange(len(paths)), [len(points) for points in paths])
    points = np.concatenate(paths)
    step = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
    step[np.diff(owner, prepend=-1) != 0] = 0.0
    traced = np.bincount(owner, step)
    path = np.cumsum(step) - (np.cumsum(traced) - traced)[owner]
    extended = traced > 0  # False for a soma traced as one point
    axis = 2 * owner + np.clip(path / np.where(extended, traced, 1.0)[owner], 0.0, 1.0)

    def at(distance: np.ndarray) -> np.ndarray:
        along = np.where(extended[branch], np.clip(distance / total[branch], 0.0, 1.0), 0.0)
        return np.stack([np.interp(2 * branch + along, axis, xyz) for xyz in points.T], axis=1)

    # a compartment on a path that is longer than its branch keeps its middle, and is no longer than its cable
    longer = traced > total * (1 + MISFIT)
    cut = (length / 2) * np.where(longer, 1 - total / np.where(longer, traced, 1.0), 0.0)[branch]
    return at(stop - length + cut), at(stop - cut)


def _paths(module: Any, lengths: np.ndarray) -> list[np.ndarray]:
    """Return the points (point, xyz) of each branch, um, along a path of the length of its compartments.

    Jaxley draws an untraced cell once, when it is built; ``module.set("length", ...)`` does not update the drawing: it
    is scaled. Warn of traced branches whose path has another length than their compartments.
    """
    parents = np.asarray(module.comb_parents)
    paths: list[np.ndarray] = []
    odd: list[int] = []
    for branch, (points, parent, length) in enumerate(
        zip(module.xyzr, parents, lengths, strict=True)
    ):
        xyz = np.asarray(points[:, :3], dtype=float)
        if np.isnan(points[:, 3]).any():
            chord = xyz[-1] - xyz[0]
            first = paths[parent][-1] if parent >= 0 else xyz[0]
            xyz = np.stack([first, first + chord * (length / np.linalg.norm(chord))])
        else:
            origin = np.asarray(module.xyzr[parent][-1, :3], dtype=float) if parent >= 0 else None
            xyz, fits = _own_path(xyz, length, origin)
            odd += [] if fits else [branch]
        paths.append(xyz)
    if odd:
        _warn_of_lengths(module, odd, paths, lengths)
    return paths


def _own_path(xyz: np.ndarray, length: float, origin: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """Return the part of a traced path that is the cable of its branch, um, and whether their lengths agree.

    Parameters
    ----------
    xyz : array (point, xyz)
        The traced points of the branch.
    length : float
        Length of its compartments.
    origin : array (xyz) or None
        The point at which it is attached to its parent.

    Notes
    -----
    At a point between two pieces of a soma, Jaxley starts other branches at their first own point: it may keep the
    soma's point among theirs, but does not count the way there. It also drops the point, but counts the way, where the
    next piece of the soma starts.
    """
    path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(xyz, axis=0), axis=1))])
    excess, rounding = path[-1] - length, MISFIT * max(length, 1e-9)
    if abs(excess) <= rounding or (path[-1] == 0 and origin is None):
        return xyz, True  # the latter is a soma traced as one point
    if excess > 0:
        for first, last in ((0.0, length), (excess, path[-1])):
            inner = last if first == 0 else first
            if np.abs(path - inner).min() <= rounding:  # the cable ends at a traced point
                inside = (path >= first - rounding) & (path <= last + rounding)
                return xyz[inside], True
        return xyz, False
    if origin is not None and abs(np.linalg.norm(xyz[0] - origin) + excess) <= rounding:
        return np.concatenate([origin[None], xyz]), True
    return xyz, length <= SHORTEST * (1 + MISFIT)


def _warn_of_lengths(
    module: Any, branches: list[int], paths: list[np.ndarray], lengths: np.ndarray
) -> None:
    """Warn of branches whose compartments are longer or shorter in all than their traced path."""
    labels = module.nodes.groupby("global_branch_index")[
        ["global_cell_index", "local_branch_index"]
    ].first()
    named = [
        "unit {} branch {} ({:g} um, traced {:g} um)".format(
            *labels.loc[b], lengths[b], np.linalg.norm(np.diff(paths[b], axis=0), axis=1).sum()
        )
        for b in branches[:5]
    ]
    more = f", and {len(branches) - 5} more" if len(branches) > 5 else ""
    warn(
        f"compartments of {', '.join(named)}{more} have another length than the path that was traced. They are placed "
        "along that path, each at its fraction of it and not longer than its own length: their positions may be wrong."
    )
