"""`codegen-lsp eval`: run the field's benchmarks and a typing replay, one module each."""

from __future__ import annotations

import typer

from codegen_lsp.commands.evaluate.crossfile import crossfile
from codegen_lsp.commands.evaluate.humaneval import humaneval
from codegen_lsp.commands.evaluate.infilling import infilling
from codegen_lsp.commands.evaluate.mtpb import mtpb
from codegen_lsp.commands.evaluate.passthrough import passthrough
from codegen_lsp.commands.evaluate.replay import replay

app = typer.Typer(
    help="Evaluate a model on the field's benchmarks and on a person's typing.", no_args_is_help=True
)
for command in (humaneval, mtpb, infilling, replay, passthrough, crossfile):
    app.command(command.__name__)(command)
