from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import ask, load_model
from support.samples import PADDED

from codegen_lsp.commands import doctor
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES, VARIANTS
from codegen_lsp.engine.checkpoints.locate import locate, resolve
from codegen_lsp.engine.checkpoints.plan import plan
from codegen_lsp.engine.model.model import Model
from codegen_lsp.wire.config import EngineConfig


@pytest.fixture
def copy(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the small checkpoint, to be damaged."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_twelve_names_in_any_spelling(size: str, variant: str) -> None:
    name = f"{size}-{variant}"
    hub = f"Salesforce/codegen-{size}-{variant}"
    for spelling in (name, name.lower(), name.upper(), f"codegen-{name}", hub, hub.lower(), f" {name} "):
        checkpoint = resolve(spelling)
        assert (checkpoint.name, checkpoint.kind, checkpoint.source) == (name, "hub", hub)
    assert resolve(name).is_natural_language == (variant == "nl")
    assert {name.lower(), hub.lower()} <= resolve(name).aliases


def test_nano_is_bundled_in_any_spelling() -> None:
    for spelling in ("nano", "NANO", " Nano "):
        assert resolve(spelling).kind == "bundled"
    assert locate(resolve("nano")) == NANO_FOLDER


def test_folders(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.parent)
    monkeypatch.setenv("HOME", str(copy.parent))
    for spelling in (str(copy), "copy", "./copy", "~/copy", "copy/", "../" + copy.parent.name + "/copy"):
        assert locate(resolve(spelling)) == copy


def test_a_folder_with_a_short_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2B-mono").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("2B-mono").kind == "folder"


def test_other_hub_names() -> None:
    checkpoint = resolve("bigcode/tiny_starcoder_py", "v1")
    assert (checkpoint.kind, checkpoint.source, checkpoint.revision) == (
        "hub",
        "bigcode/tiny_starcoder_py",
        "v1",
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("./here", "there is no folder"),
        ("~/nowhere-at-all", "there is no folder"),
        ("350M", "not a folder or a known model"),
        ("350M-python", "not a folder or a known model"),
        ("a b/c", "neither a folder nor a name"),
        ("ümlaut/x", "neither a folder nor a name"),
        ("owner/name/more", "there is no folder"),
    ],
)
def test_names_that_mean_nothing(name: str, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        resolve(name)


def test_a_file_is_no_checkpoint(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    with pytest.raises(CheckpointError, match="is a file"):
        resolve("config.json")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def in_place(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def change(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_tokenizer(folder: Path, **fields: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
"""It names a token that it doesn't have."""


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "can't be read"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "does not say which kind"),
    "config names nothing": (lambda f: (f / "config.json").write_text("{}"), "does not say which kind"),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "holds no tokenizer"),
    "tokenizer is no JSON": (
        lambda f: (f / "tokenizer.json").write_text("{"),
        "tokenizer in .* can't be loaded",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    "weights cut off": (lambda f: cut(f / "model.safetensors"), "corrupt or cut off"),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "corrupt or cut off"),
    "weights are text": (lambda f: (f / "model.safetensors").write_text("hello " * 99), "corrupt or cut off"),
    "another kind of model": (
        lambda f: (f / "config.json").write_text(json.dumps({"model_type": "vit"})),
        "not a causal language model",
    ),
    "an unknown kind of model": (
        lambda f: (f / "config.json").write_text(json.dumps({"model_type": "codegen9"})),
        "does not support the kind of model",
    ),
    "code of its own": (
        lambda f: (f / "config.json").write_text(
            json.dumps(
                {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
            )
        ),
        "never runs|does not support",
    ),
}


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "config is too deep": (
        lambda f: (f / "config.json").write_text(
            '{"model_type": "codegen", "x": ' + "[" * 99_999 + "]" * 99_999 + "}"
        ),
        "nested too deeply",
    ),
    "generation config is too deep": (
        lambda f: (f / "generation_config.json").write_text('{"x": ' + "[" * 99_999 + "]" * 99_999 + "}"),
        "nested too deeply",
    ),
    "config is a pipe": (lambda f: in_place(f / "config.json", os.mkfifo), "not a regular file"),
    "config is endless": (lambda f: in_place(f / "config.json", device), "not a regular file"),
    "tokenizer is a pipe": (lambda f: in_place(f / "tokenizer.json", os.mkfifo), "not a regular file"),
    "tokenizer settings are endless": (
        lambda f: in_place(f / "tokenizer_config.json", device),
        "not a regular file",
    ),
    "weights are a pipe": (lambda f: in_place(f / "model.safetensors", os.mkfifo), "not a regular file"),
    "weights are endless": (lambda f: in_place(f / "model.safetensors", device), "not a regular file"),
    "a billion layers": (lambda f: change(f, n_layer=10**9), "'n_layer' is 1e\\+09, more than any model"),
    "a billion positions": (lambda f: change(f, n_positions=10**9), "'n_positions' is 1e\\+09"),
    "tables of a terabyte": (lambda f: change(f, n_positions=2**26), "more than any model has"),
    "fewer layers than none": (lambda f: change(f, n_layer=-1), "'n_layer' is -1, less than any model has"),
    "a billion labels": (lambda f: change(f, num_labels=10**9), "'num_labels' is 1e\\+09, more than any"),
    "a billion blocks": (lambda f: change(f, text_config={"num_blocks": 10**9}), "'num_blocks' is 1e\\+09"),
    "a billion experts": (lambda f: change(f, text_config={"num_experts": 10**9}), "'num_experts' is"),
    "a kernel on the hub": (
        lambda f: change(f, _attn_implementation="kernels-community/flash-attn"),
        "code from the hub",
    ),
    "a kernel in a part": (
        lambda f: change(f, text_config={"attn_implementation": "owner/kernel@main"}),
        "code from the hub",
    ),
    "tokenizer panics when it is read": (
        lambda f: change_tokenizer(f, normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "tokenizer in .* can't be loaded",
    ),
    "tokenizer doubles a text for ever": (
        lambda f: change_tokenizer(
            f,
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 64}] * 8,
            },
        ),
        "makes a text more than 1000 times as long",
    ),
    "tokenizer puts gigabytes before a text": (
        lambda f: change_tokenizer(f, normalizer={"type": "Prepend", "prepend": "x" * 10**6}),
        "makes a text more than 1000 times as long",
    ),
    "tokenizer is too deep": (
        lambda f: (f / "tokenizer.json").write_text('{"x": ' + "[" * 99_999 + "]" * 99_999 + "}"),
        "nested too deeply|can't be loaded",
    ),
    "tokenizer panics when it is used": (
        lambda f: change_tokenizer(f, post_processor=TEMPLATE),
        "tokenizer in .* can't be loaded",
    ),
}
"""What somebody may put into a checkpoint on purpose."""


