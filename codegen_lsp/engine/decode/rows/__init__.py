"""The rows of a request: how each chooses its tokens, and how those of a prompt part."""
