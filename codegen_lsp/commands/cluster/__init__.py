"""`codegen-lsp cluster`: run a model behind Ray Serve, and plan how many replicas a team needs."""

from __future__ import annotations

import typer

from codegen_lsp.commands.cluster.deployment import config, down, status, up
from codegen_lsp.commands.cluster.planning import compare, plan

app = typer.Typer(help="Run a model on many replicas, and plan how many a team needs.", no_args_is_help=True)
for command in (up, status, down, config, plan, compare):
    app.command(command.__name__)(command)
