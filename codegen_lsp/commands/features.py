"""`codegen-lsp features`: write vectors that describe files, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codegen_lsp.commands.engines import embed, run
from codegen_lsp.commands.options import EngineChoice, Layer, Pooling, with_options
from codegen_lsp.commands.terminal import say


@with_options
def features(
    files: Annotated[list[Path], typer.Argument(help="Files to embed, each as one text.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write: names, features, model.")],
    engine: EngineChoice,
    layer: Layer = -1,
    pooling: Pooling = "mean",
    normalize: Annotated[bool, typer.Option(help="Scale every vector to length 1.")] = True,
) -> None:
    """Write the features of files to a .npz file, which numpy reads."""
    from codegen_lsp.evals.harness.files import read_text

    texts = [read_text(path) for path in files]
    options = {"layer": layer, "pooling": pooling, "normalize": normalize}
    vectors, model = run(embed(texts, engine, options))
    import numpy

    if out.suffix != ".npz":
        out = out.with_name(out.name + ".npz")
    array = numpy.asarray(vectors, dtype=numpy.float32)
    numpy.savez_compressed(out, names=numpy.asarray([str(f) for f in files]), features=array, model=model)
    say(f"{out}: {array.shape[0]} × {array.shape[1]} features of {model}")
