"""Text that UTF-8 can hold: halves of surrogate pairs are joined, or replaced.

JSON can spell half of a pair (`"\\ud83d"`), and some servers send the halves of an emoji in two chunks. An editor's
protocol, and every file, must not see such a half.
"""

from __future__ import annotations

from dataclasses import replace

from codegen_lsp.wire.answers import Choice, Completion, Logprobs


def clean(text: str) -> str:
    """Return text of the same length that UTF-8 can hold: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def joined(text: str) -> str:
    """Return text with its surrogate pairs joined, and U+FFFD for each half that stands alone."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    """Mends the chunks of one stream; keeps half of a pair at the end of a row's chunk for the row's next one."""

    def __init__(self) -> None:
        self._halves: dict[int, str] = {}

    def mend(self, chunk: Completion) -> Completion:
        """Return the chunk with texts that UTF-8 can hold."""
        return replace(chunk, choices=tuple(self._mend_choice(choice) for choice in chunk.choices))

    def _mend_choice(self, choice: Choice) -> Choice:
        text = self._halves.pop(choice.index, "") + choice.text
        if choice.finish_reason is None and "\ud800" <= text[-1:] <= "\udbff":
            self._halves[choice.index], text = text[-1], text[:-1]
        return replace(choice, text=joined(text), logprobs=_mend_logprobs(choice.logprobs))


def _mend_logprobs(logprobs: Logprobs | None) -> Logprobs | None:
    if logprobs is None or all(token.isascii() for token in logprobs.tokens):
        return logprobs
    return replace(logprobs, tokens=tuple(map(joined, logprobs.tokens)))
