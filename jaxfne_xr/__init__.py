"""Labelled, unit-checked neural simulation data, from voltages to fields and readouts, differentiable in JAX.

Importing registers the ``.jfne`` accessor on `xarray.Dataset`, `xarray.DataArray` and `xarray.DataTree`.
"""

from . import plot as plot
from .accessor import JfneAccessor as JfneAccessor
from .accessor import JfneArrayAccessor as JfneArrayAccessor
from .bundle import Replay as Replay
from .bundle import bundle as bundle
from .bundle import replay as replay
from .combine import concat as concat
from .combine import merge as merge
from .conductor import LineSource as LineSource
from .conductor import PointSource as PointSource
from .conductor import RootAsPoint as RootAsPoint
from .conductor import Slab as Slab
from .configuration import Configuration as Configuration
from .configuration import configuration as configuration
from .csd import csd as csd
from .current import CurrentReport as CurrentReport
from .current import check_currents as check_currents
from .current import transmembrane_currents as transmembrane_currents
from .dipole import dipole_moment as dipole_moment
from .dipole import move_to as move_to
from .dipole import rotate as rotate
from .eeg_meg import eeg as eeg
from .eeg_meg import meg as meg
from .eeg_meg import montage as montage
from .errors import ArgumentError as ArgumentError
from .errors import DataError as DataError
from .errors import DimensionError as DimensionError
from .errors import FileError as FileError
from .errors import JfneError as JfneError
from .errors import MissingDependencyError as MissingDependencyError
from .errors import NonFiniteError as NonFiniteError
from .errors import Problem as Problem
from .errors import SchemaError as SchemaError
from .errors import ScopeError as ScopeError
from .errors import TimeAxisError as TimeAxisError
from .errors import UnitError as UnitError
from .errors import VariableError as VariableError
from .field import calibrate as calibrate
from .field import lead_field as lead_field
from .field import lfp as lfp
from .ground_truth import ground_truth_csd as ground_truth_csd
from .head import FourSphere as FourSphere
from .head import InfiniteHomogeneous as InfiniteHomogeneous
from .head import LeadField as LeadField
from .head import Spherical as Spherical
from .interop.jaxley import from_jaxley as from_jaxley
from .interop.jaxley_field import integrate_field as integrate_field
from .interop.jaxley_trace import JaxleyTraceSpec as JaxleyTraceSpec
from .interop.jaxley_trace import jaxley_trace_to_signals as jaxley_trace_to_signals
from .interop.lfpy import from_lfpy as from_lfpy
from .io import open as open
from .io import to_netcdf as to_netcdf
from .losses import correlation_loss as correlation_loss
from .losses import mean_square_loss as mean_square_loss
from .losses import rate_loss as rate_loss
from .losses import spectrum_loss as spectrum_loss
from .measures import mean_V_m as mean_V_m
from .measures import source_abs_mean as source_abs_mean
from .measures import spike_count as spike_count
from .measures import spike_rate_hz as spike_rate_hz
from .measures import spk as spk
from .measures import vm as vm
from .morphology import morphology as morphology
from .morphology import with_morphology as with_morphology
from .probe import from_probeinterface as from_probeinterface
from .probe import grid_probe as grid_probe
from .probe import linear_probe as linear_probe
from .probe import probe_at as probe_at
from .provenance import version_of as _version_of
from .proxy import csd_abs_mean as csd_abs_mean
from .proxy import csd_proxy as csd_proxy
from .proxy import eeg_power as eeg_power
from .proxy import eeg_proxy as eeg_proxy
from .proxy import emm_proxy as emm_proxy
from .proxy import lfp_abs_mean as lfp_abs_mean
from .proxy import lfp_proxy as lfp_proxy
from .proxy import meg_proxy as meg_proxy
from .pytrees import enable_pytrees as enable_pytrees
from .readout import Readout as Readout
from .readout import compute_readout as compute_readout
from .readout import readout as readout
from .readout import readouts as readouts
from .report import report as report
from .scope import Scope as Scope
from .signals import firing_rate as firing_rate
from .signals import spike_times as spike_times
from .signals import to_signals as to_signals
from .soft_spikes import soft_firing_rate as soft_firing_rate
from .soft_spikes import soft_spike_times as soft_spike_times
from .source import source as source
from .source import synaptic_source as synaptic_source
from .spectra import band_power as band_power
from .spectra import coherence as coherence
from .spectra import psd as psd
from .summary import summary as summary
from .traces import quantify as quantify
from .traces import to_jax as to_jax
from .traces import traces as traces
from .transforms import checkify as checkify
from .transforms import grad as grad
from .transforms import jit as jit
from .transforms import scan as scan
from .transforms import value_and_grad as value_and_grad
from .transforms import vmap as vmap
from .tree import JfneTreeAccessor as JfneTreeAccessor
from .validation import Report as Report
from .validation import validate as validate
from .workflow import Model as Model
from .workflow import construct as construct

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
    "JfneError",
    "JfneTreeAccessor",
    "LeadField",
    "LineSource",
    "MissingDependencyError",
    "Model",
    "NonFiniteError",
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
    "transmembrane_currents",
    "validate",
    "value_and_grad",
    "vm",
    "vmap",
    "with_morphology",
]
