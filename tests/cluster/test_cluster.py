"""A real cluster on this machine: Ray Serve, two replicas of the bundled model, and what happens when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from support.harness import likelihoods

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

PROMPT = 'def add(a, b):\n    """Return the sum of two numbers."""\n    return'


@dataclass
class Cluster:
    folder: Path
    port: int

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"CODEGEN_LSP_RUNTIME_DIR": str(self.folder)}
        command = [sys.executable, "-m", "codegen_lsp", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / "cluster.token").read_text().strip()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def status(self) -> dict[str, Any]:
        answer = self.run("cluster", "status", "--json")
        assert answer.returncode == 0, answer.stderr
        status: dict[str, Any] = json.loads(answer.stdout)
        return status


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    folder.chmod(0o700)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cluster = Cluster(folder, port)
    up = cluster.run("cluster", "up", "--replicas", "2", "--threads", "1", "--port", str(port))
    try:
        assert up.returncode == 0, up.stderr
        yield cluster
    finally:
        cluster.run("cluster", "down")


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def complete(client: httpx.Client, session: str, prompt: str = PROMPT) -> dict[str, Any]:
    body = {"prompt": prompt, "max_tokens": 4, "temperature": 0}
    answer = client.post("/v1/completions", json=body, headers={"x-session-id": session})
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()
    return data


def process_of(client: httpx.Client, session: str) -> int:
    """The process that answers a session."""
    pid: int = client.get("/health", headers={"x-session-id": session}).json()["pid"]
    return pid


def test_two_replicas_run(cluster: Cluster) -> None:
    status = cluster.status()
    assert status["state"] == "RUNNING"
    assert [replica["state"] for replica in status["replicas"]] == ["RUNNING", "RUNNING"]


def test_it_asks_for_the_token(cluster: Cluster) -> None:
    assert httpx.post(f"{cluster.url}/v1/completions", json={"prompt": "x"}).status_code == 401


def test_openais_client_gets_a_stream(cluster: Cluster) -> None:
    client = openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.token)
    with client:
        stream = client.completions.create(
            model="nano", prompt=PROMPT, max_tokens=5, temperature=0, stream=True
        )
        parts = [chunk.choices[0].text for chunk in stream if chunk.choices]
        whole = client.completions.create(model="nano", prompt=PROMPT, max_tokens=5, temperature=0)
    assert len(parts) > 1
    assert "".join(parts) == whole.choices[0].text


def test_the_public_harness_gets_what_the_cluster_says_itself(cluster: Cluster) -> None:
    pairs = [("def add(a, b):\n    return", " a + b\n"), ("import os\n", "import sys\n")]
    scored, rolled, _ = likelihoods(pairs, cluster.url, cluster.token)
    assert all(total < 0 and isinstance(greedy, bool) for total, greedy in scored)
    assert all(total < 0 for total in rolled)
    context, continuation = pairs[0]
    body = {"prompt": context + continuation, "max_tokens": 0, "echo": True, "logprobs": 0}
    with cluster.client() as client:
        answer = client.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    scores = zip(answer["text_offset"], answer["token_logprobs"], strict=True)
    assert scored[0][0] == pytest.approx(sum(p for offset, p in scores if offset >= len(context)), abs=1e-3)


def test_a_session_stays_on_the_replica_that_holds_its_prefix(cluster: Cluster) -> None:
    sessions = [f"session {number}" for number in range(12)]
    with cluster.client() as client:
        pids = {session: process_of(client, session) for session in sessions}
        assert len(set(pids.values())) == 2
        for session in sessions:
            prompt = f"# {session}\n{PROMPT}"
            complete(client, session, prompt)
            assert process_of(client, session) == pids[session]
            usage = complete(client, session, prompt + " a")["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] >= 0.8 * usage["prompt_tokens"]


def test_the_language_server_gets_a_suggestion(cluster: Cluster) -> None:
    example = Path(__file__).parents[2] / "examples" / "stack.py"
    answer = cluster.run("complete", "--server", cluster.url, "--token", cluster.token, f"{example}:20:1")
    assert answer.returncode == 0, answer.stderr
    assert "return len(self.values)" in answer.stdout


def test_a_killed_replica_is_replaced_and_its_sessions_are_answered_meanwhile(cluster: Cluster) -> None:
    with cluster.client() as client:
        killed = process_of(client, "unlucky")
        os.kill(killed, signal.SIGKILL)
        answers: list[int] = []

        def answered() -> bool:
            body = {"prompt": PROMPT, "max_tokens": 2}
            try:
                answer = client.post("/v1/completions", json=body, headers={"x-session-id": "unlucky"})
            except httpx.TransportError:
                return False
            answers.append(answer.status_code)
            return answer.status_code == 200

        until(answered)
        # What was refused in between got a reason to try again, never a wrong answer.
        assert set(answers) <= {200, 500, 503}
        assert process_of(client, "unlucky") != killed
    until(
        lambda: [r["state"] for r in cluster.status()["replicas"] if r["pid"] != killed] == ["RUNNING"] * 2,
        120,
    )


def test_a_second_up_changes_the_cluster_that_runs(cluster: Cluster) -> None:
    up = cluster.run("cluster", "up", "--replicas", "1", "--threads", "1", "--port", str(cluster.port))
    assert up.returncode == 0, up.stderr
    until(lambda: len(cluster.status()["replicas"]) == 1, 90)


def test_down_leaves_no_process_and_no_file(cluster: Cluster) -> None:
    leader = json.loads((cluster.folder / "cluster.json").read_text())["pid"]
    assert len(_session(leader)) > 3
    down = cluster.run("cluster", "down")
    assert down.returncode == 0, down.stderr
    assert _session(leader) == []
    assert [
        path.name for path in cluster.folder.iterdir() if path.name in ("cluster.json", "cluster.token")
    ] == []
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{cluster.url}/health")
    assert "no cluster" in cluster.run("cluster", "down").stdout


def _session(leader: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _sid(process) == leader]


def _sid(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, psutil.Error):
        return None


def test_a_model_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    cluster = Cluster(tmp_path, 8999)
    answer = cluster.run("cluster", "up", "--model", "no-such-model")
    assert answer.returncode == 2
    assert "no-such-model" in answer.stderr
    assert not (tmp_path / "cluster.json").exists(), "nothing was started for it"
