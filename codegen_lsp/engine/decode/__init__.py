"""Decode rows of tokens from a prompt."""
