"""From currents to fields: forward models, potentials, current source density, dipoles, EEG and MEG, proxies."""
