"""`POST /v1/embeddings`: the features of a text, from the hidden states of any layer.

Knows OpenAI's JSON and three more fields: `pooling` (`last` token, or `mean` of all), `layer` (0 is the output of the
embedding table, -1 the normalised output of the last layer) and `normalize`. The forward passes take turns with
completions, one chunk of a text per step. torch is imported when features are computed.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codegen_lsp.wire.errors import RequestError
from codegen_lsp.wire.parsing import parse_request
from codegen_lsp.wire.requests import CompletionRequest

if TYPE_CHECKING:
    import torch

    from codegen_lsp.engine.decode.progress import Step, Steps
    from codegen_lsp.engine.decode.prompts import PreparedPrompt
    from codegen_lsp.engine.decode.reading import Reading

POOLINGS = ("last", "mean")
FORMATS = ("float", "base64")
_FIELDS = frozenset(
    ["input", "model", "encoding_format", "dimensions", "user", "pooling", "layer", "normalize", "priority"]
)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """The validated body of `POST /v1/embeddings`."""

    texts: CompletionRequest
    """The texts as a completion request that decodes nothing, which goes through the same checks and queue."""
    pooling: str = "last"
    layer: int = -1
    normalize: bool = True
    encoding: str = "float"


def parse(body: object) -> EmbeddingsRequest:
    """Return the request in a JSON body.

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
    completion = {"prompt": body.get("input"), "max_tokens": 0}
    completion |= {name: body[name] for name in ("model", "priority") if body.get(name) is not None}
    try:
        return parse_request(completion)
    except RequestError as error:
        raise renamed(error) from None


def renamed(error: RequestError) -> RequestError:
    """Return an error about a completion's 'prompt' as one about the 'input' it stands for."""
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
    reading: Reading,
    request: EmbeddingsRequest,
    prompts: Sequence[PreparedPrompt],
    emit: Callable[[list[float]], None],
) -> Steps:
    """Compute one vector per text and pass it to `emit`; each item is one forward pass that was made.

    Raises:
        RequestError: the model doesn't have this layer.
        InternalError: the model computed values that are not finite.
    """
    import torch

    from codegen_lsp.engine.decode.reading import not_finite

    layers = reading.model.layers
    if not -layers - 1 <= request.layer <= layers:
        raise RequestError(
            f"'layer' must be from {-layers - 1} to {layers}; {reading.model.name} has {layers} layers",
            param="layer",
        )
    for prompt in prompts:
        reading.progress.prompt_tokens += len(prompt.tokens)
        vector = yield from _pooled(reading, request, prompt.tokens)
        if request.normalize:
            vector = torch.nn.functional.normalize(vector, dim=0)
        if not torch.isfinite(vector).all():
            raise not_finite()
        emit(vector.tolist())


def _pooled(
    reading: Reading, request: EmbeddingsRequest, tokens: tuple[int, ...]
) -> Generator[Step, None, torch.Tensor]:
    """Return the vector (width,) of a text in float32; `last` pooling needs only what the prefix cache lacks."""
    import torch

    last = request.pooling == "last"
    kv = reading.restore(tokens[:-1] if last else (), len(tokens))
    position = kv.length
    total: torch.Tensor | None = None
    try:
        while position < len(tokens):
            part = tokens[position : position + reading.chunk]
            states = reading.model.hidden_states(torch.tensor([part]), kv, request.layer)[0]
            total = states[-1] if last else states.sum(0) + (0 if total is None else total)
            position += len(part)
            reading.progress.prefilled_tokens += len(part)
            reading.remember(tokens[:position], kv)
            yield "prefill"
    finally:
        reading.release(kv)
    assert total is not None
    return total if last else total / len(tokens)


def answer(
    request: EmbeddingsRequest, vectors: Sequence[Sequence[float]], model: str, tokens: int
) -> dict[str, Any]:
    """Return the body of the answer in OpenAI's form."""
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector, request.encoding)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def encode(vector: Sequence[float], encoding: str) -> list[float] | str:
    """Return numbers, or little-endian float32 in base64, which OpenAI's client requests."""
    if encoding == "float":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