def test_a_plan_of_an_inconsistent_configuration_is_one_sentence(copy: Path) -> None:
    change(copy, sliding_window="")
    with pytest.raises(CheckpointError, match="configuration is wrong"):
        plan(EngineConfig(model=str(copy)))


def test_a_tokenizer_that_pads_a_line_to_two_billion_tokens_pads_nothing(copy: Path) -> None:
    """The process would abort."""
    change_tokenizer(copy, padding=PADDED)
    assert len(load_model(copy).vocabulary.encode("x = 1")) < 10


@pytest.mark.parametrize("damage", DAMAGES | HOSTILE)
def test_a_damaged_checkpoint_is_told_in_a_sentence(copy: Path, damage: str) -> None:
    act, sentence = (DAMAGES | HOSTILE)[damage]
    act(copy)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_model(copy)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("damage", HOSTILE)
def test_plan_and_doctor_say_what_the_engine_says(
    copy: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    act, sentence = HOSTILE[damage]
    act(copy)
    (finding,) = doctor._checkpoint(str(copy))
    assert finding.level == "wrong"
    assert re.search(sentence, finding.seen)
    if "generation" not in damage:
        with pytest.raises(CheckpointError, match=sentence):
            plan(EngineConfig(model=str(copy)))
    assert capfd.readouterr().err == "", "a panic prints itself"


def test_an_index_names_files_elsewhere(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", TinyCodeGen().build(), max_shard_size="100KB")
    path = folder / "model.safetensors.index.json"
    for name in ("../secret.safetensors", "/etc/passwd", "a/../../b.safetensors", "tokenizer.json", 7):
        index = json.loads(path.read_text())
        index["weight_map"] = dict.fromkeys(index["weight_map"], name)
        path.write_text(json.dumps(index))
        for use in (load_model, lambda folder: plan(EngineConfig(model=str(folder)))):
            with pytest.raises(CheckpointError, match=r"outside of|can't be read"):
                use(folder)


def test_a_shard_is_missing(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", TinyCodeGen().build(), max_shard_size="100KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of \d+ shards \(model-00002"):
        load_model(folder)


def test_the_index_is_no_index(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", TinyCodeGen().build(), max_shard_size="100KB")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')
    with pytest.raises(CheckpointError, match="can't be read"):
        load_model(folder)


def test_weights_that_the_configuration_asks_for_are_missing(copy: Path) -> None:
    """transformers would make them up at random, and go on."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"n_layer": 3}))
    with pytest.raises(CheckpointError, match="lacks weights"):
        load_model(copy)


def test_weights_of_another_size(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 700}))
    with pytest.raises(CheckpointError):
        load_model(copy)


def test_pickles_are_refused_unless_they_are_trusted(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save(TinyCodeGen().build().state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        load_model(copy)
    assert ask(load_model(copy, allow_pickle=True), "def f(", max_tokens=3).choices


def test_a_model_that_is_not_here_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="codegen-lsp models pull 350M-mono"):
        locate(resolve("350m-mono"))


def test_the_end_of_text_comes_from_the_tokenizer(tiny: Model) -> None:
    """The configuration names id 1 as the beginning and nothing as the end, as wrong as the hub's."""
    assert tiny.module.config.bos_token_id == 1
    assert (tiny.vocabulary.start, tiny.vocabulary.ends) == (0, {0})


def test_natural_language_checkpoints_read_plain_tokens(tmp_path: Path, tiny_folder: Path) -> None:
    plain = load_model(shutil.copytree(tiny_folder, tmp_path / "codegen-350M-nl"))
    whole = load_model(tiny_folder)
    assert len(plain.vocabulary.encode("    x")) > len(whole.vocabulary.encode("    x"))
    assert plain.tokenizer_file == ""
