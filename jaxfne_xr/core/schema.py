"""Names, dims, units and long names of the variables that the package reads and makes: tables only."""

from __future__ import annotations

#: Dims of sources: neurons, or recorded compartments of neurons.
SITES = ("unit", "recording")
#: Dims of a probe: contacts, or channels of EEG and MEG.
SENSORS = ("contact", "channel")
#: Names of a voltage; the first one present is used.
VOLTAGES = ("v", "V_m")

#: Names of a current that can be the source of a field, in nA; the first one present is used.
CURRENTS = ("i_membrane", "source")

#: Variables that must not hold NaN or Inf.
FINITE = (*VOLTAGES, "source")
#: Dims of variables that describe the cells rather than their activity, and are kept with it.
STRUCTURE = ("edge",)

#: A current, nA, that enters a compartment from inside, but not along the axial conductances of its voltages.
INTRACELLULAR = "i_intracellular"
#: The attribute of ``conductance`` that names variables that belong to it, as in the CF conventions: INTRACELLULAR, if
#: there is such a current.
WITH = "ancillary_variables"
#: A label of compartments: why such a current is not known.
CURRENT_UNKNOWN = "current_unknown"
#: One of these labels: a synapse whose current flows in part from cell to cell, in part through the membrane.
MIXED = "mixed synapse"

#: The unit in which each variable is kept.
UNITS = {
    "v": "mV",
    "V_m": "mV",
    "vm": "mV",
    "source": "nA",
    "i_membrane": "nA",
    "i_intracellular": "nA",
    "lead_field": "uV/nA",
    "lfp": "uV",
    "source_proxy": "1",
    "lfp_proxy": "1",
    "csd_proxy": "1/um^2",
    "eeg_proxy": "1",
    "meg_proxy": "1",
    "emm_proxy": "1",
    "csd": "uA/mm^3",
    "i_outside": "nA",
    "dipole_moment": "nA*um",
    "eeg": "uV",
    "meg": "fT",
    "firing_rate": "Hz",
    "conductance": "uS",
    "population_rate": "Hz",
}
#: The name given to a DataArray without one, by its unit.
KINDS = {
    "mV": "v",
    "nA": "source",
    "nA*um": "dipole_moment",
    "uA/mm^3": "csd",
    "fT": "meg",
    "Hz": "firing_rate",
}
#: The name of a voltage along the dim of a probe.
POTENTIALS = {"contact": "lfp", "channel": "eeg"}
#: The attribute `long_name` of each variable, which plots show.
LONG_NAMES = {
    "v": "membrane voltage",
    "V_m": "membrane voltage",
    "spikes": "spikes",
    "vm": "membrane voltage",
    "spk": "spikes",
    "source": "source current",
    "i_membrane": "transmembrane current",
    "i_intracellular": "current from inside other than along the cable",
    "lead_field": "lead field",
    "lfp": "extracellular potential",
    "source_proxy": "source (voltage proxy)",
    "lfp_proxy": "LFP (proxy)",
    "csd_proxy": "CSD (proxy)",
    "eeg_proxy": "EEG (proxy)",
    "meg_proxy": "MEG (proxy)",
    "emm_proxy": "activity cost (proxy)",
    "csd": "current source density",
    "i_outside": "membrane current outside the bins",
    "dipole_moment": "current dipole moment",
    "eeg": "EEG",
    "meg": "MEG",
    "firing_rate": "firing rate",
    "spike_rate_hz": "mean firing rate",
    "spike_count": "number of spikes",
    "mean_V_m": "mean membrane voltage",
    "source_abs_mean": "mean size of the source",
    "lfp_abs_mean": "mean size of the LFP (proxy)",
    "csd_abs_mean": "mean size of the CSD (proxy)",
    "eeg_power": "power of the EEG (proxy)",
    "psd": "power spectral density",
    "coherence": "magnitude-squared coherence",
    "band_power": "power in the band",
    "conductance": "axial conductance",
}
#: The unit of what is multiplied by an area to be a current.
DENSITY = "mA/cm^2"
#: Coordinates of segments that other variables are multiplied by, and their units, in attrs.
FACTORS = {"membrane_area": "um^2", "capacitance": "uF/cm^2"}
#: Coordinates that are positions or lengths, in um.
GEOMETRY = tuple(a + end for end in ("", "_start", "_end") for a in "xyz") + ("diameter",)
