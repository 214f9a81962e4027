"""`POST /v1/embeddings`: a text's features, from the hidden states of any layer.

Knows the JSON as OpenAI has it, and three fields more: `pooling` (`last` token, or `mean` of all), `layer` (0 is the
embedding table's output, -1 the last layer's behind its normalization) and `normalize`. The forward passes take turns
with completions, a chunk of the text a step. torch is imported when something is computed.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codegen_lsp.wire.config import option
from codegen_lsp.wire.errors import InternalError, RequestError
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    import torch

    from codegen_lsp.engine.decode.generate import DecodeProgress, Prepared, Step
    from codegen_lsp.engine.model.model import Model
    from codegen_lsp.engine.model.prefix_cache import PrefixCache

POOLINGS = ("last", "mean")
FORMATS = ("float", "base64")
_FIELDS = frozenset(
    ["input", "model", "encoding_format", "dimensions", "user", "pooling", "layer", "normalize", "priority"]
)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """The body of `POST /v1/embeddings`, checked."""

    texts: CompletionRequest
    """The texts, as a request that decodes nothing: it goes through the same checks and the same queue."""
    pooling: str = "last"
    layer: int = -1
    normalize: bool = True
    encoding: str = "float"


def parse(body: object) -> EmbeddingsRequest:
    """The request in a JSON body.

    Raises:
        RequestError: a field is missing, unknown, of the wrong type or out of range; `param` names it.
    """
    if not isinstance(body, Mapping):
        raise RequestError("the body must be a JSON object")
    for name in body:
        if name not in _FIELDS:
            raise RequestError(
                f"{name!r} is not supported by this engine", param=str(name), code="unsupported"
            )
    if body.get("dimensions") is not None:
        raise RequestError(
            "'dimensions' is not supported by this engine", param="dimensions", code="unsupported"
        )
    texts = _texts(body)
    layer = body.get("layer", -1)
    if isinstance(layer, bool) or not isinstance(layer, int):
        raise RequestError("'layer' must be a whole number", param="layer")
    normalize = body.get("normalize", True)
    if not isinstance(normalize, bool):
        raise RequestError("'normalize' must be true or false", param="normalize")
    return EmbeddingsRequest(
        texts=texts,
        pooling=_word(body, "pooling", POOLINGS),
        layer=layer,
        normalize=normalize,
        encoding=_word(body, "encoding_format", FORMATS),
    )


def _texts(body: Mapping[str, Any]) -> CompletionRequest:
    asked = {"prompt": body.get("input"), "max_tokens": 0}
    asked |= {name: body[name] for name in ("model", "priority") if body.get(name) is not None}
    try:
        return parse_request(asked)
    except RequestError as error:
        raise renamed(error) from None


def renamed(error: RequestError) -> RequestError:
    """An error about a completion's prompt, as one about the input that it stands for."""
    if error.param != "prompt":
        return error
    return RequestError(error.message.replace("'prompt'", "'input'"), param="input", code=error.code)


def _word(body: Mapping[str, Any], name: str, words: Sequence[str]) -> str:
    value = body.get(name)
    if value is None:
        return words[0]
    if value not in words:
        raise RequestError(f"{name!r} must be {' or '.join(words)}", param=name)
    return str(value)


def compute(
    model: Model,
    cache: PrefixCache | None,
    request: EmbeddingsRequest,
    prompts: Sequence[Prepared],
    emit: Callable[[list[float]], None],
    progress: DecodeProgress,
    chunk: int,
) -> Iterator[Step]:
    """Compute one vector a text, each given to `emit`; each item is one forward pass that was made.

    Raises:
        RequestError: the model has no such layer.
        InternalError: the model computed no finite numbers.
    """
    import torch

    layers = model.layers
    if not -layers - 1 <= request.layer <= layers:
        raise RequestError(
            f"'layer' must be from {-layers - 1} to {layers}; {model.name} has {layers} layers", param="layer"
        )
    for prompt in prompts:
        progress.prompt_tokens += len(prompt.tokens)
        vector = yield from _pooled(model, cache, request, prompt.tokens, progress, chunk)
        if request.normalize:
            vector = torch.nn.functional.normalize(vector, dim=0)
        if not torch.isfinite(vector).all():
            raise InternalError(
                f"the model computed no finite numbers; take {option('dtype', 'float32')}",
                code="not-finite",
            )
        emit(vector.tolist())


def _pooled(
    model: Model,
    cache: PrefixCache | None,
    request: EmbeddingsRequest,
    tokens: Sequence[int],
    progress: DecodeProgress,
    chunk: int,
) -> Generator[Step, None, torch.Tensor]:
    """The vector (width,) of some tokens, in float32. The last one's needs only what the prefix cache lacks."""
    import torch

    from codegen_lsp.engine.model.kv import KVCache

    kv = model.new_cache(len(tokens))
    position = 0
    if request.pooling == "last" and cache is not None and isinstance(kv, KVCache):
        match = cache.lookup(tuple(tokens[:-1]))
        for piece in match.pieces:
            kv.append(piece)
        position = match.length
    progress.cached_tokens += position
    total: torch.Tensor | None = None
    while position < len(tokens):
        part = tokens[position : position + chunk]
        states = model.hidden_states(torch.tensor([list(part)]), kv, request.layer)[0]
        total = states[-1] if request.pooling == "last" else states.sum(0) + (0 if total is None else total)
        position += len(part)
        progress.prefilled_tokens += len(part)
        if cache is not None and isinstance(kv, KVCache):
            cache.insert(tuple(tokens[:position]), kv)
        yield "prefill"
    assert total is not None
    return total if request.pooling == "last" else total / len(tokens)


def answer(
    request: EmbeddingsRequest, vectors: Sequence[Sequence[float]], model: str, tokens: int
) -> dict[str, Any]:
    """The answer's body, as OpenAI writes it."""
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector, request.encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def encode(vector: Sequence[float], encoding: str) -> list[float] | str:
    """Numbers, or little-endian float32 in base64, which OpenAI's own client asks for."""
    if encoding == "float":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
