"""Label, draw and save three Hodgkin-Huxley cells simulated by Jaxley, and open the file again.

    python examples/01_jaxley_bridge.py [output folder, by default ./output]

Each cell is a soma with two dendrites. Each soma receives a different current step, and each cell excites a dendrite of
the next one. Takes about 15 s. Needs jaxley and matplotlib: pip install "jaxfne-xr[jaxley,plot]"
"""

import sys
from pathlib import Path

import jaxley as jx
import matplotlib
import numpy as np
from jaxley.channels import HH
from jaxley.connect import connect
from jaxley.synapses import IonotropicSynapse

import jaxfne_xr as jfx

matplotlib.use("agg")
import matplotlib.pyplot as plt

output = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
output.mkdir(parents=True, exist_ok=True)

# ------------------------------------------------------------------------------------ simulate, in Jaxley
dt = 0.025  # ms
names = ["first", "second", "third"]
amplitudes = [0.6, 0.1, 0.02]  # nA

soma = jx.Branch(ncomp=1)
dendrite = jx.Branch(ncomp=4)
cell = jx.Cell([soma, dendrite, dendrite], parents=[-1, 0, 0])
cell.insert(HH())
cell.set("axial_resistivity", 150.0)  # ohm cm
cell.branch(0).set("length", 20.0)  # um
cell.branch(0).set("radius", 10.0)
cell.branch([1, 2]).set("length", 40.0)  # of each of the four compartments
cell.branch([1, 2]).set("radius", 0.8)

net = jx.Network([cell, cell, cell])
net.arrange_in_layers([1, 1, 1], between_layer_offset=400.0)  # um apart
for pre, post in [(0, 1), (1, 2)]:
    connect(net[pre, 0, 0], net[post, 1, 1], IonotropicSynapse())
net.IonotropicSynapse.set("IonotropicSynapse_gS", 3e-3)  # uS
net.IonotropicSynapse.set("IonotropicSynapse_k_minus", 0.3)  # 1/ms
net.IonotropicSynapse.set("IonotropicSynapse_s", 0.0)
net.set("v", -65.0)  # mV
net.init_states()

for i, amplitude in enumerate(amplitudes):
    step = jx.step_current(i_delay=10.0, i_dur=80.0, i_amp=amplitude, delta_t=dt, t_max=100.0)
    net[i, 0, 0].stimulate(step, verbose=False)
net.record("v", verbose=False)
net.record("i_IonotropicSynapse", verbose=False)
recordings = jx.integrate(net, delta_t=dt)
print(f"Jaxley returned a bare array of shape {recordings.shape}.\n")

# ------------------------------------------------------------------- label rows, time and units
traces = jfx.from_jaxley(net, recordings, delta_t=dt)
print(traces, "\n")

somas = traces.query(recording="branch == 0").assign_coords(cell=("recording", names))
signals = somas.jfne.to_signals(spike_threshold="0 mV")
spikes = jfx.spike_times(signals)
rate = jfx.firing_rate(signals).firing_rate
for name, hz in zip(names, rate.data, strict=True):
    print(f"{name:>6} cell: {np.count_nonzero(spikes.cell == name)} spikes, {hz:.0f~P}")
print(f"\nWhat the numbers may be taken to mean:\n{signals.jfne.scope}\n")

# ----------------------------------------------------------------------- draw, with plain xarray and matplotlib
colors = ["tab:blue", "tab:orange", "tab:green"]
fig, axes = plt.subplots(
    3, 1, figsize=(9, 7), sharex=True, height_ratios=[3, 1, 1.5], layout="constrained"
)
for i, (name, color) in enumerate(zip(names, colors, strict=True)):
    label = f"{name}: {amplitudes[i]} nA"
    signals.V_m.isel(recording=i).plot(x="time", ax=axes[0], color=color, lw=1, label=label)
    axes[1].eventplot(
        spikes.time[spikes.cell == name], lineoffsets=-i, linelengths=0.7, color=color
    )
for i, color in enumerate(colors[1:]):
    label = f"{names[i]} to {names[i + 1]}"
    current = traces.i_IonotropicSynapse.isel(synapse=i)
    current.plot(x="time", ax=axes[2], color=color, lw=1, label=label)
axes[1].set_yticks([0, -1, -2], names)
axes[1].set_ylim(-2.6, 0.6)
for ax in axes[[0, 2]]:
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
for ax, title, ylabel in zip(
    axes,
    ["Voltage at the somas", "Spikes", "Synaptic current (negative: inward)"],
    ["voltage (mV)", "", "current (nA)"],
    strict=True,
):
    ax.set(title=title, xlabel="", ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
axes[2].set_xlabel("time (ms)")
fig.savefig(output / "01_jaxley_bridge.png", dpi=150)

# ------------------------------------------------------------------------------- save, and open it again
signals.jfne.to_netcdf(output / "01_jaxley_bridge.nc")
assert jfx.open(output / "01_jaxley_bridge.nc").identical(signals)

print(f"Wrote {output / '01_jaxley_bridge.png'}: voltages, spikes and synaptic currents.")
print(f"Wrote {output / '01_jaxley_bridge.nc'}: the Signals; opened again, they are identical.")
