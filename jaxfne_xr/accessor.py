"""``.jfne`` on every Dataset and DataArray: each method calls the function of the same name; no state is kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from .accessor_methods import OfOneVariable
from .analysis import summary
from .core import provenance, scope
from .core.registries import offer_pint
from .core.types import (
    Bands,
    FileName,
    Probe,
    ReadoutNames,
    Sensors,
    Stimulus,
    Time,
    Vector,
    Window,
)
from .display import html_report
from .fields import membrane_currents, potentials, proxies
from .io import netcdf
from .signals import activity, sources
from .workflow import readouts

offer_pint()


@xr.register_dataset_accessor("jfne")
class JfneAccessor(OfOneVariable[xr.Dataset]):
    """The functions of `jaxfne_xr` as methods of a Dataset.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> signals = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1).jfne.to_signals()
    >>> print(signals.jfne)
    jaxfne_xr: signals [proxy]
      sites      3 units
      time       100 samples, dt 0.1 ms: 10 ms
      variables  name                      units  dims                data
                 V_m     membrane voltage  mV     unit: 3, time: 100  float64, NumPy, 2.4 kB
                 spikes  spikes                   unit: 3, time: 100  bool, NumPy, 300 B
      labels     unit
      scope      Voltages stand in for the source: what is made of them is a proxy, in no physical unit.
                 No field has been computed.
                 Amplitudes are not claimed to be physical.
                 All of it comes from a simulation, not from a measurement.
      made by    traces -> to_signals
      checks     valid
                 not checked: whether V_m is finite (ds.jfne.validate() looks)
      next       ds.jfne.plot.raster()
                 ds.jfne.firing_rate()
                 ds.jfne.summary(by=None)
                 ds.jfne.report("run.html")
                 ds.jfne.to_netcdf("run.nc")
    """

    @property
    def scope(self) -> scope.Scope:
        """What the numbers claim to be; `amplitude_status` as a bool."""
        return provenance.scope_of(self._data)

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The record of how the Dataset was made; None without a record."""
        return provenance.read(self._data.attrs)

    def transmembrane_currents(
        self, *, scheme: str = "backward_euler", stimulus: Stimulus | None = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.transmembrane_currents`."""
        return membrane_currents.transmembrane_currents(
            self._data, scheme=scheme, stimulus=stimulus
        )

    def lead_field(
        self, probe: Probe, model: potentials.PotentialModel | None = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.lead_field`."""
        return potentials.lead_field(self._data, probe, model)

    def source(self) -> xr.Dataset:
        """See `jaxfne_xr.source`."""
        return sources.source(self._data)

    def compute_readout(
        self,
        names: ReadoutNames,
        *,
        probe: Probe | None = None,
        sensors: Sensors | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """See `jaxfne_xr.compute_readout`."""
        return readouts.compute_readout(self._data, names, probe=probe, sensors=sensors, **settings)

    def vm(self) -> xr.Dataset:
        """See `jaxfne_xr.vm`."""
        return activity.vm(self._data)

    def spk(self) -> xr.Dataset:
        """See `jaxfne_xr.spk`."""
        return activity.spk(self._data)

    def emm_proxy(
        self,
        source: xr.Dataset | xr.DataArray,
        lfp_proxy: xr.Dataset | xr.DataArray,
        *,
        emm_weights: Vector = (1.0, 1.0, 1.0),
        emm_scales: Vector | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.emm_proxy`."""
        return proxies.emm_proxy(
            self._data, source, lfp_proxy, emm_weights=emm_weights, emm_scales=emm_scales
        )

    def summary(
        self,
        by: str | None = "population",
        window: Window | None = None,
        *,
        bin: Time = 5.0,
        bands: Bands | None = None,
        segment: Time | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.summary`."""
        return summary.summary(self._data, by, window, bin=bin, bands=bands, segment=segment)

    def to_netcdf(
        self,
        path: FileName,
        *,
        compression: str = "fast",
        encoding: Mapping[Hashable, Any] | None = None,
    ) -> Path:
        """See `jaxfne_xr.to_netcdf`."""
        return netcdf.to_netcdf(self._data, path, compression=compression, encoding=encoding)

    def report(self, path: FileName) -> Path:
        """See `jaxfne_xr.report`."""
        return html_report.report(self._data, path)


@xr.register_dataarray_accessor("jfne")
class JfneArrayAccessor(OfOneVariable[xr.DataArray]):
    """The functions of `jaxfne_xr` that need one variable only, as methods of a DataArray.

    A DataArray has the coordinates along its dims, but no record of how its Dataset was made: results have the weakest
    scope. ``ds[["lfp"]].jfne`` keeps the record.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> print(ds.v.jfne)
    jaxfne_xr: variable
      sites      3 units
      time       100 samples, dt 0.1 ms: 10 ms
      variables  name                    units  dims                data
                 v     membrane voltage  mV     unit: 3, time: 100  float64, NumPy, 2.4 kB
      labels     unit
      scope      A DataArray has no record of how it was made: results have the weakest scope.
      checks     valid
                 not checked: whether v is finite (array.jfne.validate() looks)
      next       array.jfne.plot.traces()
                 signals = array.jfne.to_signals()
    """
