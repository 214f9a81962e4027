"""CodeGen2 on this engine's forward pass, against a reference that shares no code with it or with transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import ask, load_model, names, tokens_of
from torch.nn.functional import layer_norm
from transformers import AutoModelForCausalLM, PhiForCausalLM

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import chunks_of
from codegen_lsp.engine.checkpoints.locate import locate, resolve
from codegen_lsp.engine.export.as_phi import open_source
from codegen_lsp.engine.export.phi import export_phi

LAYERS, WIDTH, HEADS, ROTARY, PARTS = 2, 64, 8, 4, 8


def codegen2(folder: Path, **more: object) -> Path:
    """A checkpoint as on the hub: code of its authors is named, the number of parts is only in that code."""
    model = TinyCodeGen(n_layer=LAYERS, n_embd=WIDTH, n_head=HEADS, rotary_dim=ROTARY, seed=4).build()
    save(folder, model)
    config = json.loads((folder / "config.json").read_text())
    remote = {
        "AutoConfig": "configuration_codegen.CodeGenConfig",
        "AutoModelForCausalLM": "modeling_codegen.X",
    }
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": remote, "head_dim": 8, **more}))
    return folder


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Turn neighbours of (heads, positions, width) by their angles, one pair after the other."""
    out = x.clone()
    for position in range(x.shape[1]):
        for pair in range(ROTARY // 2):
            angle = position / 10000 ** (2 * pair / ROTARY)
            a, b = x[:, position, 2 * pair], x[:, position, 2 * pair + 1]
            out[:, position, 2 * pair] = a * math.cos(angle) - b * math.sin(angle)
            out[:, position, 2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
    return out


def attention(weights: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """Head by head: the rows of its query, value and key are found in the part that holds it."""
    fused = x @ weights[f"{name}.qkv_proj.weight"].T
    width, part_width = WIDTH // HEADS, 3 * WIDTH // PARTS
    inside = HEADS // PARTS
    outputs = []
    for head in range(HEADS):
        start = head // inside * part_width + head % inside * width
        query, value, key = (fused[:, start + kind * WIDTH // PARTS :][:, :width] for kind in range(3))
        query, key = rotated(query[None])[0], rotated(key[None])[0]
        scores = query @ key.T / math.sqrt(width)
        scores += torch.full_like(scores, -math.inf).triu(1)
        outputs.append(scores.softmax(-1) @ value)
    return torch.cat(outputs, -1) @ weights[f"{name}.out_proj.weight"].T


def logits(weights: dict[str, torch.Tensor], tokens: list[int]) -> torch.Tensor:
    """The reference: logits (positions, vocabulary) of a CodeGen2 model with `PARTS` parts."""
    x = weights["transformer.wte.weight"][tokens]
    for layer in range(LAYERS):
        h = f"transformer.h.{layer}"
        normed = layer_norm(x, (WIDTH,), weights[f"{h}.ln_1.weight"], weights[f"{h}.ln_1.bias"], 1e-5)
        inner = normed @ weights[f"{h}.mlp.fc_in.weight"].T + weights[f"{h}.mlp.fc_in.bias"]
        inner = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        outer = inner @ weights[f"{h}.mlp.fc_out.weight"].T + weights[f"{h}.mlp.fc_out.bias"]
        x = x + attention(weights, f"{h}.attn", normed) + outer
    x = layer_norm(x, (WIDTH,), weights["transformer.ln_f.weight"], weights["transformer.ln_f.bias"], 1e-5)
    return x @ weights["lm_head.weight"].T + weights["lm_head.bias"]


def greedy(weights: dict[str, torch.Tensor], tokens: list[int], count: int, banned: list[int]) -> list[int]:
    spoken: list[int] = []
    for _ in range(count):
        last = logits(weights, tokens + spoken)[-1]
        last[banned] = -math.inf
        spoken.append(int(last.argmax()))
    return spoken


@pytest.mark.parametrize(
    ("layers", "width", "parts"), [(16, 2048, 8), (16, 4096, 8), (32, 4096, 4), (34, 6144, 4), (20, 1024, 4)]
)
def test_the_parts_of_the_published_sizes(layers: int, width: int, parts: int) -> None:
    """CodeGen2 1B, 3.7B, 7B and 16B, then CodeGen 350M."""
    assert chunks_of(layers, width) == parts


def test_it_decodes_the_reference_s_tokens(tmp_path: Path) -> None:
    model = load_model(codegen2(tmp_path / "m", mp_num=PARTS))
    weights = {name: tensor.float() for name, tensor in model.module.state_dict().items()}
    tokens = model.vocabulary.encode("def add(first, second):\n    return first")
    answer = ask(model, tuple(tokens), max_tokens=12, logprobs=1)
    expected = greedy(weights, tokens, 12, model.vocabulary.without_text)
    assert tokens_of(model, answer) == names(model, expected)
    four = load_model(codegen2(tmp_path / "four"))
    assert tokens_of(four, ask(four, tuple(tokens), max_tokens=12, logprobs=1)) != names(model, expected)


def test_its_log_probabilities_are_the_reference_s(tmp_path: Path) -> None:
    model = load_model(codegen2(tmp_path / "m", mp_num=PARTS))
    weights = {name: tensor.float() for name, tensor in model.module.state_dict().items()}
    tokens = model.vocabulary.encode("class Point:\n    def __init__(self, x, y):\n")
    answer = ask(model, tuple(tokens), max_tokens=0, echo=True, logprobs=1)
    scores = logits(weights, tokens)
    scores[:, model.vocabulary.without_text] = -math.inf
    expected = scores.log_softmax(-1)[range(len(tokens) - 1), tokens[1:]]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    given = torch.tensor(logprobs.token_logprobs[1:])
    assert torch.allclose(given, expected, atol=1e-4)


def test_its_export_is_the_same_model(tmp_path: Path) -> None:
    folder = codegen2(tmp_path / "m", mp_num=PARTS)
    export_phi(open_source(resolve(str(folder))), tmp_path / "phi")
    phi = AutoModelForCausalLM.from_pretrained(tmp_path / "phi", dtype=torch.float32)
    assert isinstance(phi, PhiForCausalLM)
    model = load_model(folder)
    weights = {name: tensor.float() for name, tensor in model.module.state_dict().items()}
    tokens = list(range(40))
    with torch.inference_mode():
        difference = phi(torch.tensor([tokens])).logits[0] - logits(weights, tokens)
    assert float(difference.abs().max()) < 1e-3


def test_codegen25_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = codegen2(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CodeGen25Tokenizer"}))
    with pytest.raises(CheckpointError, match=r"code of its authors.*tiktoken"):
        locate(resolve(str(folder)))
