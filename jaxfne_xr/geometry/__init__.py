"""Geometry: probes and their contacts, positions of sites, morphologies, and the cable between compartments."""
