"""Where things are: probes and their contacts, sites, morphologies, and the cable between compartments."""
