"""Readouts in physical units: microvolts, current densities and femtotesla, by the functions of the same names.

In `compute_readout` they share their work and take their settings by name. `csd` is the function itself; `lfp`,
`dipole_moment`, `eeg` and `meg` call the functions of these names, and differ from them in what their docstrings say.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from jaxfne_xr.core.errors import VariableError
from jaxfne_xr.core.registry import readout

from . import dipoles, eeg_meg, potentials
from .csd import csd
from .heads import LeadField


@readout(units="uV", formula="L I, L the lead field of a conductor, I transmembrane currents")
def lfp(signals: xr.Dataset, probe: xr.Dataset, *, model: Any = None) -> xr.Dataset:
    """Return the extracellular potential at the contacts, uV; see `jaxfne_xr.lfp` for what it needs, and `model`.

    Without ``by``, which among readouts is that of `dipole_moment`.
    """
    return potentials.lfp(signals, probe, model)


readout(
    units="uA/mm^3",
    formula="density of current behind lfp, by the method asked for",
    settings=("method",),
)(csd)


@readout(units="nA*um", formula="sum_i I_i (r_i - r_o), for each cell or group")
def dipole_moment(
    signals: xr.Dataset, *, by: str | None = "unit", origin: Any = None
) -> xr.Dataset:
    """Return current dipole moments, nA*um, on ``xyz`` and ``dipole``, one for each value of `by`.

    See `jaxfne_xr.dipole_moment`, whose dim is named after `by`: beside sites, which may have a label of that name.
    """
    made = dipoles.dipole_moment(signals, by, origin=origin)
    return made if by in (None, "dipole") else made.rename({by: "dipole"})


@readout(units="uV", formula="lead field of a head times dipole_moment: potential at electrodes")
def eeg(
    dipole_moment: xr.Dataset, sensors: xr.Dataset | None = None, *, head: Any = None
) -> xr.Dataset:
    """Return the EEG, uV, of cells that lie in the head where their positions say; see `jaxfne_xr.eeg`."""
    _require_sensors("eeg", sensors, head)
    return eeg_meg.eeg(dipole_moment, sensors, head)


@readout(
    units="fT",
    formula="lead field of a head times dipole_moment: field along the normals of sensors",
)
def meg(
    dipole_moment: xr.Dataset, sensors: xr.Dataset | None = None, *, head: Any = None
) -> xr.Dataset:
    """Return the MEG, fT, of cells that lie in the head where their positions say; see `jaxfne_xr.meg`."""
    _require_sensors("meg", sensors, head)
    return eeg_meg.meg(dipole_moment, sensors, head)


def _require_sensors(name: str, sensors: xr.Dataset | None, head: Any) -> None:
    if sensors is None and not isinstance(head, LeadField):
        raise VariableError.of(
            name,
            found="neither sensors nor a lead field of your own",
            expected="one of the two",
            remedy='sensors=jfx.probe_at(positions, dim="channel"), or head=jfx.LeadField(array, units)',
        )
