"""Replay files, each in a new language server with a new engine, going on from what the evaluation's folder holds."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from codegen_lsp.evals.benchmarks.replay import typist
from codegen_lsp.evals.benchmarks.replay.keyboard import ReplaySettings, Tally, Typing
from codegen_lsp.evals.harness.files import read_text, walk
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder, Log
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.headless_editor import HeadlessEditor, workspace_of
from codegen_lsp.lsp.code.languages import EXTENSIONS
from codegen_lsp.lsp.options.options import parse

LOOK = 0.5
"""Seconds that a person looks at a document that was opened, before the first key."""


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and the source files below the folders named, in order.

    Of a folder that holds Python files, only those are taken.

    Raises:
        DataError: a path is missing or not a regular file, or there is no source file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            sources = [file for file in walk(path) if file.suffix in EXTENSIONS]
            files += [file for file in sources if file.suffix == ".py"] or sources
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise DataError(f"{path} is not a regular file")
        else:
            raise DataError(f"there is no file {path}")
    if not files:
        raise DataError("there are no source files in the folders named")
    return list(dict.fromkeys(files))


async def evaluate(
    options: Mapping[str, Any],
    folder: Folder,
    settings: ReplaySettings,
    files: Sequence[Path],
    progress: ReportProgress,
) -> list[Tally]:
    """Type the files that the folder doesn't hold yet; return a tally for each file.

        OUT/files.jsonl       {"file", "tally"}

    Raises:
        SessionError: the language server did not start, or it ended.
        DataError: a file can't be read.
    """
    log = folder.log("files")
    tallies = {file: _tally(log, tally) for file, tally in log.rows(("file", str), ("tally", dict))}
    progress(len(tallies), len(files))
    for path in files:
        if str(path) in tallies:
            continue
        # A new server and a new engine for each file, so that no cache of one file helps another.
        async with _session(options, workspace_of(path)) as (editor, metrics):
            before = await metrics()
            tallies[str(path)] = tally = await _type_file(editor, path, settings)
            tally.prefilled, tally.cached = _difference(before, await metrics())
        log.append({"file": str(path), "tally": asdict(tally)})
        progress(len(tallies), len(files))
    return [tallies[str(path)] for path in files]


def _tally(log: Log, values: Mapping[str, Any]) -> Tally:
    names = {field.name: field.type for field in fields(Tally)}
    kinds: dict[str, Any] = {
        "int": int,
        "str": str,
        "float": (int, float),
        "list[float]": list,
        "list[list[float]]": list,
        "float | None": (int, float, type(None)),
    }
    if names.keys() != values.keys() or not all(
        isinstance(values[n], kinds[str(t)]) for n, t in names.items()
    ):
        raise DataError(f"{log.path} holds a tally that is not of this evaluation; use another --out")
    return Tally(**values)


async def _type_file(editor: HeadlessEditor, path: Path, settings: ReplaySettings) -> Tally:
    text = await asyncio.to_thread(read_text, path)
    seed = f"{settings.seed}:{path.name}"
    try:
        draft = typist.draft(text, settings.characters, settings.gaps, seed)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error
    typing = Typing(editor, path, draft, settings, seed)
    await asyncio.sleep(LOOK)
    return await typing.run()


Counters = tuple[float, float] | None
"""Prefilled and cached tokens."""


@asynccontextmanager
async def _session(options: Mapping[str, Any], root: Path) -> AsyncIterator[tuple[HeadlessEditor, Any]]:
    """Start a language server; yield it when it is ready, and a way to read its engine's counters."""
    from codegen_lsp.wire.client import HttpEngineClient
    from codegen_lsp.wire.config import socket_path

    with tempfile.TemporaryDirectory(prefix="codegen-replay-") as runtime:
        environment = os.environ | {"CODEGEN_LSP_RUNTIME_DIR": runtime}
        server = options.get("server")
        if server:
            engine = HttpEngineClient(url=str(server), token=str(options.get("token") or ""))
        else:
            name = socket_path(parse(dict(options))[0].engine_config()).name
            engine = HttpEngineClient(socket=Path(runtime, name))

        async def counters() -> Counters:
            try:
                return _counters(await engine.metrics())
            except Exception:  # servers of others have no such metrics
                return None

        try:
            async with HeadlessEditor(options, root=root, env=environment) as editor:
                await editor.ready()
                yield editor, counters
        finally:
            if not server:
                await _stop(engine)
            await engine.aclose()


async def _stop(engine: Any) -> None:
    from codegen_lsp.wire.errors import WireError

    try:
        await engine.shutdown()
        for _ in range(100):
            await engine.health()
            await asyncio.sleep(0.1)
    except WireError:
        return


def _counters(metrics: str) -> Counters:
    """Return prefilled and cached tokens from the engine's metrics; None if it does not count them."""
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    prefilled, cached = (values.get(f"codegen_{kind}_tokens_total") for kind in ("prefill", "cached"))
    return None if prefilled is None or cached is None else (prefilled, cached)


def _difference(before: Counters, after: Counters) -> tuple[float | None, float | None]:
    if before is None or after is None:
        return None, None
    return after[0] - before[0], after[1] - before[1]


def settings_of(settings: ReplaySettings) -> dict[str, Any]:
    """Return the settings as the evaluation's folder stores them."""
    return asdict(settings)
