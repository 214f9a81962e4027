"""Counting tokens with the tokenizer of a local engine's model.

Knows the `tokenizers` library.
"""

from __future__ import annotations

import logging

from codegen_lsp.lsp.prompts.token_counter import TokenCounter, estimate
from codegen_lsp.regular_file import read_regular_file
from codegen_lsp.wire.fill.families import unflagged
from codegen_lsp.wire.surrogates import clean

logger = logging.getLogger(__name__)

MAX_BYTES = 256 * 2**20
"""The size of the largest tokenizer file that is read; tokenizers of today's models take up to 30 MiB."""


def load_counter(path: str) -> TokenCounter:
    """Return a counter with the tokenizer in a file; one that estimates if the file can't be used."""
    try:
        from tokenizers import AddedToken, Tokenizer

        tokenizer = Tokenizer.from_buffer(read_regular_file(path, MAX_BYTES))
        tokenizer.no_padding()  # to any length, for which this process would abort
        tokenizer.no_truncation()
        # As in the engine, the name of a control token in a text is text.
        tokenizer.add_special_tokens([AddedToken(**each, special=True) for each in unflagged(tokenizer)])
        tokenizer.encode_special_tokens = True
    except BaseException as error:  # A missing package, a bare Exception, or a panic of tokenizers.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        logger.warning("the tokenizer %s can't be used, so tokens are estimated: %s", path, error)
        return TokenCounter(estimate)

    def ids(text: str) -> list[int]:
        return tokenizer.encode(clean(text), add_special_tokens=False).ids

    def head(text: str, tokens: int) -> str:
        # A character with only some of its tokens among them is decoded to something else, and not counted.
        return tokenizer.decode(ids(text)[:tokens], skip_special_tokens=False)

    return TokenCounter(lambda text: len(ids(text)), head)
