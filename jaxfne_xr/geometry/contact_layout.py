"""The layout of the contacts of a potential: on one line, or in the axes along which they differ."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced, precision_of
from jaxfne_xr.core.errors import ArgumentError, DimensionError, raise_problems, warn
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import magnitude

from .positions import axes_along, place_problems, position_name, positions_of

CONTACT = "contact"
#: Positions are taken to be on a line or a plane if they are off it by less than this fraction of the probe's length.
ALIGNED = 1e-6
#: Spacings outside this range, um, suggest that the positions are in another unit (a heuristic).
SPACINGS = (1.0, 10_000.0)


@dataclass(frozen=True)
class Contacts:
    """Positions of contacts, in the axes that a method resolves.

    Attributes
    ----------
    place : array (contact, dims)
        um.
    axes : tuple of str
        The names of the coordinates used.
    line : array (axes,) or None
        The direction of the line, if `place` holds the position along it; None if its columns are axes.
    """

    place: Array
    axes: tuple[str, ...]
    line: Array | None

    def seen(self, place: Array) -> Array:
        """Return positions that are given in `axes` as `place` holds them: along the line if there is one."""
        return place if self.line is None else (place @ self.line)[:, None]


def contacts_of(ds: xr.Dataset, dims: str | None = None, *, line: bool = True) -> Contacts:
    """Return the contacts in the axes `dims`; by default along their line, else in the axes along which they differ.

    If `line` is true and `dims` is not given, they must be on one line.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        If positions are missing, are not lengths, are not on a line, or two are the same.

    Warns
    -----
    UserWarning
        If contacts are so near to or so far from each other that their positions seem to be in another unit.
    """
    axes = tuple(axes_along(ds, CONTACT)) or (("depth",) if "depth" in ds.coords else ("z",))
    if dims is not None:
        if not dims or set(dims) - set("xyz") or len(set(dims)) < len(dims):
            raise ArgumentError.of(
                "dims", found=repr(dims), expected="some of x, y and z", remedy='dims="xz"'
            )
        found = Contacts(positions_of(ds, CONTACT, dims), tuple(dims), None)
    else:
        found = _aligned(ds, positions_of(ds, CONTACT, axes), axes, line=line)
    if is_traced(found.place):
        check_traced(CONTACT, lambda: jnp.isfinite(found.place).all(), "finite positions")
    else:
        values = np.asarray(found.place)
        raise_problems(place_problems(values, CONTACT))
        if len(values) > 1:
            # The number of steps along one side, if the contacts are on a line or in a square grid.
            steps = len(values) ** (1 / values.shape[1]) - 1
            spacing = float(np.linalg.norm(np.ptp(values, axis=0))) / max(steps, 1)
            if not SPACINGS[0] <= spacing <= SPACINGS[1]:
                warn(
                    f"contacts lie about {spacing:.2g} um apart: are their positions in um? "
                    'If they are in mm: ds["z"].attrs["units"] = "mm".'
                )
    return found


def _aligned(ds: xr.Dataset, place: Array, axes: tuple[str, ...], *, line: bool) -> Contacts:
    """Return the contacts along their line, pointing up; else in the axes along which they differ."""
    if len(axes) == 1:
        return Contacts(place, axes, None)
    if is_traced(place):
        if not line:
            raise ArgumentError.of(
                "dims",
                found="positions that JAX traces",
                expected="the axes to resolve",
                remedy='dims="z"',
            )
        # Values are not known under a trace: the line through the first and the last contact is taken.
        return _on_line(place, place[-1] - place[0], axes)
    values = np.asarray(place)
    # The contact farthest from the first gives the direction of the line.
    away = values - values[0]
    far = away[np.argmax(np.linalg.norm(away, axis=1))] if len(away) else np.zeros(len(axes))
    length = float(np.linalg.norm(far))
    if length == 0:
        return Contacts(place, axes, None)  # a single location; callers that need two check this
    along = far / length
    off = float(np.linalg.norm(away - np.outer(away @ along, along), axis=1).max())
    if off <= ALIGNED * length:
        return _on_line(place, along, axes)
    if line:
        raise DimensionError.of(
            CONTACT,
            found=f"contacts up to {off:g} um off the line through the outermost",
            expected="contacts on one line",
            remedy=f'{_one_column(ds, values, axes)}method="kernel", in 2-D and 3-D',
        )
    wide = np.flatnonzero(np.ptp(values, axis=0) > ALIGNED * length)
    return Contacts(place[:, wide], tuple(axes[i] for i in wide), None)


def _one_column(ds: xr.Dataset, values: np.ndarray, axes: tuple[str, ...]) -> str:
    """Return the remedy that selects the longest column of contacts, if they are in columns along an axis."""
    along = int(np.argmax(np.ptp(values, axis=0)))
    across = np.delete(values, along, axis=1)
    scale = float(np.ptp(values, axis=0).max())
    _, column = np.unique(np.round(across / (ALIGNED * scale)), axis=0, return_inverse=True)
    longest = np.flatnonzero(column.ravel() == np.argmax(np.bincount(column.ravel())))
    if len(longest) < 2:
        return ""
    differ = [a for k, a in enumerate(axes) if k != along and np.ptp(values[:, k]) > 0]
    name = position_name(ds, differ[0], CONTACT)
    raw = np.asarray(magnitude(ds.variables[name].data))
    if len(differ) == 1 and np.array_equal(np.flatnonzero(raw == raw[longest[0]]), longest):
        return f"one column: ds.isel(contact=ds.{name} == {raw[longest[0]].item()!r}); or "
    return f"one column: ds.isel(contact={longest.tolist()}); or "


def _on_line(place: Array, along: Array, axes: tuple[str, ...]) -> Contacts:
    """Return the positions along a direction, whose sign makes its last component that is not 0 positive."""
    xp = jnp if is_jax(along) else np
    with precision_of(place):
        along = along / xp.linalg.norm(along)
        last = len(axes) - 1 - xp.argmax(xp.abs(along[::-1]) > ALIGNED)
        along = along * xp.sign(along[last])
        return Contacts((place @ along)[:, None], axes, along)
