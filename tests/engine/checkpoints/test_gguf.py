"""A GGUF file is a model like any other: a small one that is written here, and files that are wrong."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from support.checkpoints import make_tokenizer
from support.local import ask, load_model, reference
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from codegen_lsp.commands import doctor
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.checkpoints.locate import locate, resolve
from codegen_lsp.engine.checkpoints.plan import plan
from codegen_lsp.wire.config import EngineConfig

SIZE = 600


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a test."""
    monkeypatch.setenv("CODEGEN_LSP_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def write(
    path: Path, *, kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32, **changes: Any
) -> Path:
    """A small Llama of random weights; `changes` replaces values of its description, None removes them."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": SIZE}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.25}
    weights = LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=True)).state_dict()
    writer = gguf.GGUFWriter(path, changes.pop("architecture", "llama"))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if kind.name == "F32" else gguf.LlamaFileType.MOSTLY_Q8_0)
    describe(writer, changes)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    for name, tensor in weights.items():
        if name != "lm_head.weight":
            new = names.get_name(name, try_suffixes=(".weight",))
            assert new is not None
            used = kind if tensor.dim() > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(new, gguf.quants.quantize(tensor.numpy(), used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def describe(writer: gguf.GGUFWriter, changes: dict[str, Any]) -> None:
    """The keys of a Llama with the tokenizer of the small checkpoints."""
    numbers = {"block_count": 2, "context_length": 256, "embedding_length": 64, "feed_forward_length": 128}
    heads = {"attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": 16}
    for name, value in (numbers | heads | changes.pop("numbers", {})).items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    parts = json.loads(make_tokenizer().backend_tokenizer.to_str())
    tokens = {i: (token, 1) for token, i in parts["model"]["vocab"].items()}
    tokens |= {t["id"]: (t["content"], 3 if t["special"] else 4) for t in parts["added_tokens"]}
    tokens |= {i: (f"[PAD{i}]", 5) for i in range(SIZE) if i not in tokens}
    merges = [m if isinstance(m, str) else " ".join(m) for m in parts["model"]["merges"]]
    writer.add_string("tokenizer.ggml.model", changes.get("model", "gpt2"))
    if pre := changes.get("pre", "gpt-2"):
        writer.add_string("tokenizer.ggml.pre", pre)
    writer.add_token_list([tokens[i][0] for i in range(SIZE)])
    writer.add_token_types([tokens[i][1] for i in range(SIZE)])
    writer.add_token_merges(merges)
    writer.add_uint32("tokenizer.ggml.eos_token_id", 0)
    writer.add_uint32("tokenizer.ggml.bos_token_id", 0)


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0])
def test_it_computes_what_transformers_computes(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    path = write(tmp_path / "m.gguf", kind=kind)
    model = load_model(path)
    assert model.context == 256
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    tokens = model.vocabulary.encode("def add(a, b):\n    return a")
    with torch.inference_mode():
        logits = theirs(torch.tensor([tokens])).logits
        ours = model.module(torch.tensor([tokens])).logits
    closeness = 1e-6 if kind.name == "F32" else 1e-2
    assert float((logits - ours).abs().max()) <= closeness * float(logits.abs().max())
    model.module = theirs
    spoken = reference(model, tokens, 12)
    assert ask(load_model(path), tuple(tokens), max_tokens=12).text == b"".join(
        map(model.vocabulary.output_bytes, spoken)
    ).decode(errors="replace")


def test_its_tokens_are_those_of_its_tokenizer(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "m.gguf"))
    for text in (
        "def f(x):\n    return x  # é\n",
        "if a:\n\t\tb = 12345",
        "x" + " " * 40 + "y",
    ):
        assert model.vocabulary.encode(text) == make_tokenizer().encode(text)
    assert model.vocabulary.ends == {0}
    assert Path(model.tokenizer_file).name == "tokenizer.json"


def test_digits_are_apart_where_the_file_says_so(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "m.gguf", pre="starcoder"))
    assert model.vocabulary.tokenizer.encode("x = 12345").tokens[-5:] == list("12345")


def test_it_is_converted_once_and_again_when_it_changes(tmp_path: Path, models: Path) -> None:
    path = write(tmp_path / "m.gguf")
    seen: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        seen.append(f"{what} {done}/{total}")

    first = locate(resolve(str(path)), progress=progress)
    assert "converting m.gguf 0/20" in seen
    count = len(seen)
    assert locate(resolve(str(path)), progress=progress) == first
    assert len(seen) == count
    os.utime(path, (0, 0))
    second = locate(resolve(str(path)))
    assert second != first
    assert [folder.name for folder in (models / "gguf").iterdir()] == [second.name]


def test_engines_that_convert_it_at_the_same_time_share_what_is_finished_first(
    tmp_path: Path, models: Path
) -> None:
    path = write(tmp_path / "m.gguf")
    faster: list[Path] = []

    def overtake(what: str, done: int, total: int) -> None:
        if not faster:
            faster.append(models)
            faster[0] = locate(resolve(str(path)))

    assert locate(resolve(str(path)), progress=overtake) == faster[0]
    assert list((models / "gguf").iterdir()) == [faster[0]]
    assert load_model(path).vocabulary.tokenizer.encode("x = 1").tokens


def test_its_plan_needs_no_conversion(tmp_path: Path, models: Path) -> None:
    path = write(tmp_path / "m.gguf")
    made = plan(EngineConfig(model=str(path), dtype="float32", device_map="cpu"))
    assert made.context == 256
    assert made.kv_bytes_per_token == 2 * 2 * 2 * 16 * 4
    assert not models.exists()
    (finding,) = [f for f in doctor.examine(str(path)) if f.what == str(path)]
    assert (finding.level, models.exists()) == ("ok", False)


def no_gguf(path: Path) -> None:
    path.write_bytes(b"GGML" + bytes(100))


def cut_off(path: Path) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:100_000])


def only_the_beginning(path: Path) -> None:
    path.write_bytes(b"GGUF")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (no_gguf, "is not a GGUF file"),
        (cut_off, "can't be read"),
        (only_the_beginning, "can't be read"),
        (lambda path: write(path, architecture="nonesuch"), "holds a 'nonesuch' model"),
        (lambda path: write(path, pre="nonesuch"), "tokenizer of the kind 'nonesuch'"),
        (lambda path: write(path, model="nonesuch"), "can't be read"),
        (lambda path: write(path, numbers={"block_count": 1_000_000}), "more than any model has"),
        (lambda path: write(path, numbers={"embedding_length": 128}), "m.gguf"),
        (lambda path: path.mkdir(), "m.gguf"),
    ],
)
def test_a_file_that_is_wrong(
    tmp_path: Path, models: Path, make: Callable[[Path], object], sentence: str
) -> None:
    make(tmp_path / "m.gguf")
    with pytest.raises(CheckpointError, match=sentence) as error:
        locate(resolve(str(tmp_path / "m.gguf")))
    assert "\n" not in str(error.value)
    assert not models.exists() or list((models / "gguf").iterdir()) == []


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def header(keys: int, tensors: int, body: bytes) -> Callable[[Path], None]:
    """A file with this header and a gigabyte of nothing, which takes no room on the disk."""

    def make(path: Path) -> None:
        start = b"GGUF" + struct.pack("<IQQ", 3, tensors, keys)
        key = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
        path.write_bytes(start + key + body)
        os.truncate(path, 2**30)

    return make


def value(kind: int, *numbers: int) -> bytes:
    return text(b"x") + struct.pack("<I", kind) + b"".join(struct.pack("<Q", n) for n in numbers)


def array(kind: int, count: int) -> bytes:
    return text(b"x") + struct.pack("<IIQ", 9, kind, count)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (header(2**63, 0, b""), "9223372036854775808 keys, more than any model"),
        (header(1, 2**63, b""), "9223372036854775808 tensors, more"),
        (header(2, 0, value(8, 2**63)), "9223372036854775808 bytes of a string, more"),
        (header(2, 0, value(8, 2**29)), "bytes of a string, more"),
        (header(2, 0, array(0, 2**30)), "elements, more"),
        (header(2, 0, array(8, 2**27)), "elements, more"),
        (header(2, 0, array(9, 2)), "unknown type 9"),
        (header(2, 0, value(77)), "unknown type 77"),
        (header(1, 1, text(b"token_embd.weight") + struct.pack("<I", 2**31)), "dimensions of a tensor, more"),
        (header(1, 1, text(b"t") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)), "can't be read"),
        (header(5000, 0, b""), "can't be read"),
        (lambda path: path.write_bytes(b""), "is not a GGUF file"),
        (os.mkfifo, "is a folder|is not a|m.gguf"),
    ],
)
def test_a_hostile_header_is_one_sentence_and_takes_no_memory(
    tmp_path: Path, models: Path, make: Callable[[Path], object], sentence: str
) -> None:
    make(tmp_path / "m.gguf")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=sentence) as error:
            locate(resolve(str(tmp_path / "m.gguf")))
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert not models.exists()


def test_files_that_are_not_there_or_only_a_part(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        resolve(str(tmp_path / "m.gguf"))
    path = write(tmp_path / "m-00001-of-00002.gguf")
    with pytest.raises(CheckpointError, match="llama-gguf-split --merge"):
        locate(resolve(str(path)))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match="with its weights unpacked takes"):
        locate(resolve(str(path)))


def test_a_disk_can_take_its_layers(tmp_path: Path) -> None:
    """As a folder it goes wherever other checkpoints go."""
    path = write(tmp_path / "m.gguf")
    model = load_model(
        path, device_map="sequential", max_memory={"cpu": 200_000}, offload_folder=str(tmp_path / "o")
    )
    whole = load_model(path)
    assert ask(model, "def f(", max_tokens=5).text == ask(whole, "def f(", max_tokens=5).text
