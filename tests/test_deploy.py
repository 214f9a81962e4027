"""The files for operators: accepted by schemas, and true of the commands and metrics that they name."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client import generate_latest

from codegen_lsp.commands.serve import serve
from codegen_lsp.engine.http.team.traffic import Traffic
from codegen_lsp.engine.scheduling.metrics import Metrics

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

DEPLOY = Path(__file__).parents[1] / "deploy"
RAY_CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
WORKERS = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def check(document: dict[str, Any]) -> None:
    """Check a document against Kubernetes' own schema, without fields that this doesn't know."""
    schemas = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    schemas.validate(document, schemas.latest_version(), strict=True)


def flags_of_serve() -> set[str]:
    app = typer.Typer()
    app.command()(serve)
    return {flag for parameter in typer.main.get_command(app).params for flag in parameter.opts}


def test_kubernetes_accepts_the_documents() -> None:
    found = documents("kubernetes.yaml")
    assert [document["kind"] for document in found] == ["Deployment", "PersistentVolumeClaim", "Service"]
    for document in found:
        check(document)


def test_the_engine_accepts_its_flags() -> None:
    deployment = documents("kubernetes.yaml")[0]
    command, *flags = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    container = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    default = json.loads(re.findall(r"^CMD (\[.*\])$", container, re.MULTILINE)[-1])
    assert command == default[0] == "serve"
    named = {flag.partition("=")[0] for flag in [*flags, *default] if flag.startswith("--")}
    assert named <= flags_of_serve()


def test_a_ray_service_has_pods_that_kubernetes_accepts() -> None:
    (service,) = documents("kuberay.yaml")
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    assert service["spec"].keys() == {"serveConfigV2", "rayClusterConfig"}
    cluster = service["spec"]["rayClusterConfig"]
    assert cluster.keys() == RAY_CLUSTER
    assert cluster["headGroupSpec"].keys() == HEAD
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group.keys() <= WORKERS
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]})


def test_kuberay_s_own_schema_accepts_it() -> None:
    """KUBERAY_CRD names a copy of `ray.io_rayservices.yaml` of KubeRay."""
    if "KUBERAY_CRD" not in os.environ:
        pytest.skip("KUBERAY_CRD does not name KubeRay's definition of a RayService")
    import jsonschema

    definition = yaml.safe_load(Path(os.environ["KUBERAY_CRD"]).read_text(encoding="utf-8"))
    (version,) = (version for version in definition["spec"]["versions"] if version["name"] == "v1")
    schema = _as_json_schema(version["schema"]["openAPIV3Schema"])
    (service,) = documents("kuberay.yaml")
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(service)] == []


def _as_json_schema(node: Any) -> Any:
    """Translate Kubernetes' dialect: fields that a type doesn't name are errors, and some values have two types."""
    if isinstance(node, list):
        return [_as_json_schema(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {"additionalProperties": False} if node.get("properties") and "metadata" not in node else {}
    return closed | {name: _as_json_schema(value) for name, value in node.items()}


def test_the_dashboard_shows_metrics_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    metrics = Metrics()
    Traffic(metrics.registry, "nano", None)
    exported = generate_latest(metrics.registry).decode()
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    named = set(re.findall(r"\b(?:codegen|process)_[a-z_]+", " ".join(expressions)))
    families = {line.split()[2] for line in exported.splitlines() if line.startswith("# TYPE")}
    assert {re.sub("_bucket$", "", name) for name in named} <= families
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
