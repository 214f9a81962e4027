"""Forward passes of this engine's own, for families of models."""
