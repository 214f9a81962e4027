"""A stack of numbers. The method at the end has no body yet: `codegen-lsp complete examples/stack.py:20:1`."""


class Stack:
    """A stack of values, the last one on top."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def push(self, value: int) -> None:
        """Put a value on top."""
        self.values.append(value)

    def pop(self) -> int:
        """Take the value from the top."""
        return self.values.pop()

    def __len__(self) -> int:
        """Return the number of values."""
