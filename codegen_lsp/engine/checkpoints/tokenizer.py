"""Check and load tokenizers. Imports no torch, except to load one as transformers does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints import files
from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError
from codegen_lsp.wire.errors import CodegenError

MAX_GROWTH = 1000
"""Maximum factor by which all normalizers together may make a text longer."""
SAMPLE = "def f(x):\n    return x  # \u00e9\n"


def is_panic(error: BaseException) -> bool:
    """Return whether an error is a panic of the Rust code in tokenizers, which is not an `Exception`."""
    return type(error).__name__ == "PanicException"


def check_tokenizer(folder: Path) -> None:
    """Load the `tokenizer.json` of a folder, if there is one, and tokenize a line with it.

    Raises:
        CheckpointError: the tokenizer can't be loaded, or fails.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if path.is_file():
        with tokenizer_errors(folder), _no_stderr():
            _check_growth(path)
            _try(Tokenizer.from_file(str(path)))


def load_tokenizer(checkpoint: Checkpoint, folder: Path) -> Any:
    """Return transformers' tokenizer of a checkpoint, whose `backend_tokenizer` is that of tokenizers.

    Raises:
        CheckpointError: it can't be loaded, or is not of the fast kind.
    """
    from transformers import AutoTokenizer

    with tokenizer_errors(folder):
        if (folder / "tokenizer.json").is_file():
            _check_growth(folder / "tokenizer.json")
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            _try(backend)
    if backend is None:
        raise CheckpointError(f"{checkpoint.name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _try(tokenizer: Any) -> None:
    """Tokenize a line without padding: a file may ask for two billion tokens of it, and the process would abort."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode(SAMPLE)


def _check_growth(path: Path) -> None:
    """Check that no normalizer makes a text much longer.

    Raises:
        CheckpointError: one does.
    """
    try:
        content = files.read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"the tokenizer in {path.parent} can't be loaded: {error}") from None
    growth, todo = 1, [content.get("normalizer")] if isinstance(content, dict) else []
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part
        elif isinstance(part, dict):
            texts = (part.get("content"), part.get("prepend"))
            growth *= max((len(text) for text in texts if isinstance(text, str) and text), default=1)
            todo.append(part.get("normalizers"))
        if growth > MAX_GROWTH:
            raise CheckpointError(
                f"{path} is wrong: its normalizer makes a text more than {MAX_GROWTH} times as long"
            )


def tokenizer_errors(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Turn everything that tokenizers raises, panics included, into a CheckpointError."""
    return library_errors(lambda reason: f"the tokenizer in {folder} can't be loaded: {reason}")


@contextlib.contextmanager
def library_errors(say: Callable[[str], str]) -> Iterator[None]:
    """Turn everything that a library raises, panics included, into a CheckpointError; this package's own errors pass.

    `say` returns the message for a reason, which is the start of what the library says.
    """
    try:
        yield
    except CodegenError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(say(reason)) from error


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard what is written to the standard error's file descriptor: a panic prints itself, and a backtrace."""
    saved = os.dup(2)
    with open(os.devnull, "w") as sink:  # noqa: PTH123
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
