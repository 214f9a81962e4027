"""A GGUF file holds the checkpoint's weights and tokenizer; llama.cpp itself says so where it is installed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from safetensors.torch import load_file
from support.checkpoints import TinyCodeGen, save
from support.local import load_model, reference
from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from codegen_lsp.engine.checkpoints import locate
from codegen_lsp.engine.checkpoints.checkpoint import NANO, NANO_FOLDER, CheckpointError
from codegen_lsp.engine.export.as_phi import open_source
from codegen_lsp.engine.export.gguf_file import export_gguf
from codegen_lsp.engine.export.gguf_tokenizer import LONG_NUMBERS
from codegen_lsp.engine.export.phi import export_phi

ROOT = Path(__file__).parents[3]
PROMPTS = (
    "def add(first, second):\n    return",
    "import os\nimport sys\n\n\ndef main() -> None:\n    ",
    "class Point:\n    def __init__(self, x, y):\n        self.x = x\n",
    "for i in range(10):\n\tprint(",
)


def exported(folder: Path | str, target: Path, quantize: str = "f16") -> Path:
    export_gguf(open_source(locate.resolve(str(folder))), target, quantize)
    return target


def corpus() -> list[str]:
    """Code and text with everything that tokenizers trip over, except long numbers."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "codegen_lsp").rglob("*.py"))[::6]]
    texts += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "editors").rglob("*.lua"))[:5]]
    texts += [f"x{' ' * n}y\n{' ' * n}return 1" for n in range(1, 70)]
    texts += [
        f"x{tab * n}y\n{tab * n}{{" for n in range(1, 25) for tab in ("\t", "\r\n", "\n", " \t", "\u00a0")
    ]
    texts += [
        "if x:\r\n\treturn  'naïve café'\r\n\r\n\r\n",
        "数字 = '一二三'  # Ελληνικά, русский, עברית, العربية\n",
        "emoji = '👩‍👩‍👧 ✨'  \n   \n\t\n",
        "it's we'll I'd you've they're I'm don't 'tis can'T",
        "a=1;b=22;c=333;d=-1.5e-3;e=0xff;f=1_000;g=[1,2,3]",
        "x +=1   # trailing   ",
        "²³½ ٣ ⅷ ™ ® é e\u0301",
        " leading",
        "   ",
        "\n\n\n",
        "END_OF_TEXT = '<|endoftext|>'  # <|endoftext|>\n<|endoftext|>",
        "%%timeit\n!ls ~/a/b/*.py | head -n 3 && echo $HOME #!/bin/sh\n",
    ]
    return texts


@pytest.fixture
def llama() -> Iterator[Callable[[Path], Any]]:
    """Load a GGUF file in llama.cpp, in one thread."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")

    models: list[Any] = []

    def load(path: Path) -> Any:
        threads = {"n_threads": 1, "n_threads_batch": 1}
        models.append(llama_cpp.Llama(str(path), n_ctx=256, logits_all=True, verbose=False, **threads))
        return models[-1]

    yield load
    for model in models:
        model.close()


def greedy(model: Any, tokens: list[int], count: int) -> list[int]:
    """The likeliest tokens that llama.cpp decodes."""
    spoken: list[int] = []
    for token in model.generate(tokens, temp=0.0, top_k=1, repeat_penalty=1.0):
        spoken.append(int(token))
        if len(spoken) == count or token == model.token_eos():
            break
    return spoken


def ids(model: Any, text: str) -> list[int]:
    return [int(t) for t in model.tokenize(text.encode(), add_bos=False, special=False)]


def spelling(folder: Path) -> Callable[[str], list[int]]:
    """The tokenizer of a folder as the engine asks it: the name of a control token in a text is text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def test_llama_cpp_decodes_nano_s_greedy_tokens(tmp_path: Path, llama: Callable[[Path], Any]) -> None:
    model = load_model(NANO_FOLDER)
    file = llama(exported(NANO, tmp_path / "nano.gguf"))
    for prompt in PROMPTS:
        tokens = model.vocabulary.encode(prompt)
        assert ids(file, prompt) == tokens
        assert greedy(file, tokens, 40) == reference(model, tokens, 40)


def test_llama_cpp_gives_nano_s_ids_for_text_without_long_numbers(
    tmp_path: Path, llama: Callable[[Path], Any]
) -> None:
    """CodeGen's own pattern is GPT-2's, for which the same holds with all numbers; see the next test."""
    file = llama(exported(NANO, tmp_path / "nano.gguf"))
    texts = [re.sub(r"\d{4,}", "123", text) for text in corpus()]
    assert [ids(file, text) for text in texts] == list(map(spelling(NANO_FOLDER), texts))


def test_llama_cpp_gives_the_ids_of_a_tokenizer_with_codegen_s_pattern(
    tmp_path: Path, llama: Callable[[Path], Any]
) -> None:
    folder = with_gpt2_words(tmp_path / "codegen")
    file = llama(exported(folder, tmp_path / "codegen.gguf"))
    texts = [*corpus(), "1234 12345 x=1234567890 3.14159265 2026-11-25 0x1234abcd 1000000", "٣٤٥٦٧"]
    assert [ids(file, text) for text in texts] == list(map(spelling(folder), texts))


