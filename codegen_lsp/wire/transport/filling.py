"""Ask servers of other projects for a middle: each has its own way.

    suffix   OpenAI's field, for Ollama and for servers whose model's family is unknown
    infill   llama.cpp's route, which puts the control tokens in by itself
    text     the family's control tokens in the prompt's text, for vLLM and others

A server that refuses `suffix` is asked left to right from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codegen_lsp.wire.answers import FillInfo
from codegen_lsp.wire.fill import families
from codegen_lsp.wire.fill.formats import Control, FillFormat, FillMode, Order, Placeholder

Way = Literal["suffix", "infill", "text"]

WAYS: Mapping[str, Way] = {"llamacpp": "infill", "library": "suffix"}
"""The way of a server by the owner that it gives its models: llama.cpp's server, Ollama."""
MAX_STOPS = 4
"""Number of stop strings that every server accepts."""


@dataclass(frozen=True, slots=True)
class Filling:
    """How one server is asked for a middle."""

    way: Way
    fill_format: FillFormat | None = None

    @property
    def order(self) -> Order:
        """The order of a prompt."""
        return self.fill_format.orders[0] if self.fill_format is not None else "psm"

    @property
    def info(self) -> FillInfo:
        """What the language server needs to know of it."""
        family = self.fill_format.family if self.fill_format is not None else ""
        return FillInfo(family, self.order, tokens=8, reason=f"asked by {self.way}")

    def path(self, body: Mapping[str, Any]) -> str:
        """Return where a request goes."""
        return "/infill" if self.way == "infill" and body.get("suffix") else "/v1/completions"

    def adapt(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a request's body as the server wants it."""
        if not body.get("suffix") or not isinstance(body["prompt"], str) or self.way == "suffix":
            return body
        if self.way == "infill":
            return _infill(body)
        adapted = {name: value for name, value in body.items() if name != "suffix"}
        text = self._text(body["prompt"], body["suffix"])
        return adapted if text is None else adapted | {"prompt": text}

    def _text(self, prefix: str, suffix: str) -> str | None:
        """Return a prompt with control tokens; None if the user's text names one: the server can't tell them apart."""
        if self.fill_format is None or _names_one(prefix + suffix, self.fill_format):
            return None
        values = {"prefix": prefix, "suffix": suffix}
        parts = self.fill_format.parts(self.fill_format.template(self.order))
        return "".join(
            values.get(part.name, "")
            if isinstance(part, Placeholder)
            else part.token
            if isinstance(part, Control)
            else part
            for part in parts
        )

    def stops(self, stops: Sequence[str]) -> tuple[str, ...]:
        """Return the stops of a request with those of the family; the client cuts at what the server isn't sent."""
        if self.fill_format is None:
            return tuple(stops)
        return tuple(dict.fromkeys((*stops, *self.fill_format.stops, *self.fill_format.tokens)))


def _names_one(text: str, fill_format: FillFormat) -> bool:
    """Return whether a text names a control token of a format; SentencePiece writes the space before one as U+2581."""
    names = (name.lstrip("\u2581") for name in (*fill_format.tokens, *fill_format.stops))
    return any(name in text for name in names)


def filling_for(owner: str, model: str, chosen: FillFormat | None, mode: FillMode) -> Filling | None:
    """Return how a server is asked for middles of a model; None asks left to right.

    Args:
        owner: the owner that the server gives the model (`owned_by`).
        model: its name there, by which the family is looked up.
        chosen: the format that the user named.
        mode: the user's setting.
    """
    if mode == "never":
        return None
    fill_format = chosen or families.by_model_name(model)
    if fill_format is None:
        return Filling("suffix") if mode == "always" else None
    return Filling(WAYS.get(owner, "text"), fill_format)


def _infill(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request to llama.cpp's `/infill`, which answers with one row."""
    names = {"prompt": "input_prefix", "suffix": "input_suffix", "max_tokens": "n_predict"}
    kept = ("temperature", "top_p", "stop", "seed", "stream", "model")
    infill = {names[name]: body[name] for name in names if name in body}
    return infill | {name: body[name] for name in kept if name in body} | {"cache_prompt": True}


def as_completion(answer: Any) -> Any:
    """Return an answer, or a chunk of one, of llama.cpp's `/infill` as a completion; any other as it is."""
    if not isinstance(answer, dict) or "content" not in answer or "choices" in answer:
        return answer
    ended = answer.get("stop") is True
    reason = ("length" if answer.get("stop_type") == "limit" else "stop") if ended else None
    completion: dict[str, Any] = {
        "model": answer.get("model"),
        "choices": [{"index": 0, "text": answer["content"], "finish_reason": reason}],
    }
    if ended and "tokens_evaluated" in answer:
        completion["usage"] = {
            "prompt_tokens": answer["tokens_evaluated"],
            "completion_tokens": answer.get("tokens_predicted"),
        }
    return completion
