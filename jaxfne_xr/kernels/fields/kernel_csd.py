"""Kernel current source density from potentials at any positions in 1, 2 or 3 dimensions.

The density is estimated as a sum of many small basis sources, which need not lie at contacts, with the
smallest coefficients that explain the potentials up to a regularisation. Positions are in um,
potentials in uV, densities in uA/mm^3, a source (outward membrane current) positive.

Precision: the kernel's condition number is often 1e6 to 1e16, so that only the regularisation limits
how errors grow. In float32 (6e-8) a regularisation below 1e-5 is meaningless: compute the matrix in
float64 (`jax.enable_x64`), whatever the precision of the data that it is applied to.

References
----------
.. [1] J. Potworowski, W. Jakuczun, S. Leski, D. Wojcik, Neural Comput. 24, 541-575, 2012.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from jax.scipy.special import erf

from .csd import _UV, Estimator, _disc_integral

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    Scalar = Array | float


def source_grid(
    lower: Float[Array, " dim"], upper: Float[Array, " dim"], *, shape: tuple[int, ...]
) -> Float[Array, "source dim"]:
    """Compute the centres of basis sources on a regular grid.

    Parameters
    ----------
    lower, upper : array (dim,)
        Corners of the grid, um. A margin of a basis width or two around the contacts, with sources
        no farther apart than a width, makes the estimate insensitive to the grid.
    shape : tuple of int
        Number of sources along each dimension.

    Returns
    -------
    array (source, dim)
        Positions, um, the last dimension varying fastest.

    Examples
    --------
    >>> source_grid(jnp.array([0.0, 0.0]), jnp.array([10.0, 20.0]), shape=(2, 3))[:4].tolist()
    [[0.0, 0.0], [0.0, 10.0], [0.0, 20.0], [10.0, 0.0]]
    """
    if len(shape) != lower.shape[0]:
        raise ValueError(f"shape {shape} has {len(shape)} entries for {lower.shape[0]} dimensions.")
    axes = [jnp.linspace(lower[k], upper[k], n) for k, n in enumerate(shape)]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def basis_density(
    point: Float[Array, "point dim"],
    source: Float[Array, "source dim"],
    width: Scalar,
    *,
    basis: Literal["gauss", "step"] = "gauss",
) -> Float[Array, "point source"]:
    """Evaluate the density of each basis source, 1 uA/mm^3 at its centre.

    Parameters
    ----------
    point : array (point, dim)
        Positions at which to evaluate the density, um.
    source : array (source, dim)
        Centres of the basis sources, um.
    width : scalar
        `"gauss"`: standard deviation; `"step"`: radius (in 1-D half the thickness), um.
    basis : {"gauss", "step"}
        exp(-d^2 / (2 width^2)), or 1 within `width` and 0 beyond, of the distance d.

    Returns
    -------
    array (point, source)
        Density, uA/mm^3.

    Examples
    --------
    >>> basis_density(jnp.array([[0.0], [30.0]]), jnp.array([[0.0]]), 30.0)[:, 0]
    Array([1.   , 0.607], dtype=float32)
    """
    squared = _squared_distance(point, source)
    if basis == "gauss":
        return jnp.exp(-squared / (2 * jnp.square(width)))
    if basis == "step":
        return (squared <= jnp.square(width)).astype(squared.dtype)
    raise ValueError(f'basis is {basis!r}; it must be "gauss" or "step".')


def basis_potential(
    contact: Float[Array, "contact dim"],
    source: Float[Array, "source dim"],
    width: Scalar,
    conductivity: Scalar,
    extent: Scalar | None = None,
    *,
    basis: Literal["gauss", "step"] = "gauss",
) -> Float[Array, "contact source"]:
    r"""Compute the potential of each basis source in an infinite homogeneous conductor ([1]_, section 2.3).

    Parameters
    ----------
    contact : array (contact, dim)
        Positions of the contacts, um, in 1, 2 or 3 dimensions.
    source : array (source, dim)
        Centres of the basis sources, um.
    width : scalar
        Width of the basis sources, um, as in `basis_density`.
    conductivity : scalar
        Conductivity of the tissue, S/m.
    extent : scalar
        Extent of the density in the dimensions that are not resolved, in which it is constant, um. 1-D:
        *radius* of discs that are centred on the probe and perpendicular to it. 2-D: full
        *thickness* of the layer of tissue, with the contacts in its middle. 3-D: not used.
    basis : {"gauss", "step"}
        `"step"` (slabs in 1-D, balls in 3-D) is not available in 2-D.

    Returns
    -------
    array (contact, source)
        Potential per density at the centre of a source, uV per uA/mm^3.

    Notes
    -----
    As the solution of a heat equation with the source as initial value, integrated over the ratio u
    of the source's width to that of the spread heat, the potential of a Gaussian is, in any dimension,

    .. math:: \phi(d) = \frac{s^2}{\sigma} \int_0^1 T(u)\, e^{-d^2 u^2 / 2 s^2}\, du,

    with d the distance, s the width, and T from the dimensions not resolved:
    1-D, radius r: (1 - exp(-r^2 u^2 / (2 s^2 (1 - u^2)))) / u^2; 2-D, thickness h:
    erf(h u / (s sqrt(8 (1 - u^2)))) / u; 3-D: 1, so that the integral is an error function. It is
    computed by a fixed 128-point rule, accurate to 1e-10 of the result for r/s and h/s from 0.1 to
    1000 and d/s up to 300. `"step"` is a closed form. Differentiable in all arguments (`"step"`: not
    twice at its edge); at d = 0 the gradient in position is zero.

    In 2-D the potential of a line across the layer, asinh(h / 2d) / (2 pi sigma), is sometimes
    written with h for half the thickness, or with other multiples: check this when comparing codes.

    Examples
    --------
    >>> at = jnp.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    >>> basis_potential(at, at[:1], 30.0, 0.3)[:, 0]
    Array([3.   , 1.127], dtype=float32)
    """
    dim = contact.shape[1]
    if basis not in ("gauss", "step"):
        raise ValueError(f'basis is {basis!r}; it must be "gauss" or "step".')
    if not 1 <= dim <= 3:
        raise ValueError(f"Positions have {dim} dimensions; they must have 1, 2 or 3.")
    if extent is None and dim < 3:
        raise ValueError(f"extent is missing: the {_EXTENT[dim]}, um.")
    if dim == 2 and basis == "step":
        raise ValueError('basis="step" is not available in 2 dimensions; use "gauss".')
    if basis == "step" and dim == 1:
        assert extent is not None
        offset = contact[:, None, 0] - source[:, 0]
        radius = jnp.asarray(extent, dtype=offset.dtype)
        slab = _disc_integral(offset + width, radius) - _disc_integral(offset - width, radius)
        return slab * (_UV / 2 / conductivity)
    squared = _squared_distance(contact, source)
    if basis == "step":
        potential = _ball(squared, jnp.asarray(width, dtype=squared.dtype))
    elif dim == 3:
        potential = jnp.square(width) * _gauss_ball(squared / (2 * jnp.square(width)))
    else:
        assert extent is not None
        potential = jnp.square(width) * _gauss_integral(
            squared / (2 * jnp.square(width)), extent / width, dim
        )
    return potential * (_UV / conductivity)


def kcsd_matrix(
    contact: Float[Array, "contact dim"],
    source: Float[Array, "source dim"],
    point: Float[Array, "point dim"],
    width: Scalar,
    regularisation: Scalar,
    conductivity: Scalar,
    extent: Scalar | None = None,
    *,
    basis: Literal["gauss", "step"] = "gauss",
) -> Estimator:
    r"""Compute the matrix of kernel current source density estimation ([1]_, eq. 2.17).

    Parameters
    ----------
    contact : array (contact, dim)
        Positions of the contacts, um, distinct.
    source : array (source, dim)
        Centres of the basis sources, um (`source_grid`), at least as many as contacts.
    point : array (point, dim)
        Positions at which to estimate the density, um.
    width, conductivity, extent, basis
        As in `basis_potential`: um, S/m, um.
    regularisation : scalar
        Positive; dimensionless: lambda in units of the kernel's mean diagonal, so roughly the
        variance of the noise over that of the potential. `kcsd_errors` helps to choose it.

    Returns
    -------
    Estimator
        `matrix` (point, contact), uA/mm^3 per uV; `condition` of K + lambda.

    Notes
    -----
    With potentials B (contact, source) and densities D (point, source) of the basis sources, the
    kernel is K = B B^T, and the estimate

    .. math:: C = D B^T (K + \lambda \bar{K})^{-1} \phi, \qquad \bar K = \mathrm{tr} K / N.

    Solved by Cholesky factorisation; NaN if K + lambda is not positive definite in the precision used,
    which needs a lambda below that precision (or two contacts at one position, and no lambda).
    Differentiable in all arguments (`"step"`: not in `point`).

    Examples
    --------
    >>> z = jnp.linspace(0.0, 300.0, 7)[:, None]
    >>> source = source_grid(jnp.array([-50.0]), jnp.array([350.0]), shape=(41,))
    >>> phi = basis_potential(z, jnp.array([[150.0]]), 50.0, 0.3, 250.0)[:, 0]
    >>> matrix, condition = kcsd_matrix(z, source, z, 50.0, 1e-5, 0.3, 250.0)
    >>> [round(float(c), 1) + 0.0 for c in matrix @ phi]
    [0.0, 0.1, 0.6, 1.0, 0.6, 0.1, 0.0]
    """
    potential = basis_potential(contact, source, width, conductivity, extent, basis=basis)
    density = basis_density(point, source, width, basis=basis)
    kernel = potential @ potential.T
    shift = regularisation * _mean_diagonal(kernel)
    system = kernel + shift * jnp.eye(kernel.shape[0], dtype=kernel.dtype)
    matrix = cho_solve(cho_factor(system), potential @ density.T).T
    eigenvalue = jnp.linalg.eigvalsh(kernel)
    smallest = jnp.maximum(eigenvalue[0], 0) + shift
    return Estimator(matrix, (eigenvalue[-1] + shift) / smallest)


def kcsd_errors(
    contact: Float[Array, "contact dim"],
    source: Float[Array, "source dim"],
    potential: Float[Array, "contact sample"],
    widths: Float[Array, " width"],
    regularisations: Float[Array, " regularisation"],
    conductivity: Scalar,
    extent: Scalar | None = None,
    *,
    basis: Literal["gauss", "step"] = "gauss",
) -> Float[Array, "width regularisation"]:
    """Compute the leave-one-out errors of `kcsd_matrix` for a set of widths and regularisations.

    Use the pair with the smallest error; check that it is not at the edge of the set.

    Parameters
    ----------
    contact, source, conductivity, extent, basis
        As in `kcsd_matrix`: um, um, S/m, um.
    potential : array (contact, sample)
        Measured potentials, uV; many samples are cheaper as `compress_samples(potential)`, with which
        the errors are larger by sqrt(samples before / samples after), the same factor for all pairs.
    widths : array (width,)
        Widths of the basis sources, um.
    regularisations : array (regularisation,)
        As in `kcsd_matrix`.

    Returns
    -------
    array (width, regularisation)
        Errors, uV; see `leave_one_out`.

    Examples
    --------
    >>> z = jnp.linspace(0.0, 300.0, 7)[:, None]
    >>> source = source_grid(jnp.array([-50.0]), jnp.array([350.0]), shape=(41,))
    >>> phi = basis_potential(z, jnp.array([[150.0]]), 50.0, 0.3, 250.0)
    >>> widths, strengths = jnp.array([50.0, 500.0]), jnp.array([1e-4, 1e-1])
    >>> kcsd_errors(z, source, phi, widths, strengths, 0.3, 250.0).tolist()
    [[0.4, 3.6], [7.8, 6.0]]
    """

    def errors(width: Float[Array, ""]) -> Float[Array, " regularisation"]:
        base = basis_potential(contact, source, width, conductivity, extent, basis=basis)
        return leave_one_out(base @ base.T, potential, regularisations)

    return jax.lax.map(errors, widths)


def leave_one_out(
    kernel: Float[Array, "contact contact"],
    potential: Float[Array, "contact sample"],
    regularisations: Float[Array, " regularisation"],
) -> Float[Array, " regularisation"]:
    r"""Compute the root mean square error of predicting each contact from all the others.

    Parameters
    ----------
    kernel : array (contact, contact)
        Kernel of the potentials, symmetric and positive semidefinite, in any unit.
    potential : array (contact, sample)
        Measured potentials, uV.
    regularisations : array (regularisation,)
        Positive; lambda in units of the kernel's mean diagonal (of all contacts).

    Returns
    -------
    array (regularisation,)
        sqrt(mean over contacts and samples of the squared error), uV.

    Notes
    -----
    With the hat matrix H = K (K + lambda)^{-1}, the error at contact i of the fit without it is
    (phi - H phi)_i / (1 - H_ii) = (P phi)_i / P_ii, P = (K + lambda)^{-1}, exactly, from one
    eigendecomposition of K for all lambda.

    Differentiable in all arguments, to any order. Gradients are computed with a Cholesky
    factorisation for each lambda, since those of eigenvectors do not exist if eigenvalues
    coincide, as they do for contacts on a square grid.

    Examples
    --------
    >>> kernel = jnp.array([[1.0, 0.5], [0.5, 1.0]])
    >>> leave_one_out(kernel, jnp.array([[2.0], [2.0]]), jnp.array([0.5, 1.0]))
    Array([1.333, 1.5      ], dtype=float32)
    """
    shift = regularisations * _mean_diagonal(kernel)
    return jnp.sqrt(_press(kernel, potential, shift) / potential.size)


def compress_samples(potential: Float[Array, "contact sample"]) -> Float[Array, "contact column"]:
    """Compress samples to fewer columns with the same inner products between contacts.

    Sums of squares of any linear combination of contacts are kept, and with them the errors of
    `leave_one_out`, in full precision (the inner products themselves would lose half of the digits).
    Columns of parts of a recording can be concatenated and compressed again.

    Parameters
    ----------
    potential : array (contact, sample)
        Potentials, uV.

    Returns
    -------
    array (contact, min(contact, sample))
        The transposed R of the QR decomposition of the transposed samples, uV. Differentiable
        if the contacts are linearly independent.

    Examples
    --------
    >>> abs(compress_samples(jnp.array([[3.0, 0.0, 4.0]])))
    Array([[5.]], dtype=float32)
    """
    return jnp.linalg.qr(potential.T, mode="r").T


# custom_jvp, because the derivative of an eigendecomposition divides by differences of eigenvalues, which may be 0
@jax.custom_jvp
def _press(
    kernel: Float[Array, "contact contact"],
    potential: Float[Array, "contact sample"],
    shift: Float[Array, " regularisation"],
) -> Float[Array, " regularisation"]:
    """Return the sum of squared leave-one-out errors for each shift of the diagonal."""
    eigenvalue, vector = jnp.linalg.eigh(kernel)
    projected = vector.T @ potential

    def press(shift: Float[Array, ""]) -> Float[Array, ""]:
        scaled = vector / (jnp.maximum(eigenvalue, 0) + shift)
        diagonal = jnp.sum(scaled * vector, axis=1)
        return jnp.sum(jnp.square(scaled @ projected / diagonal[:, None]))

    return jax.lax.map(press, shift)


@_press.defjvp
def _press_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    _, tangent = jax.jvp(_press_by_cholesky, primals, tangents)
    return _press(*primals), tangent


def _press_by_cholesky(kernel: Array, potential: Array, shift: Array) -> Array:
    identity = jnp.eye(kernel.shape[0], dtype=kernel.dtype)

    def press(shift: Array) -> Array:
        inverse = cho_solve(cho_factor(kernel + shift * identity), identity)
        return jnp.sum(jnp.square(inverse @ potential / jnp.diagonal(inverse)[:, None]))

    return jax.lax.map(press, shift)


_EXTENT = {1: "radius of the discs", 2: "thickness of the layer"}


def _mean_diagonal(kernel: Array) -> Array:
    return jnp.trace(kernel) / kernel.shape[0]


def _squared_distance(a: Array, b: Array) -> Array:
    return jnp.sum(jnp.square(a[:, None] - b), axis=-1)


def _ball(squared: Array, radius: Array) -> Array:
    """Return the potential of a ball of density 1, times the conductivity."""
    inside = squared <= jnp.square(radius)
    distance = jnp.sqrt(jnp.where(inside, jnp.square(radius), squared))
    return jnp.where(inside, (3 * jnp.square(radius) - squared) / 6, radius**3 / (3 * distance))


def _gauss_ball(x: Array) -> Array:
    """Return the integral of exp(-x u^2) over u from 0 to 1; as a series near x = 0, where the closed form is 0 / 0."""
    near = x < 1e-3
    root = jnp.sqrt(jnp.where(near, 1, x))
    far = jnp.sqrt(jnp.pi) / 2 * erf(root) / root
    x = jnp.where(near, x, 0)
    return jnp.where(near, 1 - x / 3 + x**2 / 10 - x**3 / 42 + x**4 / 216, far)


def _gauss_integral(x: Array, extent: Scalar, dim: int) -> Array:
    """Return the integral of T(u) exp(-x u^2) over u from 0 to 1; `extent` in units of the width."""
    u, odds, weight = (jnp.asarray(a, dtype=x.dtype) for a in _unit_rule())
    if dim == 1:
        transverse = -jnp.expm1(-jnp.square(extent) * odds / 2) / jnp.square(u)
    else:
        transverse = erf(extent * jnp.sqrt(odds / 8)) / u

    # node by node: in one sum, XLA would compute `transverse` again for every pair
    def add(total: Array, node: tuple[Array, Array]) -> tuple[Array, None]:
        return total + node[0] * jnp.exp(-x * node[1]), None

    terms = (weight * transverse, jnp.square(u))
    return jax.lax.scan(jax.checkpoint(add), jnp.zeros_like(x), terms)[0]


def _unit_rule() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes u, u^2 / (1 - u^2) and weights for 0 < u < 1.

    The integrands vary on the scale of log(u) near 0 and of log(1 - u) near 1, to within 1e-3 and
    1e-13 of the ends: Gauss-Legendre in y with u = tanh(log(1 + eps sinh(kappa y))).
    """
    y, weight = np.polynomial.legendre.leggauss(128)
    eps = 3e-3
    kappa = np.arcsinh(np.expm1(15.0) / eps)
    stretched = eps * np.sinh(kappa * (y + 1) / 2)
    w = np.log1p(stretched)
    slope = eps * kappa / 2 * np.cosh(kappa * (y + 1) / 2) / (1 + stretched)
    return np.tanh(w), np.square(np.sinh(w)), weight * slope / np.square(np.cosh(w))
