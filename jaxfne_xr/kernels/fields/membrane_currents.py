"""Transmembrane currents from membrane voltages, through the axial conductances of the cell.

The axial conductances form an undirected graph: edge `e` joins the sites `edge_from[e]` and
`edge_to[e]` with `conductance[e]` (uS). Its Laplacian `G` (uS) is symmetric with zero row and column
sums; `G V` is the axial current that enters each site and, by Kirchhoff, leaves it through the
membrane: outward positive, in nA. An injected current leaves through the membrane too, so
`I_m = G V + stimulus`.

`G` is never formed. Every term is the difference of two voltages times a conductance: the voltages
have a common offset near -65 mV, and taking differences first does not amplify its rounding errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int
    from numpy.typing import DTypeLike

__all__ = [
    "axial_current",
    "current_sum",
    "difference_weights",
    "fold",
    "laplacian",
    "neighbours",
    "rounding_bound",
    "transmembrane_current",
]


def neighbours(
    edge_from: Int[Array, " edge"], edge_to: Int[Array, " edge"], n_sites: int
) -> tuple[Int[np.ndarray, "site slot"], Int[np.ndarray, "site slot"]]:
    """List the neighbours of every site and the edges to them.

    Parameters
    ----------
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in `[0, n_sites)`. Concrete (not traced).
    n_sites : int
        Number of sites.

    Returns
    -------
    neighbour, edge : int array, (site, slot)
        Neighbour and edge in each slot; the number of slots is the largest number of edges of a site.
        An empty slot holds the site itself, whose voltage difference is zero, and edge 0.

    Raises
    ------
    ValueError
        If the edge lists differ in length or name a site that does not exist.

    Examples
    --------
    >>> neighbour, edge = neighbours([1, 2], [0, 1], 3)
    >>> neighbour.tolist()
    [[1, 0], [0, 2], [1, 2]]
    """
    start, stop = (np.asarray(end, dtype=np.intp) for end in (edge_from, edge_to))
    if start.ndim != 1 or start.shape != stop.shape:
        raise ValueError(f"edge_from {start.shape}, edge_to {stop.shape}: not two equal lists")
    ends = np.concatenate([start, stop])
    if ends.size and (ends.min() < 0 or ends.max() >= n_sites):
        raise ValueError(f"edges join sites {ends.min()} to {ends.max()} of {n_sites}")
    order = np.argsort(ends, kind="stable")
    site = ends[order]
    degree = np.bincount(site, minlength=n_sites)
    slot = np.arange(site.size) - (np.cumsum(degree) - degree)[site]
    shape = (n_sites, degree.max(initial=0))
    neighbour = np.broadcast_to(np.arange(n_sites)[:, None], shape).copy()
    edge = np.zeros(shape, dtype=np.intp)
    neighbour[site, slot] = np.concatenate([stop, start])[order]
    edge[site, slot] = order % start.size if start.size else order
    return neighbour, edge


def axial_current(
    voltage: Float[Array, "*before site *after"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
    *,
    axis: int,
) -> Float[Array, "*before site *after"]:
    r"""Compute the axial current that enters each site, `G V`, in nA.

    .. math:: (G V)_i = \sum_{e = (i, j)} g_e (V_j - V_i)

    Parameters
    ----------
    voltage : array
        Membrane voltage V (mV); sites along `axis`, any other axes.
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in either order.
    conductance : array, (edge,)
        Axial conductance g (uS).
    axis : int
        Axis of the sites.

    Returns
    -------
    array
        Current (nA), shaped like `voltage`, outward positive.

    Notes
    -----
    Linear in `voltage` and in `conductance`; gradients are exact in both, of any order. With concrete
    edges each site gathers its neighbours, which takes about the time of copying the voltages times
    half the largest number of edges of a site; with traced edges the currents are scattered, which is
    several times slower.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> v = jnp.array([-60.0, -65.0, -66.0])
    >>> axial_current(v, [1, 2], [0, 1], jnp.array([0.5, 2.0]), axis=0).tolist()
    [-2.5, 0.5, 2.0]
    """
    voltage = jnp.asarray(voltage)
    conductance = jnp.asarray(conductance)
    if isinstance(edge_from, jax.core.Tracer) or isinstance(edge_to, jax.core.Tracer):
        return _scatter(voltage, edge_from, edge_to, conductance, axis)
    neighbour, edge = neighbours(edge_from, edge_to, voltage.shape[axis])
    return _gather(voltage, neighbour, edge, conductance, axis)


def _gather(
    voltage: Float[Array, "*before site *after"],
    neighbour: Int[np.ndarray, "site slot"],
    edge: Int[np.ndarray, "site slot"],
    conductance: Float[Array, " edge"],
    axis: int,
) -> Float[Array, "*before site *after"]:
    def along(values: Float[Array, " site"]) -> Float[Array, "*ones"]:
        return jnp.expand_dims(values, [k for k in range(voltage.ndim) if k != axis % voltage.ndim])

    total = jnp.zeros(voltage.shape, jnp.result_type(voltage, conductance))
    for other, link in zip(neighbour.T, edge.T, strict=True):
        difference = jnp.take(voltage, other, axis=axis, mode="clip") - voltage
        total = total + along(conductance[link]) * difference
    return total


def _scatter(
    voltage: Float[Array, "*before site *after"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
    axis: int,
) -> Float[Array, "*before site *after"]:
    v = jnp.moveaxis(voltage, axis, 0)
    current = (v[edge_to] - v[edge_from]) * conductance.reshape(-1, *[1] * (v.ndim - 1))
    total = jnp.zeros(v.shape, current.dtype).at[edge_from].add(current).at[edge_to].add(-current)
    return jnp.moveaxis(total, 0, axis)


def transmembrane_current(
    voltage: Float[Array, "*before site *after"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
    *,
    axis: int,
    stimulus: Float[Array, "*before site *after"] | None = None,
    method: Literal["backward_euler", "crank_nicolson"] = "backward_euler",
    time_axis: int | None = None,
) -> Float[Array, "*before site *after"]:
    r"""Compute the transmembrane currents, `I_m = G V + stimulus`, as the solver of `V` defines them.

    =================== ============================ ==========================================
    method              current of sample k          belongs to
    =================== ============================ ==========================================
    ``backward_euler``  `G V[k]`                     the end of the step from k-1 to k
    ``crank_nicolson``  `G (V[k-1] + V[k]) / 2`      the middle of the step from k-1 to k
    =================== ============================ ==========================================

    Parameters
    ----------
    voltage : array
        Membrane voltage V (mV); sites along `axis`, time along `time_axis`, any other axes.
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in either order.
    conductance : array, (edge,)
        Axial conductance (uS).
    axis : int
        Axis of the sites.
    stimulus : array, optional
        Current injected into each site (nA), broadcast against `voltage`. Without it, the currents
        of a cell sum to zero at every sample; with it, to the injected current.
    method : {"backward_euler", "crank_nicolson"}
        Scheme with which `V` was integrated.
    time_axis : int, optional
        Axis of time; needed by ``crank_nicolson`` only.

    Returns
    -------
    array
        Current (nA), shaped like `voltage`, outward positive: capacitive, ionic and synaptic together.

    Raises
    ------
    ValueError
        If `method` is unknown, or is ``crank_nicolson`` without `time_axis`.

    Notes
    -----
    Sample 0 has no step before it: ``crank_nicolson`` counts the initial voltage twice, so that the
    number of samples does not change and sample 0 is `G V[0]`. `stimulus` is added as given: the caller
    aligns it with the steps (in Jaxley, sample k of the current acts on the step from k to k+1).

    `G V` at the samples of a Crank-Nicolson run oscillates after a step of the stimulus; the mean over
    the step does not.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> v = jnp.array([[-65.0, -60.0], [-65.0, -64.0]])      # (site, time)
    >>> transmembrane_current(v, [0], [1], jnp.array([0.5]), axis=0).tolist()
    [[0.0, -2.0], [0.0, 2.0]]
    >>> transmembrane_current(
    ...     v, [0], [1], jnp.array([0.5]), axis=0, method="crank_nicolson", time_axis=1
    ... ).tolist()
    [[0.0, -1.0], [0.0, 1.0]]
    """
    current = axial_current(voltage, edge_from, edge_to, conductance, axis=axis)
    if method == "crank_nicolson":
        if time_axis is None:
            raise ValueError("method='crank_nicolson' averages over a step: pass time_axis=")
        size = current.shape[time_axis]
        before = jnp.maximum(np.arange(size) - 1, 0)
        current = (current + jnp.take(current, before, axis=time_axis)) / 2
    elif method != "backward_euler":
        raise ValueError(f"method={method!r}; choose 'backward_euler' or 'crank_nicolson'")
    return current if stimulus is None else current + stimulus


def fold(
    lead_field: Float[Array, "contact site"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
) -> Float[Array, "contact site"]:
    """Compute the lead field of voltages instead of currents, `L G`, in uV/mV.

    `L (G V) = (L G) V`, and `G` is symmetric, so `L G` is `G` applied along the sites of `L`. It is
    cheaper than two products if there are more samples than contacts. Rows of the result sum to zero.
    A product with it does not take differences first: use it with float64 voltages.

    Parameters
    ----------
    lead_field : array, (contact, site)
        Potential at each contact per current at each site, L (uV/nA).
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in either order.
    conductance : array, (edge,)
        Axial conductance (uS).

    Returns
    -------
    array, (contact, site)
        Potential per membrane voltage (uV/mV).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> fold(jnp.array([[3.0, 1.0]]), [0], [1], jnp.array([0.5])).tolist()
    [[-1.0, 1.0]]
    """
    return axial_current(lead_field, edge_from, edge_to, conductance, axis=1)


def difference_weights(
    lead_field: Float[Array, "contact site"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
) -> Float[Array, "contact edge"]:
    """Compute the lead field of the voltage differences along edges, ``W_ce = g_e (L_ca - L_cb)``, in uV/mV.

    An edge e from a to b carries ``g_e (V_b - V_a)`` into a, where it leaves through the membrane, and as much out of
    b, so ``phi = L G V = W d`` with ``d_e = V_b - V_a``. Differences of voltages and of lead fields are taken before
    the product, which is necessary in float32.

    Parameters
    ----------
    lead_field : array, (contact, site)
        Potential at each contact per current at each site, L (uV/nA); or position of each site (um), for dipoles.
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, a and b.
    conductance : array, (edge,)
        Axial conductance, g (uS).

    Returns
    -------
    array, (contact, edge)
        Potential per difference of voltage (uV/mV).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> difference_weights(jnp.array([[3.0, 1.0]]), jnp.array([0]), jnp.array([1]), jnp.array([0.5])).tolist()
    [[1.0]]
    """
    return conductance * (lead_field[:, edge_from] - lead_field[:, edge_to])


def laplacian(
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
    n_sites: int,
) -> Float[Array, "site site"]:
    """Compute the dense conductance Laplacian `G` (uS), for small cells and for checks.

    Off the diagonal the conductance between two sites, positive; on it minus the sum of the row.
    `axial_current` computes `G @ V` without forming `G`.

    Parameters
    ----------
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in either order.
    conductance : array, (edge,)
        Axial conductance (uS).
    n_sites : int
        Number of sites.

    Returns
    -------
    array, (site, site)
        G (uS), symmetric, negative semidefinite, with zero row and column sums.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> laplacian([0], [1], jnp.array([0.5]), 2).tolist()
    [[-0.5, 0.5], [0.5, -0.5]]
    """
    conductance = jnp.asarray(conductance)
    identity = jnp.eye(n_sites, dtype=conductance.dtype)
    return axial_current(identity, edge_from, edge_to, conductance, axis=0)


def current_sum(
    current: Float[Array, "*before site *after"],
    group: Int[Array, " site"],
    *,
    n_groups: int,
    axis: int,
) -> Float[Array, "*before group *after"]:
    """Sum the currents of each group of sites (nA): for a closed cell, the residual.

    Parameters
    ----------
    current : array
        Current (nA), sites along `axis`, any other axes.
    group : int array, (site,)
        Group of each site; -1 for none.
    n_groups : int
        Number of groups.
    axis : int
        Axis of the sites, which becomes the axis of the groups.

    Returns
    -------
    array
        Sum per group (nA), groups along `axis`.

    Notes
    -----
    Groups are summed separately: a NaN in one cell does not affect others. Rounding alone leaves about the
    unit roundoff times `sum |I|`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> current_sum(jnp.array([1.0, -1.0, 2.0]), [0, 0, 1], n_groups=2, axis=0).tolist()
    [0.0, 2.0]
    """
    rows, group = jnp.moveaxis(jnp.asarray(current), axis, 0), jnp.asarray(group)
    # an index beyond the last group is dropped; -1 would count for the last one
    segment = jnp.where(group < 0, n_groups, group)
    total = jax.ops.segment_sum(rows, segment, num_segments=n_groups)
    return jnp.moveaxis(total, 0, axis)


def rounding_bound(
    magnitude: Float[Array, " site"],
    edge_from: Int[Array, " edge"],
    edge_to: Int[Array, " edge"],
    conductance: Float[Array, " edge"],
    *,
    dtype: DTypeLike = np.float32,
) -> Float[Array, " site"]:
    r"""Compute the largest error (nA) in each current from voltages rounded to `dtype`.

    .. math:: |\delta I_i| \le u \sum_{e = (i, j)} g_e (|V_i| + |V_j|)

    with `u` the unit roundoff of `dtype` (6e-8 in float32): short compartments have large
    conductances and the largest errors. Rounding in the arithmetic itself, at most `2 (n + 1) u` times
    `sum g |V_j - V_i|` over the `n` edges of a site, is added and is comparatively small if neighbours
    differ by millivolts.

    Parameters
    ----------
    magnitude : array, (site,)
        Largest `|V|` of each site (mV).
    edge_from, edge_to : int array, (edge,)
        Sites that each edge joins, in either order.
    conductance : array, (edge,)
        Axial conductance (uS).
    dtype : dtype
        Precision in which the voltages were stored.

    Returns
    -------
    array, (site,)
        Bound (nA). The root mean square error is two to six times smaller.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> bound = rounding_bound(jnp.array([64.0, 64.0]), [0], [1], jnp.array([1.0]))
    >>> [f"{value:.2e}" for value in bound.tolist()]
    ['7.63e-06', '7.63e-06']
    """
    magnitude, conductance = jnp.asarray(magnitude), jnp.abs(jnp.asarray(conductance))
    start, stop = jnp.asarray(edge_from), jnp.asarray(edge_to)
    term = conductance * (magnitude[start] + magnitude[stop])
    roundoff = float(jnp.finfo(dtype).eps) / 2
    return roundoff * jnp.zeros(magnitude.shape, term.dtype).at[start].add(term).at[stop].add(term)
