"""Current dipole moments, and their potential and magnetic field in an infinite medium.

Moments are in nA*um and point from the sink to the source; lengths are in um, potentials in uV,
magnetic fields in fT. A lead field is a matrix `(channel, xyz, dipole)`: contracted with moments
`(dipole, xyz)` over its last two axes, it gives the signal at each channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from .membrane_currents import current_sum

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

__all__ = ["dipole_moment", "magnetic_lead_field", "potential_lead_field"]

# mu_0 / (4 pi) = 1e-7 T m / A (to 6e-10), so one nA*um at 1 um gives 1e-7 * 1e-9 * 1e-6 / 1e-12 T.
FEMTOTESLA = 1e5
MICROVOLT = 1e3  # nA / (S/m um) is mV


def dipole_moment(
    current: Float[Array, "*before site *after"],
    position: Float[Array, "site xyz"],
    *,
    axis: int,
    group: Int[Array, " site"] | None = None,
    n_groups: int | None = None,
) -> Float[Array, "*moment"]:
    r"""Compute the current dipole moment of all sites, or of each group of them, in nA*um.

    .. math:: p = \sum_i I_i r_i

    Parameters
    ----------
    current : array
        Transmembrane current I (nA), outward positive; sites along `axis`, any other axes.
    position : array, (site, xyz)
        Midpoint r of each site (um).
    axis : int
        Axis of the sites.
    group : int array, (site,), optional
        Group (for example a neuron) of each site; -1 for none.
    n_groups : int, optional
        Number of groups; needed with `group`.

    Returns
    -------
    array
        Moment (nA*um) with the site axis replaced by xyz, or by (group, xyz).

    Raises
    ------
    ValueError
        If only one of `group` and `n_groups` is given.

    Notes
    -----
    If the currents of a group sum to zero, the moment does not depend on the origin. If they do not
    (because an injected current is not included, or for a part of a cell), it does: it changes by minus
    the shift times the sum. Subtract an origin, for example the soma, from `position`; this also keeps
    digits in float32 for a cell far from zero.

    Linear in the currents and in the positions; gradients are exact.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> current = jnp.array([[1.0, 2.0], [-1.0, -2.0]])      # (site, time)
    >>> position = jnp.array([[0.0, 0.0, 300.0], [0.0, 0.0, 0.0]])
    >>> dipole_moment(current, position, axis=0)[2].tolist()
    [300.0, 600.0]
    """
    current, position = jnp.asarray(current), jnp.asarray(position)
    axis = axis % current.ndim
    if (group is None) != (n_groups is None):
        raise ValueError("group and n_groups go together: pass both or neither")
    if group is None or n_groups is None:
        moment = jnp.tensordot(
            position, current, axes=(0, axis), precision=jax.lax.Precision.HIGHEST
        )
        return jnp.moveaxis(moment, 0, axis)
    others = [k for k in range(current.ndim) if k != axis]
    return jnp.stack(
        [
            current_sum(
                current * jnp.expand_dims(coordinate, others), group, n_groups=n_groups, axis=axis
            )
            for coordinate in position.T
        ],
        axis=axis + 1,
    )


def _inverse_square(
    dipole: Float[Array, "dipole xyz"], sensor: Float[Array, "channel xyz"], min_distance: float
) -> Float[Array, "channel dipole xyz"]:
    """Return `d / max(|d|, min_distance)**3` (1/um^2), with `d` from the dipole to the sensor."""
    d = jnp.asarray(sensor)[:, None, :] - jnp.asarray(dipole)
    square = jnp.maximum(jnp.sum(d * d, axis=-1, keepdims=True), jnp.square(min_distance))
    # the double `where`: value and gradient are 0 at the pole, not NaN
    pole = square == 0
    return jnp.where(pole, 0.0, d) * jnp.where(pole, 1.0, square) ** -1.5


def potential_lead_field(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    conductivity: Float[Array, ""] | float,
    *,
    min_distance: float = 0.0,
) -> Float[Array, "channel xyz dipole"]:
    r"""Compute the potential of current dipoles in an infinite homogeneous medium, in uV per nA*um.

    .. math:: \phi = \frac{p \cdot d}{4 \pi \sigma |d|^3}, \qquad d = r_\mathrm{sensor} - r_\mathrm{dipole}

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position of each dipole (um).
    sensor : array, (channel, xyz)
        Position of each sensor (um).
    conductivity : float
        Conductivity sigma (S/m) of the medium.
    min_distance : float
        Distance (um) below which `|d|` counts as `min_distance`.

    Returns
    -------
    array, (channel, xyz, dipole)
        Potential at each sensor per unit moment along x, y and z (uV / (nA um)).

    Notes
    -----
    Assumes point dipoles: the distance of sensors is much larger than the cell. Within `min_distance`
    the potential is linear in `d`, zero at the dipole; gradients are finite there, and jump on the
    sphere of that radius. With `min_distance=0`, a sensor at the dipole gives 0 with gradient 0.

    References
    ----------
    Naess S, Halnes G, Hagen E, et al. (2021), Biophysically detailed forward modeling of the neural
    origin of EEG and MEG signals, NeuroImage 225:117467.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> field = potential_lead_field(jnp.zeros((1, 3)), jnp.array([[0.0, 0.0, 1000.0]]), 0.3)
    >>> f"{1e3 * field[0, 2, 0]:.4f} uV from 1 nA*mm, 1 mm away"
    '0.2653 uV from 1 nA*mm, 1 mm away'
    """
    direction = _inverse_square(dipole, sensor, min_distance)
    return jnp.swapaxes(direction, 1, 2) * (MICROVOLT / (4 * jnp.pi * conductivity))


def magnetic_lead_field(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    orientation: Float[Array, "channel xyz"],
    *,
    min_distance: float = 0.0,
) -> Float[Array, "channel xyz dipole"]:
    r"""Compute the magnetic field of current dipoles in an infinite homogeneous medium, in fT per nA*um.

    .. math:: B \cdot o = \frac{\mu_0}{4 \pi} \frac{(p \times d) \cdot o}{|d|^3},
              \qquad d = r_\mathrm{sensor} - r_\mathrm{dipole}

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position of each dipole (um).
    sensor : array, (channel, xyz)
        Position of each sensor (um).
    orientation : array, (channel, xyz)
        Unit vector o of each sensor.
    min_distance : float
        Distance (um) below which `|d|` counts as `min_distance`.

    Returns
    -------
    array, (channel, xyz, dipole)
        Field along `o` at each sensor per unit moment along x, y and z (fT / (nA um)).

    Notes
    -----
    Assumes a quasi-static field and the permeability of the vacuum. The return currents of an infinite
    homogeneous medium make no field: this is that of the primary current. Poles and gradients are as in
    `potential_lead_field`.

    References
    ----------
    Hamalainen M, Hari R, Ilmoniemi R, et al. (1993), Magnetoencephalography, Rev Mod Phys
    65:413.

    Examples
    --------
    A dipole of 10 nA*m (1e7 nA*um), 7 cm below a sensor that looks sideways:

    >>> import jax.numpy as jnp
    >>> up, side = jnp.array([[0.0, 0.0, 7e4]]), jnp.array([[0.0, -1.0, 0.0]])
    >>> f"{1e7 * magnetic_lead_field(jnp.zeros((1, 3)), up, side)[0, 0, 0]:.0f} fT"
    '204 fT'
    """
    direction = _inverse_square(dipole, sensor, min_distance)
    across = jnp.cross(direction, jnp.asarray(orientation)[:, None, :])
    return jnp.swapaxes(across, 1, 2) * FEMTOTESLA
