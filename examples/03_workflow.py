"""Run the workflow on a cell and on a network from Jaxley: configure, read out, summarise, draw, bundle, replay.

    python examples/03_workflow.py [output folder, by default ./output]

Eight excitatory and three inhibitory Hodgkin-Huxley cells lie along a shank with 16 contacts. No result has a
physical amplitude: voltages are used as the source, as a proxy, and every readout says so. Takes about 30 s.
Needs jaxley and matplotlib: pip install "jaxfne-xr[jaxley,plot]"
"""

import sys
from pathlib import Path

import jaxley as jx
import matplotlib
import numpy as np
import pandas as pd
from jaxley.channels import HH
from jaxley.connect import connect
from jaxley.synapses import IonotropicSynapse

import jaxfne_xr as jfx

matplotlib.use("agg")
import matplotlib.pyplot as plt

output = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
output.mkdir(parents=True, exist_ok=True)
dt = 0.025  # ms

# ------------------------------------------------------------------------------------------ one cell, in Jaxley
cell = jx.Cell([jx.Branch(ncomp=1), jx.Branch(ncomp=4)], parents=[-1, 0])
cell.insert(HH())
cell.branch(0).set("length", 20.0)  # um
cell.branch(0).set("radius", 10.0)
cell.branch(1).set("length", 50.0)  # of each of the four compartments
cell.branch(1).set("radius", 1.0)
cell.set("v", -65.0)  # mV
cell.init_states()

step = jx.step_current(i_delay=10.0, i_dur=80.0, i_amp=0.3, delta_t=dt, t_max=100.0)
cell.branch(0).loc(0.5).stimulate(step, verbose=False)
cell.record("v", verbose=False)
traces = jfx.from_jaxley(cell, jx.integrate(cell, delta_t=dt), delta_t=dt)
source = traces.query(recording="branch == 0")  # the soma only

# ----------------------------------------------------------------------------------------- the workflow, in short
cfg = (
    jfx.configuration()
    .network(n=1)
    .emitter(family="custom", mode="external_voltage")
    .field(domain="point")
    .probe(name="jaxley_soma")
)
model = jfx.construct(cfg)
signals = model.simulate_external(source, dt_ms=0.025)
readouts = model.compute_readout(signals, ["vm", "spike_rate_hz", "lfp_proxy"])
at_the_soma = signals
print(f"{cfg}\n{readouts.spike_rate_hz.data:.0f~P} at the soma\n")

# ----------------------------------------------------------------------------------------- a network, in Jaxley
rng = np.random.default_rng(0)
n_e, n_i = 8, 3
depth = np.concatenate([np.linspace(150.0, 650.0, n_e), [200.0, 400.0, 600.0]])  # um
excitatory, inhibitory = range(n_e), range(n_e, n_e + n_i)

cell.delete_stimuli()
cell.delete_recordings()
net = jx.Network([cell] * (n_e + n_i))
for i, z in enumerate(depth):
    x, y = rng.uniform(-40.0, 40.0, 2)
    net.cell(i).move_to(float(x), float(y), float(z))
# (from, to, reversal potential in mV, conductance in uS)
ways = [(excitatory, inhibitory, 0.0, 6e-3), (inhibitory, excitatory, -80.0, 2e-2)]
for sources, targets, *_ in ways:
    for pre in sources:
        for post in targets:
            connect(net[pre, 0, 0], net[post, 0, 0], IonotropicSynapse())
inhibits = net.edges["pre_index"] >= net.nodes["global_cell_index"].searchsorted(n_e)
for which, (*_, reversal, conductance) in zip((~inhibits, inhibits), ways, strict=True):
    synapses = net.IonotropicSynapse.edge(list(np.flatnonzero(which)))
    synapses.set("IonotropicSynapse_e_syn", reversal)
    synapses.set("IonotropicSynapse_gS", conductance)
net.set("IonotropicSynapse_k_minus", 0.2)  # 1/ms
net.set("IonotropicSynapse_s", 0.0)

t_max = 400.0  # ms
for i in range(n_e + n_i):
    drive = 0.25 if i < n_e else 0.02
    noise = np.repeat(rng.normal(drive, 0.15, int(t_max)), round(1 / dt))  # nA, new every ms
    net[i, 0, 0].stimulate(noise, verbose=False)
    net[i, 0, 0].record("v", verbose=False)
traces = jfx.from_jaxley(net, jx.integrate(net, delta_t=dt, t_max=t_max), delta_t=dt)

