"""Configure a run, construct its model, compute readouts, save all in a bundle, and replay it."""
