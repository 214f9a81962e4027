"""Handlers of LSP methods and commands: top-level functions that translate between LSP and the session.

`app` registers them.
"""
