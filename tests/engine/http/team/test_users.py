"""An engine for a team on the network: who is let in, how much each may ask, and what is written down."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.served import Served, serving_network

from codegen_lsp.engine.http.team.users import Users, read_users
from codegen_lsp.wire.client import HttpEngineClient
from codegen_lsp.wire.errors import ConfigError, OverloadedError, UnauthorizedError, UnavailableError
from codegen_lsp.wire.requests import CompletionRequest

pytestmark = pytest.mark.e2e

SECRET = "def the_secret_of_ann(): return 'sk-4f9a'"


def line(token: str, **fields: object) -> str:
    words = [f"{name}={value}" for name, value in fields.items()]
    return " ".join([f"sha256:{hashlib.sha256(token.encode()).hexdigest()}", *words]) + "\n"


LINES = (
    line("ann-token", name="ann")
    + line("old-token", name="otto", expires="2020-01-01")
    + line("slow-token", name="sue", rate=6)
    + line("one-token", name="uno", concurrent=1)
    + line("leaver-token", name="lea", expires="2999-12-31")
)


@dataclass
class Team:
    engine: Served
    tokens: Path
    audit: Path

    def ask(self, token: str | None, **body: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        fields = {"prompt": "x = ", "max_tokens": 2} | body
        return httpx.post(
            f"{self.engine.client.base_url}/v1/completions", json=fields, headers=headers, timeout=60
        )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    runtime = tmp_path_factory.mktemp("team")
    tokens, audit = runtime / "tokens", runtime / "audit.jsonl"
    tokens.write_text(LINES)
    tokens.chmod(0o600)
    options = ("--token-file", str(tokens), "--audit-log", str(audit))
    with serving_network(runtime, *options, token="ann-token") as engine:
        yield Team(engine, tokens, audit)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, "missing or wrong"),
        ("wrong", "missing or wrong"),
        ("old-token", "the token of otto has expired"),
    ],
)
def test_who_is_not_let_in_is_told_why(team: Team, token: str | None, sentence: str) -> None:
    response = team.ask(token)
    assert response.status_code == 401
    assert sentence in response.json()["error"]["message"]


def test_a_user_whose_line_is_removed_is_refused_without_a_restart(team: Team) -> None:
    assert team.ask("leaver-token").status_code == 200
    team.tokens.write_text(LINES.replace(line("leaver-token", name="lea", expires="2999-12-31"), ""))
    deadline = time.monotonic() + 30
    while team.ask("leaver-token").status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert team.ask("ann-token").status_code == 200
    team.tokens.write_text("sha256:nonsense\n")
    time.sleep(1.2)
    assert team.ask("ann-token").status_code == 200, "a file that is wrong changes nothing"
    team.tokens.write_text(LINES)


def test_a_user_over_the_rate_is_refused_with_a_reason_and_others_are_not(team: Team) -> None:
    answers = [team.ask("slow-token") for _ in range(3)]
    refused = answers[-1]
    assert answers[0].status_code == 200
    assert refused.status_code == 429
    assert "sue may send 6 requests a minute" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 10
    assert team.ask("ann-token").status_code == 200


async def test_the_reason_reaches_the_client(team: Team) -> None:
    client = HttpEngineClient(url=str(team.engine.client.base_url), token="slow-token")
    with contextlib.suppress(OverloadedError):
        await client.complete(CompletionRequest(("x",), max_tokens=1))
    with pytest.raises(OverloadedError, match="sue may send 6 requests a minute"):
        await client.complete(CompletionRequest(("x",), max_tokens=1))
    await client.aclose()


def test_a_user_may_have_so_many_requests_at_once(team: Team) -> None:
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(team.ask("one-token", max_tokens=200, n=4).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(statuses)) == [200, 429]
    assert team.ask("one-token").status_code == 200


def test_what_is_too_large_is_refused(team: Team) -> None:
    assert team.ask("ann-token", prompt="x" * (17 * 2**20)).status_code == 413


def written(team: Team, **fields: object) -> dict[str, Any]:
    """Return the newest line of the audit log with these fields; it is written after its answer was sent."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for text in reversed(team.audit.read_text().splitlines()):
            line: dict[str, Any] = json.loads(text)
            if line.items() >= fields.items():
                return line
        time.sleep(0.05)
    raise AssertionError(f"there is no line with {fields}")


