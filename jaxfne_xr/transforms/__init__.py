"""JAX's transformations by the names of dims, and Datasets as pytrees."""
