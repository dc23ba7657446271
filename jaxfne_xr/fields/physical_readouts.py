"""Readouts in physical units: potentials, current densities, dipole moments and magnetic fields.

`compute_readout` computes what they share once, and passes settings by name. `csd` is the public function itself;
`lfp`, `dipole_moment`, `eeg` and `meg` call the public functions of these names; their docstrings say how they differ.
"""

from __future__ import annotations

import xarray as xr

from jaxfne_xr.core.errors import VariableError
from jaxfne_xr.core.registry import readout
from jaxfne_xr.core.types import ArrayLike

from . import dipoles, eeg_meg, potentials
from .csd import csd
from .heads import EEGHead, LeadField, MEGHead
from .potentials import PotentialModel


@readout(units="uV", formula="L I, L the lead field of a conductor, I transmembrane currents")
def lfp(
    signals: xr.Dataset, probe: xr.Dataset, *, model: PotentialModel | None = None
) -> xr.Dataset:
    """Compute the extracellular potential at the contacts, uV; see `jaxfne_xr.lfp` for its inputs and `model`.

    It has no setting ``by``, since that name is a setting of the readout `dipole_moment`.
    """
    return potentials.lfp(signals, probe, model)


readout(
    units="uA/mm^3",
    formula="density of current behind lfp, by the method asked for",
    settings=("method",),
)(csd)


@readout(units="nA*um", formula="sum_i I_i (r_i - r_o), for each cell or group")
def dipole_moment(
    signals: xr.Dataset, *, by: str | None = "unit", origin: str | ArrayLike | None = None
) -> xr.Dataset:
    """Compute current dipole moments, nA*um, on ``xyz`` and ``dipole``, one for each value of `by`.

    See `jaxfne_xr.dipole_moment`, whose dim is named after `by`. Here it is ``dipole``, since the sites in the same
    Dataset may have a coordinate of that name.
    """
    made = dipoles.dipole_moment(signals, by, origin=origin)
    return made if by in (None, "dipole") else made.rename({by: "dipole"})


@readout(units="uV", formula="lead field of a head times dipole_moment: potential at electrodes")
def eeg(
    dipole_moment: xr.Dataset, sensors: xr.Dataset | None = None, *, head: EEGHead | None = None
) -> xr.Dataset:
    """Compute the EEG, uV, of cells whose positions are in coordinates of the head; see `jaxfne_xr.eeg`."""
    _require_sensors("eeg", sensors, head)
    return eeg_meg.eeg(dipole_moment, sensors, head)


@readout(
    units="fT",
    formula="lead field of a head times dipole_moment: field along the normals of sensors",
)
def meg(
    dipole_moment: xr.Dataset, sensors: xr.Dataset | None = None, *, head: MEGHead | None = None
) -> xr.Dataset:
    """Compute the MEG, fT, of cells whose positions are in coordinates of the head; see `jaxfne_xr.meg`."""
    _require_sensors("meg", sensors, head)
    return eeg_meg.meg(dipole_moment, sensors, head)


def _require_sensors(name: str, sensors: xr.Dataset | None, head: object) -> None:
    if sensors is None and not isinstance(head, LeadField):
        raise VariableError.of(
            name,
            found="neither sensors nor a LeadField",
            expected="one of the two",
            remedy='sensors=jfx.probe_at(positions, dim="channel"), or head=jfx.LeadField(array, units)',
        )
