"""A completion request with everything that its steps share, and the first of them: reading the prompt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from codegen_lsp.engine.decode.echo import Echo
from codegen_lsp.engine.decode.progress import Planned, Step
from codegen_lsp.engine.decode.prompts import PreparedPrompt
from codegen_lsp.engine.decode.reading import Reading
from codegen_lsp.engine.decode.rows.row import Row
from codegen_lsp.engine.model.kv_layout import ROOM
from codegen_lsp.engine.model.kv_store import KVStore
from codegen_lsp.engine.model.passes import Pass
from codegen_lsp.wire.answers import Choice
from codegen_lsp.wire.requests import CompletionRequest

Emit = Callable[[Iterable[Choice]], None]
"""Called with the new parts of choices: after each step when streaming, otherwise once per prompt.

What is new is looked up when it is taken, so that what several steps add can be taken as one part, and nothing twice.
"""


class NewParts:
    """What is new in rows when it is taken, which happens once."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.taken = False

    def __iter__(self) -> Iterator[Choice]:
        """Take it."""
        self.taken = True
        return (choice for row in self.rows if (choice := row.delta()) is not None)


@dataclass(frozen=True, slots=True)
class Generation:
    """A completion request, what its steps work with, and where its choices go."""

    reading: Reading
    request: CompletionRequest
    emit: Emit

    def rows(self, prompt: PreparedPrompt, first_index: int, echo: Echo | None) -> list[Row]:
        """Return the rows of a prompt; they have ended already if nothing is to be decoded."""
        request = self.request
        rows = [
            Row(self.reading.model.vocabulary, request, prompt, first_index, rank)
            for rank in range(request.n)
        ]
        for row in rows:
            if echo is not None:
                row.echo(echo.text, echo.logprobs)
            if not request.max_tokens:
                row.cut()
        return rows

    def deliver(self, rows: Sequence[Row]) -> NewParts:
        """Emit what is new in these rows."""
        parts = NewParts(rows)
        self.emit(parts)
        return parts


def restored(generation: Generation, tokens: tuple[int, ...], echo: Echo | None) -> KVStore:
    """Return the KV cache that a prompt is read into, with the part of it that the prefix cache holds."""
    reading, request = generation.reading, generation.request
    usable = len(tokens) - 1 if request.max_tokens else len(tokens)
    if echo is not None:
        usable = min(usable, echo.read_from)
    return reading.restore(tokens[:usable], len(tokens) + ROOM)


def prefill(
    generation: Generation, tokens: tuple[int, ...], echo: Echo | None, kv: KVStore
) -> Generator[Planned | Step, torch.Tensor, torch.Tensor | None]:
    """Read a prompt, except for the part that `kv` holds.

    Returns:
        the logits (1, vocabulary) of the last position, None if nothing is to be decoded.
    """
    reading, decodes = generation.reading, generation.request.max_tokens > 0
    logits = None
    position = kv.length
    while position < len(tokens):
        part = tokens[position : position + reading.chunk]
        keep: int | torch.Tensor = 1 if echo is None else echo.needed(position, len(part))
        output = yield Planned("prefill", Pass(torch.tensor([part]), kv, keep))
        position += len(part)
        if echo is not None:
            echo.take(position, output[0])
        logits = output[:, -1]
        reading.progress.prefilled_tokens += len(part)
        if decodes and position == len(tokens) and reading.model.forks:
            # Copying them can wait until the first tokens are on their way.
            reading.note(tokens, kv)
        else:
            reading.remember(tokens[:position], kv)
    return logits if decodes else None
