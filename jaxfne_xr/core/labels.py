"""Labels of two Datasets along one dim: whether they are the same, up to rounding and in units that may differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import xarray as xr

from .errors import DimensionError, JfneError, Problem, UnitError
from .time_axis import TIME, in_ms, same_times, sampling, time_remedy
from .units import convert, magnitude, units_of


def misaligned(
    ds: xr.Dataset,
    array: xr.DataArray,
    name: str,
    of: str = "the voltage",
    called: str = "ds",
) -> list[Problem]:
    """Return a problem for every index that differs between `ds` and a DataArray passed as `name`.

    `of` says what `ds` holds, and `called` is the name of the argument that it is.
    """
    return [
        Problem(
            where=name,
            found=f'labels along "{dim}" that differ from those of {of}',
            expected="the same labels in the same order",
            remedy=(remedy_of_times(ds, array, called, name) if dim == TIME else "")
            or f'{name}.sel({dim}={called}["{dim}"]) if the order differs, '
            f'or {name}.drop_vars("{dim}") to match by position',
            error=DimensionError,
        )
        for dim in array.dims
        if dim in array.coords
        and dim in ds.coords
        and ds.sizes[dim] == array.sizes[dim]
        and not same_labels(dim, ds[dim].variable, array[dim].variable)
    ]


def same_labels(dim: Hashable, labels: xr.Variable, others: xr.Variable) -> bool:
    """Whether two coordinates along `dim` have the same labels, numbers up to rounding, in units that may differ.

    Times are compared by `same_times`, the one rule for all data that are joined or compared.
    """
    if labels.shape != others.shape:
        return False
    a, b = np.asarray(magnitude(labels.data)), np.asarray(magnitude(others.data))
    if dim == TIME and {a.dtype.kind, b.dtype.kind} <= set("fium"):
        try:
            return same_times(
                *(in_ms(v, u) for v, u in ((a, units_of(labels)), (b, units_of(others))))
            )
        except UnitError:
            return False
    units = units_of(labels), units_of(others)
    if None not in units and units[0] != units[1]:
        b = convert(b, str(units[1]), str(units[0]))
    if "f" in {a.dtype.kind, b.dtype.kind} <= set("fiu"):
        # numbers computed in different ways differ by rounding
        return np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
    return bool(np.array_equal(a, b))


def remedy_of_times(
    ds: xr.Dataset, other: xr.Dataset | xr.DataArray, one: str, another: str
) -> str:
    """Return what to type to give two Datasets the same times; empty if either has none, or they are the same."""
    try:
        t, u = (sampling(x.coords.to_dataset(), None)[0] for x in (ds, other))
    except JfneError:
        return ""
    return "" if same_times(t, u) else time_remedy(t, u, one, another)


def with_labels_of(ds: xr.Dataset, first: xr.Dataset, dims: Iterable[Hashable]) -> xr.Dataset:
    """Return a Dataset with the labels of another along some dims, where they are the same up to rounding."""
    taken = {}
    for dim in dims:
        if dim not in ds.coords or dim not in first.coords or ds[dim].dims != (dim,):
            continue
        mine, theirs = ds.variables[dim], first.variables[dim]
        if mine is not theirs and not mine.equals(theirs) and same_labels(dim, theirs, mine):
            taken[dim] = first.coords[dim].variable
    return ds.assign_coords(taken) if taken else ds
