"""Where a checkpoint's files are, and the error for one that can't be used. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codegen_lsp.wire.errors import CodegenError

NANO = "nano"
"""The name of the bundled model."""

NANO_FOLDER = Path(__file__).resolve().parents[2] / "nano" / "model"

CheckpointKind = Literal["bundled", "hub", "folder", "gguf"]

LoadReport = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and the total (0: unknown)."""


class CheckpointError(CodegenError):
    """A checkpoint can't be used; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The name of a model, and where its files are or can be downloaded from."""

    name: str
    """The name that users see: `nano`, `350M-mono`, `owner/name`, or the path of a folder or a GGUF file."""
    kind: CheckpointKind
    source: str
    """The name on the hub, the folder, or the GGUF file."""
    revision: str | None = None

    @property
    def is_natural_language(self) -> bool:
        """Whether this is one of CodeGen's NL checkpoints, which are sampled with plain GPT-2 tokens."""
        return re.search(r"codegen-(350m|2b|6b|16b)-nl\b", Path(self.source).name, re.IGNORECASE) is not None

    @property
    def aliases(self) -> frozenset[str]:
        """Names in lower case by which a request may call this model."""
        names = {self.name, self.source, Path(self.source).name}
        return frozenset(n.lower() for n in names)
