"""Compute the extracellular spike of a branched neuron simulated by Jaxley: potentials (uV), CSD (uA/mm^3), EEG (nV).

    python examples/04_extracellular.py [output folder, by default ./output]

A cell with Hodgkin-Huxley channels is read from branched_cell.swc, which was made up for this example. A short pulse
at its soma makes it fire. The injected current is not among the transmembrane currents, so only times after the pulse
are shown. Computed from the voltages: the transmembrane currents, the spike at a probe with the layout of
Neuropixels 2.0, the true and the estimated current source density of a column of such cells that fire at once, their
dipole moment, and their EEG in a four-sphere head. Takes about 30 s. Needs jaxley and matplotlib:
pip install "jaxfne-xr[jaxley,plot]"
"""

import sys
from pathlib import Path

import jax
import jaxley as jx
import matplotlib
import numpy as np
from jaxley.channels import HH

import jaxfne_xr as jfx

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.colors import SymLogNorm

# Currents are small differences of voltages: with float32, rounding errors would be some percent, with a warning.
jax.config.update("jax_enable_x64", True)

output = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
output.mkdir(parents=True, exist_ok=True)

# ------------------------------------------------------------------------------------ simulate, in Jaxley
dt = 0.025  # ms
swc = Path(__file__).with_name("branched_cell.swc")
cell = jx.read_swc(str(swc), ncomp=1, max_branch_len=25.0)
cell.insert(HH())
cell.set("axial_resistivity", 150.0)  # ohm cm
for dendrites in (cell.basal, cell.apical):  # weakly excitable
    dendrites.set("HH_gNa", 0.02)  # S/cm^2
    dendrites.set("HH_gK", 0.006)
cell.set("v", -65.0)  # mV
cell.init_states()
pulse = jx.step_current(i_delay=5.0, i_dur=0.5, i_amp=3.0, delta_t=dt, t_max=14.0)  # ms, nA
cell.soma.branch(0).stimulate(pulse, verbose=False)
cell.record(
    "v", verbose=False
)  # in every compartment: the current of one depends on the voltages of all its neighbours
recordings = jx.integrate(cell, delta_t=dt)
print(f"Jaxley returned a bare array of shape {recordings.shape}.\n")

# ------------------------------------------------------------------------- currents, and what they sum to
traces = jfx.from_jaxley(cell, recordings, delta_t=dt)
soma = traces.query(recording="soma").isel(recording=[0])
(spike,) = jfx.spike_times(soma.jfne.to_signals(spike_threshold="0 mV")).time.values
early = slice(5.6, spike + 5)  # ms: after the pulse
currents = jfx.transmembrane_currents(traces).sel(time=early)
print(jfx.check_currents(currents), "\n")

# --------------------------------------------------------------------------------- the spike at a probe, uV
probe = jfx.grid_probe(
    (60, 2), ("15 um", "32 um"), origin=(12.0, -20.0, -260.0), radius="6 um", name="site"
)
tissue = jfx.LineSource("0.3 S/m", shape="square")
lfp = jfx.lfp(currents, probe, tissue)
deepest = lfp.min("time")
largest = deepest.lfp.data.magnitude
print(
    f"{tissue}\nThe largest spike is {largest.min():.0f} uV, at {probe.name[largest.argmin()].item()}.\n"
)
print(f"What the numbers may be taken to mean:\n{lfp.jfne.scope}\n")

# ------------------------------------------------------- a column of such cells, and its current source density
n, radius = 60, 200.0  # cells, um
angle, distance = np.pi * (3 - 5**0.5) * np.arange(n), radius * np.sqrt((np.arange(n) + 0.5) / n)
cells = [currents.assign_coords(unit=currents.unit + k) for k in range(n)]
column = jfx.concat(cells, "recording")
column = jfx.translate(column, x=distance * np.cos(angle), y=distance * np.sin(angle))
edges = np.arange(-275.0, 626.0, 50.0)
truth = jfx.ground_truth_csd(column, edges, radius=radius)
shank = jfx.linear_probe(len(edges) - 1, "50 um", origin=(-12.0, -28.0, -250.0))
estimate = jfx.csd(
    jfx.lfp(column, shank, jfx.LineSource("0.3 S/m")),
    "step",
    conductivity="0.3 S/m",
    radius=radius,
)

