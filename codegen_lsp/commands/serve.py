"""`codegen-lsp serve`: run the engine, for any number of editors at once."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codegen_lsp.commands.options import Context, LoadOptions, with_options
from codegen_lsp.commands.terminal import say
from codegen_lsp.escaping import EscapingFormatter
from codegen_lsp.wire.config import ConfigError, EngineConfig, expanded, socket_path

if TYPE_CHECKING:
    from codegen_lsp.engine.http.listeners import Address

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
NOISY = ("httpx", "httpcore", "uvicorn.error", "urllib3", "filelock")


@dataclass(frozen=True)
class ServeOptions(LoadOptions):
    """How the engine loads a model, and how it works; the fields are those of `EngineConfig`."""

    prefix_cache: Annotated[
        str,
        typer.Option(
            help="Size of the prefix cache, such as 1GiB; 0 disables it, auto allows 12 full contexts, up to 1GiB."
        ),
    ] = "auto"
    context: Context = 0
    prefill_chunk: Annotated[
        int,
        typer.Option(help="Prompt tokens that one step reads; 0 takes 256 on the processor, 2048 on a GPU."),
    ] = 0
    max_waiting: Annotated[
        int, typer.Option(help="Maximum number of waiting requests; more are refused.")
    ] = 64
    request_memory: Annotated[
        str,
        typer.Option(help="Maximum KV cache of all running requests, as 2GiB; 0 takes half of free memory."),
    ] = "0"
    fill_in_the_middle: Annotated[
        str,
        typer.Option(
            help="Read the text after the cursor: auto (if the model was trained for it), always or never."
        ),
    ] = "auto"
    fim_format: Annotated[
        str,
        typer.Option(help="Family of the fill-in-the-middle tokens, or a JSON file that describes them."),
    ] = ""


@dataclass(frozen=True)
class Listening:
    """Where the engine listens, and who may use it."""

    socket: Annotated[
        Path | None,
        typer.Option(help="Unix socket to listen on; by default one made from the configuration."),
    ] = None
    host: Annotated[
        str | None, typer.Option(help="Network address to listen on instead; requires a token.")
    ] = None
    port: Annotated[int, typer.Option(help="Port of --host; 0 takes a free one.", min=0, max=65535)] = 0
    token: Annotated[
        str | None,
        typer.Option(help="Bearer token that requests must carry; with --host by default CODEGEN_LSP_TOKEN."),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with a line for each user: a bearer token, or its SHA-256 with limits."),
    ] = None
    admin_token: Annotated[
        str | None,
        typer.Option(
            help="Bearer token for /shutdown and /unload; with --host by default CODEGEN_LSP_ADMIN_TOKEN."
        ),
    ] = None

    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain in PEM format: speak TLS on --host and --port.")
    ] = None
    tls_key: Annotated[Path | None, typer.Option(help="Key of --tls-cert, if it is in another file.")] = None
    audit_log: Annotated[
        Path | None,
        typer.Option(help="File to write users, routes, counts and sizes of requests to, never texts."),
    ] = None
    drain: Annotated[
        float,
        typer.Option(help="Seconds that running requests get to end after SIGTERM.", min=0, max=3600),
    ] = 2

    def address(self, config: EngineConfig) -> Address:
        """Return the address to bind.

        Raises:
            ConfigError: a socket is given together with a host or a certificate.
        """
        from codegen_lsp.engine.http.listeners import Address

        if self.host is not None and self.socket is not None:
            raise ConfigError("--socket and --host are mutually exclusive")
        users = expanded(self.token_file).absolute() if self.token_file else None
        certificate = expanded(self.tls_cert).absolute() if self.tls_cert else None
        key = expanded(self.tls_key).absolute() if self.tls_key else None
        if self.host is not None or self.port:
            # The environment's tokens are for the network alone: an engine on a socket is the user's own.
            token = self.token or os.environ.get("CODEGEN_LSP_TOKEN") or None
            admin_token = self.admin_token or os.environ.get("CODEGEN_LSP_ADMIN_TOKEN") or None
            return Address(
                None, self.host or "127.0.0.1", self.port, token, users, admin_token, certificate, key
            )
        if certificate or key:
            raise ConfigError(
                "--tls-cert and --tls-key are for --host and --port; a unix socket needs no TLS"
            )
        path = expanded(self.socket).absolute() if self.socket else socket_path(config)
        return Address(
            path=path, token=self.token or None, users_file=users, admin_token=self.admin_token or None
        )


@with_options
def serve(
    options: ServeOptions,
    listening: Listening,
    idle_timeout: Annotated[
        float, typer.Option(help="Stop after this many idle seconds; 0 never stops.", min=0)
    ] = 900,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve a model over HTTP, for any number of editors at once."""
    from codegen_lsp.engine.http.listeners import AlreadyRunning
    from codegen_lsp.engine.http.serve import Operation, run

    config = options.config()
    _log_to_stderr(log_level)
    try:
        audit = expanded(listening.audit_log).absolute() if listening.audit_log else None
        run(config, listening.address(config), idle_timeout, Operation(listening.drain, audit))
    except AlreadyRunning as error:
        say(error)


def _log_to_stderr(level: str) -> None:
    if level.lower() not in LEVELS:
        raise ConfigError(f"--log-level must be one of {', '.join(LEVELS)}, got {level!r}")
    from codegen_lsp.engine.http.logs import CappedHandler

    handler = CappedHandler(sys.stderr)
    handler.setFormatter(EscapingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=LEVELS[level.lower()], handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
