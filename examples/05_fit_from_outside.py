"""Fit channel densities of a cell and the position of a probe to the extracellular potential alone.

    python examples/05_fit_from_outside.py [output folder, by default ./output]

A cell with Hodgkin-Huxley channels is read from branched_cell.swc, which was made up for these examples, and fires
twice. Sixteen contacts record it, with noise of 1 uV. Its sodium and potassium conductances and the position of the
probe are then taken as unknown: gradient descent finds both from five random starting points, through the simulation,
the transmembrane currents and the lead field. A search without derivatives is run for comparison: with five unknowns
it is as fast, but its steps grow with the number of unknowns and those of gradient descent do not. Takes about two
minutes. Needs jaxley, matplotlib, optax and scipy: pip install "jaxfne-xr[jaxley,plot,fit]"

The probe is known to be on the side of the cell where y > 0: at the mirrored position the potential would be similar.
The current injected into the soma is left out of the potential, in the recording and in the fit.
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxley as jx
import matplotlib
import numpy as np
import optax
import scipy.optimize
from jaxley.channels import HH

import jaxfne_xr as jfx

matplotlib.use("agg")
import matplotlib.pyplot as plt

jax.config.update("jax_enable_x64", True)

output = Path(sys.argv[1] if len(sys.argv) > 1 else "output")
output.mkdir(parents=True, exist_ok=True)

# ------------------------------------------------------------------------- the cell, and the recording of it
dt, duration = 0.025, 20.0  # ms
swc = Path(__file__).with_name("branched_cell.swc")
cell = jx.read_swc(str(swc), ncomp=1, max_branch_len=100.0)
cell.insert(HH())
cell.set("axial_resistivity", 150.0)  # ohm cm
cell.set("v", -65.0)  # mV
cell.init_states()
step = jx.step_current(i_delay=1.0, i_dur=18.0, i_amp=1.0, delta_t=dt, t_max=duration)  # ms, nA
cell.soma.branch(0).comp(0).stimulate(step, verbose=False)
for density in ("HH_gNa", "HH_gK"):
    cell.make_trainable(density, verbose=False)

shape = jfx.grid_probe((8, 2), ("25 um", "32 um"), origin=(0.0, 0.0, -60.0), name="site")
contacts = np.stack([shape[axis] for axis in "xyz"], axis=1)  # from the corner of the probe, um
tissue = jfx.LineSource("0.3 S/m")


def field(densities, place):
    """Return the potential (time, contact), uV, of a cell with these densities at a probe in this position."""
    params = [{"HH_gNa": densities[:1]}, {"HH_gK": densities[1:]}]
    probe = jfx.probe_at(contacts + place)
    return jfx.integrate_field(
        cell, probe, delta_t=dt, t_max=duration, model=tissue, params=params, quantify=False
    )


true_densities = np.array([0.12, 0.036])  # S/cm^2
true_place = np.array([20.0, 35.0, -40.0])  # um
random = np.random.default_rng(0)
seen = field(true_densities, true_place)
seen["lfp"] = seen.lfp + random.normal(0.0, 1.0, seen.lfp.shape)  # uV; xarray keeps the unit
print(f"Seen: {dict(seen.lfp.sizes)}, down to {float(seen.lfp.min()):.1f} uV, noise 1 uV.")

# ------------------------------------------------------------ the loss, of five parameters of order one
# The logarithms of the sodium density and of the ratio of the two (scaling both changes little), the position in 10 um.


def unpacked(x):
    return jnp.exp(jnp.stack([x[0], x[0] + x[1]])), 10.0 * x[2:]


def packed(densities, place):
    sodium, potassium = np.log(densities)
    return np.array([sodium, potassium - sodium, *(np.asarray(place) / 10.0)])


def loss(x, until):
    """Return the mean square difference from the recording, uV^2, up to a time in ms."""
    window = slice(0.0, until)
    made = field(*unpacked(x))
    return jfx.mean_square_loss(made.sel(time=window), seen.sel(time=window)).mean_square_loss.data


first_spike = 8.0  # ms
value = jax.jit(loss, static_argnums=1)
value_and_gradient = jax.jit(jax.value_and_grad(loss), static_argnums=1)

# ------------------------------------------------------------------------- five starting points, gradient descent
# Spikes that are off by more than their width give no useful gradient: the first spike, which is least off, is fitted
# first (Adam), then the whole recording to convergence (L-BFGS).
adam_steps = 200
adam = optax.adam(optax.cosine_decay_schedule(0.05, adam_steps))
newton = optax.lbfgs()


def whole(x):
    return value(x, duration)


@jax.jit
def newton_step(x, state):
    now, gradient = optax.value_and_grad_from_state(whole)(x, state=state)
    update, state = newton.update(gradient, state, x, value=now, grad=gradient, value_fn=whole)
    return optax.apply_updates(x, update), state, now


def descend(x):
    """Return where gradient descent from `x` ends, and the losses and positions on the way."""
    losses, places = [], [x[2:] * 10.0]
    state = adam.init(x)
    for _ in range(adam_steps):
        now, gradient = value_and_gradient(x, first_spike)
        update, state = adam.update(gradient, state)
        x = optax.apply_updates(x, update)
        losses.append(float(now))
        places.append(np.asarray(x[2:]) * 10.0)
    state = newton.init(x)
    while len(losses) < adam_steps + 10 or losses[-6] - losses[-1] > 1e-9:
        x, state, now = newton_step(x, state)
        losses.append(float(now))
        places.append(np.asarray(x[2:]) * 10.0)
    return np.asarray(x), np.array(losses), np.array(places)


def errors(x):
    """Return the errors of the densities (%) and of the position (um)."""
    densities, place = unpacked(x)
    return 100 * (np.asarray(densities) / true_densities - 1), np.linalg.norm(place - true_place)


starts = []
for _ in range(5):
    direction = random.normal(size=3)
    away = 30.0 * random.uniform() ** (1 / 3) * direction / np.linalg.norm(direction)
    starts.append(packed(true_densities * random.uniform(0.7, 1.3, 2), true_place + away))

(
    value(starts[0], duration),
    value_and_gradient(starts[0], first_spike),
)  # compile before the clock starts
newton_step(jnp.asarray(starts[0]), newton.init(jnp.asarray(starts[0])))
print("\nGradient descent   start: Na %, K %, um          end: Na %, K %, um      loss   seconds")
ends, curves, paths = [], [], []
for start in starts:
    begin = time.perf_counter()
    end, losses, places = descend(jnp.asarray(start))
    seconds = time.perf_counter() - begin
    (a, b), (c, d) = errors(start), errors(end)
    print(
        f"{a[0]:+27.1f} {a[1]:+6.1f} {b:6.1f} {c[0]:+16.2f} {c[1]:+6.2f} {d:6.2f} {losses[-1]:9.4f} {seconds:9.1f}"
    )
    ends.append(end)
    curves.append(losses)
    paths.append(places)
    assert np.abs(c).max() < 2.0, "a density is off by more than 2 %"
    assert d < 1.0, "the place is off by more than 1 um"
noise = float(value(packed(true_densities, true_place), duration))
print(f"The loss of the truth is {noise:.4f} uV^2: what is left is noise.")

# ------------------------------------------------------------------------------------------ without derivatives
print("\nNelder-Mead, from the same starts, the first spike first:")
for start in starts:
    begin = time.perf_counter()
    x, calls = start, 0
    for until in (first_spike, duration):
        options = {"maxfev": 2000, "xatol": 1e-4, "fatol": 1e-6}
        found = scipy.optimize.minimize(
            lambda x, until=until: float(value(x, until)), x, method="Nelder-Mead", options=options
        )
        x, calls = found.x, calls + found.nfev
    densities, place = errors(x)
    print(
        f"  Na {densities[0]:+7.2f} %, K {densities[1]:+7.2f} %, {place:6.2f} um, loss {found.fun:.4f}: "
        f"{calls} evaluations, {time.perf_counter() - begin:.1f} s"
    )
lengths = [len(losses) - adam_steps for losses in curves]
print(
    f"Gradient descent took {adam_steps} gradients, and {min(lengths)} to {max(lengths)} steps with a line search each."
)

# --------------------------------------------------------------------------------------------------------- draw
fitted = field(*unpacked(ends[0]))
before = field(*unpacked(starts[0]))
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
for k, losses in enumerate(curves):
    left.semilogy(losses, color=f"C{k}", lw=1, label=f"start {k + 1}")
left.axhline(noise, color="0.5", lw=0.8, ls=":", label="noise")
left.axvline(adam_steps, color="0.8", lw=0.8)
left.set(xlabel="step (Adam on the first spike, then L-BFGS on all)", ylabel="loss (uV$^2$)")
left.legend(frameon=False, fontsize=8)

nearest = int(np.argmin(seen.lfp.min("time").values))
for data, style in ((seen, "0.75"), (before, "C1"), (fitted, "C0")):
    label = {id(seen): "seen", id(before): "start 1", id(fitted): "fitted"}[id(data)]
    middle.plot(seen.time, data.lfp.isel(contact=nearest), color=style, lw=1, label=label)
middle.set(
    xlabel="time (ms)", ylabel="potential (uV)", title=f"contact {shape.name[nearest].item()}"
)
middle.legend(frameon=False, fontsize=8)

for k, places in enumerate(paths):
    distance = np.linalg.norm(places - true_place, axis=1)
    right.semilogy(distance, color=f"C{k}", lw=1)
right.axhline(1.0, color="0.5", lw=0.8, ls=":")
right.set(xlabel="step", ylabel="distance of the probe from its place (um)")
figure.savefig(output / "05_fit_from_outside.png", dpi=150)

fitted.jfne.to_netcdf(output / "05_fitted.nc")
print(f"\nWrote 05_fit_from_outside.png and 05_fitted.nc to {output}.")