# ------------------------------------------------------- the dipole, moved into a head, and its EEG
dipole = jfx.dipole_moment(column, by=None)
away = np.deg2rad([0, 15, 40, 90])
scalp = 90.0 * np.stack([np.sin(away), 0 * away, np.cos(away)], axis=1)
electrodes = jfx.probe_at(
    scalp, units="mm", name=[f"{a:.0f} deg" for a in np.rad2deg(away)], dim="channel"
)
eeg = jfx.eeg(jfx.move_to(dipole, x=0, y=0, z="78 mm"), electrodes, head=jfx.FourSphere())
print(f"{jfx.FourSphere()}")
print(f"The EEG of {n} cells is {np.abs(eeg.eeg.data.magnitude).max() * 1e3:.2g} nV.\n")

# ------------------------------------------------------------------- draw, with .jfne.plot and plain xarray
fig, axes = plt.subplot_mosaic(
    [[*"abcf"]] * 2 + [[*"abdf"]] + [[*"abdg"]] + [[*"abeg"]] * 2,
    figsize=(14, 8),
    width_ratios=[1.15, 0.8, 1.1, 1.25],
    layout="constrained",
)
deepest.jfne.plot.probe(cell=traces, ax=axes["a"])
contacts = axes["a"].collections[-1]
contacts.set_norm(SymLogNorm(1.0, vmin=contacts.norm.vmin, vmax=0.0))  # linear within 1 uV

column_of_probe = lfp.isel(contact=np.flatnonzero(probe.column == 0)[::3])
column_of_probe.sel(time=early).jfne.plot.lfp(ax=axes["b"])
axes["b"].sharey(axes["a"])

soma.v.isel(recording=0).sel(time=early).pint.dequantify().plot(
    x="time", ax=axes["c"], color="black"
)
dipole.dipole_moment.sel(time=early).pint.dequantify().plot(x="time", ax=axes["d"], hue="xyz")
shown = eeg.eeg.sel(time=early).pint.dequantify() * 1e3
shown.swap_dims(channel="name").plot(x="time", ax=axes["e"], hue="name")
axes["d"].get_legend().set(title=None, frame_on=False)
axes["e"].get_legend().set(title=None, frame_on=False)

largest = np.abs(truth.csd.data).max() / 3  # the soma's sink would hide the rest
for key, density in zip("fg", (truth, estimate), strict=True):
    density.sel(time=early).jfne.plot.csd(ax=axes[key], limit=largest, sink="red")

for key, xlabel, ylabel in (
    ("c", "", "voltage (mV)"),
    ("d", "", "moment (nA µm)"),
    ("e", "time (ms)", "potential (nV)"),
):
    axes[key].set(xlabel=xlabel, ylabel=ylabel)
    axes[key].spines[["top", "right"]].set_visible(False)
for key, title in (
    ("a", "Cell, probe, and the negative peak"),
    ("b", "Spike along one column"),
    ("c", "Voltage at the soma"),
    ("d", f"Dipole moment of {n} cells"),
    ("e", "EEG, by angle from the column"),
    ("f", f"True CSD of {n} cells"),
    ("g", "CSD from 18 contacts (step)"),
):
    axes[key].set_title(title)
fig.savefig(output / "04_extracellular.png", dpi=150)

# ------------------------------------------------------------------------------- save, and open it again
print(f"Wrote {output / '04_extracellular.png'}.")
results = {"lfp": lfp, "csd_truth": truth, "csd_estimate": estimate, "dipole": dipole, "eeg": eeg}
for name, made in results.items():
    path = output / f"04_extracellular_{name}.nc"
    made.jfne.to_netcdf(path)
    assert jfx.open(path).identical(made)
    print(f"Wrote {path}; opened again, it is identical.")
