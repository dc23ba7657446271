"""EEG and MEG: the potential and the magnetic field of current dipoles at sensors, in a head model."""

from __future__ import annotations

from collections.abc import Hashable

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax
from jaxfne_xr.core.dispatch import contract
from jaxfne_xr.core.errors import ArgumentError, DimensionError
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.numeric import as_floats
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.schema import UNITS
from jaxfne_xr.core.types import Array, Sensors
from jaxfne_xr.core.units import magnitude

from .dipoles import XYZ, dipole_dim, moment_of, places_of
from .electrodes import averaged, electrodes_of
from .heads import CHANNEL, EEGHead, FourSphere, LeadField, MEGHead, Spherical
from .model import MODELS, recorded_model


@public
def eeg(
    dipoles: xr.Dataset | xr.DataArray,
    sensors: Sensors | None = None,
    head: EEGHead | None = None,
) -> xr.Dataset:
    """Compute the EEG of current dipoles: the sum of their potentials at each electrode.

    Parameters
    ----------
    dipoles : xr.Dataset or xr.DataArray
        ``dipole_moment`` (nA*um) on ``xyz`` and any other dims, with the position of each dipole in ``x``, ``y``, ``z``
        (um): from `dipole_moment`, moved and turned by `move_to` and `rotate`; or made by hand.
    sensors : xr.Dataset
        Electrodes along ``channel``: from `montage` or ``probe_at(..., dim="channel")``. The potential is averaged over
        those with a ``radius`` and a normal, as in `lead_field`. Not needed with `LeadField`.
    head : InfiniteHomogeneous, FourSphere, LeadField or any class with ``eeg_lead_field``, optional
        The conductor. ``FourSphere()`` by default.

    Returns
    -------
    xr.Dataset
        ``eeg`` (time, channel), uV, with any other dims of the moments. `amplitude_status` is 1 if the moments are of
        transmembrane currents of a morphology and the head declares its conductor.

    Raises
    ------
    VariableError, DimensionError, UnitError, ArgumentError
        If moments, positions or sensors are missing or do not fit; if a dipole is outside the brain, or an electrode
        outside the head or at a dipole. Values are not checked under a JAX trace: a dipole outside the brain then gives
        NaN.

    Notes
    -----
    Linear in the moments; differentiable in moments, positions, sensors, and the numbers of the head.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> p = xr.Dataset({"dipole_moment": (("time", "xyz"), [[0.0, 0.0, 1e7]], {"units": "nA*um"})})
    >>> cap = jfx.probe_at([[0, 0, 90], [0, 90, 0]], units="mm", name=["top", "front"], dim="channel")
    >>> eeg(jfx.move_to(p, x=0, y=0, z="78 mm"), cap).eeg.values.round(3)
    array([[10.625, -0.314]])
    """
    dipoles = as_dataset(dipoles, "dipoles")
    return _sensed("eeg", dipoles, sensors, FourSphere() if head is None else head)


@public
def meg(
    dipoles: xr.Dataset | xr.DataArray,
    sensors: Sensors | None = None,
    head: MEGHead | None = None,
) -> xr.Dataset:
    """Compute the MEG of current dipoles: the sum of their magnetic fields along the normal of each sensor.

    Parameters
    ----------
    dipoles : xr.Dataset or xr.DataArray
        As for `eeg`.
    sensors : xr.Dataset
        Magnetometers along ``channel``, with normals: ``probe_at(..., normal=..., dim="channel")``; those with a
        ``radius`` are coils, over which the field is averaged. For all three components at one position, three sensors
        with three normals. Not needed with `LeadField`.
    head : InfiniteHomogeneous, Spherical, FourSphere, LeadField or any class with ``meg_lead_field``, optional
        The conductor. ``Spherical()`` by default.

    Returns
    -------
    xr.Dataset
        ``meg`` (time, channel), fT; dims and scope as for `eeg`.

    Raises
    ------
    VariableError, DimensionError, UnitError, ArgumentError
        As for `eeg`; if a sensor has no normal, or is inside the head.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> p = xr.Dataset({"dipole_moment": (("time", "xyz"), [[1e7, 0.0, 0.0]], {"units": "nA*um"})})
    >>> sensor = jfx.probe_at([[0, 66, 88]], units="mm", normal=[0, 0.6, 0.8], dim="channel")
    >>> meg(jfx.move_to(p, x=0, y=0, z="60 mm"), sensor).meg.values.round(1)
    array([[97.7]])
    """
    dipoles = as_dataset(dipoles, "dipoles")
    return _sensed("meg", dipoles, sensors, Spherical() if head is None else head)


