"""Datasets whose coordinates and conductances are lazy too, as ``chunks=`` and ``.chunk()`` make them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parent))
from transformed import (
    CELL,
    CURRENT,
    MEG,
    MOMENT,
    POTENTIAL,
    PROBE,
    SENSORS,
    V,
    currents,
    dipoles,
    labelled,
    on_cell,
    placed,
    potential,
    signals,
)

DISKS = jfx.linear_probe(5, 40.0, origin=(90, 10, -80), radius=5.0, normal=(1, 0, 0))
SQUARES = (
    DISKS.drop_vars("radius")
    .assign_coords(area=("contact", np.full(5, 90.0), {"units": "um^2"}))
    .assign_coords(shape=("contact", ["square"] * 5))
)

#: Functions of Datasets: each with those that it takes.
CALLS = {
    "traces": (lambda v: v.jfne.to_signals(spike_threshold=-40.0), on_cell(V)),
    "psd": (lambda v: jfx.psd(v, segment=6.0), labelled(V)),
    "firing_rate": (jfx.firing_rate, signals(V)),
    "source": (jfx.source, signals(V)),
    "synaptic_source": (jfx.synaptic_source, signals(V)),
    "transmembrane_currents": (jfx.transmembrane_currents, on_cell(V)),
    "with_morphology": (
        lambda v, cell: v.jfne.with_morphology(cell),
        labelled(V, dims=("time", "recording")),
        CELL,
    ),
    "lead_field": (jfx.lead_field, CELL, PROBE),
    "lead_field of points": (
        lambda c, p: jfx.lead_field(c, p, jfx.PointSource("0.3 S/m")),
        CELL,
        PROBE,
    ),
    "lead_field of disks": (jfx.lead_field, CELL, DISKS),
    "lead_field of squares": (jfx.lead_field, CELL, SQUARES),
    "lfp": (jfx.lfp, currents(CURRENT), PROBE),
    "lfp of voltages": (jfx.lfp, on_cell(V), PROBE),
    "lfp by unit": (lambda c, p: jfx.lfp(c, p, by="unit"), currents(CURRENT), PROBE),
    "lfp_proxy": (lambda s, p: jfx.lfp_proxy(jfx.source(s), p), signals(V), PROBE),
    "csd": (jfx.csd, potential(POTENTIAL)),
    "kernel csd": (lambda p: jfx.csd(p, "kernel"), potential(POTENTIAL)),
    "ground_truth_csd": (
        lambda c: jfx.ground_truth_csd(c, [-100, 0, 50, 100]),
        currents(CURRENT),
    ),
    "dipole_moment": (jfx.dipole_moment, currents(CURRENT)),
    "translate": (lambda c: jfx.translate(c, x=3.0), on_cell(V)),
    "translate a probe": (lambda p: jfx.translate(p, x=3.0), DISKS),
    "rotate": (lambda c: jfx.rotate(c, "30 deg"), placed(labelled(V))),
    "rotate a probe": (lambda p: jfx.rotate(p, "30 deg"), DISKS),
    "move_to": (lambda c: jfx.move_to(c, x=3.0), on_cell(V)),
    "eeg": (jfx.eeg, dipoles(MOMENT), SENSORS),
    "meg": (lambda p, s: jfx.meg(p, s, jfx.Spherical()), dipoles(MOMENT), MEG),
}


def in_chunks(ds: xr.Dataset, path, how: str) -> xr.Dataset:
    chunks = {"time": 7} if "time" in ds.dims else {}
    if how == "chunk":
        return ds.chunk(chunks)
    jfx.to_netcdf(ds, path)
    return jfx.open(path, chunks=chunks)


@pytest.mark.parametrize("how", ["chunk", "open"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lazy_coordinates_make_no_difference(name, how, tmp_path):
    function, *given = CALLS[name]
    lazy = [in_chunks(ds, tmp_path / f"{k}.nc", how) for k, ds in enumerate(given)]
    assert any(v.chunks for ds in lazy for v in ds.variables.values())
    made, expected = (function(*x).compute() for x in (lazy, given))
    assert {*made.variables} == {*expected.variables}
    for key, x in expected.variables.items():
        a, b = (np.asarray(getattr(y.data, "magnitude", y.data)) for y in (made.variables[key], x))
        if b.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max(initial=0))
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", ["chunk", "open"])
def test_currents_of_lazy_voltages_are_lazy_and_checked(how, tmp_path):
    cell = in_chunks(on_cell(V), tmp_path / "v.nc", how)
    assert cell.conductance.chunks
    made = jfx.transmembrane_currents(cell)
    assert made.i_membrane.chunks
    assert made.x_start.chunks is None
    assert jfx.check_currents(cell)
