"""Summaries of activity: counts, rates, correlations, synchrony, for one population or many.

Populations are given as one integer per site, ``group[site]`` in 0 ... n_groups - 1; a site with -1
belongs to none. Matrix products ask for full precision, which a GPU does not use for float32 by
default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int, Num

    Spikes = Bool[Array, "*dims"] | Num[Array, "*dims"]

_HIGHEST = jax.lax.Precision.HIGHEST
_BYTE = 255  # the largest count that a byte can hold


def as_float(x: Num[Array, "*dims"] | Bool[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Convert booleans and integers to JAX's default float; floating data is returned as it is."""
    return jnp.asarray(x, jnp.result_type(x, 1.0))


def centred(x: Num[Array, "*dims"], *, axis: int) -> Float[Array, "*dims"]:
    """Subtract the mean along an axis, so that constant data becomes exactly zero.

    Parameters
    ----------
    x : array (any dims)
        Data in any unit.
    axis : int
        The axis to average over.

    Returns
    -------
    array (dims of x)
        ``x - mean(x)``, in the unit of `x`.

    Notes
    -----
    The mean of n equal numbers is not that number in floating point, so that a unit at a constant
    -65 mV would keep rounding errors, which a correlation then scales up to 1. Subtracting the first
    sample before the mean makes them exact zeros.

    Examples
    --------
    >>> float(abs(centred(jnp.full(7, -65.1), axis=0)).max())
    0.0
    """
    x = as_float(x)
    first = jax.lax.slice_in_dim(x, 0, min(1, x.shape[axis]), axis=axis)
    first = jax.lax.stop_gradient(first)  # it cancels in the result, and so does its derivative
    return x - (first + (x - first).mean(axis, keepdims=True))


def spike_counts(spikes: Spikes, *, samples: int, axis: int) -> Num[Array, "*before bin *after"]:
    """Count spikes in consecutive bins.

    Parameters
    ----------
    spikes : array (any dims, time along `axis`)
        Spikes per sample, exact or differentiable.
    samples : int
        Samples in a bin, at least 1.
    axis : int
        The time axis, which becomes the axis of bins.

    Returns
    -------
    array (dims of spikes, ``n_time // samples`` bins)
        Sums over each bin: integers from booleans. Samples after the last complete bin are left out.

    Raises
    ------
    ValueError
        If `samples` is less than 1.

    Examples
    --------
    >>> spike_counts(jnp.array([True, False, True, True, True]), samples=2, axis=0)
    Array([1, 2], dtype=int32)
    """
    if samples < 1:
        raise ValueError(f"a bin of {samples} samples holds nothing; use samples=1 or more")
    spikes = jnp.asarray(spikes)
    axis %= spikes.ndim
    n = spikes.shape[axis] // samples
    whole = jax.lax.slice_in_dim(spikes, 0, n * samples, axis=axis)
    shape = (*spikes.shape[:axis], n, samples, *spikes.shape[axis + 1 :])
    whole = whole.reshape(shape)
    if spikes.dtype == bool and samples <= _BYTE:
        # three times faster than letting XLA widen every sample to an integer of four bytes
        return whole.sum(axis + 1, dtype=jnp.uint8).astype(int)
    return whole.sum(axis + 1)


def firing_rate(spikes: Spikes, dt: float, *, axis: int) -> Float[Array, "*rest"]:
    """Compute the mean firing rate.

    Parameters
    ----------
    spikes : array (any dims, time along `axis`)
        Spikes per sample, or counts per bin.
    dt : float
        Duration of a sample (or bin), ms.
    axis : int
        The time axis, which is removed.

    Returns
    -------
    array (the other dims)
        Rate, Hz: the number of spikes over the duration, n_time * dt. NaN for a recording without
        samples.

    Examples
    --------
    >>> firing_rate(jnp.array([False, True, False, True]), 0.5, axis=0)
    Array(1000., dtype=float32)
    """
    spikes = jnp.asarray(spikes)
    n = spikes.shape[axis]
    # in bins that a byte can count, which is the fast path of `spike_counts`
    rest = jax.lax.slice_in_dim(spikes, n - n % _BYTE, n, axis=axis).sum(axis)
    total = spike_counts(spikes, samples=_BYTE, axis=axis).sum(axis) + rest
    return as_float(total) / (n * dt * 1e-3)


