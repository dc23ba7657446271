"""Suggest code for a Dataset, and the function that draws it, from names and dims; no values are read."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from jaxfne_xr.analysis.spectra import BANDS
from jaxfne_xr.analysis.summary import BIN_MS
from jaxfne_xr.core.inputs import site_dim
from jaxfne_xr.core.schema import VOLTAGES
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.validation import OTHER, VARIABLE

#: Coordinates that group sites or contacts.
GROUPS = ("population", "layer", "area", "shank")
#: The widest of the default bands, Hz.
WIDEST = max(BANDS.values(), key=lambda band: band[1] - band[0])

#: The function of `jaxfne_xr.plot` for a variable along these dims. The first variable that exists is suggested.
DRAWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "spikes": ("raster", (TIME,)),
    **dict.fromkeys(("lfp", "lfp_proxy"), ("lfp", (TIME, "contact"))),
    **dict.fromkeys(("csd", "csd_proxy"), ("csd", (TIME, "contact"))),
    "psd": ("spectrum", ("frequency",)),
    **dict.fromkeys(
        ("i_membrane", "source", "source_proxy", "V_m", "v", "vm"), ("traces", (TIME,))
    ),
    **dict.fromkeys(("eeg", "meg", "eeg_proxy", "meg_proxy", "emm_proxy"), ("traces", (TIME,))),
    **dict.fromkeys(("firing_rate", "dipole_moment"), ("traces", (TIME,))),
}
#: Functions that draw a whole Dataset, by its stage or by the last step that made it.
DRAWN_WHOLE = ("probe", "morphology", "summary")


def drawn_whole(
    ds: xr.Dataset, stage: str, steps: Sequence[Mapping[str, Any]] | None
) -> str | None:
    """Return the function that draws a whole Dataset, or None if each variable has a picture."""
    last = steps[-1].get("function") if steps else None
    found = next((name for name in (stage, last) if name in DRAWN_WHOLE), None)
    unplaced = found == "probe" and not {"x", "z"} <= {*ds.coords}
    return None if unplaced else found


def drawn(ds: xr.Dataset, name: Hashable) -> tuple[str, dict[str, Any]] | None:
    """Return the function that draws a variable, and its options, or None if there is nothing to draw."""
    function, dims = DRAWN.get(str(name), ("", ()))
    if name not in ds.data_vars or not ds[name].size:
        return None
    here = {str(d) for d in ds[name].dims}
    if function == "csd" and {TIME, "depth"} <= here:  # from ground_truth_csd
        return function, {"variable": name}
    if function in ("lfp", "csd") and TIME in here:
        # in the result of `compute_readout`, which has sites too, positions of contacts have a prefix
        depths = ("depth", "z", "contact_z") if function == "csd" else ("z", "contact_z")
        depth = next((d for d in depths if d in ds.coords and ds[d].dims == ("contact",)), None)
        if depth is None:
            function, dims = "traces", (TIME,)
        elif depth == "contact_z" and {*dims} <= here:
            return function, {"variable": name, "depth": depth}
    if not function or not {*dims} <= here:
        return None
    return function, {} if function == "raster" else {"variable": name}


def next_steps(
    ds: xr.Dataset, record: Mapping[str, Any], stage: str, time: Mapping[str, Any] | None
) -> list[str]:
    """Return lines of suggested code, each of which runs by itself."""
    has: set[Hashable] = set(ds.data_vars)
    placed = {"x", "y", "z"} <= set(ds.coords)
    timed = TIME in ds.dims
    if stage == OTHER:
        return []
    if stage == "probe":
        return _next_of_probe(ds, placed)
    if stage == "morphology":
        return ["ds.jfne.plot.morphology()", "traces.jfne.with_morphology(ds)"]
    steps = []
    if whole := drawn_whole(ds, stage, record.get("steps")):
        steps.append(f"ds.jfne.plot.{whole}()")
    elif found := next(((n, d) for n in DRAWN if (d := drawn(ds, n))), None):
        steps.append(_plotting(ds, *found))
    if timed and stage in ("traces", VARIABLE) and has & {*VOLTAGES}:
        steps.append("signals = ds.jfne.to_signals()")
    cable = timed and has_cable(ds)
    if cable and "i_membrane" not in has:
        steps.append("currents = ds.jfne.transmembrane_currents()")
    if timed and placed and (cable or "i_membrane" in has) and "x_start" in ds.coords:
        steps.append('lfp = ds.jfne.lfp(jfx.linear_probe(16, spacing="50 um", origin=(50, 0, 0)))')
        steps.append("dipoles = ds.jfne.dipole_moment()")
    sites = site_dim(ds.dims)
    several = timed and ds.sizes[TIME] > 1
    if several and "spikes" in has:
        steps.append("ds.jfne.firing_rate()")
        groups = [g for g in GROUPS if sites and g in ds.coords and ds[g].dims == (sites,)]
        long_enough = time and time["duration_ms"] and time["duration_ms"] >= 2 * BIN_MS
        if sites and ds.sizes[sites] and long_enough and has & {"V_m", "source"}:
            steps.append(
                f'ds.jfne.summary(by="{groups[0]}")' if groups else "ds.jfne.summary(by=None)"
            )
    if timed and "lfp" in has and "contact" in ds.dims and placed and ds.sizes["contact"] > 2:
        steps.append('csd = ds.jfne.csd("kernel")')
    if "dipole_moment" in has and placed:
        steps.append(
            'eeg = ds.jfne.move_to(x=0, y=0, z="78 mm").jfne.eeg(jfx.montage("easycap-M1"))'
        )
    spectral = [n for n in ("lfp", "lfp_proxy", "csd", "csd_proxy", "eeg", "meg") if n in has]
    if several and spectral:
        steps.append(f'ds.jfne.psd("{spectral[0]}")')
    if "psd" in has and _resolves_bands(ds):
        steps.append("ds.jfne.band_power()")
    if "lead_field" in has and sites:
        steps.append(f'lfp = (ds.lead_field * currents.i_membrane).sum("{sites}")')
    return [*steps, 'ds.jfne.report("run.html")', 'ds.jfne.to_netcdf("run.nc")']


def of_array(steps: Iterable[str]) -> list[str]:
    """Return the steps that also work with a DataArray, which has no record to store in a file."""
    methods = ("report(", "to_netcdf(")
    return [
        step.replace("ds.jfne.", "array.jfne.")
        for step in steps
        if "ds.jfne." in step and not step.startswith(tuple(f"ds.jfne.{m}" for m in methods))
    ]


def _next_of_probe(ds: xr.Dataset, placed: bool) -> list[str]:
    sensors = "channel" in ds.dims
    if not placed:
        return [] if sensors else ['signals.jfne.lfp_proxy(domain="point")']
    if sensors:
        return ["ds.jfne.plot.probe()", "eeg = dipoles.jfne.eeg(ds)"]
    return ["ds.jfne.plot.probe()", "signals.jfne.lfp_proxy(ds)", "currents.jfne.lfp(ds)"]


def _resolves_bands(ds: xr.Dataset) -> bool:
    """Whether the frequencies resolve the widest of the default bands, gamma: see `jaxfne_xr.band_power`."""
    if ds.sizes.get("frequency", 0) < 2 or "frequency" not in ds.coords:
        return False
    f = ds["frequency"].values
    return bool(f[1] - f[0] <= WIDEST[1] - WIDEST[0] and f[-1] >= WIDEST[1])


def _plotting(ds: xr.Dataset, name: str, how: tuple[str, dict[str, Any]]) -> str:
    """Return the line that draws a variable, without arguments that are the default."""
    function, options = how
    usual = DRAWN[name][0] == function and "depth" not in options
    given = {} if usual else options
    said = ", ".join(f'{key}="{value}"' for key, value in given.items())
    return f"ds.jfne.plot.{function}({said})"


def has_cable(ds: xr.Dataset) -> bool:
    """Whether there are voltages, and conductances between compartments, to compute transmembrane currents."""
    joined = "conductance" in ds.data_vars and ds["conductance"].size > 0
    return joined and bool({*ds.data_vars} & {*VOLTAGES})
