"""Measure nano beside baselines on held-out code, and write the model card."""
