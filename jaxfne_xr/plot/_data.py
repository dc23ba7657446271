"""Data of a picture: the variable to draw, its values and positions, and the envelope of long ones."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_dask, is_traced, take
from jaxfne_xr.core.errors import (
    DataError,
    DimensionError,
    NonFiniteError,
    Problem,
    VariableError,
    raise_problems,
    renaming,
)
from jaxfne_xr.core.places import place_disagreement
from jaxfne_xr.core.schema import SITES
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import bare, magnitude
from jaxfne_xr.geometry.positions import positions_of


@dataclass(frozen=True)
class Drawn:
    """A variable along one dim: every sample, or the minimum and maximum of every `samples` samples.

    Attributes
    ----------
    x : array (point)
        The coordinate at the middle of each point.
    low, high : array (row, point)
        Minimum and maximum; equal if every sample is drawn. NaN where a value is not finite.
    samples : int
        Number of samples per point.
    """

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    samples: int

    @property
    def note(self) -> str:
        """The note for the picture, empty if every sample is drawn."""
        return f"min-max envelope of {self.samples} samples per point" if self.samples > 1 else ""


def chosen(ds: xr.Dataset, variable: str | None, preferred: Sequence[str], along: Hashable) -> str:
    """Choose the variable to draw: the named one, the first known one, or the only one along a dim.

    Raises
    ------
    VariableError, DimensionError, DataError
        If there is none or more than one, if it does not lie along the dim, is empty, or is traced.
    """
    here = [str(n) for n, x in ds.data_vars.items() if along in x.dims]
    found = variable if variable is not None else next((n for n in preferred if n in here), None)
    if found is None and len(here) == 1:
        found = here[0]
    if found not in here:
        what = "none named" if variable is None else repr(variable)
        raise VariableError.of(
            "variable",
            found=f"{what}, and along {along!r} there are {here}",
            expected=f"a variable along {along!r}",
            remedy=_naming(ds, here, along),
        )
    raise_problems(emptiness(ds, found))
    return found


def _naming(ds: xr.Dataset, here: list[str], along: Hashable) -> str:
    """Return the remedy for a missing variable along a dim: another variable, or how to rename the dim."""
    if here:
        return f"variable={here[0]!r}"
    return renaming(ds.dims, str(along))


def emptiness(ds: xr.Dataset, name: str) -> list[Problem]:
    """Return the problems of a variable that cannot be drawn: empty, traced, or not numeric."""
    variable = ds.variables[name]
    empty = [str(d) for d, n in variable.sizes.items() if n == 0]
    problems = []
    if empty:
        problems.append(
            Problem(
                where=name,
                found=f"an empty selection: {', '.join(f'{d}: 0' for d in empty)}",
                expected="something to draw",
                remedy="check the selection that was made before",
                error=DimensionError,
            )
        )
    if is_traced(bare(variable._data)):
        problems.append(
            Problem(
                where=name,
                found="data that JAX traces",
                expected="concrete values",
                remedy="draw outside jit and grad",
                error=DataError,
            )
        )
    kind = variable.dtype.kind
    if kind not in "fiub":
        problems.append(
            Problem(
                where=name,
                found=f"values of type {variable.dtype}",
                expected="real numbers",
                remedy="abs(ds), or ds.real" if kind == "c" else "another variable",
                error=DataError,
            )
        )
    return problems


def places(ds: xr.Dataset, dim: Hashable, axes: Sequence[str]) -> np.ndarray:
    """Return the positions along a dim, (dim, axes), um.

    Raises
    ------
    DimensionError, UnitError, NonFiniteError, ArgumentError
        If there are no such positions, or one is not finite; if middles and ends of segments do not agree.
    """
    where = np.asarray(positions_of(ds, dim, axes), float)
    named = zip(axes, where.T, strict=True)
    raise_problems(
        p for axis, x in named for p in _gaps(dim, axis, x, f"a position for every {dim}")
    )
    if dim in SITES:
        raise_problems(place_disagreement(ds, str(dim)))
    return where


def values(variable: xr.Variable) -> np.ndarray:
    """Return the bare values of a variable in memory, as floats; NaN where they are not finite."""
    array = np.asarray(magnitude(variable.data))
    array = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    return np.where(np.isfinite(array), array, np.nan)


def coordinate(ds: xr.Dataset, dim: Hashable) -> xr.Variable:
    """Return the coordinate of a dim, or the index if there is none.

    Raises
    ------
    NonFiniteError
        If a value is not finite.
    """
    if dim in ds.coords:
        variable = ds.variables[dim]
        kind = np.dtype(variable.dtype).kind
        if kind == "m":
            ms = variable.values / np.timedelta64(1, "ns") * 1e-6
            return xr.Variable((dim,), ms, {"units": "ms", "long_name": str(dim)})
        if kind in "fiu":
            x = np.asarray(magnitude(variable.data))
            raise_problems(_gaps(dim, dim, x, "a number for every step"))
            return variable
    return xr.Variable((dim,), np.arange(ds.sizes[dim]), {"long_name": f"sample along {dim}"})


def _gaps(dim: Hashable, name: Hashable, x: np.ndarray, expected: str) -> list[Problem]:
    """Return the problem of a coordinate with values that are not finite."""
    n = int((~np.isfinite(x)).sum())
    if not n:
        return []
    found = f"{n} of {len(x)} not finite"
    remedy = f"ds.isel({dim}=np.isfinite(ds.{name}.values))"
    return [Problem(str(name), found, expected, remedy, NonFiniteError)]


def drawn(ds: xr.Dataset, name: str, along: Hashable, columns: int) -> tuple[Drawn, list[Hashable]]:
    """Reduce a variable to about `columns` points, and return it with the dims of its rows, in their order."""
    variable = ds.variables[name]
    rest = [d for d in variable.dims if d != along]
    x = np.asarray(magnitude(coordinate(ds, along).data), float)
    low, high, middle, samples = envelope(
        magnitude(variable.data), variable.get_axis_num(along), columns, x
    )
    return Drawn(middle, low.reshape(-1, len(middle)), high.reshape(-1, len(middle)), samples), rest


def envelope(
    data: Array, axis: int, columns: int, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Compute minimum and maximum of stretches of samples, about one stretch for each column of pixels.

    Parameters
    ----------
    data : array (any dims), NumPy, JAX or dask
        Dask arrays are computed chunk by chunk; each chunk starts a new stretch.
    axis : int
        The axis of the samples.
    columns : int
        All samples are kept if there are fewer than two per column.
    x : array (sample)
        The coordinate.

    Returns
    -------
    low, high : float array (rest dims, point)
        NaN where a value is infinite, or all are NaN.
    middle : array (point)
        Half-way between the first and the last sample of each stretch.
    samples : int
        Number of samples per point (the last point of an array or chunk may have fewer).
    """
    n = data.shape[axis]
    step = -(-n // columns) if n >= 2 * columns else 1
    lengths: tuple[int, ...] = (n,)
    if is_dask(data):
        lengths = data.chunks[axis]
        points = tuple(-(-length // step) for length in lengths)
        chunks = ((2,), *data.chunks[:axis], points, *data.chunks[axis + 1 :])
        extremes = data.map_blocks(
            partial(_extremes, axis=axis, step=step),
            dtype=_float(data.dtype),
            chunks=chunks,
            new_axis=0,
            meta=np.empty((0,) * (data.ndim + 1), _float(data.dtype)),
        ).compute()
    else:
        extremes = _extremes(np.asarray(data), axis=axis, step=step)
    low, high = np.moveaxis(np.where(np.isfinite(extremes), extremes, np.nan), axis + 1, -1)
    starts, stops, begin = [], [], 0
    for length in lengths:
        first = begin + np.arange(0, length, step)
        starts.append(first)
        stops.append(np.minimum(first + step, begin + length))
        begin += length
    middle = (x[np.concatenate(starts)] + x[np.concatenate(stops) - 1]) / 2
    return low, high, middle, step


def _extremes(block: np.ndarray, axis: int, step: int) -> np.ndarray:
    """Return minimum and maximum of every `step` samples of a block, (2, *dims)."""
    if block.dtype.kind == "b" or _float(block.dtype).itemsize > block.dtype.itemsize > 1:
        # bool and two-byte types are converted first, which is cheap
        block = block.astype(_float(block.dtype))
    if step == 1:
        return np.stack([block, block]).astype(_float(block.dtype))
    whole = block.shape[axis] // step * step
    shape = block.shape
    body = block[take(axis, slice(0, whole))].reshape(
        *shape[:axis], whole // step, step, *shape[axis + 1 :]
    )
    rest = block[take(axis, slice(whole, None))]
    made = []
    # np.min is much faster than np.fmin.reduce, which is needed only if there are NaN
    for reduce, without_nan in ((np.min, np.fmin), (np.max, np.fmax)):
        part = reduce(body, axis=axis + 1)
        if part.dtype.kind == "f" and np.isnan(part).any():
            part = without_nan.reduce(body, axis=axis + 1)
        if rest.shape[axis]:
            last = without_nan.reduce(rest, axis=axis, keepdims=True)
            part = np.concatenate([part, last], axis=axis)
        made.append(part)
    return np.stack(made).astype(_float(block.dtype), copy=False)


def _float(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float64 if np.dtype(dtype).itemsize > 4 else np.float32)
