"""`codegen-lsp models export`: write a CodeGen model for engines that don't know CodeGen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from codegen_lsp.commands.options import AllowPickle, RevisionOption
from codegen_lsp.commands.terminal import bytes_written, say

QUANTIZATIONS = ("f16", "q8_0", "q4_0")


def export(
    name: Annotated[str, typer.Argument(help="A CodeGen model: nano, 350M-mono ... 16B-nl, or a folder.")],
    output: Annotated[Path, typer.Argument(help="A new folder (phi) or a new file (gguf).")],
    to: Annotated[str, typer.Option("--to", help="phi (vLLM, SGLang) or gguf (llama.cpp, Ollama).")],
    quantize: Annotated[
        str | None, typer.Option(help="Number format in a GGUF file: f16, q8_0 or q4_0; f16 by default.")
    ] = None,
    revision: RevisionOption = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Write a CodeGen model for engines that don't know CodeGen: the same weights, as a Phi model."""
    _check_export(to, quantize)
    from codegen_lsp.engine.checkpoints import locate
    from codegen_lsp.engine.export.as_phi import open_source
    from codegen_lsp.engine.export.gguf_file import export_gguf
    from codegen_lsp.engine.export.phi import export_phi
    from codegen_lsp.wire.config import expanded

    target, note = expanded(output).absolute(), ""
    source = open_source(locate.resolve(name, revision), allow_pickle=allow_pickle)
    with bytes_written(f"writing {source.name}") as report:
        if to == "phi":
            export_phi(source, target, report)
        else:
            note = export_gguf(source, target, quantize or "f16", report)
    if note:
        say(f"note: {note}", file=sys.stderr)
    say(target)


def _check_export(to: str, quantize: str | None) -> None:
    from codegen_lsp.wire import extras
    from codegen_lsp.wire.config import ConfigError

    if to not in ("phi", "gguf"):
        raise ConfigError(f"--to must be phi or gguf, got {to!r}")
    if to == "phi" and quantize is not None:
        raise ConfigError("--quantize requires --to gguf; a Phi folder keeps the checkpoint's number format")
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise ConfigError(f"--quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}")
    if to == "gguf":
        extras.require("gguf")
