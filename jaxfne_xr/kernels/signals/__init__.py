"""Kernels of spikes, surrogate derivatives and synaptic currents."""
