"""Kernels of membrane currents, potentials, current source density, dipoles, EEG and MEG."""
