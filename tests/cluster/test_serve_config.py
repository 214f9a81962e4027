"""The configuration of a cluster: what it deploys, what it refuses, and that Ray Serve accepts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.cluster import serve_config
from codegen_lsp.cluster.serve_config import Endpoint, ReplicaLoad, Replicas
from codegen_lsp.wire.config import ConfigError, EngineConfig


def document(**endpoint: Any) -> dict[str, Any]:
    config = EngineConfig(model="2B-mono", threads=2, max_memory={"0": 2**30})
    return serve_config.of_engines(
        config, Replicas.parse("1-3", load=ReplicaLoad(target=8)), Endpoint(**endpoint)
    )


def vllm(**endpoint: Any) -> dict[str, Any]:
    return serve_config.of_vllm("nano", Path("/models/nano-phi"), Replicas(2, 2), Endpoint(**endpoint), {})


def test_the_engines_options_and_the_replicas_limits_are_in_it() -> None:
    (application,) = document()["applications"]
    assert application["args"]["engine"] == {"model": "2B-mono", "threads": 2, "max_memory": {"0": 2**30}}
    (deployment,) = application["deployments"]
    assert deployment["autoscaling_config"] == {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 8,
    }
    assert deployment["request_router_config"]["request_router_class"].endswith(".ConsistentHashRouter")


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(serve_config.written(document(port=8001)))
    assert serve_config.read(path) == document(port=8001)


@pytest.mark.parametrize("make", [document, vllm])
def test_ray_serve_accepts_it(make: Any) -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="the extra 'ray' is not installed")
    assert schema.ServeDeploySchema(**make()).applications[0].name == serve_config.APPLICATION


def test_tls_is_ray_serves_own() -> None:
    options = document(certificate="/c.pem", key="/k.pem")["http_options"]
    assert (options["ssl_certfile"], options["ssl_keyfile"]) == ("/c.pem", "/k.pem")


def test_replicas_of_vllm_are_not_opened_to_the_network_for_they_ask_for_no_token() -> None:
    with pytest.raises(ConfigError, match="ask for no token"):
        vllm(host="0.0.0.0")
    with pytest.raises(ConfigError, match="ask for no token"):
        vllm(token_file="/tokens")


@pytest.mark.parametrize("text", ["0", "3-1", "two", "", "1-2-3", "-1", "1.5"])
def test_replicas_that_make_no_sense_get_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="expected replicas as 2 or 1-4"):
        Replicas.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read"),
        ("[]", "is not a configuration of a cluster"),
        (
            '{"applications": [{"import_path": "os:system"}], "http_options": {"port": 1}}',
            "deploys os:system",
        ),
        ('{"applications": [], "http_options": {"port": 1}}', "deploys nothing"),
        ('{"applications": [{}]}', "is not a configuration of a cluster"),
    ],
)
def test_a_file_that_is_none_or_that_names_other_code_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        serve_config.read(path)


def test_the_processors_of_all_replicas_are_counted() -> None:
    assert serve_config.processors(document()) == 3
    assert serve_config.processors(json.loads(json.dumps(vllm()))) == 8
