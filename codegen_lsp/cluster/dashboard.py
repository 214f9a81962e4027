"""Deploy, describe and delete the application through the public REST interface of Ray's dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from codegen_lsp.cluster.head import ClusterError
from codegen_lsp.cluster.serve_config import APPLICATION, ENTRANCES

PATH = "/api/serve/applications/"


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One process of a deployment."""

    name: str
    deployment: str
    state: str
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """What a cluster does now."""

    state: str
    """NOT_STARTED, DEPLOYING, RUNNING, UNHEALTHY, DEPLOY_FAILED or DELETING, as Ray Serve says it."""
    message: str
    replicas: tuple[ReplicaStatus, ...]
    """Those that hold the model, and those that only pass requests on to them."""
    port: int

    @property
    def settled(self) -> bool:
        """Whether the state stays until something happens."""
        return self.state in ("RUNNING", "DEPLOY_FAILED", "UNHEALTHY")

    @property
    def engines(self) -> tuple[ReplicaStatus, ...]:
        """The replicas that hold the model, without those that are stopping."""
        return tuple(
            replica
            for replica in self.replicas
            if replica.deployment not in ENTRANCES and replica.state != "STOPPING"
        )


class Dashboard:
    """The dashboard of one Ray cluster."""

    def __init__(self, url: str, token: str = "") -> None:
        """Speak to the dashboard at `url`, for example http://127.0.0.1:8265."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url
        self._client = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def wait(self, seconds: float, alive: Callable[[], bool]) -> None:
        """Wait until the dashboard answers.

        Raises:
            ClusterError: it doesn't within `seconds`, or `alive` says that it never will.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and alive():
            try:
                if self._client.get(PATH).status_code < 500:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.25)
        raise ClusterError(f"Ray does not answer at {self.url}")

    def deploy(self, document: Mapping[str, Any]) -> None:
        """Deploy a configuration; see `serve_config`.

        Raises:
            ClusterError: Ray refuses it, or does not answer.
        """
        self._call("PUT", json=dict(document))

    def delete(self) -> None:
        """Delete the application, after its running requests.

        Raises:
            ClusterError: Ray does not answer.
        """
        self._call("DELETE")

    def status(self) -> ClusterStatus | None:
        """Return what the application does; None if there is none.

        Raises:
            ClusterError: Ray does not answer.
        """
        data = self._call("GET")
        application = data.get("applications", {}).get(APPLICATION)
        if application is None:
            return None
        replicas = tuple(_replicas(application.get("deployments", {})))
        port = (data.get("http_options") or {}).get("port") or 0
        return ClusterStatus(application["status"], _message(application), replicas, port)

    def _call(self, method: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, PATH, **more)
        except httpx.HTTPError as error:
            raise ClusterError(f"Ray does not answer at {self.url}: {error}") from error
        if answer.status_code == 401:
            raise ClusterError(
                f"Ray at {self.url} asks for a token: set RAY_AUTH_TOKEN to that of your cluster"
            )
        if answer.is_error:
            text = " ".join(answer.text.split())[-300:]
            raise ClusterError(f"Ray at {self.url} refused it ({answer.status_code}): {text}")
        try:
            data = answer.json() if answer.content else {}
        except ValueError as error:
            raise ClusterError(f"{self.url} is not the dashboard of a Ray cluster") from error
        return data if isinstance(data, dict) else {}


def _replicas(deployments: Mapping[str, Any]) -> Iterator[ReplicaStatus]:
    for name, deployment in deployments.items():
        for replica in deployment.get("replicas", ()):
            yield ReplicaStatus(
                replica.get("replica_id") or "?",
                name,
                replica.get("state") or "?",
                replica.get("node_ip") or "?",
                replica.get("pid") or 0,
            )


def _message(application: Mapping[str, Any]) -> str:
    """Return the first message that says why an application is not running."""
    messages = [application.get("message") or ""]
    messages += [d.get("message") or "" for d in application.get("deployments", {}).values()]
    return next((text.strip() for text in messages if text.strip()), "")
