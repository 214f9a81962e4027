"""The configuration of a cluster: one document that is also a valid configuration of Ray Serve.

Everything that Ray Serve needs stands in it, so that `serve deploy FILE` deploys the same as `codegen-lsp cluster up
--config FILE`. Pure: starts nothing and does not import Ray.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.wire.config import ConfigError, EngineConfig

APPLICATION = "codegen"
"""The application's name in Ray Serve."""

DEPLOYMENT = "Engine"
"""The deployment's name in Ray Serve, if its replicas are engines of this package."""

ENTRANCES = frozenset({"OpenAiIngress", "LLMRouter"})
"""Deployments that Ray Serve LLM puts before the replicas of vLLM, by its version; they hold no model."""

REPLICA = "codegen_lsp.cluster.replica:build"
VLLM = "ray.serve.llm:build_openai_app"
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"

VLLM_INGRESS, VLLM_REPLICA = 4, 2
"""Processors that Ray Serve LLM reserves for the application's entrance, and for each replica."""

IMPORT_PATHS = frozenset({REPLICA, VLLM})
"""What a configuration may deploy: a file that someone else wrote must not name other code."""


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine can reach."""


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """How many requests a replica works on at the same time."""

    target: int = 4
    """Requests in progress per replica above which Ray Serve starts another one."""
    limit: int = 64
    """Maximum number of requests in progress per replica; others go to the next replica of their session."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas, and what each of them gets."""

    minimum: int = 1
    maximum: int = 1
    load: ReplicaLoad = ReplicaLoad()
    processors: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ConfigError(
                f"expected replicas as 2 or 1-4, from the least to the most, got {self.minimum}-{self.maximum}"
            )

    @classmethod
    def parse(cls, text: str, **more: Any) -> Replicas:
        """Return the replicas that `2` or `1-4` describes.

        Raises:
            ConfigError: it is neither.
        """
        least, _, most = text.partition("-")
        try:
            return cls(int(least), int(most or least), **more)
        except ValueError as error:
            raise (
                error
                if isinstance(error, ConfigError)
                else ConfigError(f"expected replicas as 2 or 1-4, got {text[:40]!r}")
            ) from None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the cluster's proxies listen, and who may use them."""

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: str | None = None
    certificate: str | None = None
    key: str | None = None


def of_engines(config: EngineConfig, replicas: Replicas, endpoint: Endpoint) -> dict[str, Any]:
    """Return the configuration of a cluster whose replicas are engines of this package."""
    default = asdict(EngineConfig())
    engine = {name: value for name, value in asdict(config).items() if value != default[name]}
    engine.setdefault("model", config.model)
    arguments = {"engine": engine, "host": endpoint.host, "token_file": endpoint.token_file}
    options = {"name": DEPLOYMENT, **_deployment(replicas)}
    options["ray_actor_options"] = {"num_cpus": replicas.processors, "num_gpus": replicas.gpus}
    return _document(REPLICA, arguments, endpoint, [options])


def check_alone(endpoint: Endpoint) -> None:
    """Check that other machines can't reach a cluster that knows no tokens.

    Raises:
        ConfigError: they can, or the user wants tokens.
    """
    if endpoint.token_file or endpoint.host not in LOOPBACK:
        raise ConfigError(
            "replicas of vLLM ask for no token, so they listen on this machine alone: leave --host and --token-file "
            "out, and put a proxy with TLS and tokens in front"
        )


def of_vllm(
    name: str, folder: Path, replicas: Replicas, endpoint: Endpoint, engine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of a cluster whose replicas are vLLM with the model in `folder`, a Phi export.

    Raises:
        ConfigError: other machines could use it: Ray Serve LLM asks for no token.
    """
    check_alone(endpoint)
    model: dict[str, Any] = {
        "model_loading_config": {"model_id": name, "model_source": str(folder)},
        "engine_kwargs": dict(engine),
        "deployment_config": _deployment(replicas),
    }
    if not replicas.gpus:
        model["accelerator_config"] = {"kind": "cpu"}
    return _document(VLLM, {"llm_configs": [model]}, endpoint, [])


def _deployment(replicas: Replicas) -> dict[str, Any]:
    """Return the options with which sessions meet the replica that holds their prefix, and replicas come and go."""
    return {
        "max_ongoing_requests": replicas.load.limit,
        "max_queued_requests": 4 * replicas.load.limit,
        "graceful_shutdown_timeout_s": 30,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "autoscaling_config": {
            "min_replicas": replicas.minimum,
            "max_replicas": replicas.maximum,
            "target_ongoing_requests": replicas.load.target,
        },
        "request_router_config": {
            "request_router_class": ROUTER,
            "request_router_kwargs": {"num_fallback_replicas": 2},
        },
    }


def _document(
    import_path: str, arguments: Mapping[str, Any], endpoint: Endpoint, deployments: list[dict[str, Any]]
) -> dict[str, Any]:
    tls = {"ssl_certfile": endpoint.certificate, "ssl_keyfile": endpoint.key}
    application = {
        "name": APPLICATION,
        "route_prefix": "/",
        "import_path": import_path,
        "args": dict(arguments),
        "deployments": deployments,
    }
    return {
        "proxy_location": "EveryNode",
        "http_options": {
            "host": endpoint.host,
            "port": endpoint.port,
            **{name: value for name, value in tls.items() if value},
        },
        # Paths and counts only, and not even those of each request: nothing that a user typed is ever written.
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        "applications": [application],
    }


def read(path: Path) -> dict[str, Any]:
    """Return a configuration from a JSON file.

    Raises:
        ConfigError: the file can't be read, is not a configuration, or names other code.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the configuration {path} can't be read: {error}") from error
    try:
        paths = {application["import_path"] for application in document["applications"]}
        document["http_options"]["port"] + 0
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a configuration of a cluster ({type(error).__name__}: {error}); "
            "codegen-lsp cluster config prints one"
        ) from error
    if not paths or paths - IMPORT_PATHS:
        others = ", ".join(sorted(map(str, paths - IMPORT_PATHS))) or "nothing"
        raise ConfigError(f"{path} deploys {others[:100]}; expected {' or '.join(sorted(IMPORT_PATHS))}")
    return dict(document)


def asks_for_tokens(document: Mapping[str, Any]) -> bool:
    """Return whether the replicas of a configuration know tokens: this project's engines do, and vLLM does not."""
    return all(application["import_path"] == REPLICA for application in document["applications"])


def processors(document: Mapping[str, Any]) -> int:
    """Return the number of processors that the replicas of a configuration ask for together, at most."""
    total = 0.0
    for application in document["applications"]:
        for model in application.get("args", {}).get("llm_configs", ()):
            replicas = model.get("deployment_config", {}).get("autoscaling_config", {}).get("max_replicas", 1)
            total += VLLM_INGRESS + VLLM_REPLICA * replicas
        for deployment in application.get("deployments", ()):
            each = deployment.get("ray_actor_options", {}).get("num_cpus", 1)
            total += each * deployment.get("autoscaling_config", {}).get("max_replicas", 1)
    return max(1, math.ceil(total))


def written(document: Mapping[str, Any]) -> str:
    """Return a configuration as the text of a file: JSON, which is YAML as well."""
    return json.dumps(document, indent=2) + "\n"
