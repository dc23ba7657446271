"""Readouts in physical units: microvolts, current densities and femtotesla, by the functions of the same names.

In `compute_readout` they share their work and take their settings by name; called by themselves, `lfp`, `csd`,
`dipole_moment`, `eeg` and `meg` are the functions that these call.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from . import csd as estimates
from . import dipole, eeg_meg, field
from .errors import Problem, VariableError
from .head import LeadField
from .readout import readout


@readout(units="uV", formula="L I, L the lead field of a conductor, I transmembrane currents")
def lfp(signals: xr.Dataset, probe: xr.Dataset, *, model: Any = None) -> xr.Dataset:
    """Return the extracellular potential at the contacts, uV; see `jaxfne_xr.lfp` for what it needs, and `model`."""
    return field.lfp(signals, probe, model)


@readout(units="uA/mm^3", formula="density of current behind lfp, by the method asked for")
def csd(
    lfp: xr.Dataset,
    *,
    method: str = "standard",
    conductivity: Any = 0.3,
    radius: Any = None,
    conductivity_top: Any = None,
    surface: Any = None,
    ends: str | None = None,
    at: Any = None,
    dims: str | None = None,
    width: Any = None,
    regularisation: Any = None,
    basis: str | None = None,
) -> xr.Dataset:
    """Return the current source density at every contact, uA/mm^3; see `jaxfne_xr.csd` for the settings.

    Unlike there, ``ends="vaknin"`` unless told otherwise: the outermost contacts are kept, so that it lies on the
    same contacts as ``lfp``.
    """
    if method == "standard" and ends is None:
        ends = "vaknin"
    return estimates.csd(
        lfp,
        method,
        conductivity=conductivity,
        radius=radius,
        conductivity_top=conductivity_top,
        surface=surface,
        ends=ends,
        at=at,
        dims=dims,
        width=width,
        regularisation=regularisation,
        basis=basis,
    )


@readout(units="nA*um", formula="sum_i I_i (r_i - r_o), for each cell or group")
def dipole_moment(
    signals: xr.Dataset, *, by: str | None = "unit", origin: Any = None
) -> xr.Dataset:
    """Return current dipole moments, nA*um, on ``xyz`` and ``dipole``, one for each value of `by`.

    See `jaxfne_xr.dipole_moment`, whose dim is named after `by`: beside sites, which may have a label of that name.
    """
    made = dipole.dipole_moment(signals, by, origin=origin)
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
        raise VariableError(
            Problem(
                where=name,
                found="neither sensors nor a lead field of your own",
                wanted="one of the two",
                remedy='sensors=jfx.probe_at(positions, dim="channel"), or head=jfx.LeadField(array, units)',
                error=VariableError,
            )
        )
