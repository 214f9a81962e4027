"""Trains a model after a recipe: on any device, seeded, resumable, on time.

Wall time rather than the number of steps drives the schedule, so that a training ends when it was told to,
also on a busy machine; with `steps` the schedule is counted in steps and a run repeats exactly. Knows nothing
about how the corpus was made.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from codegen_lsp.nano.corpus.data import Sampler
from codegen_lsp.nano.training.checkpoint import begin_with, end_of_text_id, export, model_config
from codegen_lsp.nano.training.network import TrainingModel, new_model
from codegen_lsp.nano.training.optimizer import build_optimizers
from codegen_lsp.nano.training.recipes import Recipe, RecipeError, Stage

SAVE_EVERY = 300.0
"""Seconds between checkpoints."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how long to train: `work` holds the tokens, `out` receives what comes of it."""

    work: Path
    out: Path
    recipe: Recipe
    minutes: float
    steps: int | None = None
    """Count the schedule in steps instead of minutes."""
    piece_minutes: float | None = None
    """Stop after this many minutes of this process, to be resumed by the next one."""
    piece_steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    initial: Path | None = None
    """Checkpoint to begin with; else the model of the recipe that `recipe.initial` names."""


@dataclass(slots=True)
class Clock:
    """How far a training is: counted over all processes that worked on it."""

    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def progress(self, run: Run) -> float:
        """The share of the training that is done, at most 1."""
        return min(1.0, self.step / run.steps if run.steps is not None else self.elapsed / (60 * run.minutes))


class Trainer:
    """A model, its optimizers and its place in the data."""

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
        self.sampler = Sampler(run.work, run.seed, recipe.fill)
        self.clock = Clock()

    @property
    def checkpoint(self) -> Path:
        """Where everything is saved that a later process needs."""
        return self.run.out / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint and the log; a reader finds the old or the new one, never half of one."""
        state = {
            "recipe": self.run.recipe.name,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "sampler": self.sampler.state(),
            "clock": asdict(self.clock),
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)
        lines = "".join(json.dumps(entry) + "\n" for entry in self.clock.history)
        (self.run.out / "log.jsonl").write_text(lines, encoding="utf-8")

    def begin(self) -> None:
        """Take up the last checkpoint, or else the weights that the recipe begins with."""
        if self.resume():
            return
        name = self.run.recipe.initial
        folder = self.run.initial or (self.run.work / "runs" / name / "model" if name else None)
        if folder is not None:
            begin_with(self.model, folder)

    def resume(self) -> bool:
        """Take up the last checkpoint, if there is one; the numbers of the recipe are those of today."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location=self.run.device, weights_only=True)
        if state["recipe"] != self.run.recipe.name:
            raise RecipeError(
                f"{self.run.out} holds a training after recipe {state['recipe']!r}: choose another --out"
            )
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            numbers = [
                {key: group[key] for key in group if key != "params"} for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(saved)
            for group, own in zip(optimizer.param_groups, numbers, strict=True):
                group.update(own)
        self.sampler.restore(state["sampler"])
        self.clock = Clock(**state["clock"])
        return True

    def step(self) -> float:
        """One optimizer step; the loss in nats per token before it."""
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
        batch: Tensor = torch.from_numpy(self.sampler.batch(stage.rows, stage.length, stage.shares)).to(
            self.run.device
        )
        loss = self.network.loss(batch[:, :-1], batch[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())


def train(run: Run) -> dict[str, Any]:
    """Train until the schedule or this piece ends; writes `checkpoint.pt`, `log.jsonl`, `curve.png`, `model/`.

    Returns the last entry of the log and whether the schedule is done.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(run)
    trainer.begin()
    clock, first_step = trainer.clock, trainer.clock.step
    began = saved = last = time.monotonic()
    smooth = rate = 0.0
    with _progress_bar() as bar:
        task = bar.add_task("nano", total=1.0, loss=0.0, rate=0.0)
        while clock.progress(run) < 1.0:
            tokens = clock.tokens
            loss = trainer.step()
            now = time.monotonic()
            clock.elapsed += now - last
            current = (clock.tokens - tokens) / (now - last)
            smooth, rate = (
                (loss, current)
                if clock.step == first_step + 1
                else (0.95 * smooth + 0.05 * loss, 0.9 * rate + 0.1 * current)
            )
            last = now
            clock.history.append(
                {
                    "step": clock.step,
                    "tokens": clock.tokens,
                    "seconds": round(clock.elapsed, 1),
                    "loss": round(loss, 4),
                    "rate": round(run.recipe.rate(clock.progress(run)), 4),
                    "tokens_per_second": round(current),
                }
            )
            bar.update(task, completed=clock.progress(run), loss=smooth, rate=rate)
            if now - saved > SAVE_EVERY:
                trainer.save()
                saved = now
            if _piece_is_over(run, now - began, clock.step - first_step):
                break
    trainer.save()
    export(trainer.model, run.work / "tokenizer", run.out / "model")
    draw(clock.history, run.out / "curve.png")
    return {"done": clock.progress(run) >= 1.0, **(clock.history[-1] if clock.history else {})}


def _piece_is_over(run: Run, seconds: float, steps: int) -> bool:
    if run.piece_steps is not None and steps >= run.piece_steps:
        return True
    return run.piece_minutes is not None and seconds >= 60 * run.piece_minutes


def _progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(
            "{task.percentage:>5.1f} %  loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f} tokens/s"
        ),
        TimeRemainingColumn(),
    )


def draw(history: list[dict[str, float]], path: Path) -> None:
    """A picture of the loss over tokens, with the learning rate under it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(
        2, 1, figsize=(8, 5), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    tokens = [entry["tokens"] / 1e6 for entry in history]
    losses = [entry["loss"] for entry in history]
    smooth = losses[:1]
    for loss in losses[1:]:
        smooth.append(0.98 * smooth[-1] + 0.02 * loss)
    upper.plot(tokens, losses, color="0.8", linewidth=0.5)
    upper.plot(tokens, smooth, color="tab:blue", linewidth=1.5)
    upper.set_ylabel("loss, nats per token")
    upper.grid(alpha=0.3)
    lower.plot(tokens, [entry["rate"] for entry in history], color="tab:orange")
    lower.set_ylabel("learning rate")
    lower.set_xlabel("million tokens seen")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
