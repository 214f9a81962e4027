"""A Phi folder computes what the CodeGen checkpoint computes, in transformers' own implementations of both."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.checkpoints import TinyCodeGen, make_tokenizer, save
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, CodeGenForCausalLM, PhiForCausalLM, PreTrainedModel

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER, Checkpoint, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES
from codegen_lsp.engine.export.as_phi import open_source
from codegen_lsp.engine.export.phi import export_phi

CODE = "def add(first, second):\n    return"


def exported(folder: Path, target: Path) -> Path:
    export_phi(open_source(locate.resolve(str(folder))), target)
    return target


def load(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


@torch.inference_mode()
def same(codegen: PreTrainedModel, phi: PreTrainedModel, tokens: torch.Tensor, new: int) -> None:
    """Logits alike to 1e-5 of the largest, and the same greedy continuation."""
    ours, theirs = codegen(tokens).logits, phi(tokens).logits
    assert float((ours - theirs).abs().max()) <= 1e-5 * max(1.0, float(ours.abs().max()))
    options = {"max_new_tokens": new, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    mask = torch.ones_like(tokens)
    first = codegen.generate(tokens, attention_mask=mask, **options)
    second = phi.generate(tokens, attention_mask=mask, **options)
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    ("size", "layers"),
    [
        ("350M", 3),
        ("2B", 1),
        pytest.param("6B", 1, marks=pytest.mark.slow),
        pytest.param("16B", 1, marks=pytest.mark.slow),
    ],
)
def test_the_four_shapes_with_few_layers(tmp_path: Path, size: str, layers: int) -> None:
    shape = replace(SIZES[size], layers=layers)
    dimensions = {"n_layer": layers, "n_embd": shape.width, "n_head": shape.heads, "rotary_dim": shape.rotary}
    folder = save(tmp_path / "codegen", TinyCodeGen(**dimensions, initializer_range=0.02).build())
    phi = load(exported(folder, tmp_path / "phi"))
    assert isinstance(phi, PhiForCausalLM)
    tokens = torch.randint(0, 600, (1, 40), generator=torch.Generator().manual_seed(1))
    same(load(folder), phi, tokens, 8)


def test_nano(tmp_path: Path) -> None:
    phi = exported(NANO_FOLDER, tmp_path / "phi")
    tokenizer = Tokenizer.from_file(str(phi / "tokenizer.json"))
    tokens = torch.tensor([tokenizer.encode(CODE).ids])
    codegen = load(NANO_FOLDER)
    assert isinstance(codegen, CodeGenForCausalLM)
    same(codegen, load(phi), tokens, 40)
    config = json.loads((phi / "config.json").read_text())
    assert (config["eos_token_id"], config["partial_rotary_factor"]) == (8153, 0.5)


def test_weights_that_are_not_zero_or_one_find_their_places(tmp_path: Path) -> None:
    """Biases and norms of a new model hide a mistake."""
    model = TinyCodeGen(n_layer=3).build()
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        if weight.dim() == 1:
            weight.data.normal_(mean=0.5, generator=generator)
    folder = save(tmp_path / "codegen", model)
    same(load(folder), load(exported(folder, tmp_path / "phi")), torch.arange(60)[None], 12)


def test_a_sharded_checkpoint_keeps_its_number_format(tmp_path: Path) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build().bfloat16(), max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    phi = exported(folder, tmp_path / "phi")
    weights = load_file(next(phi.glob("*.safetensors")))
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    assert json.loads((phi / "config.json").read_text())["dtype"] == "bfloat16"


def test_pickled_weights_if_they_are_allowed(tmp_path: Path) -> None:
    model = TinyCodeGen().build()
    folder = save(tmp_path / "codegen", model)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="allow-pickle"):
        open_source(locate.resolve(str(folder)))
    export_phi(open_source(locate.resolve(str(folder)), allow_pickle=True), tmp_path / "phi")
    same(model, load(tmp_path / "phi"), torch.arange(30)[None], 4)


def test_a_natural_language_model_loses_the_tokens_that_it_never_learned(tmp_path: Path) -> None:
    folder = save(tmp_path / "codegen-350M-nl", TinyCodeGen().build())
    export_phi(open_source(Checkpoint("350M-nl", "folder", str(folder))), tmp_path / "phi")
    tokenizer = Tokenizer.from_file(str(tmp_path / "phi" / "tokenizer.json"))
    text = "if x:\n      y"
    assert tokenizer.encode(text).ids != make_tokenizer().encode(text)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_other_models_are_refused(tmp_path: Path) -> None:
    phi = exported(save(tmp_path / "codegen", TinyCodeGen().build()), tmp_path / "phi")
    with pytest.raises(CheckpointError, match="is a phi model"):
        exported(phi, tmp_path / "again")


def test_an_occupied_folder_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    with pytest.raises(CheckpointError, match="not empty"):
        exported(folder, folder)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"takes 0\.0 GB, but .* has 0\.0 GB free"):
        exported(folder, tmp_path / "phi")
    assert not (tmp_path / "phi").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rotary_dim": None}, "lacks a dimension"),
        ({"rotary_dim": 1}, "can't have"),
        ({"n_head": 3}, "can't have"),
        ({"activation_function": "relu"}, "can't have"),
        (
            {"n_inner": 100},
            r"'transformer.h.0.mlp.fc_in.weight' has the shape \(256, 64\), expected \(100, 64\)",
        ),
        ({"n_layer": 5}, "lacks the weights"),
    ],
)
def test_a_configuration_that_does_not_fit(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match=sentence):
        exported(folder, tmp_path / "phi")