def with_gpt2_words(folder: Path) -> Path:
    """A small checkpoint with nano's vocabulary and the words of GPT-2, as the hub's CodeGen tokenizers."""
    save(folder, TinyCodeGen(vocab_size=8200).build())
    parts = json.loads((NANO_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("quantize", ["q8_0", "q4_0"])
def test_llama_cpp_runs_quantized_files(tmp_path: Path, llama: Callable[[Path], Any], quantize: str) -> None:
    file = llama(exported(NANO, tmp_path / "nano.gguf", quantize))
    model = load_model(NANO_FOLDER)
    tokens = model.vocabulary.encode(PROMPTS[2])
    spoken = greedy(file, tokens, 12)
    assert len(spoken) == 12
    expected = reference(model, tokens, 12)
    assert spoken == expected if quantize == "q8_0" else spoken[0] == expected[0]


def tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}


def test_the_file_has_the_weights_of_the_phi_folder(tmp_path: Path) -> None:
    """Needs no llama.cpp: tensor by tensor, in full and quantized."""
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    export_phi(open_source(locate.resolve(str(folder))), tmp_path / "phi")
    phi = load_file(tmp_path / "phi" / "model-00001-of-00001.safetensors")
    written = tensors(exported(folder, tmp_path / "f16.gguf"))
    pairs = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.1.attn_q.weight": "model.layers.1.self_attn.q_proj.weight",
        "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
        "blk.1.attn_output.bias": "model.layers.1.self_attn.dense.bias",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.fc2.weight",
        "blk.0.attn_norm.bias": "model.layers.0.input_layernorm.bias",
        "output_norm.weight": "model.final_layernorm.weight",
        "output.bias": "lm_head.bias",
    }
    assert len(written) == len(phi)
    for name, source in pairs.items():
        assert np.allclose(written[name], phi[source].float().numpy(), atol=1e-3), name
    errors = {}
    for quantize in ("q8_0", "q4_0"):
        name = "blk.0.ffn_up.weight"
        coarse = tensors(exported(folder, tmp_path / f"{quantize}.gguf", quantize))[name]
        errors[quantize] = float(np.abs(coarse - written[name]).mean() / np.abs(written[name]).mean())
    assert errors["q8_0"] < 0.01 < errors["q4_0"] < 0.2


def test_the_file_describes_model_and_tokenizer(tmp_path: Path) -> None:
    fields = GGUFReader(exported(NANO, tmp_path / "nano.gguf", "q4_0")).fields

    def value(name: str) -> Any:
        return fields[name].contents()

    assert value("general.architecture") == "phi2"
    assert (value("phi2.rope.dimension_count"), value("phi2.context_length")) == (32, 2048)
    assert (value("tokenizer.ggml.model"), value("tokenizer.ggml.pre")) == ("gpt2", "gpt-2")
    kinds = value("tokenizer.ggml.token_type")
    tokens = value("tokenizer.ggml.tokens")
    assert tokens[8153] == "<|endoftext|>"
    assert kinds[8153] == TokenType.CONTROL
    assert tokens[8154] == " " * 31
    assert kinds[8154] == TokenType.USER_DEFINED
    assert tokens[8192:8195] == ["<mask_1>", "<sep>", "<eom>"]
    assert set(kinds[8192:8195]) == {TokenType.CONTROL}
    assert set(kinds[8195:]) == {TokenType.UNUSED}
    assert len(tokens) == len(kinds) == 8200


def test_ids_without_text_are_marked_as_unused(tmp_path: Path) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    kinds = GGUFReader(exported(folder, tmp_path / "m.gguf")).fields["tokenizer.ggml.token_type"].contents()
    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    assert size < 600
    assert set(kinds[size:]) == {TokenType.UNUSED}


def test_the_note_says_how_the_tokens_differ(tmp_path: Path) -> None:
    assert export_gguf(open_source(locate.resolve(NANO)), tmp_path / "nano.gguf") == LONG_NUMBERS
    folder = with_gpt2_words(tmp_path / "codegen")
    assert export_gguf(open_source(locate.resolve(str(folder))), tmp_path / "other.gguf") == ""


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("mine")
    with pytest.raises(CheckpointError, match="exists; name a new file"):
        exported(NANO, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_text() == "mine"


def test_nothing_is_left_of_a_file_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    target = tmp_path / "new" / "m.gguf"
    with pytest.raises(CheckpointError, match="lacks the weights"):
        exported(folder, target)
    assert list(target.parent.iterdir()) == []
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match="GB free"):
        exported(NANO, target)
    assert list(target.parent.iterdir()) == []


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="can't be written to"):
        exported(NANO, tmp_path / "file" / "m.gguf")


def test_a_tokenizer_that_llama_cpp_does_not_know(tmp_path: Path) -> None:
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    split = pre_tokenizers.Split(" ", "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="can't split words"):
        exported(folder, tmp_path / "m.gguf")


def test_only_one_tensor_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of a tensor are read when it is its turn, after the report of the one before."""
    folder = save(tmp_path / "codegen", TinyCodeGen().build())
    source = open_source(locate.resolve(str(folder)))
    events: list[str] = []
    read = source.weights.read

    def noted(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        events.append("read")
        return read(name, shape)

    monkeypatch.setattr(type(source.weights), "read", lambda _, name, shape: noted(name, shape))
    export_gguf(source, tmp_path / "m.gguf", report=lambda done, total: events.append("written"))
    assert "read,read" not in ",".join(events)
