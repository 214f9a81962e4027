"""Counting tokens with a file that an engine names: it is opened only if it is a regular file of a sane size."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.samples import PADDED

from codegen_lsp.lsp.prompts.token_counter import estimate
from codegen_lsp.lsp.suggest import tokenizer_file
from codegen_lsp.lsp.suggest.tokenizer_file import load_counter

NANO = Path(__file__).parents[3] / "codegen_lsp" / "nano" / "model" / "tokenizer.json"
TEXT = "def f(x):\n    return x\n" * 20


def test_the_tokenizer_counts() -> None:
    assert load_counter(str(NANO)).exact(TEXT) != estimate(TEXT)


def test_a_tokenizer_that_pads_or_cuts_counts_the_text(tmp_path: Path) -> None:
    """Padded to two billion tokens, this process would abort."""
    parts = json.loads(NANO.read_text(encoding="utf-8"))
    parts["padding"] = PADDED
    parts["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(parts), encoding="utf-8")
    assert load_counter(str(path)).exact(TEXT) == load_counter(str(NANO)).exact(TEXT)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device", "huge", "nonsense"])
def test_what_is_not_a_tokenizer_gives_estimates(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "tokenizer.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(tokenizer_file.MAX_BYTES + 1)
    elif kind == "nonsense":
        path.write_text('{"model": {"type": "BPE", "vocab": 7}}')
    assert load_counter(str(path)).exact(TEXT) == estimate(TEXT)
