"""Units that a Dataset had and has lost: xarray's `interp` and `to_netcdf` and NumPy take them off quantities.

No attribute can hold the unit next to the quantity: xarray keeps attrs through ``v**2``, ``v / v``, ``map`` and
``.pint.to("V")``, and would then say mV of what is something else (docs/units.md lists what was measured). So what the
Dataset was made with is looked up in its record. A voltage is given its unit again if its values look like mV, with a
warning; values that would have to be read from a file or computed are not looked at. Anything else stays without a
unit, and the error of whoever needs it says what happened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .arrays import is_array, is_dask, is_traced
from .errors import JfneError, warn
from .numeric import gathered
from .provenance import KEY, QUANTITIES, steps_of
from .schema import FACTORS, UNITS, VOLTAGES
from .time_axis import TIME
from .types import Array
from .units import product, same_dimension, units_of

#: Where the median of membrane voltages in mV lies, and how large they are at most (a heuristic): in V they are less,
#: squares, variances and sizes are positive, differences and derivatives lie about 0.
MEDIAN, MOST = (-150.0, -15.0), 500.0
#: How many values are looked at.
SAMPLES = 100_000
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
        of = known.get(str(step["parameters"].get("of")))
        if step["function"] == "psd" and of is not None:
            known["psd"] = product(of, of, "1/Hz")
    return known


def lost(ds: xr.Dataset) -> dict[str, str]:
    """Return the unit in which each variable that has none was made."""
    return {
        name: unit
        for name, unit in made_in(ds).items()
        if name in ds.variables and _is_bare(ds.variables[name])
    }


def nameless(ds: xr.Dataset) -> list[str]:
    """Return the variables without a unit of which it is not known what they were made in."""
    known = made_in(ds)
    bare = {str(n): v.variable for n, v in ds.data_vars.items() if v.dtype.kind == "f"}
    return [name for name, variable in bare.items() if _is_bare(variable) and name not in known]


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
    """Whether values in memory are like voltages of neurons, and on ``time``; judged by some that are spread evenly."""
    if TIME not in variable.dims or not _in_memory(variable):
        return False
    values = np.asarray(_spread(gathered(variable.data)))
    values = values[np.isfinite(values)]
    if not values.size or np.abs(values).max() > MOST:
        return False
    return bool(MEDIAN[0] <= np.median(values) <= MEDIAN[1])


def _in_memory(variable: xr.Variable) -> bool:
    """Whether the values of a variable are known without reading a file or computing."""
    data = variable._data
    return is_array(data) and not is_dask(data) and not is_traced(data)


def _spread(data: Array) -> Array:
    """Return about `SAMPLES` values at most, at a constant distance along the longest axes."""
    for axis in sorted(range(data.ndim), key=lambda axis: -data.shape[axis]):
        step = math.ceil(data.size / SAMPLES)
        if step > 1:
            data = data[(slice(None),) * axis + (slice(None, None, step),)]
    return data
