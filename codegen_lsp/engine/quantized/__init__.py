"""Weights in int8 and int4: formats, kernels, linear layers, the choice of a format, loading."""
