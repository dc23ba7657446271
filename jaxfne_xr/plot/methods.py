"""``ds.jfne.plot``: each method calls the function of the same name; no state is kept."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from jaxfne_xr.core.types import Frequency, Lengths, Scalar, Time

from . import groups, images, lines, scalp, space, spectra, spikes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Plot:
    """The pictures of `jaxfne_xr.plot` as methods of a Dataset or DataArray.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), ("unit", "time"), dt_ms=0.1)
    >>> ds.jfne.plot.traces().get_xlabel()
    'time (ms)'
    """

    def __init__(self, ds: xr.Dataset | xr.DataArray) -> None:
        self._ds = ds

    def __repr__(self) -> str:
        return f"<jfne.plot: {', '.join(name for name in vars(Plot) if not name.startswith('_'))}>"

    def traces(
        self,
        variable: str | None = None,
        *,
        by: str | None = "auto",
        order: str | None = None,
        scale: Scalar | None = None,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.traces`."""
        return lines.traces(
            self._ds,
            variable,
            by=by,
            order=order,
            scale=scale,
            ax=ax,
            row=row,
            col=col,
        )

    def raster(
        self,
        *,
        by: str | None = "auto",
        order: str | None = None,
        rate: bool = True,
        bin: Time | None = None,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.raster`."""
        return spikes.raster(
            self._ds,
            by=by,
            order=order,
            rate=rate,
            bin=bin,
            ax=ax,
            row=row,
            col=col,
        )

    def lfp(
        self,
        variable: str | None = None,
        *,
        depth: str = "z",
        scale: Scalar | None = None,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.lfp`."""
        return lines.lfp(
            self._ds,
            variable,
            depth=depth,
            scale=scale,
            ax=ax,
            row=row,
            col=col,
        )

    def csd(
        self,
        variable: str | None = None,
        *,
        depth: str | None = None,
        sink: str = "red",
        limit: Scalar | None = None,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.csd`."""
        return images.csd(
            self._ds,
            variable,
            depth=depth,
            sink=sink,
            limit=limit,
            ax=ax,
            row=row,
            col=col,
        )

    def spectrum(
        self,
        variable: str | None = None,
        *,
        by: str | None = "auto",
        segment: Time | None = None,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.spectrum`."""
        return spectra.spectrum(
            self._ds,
            variable,
            by=by,
            segment=segment,
            ax=ax,
            row=row,
            col=col,
        )

    def spectrogram(
        self,
        variable: str | None = None,
        *,
        segment: Time | None = None,
        overlap: float = 0.9,
        up_to: Frequency = "200 Hz",
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.spectrogram`."""
        return images.spectrogram(
            self._ds,
            variable,
            segment=segment,
            overlap=overlap,
            up_to=up_to,
            ax=ax,
            row=row,
            col=col,
        )

    def summary(
        self,
        variables: str | Sequence[str] | None = None,
        *,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.summary`."""
        return groups.summary(
            self._ds,
            variables,
            ax=ax,
        )

    def probe(
        self,
        variable: str | None = None,
        *,
        cell: xr.Dataset | None = None,
        plane: str = "xz",
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.probe`."""
        return space.probe(
            self._ds,
            variable,
            cell=cell,
            plane=plane,
            ax=ax,
            row=row,
            col=col,
        )

    def morphology(
        self,
        variable: str | None = None,
        *,
        by: str | None = None,
        plane: str = "xz",
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.morphology`."""
        return space.morphology(
            self._ds,
            variable,
            by=by,
            plane=plane,
            ax=ax,
            row=row,
            col=col,
        )

    def topomap(
        self,
        variable: str | None = None,
        *,
        centre: Lengths = (0.0, 0.0, 0.0),
        names: bool = False,
        ax: Axes | None = None,
        row: Hashable | None = None,
        col: Hashable | None = None,
    ) -> Any:
        """See `jaxfne_xr.plot.topomap`."""
        return scalp.topomap(
            self._ds,
            variable,
            centre=centre,
            names=names,
            ax=ax,
            row=row,
            col=col,
        )
