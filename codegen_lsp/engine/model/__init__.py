"""The model: forward pass, keys and values, prefix cache, vocabulary."""
