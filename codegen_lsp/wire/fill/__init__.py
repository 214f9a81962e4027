"""Fill-in-the-middle as data: the formats of the model families, and which of them a model is asked in."""
