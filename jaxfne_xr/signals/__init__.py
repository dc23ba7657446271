"""From traces to signals: voltages, spikes, sources, rates and counts, several Datasets joined."""
