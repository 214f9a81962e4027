"""Cut rows at stop strings that the server was not sent: many accept four at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codegen_lsp.wire.answers import Choice, Completion


class StopCutter:
    """The rows of one answer, each up to the first of some stop strings.

    The end of a row that may begin a stop string is held back until the next chunk.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held: dict[int, str] = {}
        self._ended: set[int] = set()

    def cut(self, completion: Completion) -> Completion:
        """Return a completion, or the next chunk of one, with what may be shown."""
        if not self._stops:
            return completion
        return replace(completion, choices=tuple(map(self._choice, completion.choices)))

    def _choice(self, choice: Choice) -> Choice:
        if choice.index in self._ended:
            return replace(choice, text="", finish_reason="stop", logprobs=None)
        text = self._held.pop(choice.index, "") + choice.text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self._ended.add(choice.index)
            return replace(choice, text=text[: min(places)], finish_reason="stop")
        if choice.finish_reason is not None:
            return replace(choice, text=text)
        held = max((self._beginning(text, stop) for stop in self._stops), default=0)
        self._held[choice.index] = text[len(text) - held :]
        return replace(choice, text=text[: len(text) - held])

    @staticmethod
    def _beginning(text: str, stop: str) -> int:
        """Return how many of the text's last characters begin a stop string."""
        lengths = range(min(len(stop) - 1, len(text)), 0, -1)
        return next((length for length in lengths if text.endswith(stop[:length])), 0)
