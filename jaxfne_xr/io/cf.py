"""What the CF conventions ask of a file: a title, a history, and a name in words for every variable.

It is added when a file is written and taken off when it is opened, so that a Dataset comes back as it was saved.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.errors import JfneError
from jaxfne_xr.core.schema import LONG_NAMES
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.validation import stage_of

CONVENTIONS = "CF-1.8"
#: The largest number of steps in the history; the record has all.
STEPS = 50

#: Names in words of coordinates, beside those of variables in `LONG_NAMES`. Any other name is its own.
COORDINATES = {
    "unit": "neuron",
    "recording": "recorded site",
    "contact": "electrode contact",
    "channel": "sensor",
    "xyz": "component of a vector",
    "edge": "connection of two compartments",
    "edge_from": "first compartment of the connection",
    "edge_to": "second compartment of the connection",
    "edge_unit": "neuron of the connection",
    "diameter": "diameter of the segment",
    "membrane_area": "membrane area of the segment",
    "population": "population of neurons",
    "layer": "cortical layer",
    **{axis: f"position along {axis}" for axis in "xyz"},
    **{
        f"{axis}_{end}": f"{end} of the segment along {axis}"
        for axis in "xyz"
        for end in ("start", "end")
    },
}


def about_file(ds: xr.Dataset, groups: Collection[str] = ()) -> dict[str, str]:
    """Return global attrs for a file: its title, its history and the conventions that it follows.

    There is no date among them: the same data make the same file.
    """
    stage = stage_of(ds) if provenance.KEY in ds.attrs else "data"
    parts = [*map(str, ds.data_vars), *(group.strip("/") for group in groups)]
    try:
        steps = [str(step["function"]) for step in provenance.steps_of(ds)]
    except (JfneError, KeyError, TypeError):
        steps = []  # `validate` reports a record that cannot be read
    shown = steps if len(steps) <= STEPS else ["...", *steps[-STEPS:]]
    version = provenance.versions()["jaxfne-xr"]
    return {
        "Conventions": CONVENTIONS,
        "title": f"{stage}: {', '.join(parts)}" if parts else stage,
        "history": f"jaxfne-xr {version}: {' -> '.join([*shown, 'to_netcdf'])}",
    }


def about_variable(name: Hashable, attrs: Mapping[Any, Any]) -> dict[str, str]:
    """Return attrs that a variable or coordinate lacks: a name in words, a standard one if CF has it."""
    added = {"standard_name": "time"} if name == TIME and "standard_name" not in attrs else {}
    if "long_name" in attrs or "standard_name" in attrs:
        return added
    words = LONG_NAMES.get(str(name)) or COORDINATES.get(str(name)) or str(name).replace("_", " ")
    return {**added, "long_name": words}


def is_small(data: Array) -> bool:
    """Whether 64-bit integers in memory fit in 32 bits, which every program reads without a warning."""
    if not isinstance(data, np.ndarray) or data.dtype not in (np.int64, np.uint64):
        return False
    if not data.size:
        return True
    limits = np.iinfo(np.int32)
    return bool(limits.min <= data.min() and data.max() <= limits.max)
