"""Kernels for products of rows with quantized weights: in vectors, and on the matrix units of some processors."""
