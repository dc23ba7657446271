"""Rotations: matrices from an angle and an axis, or from the direction into which z is rotated."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arrays import is_jax, is_traced
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, DimensionError
from jaxfne_xr.core.numeric import real_numbers
from jaxfne_xr.core.types import Array, ArrayLike, Scalars
from jaxfne_xr.core.values import carries_unit, direction, values_in

#: The record holds so many displacements or angles, and of more their range only.
MOST_RECORDED = 100
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def rotation(
    angle: Scalars | None, axis: str | ArrayLike, to: ArrayLike | None, n: int
) -> tuple[Array, dict[str, Any]]:
    """Return the matrix of a rotation, (3, 3) for all or (n, 3, 3) for each of `n`, and its record.

    Parameters
    ----------
    angle : float, str, pint.Quantity or array (n), in degrees
        Counterclockwise as seen from the tip of the axis.
    axis : {"x", "y", "z"} or (3,)
        Axis of the rotation.
    to : (3,) or array (n, 3), in place of the angle
        The direction into which z is rotated, by the smallest possible angle.
    n : int
        The number of things to rotate.

    Raises
    ------
    ArgumentError, UnitError, DimensionError
        If neither or both of `angle` and `to` are given, or they cannot be used.
    """
    if (angle is None) == (to is None):
        neither = "neither angle nor to", 'angle="30 deg", or to=(0, 1, 0)'
        found, remedy = neither if to is None else ("both angle and to", "angle=None, or to=None")
        raise ArgumentError.of(
            "angle",
            found=found,
            expected="one of the two",
            remedy=remedy,
        )
    if to is not None:
        upwards = _components(to, "to")
        return on_arrays(_from_z, _unit_vectors(upwards, "to", n)), {"to": recorded(upwards)}
    turn = values_in(angle, "deg", "angle")  # type: ignore[arg-type]
    if turn.shape not in {(), (n,)}:
        raise DimensionError.of(
            "angle",
            found=f"the shape {turn.shape}",
            expected=f"one number, or one for each of {n}",
            remedy='angle="30 deg"',
        )
    if not is_traced(turn) and not np.isfinite(np.asarray(turn)).all():
        raise ArgumentError.of(
            "angle", found="a value that is not finite", expected="finite", remedy='angle="30 deg"'
        )
    about = _components(AXES.get(axis, axis) if isinstance(axis, str) else axis, "axis")
    matrix = on_arrays(_about_axis, _unit_vectors(about, "axis", n), turn)
    return matrix, {
        "angle_deg": recorded(turn),
        "axis": axis if isinstance(axis, str) else provenance.recorded(about),
    }


def recorded(values: ArrayLike) -> Any:
    """Return displacements, places or angles for the record: of many, their number and range.

    The positions that they lead to are in the Dataset.
    """
    if is_traced(values) or np.size(values) <= MOST_RECORDED:
        return provenance.recorded(values)
    numbers = np.asarray(values, float)
    return {"shape": list(numbers.shape), "min": float(numbers.min()), "max": float(numbers.max())}


def turned(vectors: Array, matrix: Array) -> Array:
    """Rotate vectors (row, 3) by one matrix (3, 3), or each by its own (row, 3, 3)."""
    if is_jax(vectors) or is_jax(matrix):
        return on_arrays(_turned, vectors, matrix)
    return np.einsum("...ij,...j->...i", matrix, vectors)


def _turned(vectors: Array, matrix: Array) -> Array:
    # Accelerators round factors of a product in their default precision.
    return jnp.einsum("...ij,...j->...i", matrix, vectors, precision="highest")


def _components(given: ArrayLike, name: str) -> Array:
    """Return the numbers of a direction, which may be lengths."""
    if carries_unit(given):
        return direction(given, name)
    return given if is_jax(given) else real_numbers(given, name, f"{name}=(0, 0, 1)")


def _unit_vectors(vectors: Array, name: str, n: int) -> Array:
    """Return a unit vector (3,), or one for each (n, 3)."""
    if vectors.shape not in {(3,), (n, 3)} or (name == "axis" and vectors.ndim > 1):
        raise DimensionError.of(
            name,
            found=f"the shape {vectors.shape}",
            expected="three numbers" + ("" if name == "axis" else f", or an array ({n}, 3)"),
            remedy=f"{name}=(0, 0, 1)",
        )
    length = (jnp if is_jax(vectors) else np).linalg.norm(vectors, axis=-1, keepdims=True)
    known = None if is_traced(length) else np.asarray(length)
    if known is not None and not (np.isfinite(known) & (known > 0)).all():
        raise ArgumentError.of(
            name, found=str(vectors), expected="a direction, not all 0", remedy=f"{name}=(0, 0, 1)"
        )
    return vectors / length


def _about_axis(axis: Array, degrees: Array) -> Array:
    """Return the matrix of a rotation about a unit vector (Rodrigues' formula), (..., 3, 3) for angles (...)."""
    angle = jnp.deg2rad(degrees)[..., None, None]
    cross = jnp.cross(jnp.eye(3, dtype=axis.dtype), axis)
    return (
        jnp.eye(3, dtype=axis.dtype)
        - jnp.sin(angle) * cross.T
        + (1 - jnp.cos(angle)) * (cross @ cross)
    )


def _from_z(to: Array) -> Array:
    """Return the matrix of the smallest rotation from z to a unit vector; about x if that is -z."""
    x, y, z = jnp.moveaxis(to, -1, 0)
    # 1 / (1 + z), below the plane as (1 - z) / (x^2 + y^2), where 1 + z would cancel. From z to -z every axis in the
    # plane would do, and there is a pole: the double `where` keeps its gradient finite.
    across, below = x * x + y * y, z < 0
    down = below & (across == 0)
    share = jnp.where(
        below, (1 - z) / jnp.where(across == 0, 1, across), 1 / jnp.where(below, 1, 1 + z)
    )
    one = jnp.ones_like(x)
    rows = [
        [jnp.where(down, one, 1 - x * x * share), jnp.where(down, 0 * one, -x * y * share), x],
        [jnp.where(down, 0 * one, -x * y * share), jnp.where(down, -one, 1 - y * y * share), y],
        [-x, -y, z],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
