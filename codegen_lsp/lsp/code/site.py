"""The place of the cursor, with everything that is derived from it computed once.

One `Site` is made for each request and handed to the prompt, the stop rules, filters and ranking, so that no
two of them have their own idea of what the text around the cursor says.
"""

from __future__ import annotations

from functools import cached_property

from codegen_lsp.lsp.code.blocks import Block, block_at
from codegen_lsp.lsp.code.cursor import Cursor
from codegen_lsp.lsp.code.lexed_cursor import LexedCursor
from codegen_lsp.lsp.code.surroundings import Surroundings, surroundings, visible


class Site(LexedCursor):
    """A cursor, the text around it, and the block and statements that it is in."""

    @classmethod
    def of(cls, cursor: Cursor) -> Site:
        """Return the site of a cursor."""
        return cls(cursor)

    @cached_property
    def block(self) -> Block:
        """The block that is to be written at the cursor."""
        return block_at(self)

    @cached_property
    def statements(self) -> Surroundings | None:
        """The Python statements around the cursor's line; None in strings, brackets and other languages."""
        if self.cursor.language != "python":
            return None
        return surroundings(self.cursor, self.below)

    @cached_property
    def visible(self) -> str:
        """The text in which names are looked up: the document, or the start and cursor region of a long one."""
        return visible(self.cursor)
