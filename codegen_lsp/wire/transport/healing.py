"""Token healing for servers that don't know it: cut the ragged end off the prompt, and have the model write it again.

The last token of a prompt is often half of a longer one: `pri`, or the space of ` x`. A model that has to go on from
such a half writes worse text. So the request goes out without it, and each row must begin with what was cut off.
Rows that don't are dropped.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codegen_lsp.wire.answers import Choice, Completion, Logprobs
from codegen_lsp.wire.requests import CompletionRequest

RAGGED = re.compile(
    r"""
    [ \t]{1,64} \Z              # spaces before a word that is not there yet, or indentation
    | [ ]? \b [^\W\d]\w{0,15} \Z     # the beginning of a word, with the space that belongs to its first token
    """,
    re.VERBOSE,
)
SPARE_TOKENS = 8
"""Additional tokens for the text that is written again."""


class ContradictedError(Exception):
    """No row of the model begins with what was cut off."""


def ragged_ends(request: CompletionRequest) -> tuple[str, ...]:
    """Return the ends of a prompt that may be a part of a longer token, in the order in which they are tried.

    A word after several spaces is cut with and without the last of them: most tokenizers put that into the word's
    first token, some into the indentation's.

    Example: `"if x:\\n    retur"` has `" retur"` and `"retur"`.
    """
    (prompt, *others) = request.prompts
    if others or not isinstance(prompt, str) or request.echo:
        return ()
    match = RAGGED.search(prompt, max(0, len(prompt) - 80))
    ragged = match[0] if match else ""
    before = prompt[: len(prompt) - len(ragged)]
    if not ragged or not before.strip():
        return ()
    word = ragged.lstrip(" \t")
    return (ragged, word) if word and word != ragged and before.endswith(" ") else (ragged,)


def without_end(request: CompletionRequest, ragged: str) -> CompletionRequest:
    """Return the request for the prompt without its ragged end."""
    (prompt,) = request.prompts
    assert isinstance(prompt, str)
    shorter = prompt[: len(prompt) - len(ragged)]
    return replace(request, prompts=(shorter,), max_tokens=request.max_tokens + SPARE_TOKENS)


class Healer:
    """Takes what was cut off away from the beginning of each of `rows` rows."""

    def __init__(self, ragged: str, rows: int = 1) -> None:
        self._ragged = ragged
        self._rows = rows
        self._begun: dict[int, str] = {}
        self._healed: set[int] = set()
        self._dropped: set[int] = set()
        self._unsaid: list[Choice] = []
        """The ends of dropped rows, which are said once a row is healed: without one, other rows will come."""

    def take(self, chunk: Completion) -> Completion:
        """Return a chunk with the texts that follow the prompt. Rows that contradict the prompt end at once.

        Raises:
            ContradictedError: all rows do.
        """
        choices = [self._choice(choice) for choice in chunk.choices if choice.index not in self._dropped]
        if self._healed:
            choices += self._unsaid
            self._unsaid = []
        return replace(chunk, choices=tuple(choice for choice in choices if choice is not None))

    def _choice(self, choice: Choice) -> Choice | None:
        if choice.index in self._healed:
            return choice
        begun = self._begun.get(choice.index, "")
        text = begun + choice.text
        self._begun[choice.index] = text
        if text.startswith(self._ragged):
            self._healed.add(choice.index)
            skip = len(self._ragged) - len(begun)
            logprobs = _after(choice.logprobs, skip) if choice.logprobs is not None else None
            return replace(choice, text=text[len(self._ragged) :], logprobs=logprobs)
        if self._ragged.startswith(text) and choice.finish_reason is None:
            return None
        self._drop(choice.index)
        return None

    def _drop(self, index: int) -> None:
        self._dropped.add(index)
        if len(self._dropped) >= self._rows:
            raise ContradictedError
        self._unsaid.append(Choice(index, "", "stop"))


def _after(logprobs: Logprobs, skip: int) -> Logprobs:
    """Return the log-probabilities without the first `skip` characters; of a token that is cut the end remains."""
    for number, token in enumerate(logprobs.tokens):
        if skip < len(token):
            return Logprobs(
                (token[skip:], *logprobs.tokens[number + 1 :]),
                logprobs.token_logprobs[number:],
                logprobs.top_logprobs[number:],
                logprobs.text_offset[number:],
            )
        skip -= len(token)
    return Logprobs()
