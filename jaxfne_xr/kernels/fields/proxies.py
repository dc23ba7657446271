"""Proxies: weighted sums and costs that resemble a measurement but have no physical amplitude.

They show where activity is and how it changes, not how many microvolts it causes: they contain no
conductivity, no membrane area and no head. For amplitudes, see the field and dipole kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxfne_xr.kernels.analysis.summary import as_float

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Array, Bool, Float


def gaussian_weights(
    contact: Float[Array, "contact dim"],
    site: Float[Array, "site dim"],
    sigma: Float[Array, ""] | float,
    *,
    normalise: bool = True,
) -> Float[Array, "contact site"]:
    """Weight sites by a Gaussian of their distance to each contact; the weights of each contact sum to 1, or not.

    Parameters
    ----------
    contact : array (contact, dim)
        Positions of contacts, um: one column (depth) in a laminar domain, three in a volume.
    site : array (site, dim)
        Positions of sites, um, in the same columns.
    sigma : float
        Width of the Gaussian, um, positive.
    normalise : bool
        Whether to divide the weights of each contact by their sum.

    Returns
    -------
    array (contact, site)
        ``G_cn = exp(-|z_c - z_n|^2 / 2 sigma^2)``, dimensionless, or ``G_cn / sum_m G_cm``, with which the
        LFP proxy is a local average of the source.

    Notes
    -----
    Rows that sum to 1 are computed as a softmax of the exponents: the largest is subtracted first, so
    that a contact far from every site keeps the weights of the formula (nearly all on the nearest), which
    would otherwise be 0/0. Smooth in all positions and in `sigma`; the gradient is finite if the exponents are.

    If rows sum to 1, a proxy does not decay with distance: a contact outside the population has as
    large a signal as one inside. If they do not, it decays, and grows with the density of sites.

    Examples
    --------
    >>> w = gaussian_weights(jnp.array([[0.0], [1e6]]), jnp.array([[0.0], [100.0]]), 100.0)
    >>> print(w.round(3))
    [[0.622 0.378]
     [0.    1.   ]]
    """
    contact, site = as_float(contact), as_float(site)
    exponent = -_square(contact[:, None] - site[None]) / (2 * sigma**2)
    if not normalise:
        return jnp.exp(exponent)
    largest = jnp.max(exponent, 1, keepdims=True, initial=-jnp.inf)
    weight = jnp.exp(exponent - jax.lax.stop_gradient(largest))
    return weight / weight.sum(1, keepdims=True)


def second_derivative_matrix(depth: Float[Array, " contact"]) -> Float[Array, "contact contact"]:
    """Compute the matrix that maps values at contacts to their second derivative along the probe.

    Parameters
    ----------
    depth : array (contact)
        Positions of contacts along the probe, um: three or more, in any order, evenly spaced or not,
        no two the same.

    Returns
    -------
    array (contact, contact)
        D, 1/um^2, with D phi the second derivative. The CSD proxy is ``-D phi``: positive at a source.

    Raises
    ------
    ValueError
        If there are fewer than three contacts.

    Notes
    -----
    Each row is the second derivative of the parabola through three neighbouring contacts: with gaps
    g below and h above,

    ``phi'' = 2 phi_(i-1) / (g (g + h)) - 2 phi_i / (g h) + 2 phi_(i+1) / (h (g + h))``.

    It is exact for parabolas. For smooth curves the error is ``(h - g) phi''' / 3`` plus a second
    order: one order is lost where the spacing changes. The first and last contact use the three
    contacts nearest to them, so that their rows equal their neighbours'. Repeating the end values of
    phi instead would give a source of slope / h there for a linear potential, and NaN would spread
    through every matrix product.

    Coinciding contacts give infinities. Smooth in `depth` as long as the order does not change.

    Examples
    --------
    >>> z = jnp.array([0.0, 1.0, 3.0, 4.0])
    >>> second_derivative_matrix(z) @ z**2
    Array([2., 2., 2., 2.], dtype=float32)
    """
    depth = as_float(depth)
    n = depth.shape[0]
    if n < 3:
        raise ValueError(f"a second derivative needs 3 contacts or more, and there are {n}")
    order = jnp.argsort(depth)
    gap = jnp.diff(depth[order])
    g, h = gap[:-1], gap[1:]
    eye = jnp.eye(n, dtype=depth.dtype)
    left, middle, right = 2 / (g * (g + h)), -2 / (g * h), 2 / (h * (g + h))
    inner = left[:, None] * eye[:-2] + middle[:, None] * eye[1:-1] + right[:, None] * eye[2:]
    rows = jnp.concatenate([inner[:1], inner, inner[-1:]])
    back = jnp.argsort(order)
    return rows[back][:, back]


def toy_eeg_lead_field(
    sensor: Float[Array, "channel 3"],
    site: Float[Array, "site 3"],
    orientation: Float[Array, "*site 3"] | Sequence[float] = (0.0, 0.0, 1.0),
) -> Float[Array, "channel site"]:
    """Compute a toy EEG lead field: cosine over squared distance, the largest weight 1.

    Parameters
    ----------
    sensor : array (channel, 3)
        Positions of electrodes, um.
    site : array (site, 3)
        Positions of sites, um.
    orientation : array (3) or (site, 3)
        Direction of each site's dipole, of any length but 0; along z by default.

    Returns
    -------
    array (channel, site)
        ``L_cn = cos(theta_cn) / d_cn^2``, over the largest ``|L|``; dimensionless, signed. d is the
        distance, theta the angle between the orientation and the vector from site to electrode.

    Notes
    -----
    The shape of a dipole's potential in an infinite conductor, without skull, scalp or amplitude: a toy,
    which has to be declared as such. Dipoles that point at the sensor weigh most. At zero distance the
    weight and its gradient are 0.

    Examples
    --------
    >>> sensor = jnp.array([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    >>> print(toy_eeg_lead_field(sensor, jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])))
    [[ 0.25        1.        ]
     [ 0.         -0.08944272]]
    """
    away, direction, distance = _lines_of_sight(sensor, site, orientation)
    return _largest_one((away * direction).sum(-1) / distance**3)


def toy_meg_lead_field(
    sensor: Float[Array, "channel 3"],
    site: Float[Array, "site 3"],
    orientation: Float[Array, "*site 3"] | Sequence[float] = (0.0, 0.0, 1.0),
) -> Float[Array, "channel site"]:
    """Compute a toy MEG lead field: sine over squared distance, the largest weight 1.

    Parameters
    ----------
    sensor : array (channel, 3)
        Positions of sensors, um.
    site : array (site, 3)
        Positions of sites, um.
    orientation : array (3) or (site, 3)
        Direction of each site's dipole, of any length but 0; along z by default.

    Returns
    -------
    array (channel, site)
        ``L_cn = sin(theta_cn) / d_cn^2``, over the largest ``|L|``; dimensionless, not negative. d is
        the distance, theta the angle between the orientation and the vector from site to sensor.

    Notes
    -----
    The magnitude of a current element's magnetic field (Biot and Savart), without the direction of the
    sensor, return currents or amplitude: a toy, which has to be declared as such. Dipoles at right
    angles to the line to the sensor weigh most, those that point at it have weight 0. The weight has a
    kink there; its gradient there and at zero distance is 0.

    Examples
    --------
    >>> sensor = jnp.array([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    >>> print(toy_meg_lead_field(sensor, jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])).round(4))
    [[0.     0.    ]
     [1.     0.7155]]
    """
    away, direction, distance = _lines_of_sight(sensor, site, orientation)
    size, _ = _length(jnp.cross(direction, away))
    return _largest_one(size / distance**3)


def activity_cost(
    rate: Float[Array, "*dims"],
    size: Float[Array, "*dims"],
    power: Float[Array, "*dims"],
    weights: Sequence[float] | Float[Array, " 3"] = (1.0, 1.0, 1.0),
    scales: Sequence[float] | Float[Array, " 3"] | None = None,
    *,
    axis: int,
) -> Float[Array, "*dims"]:
    """Compute the EMM proxy: a normalised cost of spikes, source and field, for each sample.

    Parameters
    ----------
    rate, size, power : array (any dims, time along `axis`)
        Population rate ``r(t) = <spikes>_site / dt``, Hz; size of the source ``s(t) = <|source|>_site``, nA; power
        of the field ``f(t) = <field^2>_contact``, u^2. Not negative.
    weights : three floats
        Weights of the terms, not negative; only their ratios matter.
    scales : three floats, optional
        The value that counts as 1 in each term: Hz, nA and u^2. By default each term's mean over time.
    axis : int
        The time axis.

    Returns
    -------
    array (dims of rate)
        ``E(t) = (w_1 r(t) / r_0 + w_2 s(t) / s_0 + w_3 f(t) / f_0) / (w_1 + w_2 + w_3)``, dimensionless, with r_0,
        s_0, f_0 the scales. A term whose scale is 0 (no spikes at all) adds 0.

    Notes
    -----
    With the default scales the mean over time is 1 (less the weights of terms that are 0), so that the
    cost shows when activity costs most within one recording, but cannot be compared between recordings
    or between blocks of time. To compare recordings, or to minimise the cost, give scales. It is not an
    energy and not a metabolic rate.

    Source and field are measured from 0: a membrane voltage as a proxy for the source is nearly all
    resting potential.

    Examples
    --------
    >>> rate, silent = jnp.array([0.0, 1000.0, 0.0, 0.0]), jnp.zeros(4)
    >>> activity_cost(rate, silent, silent, (1.0, 0.0, 0.0), axis=0)
    Array([0., 4., 0., 0.], dtype=float32)
    >>> activity_cost(rate, silent, silent, (1.0, 0.0, 0.0), (500.0, 1.0, 1.0), axis=0)
    Array([0., 2., 0., 0.], dtype=float32)
    """
    cost = jnp.zeros((), jnp.result_type(rate, 1.0))
    for i, term in enumerate((rate, size, power)):
        scale = term.mean(axis, keepdims=True) if scales is None else jnp.asarray(scales[i])
        some = scale > 0
        cost = cost + weights[i] * jnp.where(some, term / jnp.where(some, scale, 1), 0)
    return cost / (weights[0] + weights[1] + weights[2])


def _square(x: Float[Array, "*dims dim"]) -> Float[Array, "*dims"]:
    return jnp.square(x).sum(-1)


def _length(x: Float[Array, "*dims 3"]) -> tuple[Float[Array, "*dims"], Bool[Array, "*dims"]]:
    """Return lengths, with gradient 0 for a vector of length 0, and which of them are not 0."""
    square = _square(x)
    some = square > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0), some


def _lines_of_sight(
    sensor: Float[Array, "channel 3"],
    site: Float[Array, "site 3"],
    orientation: Float[Array, "*site 3"] | Sequence[float],
) -> tuple[Float[Array, "channel site 3"], Float[Array, "*site 3"], Float[Array, "channel site"]]:
    """Return the vector from site to sensor, the unit orientation, and the distance (1 if it is 0)."""
    away = as_float(sensor)[:, None] - as_float(site)[None]
    distance, apart = _length(away)
    direction = jnp.asarray(orientation, away.dtype)
    direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    return away, direction, jnp.where(apart, distance, 1)


def _largest_one(weight: Float[Array, "channel site"]) -> Float[Array, "channel site"]:
    """Divide by the largest absolute value, unless all are 0."""
    largest = jnp.max(jnp.abs(weight), initial=0)
    return weight / jnp.where(largest > 0, largest, 1)
