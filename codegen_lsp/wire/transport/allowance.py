"""How much a server may send in answer to one request: it may ignore `max_tokens`, by mistake or on purpose."""

from __future__ import annotations

from codegen_lsp.wire.answers import Completion
from codegen_lsp.wire.errors import InvalidAnswerError
from codegen_lsp.wire.requests import CompletionRequest

EVENTS_PER_TOKEN = 2
CHARACTERS_PER_TOKEN = 256
SPARE_EVENTS = 256
"""Events in addition to those of tokens: usage, timings."""
SPARE_CHARACTERS = 4096


class Allowance:
    """The events and characters that remain of an answer."""

    def __init__(self, request: CompletionRequest) -> None:
        tokens = len(request.prompts) * request.n * (request.max_tokens + 1)
        echoed = sum(map(_length, request.prompts)) * request.n if request.echo else 0
        self._events = SPARE_EVENTS + EVENTS_PER_TOKEN * tokens
        self._characters = SPARE_CHARACTERS + CHARACTERS_PER_TOKEN * tokens + echoed

    def take(self, completion: Completion) -> Completion:
        """Return a completion, or the next chunk of one, if it was asked for.

        Raises:
            InvalidAnswerError: the server sends more.
        """
        self._events -= 1
        self._characters -= sum(len(choice.text) for choice in completion.choices)
        if self._events < 0 or self._characters < 0:
            raise InvalidAnswerError("the server sends more than it was asked for")
        return completion


def _length(prompt: str | tuple[int, ...]) -> int:
    return len(prompt) * (1 if isinstance(prompt, str) else CHARACTERS_PER_TOKEN)
