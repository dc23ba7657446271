"""Analysis of signals and fields: spectra, summaries of populations, losses for fitting."""
