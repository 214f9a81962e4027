from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.checkpoints import TinyCodeGen, save
from support.local import ask, load_model

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER, CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES, VARIANTS
from codegen_lsp.engine.checkpoints.locate import locate, resolve
from codegen_lsp.engine.model.model import Model


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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_in_a_sentence(copy: Path, damage: str) -> None:
    act, sentence = DAMAGES[damage]
    act(copy)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_model(copy)
    assert len(str(caught.value).splitlines()) == 1


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
