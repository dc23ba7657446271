"""Kernels of membrane currents, potentials, current source density, dipoles and heads."""
