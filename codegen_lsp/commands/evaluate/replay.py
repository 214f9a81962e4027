"""`codegen-lsp eval replay`: type real files through the real language server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codegen_lsp import __version__
from codegen_lsp.commands.engines import run
from codegen_lsp.commands.evaluate.bench import Out, ReportAsJson, finish
from codegen_lsp.commands.options import EngineChoice, Seed, absolute, with_options
from codegen_lsp.commands.terminal import progress_bar
from codegen_lsp.wire.fill.formats import FillMode

if TYPE_CHECKING:
    import psutil

    from codegen_lsp.evals.benchmarks.replay import TypingTeam


@dataclass(frozen=True)
class TeamOptions:
    """Many people at once."""

    clients: Annotated[
        int, typer.Option(help="Language servers that type at once, each its own file, into --server.", min=1)
    ] = 1
    seconds: Annotated[float, typer.Option(help="Time for which several clients type.", min=1)] = 60.0
    token_file: Annotated[
        Path | None, typer.Option(help="File with the bearer tokens of the clients, one a line.")
    ] = None

    def team(self, server: str | None) -> TypingTeam | None:
        """Return the team; None if one person types.

        Raises:
            ConfigError: there is no server for a team, or its tokens can't be read.
        """
        from codegen_lsp.evals.benchmarks.replay import TypingTeam
        from codegen_lsp.wire.config import ConfigError, expanded

        if self.clients == 1:
            return None
        if server is None:
            raise ConfigError(
                "--clients needs --server: each language server would start an engine of its own"
            )
        try:
            lines = expanded(self.token_file).read_text("utf-8").split() if self.token_file else []
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"the tokens in {self.token_file} can't be read: {error}") from error
        return TypingTeam(self.clients, self.seconds, tuple(lines), _cluster_processes)


def _cluster_processes() -> list[psutil.Process]:
    """Return the processes of the cluster that `cluster up` has started on this machine; none if there is none."""
    from codegen_lsp.cluster import head

    ray = head.running()
    return ray.processes if ray is not None else []


@with_options
def replay(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of source files.")],
    engine: EngineChoice,
    team_options: TeamOptions,
    out: Out = None,
    characters: Annotated[int, typer.Option(help="Characters to type in each file.", min=20)] = 400,
    gaps: Annotated[int, typer.Option(help="Places in each file where they are typed.", min=1)] = 3,
    pace: Annotated[
        float,
        typer.Option(help="0 waits for every answer; 1 types as fast as a person; 2 half as fast.", min=0),
    ] = 0.0,
    within: Annotated[
        float, typer.Option(help="Milliseconds after which an answer is not seen; 0 sees all.", min=0)
    ] = 0.0,
    files: Annotated[int, typer.Option(help="Number of files, from the first; 0 for all.", min=0)] = 0,
    other_files: Annotated[
        FillMode, typer.Option(help="Show the model what other files say.", show_choices=True)
    ] = "auto",
    fill_in_the_middle: Annotated[
        FillMode, typer.Option(help="Give the model the text after the cursor.", show_choices=True)
    ] = "auto",
    seed: Seed = 0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Record the requests to the engine, for cluster plan --traces.")
    ] = False,
    as_json: ReportAsJson = False,
) -> None:
    """Type real files through the real language server: keystrokes saved, latencies, cache hits."""
    from codegen_lsp.evals.benchmarks import replay as benchmark
    from codegen_lsp.evals.harness.records import Folder

    settings = benchmark.ReplaySettings(
        characters=characters, gaps=gaps, pace=pace, within=within, seed=seed, trace=trace
    )
    chosen = [path.absolute() for path in benchmark.find_files(paths)][: files or None]
    named = {"model": absolute(engine.model), "server": engine.server, "token": engine.token}
    options = {name: value for name, value in named.items() if value is not None}
    options["otherFiles"] = other_files
    options["fillInTheMiddle"] = fill_in_the_middle
    stored = benchmark.settings_of(settings) | {
        "other_files": other_files,
        "fill_in_the_middle": fill_in_the_middle,
    }
    team = team_options.team(engine.server)
    stored |= {"clients": team.clients, "seconds": team.seconds} if team else {}
    source = {"model": engine.model, "server": engine.server}
    folder_path = out or Path("eval-replay")

    async def work() -> dict[str, Any]:
        with Folder(folder_path, source | stored) as folder, progress_bar("files") as progress:
            about = source | {"server": engine.server or "local", "version": __version__, "settings": stored}
            if team is None:
                tallies = await benchmark.evaluate(options, folder, settings, chosen, progress)
            else:
                tallies, figures = await benchmark.type_together(
                    options, folder, settings, chosen, team, progress
                )
                about |= {"team": figures}
            return benchmark.write_report(folder, tallies, about)

    finish(run(work()), folder_path, as_json)
