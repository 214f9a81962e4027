"""The examples do what they say: each runs as a program of its own, against a real engine with nano."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from support.engines import stop_engines
from support.served import environment

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose engines live in the test's folder and end with the test, and codegen-lsp on the path."""
    programs = Path(sys.executable).parent
    yield environment(tmp_path, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", TMPDIR=str(tmp_path))
    stop_engines(tmp_path)


def run(*command: str | Path, env: Mapping[str, str]) -> str:
    """Run an example to its end and return what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_engine_answers_curl(variables: dict[str, str]) -> None:
    models, completion = run("bash", EXAMPLES / "engine_from_curl.sh", env=variables).splitlines()
    assert [model["id"] for model in json.loads(models)["data"]] == ["nano"]
    (choice,) = json.loads(completion)["choices"]
    assert choice["text"] == ' "__main__":'
    assert choice["finish_reason"] == "stop"


@pytest.fixture
def address(variables: dict[str, str]) -> Iterator[str]:
    """The address of an engine that listens on loopback and asks for the token `secret`."""
    command = [sys.executable, "-m", "codegen_lsp", "serve", "--host", "127.0.0.1", "--token", "secret"]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            deadline = time.monotonic() + 120
            while health(url) != "ready" and time.monotonic() < deadline:
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def health(url: str) -> str:
    """The state of an engine's model."""
    answer = httpx.get(f"{url}/health", headers={"authorization": "Bearer secret"}, timeout=60)
    return str(answer.json()["status"])


def test_the_engine_answers_the_openai_client(address: str, variables: dict[str, str]) -> None:
    printed = run(sys.executable, EXAMPLES / "openai_client.py", address, "secret", env=variables)
    assert printed.splitlines() == ["model: nano", "import os", "", "", 'if __name__ == "__main__":']


def test_a_minimal_editor_shows_ghost_text(variables: dict[str, str]) -> None:
    lines = run(sys.executable, EXAMPLES / "minimal_editor.py", env=variables).splitlines()
    assert lines[-1] == 'if __name__ |== "__main__":'
    assert len(lines) == len("if __name__ ")


def test_the_file_of_the_first_suggestion_ends_where_the_suggestion_goes() -> None:
    text = (EXAMPLES / "stack.py").read_text(encoding="utf-8")
    assert f"examples/stack.py:{text.count(chr(10)) + 1}:1" in text
    compile(text, "stack.py", "exec")


def test_the_file_of_the_readme_s_first_suggestion_ends_where_the_suggestion_goes() -> None:
    text = (EXAMPLES / "points.py").read_text(encoding="utf-8")
    *above, last = text.splitlines()
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert f"examples/points.py:{len(above) + 1}:{len(last) + 1} --model smollm2-135m" in readme
    compile(text + "    pass\n", "points.py", "exec")
