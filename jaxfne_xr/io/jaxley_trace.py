"""Make Signals of a bare voltage array in one call, without Jaxley."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public, public_class
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    JfneError,
    Problem,
    UnitError,
    raise_problems,
)
from jaxfne_xr.core.time_axis import check_dt
from jaxfne_xr.core.types import Array, Time, TimeStep, UnitText, Voltage
from jaxfne_xr.core.units import factor, unit_text
from jaxfne_xr.core.values import array_in, scalar
from jaxfne_xr.signals.spikes import SPIKE_RULES, refractory_ms, threshold_mV, to_signals
from jaxfne_xr.signals.traces import LAYOUTS, traces


@public_class
@dataclass(frozen=True)
class JaxleyTraceSpec:
    """Describe how to read a bare voltage array.

    There is no field for the scope: it follows from the data and cannot be declared.

    Parameters
    ----------
    trace_name : str
        Name of the trace in the provenance.
    backend : str
        The simulator that made it.
    layout : {"time_by_unit", "unit_by_time", "recording_by_time"}
        Order of its axes.
    dt_ms : float, str or pint.Quantity
        Sampling interval, ms.
    spike_threshold : float, str, pint.Quantity or None
        mV; None to detect no spikes.
    spike_rule : {"crossing", "level"}
        See `to_signals`.
    units : str
        Unit of the array.
    metadata : mapping
        JSON-safe values to keep in the provenance.
    refractory : float, str, pint.Quantity or None
        Dead time after a spike, ms; None for the default of `to_signals`, 0 for none.

    Raises
    ------
    ArgumentError, TimeAxisError, UnitError
        All problems are listed at once.

    Examples
    --------
    >>> JaxleyTraceSpec(dt_ms=0.1).layout
    'time_by_unit'
    """

    trace_name: str = "jaxley_trace"
    backend: str = "jaxley"
    layout: str = "time_by_unit"
    dt_ms: TimeStep = 0.025
    spike_threshold: Voltage | None = 0.0
    spike_rule: str = "crossing"
    units: UnitText = "mV"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    refractory: Time | None = None

    def __post_init__(self) -> None:
        problems = [
            Problem(
                where=name,
                found=repr(given),
                expected=f"one of {list(known)}",
                remedy=f'{name}="{next(iter(known))}"',
                error=ArgumentError,
            )
            for name, given, known in (
                ("layout", self.layout, LAYOUTS),
                ("spike_rule", self.spike_rule, SPIKE_RULES),
            )
            if given not in known
        ]
        try:
            object.__setattr__(self, "units", unit_text(self.units))
            factor(self.units, "mV")
        except UnitError as error:
            problems += error.problems
        try:
            json.dumps(dict(self.metadata), allow_nan=False)
        except (TypeError, ValueError) as error:
            problems.append(
                Problem(
                    where="metadata",
                    found=f"values that JSON cannot hold ({error})",
                    expected="strings, finite numbers, bools, None, lists and dicts of them",
                    remedy='metadata={"seed": 1, "note": "text"}',
                    error=ArgumentError,
                )
            )
        try:
            check_dt(scalar(self.dt_ms, "ms", "dt_ms"))
        except JfneError as error:
            problems += error.problems
        try:
            if self.spike_threshold is not None:
                threshold_mV(self.spike_threshold)
        except JfneError as error:
            problems += error.problems
        try:
            refractory_ms(self.refractory, self.spike_rule)
        except JfneError as error:
            problems += error.problems
        raise_problems(problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain, JSON-safe values; times in ms, the threshold in mV."""
        threshold = self.spike_threshold
        return {
            **asdict(self),
            "dt_ms": scalar(self.dt_ms, "ms", "dt_ms"),
            "spike_threshold": None if threshold is None else threshold_mV(threshold),
            "metadata": dict(self.metadata),
            "refractory": refractory_ms(self.refractory, self.spike_rule),
        }


@public
def jaxley_trace_to_signals(
    trace: Array,
    *,
    spec: JaxleyTraceSpec | None = None,
    dt_ms: TimeStep | None = None,
    layout: str | None = None,
    source: Array | None = None,
    quantify: bool | None = None,
) -> xr.Dataset:
    """Make Signals of a bare voltage array, as Jaxley or another simulator returns it.

    Parameters
    ----------
    trace : array (two axes, as `layout` names them), or with a third, ``feature``
        Membrane voltage, in the unit of `spec`; NumPy, JAX or dask.
    spec : JaxleyTraceSpec, optional
        How to read it; by default time by unit, 0.025 ms, threshold 0 mV.
    dt_ms : float, str or pint.Quantity, optional
        Sampling interval, ms; overrides that of `spec`.
    layout : str, optional
        Order of the axes; overrides that of `spec`.
    source : array (dims of the trace), optional
        The current that is the source, nA. By default the voltage is used as a proxy of it.
    quantify : bool, optional
        As in `traces`: False keeps JAX arrays.

    Returns
    -------
    xr.Dataset
        As from `to_signals`, with dims in the order of the array.

    Raises
    ------
    JfneError
        As `traces` and `to_signals` do.

    Examples
    --------
    >>> import numpy as np
    >>> spec = JaxleyTraceSpec(dt_ms=0.1)
    >>> signals = jaxley_trace_to_signals(np.full((1000, 16), -65.0), spec=spec)
    >>> signals.V_m.shape, signals.attrs["model_status"]
    ((1000, 16), 'computational_scaffold')
    """
    spec = spec or JaxleyTraceSpec()
    layout = layout or spec.layout
    trace = array_in(trace, spec.units, "trace")
    if layout in LAYOUTS and np.ndim(trace) not in (2, 3):
        raise DimensionError.of(
            "trace",
            found=f"an array of {np.ndim(trace)} axes",
            expected=f"two, {' and '.join(LAYOUTS[layout])}, or a third one for features",
            remedy=_remedy(np.ndim(trace)),
        )
    features = layout in LAYOUTS and np.ndim(trace) == 3
    ds = traces(
        trace,
        (*LAYOUTS[layout], "feature") if features else None,
        layout=None if features else layout,
        dt_ms=spec.dt_ms if dt_ms is None else dt_ms,
        units=spec.units,
        quantify=quantify,
    )
    about = {
        key: value
        for key, value in spec.to_dict().items()
        if key in ("trace_name", "backend", "metadata")
    }
    ds = provenance.extend(ds, "jaxley_trace_to_signals", about, origin=spec.backend)
    return to_signals(
        ds,
        spike_threshold=spec.spike_threshold,
        spike_rule=spec.spike_rule,
        source=source,
        refractory=spec.refractory,
    )


def _remedy(ndim: int) -> str:
    """Return what to type for an array of one axis, or of more than three."""
    if not ndim:
        return "pass a trace, of sites by time"
    dims = [*(f"trial_{k}" for k in range(1, ndim - 1)), "unit", "time"][-ndim:]
    return f"jfx.traces(trace, {dims}, dt_ms=0.025).jfne.to_signals(), with the name of each axis"
