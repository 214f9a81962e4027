"""The checkpoint in the package: sharded, small, loads without a warning, and has a complete card."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus.fill import FORMATS
from codegen_lsp.nano.training.checkpoint import LOG_LINES

MB = 1_000_000

LOAD = """
import logging, sys, warnings
warnings.simplefilter("error")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
records = []
class Keep(logging.Handler):
    def emit(self, record):
        records.append(record.getMessage())
logging.getLogger("transformers").addHandler(Keep(logging.WARNING))
folder = sys.argv[1]
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = tokenizer("def main() -> None:\\n    ", return_tensors="pt")
out = model.generate(**ids, max_new_tokens=8, do_sample=False)
assert out.shape[1] > ids.input_ids.shape[1]
assert type(model).__name__ == "CodeGenForCausalLM", type(model)
assert model.dtype == torch.bfloat16
assert not records, records
"""


def test_it_loads_and_generates_with_warnings_as_errors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(MODEL_DIR)], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr


def test_it_is_sharded_and_small() -> None:
    shards = sorted(MODEL_DIR.glob("*.safetensors"))
    assert len(shards) >= 2
    assert all(shard.stat().st_size <= 15 * MB for shard in shards)
    assert sum(path.stat().st_size for path in MODEL_DIR.iterdir()) <= 60 * MB
    index = json.loads((MODEL_DIR / "model.safetensors.index.json").read_text())
    for shard in shards:
        with safe_open(shard, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dictionary
                assert index["weight_map"][name] == shard.name
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}


def test_its_shape_is_what_the_engine_expects() -> None:
    config = json.loads((MODEL_DIR / "config.json").read_text())
    assert config["model_type"] == "codegen"
    assert config["n_positions"] == config["n_ctx"] == 2048
    assert config["vocab_size"] == 8200
    assert config["bos_token_id"] == config["eos_token_id"]
    assert config["fill_in_the_middle"] == FORMATS


@pytest.fixture(scope="module")
def card() -> str:
    return (MODEL_DIR / "README.md").read_text(encoding="utf-8")


def test_the_card_has_the_hubs_header(card: str) -> None:
    header = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert header is not None
    for field in (
        "license:",
        "language:",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
    ):
        assert field in header[1]


@pytest.mark.parametrize(
    "section",
    [
        "Training data",
        "Training",
        "Evaluation",
        "Benchmarks",
        "Intended use",
        "Limits",
        "What it must not be used for",
        "Citation",
    ],
)
def test_the_card_has_what_a_reader_needs(card: str, section: str) -> None:
    text = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    assert text is not None
    assert len(text[1].strip()) > 80


def test_the_card_names_every_distribution_with_its_licence(card: str) -> None:
    manifest = json.loads((MODEL_DIR / "manifest.json").read_text())
    for name, entry in manifest["distributions"].items():
        assert re.search(
            rf"^\| {re.escape(name)} \| {re.escape(entry['version'])} \| \S", card, re.MULTILINE
        ), name
    assert "2203.13474" in card


def test_the_card_states_the_figures_that_were_measured(card: str) -> None:
    measured = json.loads((MODEL_DIR / "evaluation.json").read_text())
    for row in measured["results"]:
        if row["bits_per_byte"] is not None:
            assert f"{row['bits_per_byte']:.3f}" in card
        assert f"{100 * row['exact']:.1f} %" in card


def test_the_log_and_its_picture_are_beside_it() -> None:
    log = [json.loads(line) for line in (MODEL_DIR / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < log[0]["loss"]
    assert len(log) <= LOG_LINES
    assert log[-1]["rate"] == 0.0
    assert [entry["step"] for entry in log] == sorted(entry["step"] for entry in log)
    assert (MODEL_DIR / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert Path(MODEL_DIR / "curve.png").stat().st_size < MB
