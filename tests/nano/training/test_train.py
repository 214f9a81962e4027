"""Training: resumes to the same curve, ends on time, leaves a checkpoint that loads."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from codegen_lsp.nano.corpus.fill import FORMATS
from codegen_lsp.nano.training.checkpoint import LOG_LINES, begin_with, model_config, ship_checkpoint
from codegen_lsp.nano.training.network import new_model
from codegen_lsp.nano.training.recipes import GPU, Recipe, RecipeError, Stage
from codegen_lsp.nano.training.train import Run, train


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def describe(model: Path, forms: dict[str, str | bool]) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"fill_in_the_middle": forms}))


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_a_resumed_training_has_the_same_curve(tmp_path: Path, work: Path, tiny: Recipe, fill: float) -> None:
    whole = Run(work, tmp_path / "whole", replace(tiny, fill=fill), minutes=1, steps=24)
    assert train(whole)["done"]
    pieces = replace(whole, out=tmp_path / "pieces", piece_steps=7)
    ends = [train(pieces)["done"] for _ in range(4)]
    assert ends == [False, False, False, True]
    assert losses(whole.out) == losses(pieces.out)
    assert len(losses(whole.out)) == 24
    assert losses(whole.out)[-1] < losses(whole.out)[0]
    weights = [torch.load(run.out / "checkpoint.pt", weights_only=True)["model"] for run in (whole, pieces)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_trained_model_ships_with_its_log(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    run = Run(work, tmp_path / "run", replace(tiny, workers=1, fill=0.5), minutes=1, steps=3)
    train(run)
    describe(run.out / "model", {"psm": FORMATS["psm"], "stop": FORMATS["stop"]})
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "model-00001-of-00009.safetensors").touch()
    assert ship_checkpoint(run.out, work, shipped) == 3
    assert not (shipped / "model-00001-of-00009.safetensors").exists()
    assert losses(shipped) == losses(run.out)
    assert json.loads((shipped / "config.json").read_text())["fill_in_the_middle"] == FORMATS
    AutoModelForCausalLM.from_pretrained(shipped)
    AutoTokenizer.from_pretrained(shipped)
    with pytest.raises(RecipeError, match="no trained model"):
        ship_checkpoint(tmp_path, work, shipped)


@pytest.mark.parametrize("count", [1, LOG_LINES, LOG_LINES + 1, 12_954])
def test_a_long_log_ships_with_fewer_lines(tmp_path: Path, work: Path, tiny: Recipe, count: int) -> None:
    run = Run(work, tmp_path / "run", tiny, minutes=1, steps=1)
    train(run)
    whole = [{"step": step, "loss": 5 / step} for step in range(1, count + 1)]
    (run.out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in whole))
    shipped = tmp_path / "shipped"
    assert ship_checkpoint(run.out, work, shipped) == count
    log = [json.loads(line) for line in (shipped / "log.jsonl").read_text().splitlines()]
    assert log[0] == whole[0]
    assert log[-1] == whole[-1]
    assert all(entry == whole[entry["step"] - 1] for entry in log)
    distances = [after["step"] - before["step"] for before, after in pairwise(log)]
    assert len(set(distances[:-1])) <= 1
    assert all(last <= first for first, last in zip(distances[:1], distances[-1:], strict=True))
    assert min(count, LOG_LINES // 2) <= len(log) <= LOG_LINES


def test_a_training_begins_with_the_weights_of_another_recipe(
    tmp_path: Path, work: Path, tiny: Recipe
) -> None:
    small = replace(tiny, vocab_size=1003)
    train(Run(work, tmp_path / "first", small, minutes=1, steps=30))
    second = replace(tiny, name="second", fill=0.5, initial="first")
    run = Run(work, tmp_path / "second", second, minutes=1, steps=4, initial=tmp_path / "first" / "model")
    train(run)
    assert losses(run.out)[0] < losses(tmp_path / "first")[0] - 0.5
    config = json.loads((run.out / "model" / "config.json").read_text())
    assert config["vocab_size"] == 1008
    assert config["fill_in_the_middle"] == FORMATS


def test_new_tokens_begin_with_the_mean_of_the_old_ones(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    train(Run(work, tmp_path, replace(tiny, vocab_size=1003), minutes=1, steps=1))
    old: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    model = new_model(model_config(tiny, 0), seed=1)
    begin_with(model, tmp_path / "model")
    for name, before in old.state_dict().items():
        after = model.state_dict()[name]
        assert torch.equal(after[: len(before)], before)
        assert all(torch.allclose(row, before.mean(dim=0)) for row in after[len(before) :])


def test_weights_to_begin_with_have_to_be_there_and_to_fit(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    missing = Run(work, tmp_path / "a", replace(tiny, initial="no-such"), minutes=1, steps=1)
    with pytest.raises(RecipeError, match=r"no checkpoint to begin with in .*runs/no-such/model"):
        train(missing)
    train(Run(work, tmp_path / "b", tiny, minutes=1, steps=1))
    wider = Run(
        work, tmp_path / "c", replace(tiny, n_embd=64), minutes=1, steps=1, initial=tmp_path / "b" / "model"
    )
    with pytest.raises(RecipeError, match="does not fit the recipe"):
        train(wider)


def test_another_seed_gives_another_curve(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    for seed in (0, 1):
        train(Run(work, tmp_path / str(seed), tiny, minutes=1, steps=3, seed=seed))
    assert losses(tmp_path / "0") != losses(tmp_path / "1")


def test_wall_time_ends_a_training_and_it_leaves_all_that_is_needed(
    tmp_path: Path, work: Path, tiny: Recipe
) -> None:
    result = train(Run(work, tmp_path, tiny, minutes=0.05))
    assert result["done"]
    assert result["seconds"] >= 3
    assert result["rate"] == 0.0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert model.dtype == torch.bfloat16
    ids = tokenizer("import ", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=3, do_sample=False).shape[1] <= ids.input_ids.shape[1] + 3


def test_a_finished_training_stays_as_it_is(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    run = Run(work, tmp_path, tiny, minutes=1, steps=2)
    first = train(run)
    assert train(run) == first


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path, work: Path, tiny: Recipe) -> None:
    train(Run(work, tmp_path, tiny, minutes=1, steps=1))
    with pytest.raises(RecipeError, match="choose another"):
        train(Run(work, tmp_path, replace(tiny, name="other"), minutes=1, steps=2))


@pytest.mark.slow
def test_the_recipe_for_a_gpu_takes_steps_in_pieces(tmp_path: Path, work: Path) -> None:
    """Its shape and bfloat16, on the processor: short rows, not compiled, three steps."""
    rows = tuple(Stage(stage.until, 1, 64, stage.shares) for stage in GPU.stages)
    recipe = replace(GPU, stages=rows, compiled=False, vocab_size=1000)
    run = Run(work, tmp_path, recipe, minutes=1, steps=3, piece_steps=2)
    assert not train(run)["done"]
    assert train(run)["done"]
    assert len(losses(tmp_path)) == 3
