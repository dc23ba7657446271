"""A run described once: configuration, model, readouts, bundles, and replaying them."""
