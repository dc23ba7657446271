"""Dipoles in a spherical head: EEG through concentric shells, MEG outside any spherical conductor.

Positions are in um from the common centre of the spheres. Lead fields are matrices
`(channel, xyz, dipole)`, in uV or fT per nA*um.

The potential of a dipole at `r0` is a series over the order `n` of the spherical harmonics. Summed over
their degree, the term of order `n` is the vector

    L_n = r_hat P_n'(x) - r0_hat P_{n-1}'(x),    x = cos(angle between r and r0),

times a radial function. With `D_n = tau^(n-1) P_n'(x)` the recursion

    n D_{n+1} = (2 n + 1) u D_n - (n + 1) tau^2 D_{n-1},    D_0 = 0, D_1 = 1,

has only polynomials of `r` and `r0` in it (`u = tau x`): no angle, no pole at the centre or on the axis,
and, because `tau < 1`, no overflow. Radial and tangential dipoles need no separate treatment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax

from .dipoles import FEMTOTESLA, MICROVOLT, potential_lead_field

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    Matrix = Float[Array, "channel dipole"]
    Carry = tuple[Matrix, Matrix, Matrix, Matrix]
    Term = tuple[Float[Array, ""], Float[Array, " channel"]]
    Vectors = Float[Array, "#channel #dipole xyz"]

__all__ = ["eccentricity", "sarvas_lead_field", "series_terms", "sphere_lead_field", "truncation"]


def eccentricity(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    radii: Float[Array, " shell"],
) -> Float[Array, ""]:
    """Compute the ratio of successive terms of the series, the largest over dipoles and sensors.

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position of each dipole (um).
    sensor : array, (channel, xyz)
        Position of each sensor (um).
    radii : array, (shell,)
        Outer radius of each shell (um), brain first.

    Returns
    -------
    array, ()
        Largest `r0 / r`, or `r0 r / r1**2` for sensors within the brain (radius `r1`).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> dipole, scalp = jnp.array([[0.0, 0.0, 78000.0]]), jnp.array([[0.0, 0.0, 90000.0]])
    >>> f"{eccentricity(dipole, scalp, jnp.array([79e3, 80e3, 85e3, 90e3])):.3f}"
    '0.867'
    """
    radii = jnp.asarray(radii)
    brain = radii[0]
    source = jnp.max(jnp.linalg.norm(dipole, axis=-1), initial=0.0) / brain
    distance = jnp.minimum(jnp.linalg.norm(sensor, axis=-1), radii[-1]) / brain
    return source * jnp.max(jnp.minimum(distance, 1 / distance), initial=0.0)


def series_terms(eccentricity: float, *, tolerance: float = 1e-14) -> int:
    r"""Compute the number of terms after which the four-sphere series has converged.

    Term `n` is at most `n (n + 1) / 2 t**(n - 1)` times a bounded factor, at eccentricity `t`. The sum
    of all later terms, in closed form, is below `tolerance` times the first term.

    Parameters
    ----------
    eccentricity : float
        The `t` of `eccentricity`, below 1. For traced positions it is not known: use an upper bound, such
        as the `r0 / r` of the outermost dipole.
    tolerance : float
        Relative error of the truncation.

    Returns
    -------
    int
        Number of terms, the `n_terms` of `sphere_lead_field`.

    Raises
    ------
    ValueError
        If `eccentricity` is not in `[0, 1)`.

    Examples
    --------
    >>> series_terms(0.867), series_terms(0.5), series_terms(0.0)
    (317, 59, 1)
    """
    t = float(eccentricity)
    if not 0 <= t < 1:
        raise ValueError(
            f"the four-sphere series converges for an eccentricity in [0, 1), not {t:.6g}: "
            "a dipole lies on or outside the brain sphere"
        )

    def tail(n: int) -> float:
        s = t / (1 - t)
        return t**n / (1 - t) * ((n + 1) * (n + 2) / 2 + (n + 2) * s + s**2)

    high = 1
    while tail(high) > tolerance:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tail(middle) > tolerance else (low, middle)
    return high


def truncation(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    radii: Float[Array, " shell"],
    *,
    n_terms: int,
) -> Float[Array, "channel dipole"]:
    """Compute the part of the bound of `series_terms` that is left out after `n_terms`, for every pair.

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position of each dipole (um).
    sensor : array, (channel, xyz)
        Position of each sensor (um).
    radii : array, (shell,)
        Outer radius of each shell (um), brain first.
    n_terms : int
        Number of terms that are summed.

    Returns
    -------
    array, (channel, dipole)
        From 0 to 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> dipole, radii = jnp.array([[0.0, 0.0, 75.0]]), jnp.array([79.0, 90.0])
    >>> truncation(dipole, jnp.array([[0.0, 0.0, 90.0], [0.0, 0.0, 79.0]]), radii, n_terms=200) < 1e-6
    Array([[ True],
           [False]], dtype=bool)
    """
    brain = radii[0]
    distance = jnp.minimum(jnp.linalg.norm(sensor, axis=-1), radii[-1]) / brain
    inner = distance < 1
    ratio = jnp.where(inner, distance, 1 / jnp.where(inner, 1, distance))
    t = jnp.clip(ratio[:, None] * jnp.linalg.norm(dipole, axis=-1) / brain, 0, 1)
    n, rest = n_terms, 1 - t
    # the closed form of `tail` in `series_terms`, over that of the whole sum, 1 / (1 - t)^3
    return t**n * ((n + 1) * (n + 2) / 2 * rest**2 + (n + 2) * t * rest + t**2)


def _shell_coefficients(
    radii: Float[Array, " shell"], conductivities: Float[Array, " shell"], n: Float[Array, "term 1"]
) -> tuple[list[Float[Array, "term 1"]], list[Float[Array, "term 1"]]]:
    """Return the decaying and growing part (b, a) of each shell's radial function, in units of the source's.

    In shell `j` the term of order `n` is that of an infinite medium of brain conductivity times
    `b + a (r / r_j)**(2 n + 1)`. Potential and normal current are continuous and no current leaves the
    scalp. The ratios `a / b` are computed inwards from the scalp, then `b` outwards from the brain, where
    `b = 1`: no number above 1 is raised to a power, so nothing overflows.
    """
    ratio = [(n + 1) / n]
    gain: list[Float[Array, "term 1"]] = []
    for j in reversed(range(radii.shape[0] - 1)):
        step = conductivities[j + 1] / conductivities[j]
        outer = ratio[0] * (radii[j] / radii[j + 1]) ** (2 * n + 1)
        denominator = n + step * (n + 1) + n * outer * (1 - step)
        ratio.insert(0, ((n + 1) * (1 - step) + outer * (n + 1 + step * n)) / denominator)
        gain.insert(0, (2 * n + 1) / denominator)
    decaying = [jnp.ones_like(n)]
    for factor in gain:
        decaying.append(decaying[-1] * factor)
    return decaying, [b * rho for b, rho in zip(decaying, ratio, strict=True)]


def sphere_lead_field(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    radii: Float[Array, " shell"],
    conductivities: Float[Array, " shell"],
    *,
    n_terms: int,
) -> Float[Array, "channel xyz dipole"]:
    r"""Compute the potential of dipoles in the innermost of concentric spheres, in uV per nA*um.

    .. math:: \phi(r) = \frac{1}{4 \pi \sigma_1} \sum_{n=1}^{N} c_n(r) \frac{r_0^{n-1}}{r^{n+1}}
              \, p \cdot \left[ \hat r P_n'(x) - \hat r_0 P_{n-1}'(x) \right]

    with `c_n` from the continuity of potential and normal current at each sphere, and no current
    through the outermost. Four shells (brain, cerebrospinal fluid, skull, scalp) are the four-sphere
    head; any number of shells is possible, and one is a homogeneous sphere.

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position r0 of each dipole (um) from the centre, inside the brain sphere.
    sensor : array, (channel, xyz)
        Position r of each sensor (um) from the centre: on the scalp, or anywhere inside the head.
    radii : array, (shell,)
        Outer radius of each shell (um), increasing, brain first.
    conductivities : array, (shell,)
        Conductivity of each shell (S/m), positive.
    n_terms : int
        Number N of terms: `series_terms(eccentricity(dipole, sensor, radii))`. Static under `jit`.

    Returns
    -------
    array, (channel, xyz, dipole)
        Potential at each sensor per unit moment along x, y and z (uV / (nA um)), zero on average over
        the scalp.

    Notes
    -----
    A dipole on or outside the brain sphere gives NaN. A sensor outside the scalp is moved to it along
    its radius; since no current leaves the scalp, the gradient is continuous there. Within the brain
    the field of the dipole in an infinite medium is added in closed form, and the series is the rest; at
    the dipole itself that field is 0.

    Gradients are finite in dipoles (at the centre too), sensors, radii and conductivities. The
    derivative with respect to a sensor's radius jumps on the inner spheres, as the electric field
    does; the value there is that of the inner side.

    References
    ----------
    Naess S, Chintaluri C, Ness TV, et al. (2017), Corrected four-sphere head model for EEG signals,
    Front Hum Neurosci 11:490, for the model; the coefficients here are solved by recursion over the
    shells instead, in scaled form.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> radii = jnp.array([79e3, 80e3, 85e3, 90e3])
    >>> sigma = jnp.array([0.3, 1.5, 0.015, 0.3])
    >>> dipole, scalp = jnp.array([[0.0, 0.0, 78e3]]), jnp.array([[0.0, 0.0, 90e3]])
    >>> n = series_terms(eccentricity(dipole, scalp, radii))
    >>> field = sphere_lead_field(dipole, scalp, radii, sigma, n_terms=n)
    >>> f"{1e7 * field[0, 2, 0]:.2f} uV above a radial dipole of 10 nA*m"
    '10.62 uV above a radial dipole of 10 nA*m'
    """
    dtype = jnp.result_type(dipole, sensor, radii, conductivities, jnp.float32)
    dipole, sensor, radii, conductivities = (
        jnp.asarray(value, dtype) for value in (dipole, sensor, radii, conductivities)
    )
    brain, scalp = radii[0], radii[-1]
    square = jnp.sum(sensor**2, axis=-1)  # (channel,)
    sensor = sensor * (scalp / jnp.sqrt(jnp.maximum(square, scalp**2)))[:, None]
    square = jnp.sum(sensor**2, axis=-1)
    in_brain = (square <= brain**2) | (radii.shape[0] == 1)

    # Lengths in units of `scale`: the sensor's radius, or the brain's for a sensor in the brain.
    scale = jnp.sqrt(jnp.where(in_brain, brain**2, square))
    r = sensor / scale[:, None]
    r0 = dipole / scale[:, None, None]  # (channel, dipole, xyz)
    r_square = jnp.sum(r**2, axis=-1)[:, None]
    tau_square = r_square * jnp.sum(r0**2, axis=-1)
    u = jnp.sum(r[:, None, :] * r0, axis=-1)

    n = jnp.arange(1, n_terms + 1, dtype=dtype)[:, None]
    decaying, growing = _shell_coefficients(radii, conductivities, n)
    coefficient = jnp.broadcast_to(growing[0], (n_terms, scale.shape[0]))  # (term, channel)
    last = radii.shape[0] - 1
    for j in range(1, last + 1):
        # Later shells override earlier ones, so that the sensor's own shell is used. In a shell inside that one the
        # ratio is above 1 and its power may overflow, which would make the gradient NaN.
        ratio = (
            jnp.where(square <= radii[j] ** 2, scale / radii[j], 1) if j < last else scale / scalp
        )
        here = ~in_brain & (square > radii[j - 1] ** 2)
        inside = decaying[j] + growing[j] * ratio ** (2 * n + 1)
        coefficient = jnp.where(here, inside, coefficient)

    def step(carry: Carry, term: Term) -> tuple[Carry, None]:
        previous, current, along_r, along_r0 = carry
        order, weight = term
        along_r = along_r + weight[:, None] * current
        along_r0 = along_r0 + weight[:, None] * previous
        following = ((2 * order + 1) * u * current - (order + 1) * tau_square * previous) / order
        return (current, following, along_r, along_r0), None

    zero, one = jnp.zeros_like(u), jnp.ones_like(u)
    (_, _, along_r, along_r0), _ = lax.scan(step, (zero, one, zero, zero), (n[:, 0], coefficient))

    series = along_r[..., None] * r[:, None, :] - (along_r0 * r_square)[..., None] * r0
    series = series * (MICROVOLT / (4 * jnp.pi * conductivities[0] * scale**2))[:, None, None]
    infinite = jnp.swapaxes(potential_lead_field(dipole, sensor, conductivities[0]), 1, 2)
    field = series + jnp.where(in_brain[:, None, None], infinite, 0)
    valid = jnp.sum(dipole**2, axis=-1) < brain**2
    return jnp.swapaxes(jnp.where(valid[:, None], field, jnp.nan), 1, 2)


def sarvas_lead_field(
    dipole: Float[Array, "dipole xyz"],
    sensor: Float[Array, "channel xyz"],
    orientation: Float[Array, "channel xyz"],
) -> Float[Array, "channel xyz dipole"]:
    r"""Compute the magnetic field of dipoles outside a spherically symmetric conductor, in fT per nA*um.

    .. math:: B = \frac{\mu_0}{4 \pi F^2} \left( F\, p \times r_0 - (p \times r_0 \cdot r) \nabla F \right),
              \qquad F = a (r a + r^2 - r_0 \cdot r), \quad a = |r - r_0|

    Parameters
    ----------
    dipole : array, (dipole, xyz)
        Position r0 of each dipole (um) from the centre.
    sensor : array, (channel, xyz)
        Position r of each sensor (um) from the centre, outside the conductor.
    orientation : array, (channel, xyz)
        Unit vector of each sensor.

    Returns
    -------
    array, (channel, xyz, dipole)
        Field along the orientation at each sensor per unit moment along x, y and z (fT / (nA um)).

    Notes
    -----
    The field does not depend on the conductivities of the shells. A radial dipole, and any dipole at the
    centre, gives 0: the lead field is a cross product with `r0`. The radial component is that of the
    primary current alone. Gradients are finite for every dipole with `|r0| < |r|`, including the centre;
    a dipole no nearer to the centre than the sensor gives NaN.

    References
    ----------
    Sarvas J (1987), Basic mathematical and electromagnetic concepts of the biomagnetic inverse problem,
    Phys Med Biol 32:11, eq. 25.

    Examples
    --------
    A tangential dipole of 10 nA*m, 3 cm deep, and a sensor 2 cm outside the head, off to the side:

    >>> import jax.numpy as jnp
    >>> sensor = jnp.array([[0.0, 6.6e4, 8.8e4]])
    >>> field = sarvas_lead_field(jnp.array([[0.0, 0.0, 6e4]]), sensor, sensor / 1.1e5)
    >>> f"{1e7 * field[0, 0, 0]:.0f} fT; radial dipole: {abs(field[0, 2, 0]):.0f} fT"
    '98 fT; radial dipole: 0 fT'
    """
    dipole, sensor, orientation = (jnp.asarray(value) for value in (dipole, sensor, orientation))
    # Lengths in units of the sensor's radius: F**2 in um^6 would exceed the range of float32 when differentiated.
    radius = jnp.sqrt(jnp.sum(sensor**2, axis=-1))[:, None, None]
    r = sensor[:, None, :] / radius
    r0 = dipole / radius  # (channel, dipole, xyz)
    o = orientation[:, None, :]

    def dot(left: Vectors, right: Vectors) -> Float[Array, "#channel #dipole 1"]:
        return jnp.sum(left * right, axis=-1, keepdims=True)

    valid = dot(r0, r0) < 1
    r0 = jnp.where(valid, r0, 0)
    away = r - r0
    a = jnp.sqrt(dot(away, away))
    along = dot(away, r)
    f = a * (a + along)
    gradient = dot(o, (a**2 + along / a + 2 * a + 2) * r - (a + 2 + along / a) * r0)
    field = jnp.cross(r0, f * o - gradient * r) * FEMTOTESLA / (f * radius) ** 2
    return jnp.swapaxes(jnp.where(valid, field, jnp.nan), 1, 2)
