"""Units that a Dataset had and has lost: xarray's `interp` and `to_netcdf` and NumPy take them off quantities.

No attribute can hold the unit next to the quantity: xarray keeps attrs through ``v**2``, ``v / v``, ``map`` and
``.pint.to("V")``, and would then say mV of what is something else (docs/units.md lists what was measured). So what the
Dataset was made with is looked up in its record. A voltage is given its unit again if its values look like mV, with a
warning. Anything else stays without a unit, and the error of whoever needs it says what happened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .arrays import is_dask, is_traced
from .errors import JfneError, warn
from .provenance import KEY, QUANTITIES, steps_of
from .schema import FACTORS, UNITS, VOLTAGES
from .time_axis import TIME
from .units import same_dimension, units_of

#: Where the median of membrane voltages in mV lies, and how large they are at most (a heuristic): voltages in V are
#: smaller; squares, variances and sizes are positive; differences and derivatives lie about 0.
MEDIAN, MOST = (-150.0, -15.0), 500.0
#: What takes units off.
CULPRITS = "interp, NumPy functions and plain to_netcdf or to_zarr take the unit off a quantity"


def noted(attrs: Mapping[Any, Any], units: Mapping[str, str]) -> dict[Any, Any]:
    """Return the attrs of a Dataset with the units of what became quantities, unless its record says them."""
    if not units or KEY in attrs:
        return dict(attrs)
    return {**attrs, QUANTITIES: json.dumps({**_noted(attrs), **units}, sort_keys=True)}


def _noted(attrs: Mapping[Any, Any]) -> dict[str, str]:
    try:
        held = json.loads(attrs.get(QUANTITIES, "{}"))
    except (TypeError, ValueError):
        return {}
    return {str(k): str(v) for k, v in held.items()} if isinstance(held, dict) else {}


def made_in(ds: xr.Dataset) -> dict[str, str]:
    """Return the unit in which each variable was made, as far as the Dataset knows; none for data made by hand."""
    try:
        steps = steps_of(ds)
    except JfneError:
        steps = []
    if not steps:
        return _noted(ds.attrs)
    known = {**UNITS, **FACTORS}
    for step in steps:
        name, unit = (step["parameters"].get(key) for key in ("name", "units"))
        if step["function"] == "traces" and isinstance(name, str) and isinstance(unit, str):
            known.setdefault(name, "mV" if same_dimension(unit, "mV") else unit)
    return known


def lost(ds: xr.Dataset) -> dict[str, str]:
    """Return the unit in which each variable that has none was made."""
    return {
        name: unit
        for name, unit in made_in(ds).items()
        if name in ds.variables and _is_bare(ds.variables[name])
    }


def _is_bare(variable: xr.Variable) -> bool:
    return units_of(variable) is None and np.dtype(variable.dtype).kind in "fiu"


def restored(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with the unit of its voltage if that was lost and is beyond doubt; the same one otherwise."""
    names = VOLTAGES if KEY in ds.attrs else _noted(ds.attrs) if QUANTITIES in ds.attrs else ()
    if not any(name in ds.variables and _is_bare(ds.variables[name]) for name in names):
        return ds
    found = [
        name
        for name, unit in lost(ds).items()
        if name in names and unit == "mV" and _looks_like_mV(ds.variables[name])
    ]
    for name in found:
        warn(
            f"{name} has no unit any more and is read in mV, in which it was made and in which its values look right: "
            f'{CULPRITS}. ds["{name}"].attrs["units"] = "mV" says that it is so; '
            'ds = ds.pint.dequantify(format="~P") before such a step keeps the unit'
        )
    return ds.assign({n: ds[n].assign_attrs(units="mV") for n in found}) if found else ds


def _looks_like_mV(variable: xr.Variable) -> bool:
    """Whether values are like voltages of neurons, as far as they are known, and on ``time``."""
    data = variable.data
    if TIME not in variable.dims or is_dask(data) or is_traced(data):
        return False
    values = np.asarray(data)
    values = values[np.isfinite(values)]
    if not values.size or np.abs(values).max() > MOST:
        return False
    return bool(MEDIAN[0] <= np.median(values) <= MEDIAN[1])
