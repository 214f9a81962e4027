"""The rows of a request: how each chooses its tokens, and how the rows of a prompt diverge."""
