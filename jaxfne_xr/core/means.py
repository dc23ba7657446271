"""Means over time and sites within a window."""

from __future__ import annotations

from collections.abc import Hashable

import xarray as xr

from .dispatch import mean_over
from .results import finish
from .schema import SENSORS, SITES
from .time_axis import TIME, sampling, windowed
from .types import Window
from .unit_checks import unit_in
from .units import product


def mean_of(name: str, ds: xr.Dataset, variable: str, of: str, window: Window | None) -> xr.Dataset:
    """Average one variable over time and its sites, contacts or channels."""
    chosen = windowed(ds, window)
    data = chosen.variables[variable]
    units = unit_in(data, variable)
    if of == "square":
        units = product(units, units)
    window_ms = window_ms_of(chosen, sampling(ds, None)[1])
    return finish(ds, name, mean_over(data, averaged_dims(data), of), units, window_ms)


def averaged_dims(variable: xr.Variable) -> list[Hashable]:
    """Return the dims that a scalar readout averages over; others, such as trials, are kept."""
    return [d for d in variable.dims if d == TIME or d in SITES or d in SENSORS]


def window_ms_of(chosen: xr.Dataset, dt_ms: float | None) -> dict[str, float]:
    """Return the start and the stop of a window, ms, for the record; each sample stands for one interval."""
    time, _ = sampling(chosen, None)
    return {"start_ms": float(time[0]), "stop_ms": float(time[-1]) + (dt_ms or 0.0)}
