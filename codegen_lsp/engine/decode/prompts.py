"""Check and tokenize prompts before any of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen_lsp.engine.fill import assembly, budget
from codegen_lsp.engine.model.model import Model
from codegen_lsp.engine.model.vocabulary import Vocabulary
from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.fill.formats import FileText, FillFormat, Order
from codegen_lsp.wire.requests import CompletionRequest, PromptInput

CHARACTERS_PER_TOKEN = 16
"""Characters per token of the context that are looked at around a cursor."""
MAX_PATH = 4096
"""Characters of a path that are read."""


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
    ends: frozenset[int] = frozenset()
    """Tokens that end a row besides the end of text."""
    stops: tuple[str, ...] = ()
    """Texts that end a row besides those of the request."""
    draft: tuple[int, ...] = ()
    """The tokens of the text that the client expects."""
    words: tuple[bytes, ...] = ()
    """What a row has to begin with one of, after `pending`: sorted, each once; empty for anything."""


def prepare(model: Model, request: CompletionRequest) -> list[PreparedPrompt]:
    """Check and tokenize the prompts of a request.

    Raises:
        RequestError: a prompt is too long or holds unknown ids, or this model doesn't support a field.
    """
    if request.heal and not model.vocabulary.byte_level:
        raise RequestError(
            "'heal' requires a byte-level tokenizer, which this model doesn't have", param="heal"
        )
    for name in ("heal", "suffix", "files"):
        if request.echo and getattr(request, name):
            raise RequestError(f"{name!r} and 'echo' are mutually exclusive", param=name)
    make = _around if request.suffix or request.files else _left_to_right
    draft = tuple(model.vocabulary.encode(_whole(request.draft))) if request.draft else ()
    words = tuple(sorted({_whole(word).encode() for word in request.words}))
    return [replace(make(model, request, prompt), draft=draft, words=words) for prompt in request.prompts]


def _left_to_right(model: Model, request: CompletionRequest, prompt: PromptInput) -> PreparedPrompt:
    vocabulary = model.vocabulary
    # One position stays free for the first decoded token.
    limit = model.context - (1 if request.max_tokens else 0)
    text = _text_of(vocabulary, prompt)
    if isinstance(prompt, str):
        if len(text) > limit * vocabulary.longest:
            raise _too_long(f"{len(text)} characters", model, limit)
        tokens = vocabulary.encode(text)
    else:
        if len(prompt) > limit:
            raise _too_long(f"{len(prompt)} tokens", model, limit)
        tokens = list(prompt)
    healed = _healed(vocabulary, request, tokens, text)
    kept = len(tokens) - healed
    pending = b"".join(vocabulary.bytes_of[t] for t in tokens[kept:])
    if not kept:
        tokens, kept = [vocabulary.start, *tokens], 1
    if len(tokens) > limit:
        raise _too_long(f"{len(tokens)} tokens", model, limit)
    return PreparedPrompt(text, tuple(tokens), kept, pending, _ends(model))


def _ends(model: Model) -> frozenset[int]:
    """Return the control tokens that end a row: after one of them comes another file, or padding."""
    return assembly.ends(model.vocabulary, model.fill.format) if model.fill is not None else frozenset()


def _around(model: Model, request: CompletionRequest, prompt: PromptInput) -> PreparedPrompt:
    """Return a prompt at a cursor, with the text after it and other files as far as they fit."""
    vocabulary, choice = model.vocabulary, model.fill
    order = choice.order if choice is not None and request.suffix.strip() else None
    fill_format = choice.format if choice is not None else None
    reach = model.context * CHARACTERS_PER_TOKEN
    text = _text_of(vocabulary, prompt)
    before = assembly.lead(fill_format, order) if fill_format is not None and order is not None else ""
    prefix = vocabulary.encode_part(before + text[-reach:]) if isinstance(prompt, str) else list(prompt)
    suffix = vocabulary.encode_part(_whole(request.suffix[: 2 * reach])[:reach]) if order is not None else []
    healed = _healed(vocabulary, request, prefix, text)
    tail = prefix[len(prefix) - healed :]
    prefix = prefix[: len(prefix) - healed]
    files = tuple(
        FileText(_whole(file.path[-MAX_PATH:]), _whole(file.text[: 2 * reach])[:reach])
        for file in request.files
    )
    room = model.context - max(1, min(request.max_tokens, model.context // 2)) - healed
    tokens = _assembled(vocabulary, fill_format, order, prefix, suffix, files, _whole(request.path), room)
    texts = assembly.text_stops(fill_format) if fill_format is not None and order is not None else ()
    meeting = budget.meeting_stop(request.suffix)
    return PreparedPrompt(
        text=text,
        tokens=(*tokens, *tail),
        kept=len(tokens),
        pending=b"".join(vocabulary.bytes_of[t] for t in tail),
        ends=_ends(model),
        stops=(*texts, meeting) if meeting else texts,
    )


def _assembled(
    vocabulary: Vocabulary,
    fill_format: FillFormat | None,
    order: Order | None,
    prefix: Sequence[int],
    suffix: Sequence[int],
    files: tuple[FileText, ...],
    path: str,
    room: int,
) -> list[int]:
    """Return the tokens of a prompt at a cursor that has at most `room` tokens."""

    def assembled(prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        if fill_format is not None and order is not None:
            return assembly.assemble(vocabulary, fill_format, order, prefix, suffix, files, path)
        before, current = assembly.file_ids(vocabulary, fill_format, files, path)
        return [*vocabulary.opening, *before, *current, *prefix] or [vocabulary.start]

    # One by one from the last: to tokenize all of them for each that is dropped would take minutes.
    files = tuple(assembly.last_files(vocabulary, fill_format, files, room - len(prefix) - len(suffix)))
    tokens = assembled(prefix, suffix)
    while len(tokens) > room and files:
        files = files[1:]
        tokens = assembled(prefix, suffix)
    if len(tokens) > room:
        around = len(tokens) - len(prefix) - len(suffix)
        tokens = assembled(*budget.fit(prefix, suffix, room - around))
    return tokens


def _healed(vocabulary: Vocabulary, request: CompletionRequest, tokens: list[int], text: str) -> int:
    """Return how many of the last tokens healing gives back."""
    return vocabulary.ragged(tokens) if request.heal and request.max_tokens and text else 0


def _text_of(vocabulary: Vocabulary, prompt: PromptInput) -> str:
    """Return the text of a prompt.

    Raises:
        RequestError: the prompt holds ids that the model doesn't have.
    """
    if isinstance(prompt, str):
        return _whole(prompt)
    _check_ids(vocabulary, prompt)
    return b"".join(vocabulary.bytes_of[t] for t in prompt).decode(errors="replace")


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
