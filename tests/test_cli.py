"""The command line through its public door: real processes, exit codes, standard output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from support.engines import stop_engines

from codegen_lsp import __version__
from codegen_lsp.cli import parse_address
from codegen_lsp.commands.complete import PlaceError, ShownSuggestions, parse_place, render

ROOT = Path(__file__).parents[1]


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "codegen_lsp", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def letters(text: str) -> str:
    """The text without the white space and the frames that a terminal's width decides on."""
    return "".join(c for c in text if c.isascii() and not c.isspace())


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"codegen-lsp {__version__}")


@pytest.mark.parametrize("command", ["complete", "generate", "serve", "doctor", "models"])
def test_help_lists_every_command(command: str) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert f" {command} " in done.stdout
    assert run(command, "--help").returncode == 0


def test_starting_the_language_server_imports_no_typer(tmp_path: Path) -> None:
    program = (
        "import sys; from codegen_lsp import cli; sys.argv = ['codegen-lsp', '--stdio']\n"
        "try: cli.main()\nfinally: print(sorted({'typer', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    env = dict(os.environ) | {"CODEGEN_LSP_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
    )
    assert done.stderr.strip().endswith("[]"), done.stderr


def test_help_imports_neither_engine_nor_evaluations() -> None:
    program = (
        "import sys; from codegen_lsp.cli import build_app; build_app()\n"
        "sides = ('codegen_lsp.engine', 'codegen_lsp.lsp', 'codegen_lsp.evals.b')\n"
        "print(*sorted(m for m in sys.modules if m.startswith(sides)"
        " or m in ('torch', 'httpx', 'numpy', 'rich.console')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def test_a_command_is_imported_alone() -> None:
    program = (
        "import sys; from codegen_lsp.cli import build_app; build_app(['score'])\n"
        "print(*sorted(m for m in sys.modules if m.startswith('codegen_lsp.commands.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == [
        f"codegen_lsp.commands.{n}" for n in ("engines", "options", "score", "terminal")
    ]


def test_doctor_looks_at_the_model_that_is_wanted(tmp_path: Path) -> None:
    done = run("doctor", "--json", "--model", str(tmp_path))
    assert done.returncode == 1
    (found,) = [finding for finding in json.loads(done.stdout) if finding["what"] == str(tmp_path)]
    assert found["level"] == "wrong"
    assert "it holds no config.json; name the folder that does" in found["seen"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["complete", "nowhere.py:1:1"], "there is no file nowhere.py"),
        (["complete", "README.md"], "FILE:LINE:COL"),
        (["complete", "README.md:99999:1"], "there is no line 99999"),
        (["complete", "README.md:1:9999"], "not 9999"),
        (["complete", "tests:1:1"], "is a folder"),
        (["--tcp", "nowhere"], "HOST:PORT"),
        (["--tcp"], "HOST:PORT"),
        (["--stdio", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["generate", "x", "--model", "./no-such-folder"], "no-such-folder"),
        (["models", "plan", "no-such-model"], "no-such-model"),
        (["serve", "--prefix-cache", "lots"], "lots"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    env = dict(os.environ) | {"CODEGEN_LSP_RUNTIME_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = run(*arguments, env=env)
    assert done.returncode == 2, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), (":0", ("127.0.0.1", 0)), ("[::1]:4711", ("::1", 4711))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "80", "host:", "host:x", "host:70000", "host:٣"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_a_place_may_be_the_end_of_the_last_line(tmp_path: Path) -> None:
    file = tmp_path / "a:b.py"
    file.write_bytes("x = 1\r\ny = 'é😀'".encode())
    place = parse_place(f"{file}:2:9")
    assert (place.line, place.column, place.line_prefix) == (1, 8, "y = 'é😀'")
    with pytest.raises(PlaceError, match="columns 1 to 9"):
        parse_place(f"{file}:2:10")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlaceError, match="UTF-8"):
        parse_place(f"{file}:1:1")


def test_a_block_is_printed_with_the_indentation_of_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("class A:\n    def f(self):\n        \n")
    block = {"text": "if self:\n            return 1\n        return 2", "score": None, "mean_logprob": None}
    console = Console(record=True, width=80, file=io.StringIO())
    for part in render(parse_place(f"{file}:3:9"), ShownSuggestions([block], None, {}, {})):
        console.print(part)
    (first, *others) = [
        line.strip("│\n")[1:].rstrip() for line in console.export_text().split("\n") if "│" in line
    ]
    assert [first, *others] == ["        if self:", "            return 1", "        return 2"]


@pytest.mark.e2e
def test_complete_prints_the_documented_object(tmp_path: Path) -> None:
    file = tmp_path / "fib.py"
    file.write_text("def add(first, second):\n    return first + \n")
    env = dict(os.environ) | {"CODEGEN_LSP_RUNTIME_DIR": str(tmp_path / "run")}
    try:
        done = run("complete", f"{file}:2:20", "--n", "3", "--json", env=env)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        shown = run("complete", f"{file}:2:20", env=env)
    finally:
        stop_engines(tmp_path / "run")
    assert set(answer) == {"items", "reason", "timings", "usage"}
    assert (answer["reason"] is None) == bool(answer["items"])
    assert answer["items"]
    assert len(answer["items"]) <= 3
    for item in answer["items"]:
        assert set(item) == {"text", "range", "score", "mean_logprob"}
        assert item["mean_logprob"] <= 0
        assert item["range"]["start"] == {"line": 1, "character": 19}
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["usage"]["prompt_tokens"] > 0
    assert shown.returncode == 0
    first = "return first + " + answer["items"][0]["text"].splitlines()[0]
    assert letters(first) in letters(shown.stdout)
