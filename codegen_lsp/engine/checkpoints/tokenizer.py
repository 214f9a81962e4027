"""Check and load tokenizers. Imports no torch, except to load one as transformers does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints.checkpoint import Checkpoint, CheckpointError

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
            Tokenizer.from_file(str(path)).encode(SAMPLE)


def load_tokenizer(checkpoint: Checkpoint, folder: Path) -> Any:
    """Return transformers' tokenizer of a checkpoint, whose `backend_tokenizer` is that of tokenizers.

    Raises:
        CheckpointError: it can't be loaded, or is not of the fast kind.
    """
    from transformers import AutoTokenizer

    with tokenizer_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.encode(SAMPLE)
    if backend is None:
        raise CheckpointError(f"{checkpoint.name} has no fast tokenizer (tokenizer.json)")
    return tokenizer


@contextlib.contextmanager
def tokenizer_errors(folder: Path) -> Iterator[None]:
    """Turn everything that tokenizers raises, panics included, into a CheckpointError."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the tokenizer in {folder} can't be loaded: {text}") from None


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