def group_mean(
    x: Num[Array, "*before site *after"], group: Int[Array, " site"], *, n_groups: int, axis: int
) -> Float[Array, "*before group *after"]:
    """Average over the sites of each group.

    Parameters
    ----------
    x : array (any dims, sites along `axis`)
        Data in any unit.
    group : array of int (site)
        Group of each site; -1 for none.
    n_groups : int
        Number of groups.
    axis : int
        The site axis, which becomes the axis of groups.

    Returns
    -------
    array (dims of x, groups for sites)
        Means, in the unit of `x`. NaN for a group without sites.

    Examples
    --------
    >>> group_mean(jnp.array([1.0, 3.0, 7.0]), jnp.array([0, 0, 1]), n_groups=2, axis=0)
    Array([2., 7.], dtype=float32)
    """
    x = as_float(x)
    members = _members(group, n_groups, x.dtype)
    size = members.sum(1)
    # the double `where`: empty groups give NaN, and no infinite gradient
    mean_of = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1), jnp.nan)
    sums = jnp.tensordot(x, members, axes=(axis, 1), precision=_HIGHEST)
    return jnp.moveaxis(sums * mean_of, -1, axis)


def correlation_matrix(
    x: Num[Array, "*dims"], *, axis: int, site_axis: int
) -> Float[Array, "*rest site site"]:
    """Compute Pearson's correlation between all sites, by one matrix product.

    Parameters
    ----------
    x : array (any dims, time along `axis`, sites along `site_axis`)
        Spike counts, rates, voltages, in any unit.
    axis, site_axis : int
        The two axes.

    Returns
    -------
    array (other dims, site, site)
        ``r_ij = sum_t (x_i - <x_i>)(x_j - <x_j>) / sqrt(sum_t (x_i - <x_i>)^2 sum_t (x_j - <x_j>)^2)``,
        dimensionless. NaN where i or j is constant in time (a silent unit, or one with the same
        count in every bin): the correlation is not defined there, and the gradient is 0.

    Examples
    --------
    >>> counts = jnp.array([[1, 0, 2, 1], [0, 0, 0, 0], [1, 2, 0, 1]])
    >>> print(correlation_matrix(counts, axis=1, site_axis=0).round(3))
    [[ 1. nan -1.]
     [nan nan nan]
     [-1. nan  1.]]
    """
    z, varies = _standardised(x, axis=axis, site_axis=site_axis)
    r = jnp.einsum("...it,...jt->...ij", z, z, precision=_HIGHEST)
    return jnp.where(varies[..., :, None] & varies[..., None, :], r, jnp.nan)


class PairwiseCorrelation(NamedTuple):
    """Mean correlation within and between groups, and what it was averaged over.

    Attributes
    ----------
    mean : array (..., group, group)
        Mean correlation over pairs of different sites, dimensionless; NaN where there is no pair.
    pairs : array (..., group, group)
        Number of pairs in the mean: n(n - 1)/2 within a group, n m between two.
    silent : array (..., group)
        Number of sites left out because they are constant in time: their correlation is not defined.
    """

    mean: Float[Array, "*rest group group"]
    pairs: Float[Array, "*rest group group"]
    silent: Float[Array, "*rest group"]


