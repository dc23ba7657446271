"""Kernel current source density: the matrix from potentials to densities, with cross-validated parameters."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_dask, is_jax, is_traced, precision_of
from jaxfne_xr.core.dispatch import jointly, on_arrays
from jaxfne_xr.core.errors import ArgumentError
from jaxfne_xr.core.progress import progress, working
from jaxfne_xr.core.types import Array, ArrayLike, Length, Scalars
from jaxfne_xr.core.units import magnitude
from jaxfne_xr.core.values import example, positive, values_in
from jaxfne_xr.geometry.contact_layout import CONTACT
from jaxfne_xr.kernels.fields import kernel_csd as kernels

from .parameters import in_float64

Basis = Literal["gauss", "step"]
#: A remainder below this fraction of a step is rounding.
ROUNDING = 1e-6
#: Regularisations among which leave-one-out chooses, and the smallest that has an effect in float32.
REGULARISATIONS = np.logspace(-12, 0, 25)
SMALLEST_FLOAT32 = 1e-5
#: Widths of basis sources over the distance of neighbouring contacts, the best of which leave-one-out chooses: see the
#: table in the docs. The first is that for a given regularisation, so that the estimate is linear in the potential.
WIDTHS = (1.0, 2.0)
#: Margin of basis sources around the contacts over the widest width.
MARGIN = 2.0
#: More basis sources along an axis are taken for a mistake in the width.
MOST_ALONG = 5000
#: Limits of memory (bytes) and time (s), and what a pair of a basis source and a contact or a point takes of each: the
#: potential is an integral of 128 terms in one and two dimensions.
MOST_BYTES, MOST_SECONDS = 4e9, 60.0
BYTES, SECONDS = 32, {1: 1.3e-6, 2: 1.3e-6, 3: 2e-8}


def kernel_matrix(
    variable: xr.Variable,
    place: Array,
    where: Array,
    sigma: Array,
    scale: float,
    *,
    radius: Length = 250.0,
    width: Scalars | None = None,
    regularisation: Scalars | None = None,
    n_sources: int | None = None,
    basis: Basis = "gauss",
) -> tuple[Array, dict[str, Any]]:
    """Return the matrix (point, contact) of the kernel method, and its parameters for the record."""
    dims = place.shape[1]
    if dims == 2 and basis == "step":
        raise ArgumentError.of(
            "basis",
            found="'step' in 2-D",
            expected="'gauss', whose potential is known",
            remedy='basis="gauss"',
        )
    # The radius of the discs in 1-D, the thickness of the layer in 2-D; densities in 3-D need none.
    extent = (
        []
        if dims == 3
        else [in_float64(positive(radius, "um", "radius")) * (2 if dims == 2 else 1)]
    )
    near = _neighbour_distance(place)
    strengths = _several(regularisation, REGULARISATIONS, "1", "regularisation")
    usual = WIDTHS if strengths.size > 1 else WIDTHS[:1]
    widths = _several(width, near * np.array(usual), "um", "width")
    source = _basis_sources(place, len(where), widths, near, n_sources)
    fixed = (place, source, where, widths, strengths, in_float64(sigma), *extent)
    record: dict[str, Any] = {"basis": basis, "dims": dims, "basis_sources": len(source)}
    record |= {"extent_um": extent[0]} if extent else {}
    if widths.size == strengths.size == 1:
        matrix, condition = on_arrays(_one_kernel, *fixed, basis=basis)
        return matrix, record | {
            "width_um": widths,
            "regularisation": strengths,
            "condition": condition,
        }
    samples = _samples(variable)
    traced = is_jax(samples.data)
    # Errors with a regularisation lost to rounding are noise, and could be the smallest.
    if traced and samples.dtype.itemsize < 8:
        fixed = (*fixed[:4], np.maximum(strengths, SMALLEST_FLOAT32), *fixed[5:])
    dims = [("point", CONTACT), (), (), (), ()]
    with working("kernel CSD: cross-validation"):
        made = jointly(_best_kernel, samples, dims=dims, numbers=fixed, basis=basis)
    matrix, best_width, best, error, condition = made
    chosen = {
        "width_um": best_width,
        "regularisation": best,
        "leave_one_out_uV": error,
        "condition": condition,
    }
    record |= {"chosen_by": "leave-one-out"}
    # In dask they are not known before the data are computed.
    if not is_dask(matrix.data):
        record |= {k: v.data for k, v in chosen.items()}
        if not is_traced(error.data):
            record["leave_one_out_uV"] = float(error.data) * scale
    return matrix.data, record


def _one_kernel(
    contact: Array,
    source: Array,
    point: Array,
    widths: Array,
    strengths: Array,
    sigma: Array,
    *extent: Array,
    basis: Basis,
) -> tuple[Array, Array]:
    width, strength = widths.ravel()[0], strengths.ravel()[0]
    made = kernels.kcsd_matrix(contact, source, point, width, strength, sigma, *extent, basis=basis)
    return made.matrix, made.condition


def _best_kernel(
    samples: Array,
    contact: Array,
    source: Array,
    point: Array,
    widths: Array,
    strengths: Array,
    sigma: Array,
    *extent: Array,
    basis: Basis,
) -> tuple[Array, ...]:
    """Return the matrix whose width and regularisation best predict each contact from the others, and these two."""
    errors = kernels.kcsd_errors(
        contact, source, samples, widths, strengths, sigma, *extent, basis=basis
    )
    # The choice is piecewise constant: gradients are those at the chosen width and regularisation.
    errors = jax.lax.stop_gradient(errors)
    i, j = jnp.unravel_index(jnp.argmin(errors), errors.shape)
    width, strength = widths[i], strengths[j]
    made = kernels.kcsd_matrix(contact, source, point, width, strength, sigma, *extent, basis=basis)
    return made.matrix, width, strength, errors[i, j], made.condition


def _samples(variable: xr.Variable) -> xr.Variable:
    """Return fewer columns (contact, column) with the same inner products of contacts; float64 unless traced."""
    # Leave-one-out errors depend on the samples only through these products; R of a QR decomposition has them too,
    # without the loss of precision of forming them.
    data = magnitude(variable.data)
    axis = variable.get_axis_num(CONTACT)
    n = data.shape[axis]
    others = [i for i in range(data.ndim) if i != axis]
    if is_traced(data):
        with precision_of(data):
            rows = jax.lax.stop_gradient(data).transpose(axis, *others).reshape(n, -1)
            return xr.Variable((CONTACT, "column"), kernels.compress_samples(rows))
    if is_dask(data):
        import dask.array

        tall = data.transpose(*others, axis).reshape(-1, n).rechunk({1: -1}).astype(np.float64)
        return xr.Variable((CONTACT, "column"), dask.array.linalg.tsqr(tall)[1].T)
    rows = np.moveaxis(np.asarray(data), axis, 0).reshape(n, -1)
    columns = np.zeros((n, 0))
    for start in progress(range(0, rows.shape[1], _AT_ONCE), "kernel CSD: samples"):
        part = rows[:, start : start + _AT_ONCE].astype(np.float64)
        both = np.concatenate([columns, part], axis=1)
        # As kernels.compress_samples does, without a kernel to compile.
        columns = np.asarray(np.linalg.qr(both.T, mode="r")).T
    return xr.Variable((CONTACT, "column"), columns)


#: Number of samples that are compressed at once.
_AT_ONCE = 8192


def _neighbour_distance(place: Array) -> float:
    """Return the median distance of contacts to their nearest neighbours, um."""
    if is_traced(place):
        raise ArgumentError.of(
            "width",
            found="positions that JAX traces",
            expected="the width of basis sources to be given",
            remedy='width="100 um"',
        )
    values = np.asarray(place)
    squared = ((values[:, None] - values) ** 2).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    return float(np.sqrt(np.median(squared.min(axis=1))))


def _basis_sources(
    place: Array, points: int, widths: np.ndarray, near: float, number: int | None
) -> np.ndarray:
    """Return a grid (source, dims) of centres of basis sources, as many as asked for or as dense as needed."""
    values = np.asarray(place)
    contacts, dims = values.shape
    margin, step = MARGIN * widths.max(), min(widths.min(), near)
    lower, upper = values.min(axis=0) - margin, values.max(axis=0) + margin
    if number is not None:
        step = _step_of(upper - lower, _checked_number(number, contacts))
    shape = _grid_shape(upper - lower, step)
    count = np.prod(shape, dtype=float)
    memory = count * (contacts + points) * BYTES / MOST_BYTES
    seconds = count * (contacts * widths.size + points) * SECONDS[dims] / MOST_SECONDS
    if (number is None and max(shape) > MOST_ALONG) or max(memory, seconds) > 1:
        most = min(1000.0 * dims, count / max(memory, seconds))
        fewer = max(contacts, int(most / 10 ** int(np.log10(most))) * 10 ** int(np.log10(most)))
        raise ArgumentError.of(
            "width" if number is None else "n_sources",
            found=f"{' x '.join(map(str, shape))} basis sources, {step:.3g} um apart, for {contacts} contacts: about "
            f"{memory * MOST_BYTES / 1e9:.2g} GB and {seconds * MOST_SECONDS:.2g} s",
            expected=f"at most {MOST_ALONG} along an axis, {MOST_BYTES / 1e9:g} GB and {MOST_SECONDS:g} s",
            remedy=f"n_sources={fewer}, a larger width, or fewer dims",
        )
    return on_arrays(kernels.source_grid, lower, upper, shape=shape)


def _checked_number(number: object, contacts: int) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < contacts:
        raise ArgumentError.of(
            "n_sources",
            found=repr(number),
            expected=f"a whole number of at least {contacts}, that of the contacts",
            remedy=f"n_sources={max(1000, contacts)}",
        )
    return int(number)


def _grid_shape(extent: np.ndarray, step: float) -> tuple[int, ...]:
    """Return the number of basis sources along each axis, at most `step` apart."""
    return tuple(int(c) + 1 for c in np.ceil(extent / step - ROUNDING))


def _step_of(extent: np.ndarray, number: int) -> float:
    """Return the smallest distance between basis sources of which there are at most `number`, by bisection."""
    low, high = 0.0, float(extent.max())
    for _ in range(50):
        middle = (low + high) / 2
        fits = (
            np.prod(extent / middle + 1) <= 1e9 and np.prod(_grid_shape(extent, middle)) <= number
        )
        low, high = (low, middle) if fits else (middle, high)
    return high


def _several(given: Scalars | None, default: ArrayLike, unit: str, name: str) -> np.ndarray:
    """Return one or several numbers in `unit` as an array, checked to be positive."""
    values = np.atleast_1d(
        np.asarray(values_in(default if given is None else given, unit, name), float)
    )
    if values.ndim != 1 or not values.size or not ((values > 0) & np.isfinite(values)).all():
        raise ArgumentError.of(
            name,
            found=f"{values.tolist()} {unit}",
            expected="one or several positive numbers",
            remedy=f'{name}="{example(unit)}"',
        )
    return values
