"""The language between the two sides: requests, answers and errors of the OpenAI *completions* API.

Both sides import this package, and it imports neither. Knows the JSON of the wire, the client that speaks it and the
engine's configuration. Knows nothing about LSP or models.
"""