def test_the_audit_log_counts_and_quotes_nothing(team: Team) -> None:
    team.ask("ann-token", prompt=SECRET, max_tokens=3)
    team.ask(None, prompt=SECRET)
    used = written(team, user="ann", completion_tokens=3)
    stranger = written(team, user="stranger", status=401)
    text = team.audit.read_text()
    assert stat.S_IMODE(team.audit.stat().st_mode) == 0o600
    for private in ("secret", "sk-4f9a", "ann-token", "127.0.0.1"):
        assert private not in text
    assert (used["user"], used["route"], used["status"]) == ("ann", "/v1/completions", 200)
    assert used["completion_tokens"] == 3
    assert used["prompt_tokens"] > 5
    assert used["request_bytes"] > len(SECRET)
    assert stranger["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("route", "body"),
    [("/v1/fim/completions", {"prompt": SECRET, "suffix": "x"}), ("/infill", {"input_prefix": SECRET})],
)
def test_every_route_that_uses_the_model_is_written_down(
    team: Team, route: str, body: dict[str, Any]
) -> None:
    headers = {"Authorization": "Bearer ann-token"}
    team.engine.client.post(route, json=body, headers=headers).raise_for_status()
    assert written(team, user="ann", route=route, status=200)["prompt_tokens"] > 5
    assert team.engine.metrics()[f'codegen_http_requests_total{{route="{route}",status="200"}}'] >= 1
    assert "sk-4f9a" not in team.audit.read_text()


def test_metrics_name_the_replica_and_the_routes(team: Team) -> None:
    team.ask("ann-token")
    metrics = team.engine.metrics()
    assert metrics['codegen_http_requests_total{route="/v1/completions",status="200"}'] >= 1
    assert metrics['codegen_http_request_seconds_count{route="/v1/completions"}'] >= 1
    (info,) = [name for name in metrics if name.startswith("codegen_engine_info")]
    assert 'model="nano"' in info
    assert 'replica="' in info


def test_orchestrators_learn_whether_it_is_ready(team: Team) -> None:
    answer = httpx.get(f"{team.engine.client.base_url}/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_sigterm_lets_running_requests_end(tmp_path: Path) -> None:
    with serving_network(tmp_path, "--token", "t", "--drain", "60", token="t") as engine:
        body = {"prompt": "x = ", "max_tokens": 300, "stream": True}
        with engine.client.stream("POST", "/v1/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            engine.process.send_signal(signal.SIGTERM)
            assert [text for text in lines if text][-1] == "data: [DONE]"
        assert engine.process.wait(30) == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=engine",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return files


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    options = ("--token", "t", "--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1]))
    with serving_network(tmp_path, *options, token="t", tls=certificate[0]) as engine:
        assert engine.complete(max_tokens=1)["choices"]
        url = str(engine.client.base_url)

        async def untrusting() -> None:
            client = HttpEngineClient(url=url, token="t")
            try:
                await client.complete(CompletionRequest(("x",), max_tokens=1))
            finally:
                await client.aclose()

        with pytest.raises(UnavailableError, match=r"is not trusted: .*self.signed") as caught:
            asyncio.run(untrusting())
        assert "SSL_CERT_FILE" in str(caught.value)


async def test_a_wrong_token_is_named_by_the_client(team: Team) -> None:
    client = HttpEngineClient(url=str(team.engine.client.base_url), token="old-token")
    with pytest.raises(UnauthorizedError, match="otto has expired"):
        await client.complete(CompletionRequest(("x",), max_tokens=1))
    await client.aclose()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sha256:12\n", "line 1 .*64 hexadecimal"),
        (f"sha256:{'0' * 64} rate=fast\n", "a number up to"),
        (f"sha256:{'0' * 64} expires=soon\n", "YYYY-MM-DD"),
        (f"sha256:{'0' * 64} admin=yes\n", "expected name="),
        ("token rate=5\n", "expected one token"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=sentence):
        read_users(path)


def test_a_fifo_is_not_a_file_of_tokens(tmp_path: Path) -> None:
    subprocess.run(["mkfifo", "-m", "600", str(tmp_path / "tokens")], check=True)
    with pytest.raises(ConfigError, match="not a file of tokens"):
        Users([], tmp_path / "tokens")
