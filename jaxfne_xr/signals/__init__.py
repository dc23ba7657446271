"""From traces to signals: voltages, spikes, sources, rates and counts, and joining several Datasets."""
