"""Trains a model by a recipe: on any device, seeded, resumable, in a given time.

The schedule follows the wall time, so that a training ends in time on a busy machine as well. With `steps` the
schedule counts steps instead, and a run is exactly repeatable. Knows tokens on disk, not how the corpus was built.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codegen_lsp.nano.corpus.batches import Batches
from codegen_lsp.nano.corpus.data import Sampler
from codegen_lsp.nano.training.checkpoint import begin_with, end_of_text_id, export, model_config
from codegen_lsp.nano.training.curve import LogEntry, ProgressBar, draw
from codegen_lsp.nano.training.network import TrainingModel, new_model
from codegen_lsp.nano.training.optimizer import build_optimizers
from codegen_lsp.nano.training.recipes import Recipe, RecipeError, Stage


@dataclass(frozen=True, slots=True)
class Run:
    """Where and for how long to train: the tokens are in `work`, checkpoints and the log go to `out`."""

    work: Path
    out: Path
    recipe: Recipe
    minutes: float
    steps: int | None = None
    """Count the schedule in steps instead of minutes."""
    piece_minutes: float | None = None
    """Stop after this many minutes; the next process continues."""
    piece_steps: int | None = None
    """Stop after this many steps; the next process continues."""
    seed: int = 0
    device: str = "cpu"
    initial: Path | None = None
    """Checkpoint to begin with; by default the model of the recipe `recipe.initial`."""


@dataclass(slots=True)
class Clock:
    """How far a training is, over all processes that have worked on it."""

    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    history: list[LogEntry] = field(default_factory=list)

    def progress(self, run: Run) -> float:
        """Return the share of the training that is done, in [0, 1]."""
        return min(1.0, self.step / run.steps if run.steps is not None else self.elapsed / (60 * run.minutes))


class Trainer:
    """A model, its optimizers and its position in the data."""

    def __init__(self, run: Run) -> None:
        recipe = run.recipe
        self.run = run
        torch.manual_seed(run.seed)
        torch.set_float32_matmul_precision("high" if run.device.startswith("cuda") else "highest")
        tokenizer_folder = run.work / "tokenizer"
        self.model = new_model(model_config(recipe, end_of_text_id(tokenizer_folder)), run.seed)
        nn.Module.to(self.model, run.device)
        self.network = TrainingModel(
            self.model, compiled=recipe.compiled, bfloat16=recipe.bfloat16, chunk=recipe.chunk
        )
        self.optimizers = build_optimizers(self.model, recipe)
        self.plateau = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.batches = Batches(Sampler(run.work, run.seed, recipe.fill), recipe.workers)
        self.clock = Clock()

    @property
    def checkpoint(self) -> Path:
        """Return the path of the file with all that a later process needs."""
        return self.run.out / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint and the log. The checkpoint is replaced atomically."""
        state = {
            "recipe": self.run.recipe.name,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "sampler": self.batches.state(),
            "clock": asdict(self.clock),
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)
        lines = "".join(json.dumps(entry) + "\n" for entry in self.clock.history)
        (self.run.out / "log.jsonl").write_text(lines, encoding="utf-8")

    def begin(self) -> None:
        """Resume from the last checkpoint, or load the weights that the recipe begins with."""
        if self.resume():
            return
        name = self.run.recipe.initial
        folder = self.run.initial or (self.run.work / "runs" / name / "model" if name else None)
        if folder is not None:
            begin_with(self.model, folder)

    def resume(self) -> bool:
        """Load the last checkpoint and return True, or return False if there is none.

        The hyperparameters are those of the current recipe, not those in the checkpoint.

        Raises:
            RecipeError: the checkpoint is of another recipe.
        """
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.run.device, weights_only=True)
        if state["recipe"] != self.run.recipe.name:
            raise RecipeError(
                f"{self.run.out} has a training of the recipe {state['recipe']!r}: choose another --out"
            )
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            current = [
                {key: group[key] for key in group if key != "params"} for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(saved)
            for group, hyperparameters in zip(optimizer.param_groups, current, strict=True):
                group.update(hyperparameters)
        self.batches.restore(state["sampler"])
        self.clock = Clock(**state["clock"])
        return True

    def step(self) -> float:
        """Take one optimizer step and return the loss before it, in nats per token."""
        progress = self.clock.progress(self.run)
        stage = self.run.recipe.stage(progress)
        rate = self.run.recipe.rate(progress)
        for optimizer, rates in zip(self.optimizers, self.plateau, strict=True):
            for group, plateau in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = plateau * rate
        loss = self._backward(stage)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.clock.step += 1
        self.clock.tokens += stage.rows * stage.length
        return loss

    def _backward(self, stage: Stage) -> float:
        batch: Tensor = torch.from_numpy(self.batches.next(stage.rows, stage.length, stage.shares)).to(
            self.run.device
        )
        loss = self.network.loss(batch[:, :-1], batch[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


def _log_entry(run: Run, clock: Clock, loss: float, speed: float) -> LogEntry:
    return {
        "step": clock.step,
        "tokens": clock.tokens,
        "seconds": round(clock.elapsed, 1),
        "loss": round(loss, 4),
        "rate": round(run.recipe.rate(clock.progress(run)), 4),
        "tokens_per_second": round(speed),
    }


SAVE_EVERY = 300.0
"""Seconds between checkpoints."""


def _train_piece(trainer: Trainer) -> None:
    """Take steps until the schedule or this piece ends, with a checkpoint every `SAVE_EVERY` seconds."""
    run, clock = trainer.run, trainer.clock
    first_step = clock.step
    began = saved = last = time.monotonic()
    with ProgressBar() as bar:
        while clock.progress(run) < 1.0:
            tokens = clock.tokens
            loss = trainer.step()
            now = time.monotonic()
            clock.elapsed += now - last
            speed = (clock.tokens - tokens) / (now - last)
            last = now
            clock.history.append(_log_entry(run, clock, loss, speed))
            bar.show(clock.progress(run), loss, speed)
            if now - saved > SAVE_EVERY:
                trainer.save()
                saved = now
            if _piece_is_over(run, now - began, clock.step - first_step):
                break


def train(run: Run) -> dict[str, Any]:
    """Train until the schedule or this piece ends; writes `checkpoint.pt`, `log.jsonl`, `curve.png`, `model/`.

    Returns:
        The last entry of the log, and as "done" whether the schedule has ended.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(run)
    try:
        trainer.begin()
        _train_piece(trainer)
    finally:
        trainer.batches.close()
    clock = trainer.clock
    trainer.save()
    export(trainer.model, run.work / "tokenizer", run.out / "model")
    draw(clock.history, run.out / "curve.png")
    return {"done": clock.progress(run) >= 1.0, **(clock.history[-1] if clock.history else {})}


def _piece_is_over(run: Run, seconds: float, steps: int) -> bool:
    if run.piece_steps is not None and steps >= run.piece_steps:
        return True
    return run.piece_minutes is not None and seconds >= 60 * run.piece_minutes
