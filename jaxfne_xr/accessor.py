"""``.jfne`` on every Dataset: each method calls the public function of the same name, and nothing is kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from . import (
    csd,
    current,
    dipole,
    eeg_meg,
    field,
    ground_truth,
    io,
    losses,
    measures,  # first of those that register readouts
    overview,
    physical,  # noqa: F401  (registers its readouts)
    plot,
    proxy,
    readout,
    report,
    scope,
    signals,
    soft_spikes,
    source,
    spectra,
    summary,
    traces,
    validation,
)
from . import morphology as shapes


@xr.register_dataset_accessor("jfne")
class JfneAccessor:
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

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def __repr__(self) -> str:
        return str(overview.card(self._ds))

    def _repr_html_(self) -> str:
        return overview.card(self._ds).html()

    @property
    def scope(self) -> scope.Scope:
        """What the numbers may be taken to mean; `amplitude_status` as a bool."""
        return scope.derive(scope.read(self._ds.attrs))

    @property
    def provenance(self) -> dict[str, Any] | None:
        """How the Dataset was made; None where it was made by hand."""
        return scope.read(self._ds.attrs)

    @property
    def plot(self) -> plot.Plot:
        """Pictures: see `jaxfne_xr.plot`."""
        return plot.Plot(self._ds)

    def validate(self) -> validation.Report:
        """See `jaxfne_xr.validate`."""
        return validation.validate(self._ds)

    def quantify(self) -> xr.Dataset:
        """See `jaxfne_xr.quantify`."""
        return traces.quantify(self._ds)

    def to_jax(self) -> xr.Dataset:
        """See `jaxfne_xr.to_jax`."""
        return traces.to_jax(self._ds)

    def to_signals(
        self,
        dt_ms: Any = None,
        spike_threshold: Any = 0.0,
        spike_rule: str = "crossing",
        voltage: Hashable | None = None,
        source: Any = None,
        *,
        surrogate: str | None = None,
        slope: Any = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.to_signals`."""
        return signals.to_signals(
            self._ds,
            dt_ms,
            spike_threshold,
            spike_rule,
            voltage,
            source,
            surrogate=surrogate,
            slope=slope,
        )

    def spike_times(self) -> xr.Dataset:
        """See `jaxfne_xr.spike_times`."""
        return signals.spike_times(self._ds)

    def firing_rate(self) -> xr.Dataset:
        """See `jaxfne_xr.firing_rate`."""
        return signals.firing_rate(self._ds)

    def soft_spike_times(
        self, n: int, *, spike_threshold: Any = 0.0, fill: Any = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.soft_spike_times`."""
        return soft_spikes.soft_spike_times(self._ds, n, spike_threshold=spike_threshold, fill=fill)

    def soft_firing_rate(
        self, *, spike_threshold: Any = 0.0, slope: Any = signals.SLOPE
    ) -> xr.Dataset:
        """See `jaxfne_xr.soft_firing_rate`."""
        return soft_spikes.soft_firing_rate(self._ds, spike_threshold=spike_threshold, slope=slope)

    def csd(
        self,
        method: str = "standard",
        *,
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
        """See `jaxfne_xr.csd`."""
        return csd.csd(
            self._ds,
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

    def ground_truth_csd(
        self,
        bins: Any = None,
        *,
        grid: Mapping[str, Any] | None = None,
        radius: Any = 250.0,
        centre: Any = (0.0, 0.0),
        along: str = "z",
    ) -> xr.Dataset:
        """See `jaxfne_xr.ground_truth_csd`."""
        return ground_truth.ground_truth_csd(
            self._ds, bins, grid=grid, radius=radius, centre=centre, along=along
        )

    def dipole_moment(self, by: str | None = "unit", *, origin: Any = None) -> xr.Dataset:
        """See `jaxfne_xr.dipole_moment`."""
        return dipole.dipole_moment(self._ds, by, origin=origin)

    def move_to(self, *, x: Any = None, y: Any = None, z: Any = None) -> xr.Dataset:
        """See `jaxfne_xr.move_to`."""
        return dipole.move_to(self._ds, x=x, y=y, z=z)

    def rotate(self, angle: Any = None, axis: Any = "z", *, to: Any = None) -> xr.Dataset:
        """See `jaxfne_xr.rotate`."""
        return dipole.rotate(self._ds, angle, axis, to=to)

    def eeg(self, sensors: xr.Dataset | None = None, head: Any = None) -> xr.Dataset:
        """See `jaxfne_xr.eeg`."""
        return eeg_meg.eeg(self._ds, sensors, head)

    def meg(self, sensors: xr.Dataset | None = None, head: Any = None) -> xr.Dataset:
        """See `jaxfne_xr.meg`."""
        return eeg_meg.meg(self._ds, sensors, head)

    def with_morphology(self, morphology: xr.Dataset) -> xr.Dataset:
        """See `jaxfne_xr.with_morphology`."""
        return shapes.with_morphology(self._ds, morphology)

    def transmembrane_currents(
        self, *, scheme: str = "backward_euler", stimulus: xr.DataArray | None = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.transmembrane_currents`."""
        return current.transmembrane_currents(self._ds, scheme=scheme, stimulus=stimulus)

    def check_currents(self, *, stimulus: xr.DataArray | None = None) -> current.CurrentReport:
        """See `jaxfne_xr.check_currents`."""
        return current.check_currents(self._ds, stimulus=stimulus)

    def lead_field(self, probe: xr.Dataset, model: field.Model | None = None) -> xr.Dataset:
        """See `jaxfne_xr.lead_field`."""
        return field.lead_field(self._ds, probe, model)

    def lfp(
        self, probe: xr.Dataset, model: field.Model | None = None, *, by: str | None = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.lfp`."""
        return field.lfp(self._ds, probe, model, by=by)

    def calibrate(self, reference: xr.Dataset | xr.DataArray) -> xr.Dataset:
        """See `jaxfne_xr.calibrate`."""
        return field.calibrate(self._ds, reference)

    def source(self) -> xr.Dataset:
        """See `jaxfne_xr.source`."""
        return source.source(self._ds)

    def synaptic_source(
        self,
        *,
        kernel: str = "exponential",
        tau: Any = 5.0,
        weight: Any = 1.0,
    ) -> xr.Dataset:
        """See `jaxfne_xr.synaptic_source`."""
        return source.synaptic_source(self._ds, kernel=kernel, tau=tau, weight=weight)

    def compute_readout(
        self,
        names: str | Sequence[str],
        *,
        probe: xr.Dataset | None = None,
        sensors: xr.Dataset | None = None,
        **settings: Any,
    ) -> xr.Dataset:
        """See `jaxfne_xr.compute_readout`."""
        return readout.compute_readout(self._ds, names, probe=probe, sensors=sensors, **settings)

    def vm(self) -> xr.Dataset:
        """See `jaxfne_xr.vm`."""
        return measures.vm(self._ds)

    def spk(self) -> xr.Dataset:
        """See `jaxfne_xr.spk`."""
        return measures.spk(self._ds)

    def spike_rate_hz(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.spike_rate_hz`."""
        return measures.spike_rate_hz(self._ds, window=window)

    def spike_count(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.spike_count`."""
        return measures.spike_count(self._ds, window=window)

    def mean_V_m(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.mean_V_m`."""
        return measures.mean_V_m(self._ds, window=window)

    def source_abs_mean(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.source_abs_mean`."""
        return measures.source_abs_mean(self._ds, window=window)

    def lfp_proxy(
        self,
        probe: xr.Dataset | None = None,
        *,
        domain: str = "volume",
        sigma: Any = 100.0,
    ) -> xr.Dataset:
        """See `jaxfne_xr.lfp_proxy`."""
        return proxy.lfp_proxy(self._ds, probe, domain=domain, sigma=sigma)

    def csd_proxy(self) -> xr.Dataset:
        """See `jaxfne_xr.csd_proxy`."""
        return proxy.csd_proxy(self._ds)

    def eeg_proxy(
        self,
        sensors: xr.Dataset | None = None,
        *,
        eeg_lead_field: Any = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.eeg_proxy`."""
        return proxy.eeg_proxy(self._ds, sensors, eeg_lead_field=eeg_lead_field)

    def meg_proxy(
        self,
        sensors: xr.Dataset | None = None,
        *,
        meg_lead_field: Any = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.meg_proxy`."""
        return proxy.meg_proxy(self._ds, sensors, meg_lead_field=meg_lead_field)

    def emm_proxy(
        self,
        source: xr.Dataset,
        lfp_proxy: xr.Dataset,
        *,
        emm_weights: Sequence[float] = (1.0, 1.0, 1.0),
        emm_scales: Sequence[float] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.emm_proxy`."""
        return proxy.emm_proxy(
            self._ds, source, lfp_proxy, emm_weights=emm_weights, emm_scales=emm_scales
        )

    def lfp_abs_mean(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.lfp_abs_mean`."""
        return proxy.lfp_abs_mean(self._ds, window=window)

    def csd_abs_mean(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.csd_abs_mean`."""
        return proxy.csd_abs_mean(self._ds, window=window)

    def eeg_power(self, *, window: tuple[Any, Any] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.eeg_power`."""
        return proxy.eeg_power(self._ds, window=window)

    def psd(
        self,
        variable: str | None = None,
        *,
        segment: Any = None,
        overlap: float = 0.5,
        window: str = "hann",
        detrend: str = "constant",
    ) -> xr.Dataset:
        """See `jaxfne_xr.psd`."""
        return spectra.psd(
            self._ds, variable, segment=segment, overlap=overlap, window=window, detrend=detrend
        )

    def coherence(
        self,
        other: xr.Dataset | xr.DataArray,
        *,
        segment: Any = None,
        overlap: float = 0.5,
        window: str = "hann",
        detrend: str = "constant",
    ) -> xr.Dataset:
        """See `jaxfne_xr.coherence`."""
        return spectra.coherence(
            self._ds, other, segment=segment, overlap=overlap, window=window, detrend=detrend
        )

    def band_power(self, bands: Mapping[str, tuple[Any, Any]] | None = None) -> xr.Dataset:
        """See `jaxfne_xr.band_power`."""
        return spectra.band_power(self._ds, bands)

    def summary(
        self,
        by: str | None = "population",
        window: tuple[Any, Any] | None = None,
        *,
        bin: Any = 5.0,
        bands: Mapping[str, tuple[Any, Any]] | None = None,
        segment: Any = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.summary`."""
        return summary.summary(self._ds, by, window, bin=bin, bands=bands, segment=segment)

    def mean_square_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.mean_square_loss`."""
        return losses.mean_square_loss(self._ds, reference, variable, over=over)

    def correlation_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.correlation_loss`."""
        return losses.correlation_loss(self._ds, reference, variable, over=over)

    def spectrum_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
        bands: Mapping[str, tuple[Any, Any]] | None = None,
        frequencies: tuple[Any, Any] | None = None,
        segment: Any = None,
        floor: float = 1e-6,
    ) -> xr.Dataset:
        """See `jaxfne_xr.spectrum_loss`."""
        return losses.spectrum_loss(
            self._ds,
            reference,
            variable,
            over=over,
            bands=bands,
            frequencies=frequencies,
            segment=segment,
            floor=floor,
        )

    def rate_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str = "firing_rate",
        *,
        over: str | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.rate_loss`."""
        return losses.rate_loss(self._ds, reference, variable, over=over)

    def to_netcdf(
        self,
        path: str | PathLike[str],
        *,
        compression: str = "fast",
        encoding: Mapping[Hashable, Any] | None = None,
    ) -> Path:
        """See `jaxfne_xr.to_netcdf`."""
        return io.to_netcdf(self._ds, path, compression=compression, encoding=encoding)

    def report(self, path: str | PathLike[str]) -> Path:
        """See `jaxfne_xr.report`."""
        return report.report(self._ds, path)
