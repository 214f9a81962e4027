"""Serve the engine over HTTP."""
