"""Check and tokenize prompts before any of them is read."""

from __future__ import annotations

from dataclasses import dataclass

from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.requests import CompletionRequest, PromptInput


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt that was checked and tokenized."""

    text: str
    tokens: tuple[int, ...]
    """All tokens of the prompt."""
    kept: int
    """Number of tokens that are read; healing spells the others again."""
    pending: bytes
    """The text that healing has to spell."""


def prepare(model: Model, request: CompletionRequest) -> list[PreparedPrompt]:
    """Check and tokenize the prompts of a request.

    Raises:
        RequestError: a prompt is too long or holds unknown ids, or this model doesn't support a field.
    """
    if request.heal and not model.vocabulary.byte_level:
        raise RequestError(
            "'heal' requires a byte-level tokenizer, which this model doesn't have", param="heal"
        )
    if request.heal and request.echo:
        raise RequestError("'heal' and 'echo' are mutually exclusive", param="heal")
    return [_prepare(model, request, prompt) for prompt in request.prompts]


def _prepare(model: Model, request: CompletionRequest, prompt: PromptInput) -> PreparedPrompt:
    vocabulary = model.vocabulary
    # One position stays free for the first decoded token.
    limit = model.context - (1 if request.max_tokens else 0)
    if isinstance(prompt, str):
        text = prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if len(text) > limit * vocabulary.longest:
            raise _too_long(f"{len(text)} characters", model, limit)
        tokens = vocabulary.encode(text)
    else:
        if len(prompt) > limit:
            raise _too_long(f"{len(prompt)} tokens", model, limit)
        _check_ids(vocabulary, prompt)
        tokens = list(prompt)
        text = b"".join(vocabulary.bytes_of[t] for t in tokens).decode(errors="replace")
    kept, pending = len(tokens), b""
    if request.heal and request.max_tokens and text:
        kept -= vocabulary.ragged(tokens)
        pending = b"".join(vocabulary.bytes_of[t] for t in tokens[kept:])
        if not kept:
            tokens, kept = [vocabulary.start, *tokens], 1
    if len(tokens) > limit:
        raise _too_long(f"{len(tokens)} tokens", model, limit)
    return PreparedPrompt(text, tuple(tokens), kept, pending)


def _check_ids(vocabulary: Vocabulary, tokens: tuple[int, ...]) -> None:
    for token in tokens:
        if token >= vocabulary.size or vocabulary.tokenizer.id_to_token(token) is None:
            raise RequestError(f"'prompt' holds token {token}, which this model doesn't have", param="prompt")


def _too_long(size: str, model: Model, limit: int) -> RequestError:
    return RequestError(
        f"'prompt' has {size}; this model accepts at most {limit} tokens (context {model.context})",
        param="prompt",
        code="context_length_exceeded",
    )
