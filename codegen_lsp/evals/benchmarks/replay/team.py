"""Many people type at once, each in a language server of their own, and all of these ask one server.

Each of them opens its file, and one request reads it, before the first key is pressed.

OUT/requests.jsonl      {"client", "at", "latency_ms", "prompt", "unread", "written", "first_ms", "decode_ms",
                         "source", "reason", "message"}; only {"client", "at", "source": "late"} for a request that
                         the next key has overtaken
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from codegen_lsp.evals.benchmarks.replay import replicas, typist
from codegen_lsp.evals.benchmarks.replay.keyboard import ReplaySettings, Tally, Typing
from codegen_lsp.evals.harness.estimators import percentile
from codegen_lsp.evals.harness.files import read_text
from codegen_lsp.evals.harness.records import EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.headless_editor import HeadlessEditor, workspace_of

STARTING = 2
"""Number of language servers that start at the same time."""
LOST_SECONDS = 30.0
"""A request without an answer after this time is lost."""
LATE = "late"
"""Source of a row about a request that the next key has overtaken."""
RESTING_SECONDS = 5.0
"""Seconds before the first key for which processors are watched, to tell what typing takes from the rest."""
FAILURES = ("engine-unavailable", "engine-error", "busy", "loading")
"""Reasons that say that the server did not answer."""


@dataclass(frozen=True)
class TypingTeam:
    """How many people type, and for how long."""

    clients: int = 1
    seconds: float = 60.0
    """Time after which no key is pressed."""
    tokens: tuple[str, ...] = ()
    """A bearer token for each client, from the first again if there are fewer."""
    servers: Callable[[], Sequence[psutil.Process]] = list
    """Returns the processes of the server that run on this machine: their work is counted too."""


@dataclass
class _Person:
    """One client: its editor, and what became of its requests."""

    number: int
    seed: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    began: float = 0.0
    typing: Typing | None = None
    lost: int = 0

    async def open(
        self, editor: HeadlessEditor, path: Path, draft: typist.Draft, settings: ReplaySettings
    ) -> None:
        """Open the file, and wait until the server has read it."""
        self.typing = Typing(
            editor, path, draft, settings, self.seed, on_request=self._note, on_late=self._note_late
        )
        await self.typing.read()

    async def type(self, began: float, seconds: float) -> Tally:
        """Type from `began` on for `seconds`."""
        assert self.typing is not None
        self.began = began
        await asyncio.sleep(random.Random(self.seed).uniform(0, seconds / 6))
        tally = await self.typing.run(began + seconds)
        self.lost = await self.typing.unanswered(LOST_SECONDS)
        return tally

    def _note(self, request: Mapping[str, Any], milliseconds: float) -> None:
        sent = round(time.perf_counter() - self.began - milliseconds / 1e3, 4)
        self.rows.append({"client": self.number, "at": sent} | _row(request, milliseconds))

    def _note_late(self, sent: float) -> None:
        self.rows.append({"client": self.number, "at": round(sent - self.began, 4), "source": LATE})


async def type_together(
    options: Mapping[str, Any],
    folder: Folder,
    settings: ReplaySettings,
    files: Sequence[Path],
    team: TypingTeam,
    progress: ReportProgress,
) -> tuple[list[Tally], dict[str, Any]]:
    """Let a team type; return a tally for each person, and the figures of all requests.

    Raises:
        SessionError: a language server did not start, or it ended.
        EvaluationError: the folder holds such a replay already, or no file has anything to type.
    """
    log = folder.log("requests")
    if log.records:
        raise EvaluationError(f"{folder.path} holds a replay of a team already; use another --out")
    async with AsyncExitStack() as stack:
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="codegen-replay-"))
        work = _work(files, settings, team.clients)
        people = await _start(options, runtime, work, settings, stack, team, progress)
        token = team.tokens[0] if team.tokens else str(options.get("token") or "")
        before = await replicas.counters(str(options["server"]), token)
        resting = await _resting_processors(team)
        began, busy = time.perf_counter(), _processor_seconds(team)
        tallies = list(await asyncio.gather(*(person.type(began, team.seconds) for person in people)))
        busy = _processor_seconds(team) - busy - resting * (time.perf_counter() - began)
        after = await replicas.counters(str(options["server"]), token)
    rows = sorted((row for person in people for row in person.rows), key=lambda row: row["at"])
    log.append(*rows)
    figures = _figures([row for row in rows if row["source"] != LATE], team) | {
        "processor_seconds": round(max(0.0, busy), 2),
        "resting_processors": round(resting, 3),
        "late": sum(tally.late for tally in tallies),
        "lost": sum(person.lost for person in people),
        "replicas": len(after),
        "cached_share": replicas.cached_share(before, after),
    }
    return tallies, figures


def _work(
    files: Sequence[Path], settings: ReplaySettings, clients: int
) -> list[tuple[Path, str, typist.Draft]]:
    """Return each person's file, the seed of its typing, and the draft: of the files that have something to type.

    Raises:
        EvaluationError: none has.
    """
    texts = {path: read_text(path) for path in files}
    for path in files:
        try:
            typist.draft(texts[path], settings.characters, settings.gaps, settings.seed)
        except EvaluationError:
            del texts[path]
    if not texts:
        raise EvaluationError("no file holds a function or block to type; choose other files")
    paths = list(texts)
    work = []
    for number in range(clients):
        path = paths[number % len(paths)]
        seed = f"{settings.seed}:{number}:{path.name}"
        work.append((path, seed, typist.draft(texts[path], settings.characters, settings.gaps, seed)))
    return work


async def _start(
    options: Mapping[str, Any],
    runtime: str,
    work: Sequence[tuple[Path, str, typist.Draft]],
    settings: ReplaySettings,
    stack: AsyncExitStack,
    team: TypingTeam,
    progress: ReportProgress,
) -> list[_Person]:
    """Start a language server for each person, a few at a time, and wait until all have read their files."""
    environment = os.environ | {"CODEGEN_LSP_RUNTIME_DIR": runtime}
    gate = asyncio.Semaphore(STARTING)
    ready = 0

    async def start(number: int) -> _Person:
        nonlocal ready
        path, seed, draft = work[number]
        person = _Person(number, seed)
        token = {"token": team.tokens[number % len(team.tokens)]} if team.tokens else {}
        async with gate:
            editor = HeadlessEditor({**options, **token}, root=workspace_of(path), env=environment)
            await stack.enter_async_context(editor)
            await editor.ready()
            await person.open(editor, path, draft, settings)
        ready += 1
        progress(ready, team.clients)
        return person

    return list(await asyncio.gather(*map(start, range(team.clients))))


async def _resting_processors(team: TypingTeam) -> float:
    """Return how many processors work for the same processes while no key is pressed."""
    began, busy = time.perf_counter(), _processor_seconds(team)
    await asyncio.sleep(RESTING_SECONDS)
    return (_processor_seconds(team) - busy) / (time.perf_counter() - began)


def _processor_seconds(team: TypingTeam) -> float:
    """Return the seconds that processors have worked for this process, the language servers and their server."""
    me = psutil.Process()
    return sum(_seconds_of(process) for process in [me, *me.children(recursive=True), *team.servers()])


def _seconds_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _row(request: Mapping[str, Any], milliseconds: float) -> dict[str, Any]:
    usage, timings = request["usage"], request["timings"]
    return {
        "latency_ms": round(milliseconds, 2),
        "prompt": usage["prompt_tokens"],
        "unread": usage["prompt_tokens"] - usage["cached_tokens"],
        "written": usage["completion_tokens"],
        "first_ms": timings.get("prefill_ms", 0.0),
        "decode_ms": timings.get("decode_ms", 0.0),
        "source": request["source"],
        "reason": request["reason"],
        "message": request["message"],
    }


def _figures(rows: Sequence[Mapping[str, Any]], team: TypingTeam) -> dict[str, Any]:
    answered = [row for row in rows if row["source"] == "engine"]
    latencies = [row["latency_ms"] for row in answered]
    prompt, unread = (sum(row[name] for row in answered) for name in ("prompt", "unread"))
    failed = Counter(str(row["reason"]) for row in rows if row["reason"] in FAILURES)
    return {
        "clients": team.clients,
        "requests": len(rows),
        "answered": len(answered),
        "from_memory": sum(row["source"] == "memory" for row in rows),
        "reasons": dict(failed),
        "latency_ms": {
            f"p{p}": round(percentile(latencies, p), 1) if latencies else None for p in (50, 95, 99)
        },
        "cached_at_a_key_share": round(1 - unread / prompt, 4) if prompt else None,
    }
