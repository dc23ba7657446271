"""Methods of ``.jfne`` that need one variable only: those of a DataArray, which a Dataset has too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic

import xarray as xr

from . import plot
from .analysis import losses, spectra
from .core import validation
from .core.types import (
    Angles,
    AnyTime,
    Array,
    ArrayLike,
    Bands,
    Conductivity,
    Count,
    Direction,
    Interval,
    Length,
    Lengths,
    Morphology,
    Probe,
    Scalar,
    Scalars,
    Sensors,
    Stimulus,
    Time,
    TimeStep,
    Voltage,
    Window,
)
from .display import overview
from .fields import (
    calibration,
    csd,
    dipoles,
    eeg_meg,
    heads,
    membrane_currents,
    movement,
    potentials,
    proxies,
    true_csd,
)
from .geometry import morphology as shapes
from .signals import activity, soft_spikes, sources, spikes, traces
from .signals.traces import Data


class OfOneVariable(Generic[Data]):
    """The methods that ``.jfne`` of a Dataset and of a DataArray have in common."""

    def __init__(self, data: Data) -> None:
        self._data: Data = data

    def __repr__(self) -> str:
        return str(overview.card(self._data))

    def _repr_html_(self) -> str:
        return overview.card(self._data).html()

    @property
    def plot(self) -> plot.Plot:
        """Pictures: see `jaxfne_xr.plot`."""
        return plot.Plot(self._data)

    def validate(self) -> validation.Report:
        """See `jaxfne_xr.validate`."""
        return validation.validate(self._data)

    def quantify(self) -> Data:
        """See `jaxfne_xr.quantify`."""
        return traces.quantify(self._data)

    def to_jax(self) -> Data:
        """See `jaxfne_xr.to_jax`."""
        return traces.to_jax(self._data)

    def to_signals(
        self,
        dt_ms: TimeStep | None = None,
        spike_threshold: Voltage | None = 0.0,
        spike_rule: str = "crossing",
        voltage: Hashable | None = None,
        source: str | Array | None = None,
        *,
        surrogate: str | None = None,
        slope: Scalar | None = None,
        refractory: Time | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.to_signals`."""
        return spikes.to_signals(
            self._data,
            dt_ms,
            spike_threshold,
            spike_rule,
            voltage,
            source,
            surrogate=surrogate,
            slope=slope,
            refractory=refractory,
        )

    def spike_times(self) -> xr.Dataset:
        """See `jaxfne_xr.spike_times`."""
        return spikes.spike_times(self._data)

    def firing_rate(self) -> xr.Dataset:
        """See `jaxfne_xr.firing_rate`."""
        return spikes.firing_rate(self._data)

    def soft_spike_times(
        self,
        n: Count,
        *,
        spike_threshold: Voltage = 0.0,
        fill: AnyTime | None = None,
        refractory: Time | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.soft_spike_times`."""
        return soft_spikes.soft_spike_times(
            self._data, n, spike_threshold=spike_threshold, fill=fill, refractory=refractory
        )

    def soft_firing_rate(
        self, *, spike_threshold: Voltage = 0.0, slope: Scalar = spikes.SLOPE
    ) -> xr.Dataset:
        """See `jaxfne_xr.soft_firing_rate`."""
        return soft_spikes.soft_firing_rate(
            self._data, spike_threshold=spike_threshold, slope=slope
        )

    def csd(
        self,
        method: str = "standard",
        *,
        conductivity: Conductivity = 0.3,
        radius: Lengths | None = None,
        conductivity_top: Conductivity | None = None,
        surface: Length | None = None,
        ends: str = "vaknin",
        at: xr.Dataset | Lengths | None = None,
        dims: str | None = None,
        width: Lengths | None = None,
        regularisation: Scalars | None = None,
        n_sources: int | None = None,
        basis: str = "gauss",
    ) -> xr.Dataset:
        """See `jaxfne_xr.csd`."""
        return csd.csd(
            self._data,
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
            n_sources=n_sources,
            basis=basis,
        )

    def ground_truth_csd(
        self,
        bins: Lengths | None = None,
        *,
        grid: Mapping[str, ArrayLike] | None = None,
        radius: Length = 250.0,
        centre: Lengths = (0.0, 0.0),
        along: str = "z",
    ) -> xr.Dataset:
        """See `jaxfne_xr.ground_truth_csd`."""
        return true_csd.ground_truth_csd(
            self._data, bins, grid=grid, radius=radius, centre=centre, along=along
        )

    def dipole_moment(
        self, by: str | None = "unit", *, origin: str | Lengths | None = None
    ) -> xr.Dataset:
        """See `jaxfne_xr.dipole_moment`."""
        return dipoles.dipole_moment(self._data, by, origin=origin)

    def translate(
        self,
        *,
        x: Lengths | xr.DataArray = 0.0,
        y: Lengths | xr.DataArray = 0.0,
        z: Lengths | xr.DataArray = 0.0,
        by: str | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.translate`."""
        return movement.translate(self._data, x=x, y=y, z=z, by=by)

    def move_to(
        self,
        *,
        x: Lengths | None = None,
        y: Lengths | None = None,
        z: Lengths | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.move_to`."""
        return movement.move_to(self._data, x=x, y=y, z=z)

    def rotate(
        self,
        angle: Angles | None = None,
        axis: str | Direction = "z",
        *,
        to: Direction | None = None,
        origin: str | Lengths | None = None,
        by: str | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.rotate`."""
        return movement.rotate(self._data, angle, axis, to=to, origin=origin, by=by)

    def eeg(self, sensors: Sensors | None = None, head: heads.EEGHead | None = None) -> xr.Dataset:
        """See `jaxfne_xr.eeg`."""
        return eeg_meg.eeg(self._data, sensors, head)

    def meg(self, sensors: Sensors | None = None, head: heads.MEGHead | None = None) -> xr.Dataset:
        """See `jaxfne_xr.meg`."""
        return eeg_meg.meg(self._data, sensors, head)

    def with_morphology(self, morphology: Morphology) -> xr.Dataset:
        """See `jaxfne_xr.with_morphology`."""
        return shapes.with_morphology(self._data, morphology)

    def check_currents(
        self, *, stimulus: Stimulus | None = None
    ) -> membrane_currents.CurrentReport:
        """See `jaxfne_xr.check_currents`."""
        return membrane_currents.check_currents(self._data, stimulus=stimulus)

    def lfp(
        self,
        probe: Probe,
        model: potentials.PotentialModel | None = None,
        *,
        by: str | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.lfp`."""
        return potentials.lfp(self._data, probe, model, by=by)

    def calibrate(self, reference: xr.Dataset | xr.DataArray) -> xr.Dataset:
        """See `jaxfne_xr.calibrate`."""
        return calibration.calibrate(self._data, reference)

    def synaptic_source(
        self,
        *,
        kernel: str = "exponential",
        tau: Time = 5.0,
        weight: Scalar = 1.0,
    ) -> xr.Dataset:
        """See `jaxfne_xr.synaptic_source`."""
        return sources.synaptic_source(self._data, kernel=kernel, tau=tau, weight=weight)

    def spike_rate_hz(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.spike_rate_hz`."""
        return activity.spike_rate_hz(self._data, window=window)

    def spike_count(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.spike_count`."""
        return activity.spike_count(self._data, window=window)

    def silent_fraction(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.silent_fraction`."""
        return activity.silent_fraction(self._data, window=window)

    def mean_V_m(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.mean_V_m`."""
        return activity.mean_V_m(self._data, window=window)

    def source_abs_mean(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.source_abs_mean`."""
        return activity.source_abs_mean(self._data, window=window)

    def lfp_proxy(
        self,
        probe: Probe | None = None,
        *,
        domain: str = "volume",
        sigma: Length = 100.0,
        mode: str = "row_normalize",
    ) -> xr.Dataset:
        """See `jaxfne_xr.lfp_proxy`."""
        return proxies.lfp_proxy(self._data, probe, domain=domain, sigma=sigma, mode=mode)

    def csd_proxy(self) -> xr.Dataset:
        """See `jaxfne_xr.csd_proxy`."""
        return proxies.csd_proxy(self._data)

    def eeg_proxy(
        self,
        sensors: Sensors | None = None,
        *,
        eeg_lead_field: xr.DataArray | ArrayLike | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.eeg_proxy`."""
        return proxies.eeg_proxy(self._data, sensors, eeg_lead_field=eeg_lead_field)

    def meg_proxy(
        self,
        sensors: Sensors | None = None,
        *,
        meg_lead_field: xr.DataArray | ArrayLike | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.meg_proxy`."""
        return proxies.meg_proxy(self._data, sensors, meg_lead_field=meg_lead_field)

    def lfp_abs_mean(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.lfp_abs_mean`."""
        return proxies.lfp_abs_mean(self._data, window=window)

    def csd_abs_mean(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.csd_abs_mean`."""
        return proxies.csd_abs_mean(self._data, window=window)

    def eeg_power(self, *, window: Window | None = None) -> xr.Dataset:
        """See `jaxfne_xr.eeg_power`."""
        return proxies.eeg_power(self._data, window=window)

    def psd(
        self,
        variable: str | None = None,
        *,
        segment: Time | None = None,
        overlap: float = 0.5,
        window: str = "hann",
        detrend: str = "constant",
        skipna: bool | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.psd`."""
        return spectra.psd(
            self._data,
            variable,
            segment=segment,
            overlap=overlap,
            window=window,
            detrend=detrend,
            skipna=skipna,
        )

    def coherence(
        self,
        other: xr.Dataset | xr.DataArray,
        *,
        segment: Time | None = None,
        overlap: float = 0.5,
        window: str = "hann",
        detrend: str = "constant",
        skipna: bool | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.coherence`."""
        return spectra.coherence(
            self._data,
            other,
            segment=segment,
            overlap=overlap,
            window=window,
            detrend=detrend,
            skipna=skipna,
        )

    def band_power(self, bands: Bands | None = None) -> xr.Dataset:
        """See `jaxfne_xr.band_power`."""
        return spectra.band_power(self._data, bands)

    def mean_square_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.mean_square_loss`."""
        return losses.mean_square_loss(self._data, reference, variable, over=over)

    def correlation_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
    ) -> xr.Dataset:
        """See `jaxfne_xr.correlation_loss`."""
        return losses.correlation_loss(self._data, reference, variable, over=over)

    def spectrum_loss(
        self,
        reference: xr.Dataset | xr.DataArray,
        variable: str | None = None,
        *,
        over: str | Sequence[str] | None = None,
        bands: Bands | None = None,
        frequencies: Interval | None = None,
        segment: Time | None = None,
        floor: float = 1e-6,
    ) -> xr.Dataset:
        """See `jaxfne_xr.spectrum_loss`."""
        return losses.spectrum_loss(
            self._data,
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
        return losses.rate_loss(self._data, reference, variable, over=over)
