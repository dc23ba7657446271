"""Labelled, unit-checked neural simulation data, from voltages to fields and readouts, differentiable in JAX.

Importing registers the ``.jfne`` accessor on `xarray.Dataset`, `xarray.DataArray` and `xarray.DataTree`.
"""

# Readouts are registered where they are defined, after those that they need: those of signals, then of fields.
# isort: off
from .signals import activity as _activity  # noqa: F401
from .fields import physical_readouts as _physical  # noqa: F401
# isort: on

from . import plot as plot
from .accessor import JfneAccessor as JfneAccessor
from .accessor import JfneArrayAccessor as JfneArrayAccessor
from .analysis.losses import correlation_loss as correlation_loss
from .analysis.losses import mean_square_loss as mean_square_loss
from .analysis.losses import rate_loss as rate_loss
from .analysis.losses import spectrum_loss as spectrum_loss
from .analysis.spectra import band_power as band_power
from .analysis.spectra import coherence as coherence
from .analysis.spectra import psd as psd
from .analysis.summary import summary as summary
from .core.errors import ArgumentError as ArgumentError
from .core.errors import DataError as DataError
from .core.errors import DimensionError as DimensionError
from .core.errors import FileError as FileError
from .core.errors import JfneError as JfneError
from .core.errors import MissingDependencyError as MissingDependencyError
from .core.errors import NonFiniteError as NonFiniteError
from .core.errors import Problem as Problem
from .core.errors import SchemaError as SchemaError
from .core.errors import ScopeError as ScopeError
from .core.errors import TimeAxisError as TimeAxisError
from .core.errors import UnitError as UnitError
from .core.errors import VariableError as VariableError
from .core.provenance import version_of as _version_of
from .core.registry import Readout as Readout
from .core.registry import readout as readout
from .core.registry import readouts as readouts
from .core.scope import Scope as Scope
from .core.validation import Report as Report
from .core.validation import validate as validate
from .display.html_report import report as report
from .fields.calibration import calibrate as calibrate
from .fields.conductors import LineSource as LineSource
from .fields.conductors import PointSource as PointSource
from .fields.conductors import RootAsPoint as RootAsPoint
from .fields.conductors import Slab as Slab
from .fields.csd import csd as csd
from .fields.dipoles import dipole_moment as dipole_moment
from .fields.eeg_meg import eeg as eeg
from .fields.eeg_meg import meg as meg
from .fields.heads import FourSphere as FourSphere
from .fields.heads import InfiniteHomogeneous as InfiniteHomogeneous
from .fields.heads import LeadField as LeadField
from .fields.heads import Spherical as Spherical
from .fields.membrane_currents import CurrentReport as CurrentReport
from .fields.membrane_currents import check_currents as check_currents
from .fields.membrane_currents import transmembrane_currents as transmembrane_currents
from .fields.movement import move_to as move_to
from .fields.movement import rotate as rotate
from .fields.movement import translate as translate
from .fields.one_sphere import OneSphere as OneSphere
from .fields.potentials import lead_field as lead_field
from .fields.potentials import lfp as lfp
from .fields.proxies import csd_abs_mean as csd_abs_mean
from .fields.proxies import csd_proxy as csd_proxy
from .fields.proxies import eeg_power as eeg_power
from .fields.proxies import eeg_proxy as eeg_proxy
from .fields.proxies import emm_proxy as emm_proxy
from .fields.proxies import lfp_abs_mean as lfp_abs_mean
from .fields.proxies import lfp_proxy as lfp_proxy
from .fields.proxies import meg_proxy as meg_proxy
from .fields.true_csd import ground_truth_csd as ground_truth_csd
from .geometry.morphology import morphology as morphology
from .geometry.morphology import with_morphology as with_morphology
from .geometry.probes import grid_probe as grid_probe
from .geometry.probes import linear_probe as linear_probe
from .geometry.probes import probe_at as probe_at
from .io.jaxley import from_jaxley as from_jaxley
from .io.jaxley_field import integrate_field as integrate_field
from .io.jaxley_trace import JaxleyTraceSpec as JaxleyTraceSpec
from .io.jaxley_trace import jaxley_trace_to_signals as jaxley_trace_to_signals
from .io.lfpy import from_lfpy as from_lfpy
from .io.mne import montage as montage
from .io.netcdf import open as open
from .io.netcdf import to_netcdf as to_netcdf
from .io.probeinterface import from_probeinterface as from_probeinterface
from .signals.activity import mean_V_m as mean_V_m
from .signals.activity import silent_fraction as silent_fraction
from .signals.activity import source_abs_mean as source_abs_mean
from .signals.activity import spike_count as spike_count
from .signals.activity import spike_rate_hz as spike_rate_hz
from .signals.activity import spk as spk
from .signals.activity import vm as vm
from .signals.combine import concat as concat
from .signals.combine import merge as merge
from .signals.soft_spikes import soft_firing_rate as soft_firing_rate
from .signals.soft_spikes import soft_spike_times as soft_spike_times
from .signals.sources import source as source
from .signals.sources import synaptic_source as synaptic_source
from .signals.spikes import firing_rate as firing_rate
from .signals.spikes import spike_times as spike_times
from .signals.spikes import to_signals as to_signals
from .signals.traces import quantify as quantify
from .signals.traces import to_jax as to_jax
from .signals.traces import traces as traces
from .transforms.by_dim import checkify as checkify
from .transforms.by_dim import grad as grad
from .transforms.by_dim import jit as jit
from .transforms.by_dim import scan as scan
from .transforms.by_dim import value_and_grad as value_and_grad
from .transforms.by_dim import vmap as vmap
from .transforms.pytrees import enable_pytrees as enable_pytrees
from .tree import JfneTreeAccessor as JfneTreeAccessor
from .workflow.bundles import Replay as Replay
from .workflow.bundles import bundle as bundle
from .workflow.bundles import replay as replay
from .workflow.configuration import Configuration as Configuration
from .workflow.configuration import configuration as configuration
from .workflow.model import Model as Model
from .workflow.model import construct as construct
from .workflow.readouts import compute_readout as compute_readout

