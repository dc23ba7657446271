"""What every stage uses: arrays and dispatch, units, names, checks of inputs, results, provenance, scope, errors."""