# --------------------------------------------------------------------------- configure, read out, summarise
angles = np.deg2rad([0.0, 35.0, 70.0])
scalp = 1e4 * np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)  # 1 cm away
cfg = (
    jfx.configuration()
    .network(groups={"E": n_e, "I": n_i})
    .emitter(family="custom", mode="external_voltage", spike_threshold="-10 mV")
    .field(domain="volume", sigma="80 um")
    .probe(
        name="shank",
        contacts=jfx.linear_probe(n=16, spacing="50 um", radius=7.5, name="c"),
        sensors=jfx.probe_at(scalp, dim="channel", name=["Cz", "C4", "T8"]),
        modes=[
            "vm",
            "lfp_proxy",
            "csd_proxy",
            "eeg_proxy",
            "emm_proxy",
            "spike_rate_hz",
            "spike_count",
            "mean_V_m",
        ],
    )
)
model = jfx.construct(cfg)
signals = model.simulate_external(traces)
readouts = model.compute_readout(signals, window=("50 ms", "400 ms"))
summary = jfx.summary(
    signals,
    by="population",
    window=("50 ms", None),
    bin="10 ms",
    bands={"beta": (13, 30), "gamma": (30, 80)},
    segment="100 ms",
)
print(f"{model}\n")
for name in ("spike_rate_hz", "spike_count", "mean_V_m"):
    print(f"{readouts[name].attrs['long_name']:<36} {readouts[name].data:.4g~P}")


def table(*names):
    """Return variables of the summary as a table, each with its unit."""
    columns = {}
    for name in names:
        unit = f"{summary[name].pint.units:~P}"
        columns[f"{name} ({unit})" if unit else name] = (
            summary[name].pint.dequantify().to_series().round(3)
        )
    return pd.DataFrame(columns).to_string()


print(f"\nEach population by itself\n{table('sites', 'firing_rate', 'mean_V_m', 'synchrony')}")
print(f"\nIts spike counts in bins of 10 ms\n{table('pairwise_correlation', 'silent_sites')}")
print(f"\nPower of its mean voltage\n{table('field_power')}")
print(f"\nOne population with another\n{table('rate_correlation', 'between_correlation')}")
print(
    f"\nCorrelation between populations over that within: {summary.between_within_ratio.data.m:.2f}"
)
print(f"\nWhat the numbers may be taken to mean:\n{readouts.jfne.scope}\n")

# ----------------------------------------------------------------------------------------------------------- draw
shown = readouts.sel(time=slice(100, 250))
fig, axes = plt.subplot_mosaic(
    [["cell", "spectrum"], ["raster", "coherence"], ["lfp", "csd"], ["eeg", "emm"]],
    figsize=(11, 12.5),
    height_ratios=[1, 1.2, 1.5, 1],
    layout="constrained",
)

one = at_the_soma.V_m.isel(recording=0).pint.dequantify(format="~P")
one.plot(ax=axes["cell"], color="black", lw=1)
axes["cell"].set_title("One cell: voltage at the soma")
signals.sel(time=slice(100, 250)).jfne.plot.raster(order="z", bin="5 ms", ax=axes["raster"])
axes["raster"].set_title("The network: spikes and rates")

means = signals.V_m.groupby("population").mean().sel(time=slice(50, None))
spectrum = jfx.psd(means, segment="100 ms").sel(frequency=slice(1, 300))
spectrum.jfne.plot.spectrum(ax=axes["spectrum"])
axes["spectrum"].set_title("Spectrum of mean voltages")

coherence = summary.coherence.sel(population="E", population_other="I", frequency=slice(1, 300))
coherence.pint.dequantify().plot(ax=axes["coherence"], color="tab:purple")
axes["coherence"].set(
    title="Coherence of E and I",
    xlabel="frequency (Hz)",
    ylabel="coherence",
    xscale="log",
    ylim=(0, 1.02),
)

shown.jfne.plot.lfp(ax=axes["lfp"])
axes["lfp"].set_title("Along the shank: LFP proxy")
shown.jfne.plot.csd(ax=axes["csd"], sink="red")
axes["csd"].set_title("CSD proxy")

shown.jfne.plot.traces("eeg_proxy", ax=axes["eeg"])
axes["eeg"].set_title("EEG proxy")
cost = shown.emm_proxy.coarsen(time=round(2 / dt), boundary="trim").mean()
cost.pint.dequantify().plot(ax=axes["emm"], color="tab:green", drawstyle="steps-mid")
axes["emm"].set(
    title="Activity cost (EMM proxy), means of 2 ms",
    xlabel="time (ms)",
    ylabel="times its mean",
    xlim=(100, 250),
    ylim=(0, None),
)
for ax in axes.values():
    ax.spines[["top", "right"]].set_visible(False)
fig.savefig(output / "03_workflow.png", dpi=150)

# ------------------------------------------------------------------------------- save, open, and replay
path = jfx.to_netcdf(jfx.bundle(model, signals, readouts), output / "03_workflow.nc")
again = jfx.replay(jfx.open(path))
assert again, again
print(f"Wrote {output / '03_workflow.png'}: spikes, spectra, fields and costs.")
print(f"Wrote {path}: {path.stat().st_size / 1e6:.1f} MB.\nOpened and run again: {again}")
