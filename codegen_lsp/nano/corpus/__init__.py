"""Nano's training data: collect, filter, tokenize and pack source files of permissively licensed packages."""
