"""Bridges to other packages, one file each; none is imported before it is needed."""
