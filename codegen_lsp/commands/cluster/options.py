"""The options of `codegen-lsp cluster up` and `config`, and the configuration that they come to."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp.commands.options import LoadOptions
from codegen_lsp.wire.config import ConfigError, expanded

if TYPE_CHECKING:
    from codegen_lsp.cluster.serve_config import Endpoint


@dataclass(frozen=True)
class ClusterOptions:
    """What the replicas are, how many there are, and where the cluster listens."""

    engine: Annotated[
        str,
        typer.Option(
            help="vllm (it asks for no token, so it serves this machine alone), codegen (this project's engine), "
            "or auto: vllm if it is installed here and neither --host nor --token-file is given."
        ),
    ] = "auto"
    replicas: Annotated[
        str, typer.Option(help="Number of replicas, as 2, or from the least to the most, as 1-4.")
    ] = "1"
    queue: Annotated[
        int, typer.Option(help="Requests in progress per replica above which another replica starts.", min=1)
    ] = 4
    limit: Annotated[int, typer.Option(help="Maximum number of requests in progress per replica.", min=1)] = (
        64
    )
    processors: Annotated[float, typer.Option(help="Processors that Ray reserves for a replica.", min=0)] = 1
    gpus: Annotated[float, typer.Option(help="GPUs that Ray reserves for a replica.", min=0)] = 0
    prefix_cache: Annotated[str, typer.Option(help="Size of each replica's prefix cache, as 1GiB.")] = "1GiB"
    host: Annotated[str, typer.Option(help="Address on which the cluster listens.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port on which the cluster listens.", min=1, max=65535)] = 8000
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File of bearer tokens, on every node; without one, a token for this machine is made."
        ),
    ] = None
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate in PEM format, on every node.")
    ] = None
    key: Annotated[
        Path | None, typer.Option(help="Private key of the certificate in PEM format, on every node.")
    ] = None

    def document(self, load: LoadOptions) -> dict[str, Any]:
        """Return the configuration of Ray Serve; for vLLM, a CodeGen model is exported first.

        Raises:
            ConfigError: the value of an option is not allowed, or the network is open without a token.
            CheckpointError: vLLM can't be given the model.
        """
        from codegen_lsp.cluster import serve_config, vllm

        replicas = serve_config.Replicas.parse(
            self.replicas,
            load=serve_config.ReplicaLoad(self.queue, self.limit),
            processors=self.processors,
            gpus=self.gpus,
        )
        config = load.config(prefix_cache=self.prefix_cache)
        endpoint = self._endpoint()
        if self._is_vllm(endpoint):
            serve_config.check_alone(endpoint)  # before the export, which takes its time
            options = {} if self.gpus else vllm.OPTIONS
            return serve_config.of_vllm(config.model, vllm.folder_of(config), replicas, endpoint, options)
        return serve_config.of_engines(config, replicas, endpoint)

    def _is_vllm(self, endpoint: Endpoint) -> bool:
        from codegen_lsp.cluster import serve_config, vllm

        if self.engine not in ("auto", "vllm", "codegen"):
            raise ConfigError(f"expected --engine auto, vllm or codegen, got {self.engine[:40]!r}")
        if self.engine == "vllm" and not vllm.installed():
            raise ConfigError(f"--engine vllm needs vLLM beside Ray, in the environment of {sys.executable}")
        alone = endpoint.host in serve_config.LOOPBACK and endpoint.token_file is None
        return self.engine == "vllm" or (self.engine == "auto" and alone and vllm.installed())

    def _endpoint(self) -> Endpoint:
        from codegen_lsp.cluster.serve_config import LOOPBACK, Endpoint

        if bool(self.certificate) != bool(self.key):
            raise ConfigError("--certificate and --key belong together")
        if self.host not in LOOPBACK and self.token_file is None:
            raise ConfigError(f"{self.host} can be reached by other machines, so it needs --token-file")
        files = (self.token_file, self.certificate, self.key)
        tokens, certificate, key = (str(expanded(file).absolute()) if file else None for file in files)
        return Endpoint(self.host, self.port, tokens, certificate, key)
