"""Label bare arrays in three layouts, sweep the spike threshold, draw, save, and open the file again. Without Jaxley.

    python examples/02_array_bridge.py [output folder, by default ./output]

The voltages are made up: sixteen cells that fire at different rates, with spikes of different heights. Takes a few
seconds. Needs matplotlib: pip install "jaxfne-xr[plot]"
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr

import jaxfne_xr as jfx

matplotlib.use("agg")
import matplotlib.pyplot as plt

output = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
output.mkdir(parents=True, exist_ok=True)

# ---------------------------------------------------------------- a bare array, as any simulator returns it
rng = np.random.default_rng(1)
dt, n_time, n_cells = 0.1, 10_000, 16  # ms
shape = np.concatenate(
    [np.linspace(0, 1, 6), np.exp(-np.arange(30) / 8)]
)  # rise and fall of a spike
voltage = -65 + rng.normal(0, 1.5, (n_time, n_cells))  # mV
for cell, hertz in enumerate(np.linspace(5, 60, n_cells)):
    for start in np.flatnonzero(rng.random(n_time - len(shape)) < hertz * dt * 1e-3):
        voltage[start : start + len(shape), cell] += rng.normal(75, 12) * shape

# --------------------------------------- three layouts of an array: the same labels and the same spikes
spec = jfx.JaxleyTraceSpec(dt_ms=dt, spike_threshold=-20.0)
ways = {
    "time_by_unit": voltage,
    "unit_by_time": voltage.T,
    "recording_by_time": voltage.T,
}
for layout, array in ways.items():
    signals = jfx.jaxley_trace_to_signals(array, spec=spec, layout=layout)
    print(f"{layout:>17}: {dict(signals.sizes)}, {int(signals.spikes.sum())} spikes")

# ------------------------------------------------------------------- from here on, axes are known by their names
traces = jfx.traces(voltage, dims=("time", "unit"), dt_ms=dt)
thresholds = xr.Variable("threshold", np.arange(-50.0, 31.0, 5.0), {"units": "mV"})
rates = xr.concat(
    [
        traces.jfne.to_signals(spike_threshold=mV).jfne.firing_rate().firing_rate
        for mV in thresholds.values
    ],
    dim=thresholds,
)
rates = rates.assign_coords(threshold=thresholds)
level = traces.jfne.to_signals(spike_threshold=-20.0, spike_rule="level")
print(f"\nSamples at or above -20 mV: {int(level.spikes.sum())}. A level is not a count of spikes.")

# ----------------------------------------------------------------------- draw, with plain xarray and matplotlib
signals = traces.jfne.to_signals(spike_threshold=-20.0)
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
signals.V_m.isel(unit=[2, 8, 14]).sel(time=slice(0, 300)).plot(
    x="time", hue="unit", ax=axes[0], lw=0.7
)
signals.jfne.spike_times().plot.scatter(x="time", y="unit", s=4, ax=axes[1])
rates.plot(x="threshold", hue="unit", ax=axes[2], add_legend=False)
for ax, title in zip(axes, ["Three of the cells", "Spikes", "Rate and threshold"], strict=True):
    ax.set_title(title)
fig.savefig(output / "02_array_bridge.png", dpi=150)

# ------------------------------------------------------------------------------- save, and open it again
signals.jfne.to_netcdf(output / "02_array_bridge.nc")
assert jfx.open(output / "02_array_bridge.nc").identical(signals)
print(f"\nWhat the numbers may be taken to mean:\n{signals.jfne.scope}\n")
print(f"Wrote {output / '02_array_bridge.png'}: voltages, spikes, and rates over thresholds.")
print(f"Wrote {output / '02_array_bridge.nc'}: the Signals; opened again, they are identical.")
