"""The language between the two sides: requests, answers and errors of the OpenAI *completions* API.

Both sides import this package, and it imports neither of them, nor torch, pygls or lsprotocol. It contains the types
of the wire, their parsing, the client that speaks it, and the engine's configuration.
"""