def pairwise_correlation(
    counts: Num[Array, "*dims"],
    group: Int[Array, " site"],
    *,
    n_groups: int,
    axis: int,
    site_axis: int,
) -> PairwiseCorrelation:
    """Average the correlation over all pairs of sites within each group and between groups.

    Parameters
    ----------
    counts : array (any dims, time or bins along `axis`, sites along `site_axis`)
        Spike counts in bins (see `spike_counts`), or any other signal.
    group : array of int (site)
        Group of each site; -1 for none.
    n_groups : int
        Number of groups.
    axis, site_axis : int
        The two axes.

    Returns
    -------
    PairwiseCorrelation
        The means, the numbers of pairs, and the numbers of silent sites, which are left out.

    Notes
    -----
    With ``z_i`` the signal of site i, centred and of unit length, ``r_ij = z_i . z_j``, and so the
    sum over all pairs of groups g and h is ``(sum_{i in g} z_i) . (sum_{j in h} z_j)``: one product of
    (group, site) with (site, time), and no matrix of site by site. The products of a site with itself
    are then subtracted. The gradient is finite, and 0 for a silent site.

    Examples
    --------
    >>> counts = jnp.array([[1, 0, 2, 1], [1, 0, 2, 1], [0, 0, 0, 0], [1, 2, 0, 1]])
    >>> c = pairwise_correlation(counts, jnp.array([0, 0, 0, 1]), n_groups=2, axis=1, site_axis=0)
    >>> c.mean
    Array([[ 1., -1.],
           [-1., nan]], dtype=float32)
    >>> c.pairs
    Array([[1., 2.],
           [2., 0.]], dtype=float32)
    >>> c.silent
    Array([1., 0.], dtype=float32)
    """
    z, varies = _standardised(counts, axis=axis, site_axis=site_axis)
    members = _members(group, n_groups, z.dtype)
    active = jnp.einsum("...i,gi->...g", varies, members)
    diagonal = jnp.eye(n_groups, dtype=z.dtype)

    sums = jnp.einsum("gi,...it->...gt", members, z, precision=_HIGHEST)
    total = jnp.einsum("...gt,...ht->...gh", sums, sums, precision=_HIGHEST)
    itself = jnp.einsum("...i,gi->...g", jnp.square(z).sum(-1), members, precision=_HIGHEST)
    ordered = active[..., :, None] * active[..., None, :] - diagonal * active[..., None, :]
    total = total - diagonal * itself[..., None, :]

    some = ordered > 0
    return PairwiseCorrelation(
        mean=jnp.where(some, total / jnp.where(some, ordered, 1), jnp.nan),
        pairs=ordered * (1 - diagonal / 2),
        silent=members.sum(1) - active,
    )


def between_within_ratio(
    mean: Float[Array, "*rest group group"], pairs: Float[Array, "*rest group group"]
) -> Float[Array, "*rest"]:
    """Compute the ratio of the mean correlation between groups to that within groups.

    Parameters
    ----------
    mean, pairs : array (..., group, group)
        From `pairwise_correlation`.

    Returns
    -------
    array (...)
        Mean over all pairs of sites in different groups, over the mean over all pairs in the same
        group; dimensionless. Every pair has the same weight, so large groups weigh more. 1: groups
        make no difference; 0: groups are independent. It may be negative, and means little if the
        correlation within groups is near 0. NaN if that is 0, or if either kind of pair is missing.

    Examples
    --------
    >>> r = jnp.array([[0.4, 0.1], [0.1, 0.2]])
    >>> between_within_ratio(r, jnp.array([[1.0, 4.0], [4.0, 1.0]]))
    Array(0.3333333, dtype=float32)
    """
    same = jnp.eye(mean.shape[-1], dtype=bool)
    total = jnp.where(pairs > 0, mean, 0) * pairs

    def over(which: Bool[Array, "group group"]) -> tuple[Array, Array]:
        return (
            jnp.where(which, total, 0).sum((-2, -1)),
            jnp.where(which, pairs, 0).sum((-2, -1)),
        )

    within, n_within = over(same)
    between, n_between = over(~same)  # each pair of groups twice, in both sums
    defined = (n_within > 0) & (n_between > 0) & (within != 0)
    below = jnp.where(defined, within * n_between, 1)
    return jnp.where(defined, between * n_within / below, jnp.nan)


