"""The kernels for attention: of a few new tokens, and of the many of a prompt."""