def _sensed(
    name: str, dipoles: xr.Dataset, sensors: xr.Dataset | None, head: EEGHead | MEGHead
) -> xr.Dataset:
    moment, dim = moment_of(dipoles), dipole_dim(dipoles)
    model = getattr(head, f"{name}_lead_field", None)
    if model is None or isinstance(head, type):
        known = sorted(n for n, kind in MODELS.items() if hasattr(kind, f"{name}_lead_field"))
        raise ArgumentError.of(
            "head",
            found=f"{head!r}, which has no {name}_lead_field",
            expected=f"one of {known}, or an object with that method",
            remedy=f"head=jfx.{'FourSphere' if name == 'eeg' else 'Spherical'}()",
        )
    n = 1 if dim is None else dipoles.sizes[dim]
    contacts: dict[str, str] = {}
    if isinstance(head, LeadField):
        coords = _given_channels(head, sensors)
        order = _matched(head, dipoles, dim, n)
        matrix = model(*(None,) * (2 if name == "eeg" else 3))
        matrix = matrix if order is None else matrix[..., order]
    else:
        if sensors is None:
            raise ArgumentError.of(
                "sensors",
                found="none",
                expected="the positions of the channels, which every head but LeadField needs",
                remedy='jfx.montage("easycap-M1"), or jfx.probe_at(positions, dim="channel")',
            )
        channels = electrodes_of(sensors, dim=CHANNEL, warn_if_unused=True)
        coords, contacts = dict(sensors.coords), {"contacts": channels.words}
        place = places_of(dipoles)
        normal = None if name == "eeg" else _normals(sensors)

        def lead_field(sensor: Array, channel: np.ndarray) -> Array:
            matrix = model(place, sensor, *(() if normal is None else (normal[channel],)))
            _require_shape(matrix, (len(sensor), 3, n), name)
            return matrix

        matrix = averaged(channels, lead_field)
    # Components and dipoles are summed at once: one product with a matrix (channel, xyz * dipole).
    if dim is not None:
        moment = moment.stack(component=(XYZ, dim))
    made = contract(
        matrix.reshape(matrix.shape[0], -1), moment, XYZ if dim is None else "component", CHANNEL
    )
    # Moments made by hand have no current as their source: only derived ones inherit its status.
    derived = any(step["function"] == "dipole_moment" for step in provenance.steps_of(dipoles))
    status = provenance.scope_of(dipoles).source_calibration_status
    parameters = {
        **recorded_model(head, name),
        "source": status if derived else "dipole_moment",
        **contacts,
    }
    # x, y and z of the result are positions of channels; those of dipoles would collide with them.
    unplaced = dipoles.drop_vars([a for a in XYZ if a in dipoles.coords])
    return finish(
        unplaced, name, made, UNITS[name], parameters, coords=coords, stage="field", attrs=contacts
    )


def _require_shape(matrix: Array, expected: tuple[int, ...], name: str) -> None:
    if np.shape(matrix) != expected:
        raise DimensionError.of(
            "head",
            found=f"a lead field of shape {np.shape(matrix)}",
            expected=f"(channel, xyz, dipole), {expected}",
            remedy=f"return an array of this shape from {name}_lead_field",
        )


def _given_channels(
    head: LeadField, sensors: xr.Dataset | None
) -> dict[Hashable, xr.Variable | xr.DataArray | tuple[str, list[Hashable]]]:
    """Return the labels of the channels: those of the sensors, else those of the lead field."""
    n = np.shape(head.array)[0]
    if sensors is None:
        return {} if head.channels is None else {CHANNEL: (CHANNEL, list(head.channels))}
    if sensors.sizes.get(CHANNEL) != n:
        raise DimensionError.of(
            "sensors",
            found=f"the sizes {dict(sensors.sizes)}",
            expected=f"one for each of the {n} channels of the lead field",
            remedy="sensors=None, or those with which the lead field was computed",
        )
    return dict(sensors.coords)


def _matched(
    head: LeadField, dipoles: xr.Dataset, dim: Hashable | None, n: int
) -> list[int] | None:
    """Return the indices of the dipoles in a lead field, by label; None for all of them in order."""
    if head.dipoles is not None and dim in dipoles.coords:
        asked = dipoles[dim].values.tolist()
        missing = [label for label in asked if label not in head.dipoles]
        if not missing:
            return [head.dipoles.index(label) for label in asked]
        found = f"the labels {missing[:5]}, which are not in the lead field"
        raise DimensionError.of(
            "dipoles",
            found=found,
            expected="labels of the dipoles of the lead field",
            remedy=f"give the dipoles the labels of the lead field, along {dim}: {list(head.dipoles[:3])} and so on",
        )
    if np.shape(head.array)[2] != n:
        found = f"a lead field of {np.shape(head.array)[2]} dipoles for {n} moments"
        raise DimensionError.of(
            "dipoles",
            found=found,
            expected="one dipole for each moment",
            remedy="a LeadField of a DataArray with labels of its dipoles, which are matched with those of the moments",
        )
    return None


def _normals(sensors: xr.Dataset) -> Array:
    """Return the unit vector (channel, xyz) along which each sensor measures."""
    names = [f"normal_{a}" for a in XYZ]
    if not all(name in sensors.coords and sensors[name].dims == (CHANNEL,) for name in names):
        raise DimensionError.of(
            "sensors",
            found="no normals: a magnetometer measures along one direction",
            expected=f"the coordinates {names} along {CHANNEL!r}",
            remedy='jfx.probe_at(positions, normal=positions, dim="channel"), for radial ones',
        )
    columns = [as_floats(magnitude(sensors.variables[name].data)) for name in names]
    if any(map(is_jax, columns)):
        facing = jnp.stack(columns, axis=-1)
        return facing / jnp.linalg.norm(facing, axis=-1, keepdims=True)
    normal = np.stack([np.asarray(c, float) for c in columns], axis=-1)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise ArgumentError.of(
            "normal",
            found=f"{normal[np.argmin(length)]}",
            expected="a direction, not all 0",
            remedy="normal=(0, 0, 1)",
        )
    return normal / length
