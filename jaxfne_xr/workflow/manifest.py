"""The manifest: a run and its results as strict JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arrays import is_dask
from jaxfne_xr.core.errors import NonFiniteError, Problem, SchemaError, raise_problems
from jaxfne_xr.core.units import bare, is_quantity, magnitude, quantity, units_of
from jaxfne_xr.core.validation import stage_of, validate

from .configuration import Configuration


def manifest(
    configuration: Configuration, signals: xr.Dataset, readouts: xr.Dataset
) -> dict[str, Any]:
    """Describe a run and its results as strict JSON values: numbers are finite, arrays are summarised.

    Parameters
    ----------
    configuration : Configuration
        The configuration of the model that made them.
    signals, readouts : xr.Dataset
        From ``model.simulate_external`` and ``model.compute_readout``.

    Returns
    -------
    dict
        ``json.dumps(manifest(...), allow_nan=False)`` works. A scalar readout has its ``value``; an array has its dims,
        shape and dtype, and its minimum, mean and maximum.

    Raises
    ------
    NonFiniteError
        If a readout is not finite; the error names it.
    SchemaError
        If Signals or readouts are something else, such as swapped.
    """
    raise_problems(mistaken(signals, readouts))
    readouts = in_memory(readouts)
    raise_problems(not_finite(readouts))
    return {
        "schema": 1,
        "configuration": configuration.to_dict(),
        "configuration_hash": configuration.hash(),
        "scope": provenance.scope_of(readouts).attrs(),
        "provenance": provenance.read(readouts.attrs),
        "versions": provenance.versions(),
        "validation": str(validate(signals)),
        "signals": {
            str(n): _described(v.variable, values=False) for n, v in signals.data_vars.items()
        },
        "readouts": {
            str(n): _described(v.variable, values=True) for n, v in readouts.data_vars.items()
        },
    }


def mistaken(signals: Any, readouts: Any) -> list[Problem]:
    """Return the problems of arguments that are not Datasets, or Datasets of another stage, such as swapped ones."""
    given = (
        ("signals", signals, "Signals", "model.simulate_external(source)", "readout"),
        ("readouts", readouts, "readouts", "model.compute_readout(signals)", "signals"),
    )
    problems = []
    for name, ds, expected, remedy, other in given:
        found = None if isinstance(ds, xr.Dataset) else f"a {type(ds).__name__}"
        if found is None and stage_of(ds) == other:
            found = f"a Dataset of the stage {other!r}"
        if found:
            problems.append(Problem(name, found, expected, f"{name}={remedy}", SchemaError))
    return problems


def in_memory(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with its dask arrays computed together, so that what they share is computed once.

    xarray itself cannot compute dask arrays with and without a quantity together.
    """
    lazy = {n: v.variable for n, v in ds.data_vars.items() if is_dask(bare(v.variable._data))}
    if not lazy:
        return ds
    import dask

    made = {}
    for name, array in zip(
        lazy, dask.compute(*(bare(v._data) for v in lazy.values())), strict=True
    ):
        variable = lazy[name]
        unit = units_of(variable) if is_quantity(variable._data) else None
        values = array if unit is None else quantity(array, unit)
        made[name] = xr.Variable(variable.dims, values, variable.attrs)
    return ds.assign(made)


def not_finite(readouts: xr.Dataset) -> list[Problem]:
    """Return the problem of every readout with NaN or Inf; dask arrays are not checked here."""
    problems = []
    for name, variable in readouts.data_vars.items():
        data = magnitude(variable.variable.data)
        if is_dask(data) or data.dtype.kind != "f":
            continue
        bad = int(np.count_nonzero(~np.isfinite(np.asarray(data))))
        if bad:
            problems.append(
                Problem(
                    where=str(name),
                    found=f"{bad} of {data.size} values not finite",
                    expected="finite readouts, which JSON can hold",
                    remedy=f'readouts.drop_vars("{name}"), or check that the source is finite',
                    error=NonFiniteError,
                )
            )
    return problems


def _described(variable: xr.Variable, *, values: bool) -> dict[str, Any]:
    data = magnitude(variable.data)
    about: dict[str, Any] = {
        "dims": [str(d) for d in variable.dims],
        "shape": list(data.shape),
        "dtype": str(data.dtype),
        "units": units_of(variable),
    }
    if values and data.size:
        array = np.asarray(data)
        if array.ndim == 0:
            about["value"] = array.item()
        else:
            extremes = {"least": array.min(), "mean": array.mean(), "largest": array.max()}
            about |= {key: value.item() for key, value in extremes.items()}
    return about
