"""JAX transformations of functions of labelled data, by dim name; Datasets as pytrees."""
