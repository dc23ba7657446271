"""Where dipoles and sensors may lie in a head."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxfne_xr.core.arrays import check_traced, is_traced
from jaxfne_xr.core.errors import ArgumentError, Problem
from jaxfne_xr.core.types import Array
from jaxfne_xr.geometry.positions import SAME_PLACE

#: Largest distance of an electrode outside the scalp, relative to its radius; the electrode is projected onto it.
ON_SCALP = 0.01
#: If all electrodes are within this distance of the centre, um, and this part of the scalp's radius, their positions
#: seem to be in another unit (a heuristic).
CENTRAL = (1000.0, 0.01)


def check_places(
    dipole: Array, sensor: Array, centre: Array, brain: Array, radius: Array, *, inside: bool
) -> None:
    """Let `checkify` check that dipoles are inside `brain`, and sensors inside or outside of the head."""

    def away(place: Array) -> Array:
        return jnp.linalg.norm(place - centre, axis=-1)

    def sensors_fit() -> Array:
        height = away(sensor)
        return (height <= (1 + ON_SCALP) * radius if inside else height > radius).all()

    check_traced("dipoles", lambda: jnp.all(away(dipole) < brain), "all inside the brain")
    check_traced("sensors", sensors_fit, "all in the head" if inside else "all outside the head")


def distances(place: Array, centre: Array) -> np.ndarray | None:
    """Return the distances of positions from the centre, um; None if JAX traces them."""
    if is_traced(place) or is_traced(centre):
        return None
    return np.linalg.norm(np.asarray(place, float) - np.asarray(centre, float), axis=-1)


def inside_problems(depth: np.ndarray | None, radius: float, what: str) -> list[Problem]:
    """Return the problem of dipoles outside the radius, um, of `what`."""
    if depth is None or not (outside := depth >= radius).any():
        return []
    k = int(np.argmax(depth))
    return [
        Problem(
            where="dipoles",
            found=f"{outside.sum()} of {len(depth)} outside {what}, number {k} at {depth[k]:.6g} um from its centre",
            expected=f"inside the radius of {radius:.6g} um",
            remedy='jfx.move_to(dipoles, x=0, y=0, z="75 mm")',
            error=ArgumentError,
        )
    ]


def outside_head(height: np.ndarray, scalp: float) -> list[Problem]:
    """Return the problem of electrodes outside the head, or all next to its centre, as those in mm seem to be."""
    outside = height > (1 + ON_SCALP) * scalp
    if outside.any():
        k, where, count = int(np.argmax(height)), "outside the head", int(outside.sum())
    elif height.size and (height < min(CENTRAL[0], CENTRAL[1] * scalp)).all():
        k, where, count = int(np.argmax(height)), "next to the centre of the head", len(height)
    else:
        return []
    return [
        Problem(
            where="sensors",
            found=f"{count} of {len(height)} {where}, number {k} at {height[k]:.6g} um from its centre",
            expected=f"in the head or on the scalp, {scalp:.6g} um from it, to {ON_SCALP:.0%}",
            remedy='jfx.probe_at(positions, units="mm", dim="channel"), if they are in mm; '
            'jfx.montage("easycap-M1", head); or the radii of the head, if it has another size',
            error=ArgumentError,
        )
    ]


def at_dipoles(dipole: Array, sensor: Array, among: np.ndarray | None = None) -> list[Problem]:
    """Return the problem of a sensor at the place of a dipole, where the field has no value.

    `among` are the sensors to look at, as a boolean for each; all by default.
    """
    if is_traced(dipole) or is_traced(sensor):
        return []
    places, sensors = np.asarray(dipole, float), np.asarray(sensor, float)
    for k in range(len(sensors)) if among is None else np.flatnonzero(among):
        level = np.flatnonzero(np.abs(places[:, 2] - sensors[k, 2]) < SAME_PLACE)
        near = level[np.linalg.norm(places[level] - sensors[k], axis=1) < SAME_PLACE]
        if near.size:
            return [
                Problem(
                    where="sensors",
                    found=f"number {k} at the place of dipole {near[0]}",
                    expected="a distance to every dipole: the field at a dipole has no value",
                    remedy=f"sensors.drop_isel(channel=[{k}]), or move it by the distance of the sources of the dipole",
                    error=ArgumentError,
                )
            ]
    return []
