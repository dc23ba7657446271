"""Every public function, and what becomes of it under JAX's transformations: each row is tested, and in the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

import jaxfne_xr as jfx

N, T = 4, 48
random = np.random.default_rng(7)
V = random.normal(-40, 25, (T, N))
CURRENT = random.normal(0, 1, (T, N))
POTENTIAL = random.normal(0, 20, (T, 5))
MOMENT = random.normal(0, 1, (T, 3))
PLACES = random.normal(0, 30, (N, 3))
PROBE = jfx.linear_probe(5, 40.0, origin=(90, 10, -80))


@dataclass(frozen=True)
class Row:
    """A function of one array, and what it gives."""

    fn: Callable[[Any], Any]
    x: np.ndarray
    #: what the array is
    of: str = "voltages"
    #: "yes"; "0" where the result is made of steps: a gradient that is zero is right, and of no use; or "surrogate",
    #: which no difference shows
    gradient: str = "yes"
    #: largest difference of float64 gradients from central differences, of the largest
    tol: float = 1e-5


@dataclass(frozen=True)
class Refused:
    """A function that cannot be traced, the error that says so, and why."""

    fn: Callable[[Any], Any]
    x: np.ndarray
    error: type[Exception]
    why: str


def labelled(x: Any, name: str = "v", units: str = "mV", dims: Any = ("time", "unit")) -> Any:
    coords = {"population": ("unit", list("aabb"))} if "unit" in dims else None
    return jfx.traces(x, dims, dt_ms=0.5, name=name, units=units, quantify=False, coords=coords)


def cell() -> xr.Dataset:
    start = np.array([[0.0, 0, 0], [0, 0, 20], [0, 0, 60], [30, 0, 60]])
    end = np.array([[0.0, 0, 20], [0, 0, 60], [0, 40, 90], [60, 10, 60]])
    return jfx.morphology(start, end, [10.0, 3, 2, 1], [-1, 0, 1, 1], quantify=False)


CELL = cell()
SENSORS = jfx.probe_at(
    np.array([[0, 0, 90.0], [60, 0, 67], [0, 60, 67]]), units="mm", dim="channel"
)
MEG = jfx.probe_at(
    np.array([[10, 0, 110.0], [60, 0, 90], [0, 60, 90]]), units="mm", dim="channel",
    normal=np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 0]]),
)  # fmt: skip


def placed(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign_coords(
        {a: ("unit", PLACES[:, i], {"units": "um"}) for i, a in enumerate("xyz")}
    )


def signals(x: Any) -> xr.Dataset:
    return placed(labelled(x)).jfne.to_signals(spike_threshold=-40.0)


def with_surrogate(x: Any) -> xr.Dataset:
    return labelled(x).jfne.to_signals(spike_threshold=-40.0, surrogate="arctan")


def on_cell(x: Any) -> xr.Dataset:
    return labelled(x, dims=("time", "recording")).jfne.with_morphology(CELL)


def currents(x: Any) -> xr.Dataset:
    return labelled(x, "i_membrane", "nA", ("time", "recording")).jfne.with_morphology(CELL)


def potential(x: Any) -> xr.Dataset:
    ds = labelled(x, "lfp", "uV", ("time", "contact"))
    return ds.assign_coords({a: ("contact", PROBE[a].data, {"units": "um"}) for a in "xyz"})


WANTED = potential(POTENTIAL[::-1] + 3.0)


def dipoles(x: Any) -> xr.Dataset:
    ds = labelled(x, "dipole_moment", "nA*um", ("time", "xyz")).assign_coords(xyz=list("xyz"))
    return ds.jfne.move_to(x=5, y=0, z="70 mm")


def moved_lfp(move: Callable[[xr.Dataset], xr.Dataset], x: Any) -> xr.Dataset:
    """Return the potential of currents of a cell at another place."""
    return jfx.lfp(move(currents(jnp.asarray(CURRENT, x.dtype))), PROBE)


def model() -> jfx.Model:
    return jfx.construct(
        jfx.configuration()
        .network(n=N)
        .emitter(family="custom", mode="external_voltage")
        .field(domain="laminar", sigma=120.0)
        .probe(name="shank", contacts=jfx.linear_probe(4), modes=["lfp_proxy", "csd_proxy"])
    )


def simulated(x: Any) -> Any:
    return model().simulate_external(labelled(x), dt_ms=0.5)


def lfp_proxy(x: Any) -> xr.Dataset:
    return jfx.lfp_proxy(jfx.source(signals(x)), PROBE)


def driven(x: Any) -> xr.Dataset:
    """Return Signals whose source is `x`."""
    return placed(labelled(V)).jfne.to_signals(source=x)


def along_probe(x: Any) -> xr.Dataset:
    """Return the probe with its places as JAX arrays."""
    return PROBE.assign_coords(
        {a: ("contact", x[:, i], {"units": "um"}) for i, a in enumerate("xyz")}
    )


PROBED = np.stack([PROBE[a].values for a in "xyz"], axis=1).astype(float)

ROWS: dict[str, dict[str, Row | Refused] | str] = {
    "traces": {"": Row(labelled, V)},
    "to_jax": {"": Row(lambda x: labelled(x).jfne.to_jax(), V)},
    "quantify": {
        "": Refused(
            lambda x: labelled(x).jfne.quantify(), V, jfx.DataError, "pint would lose the trace"
        )
    },
    "validate": {
        "": Row(
            lambda x: jnp.asarray(bool(jfx.validate(labelled(x)))) * 1.0 + 0 * x.sum(),
            V,
            gradient="0",
        )
    },
    "to_signals": {
        "": Row(signals, V),
        "level": Row(lambda x: labelled(x).jfne.to_signals(spike_rule="level"), V),
        "of a source": Row(driven, CURRENT, "currents"),
        "with a surrogate": Row(lambda x: with_surrogate(x).spikes, V, gradient="surrogate"),
    },
    "jaxley_trace_to_signals": {
        "": Row(
            lambda x: jfx.jaxley_trace_to_signals(
                x, dt_ms=0.5, layout="time_by_unit", quantify=False
            ),
            V,
        )
    },
    "spike_times": {
        "": Refused(
            lambda x: jfx.spike_times(signals(x)),
            V,
            jfx.DataError,
            "how many there are depends on the values",
        )
    },
    "firing_rate": {
        "": Row(lambda x: jfx.firing_rate(signals(x)), V, gradient="0"),
        "with a surrogate": Row(
            lambda x: jfx.firing_rate(with_surrogate(x)), V, gradient="surrogate"
        ),
    },
    "soft_spike_times": {
        "": Row(
            lambda x: (
                jfx.soft_spike_times(labelled(x), 3, spike_threshold=-40.0, fill=0).spike_time
            ),
            V,
        )
    },
    "soft_firing_rate": {
        "": Row(lambda x: jfx.soft_firing_rate(labelled(x), spike_threshold=-40.0, slope=0.02), V)
    },
    "mean_square_loss": {
        "": Row(lambda x: jfx.mean_square_loss(potential(x), WANTED), POTENTIAL, "potentials")
    },
    "correlation_loss": {
        "": Row(lambda x: jfx.correlation_loss(potential(x), WANTED), POTENTIAL, "potentials")
    },
    "spectrum_loss": {
        "": Row(
            lambda x: jfx.spectrum_loss(potential(x), WANTED, segment=10.0), POTENTIAL, "potentials"
        )
    },
    "rate_loss": {
        "": Row(
            lambda x: jfx.rate_loss(
                jfx.soft_firing_rate(labelled(x), spike_threshold=-40.0, slope=0.02),
                xr.DataArray(20.0, attrs={"units": "Hz"}),
            ),
            V,
        )
    },
    "source": {"": Row(lambda x: jfx.source(driven(x)), CURRENT, "currents")},
    "synaptic_source": {
        "": Row(lambda x: jfx.synaptic_source(signals(x)).source, V, gradient="0"),
        "of tau": Row(
            lambda x: (
                jfx.synaptic_source(signals(jnp.asarray(V, x.dtype)), tau=x[0], weight=x[1]).source
            ),
            np.array([4.0, 2.0]),
            "a time constant, a weight",
        ),
    },
    "transmembrane_currents": {
        "": Row(lambda x: jfx.transmembrane_currents(on_cell(x)), V),
        "of conductances": Row(
            lambda x: jfx.transmembrane_currents(
                on_cell(jnp.asarray(V, x.dtype)).assign(conductance=("edge", x, {"units": "uS"}))
            ),
            np.asarray(CELL.conductance.data),
            "axial conductances",
        ),
    },
    "check_currents": {
        "": Refused(
            lambda x: jfx.check_currents(currents(x)).ok,
            CURRENT,
            jfx.DataError,
            "a report of concrete numbers",
        )
    },
    "with_morphology": {"": Row(lambda x: on_cell(x).v, V)},
    "lead_field": {
        "": Row(lambda x: jfx.lead_field(CELL, along_probe(x)), PROBED, "positions of contacts"),
        "point": Row(
            lambda x: jfx.lead_field(CELL, along_probe(x), jfx.PointSource()),
            PROBED,
            "positions of contacts",
        ),
        "of conductivity": Row(
            lambda x: jfx.lead_field(CELL, PROBE, jfx.LineSource(x[0])),
            np.array([0.3]),
            "a conductivity",
        ),
    },
    "lfp": {
        "": Row(lambda x: jfx.lfp(currents(x), PROBE), CURRENT, "currents"),
        "of voltages": Row(lambda x: jfx.lfp(on_cell(x), PROBE), V),
        "of places": Row(
            lambda x: jfx.lfp(currents(jnp.asarray(CURRENT, x.dtype)), along_probe(x)),
            PROBED,
            "positions of contacts",
        ),
        "by unit": Row(lambda x: jfx.lfp(currents(x), PROBE, by="unit"), CURRENT, "currents"),
    },
    "calibrate": {
        "": Row(
            lambda x: jfx.calibrate(potential(x), potential(jnp.asarray(POTENTIAL[::-1], x.dtype))),
            POTENTIAL,
            "potentials",
        )
    },
    "concat": {
        "": Row(lambda x: jfx.concat([labelled(x), labelled(2 * x)], "trial"), V),
    },
    "merge": {
        "": Row(lambda x: jfx.merge([labelled(x), labelled(2 * x).rename(v="w")]), V),
    },
    "csd": {
        method: Row(lambda x, m=method: jfx.csd(potential(x), m), POTENTIAL, "potentials", tol=1e-4)
        for method in ("standard", "delta", "step", "spline", "kernel")
    },
    "ground_truth_csd": {
        "": Row(
            lambda x: jfx.ground_truth_csd(currents(x), [-100, 0, 50, 100]), CURRENT, "currents"
        )
    },
    "dipole_moment": {"": Row(lambda x: jfx.dipole_moment(currents(x)), CURRENT, "currents")},
    "move_to": {
        "": Row(
            lambda x: jfx.eeg(
                jfx.move_to(dipoles(jnp.asarray(MOMENT, x.dtype)), x=x[0], y=x[1], z=x[2]), SENSORS
            ),
            np.array([1e3, 2e3, 7e4]),
            "a place",
        ),
        "a cell": Row(
            lambda x: moved_lfp(lambda ds: jfx.move_to(ds, x=x[0], z=x[1]), x),
            np.array([-30.0, 20.0]),
            "a place",
        ),
    },
    "translate": {
        "": Row(
            lambda x: moved_lfp(lambda ds: jfx.translate(ds, x=x[0], y=x[1], z=x[2]), x),
            np.array([-30.0, 5.0, 20.0]),
            "a displacement",
        ),
    },
    "rotate": {
        "": Row(lambda x: jfx.rotate(dipoles(x), "30 deg", "x"), MOMENT, "moments"),
        "a cell": Row(
            lambda x: moved_lfp(lambda ds: jfx.rotate(ds, x[0], "y"), x),
            np.array([25.0]),
            "an angle",
        ),
    },
    "eeg": {
        "four spheres": Row(
            lambda x: jfx.eeg(dipoles(x), SENSORS, jfx.FourSphere()), MOMENT, "moments"
        ),
        "infinite": Row(
            lambda x: jfx.eeg(dipoles(x), SENSORS, jfx.InfiniteHomogeneous()), MOMENT, "moments"
        ),
    },
    "meg": {"": Row(lambda x: jfx.meg(dipoles(x), MEG, jfx.Spherical()), MOMENT, "moments")},
    "lfp_proxy": {"": Row(lfp_proxy, V)},
    "csd_proxy": {"": Row(lambda x: jfx.csd_proxy(lfp_proxy(x)), V)},
    "eeg_proxy": {"": Row(lambda x: jfx.eeg_proxy(jfx.source(signals(x)), SENSORS), V)},
    "meg_proxy": {"": Row(lambda x: jfx.meg_proxy(jfx.source(signals(x)), MEG), V)},
    "emm_proxy": {
        "": Row(lambda x: jfx.emm_proxy(signals(x), jfx.source(signals(x)), lfp_proxy(x)), V)
    },
    "lfp_abs_mean": {"": Row(lambda x: jfx.lfp_abs_mean(lfp_proxy(x)), V)},
    "csd_abs_mean": {"": Row(lambda x: jfx.csd_abs_mean(jfx.csd_proxy(lfp_proxy(x))), V)},
    "eeg_power": {
        "": Row(lambda x: jfx.eeg_power(jfx.eeg_proxy(jfx.source(signals(x)), SENSORS)), V)
    },
    "compute_readout": {
        "": Row(
            lambda x: jfx.compute_readout(signals(x), ["vm", "lfp_proxy", "mean_V_m"], probe=PROBE),
            V,
        )
    },
    "vm": {"": Row(lambda x: jfx.vm(signals(x)), V)},
    "spk": {"": Row(lambda x: jfx.spk(signals(x)), V, gradient="0")},
    "spike_rate_hz": {"": Row(lambda x: jfx.spike_rate_hz(signals(x)), V, gradient="0")},
    "silent_fraction": {"": Row(lambda x: jfx.silent_fraction(signals(x)), V, gradient="0")},
    "spike_count": {"": Row(lambda x: jfx.spike_count(signals(x)), V, gradient="0")},
    "mean_V_m": {"": Row(lambda x: jfx.mean_V_m(signals(x)), V)},
    "source_abs_mean": {
        "": Row(lambda x: jfx.source_abs_mean(jfx.source(driven(x))), CURRENT, "currents")
    },
    "psd": {"": Row(lambda x: jfx.psd(labelled(x), segment=10.0), V)},
    "coherence": {
        "": Row(
            lambda x: jfx.coherence(
                labelled(x), labelled(jnp.asarray(V[::-1] + V[:, ::-1], x.dtype)), segment=6.0
            ),
            V,
        )
    },
    "band_power": {
        "": Row(
            lambda x: jfx.band_power(jfx.psd(labelled(x), segment=10.0), {"mine": (150.0, 600.0)}),
            V,
        )
    },
    "summary": {
        "": Row(
            lambda x: jfx.summary(
                signals(x), bin=4.0, segment=10.0, bands={"mine": (150.0, 600.0)}
            ),
            V,
            tol=1e-4,
        )
    },
    "probe_at": {"": Row(lambda x: jfx.lead_field(CELL, jfx.probe_at(x)), PROBED, "positions")},
    "Model": {
        "simulate_external": Row(simulated, V),
        "compute_readout": Row(lambda x: model().compute_readout(placed(simulated(x))), V),
    },
    "from_jaxley": "takes what `jx.integrate` returned, traced or not: tested with Jaxley",
    "integrate_field": "simulates a Jaxley module: differentiable in its parameters, tested with Jaxley",
    "from_lfpy": "reads a NEURON cell",
    "enable_pytrees": "registers types",
    "checkify": "a transformation itself: see above",
    "jit": "a transformation itself: see above",
    "vmap": "a transformation itself: see above",
    "scan": "a transformation itself: see above",
    "grad": "a transformation itself: see above",
    "value_and_grad": "a transformation itself: see above",
    "morphology": "finds which segments meet: made outside",
    "linear_probe": "counts and places by numbers: made outside; then `assign_coords` with JAX positions",
    "grid_probe": "counts and places by numbers: made outside; then `assign_coords` with JAX positions",
    "from_probeinterface": "reads a probe of another library",
    "montage": "electrodes by name",
    "configuration": "settings, no data",
    "construct": "settings, no data",
    "readout": "registers a function",
    "readouts": "lists names",
    "bundle": "makes a file's content of concrete data",
    "replay": "runs what a file holds",
    "open": "reads a file",
    "to_netcdf": "writes a file",
    "report": "writes a file",
}


def table() -> str:
    """Return the table of the docs."""
    head = "| function | of | `jit` | `vmap` | `grad` | `jacfwd` | `checkpoint` |\n|" + "---|" * 7
    lines, others, refused = [head], [], []
    for name, rows in ROWS.items():
        link = f"{{obj}}`jaxfne_xr.{name}`"
        if isinstance(rows, str):
            others.append(f"| {link} | {rows} |")
            continue
        for kind, row in rows.items():
            label = link + (f", {kind}" if kind else "")
            if isinstance(row, Refused):
                refused.append(f"| {label} | `{row.error.__name__}`: {row.why} |")
            else:
                slope = row.gradient
                lines.append(f"| {label} | {row.of} | yes | yes | {slope} | {slope} | yes |")
    lines += ["\nRefused under a trace, by name:\n\n| function | error |\n|---|---|", *refused]
    lines += ["\nNot functions of arrays:\n\n| function | why |\n|---|---|", *others]
    return "\n".join(lines) + "\n"
