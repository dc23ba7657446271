"""What all stages use: arrays and dispatch, units, names, checks of inputs, results, provenance, scope, errors."""
