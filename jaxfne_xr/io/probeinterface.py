"""probeinterface: read probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.errors import ArgumentError
from jaxfne_xr.core.units import convert
from jaxfne_xr.geometry.probes import probe_at


@public
def from_probeinterface(probe: Any, *, name: str = "probe") -> xr.Dataset:
    """Read the contacts of a `probeinterface` probe.

    Parameters
    ----------
    probe : probeinterface.Probe
        In two dimensions, its x is used as x and its y as depth (z), as in the pictures of probeinterface.
    name : str
        Used if the contacts of the probe have no names.

    Returns
    -------
    xr.Dataset
        With ``radius`` (for a square or rectangle, that of the disk of equal area) and the normal of the plane of each
        contact, so that forward models average over disks; and ``shank`` if there are several.

    Raises
    ------
    ArgumentError
        If it is not a probe of probeinterface.

    Examples
    --------
    >>> import probeinterface  # doctest: +SKIP
    >>> from_probeinterface(probeinterface.generate_tetrode())  # doctest: +SKIP
    """
    if not hasattr(probe, "contact_positions") or not hasattr(probe, "si_units"):
        raise ArgumentError.of(
            "probe",
            found=f"a {type(probe).__name__}",
            expected="a probeinterface.Probe",
            remedy="one of the probes of a ProbeGroup, or probeinterface.get_probe",
        )
    positions = np.asarray(probe.contact_positions, float)
    if positions.shape[1] == 2:
        # probeinterface has y upwards in the plane of the probe; here z is upwards, and y is the third axis
        positions = np.stack([positions[:, 0], np.zeros(len(positions)), positions[:, 1]], axis=1)
    sides = [
        _area(shape, p)
        for shape, p in zip(probe.contact_shapes, probe.contact_shape_params, strict=True)
    ]
    radius = convert(np.sqrt(np.array(sides) / np.pi), probe.si_units, "um")
    ids = probe.contact_ids
    names = name if ids is None or not any(map(str, ids)) else [str(i) for i in ids]
    made = probe_at(
        positions, units=probe.si_units, radius=radius, normal=_normals(probe), name=names
    )
    if probe.shank_ids is not None and any(map(str, probe.shank_ids)):
        made = made.assign_coords(shank=("contact", np.array([str(s) for s in probe.shank_ids])))
    return made


def _normals(probe: Any) -> np.ndarray:
    """Return the vector perpendicular to the two axes that span the plane of each contact."""
    axes = np.asarray(probe.contact_plane_axes, float)
    if axes.shape[-1] == 2:
        axes = np.stack([axes[..., 0], 0 * axes[..., 0], axes[..., 1]], axis=-1)
    return np.cross(axes[:, 0], axes[:, 1])


def _area(shape: str, parameters: Mapping[str, float]) -> float:
    if shape == "circle":
        return np.pi * parameters["radius"] ** 2
    return parameters["width"] * parameters.get("height", parameters["width"])
