"""Kernels of spectra, summaries and losses."""