__version__ = _version_of("jaxfne-xr")

# `open` is public as ``jfx.open`` only: ``from jaxfne_xr import *`` must not replace the builtin.
__all__ = [
    "ArgumentError",
    "Configuration",
    "CurrentReport",
    "DataError",
    "DimensionError",
    "FileError",
    "FourSphere",
    "InfiniteHomogeneous",
    "JaxleyTraceSpec",
    "JfneAccessor",
    "JfneArrayAccessor",
    "JfneError",
    "JfneTreeAccessor",
    "LeadField",
    "LineSource",
    "MissingDependencyError",
    "Model",
    "NonFiniteError",
    "OneSphere",
    "PointSource",
    "Problem",
    "Readout",
    "Replay",
    "Report",
    "RootAsPoint",
    "SchemaError",
    "Scope",
    "ScopeError",
    "Slab",
    "Spherical",
    "TimeAxisError",
    "UnitError",
    "VariableError",
    "__version__",
    "band_power",
    "bundle",
    "calibrate",
    "check_currents",
    "checkify",
    "coherence",
    "compute_readout",
    "concat",
    "configuration",
    "construct",
    "correlation_loss",
    "csd",
    "csd_abs_mean",
    "csd_proxy",
    "dipole_moment",
    "eeg",
    "eeg_power",
    "eeg_proxy",
    "emm_proxy",
    "enable_pytrees",
    "firing_rate",
    "from_jaxley",
    "from_lfpy",
    "from_probeinterface",
    "grad",
    "grid_probe",
    "ground_truth_csd",
    "integrate_field",
    "jaxley_trace_to_signals",
    "jit",
    "lead_field",
    "lfp",
    "lfp_abs_mean",
    "lfp_proxy",
    "linear_probe",
    "mean_V_m",
    "mean_square_loss",
    "meg",
    "meg_proxy",
    "merge",
    "montage",
    "morphology",
    "move_to",
    "plot",
    "probe_at",
    "psd",
    "quantify",
    "rate_loss",
    "readout",
    "readouts",
    "replay",
    "report",
    "rotate",
    "scan",
    "silent_fraction",
    "soft_firing_rate",
    "soft_spike_times",
    "source",
    "source_abs_mean",
    "spectrum_loss",
    "spike_count",
    "spike_rate_hz",
    "spike_times",
    "spk",
    "summary",
    "synaptic_source",
    "to_jax",
    "to_netcdf",
    "to_signals",
    "traces",
    "translate",
    "transmembrane_currents",
    "validate",
    "value_and_grad",
    "vm",
    "vmap",
    "with_morphology",
]


def __dir__() -> list[str]:
    """List the public names alone, so that completion shows no packages and modules."""
    return sorted([*__all__, "open"])
