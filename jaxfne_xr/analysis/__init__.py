"""What is computed from signals and fields: spectra, summaries of populations, losses for fitting."""
