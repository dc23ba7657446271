"""The data of a Dataset as they are kept: quantities of the application's registry, in types to compute with."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from .arrays import is_array, is_dask, is_jax
from .errors import raise_problems
from .numeric import (
    PLAIN,
    gathered,
    has_unknown_size,
    is_native,
    masked_problem,
    native,
    unknown_size,
)
from .schema import STRUCTURE
from .time_axis import TIME
from .units import adopted, bare, is_ours, is_pint, is_quantity, unit_of


def as_stored(ds: xr.Dataset, *, code: str | None = None, compute: bool = True) -> xr.Dataset:
    """Return a Dataset with all data as this package keeps them; the same object if they are.

    Quantities are of the application's registry, and numbers of a type that can be computed with and stored. What
    describes sites, contacts and cells rather than their activity is computed if it is of dask: ``.chunk()`` and
    ``chunks=`` make everything lazy, and positions, labels and conductances are needed at once.

    Parameters
    ----------
    ds : xr.Dataset
        Data of any kind.
    code : str, optional
        What the data of the only variable are called, for the remedy; by default those of a Dataset ``ds``.
    compute : bool
        Whether to compute what describes sites, contacts and cells.

    Raises
    ------
    DimensionError
        If dask does not know the size of a variable.
    DataError
        If a variable is masked.
    """
    # what most variables are, told by their types alone, since every public function asks
    others = {n: v for n, v in ds._variables.items() if not _is_as_stored(v._data)}
    made = {
        name: _as_stored(ds, name, variable, code, compute) for name, variable in others.items()
    }
    changed = {name: variable for name, variable in made.items() if variable is not others[name]}
    if not changed:
        return ds
    coords = {name: v for name, v in changed.items() if name in ds.coords}
    return ds.assign_coords(coords).assign({n: v for n, v in changed.items() if n not in coords})


def _is_as_stored(data: Any) -> bool:
    """Whether data are surely kept as they are: bare numbers and texts of NumPy, and numbers in an index or a file."""
    kind = type(data)
    if kind is np.ndarray:
        return data.dtype in PLAIN or (data.dtype.kind in "OSU" and data.dtype.isnative)
    return kind.__module__ == "xarray.core.indexing" and data.dtype in PLAIN


def _as_stored(
    ds: xr.Dataset, name: Hashable, variable: xr.Variable, code: str | None, compute: bool
) -> xr.Variable:
    """Return one variable as it is kept; the same object if it is."""
    variable = _in_our_registry(ds, name, variable)
    stored = variable._data
    data = bare(stored)
    called = code or f'ds["{name}"].data'
    of = called if data is stored else f"{called}.magnitude"
    if is_dask(data) and has_unknown_size(data):
        again = "" if code else "; ds = ds.assign()"
        raise unknown_size(str(name), data.shape, f"{of}.compute_chunk_sizes(){again}")
    if not is_array(data):  # an index, or data of a file that are not read yet
        if is_native(data.dtype):
            return variable
        data = variable.data
    problem = masked_problem(data, str(name), of)
    if problem is not None:
        plain = problem.remedy + ("" if data is stored else f" * {called}.units")
        raise_problems([replace(problem, remedy=plain if code else f"{called} = {plain}")])
    made = gathered(native(data, str(name)))
    if compute and is_dask(made) and _describes(ds, name):
        made = made.compute()
    if made is data:
        return variable
    made = type(stored)(made, stored.units) if is_quantity(stored) else made
    return variable.copy(deep=False, data=made)


def _describes(ds: xr.Dataset, name: Hashable) -> bool:
    """Whether a variable is a label, a position or a part of the structure, rather than activity over time."""
    dims = ds.variables[name].dims
    return dims == STRUCTURE or (name in ds.coords and TIME not in dims)


def _in_our_registry(ds: xr.Dataset, name: Hashable, variable: xr.Variable) -> xr.Variable:
    """Return a variable that, if it is a quantity, is one of the application's registry."""
    data = variable._data
    if not is_quantity(data) or is_ours(data) or name in ds.xindexes:
        return variable
    numbers, unit = bare(data), unit_of(data)
    if is_jax(numbers) or (name in ds.coords and not is_pint(data)):
        return xr.Variable(variable.dims, numbers, {**variable.attrs, "units": unit})
    return xr.Variable(variable.dims, adopted(data), variable.attrs)
