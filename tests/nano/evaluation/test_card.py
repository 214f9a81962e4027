"""The model card: what it says of a model that fills in the middle, and of another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.corpus.fill import FORMATS
from codegen_lsp.nano.evaluation.card import write_card
from codegen_lsp.nano.training.recipes import CPU, CPU_FILL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in MODEL_DIR.glob("*.*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def card_with(folder: Path, forms: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"fill_in_the_middle": forms}))


def test_a_model_that_fills_states_its_prompts_and_what_it_was_trained_on(folder: Path) -> None:
    card_with(folder, FORMATS)
    card = write_card(folder, CPU_FILL).read_text(encoding="utf-8")
    for text in (FORMATS[name] for name in ("psm", "spm", "stop")):
        assert f"`{text}`" in card
    assert "50% of the rows" in card
    assert "begins with the weights of the recipe `cpu`" in card
    assert "`codegen-lsp` asks it left to right" in card


def test_a_model_that_is_given_the_text_after_the_cursor_is_not_called_left_to_right(folder: Path) -> None:
    card_with(folder, FORMATS | {"left_to_right": False})
    assert "left to right all the same" not in write_card(folder, CPU_FILL).read_text(encoding="utf-8")


@pytest.mark.parametrize(("steps", "text"), [((1, 2, 3), "every step"), ((1, 10, 14), "one step of 9")])
def test_the_card_says_which_steps_the_log_has(folder: Path, steps: tuple[int, ...], text: str) -> None:
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    (folder / "log.jsonl").write_text("".join(json.dumps(last | {"step": step}) + "\n" for step in steps))
    assert f"the speed of {text} are" in write_card(folder, CPU_FILL).read_text(encoding="utf-8")


def test_another_model_says_nothing_of_it(folder: Path) -> None:
    card_with(folder, None)
    card = write_card(folder, CPU).read_text(encoding="utf-8")
    assert "<mask_1>" not in card
    assert "begins with the weights" not in card
