"""Potentials and magnetic fields on the head, seen from above, drawn by MNE."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import ArgumentError, DimensionError, missing_dependency
from jaxfne_xr.core.types import Lengths
from jaxfne_xr.core.values import values_in

from ._axes import panels, picture
from ._beside import foreground, nothing
from ._data import places, values
from ._rows import labels_of
from ._text import label
from ._text import names as written
from .space import coloured, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Minimum number of sensors for an interpolation.
LEAST_SENSORS = 4


@picture
def topomap(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    centre: Lengths = (0.0, 0.0, 0.0),
    names: bool = False,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw a field on the head, seen from above with the nose up, interpolated between sensors by MNE.

    Parameters
    ----------
    ds : xr.Dataset
        ``channel`` with positions ``x`` (to the right), ``y`` (to the front), ``z`` (up), um, and a variable at one
        time: ``eeg.sel(time=100, method="nearest")``.
    variable : str, optional
        By default the only variable with no dim other than ``channel``.
    centre : (3,)
        Centre of the head, um.
    names : bool
        Whether to write the channels' names.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure. ``col="time"``
        shows a few times.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes

    Raises
    ------
    VariableError, DimensionError, DataError, ArgumentError, UnitError
        If there are no positions, fewer than four sensors, or the variable has other dims.
    MissingDependencyError
        If MNE (the extra ``mne``) or matplotlib is not installed.

    Notes
    -----
    The distance of a sensor from the middle of the picture is its angle from the vertical through the centre; the
    circle of the head is at 90 degrees. Between sensors the field is interpolated; outside of them it is extrapolated.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cap = jfx.montage("easycap-M1")  # doctest: +SKIP
    >>> ax = topomap(cap.assign(eeg=("channel", cap.y.values, {"units": "uV"})))  # doctest: +SKIP
    """
    if "channel" not in ds.dims:
        raise DimensionError.of(
            "channel",
            found=f"the dims {list(map(str, ds.dims))}",
            expected="channel, with the positions of electrodes or sensors",
            remedy="a result of jfx.eeg or jfx.meg; or name the dim of the sensors channel",
        )
    found = coloured(ds, "channel", variable, {row, col}, needed=True)
    middle = values_in(centre, "um", "centre")
    if np.shape(middle) not in {(), (3,)}:
        found = f"the shape {np.shape(middle)}"
        raise ArgumentError.of(
            "centre", found=found, expected="x, y and z, um", remedy="centre=(0, 0, 0)"
        )
    place = places(ds, "channel", "xyz") - middle
    apart = len(np.unique(place, axis=0))
    if apart < LEAST_SENSORS:
        raise ArgumentError.of(
            "channel",
            found=f"sensors at {apart} positions",
            expected=f"at least {LEAST_SENSORS}, for an interpolation",
            remedy="ds.jfne.plot.probe()",
        )
    try:
        from mne.viz import plot_topomap
    except ImportError as error:
        raise missing_dependency("mne", "mne", "to draw the head") from error
    made = panels(ds, ax, row, col, (4.4, 3.6), layout="compressed")
    radius = float(np.linalg.norm(place, axis=1).max()) * 1e-6
    shown = [values(part[found].variable) for part in made.parts]
    look = scale(np.concatenate(shown))
    image = None
    for axes, part, x in zip(made.axes, made.parts, shown, strict=True):
        seen = np.isfinite(x)
        flat = _from_above(places(part, "channel", "xyz") - middle, radius)
        labels, font = written(labels_of(part, "channel"), 12)
        if seen.sum() < LEAST_SENSORS:
            nothing(axes, "no finite values")
            axes.set_axis_off()
            continue
        image, _ = plot_topomap(
            x[seen], flat[seen], axes=axes, show=False, sphere=(0, 0, 0, radius),
            contours=6 if np.ptp(x[seen]) > 1e-9 * np.abs(x[seen]).max() else 0,
            cmap=look["cmap"], vlim=look["clim"],
            names=[n for n, s in zip(labels, seen, strict=True) if s] if names else None,
        )  # fmt: skip
        for text in axes.texts:
            text.set(**font)
        for line in axes.lines:  # MNE draws black lines in any theme
            line.set_color(foreground())
    for axes in made.blank:
        axes.set_axis_off()
    if image is not None:
        made.colour_bar(image, label(ds[found].variable, found), shrink=0.7)
    return made.result


def _from_above(place: np.ndarray, radius: float) -> np.ndarray:
    """Project sensors to a plane, (sensor, 2), m: the angle from the vertical becomes the distance from the middle."""
    away = np.linalg.norm(place[:, :2], axis=1)
    angle = np.arctan2(away, place[:, 2])
    stretched = radius * angle / (np.pi / 2)
    # double where: a sensor at the vertex stays at the middle
    return place[:, :2] * np.where(away > 0, stretched / np.where(away > 0, away, 1), 0.0)[:, None]
