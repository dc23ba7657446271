"""Read and write files, and read data of other packages: one module each, imported when first needed."""
