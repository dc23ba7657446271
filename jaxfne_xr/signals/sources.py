"""Sources: the current that generates the field, or the voltage as a proxy for it."""

from __future__ import annotations

import jax
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.dispatch import whole
from jaxfne_xr.core.errors import ArgumentError
from jaxfne_xr.core.inputs import as_dataset, source_of, times_of
from jaxfne_xr.core.results import finish, is_quantified, with_unit
from jaxfne_xr.core.schema import LONG_NAMES
from jaxfne_xr.core.spikes import all_spikes_of
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, Scalar, Time
from jaxfne_xr.core.values import number, positive
from jaxfne_xr.kernels.signals import synapses as kernels

#: The synaptic kernels, which turn spikes into a current.
SYNAPSES = ("exponential", "alpha")


@public
def source(signals: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Extract the source of Signals: the current if there is one, else the voltage as a proxy for it.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        From `to_signals`.

    Returns
    -------
    xr.Dataset
        ``source`` (nA), or ``source_proxy``: the values of ``V_m`` in mV, but dimensionless, since they are not a
        current. Values are shared, and the scope is kept.

    Raises
    ------
    VariableError
        If there is neither a source nor a voltage.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> signals = jfx.traces(np.full((2, 5), -65.0), dims=("unit", "time"), dt_ms=0.1).jfne.to_signals()
    >>> source(signals).source_proxy.long_name
    'source (voltage proxy)'
    """
    signals = as_dataset(signals, "signals")
    name, variable = source_of(signals)
    # No unit is passed: the variable has its unit already, and its values stay shared.
    return finish(
        signals, name, variable, None, attrs=variable.attrs, function="source", stage="source"
    )


@public
def synaptic_source(
    signals: xr.Dataset | xr.DataArray,
    *,
    kernel: str = "exponential",
    tau: Time = 5.0,
    weight: Scalar = 1.0,
) -> xr.Dataset:
    """Add a source current to Signals: their spikes convolved with a synaptic kernel.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With ``spikes`` on ``time`` and any other dims.
    kernel : {"exponential", "alpha"}
        ``k(s) = exp(-s / tau)``, or ``k(s) = (s / tau) exp(1 - s / tau)``: the current after one spike, 1 at its
        peak.
    tau : float, str, pint.Quantity or JAX scalar
        Time constant, ms.
    weight : float, str, pint.Quantity or JAX scalar
        Peak current of one spike, nA, positive outward: negative for an excitatory synapse, which is a sink.

    Returns
    -------
    xr.Dataset
        `signals` with ``source(t) = weight sum_k spikes(t_k) k(t - t_k)``, nA, exact at any sampling interval.

    Raises
    ------
    ArgumentError, UnitError
        If `kernel` is not one of these, or `tau` is not a positive time.
    NonFiniteError
        If a sample was not observed (NaN): the current after it is not known.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.array([-65.0, 20.0, -65.0, -65.0])
    >>> signals = jfx.traces(v, ["time"], dt_ms=1.0).jfne.to_signals()
    >>> synaptic_source(signals, tau="2 ms").source.data.magnitude.round(3).tolist()
    [0.0, 1.0, 0.607, 0.368]
    """
    signals = as_dataset(signals, "signals")
    if kernel not in SYNAPSES:
        raise ArgumentError.of(
            "kernel",
            found=repr(kernel),
            expected=f"one of {list(SYNAPSES)}",
            remedy='kernel="exponential"',
        )
    tau_ms = positive(tau, "ms", "tau")
    # JAX scalars are not converted to float: losses can be differentiated with respect to them.
    weight_nA: Array = number(weight, "nA", "weight")
    spikes = all_spikes_of(signals)
    _, dt_ms = times_of(signals)
    current = whole(_current, spikes, TIME, dt_ms, tau_ms, weight_nA, new_dim=TIME, kernel=kernel)
    made = with_unit(
        current,
        "nA",
        quantify=is_quantified(signals, current.data),
        attrs={"long_name": LONG_NAMES["source"]},
    )
    return provenance.extend(
        signals.assign(source=made),
        "synaptic_source",
        {
            "kernel": kernel,
            "tau_ms": provenance.recorded(tau_ms),
            "weight_nA": provenance.recorded(weight_nA),
            "source": "current",
        },
        stage="signals",
    )


def _current(
    spikes: jax.Array, dt: float, tau: jax.Array, weight: jax.Array, *, axis: int, kernel: str
) -> jax.Array:
    """Return the current without the kernel's final state, which only processing in blocks needs."""
    return kernels.synaptic_current(spikes, dt, tau, weight, axis=axis, kernel=kernel)[0]