def chi(of_mean: Float[Array, "*dims"], mean_of: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """Compute ``sqrt(of_mean / mean_of)``: `synchrony` from variances computed elsewhere.

    Parameters
    ----------
    of_mean : array (any dims)
        Variance in time of the mean over a group's sites.
    mean_of : array (dims of of_mean)
        Mean over the group's sites of their variances in time, in the same unit.

    Returns
    -------
    array (dims of of_mean)
        chi, dimensionless. NaN if `mean_of` is 0 or NaN; gradient 0 if chi is 0 or NaN.

    Examples
    --------
    >>> chi(jnp.array([1.0, 0.0, 0.0]), jnp.array([4.0, 4.0, 0.0]))
    Array([0.5, 0. , nan], dtype=float32)
    """
    defined = mean_of > 0
    positive = defined & (of_mean > 0)
    ratio = jnp.where(positive, of_mean, 1) / jnp.where(positive, mean_of, 1)
    return jnp.where(positive, jnp.sqrt(ratio), jnp.where(defined, 0, jnp.nan))


def synchrony(
    v: Num[Array, "*dims"],
    group: Int[Array, " site"],
    *,
    n_groups: int,
    axis: int,
    site_axis: int,
) -> Float[Array, "*rest group"]:
    """Compute the population synchrony chi of Golomb and Rinzel for each group.

    Parameters
    ----------
    v : array (any dims, time along `axis`, sites along `site_axis`)
        Membrane voltage, mV; or spike counts or rates.
    group : array of int (site)
        Group of each site; -1 for none.
    n_groups : int
        Number of groups.
    axis, site_axis : int
        The two axes.

    Returns
    -------
    array (other dims, group)
        ``chi = sqrt(var_t(<v_i>_i) / <var_t(v_i)>_i)``, dimensionless: 1 if all sites of the group are
        identical, about 1/sqrt(n) for n independent ones. NaN for a group that is constant or empty.
        Some authors use chi^2.

    Notes
    -----
    The square root has no derivative at chi = 0 (sites that cancel exactly): the gradient there is 0.

    References
    ----------
    .. [1] D. Golomb and J. Rinzel, "Dynamics of globally coupled inhibitory neurons with
       heterogeneity", Phys. Rev. E 48, 4810 (1993).
    .. [2] D. Golomb and J. Rinzel, "Clustering in globally coupled inhibitory neurons", Physica D 72,
       259 (1994).

    Examples
    --------
    >>> v = jnp.array([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    >>> group = jnp.array([0, 0, 1])
    >>> synchrony(v, group, n_groups=2, axis=1, site_axis=0)
    Array([1., 1.], dtype=float32)
    """
    v = as_float(v)
    axis, site_axis = axis % v.ndim, site_axis % v.ndim
    population = group_mean(v, group, n_groups=n_groups, axis=site_axis)
    of_mean = jnp.square(centred(population, axis=axis)).mean(axis)
    of_site = jnp.square(centred(v, axis=axis)).mean(axis)
    left = site_axis - (axis < site_axis)
    mean_of = jnp.moveaxis(group_mean(of_site, group, n_groups=n_groups, axis=left), left, -1)
    of_mean = jnp.moveaxis(of_mean, left, -1)

    return chi(of_mean, mean_of)


def _members(
    group: Int[Array, " site"], n_groups: int, dtype: jnp.dtype
) -> Float[Array, "group site"]:
    """Return 1 where a site is in a group and 0 elsewhere."""
    return (jnp.arange(n_groups)[:, None] == jnp.asarray(group)[None, :]).astype(dtype)


def _standardised(
    x: Num[Array, "*dims"], *, axis: int, site_axis: int
) -> tuple[Float[Array, "*rest site time"], Bool[Array, "*rest site"]]:
    """Return signals centred and of unit length (0 if constant), and which are not constant."""
    x = centred(jnp.moveaxis(jnp.asarray(x), (site_axis, axis), (-2, -1)), axis=-1)
    square = jnp.square(x).sum(-1)
    varies = square > 0
    z = x / jnp.sqrt(jnp.where(varies, square, 1))[..., None]
    return jnp.where(varies[..., None], z, 0), varies
