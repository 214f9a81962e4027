"""The four commands in a row, as on a new machine, on a corpus of one library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.checkpoints import TinyCodeGen

from codegen_lsp.nano.evaluation.card import parameters


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codegen_lsp.nano", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


SMALL = """
import sys
from pathlib import Path
from codegen_lsp.nano.corpus import sources
library = sources.standard_library()
names = ("asyncio/", "email/", "http/", "unittest/", "json/", "logging/", "ctypes/", "distutils/")
few = tuple(item for item in library.files if item[0].startswith(names))
library_half = sources.Distribution("stdlib-as-library", library.version, library.licence, few[::2])
stdlib_half = sources.Distribution(library.name, library.version, library.licence, few[1::2])
sources.trainable = lambda: [library_half, stdlib_half]
from codegen_lsp.nano.__main__ import main
sys.argv = ["nano", "corpus", "--work", sys.argv[1]]
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_corpus_tokenizer_train_and_evaluate_run_in_a_row(tmp_path: Path) -> None:
    """The commands as a user runs them, except that the corpus is a small part of the installed files."""
    work = str(tmp_path)
    made = subprocess.run(
        [sys.executable, "-c", SMALL, work], capture_output=True, text=True, check=False, timeout=280
    )
    assert made.returncode == 0, made.stderr
    tokenized = run("tokenizer", "--work", work)
    assert tokenized.returncode == 0, tokenized.stderr
    assert "8,195 tokens" in tokenized.stdout
    trained = run("train", "--recipe", "cpu", "--minutes", "0.35", "--work", work)
    assert trained.returncode == 0, trained.stderr
    assert "done" in trained.stdout
    model = tmp_path / "runs" / "cpu" / "model"
    measured = run("evaluate", "--nano", str(model), "--cuts", "20", "--files", "1", "--work", work)
    assert measured.returncode == 0, measured.stderr
    for name in ("nano", "5-gram with a cache", "words of the buffer"):
        assert f"| {name} |" in measured.stdout
    written = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert len(written["results"]) == 3
    assert written["cuts"] == 20


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tokenizer",), "corpus"),
        (("train",), "tokenizer"),
        (("train", "--recipe", "tpu"), "choose one of cpu, gpu"),
        (("pack", "parts"), "corpus and tokenizer"),
    ],
)
def test_a_missing_step_is_named_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run(*arguments, "--work", str(tmp_path))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_are_listed() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("corpus", "tokenizer", "train", "evaluate", "ship", "card", "pack", "unpack", "lists"):
        assert command in done.stdout


def test_parameters_are_counted_as_transformers_counts_them() -> None:
    dimensions = {
        "vocab_size": 97,
        "n_embd": 48,
        "n_layer": 3,
        "n_head": 8,
        "rotary_dim": 4,
        "n_positions": 64,
    }
    model = TinyCodeGen(**dimensions).build()
    total = sum(parameter.numel() for parameter in model.parameters())
    assert sum(parameters(model.config.to_dict())) == total
