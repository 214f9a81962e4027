"""Build the prompt: header, window, token budget."""
