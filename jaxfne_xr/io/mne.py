"""MNE: electrode montages."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.errors import ArgumentError, missing_dependency
from jaxfne_xr.fields.heads import CHANNEL, FourSphere
from jaxfne_xr.geometry.probes import probe_at


@public
def montage(name: str, head: FourSphere | None = None) -> xr.Dataset:
    """Place the electrodes of a standard montage of MNE on the scalp of a head.

    Parameters
    ----------
    name : str
        A name that `mne.channels.make_standard_montage` knows: ``"easycap-M1"``, ``"biosemi64"``, ...
    head : FourSphere, optional
        The head model with the scalp; ``FourSphere()`` by default.

    Returns
    -------
    xr.Dataset
        Sensors for `eeg`, along ``channel``, with the electrodes' names as ``name``: x to the right, y to the front,
        z up. The sphere that fits the positions of the montage best is scaled to the scalp; directions from its centre
        are kept.

    Raises
    ------
    MissingDependencyError
        If MNE is not installed.
    ArgumentError
        If the montage is not known.

    Examples
    --------
    >>> cap = montage("easycap-M1")  # doctest: +SKIP
    >>> cap.isel(channel=cap.name == "Cz").z.values.round(-2)  # doctest: +SKIP
    array([90000.])
    """
    try:
        import mne
    except ImportError as error:
        raise missing_dependency("mne", "mne", "for the positions of electrodes") from error
    head = FourSphere() if head is None else head
    try:
        electrodes = mne.channels.make_standard_montage(name).get_positions()["ch_pos"]
    except ValueError as error:
        known = mne.channels.get_builtin_montages()
        raise ArgumentError.of(
            "montage", found=repr(name), expected=f"one of {known}", remedy='name="biosemi64"'
        ) from error
    place = np.array(list(electrodes.values()), float)
    # |r|^2 = 2 c.r + (R^2 - |c|^2) is linear in the centre c of the sphere that fits best
    fitted = np.linalg.lstsq(
        np.column_stack([2 * place, np.ones(len(place))]), (place**2).sum(axis=1), rcond=None
    )[0]
    away = place - fitted[:3]
    direction = away / np.linalg.norm(away, axis=1, keepdims=True)
    scalp = np.asarray(head.centre) + float(np.asarray(head.radii)[-1]) * direction
    return probe_at(scalp, normal=direction, name=list(electrodes), dim=CHANNEL)
