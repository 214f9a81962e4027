"""`codegen-lsp generate`: continue a text, with an engine that runs already or in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp.commands.options import AsJson, LoadOptions, with_options
from codegen_lsp.commands.terminal import read_standard_input, say_data, say_json

if TYPE_CHECKING:
    from codegen_lsp.wire.answers import Completion
    from codegen_lsp.wire.config import EngineConfig
    from codegen_lsp.wire.requests import CompletionRequest


@with_options
def generate(
    prompt: Annotated[str, typer.Argument(help="Text to continue; - reads standard input.")],
    load: LoadOptions,
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens to decode.", min=0)] = 128,
    temperature: Annotated[
        float, typer.Option(help="Sampling temperature; 0 takes the likeliest token each time.", min=0, max=2)
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(help="Sample from the fewest tokens that reach this probability.")
    ] = 1.0,
    n: Annotated[int, typer.Option(help="Number of completions.", min=1, max=16)] = 1,
    stop: Annotated[
        list[str] | None, typer.Option(help="A string that ends the text; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same text.")] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a text, and print it: the prompt, the completion, and nothing else."""
    from codegen_lsp.wire.parsing import parse_request

    text = _prompt(prompt)
    options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "n": n, "seed": seed}
    request = parse_request({"prompt": text, "stop": stop or None, **options})
    config = load.config()
    answer = _ask_running_engine(config, request) or _load_and_complete(config, request)
    if as_json:
        say_json(answer.to_json())
        return
    say_data("\n\n".join(text + choice.text for choice in answer.choices))


def _prompt(prompt: str) -> str:
    """Return the prompt as text; bytes that are not UTF-8 become replacement characters."""
    if prompt == "-":
        return read_standard_input().decode(errors="replace")
    return prompt.encode("utf-8", "surrogateescape").decode(errors="replace")


def _ask_running_engine(config: EngineConfig, request: CompletionRequest) -> Completion | None:
    """Return the answer of an engine that runs with this configuration and is ready; None without one."""
    import httpx

    from codegen_lsp.wire.config import socket_path
    from codegen_lsp.wire.decoding import completion_from_json, health_from_json
    from codegen_lsp.wire.errors import error_from_json
    from codegen_lsp.wire.transport.http import listens, socket_client

    path = socket_path(config)
    if not listens(path):
        return None
    try:
        with socket_client(path, timeout=None) as client:
            if health_from_json(client.get("/health", timeout=2).json()).state != "ready":
                return None
            response = client.post("/v1/completions", json=request.to_json(), timeout=None)
            body: Any = response.json()
    except (httpx.HTTPError, ValueError):
        return None
    if response.status_code == 503:
        return None
    if response.status_code != 200:
        raise error_from_json(response.status_code, body)
    return completion_from_json(body)


def _load_and_complete(config: EngineConfig, request: CompletionRequest) -> Completion:
    """Load the model into this process and return its answer."""
    from codegen_lsp.engine.http.serve import ENVIRONMENT

    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    from codegen_lsp.engine.libraries import import_libraries

    import_libraries()
    from codegen_lsp.engine.one_shot import complete

    return complete(config, request)
