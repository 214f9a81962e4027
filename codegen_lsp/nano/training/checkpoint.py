"""Writes a trained model as a folder that `AutoModelForCausalLM` and `AutoTokenizer` load, and reads one to continue.

Knows recipes, weights and files; runs no training step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import nn
from transformers import CodeGenConfig, CodeGenForCausalLM

from codegen_lsp.nano.corpus.fill import FORMATS
from codegen_lsp.nano.corpus.tokenizer import END_OF_TEXT, load_tokenizer
from codegen_lsp.nano.training.curve import thinned
from codegen_lsp.nano.training.recipes import Recipe, RecipeError

MAX_SHARD = "12MB"
"""Below the limit of 15 MB for a shard file, with room for its header."""

LOG_LINES = 300
"""Maximum number of lines in the log of a shipped checkpoint, which is part of every installation."""


def model_config(recipe: Recipe, end_of_text: int) -> CodeGenConfig:
    """Return the configuration of the model that a recipe describes."""
    config: CodeGenConfig = CodeGenConfig(  # type: ignore[call-arg]
        vocab_size=recipe.vocab_size,
        n_positions=recipe.n_positions,
        n_ctx=recipe.n_positions,
        n_embd=recipe.n_embd,
        n_layer=recipe.n_layer,
        n_head=recipe.n_head,
        rotary_dim=recipe.rotary_dim,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        pad_token_id=end_of_text,
    )
    if recipe.fill:
        config.fill_in_the_middle = FORMATS
    return config


def begin_with(model: CodeGenForCausalLM, folder: Path) -> None:
    """Copy the weights of a checkpoint into a model with the same dimensions and at least as many tokens.

    A token that the checkpoint doesn't have gets the mean of the weights of those it has.

    Raises:
        RecipeError: there is no checkpoint in `folder`, or it has other dimensions.
    """
    if not (folder / "config.json").exists():
        raise RecipeError(f"no checkpoint to begin with in {folder}: train it first, or set --initial")
    initial = CodeGenForCausalLM.from_pretrained(folder, dtype=torch.float32)
    state = model.state_dict()
    for name, old in initial.state_dict().items():
        new = state[name]
        if new.shape[1:] != old.shape[1:] or len(new) < len(old):
            raise RecipeError(
                f"{folder} does not fit the recipe: expected {name} with shape {tuple(new.shape)}, "
                f"got {tuple(old.shape)}"
            )
        new[: len(old)] = old
        new[len(old) :] = old.mean(dim=0)


def export(
    model: CodeGenForCausalLM, tokenizer_folder: Path, folder: Path, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write the sharded weights, the configuration and the tokenizer into `folder`; other files stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove_shards(folder)
    copy = CodeGenForCausalLM(model.config)
    nn.Module.to(copy, dtype)
    copy.load_state_dict(model.state_dict())
    copy.config.use_cache = True
    copy.config.dtype = dtype
    copy.save_pretrained(folder, max_shard_size=MAX_SHARD)
    for shard in folder.glob("model*.safetensors"):
        shard.chmod(0o644)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer_folder / name, folder / name)


def _remove_shards(folder: Path) -> None:
    for old in [*folder.glob("model*.safetensors"), *folder.glob("*.index.json")]:
        old.unlink()


def end_of_text_id(tokenizer_folder: Path) -> int:
    """Return the id of the token between documents.

    Raises:
        ValueError: the tokenizer does not have that token.
    """
    token_id = load_tokenizer(tokenizer_folder).token_to_id(END_OF_TEXT)
    if token_id is None:
        raise ValueError(
            f"the tokenizer in {tokenizer_folder} has no token {END_OF_TEXT}: run the tokenizer command again"
        )
    return int(token_id)


def ship_checkpoint(run: Path, work: Path, folder: Path) -> int:
    """Copy the model that a training exported, with its manifest, log and curve, and return its last step.

    The copied log has at most `LOG_LINES` lines: the first, the last, and lines at even distances between them. A
    model that fills in the middle gets the present description of its prompts.

    Raises:
        RecipeError: `run` has no exported model and log, which every piece of a training leaves.
    """
    if not (run / "model" / "config.json").exists() or not (run / "log.jsonl").exists():
        raise RecipeError(f"no trained model in {run}: train it first, or choose another --run")
    _remove_shards(folder)
    shutil.copytree(run / "model", folder, dirs_exist_ok=True)
    shutil.copyfile(work / "manifest.json", folder / "manifest.json")
    _describe_prompts(folder / "config.json")
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "log.jsonl").write_text("".join(thinned(lines, LOG_LINES)), encoding="utf-8")
    if (run / "curve.png").exists():
        shutil.copyfile(run / "curve.png", folder / "curve.png")
    return int(json.loads(lines[-1])["step"])


def _describe_prompts(path: Path) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    if "fill_in_the_middle" in config:
        config["fill_in_the_middle"] = FORMATS
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
