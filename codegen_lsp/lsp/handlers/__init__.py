"""Handlers of LSP methods and commands: translate between LSP and the session."""
