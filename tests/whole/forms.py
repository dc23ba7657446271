"""Every labelled function on small inputs, and the same inputs in any other form: kind of array, type, layout, unit."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array
import jax.numpy as jnp
import numpy as np
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.arrays import precision_of
from jaxfne_xr.core.units import convert, magnitude, quantity, units_of

N, T, TRIALS = 4, 48, 2
rng = np.random.default_rng(11)


def whole(low: int, high: int, *shape: int) -> np.ndarray:
    """Return whole numbers as float64: exact in every type that holds them."""
    return rng.integers(low, high, shape).astype(float)


def labelled(name: str, values: np.ndarray, dims: Sequence[str], units: str) -> xr.Dataset:
    ds = jfx.traces(values, dims, dt_ms=0.5, name=name, units=units, quantify=False)
    return ds.assign_coords(trial=("trial", np.arange(TRIALS))) if "trial" in dims else ds


PROBE = jfx.linear_probe(5, 40.0, origin=(90, 10, -80))
SENSORS = jfx.probe_at([[0, 0, 90], [60, 0, 67], [0, 60, 67]], units="mm", dim="channel")
MAGNETOMETERS = jfx.probe_at(
    [[10, 0, 110], [60, 0, 90], [0, 60, 90]],
    units="mm",
    dim="channel",
    normal=[[1, 0, 1], [0, 1, 1], [1, 1, 0]],
)
CELL = jfx.morphology(
    [[0, 0, 0], [0, 0, 20], [0, 0, 60], [30, 0, 60]],
    [[0, 0, 20], [0, 0, 60], [0, 40, 90], [60, 10, 60]],
    [10, 3, 2, 1],
    [-1, 0, 1, 1],
    quantify=False,
)
VOLTAGES = labelled("v", whole(-80, 40, T, N, TRIALS), ("time", "recording", "trial"), "mV")
ON_CELL = VOLTAGES.jfne.with_morphology(CELL)
POPULATION = ("recording", list("aabb"))
SIGNALS = ON_CELL.jfne.to_signals(spike_threshold=-20.5).assign_coords(population=POPULATION)
CURRENT = labelled("i_membrane", whole(-9, 9, T, N, TRIALS), ("time", "recording", "trial"), "nA")
CURRENTS = CURRENT.jfne.with_morphology(CELL)
DRIVEN = ON_CELL.jfne.to_signals(source=CURRENT.i_membrane.rename("source"))
CONTACTS = ("time", "contact", "trial")
POTENTIAL = labelled("lfp", whole(-90, 90, T, 5, TRIALS), CONTACTS, "uV").assign_coords(
    {a: PROBE[a] for a in "xyz"}
)
OTHER = labelled("lfp", whole(-90, 90, T, 5, TRIALS), CONTACTS, "uV").assign_coords(
    POTENTIAL.coords
)
DIPOLES = labelled("dipole_moment", whole(-9, 9, T, 3, TRIALS), ("time", "xyz", "trial"), "nA*um")
DIPOLES = DIPOLES.assign_coords(xyz=list("xyz")).jfne.move_to(x=5, y=0, z="70 mm")
PSD = jfx.psd(POTENTIAL, segment=10.0)
NEAR = labelled("lfp_proxy", whole(-90, 90, T, 5, TRIALS), CONTACTS, "1").assign_coords(
    POTENTIAL.coords
)
DENSE = NEAR.rename(lfp_proxy="csd_proxy")
DENSE.csd_proxy.attrs["units"] = "1/um^2"
FAR = labelled("eeg_proxy", whole(-90, 90, T, 3, TRIALS), ("time", "channel", "trial"), "1")
RATES = xr.Dataset({"firing_rate": (("recording", "trial"), whole(0, 90, N, TRIALS))})
RATES.firing_rate.attrs["units"] = "Hz"
BANDS = {"mine": (150.0, 600.0)}

#: Every labelled function: how it is called, and on which Datasets.
CALLS: dict[str, tuple[Callable[..., Any], tuple[xr.Dataset, ...]]] = {
    "quantify": (lambda ds: ds if _is_jax(ds) else jfx.quantify(ds), (ON_CELL,)),
    "to_jax": (lambda ds: jfx.to_jax(ds.compute().astype("f4")), (POTENTIAL,)),
    "validate": (lambda ds: bool(jfx.validate(ds)), (ON_CELL,)),
    "to_signals": (lambda ds: jfx.to_signals(ds, spike_threshold=-20.5), (ON_CELL,)),
    "to_signals of a source": (
        lambda ds, i: jfx.to_signals(ds, source=i.i_membrane),
        (ON_CELL, CURRENT),
    ),
    "to_signals of a noisy upstroke": (
        lambda ds: jfx.to_signals(ds, spike_threshold=-20.5, refractory="6 ms"),
        (VOLTAGES,),
    ),
    "to_signals with a surrogate": (
        lambda ds: jfx.to_signals(ds, spike_threshold=-20.5, surrogate="arctan"),
        (VOLTAGES,),
    ),
    "spike_times": (lambda ds: _in_order(jfx.spike_times(ds)), (SIGNALS,)),
    "firing_rate": (jfx.firing_rate, (SIGNALS,)),
    "soft_spike_times": (
        lambda ds: jfx.soft_spike_times(ds, 3, spike_threshold=-20.5),
        (VOLTAGES,),
    ),
    "soft_firing_rate": (lambda ds: jfx.soft_firing_rate(ds, slope=0.02), (VOLTAGES,)),
    "source": (jfx.source, (DRIVEN,)),
    "source of a voltage": (jfx.source, (SIGNALS,)),
    "synaptic_source": (jfx.synaptic_source, (SIGNALS,)),
    "with_morphology": (jfx.with_morphology, (VOLTAGES, CELL)),
    "transmembrane_currents": (jfx.transmembrane_currents, (ON_CELL,)),
    "transmembrane_currents of steps": (
        lambda ds: jfx.transmembrane_currents(ds, scheme="crank_nicolson"),
        (ON_CELL,),
    ),
    "transmembrane_currents and a stimulus": (
        lambda ds, i: jfx.transmembrane_currents(ds, stimulus=i.i_membrane),
        (ON_CELL, CURRENT),
    ),
    "check_currents": (
        lambda ds: np.array([c[1:] for c in jfx.check_currents(ds).cells]),
        (CURRENTS,),
    ),
    "lead_field": (jfx.lead_field, (CELL, PROBE)),
    "lfp": (jfx.lfp, (CURRENTS, PROBE)),
    "lfp of voltages": (jfx.lfp, (ON_CELL, PROBE)),
    "lfp of points": (
        lambda ds, p: jfx.lfp(ds, p, jfx.PointSource(), by="unit"),
        (CURRENTS, PROBE),
    ),
    "calibrate": (jfx.calibrate, (POTENTIAL, OTHER)),
    "csd": (jfx.csd, (POTENTIAL,)),
    "csd by delta": (lambda ds: jfx.csd(ds, "delta"), (POTENTIAL,)),
    "csd by kernel": (
        lambda ds: jfx.csd(ds, "kernel", width=60.0, regularisation=1e-3),
        (POTENTIAL,),
    ),
    "ground_truth_csd": (lambda ds: jfx.ground_truth_csd(ds, [-100, 0, 50, 100]), (CURRENTS,)),
    "dipole_moment": (lambda ds: jfx.dipole_moment(ds, origin=(0, 0, 0)), (CURRENTS,)),
    "translate": (lambda ds: jfx.translate(ds, x="1 mm", z=-3.5), (CURRENTS,)),
    "translate of contacts": (lambda ds: jfx.translate(ds, y=-60), (POTENTIAL,)),
    "move_to": (lambda ds: jfx.move_to(ds, x="1 mm"), (DIPOLES,)),
    "move_to of a cell": (lambda ds: jfx.move_to(ds, x="1 mm", z=40), (ON_CELL,)),
    "rotate": (lambda ds: jfx.rotate(ds, "30 deg", "x"), (DIPOLES,)),
    "rotate of a cell": (lambda ds: jfx.rotate(ds, to=(1, 2, -2)), (CURRENTS,)),
    "rotate of sensors": (lambda ds: jfx.rotate(ds, 30, "y"), (MAGNETOMETERS,)),
    "eeg": (lambda ds, p: jfx.eeg(ds, p, jfx.FourSphere()), (DIPOLES, SENSORS)),
    "meg": (lambda ds, p: jfx.meg(ds, p, jfx.Spherical()), (DIPOLES, MAGNETOMETERS)),
    "lfp_proxy": (jfx.lfp_proxy, (DRIVEN, PROBE)),
    "csd_proxy": (jfx.csd_proxy, (NEAR,)),
    "eeg_proxy": (jfx.eeg_proxy, (DRIVEN, SENSORS)),
    "meg_proxy": (jfx.meg_proxy, (DRIVEN, SENSORS)),
    "emm_proxy": (jfx.emm_proxy, (SIGNALS, DRIVEN, NEAR)),
    "lfp_abs_mean": (jfx.lfp_abs_mean, (NEAR,)),
    "csd_abs_mean": (jfx.csd_abs_mean, (DENSE,)),
    "eeg_power": (jfx.eeg_power, (FAR,)),
    "compute_readout": (
        lambda ds, p: jfx.compute_readout(ds, ["vm", "spk", "lfp_proxy", "mean_V_m"], probe=p),
        (SIGNALS, PROBE),
    ),
    **{
        name: (getattr(jfx, name), (SIGNALS,))
        for name in ("vm", "spk", "spike_rate_hz", "silent_fraction", "spike_count", "mean_V_m")
    },
    "source_abs_mean": (lambda ds: jfx.source_abs_mean(ds, window=(2.0, 20.0)), (DRIVEN,)),
    "mean_square_loss": (jfx.mean_square_loss, (POTENTIAL, OTHER)),
    "correlation_loss": (jfx.correlation_loss, (POTENTIAL, OTHER)),
    "spectrum_loss": (lambda a, b: jfx.spectrum_loss(a, b, segment=10.0), (POTENTIAL, OTHER)),
    "rate_loss": (jfx.rate_loss, (RATES, RATES + 3)),
    "psd": (lambda ds: jfx.psd(ds, segment=10.0), (POTENTIAL,)),
    "coherence": (lambda a, b: jfx.coherence(a, b, segment=6.0), (POTENTIAL, OTHER)),
    "band_power": (lambda ds: jfx.band_power(ds, BANDS), (PSD,)),
    "summary": (lambda ds: jfx.summary(ds, bin=4.0, segment=10.0, bands=BANDS), (SIGNALS,)),
}

#: Another unit for each, and the factor.
UNITS = {
    "mV": (("uV", 1e3), ("V", 1e-3)),
    "nA": (("pA", 1e3), ("uA", 1e-3)),
    "uV": (("nV", 1e3), ("mV", 1e-3)),
    "um": (("nm", 1e3), ("mm", 1e-3)),
    "nA*um": (("pA*um", 1e3), ("uA*um", 1e-3)),
    "uS": (("nS", 1e3), ("mS", 1e-3)),
    "ms": (("us", 1e3), ("s", 1e-3)),
    "Hz": (("mHz", 1e3), ("kHz", 1e-3)),
}
KINDS = ("numpy", "jax", "dask")
TYPES = ("f8", "f4", "f2", "g", "i2", "i4", "i8")
LAYOUTS = ("C", "F", "reversed", "sliced", "unaligned", "read-only")


@dataclass(frozen=True)
class Form:
    """One way to write the same data down."""

    kind: str = "numpy"
    dtype: str = "f8"
    swapped: bool = False
    layout: str = "C"
    unit: int | None = None
    quantified: bool = False
    chunks: int | tuple[int, ...] = 3
    #: seed of the order of the dims
    order: int | None = None

    def of(self, ds: xr.Dataset, coords: Form, index: Form | None = None) -> xr.Dataset:
        """Return `ds` with its variables in this form, its coordinates and indexes in those of `coords` and `index`."""
        made = {n: self._variable(x.variable) for n, x in ds.data_vars.items()}
        labels = {
            n: ((index or coords) if n in ds.dims else coords)._coordinate(x.variable, n in ds.dims)
            for n, x in ds.coords.items()
        }
        return xr.Dataset(made, labels, ds.attrs)

    def _coordinate(self, variable: xr.Variable, is_index: bool) -> xr.Variable:
        form = replace(self, quantified=False, order=None)
        if is_index or variable.dtype.kind != "f" or self.kind == "dask":
            form = replace(form, kind="numpy")
        if is_index and form.dtype == "f2":  # refused: too coarse
            form = replace(form, dtype="f4")
        return form._variable(variable)

    def _variable(self, variable: xr.Variable) -> xr.Variable:
        dims = list(variable.dims)
        if self.order is not None:
            random.Random(self.order).shuffle(dims)
        variable = variable.transpose(*dims)
        values, unit = variable.values, units_of(variable)
        attrs = {k: v for k, v in variable.attrs.items() if k != "units"}
        if values.dtype.kind not in "bfiu":
            return variable
        dtype = values.dtype
        if values.dtype.kind == "f":
            values, unit, dtype = self._scaled(values, unit)
        data = self._laid_out(values, dtype)
        if self.kind == "jax":
            data = data.astype(data.dtype.newbyteorder("="))
            with precision_of(data):
                data = jnp.array(data)
        if self.kind == "dask" and variable.ndim:
            data = dask.array.from_array(data, chunks=self.chunks)
        if unit is not None and self.quantified and self.kind != "jax":
            return xr.Variable(dims, quantity(data, unit), attrs)
        return xr.Variable(dims, data, attrs if unit is None else {**attrs, "units": unit})

    def _scaled(self, values: np.ndarray, unit: str | None) -> tuple[np.ndarray, Any, np.dtype]:
        """Return values in the unit of this form and the type that holds them: its own, or float64 if it does not."""
        dtype = np.dtype(self.dtype)
        if self.unit is not None and unit in UNITS:
            unit, factor = UNITS[unit][self.unit]
            values = values * factor
        if dtype.kind == "g" or (self.kind == "jax" and dtype.itemsize > 8):
            dtype = np.dtype("f8")
        limit = np.iinfo(dtype).max if dtype.kind == "i" else np.finfo(dtype).max
        exact = (np.abs(values) < limit).all() and (values.astype(dtype) == values).all()
        if not exact and dtype != np.float32:
            dtype = np.dtype("f8")
        return values, unit, dtype

    def _laid_out(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        if self.swapped:
            dtype = dtype.newbyteorder()
        if not values.ndim:
            return values.astype(dtype)
        if self.layout == "F":
            return np.asfortranarray(values.astype(dtype))
        if self.layout == "reversed":
            return np.ascontiguousarray(values[..., ::-1].astype(dtype))[..., ::-1]
        if self.layout == "sliced":
            wide = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), dtype)
            wide[..., ::2] = values
            return wide[..., ::2]
        if self.layout == "unaligned":
            record = np.zeros(values.shape, [("before", "u1"), ("value", dtype)])
            record["value"] = values
            return record["value"]
        made = values.astype(dtype)
        if self.layout == "read-only":
            made.flags.writeable = False
        return made

    @property
    def coarse(self) -> bool:
        """Whether anything is computed in float32."""
        return self.dtype in ("f4", "f2") or (self.kind == "jax" and self.dtype[0] == "i")


def _in_order(spikes: xr.Dataset) -> xr.Dataset:
    """Sort spikes of the same time by their labels: `spike_times` lists these in the order of the dims."""
    labels = [spikes[name].values for name in ("recording", "trial", "time")]
    return spikes.isel(spike=np.lexsort(labels))


def _is_jax(ds: xr.Dataset) -> bool:
    return any(not hasattr(v._data, "__array_function__") for v in ds.variables.values())


def difference(made: Any, want: Any) -> tuple[float, str]:
    """Return the largest difference of two results, relative to the largest value of each variable, and of which."""
    if isinstance(want, bool):
        return float(made != want), "the result"
    if isinstance(want, np.ndarray):
        return float(np.abs(made - want).max() / np.abs(want).max()), "the result"
    assert {*made.variables} == {*want.variables}
    worst, of = 0.0, ""
    for name, wanted in want.variables.items():
        got = made.variables[name]
        if wanted.dtype.kind not in "bfiu":
            assert got.equals(wanted), name
            continue
        assert {*got.dims} == {*wanted.dims}, name
        unit, wanted_unit = units_of(got), units_of(wanted)
        a = np.asarray(magnitude(got.transpose(*wanted.dims).data), float)
        if unit != wanted_unit:
            a = convert(a, unit, wanted_unit)
        b = np.asarray(magnitude(wanted.data), float)
        assert (np.isnan(a) == np.isnan(b)).all(), name
        gap = np.abs(np.nan_to_num(a - b)).max(initial=0)
        size = max(np.abs(np.nan_to_num(b)).max(initial=0), 1e-300)
        if gap / size > worst:
            worst, of = float(gap / size), str(name)
    return worst, of
