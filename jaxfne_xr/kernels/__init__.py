"""Pure kernels on bare arrays: no labels, no units, no files."""
