"""Measure nano and the baselines on held-out code, and write the model card."""
