"""Fill-in-the-middle in the engine: prompts of token ids, and the probe that decides how a model is asked."""
