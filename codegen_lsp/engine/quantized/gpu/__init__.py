"""Products with int8 weights on GPUs, in kernels that Triton compiles."""
