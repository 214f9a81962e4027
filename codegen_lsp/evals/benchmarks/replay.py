"""The typing replay: a person's typing of real files through the real language server, over stdio.

At every position a suggestion is asked for, as an editor does by itself. It is accepted when it is right: when what
it writes is what the file has there, two characters at least. Else the next key is pressed. Knows LSP only through
`session.Session`, and the engine only through its metrics; `typist.py` knows what is typed and when.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from codegen_lsp.evals.benchmarks import typist
from codegen_lsp.evals.benchmarks.published import TYPING
from codegen_lsp.evals.harness import report
from codegen_lsp.evals.harness.estimators import percentile
from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder
from codegen_lsp.evals.harness.retrying_client import ReportProgress
from codegen_lsp.headless_editor import LANGUAGES, HeadlessEditor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 2
"""Characters of a suggestion that somebody would reach for."""
PATIENCE = 120.0
"""Seconds to wait for one answer where no pace is kept."""


@dataclass(frozen=True)
class ReplaySettings:
    """What makes two runs the same."""

    characters: int = 400
    """Typed in each file, about."""
    gaps: int = 3
    """Places in each file where they are typed."""
    pace: float = 0.0
    """0 waits for every answer; 1 types as fast as a person, so that late answers are not seen; 2 half as fast."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.characters < typist.MIN_GAP or self.gaps < 1 or not 0 <= self.pace < 100:
            raise EvaluationError(
                f"type at least {typist.MIN_GAP} characters in at least one place, at a pace from 0 to 100"
            )


@dataclass
class Tally:
    """What happened while one file was typed."""

    path: str
    """The file's name with the two folders above it."""
    baseline: int = 0
    """Keys that the gaps take without help; slips are not counted, here and in `pressed`."""
    pressed: int = 0
    """Keys that were pressed, accepting counted as one."""
    asked: int = 0
    shown: int = 0
    accepted: int = 0
    accepted_characters: int = 0
    late: int = 0
    """Answers that the next key did not wait for."""
    typos: int = 0
    changes: int = 0
    """Changes of the document: every key, slip, step back and accepted suggestion."""
    latencies: list[float] = field(default_factory=list)
    """Milliseconds from the change to its answer, of those that came in time."""
    prefilled: float | None = None
    """Tokens that the engine read for it; None where it has no metrics."""
    cached: float | None = None
    """Tokens that came from the engine's prefix cache."""


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the source files below the folders named, in order.

    Raises:
        DataError: a path is missing, or nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            endings = {".py"} if any(path.rglob("*.py")) else set(LANGUAGES)
            found += sorted(p for p in path.rglob("*") if p.suffix in endings and p.is_file())
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"there is no file {path}")
    if not found:
        raise DataError("there are no source files in the folders named")
    return list(dict.fromkeys(found))


class Typing:
    """One file being typed."""

    def __init__(
        self, session: HeadlessEditor, path: Path, draft: typist.Draft, settings: ReplaySettings, seed: str
    ) -> None:
        self._session = session
        self._draft = draft
        self._pace = settings.pace
        self._moves = typist.moves(seed)
        self._version = 1
        self._uri = session.open(path, draft.text)
        self.tally = Tally("/".join(path.parts[-3:]))

    async def run(self) -> Tally:
        """Fill all gaps; in the middle of the last one, a line is written above."""
        draft = self._draft
        self.tally.baseline = sum(typist.keys(gap.left) for gap in draft.gaps)
        for number in draft.order:
            gap = draft.gaps[number]
            due = len(gap.left) // 2 if number == draft.order[-1] else -1
            while gap.left:
                if draft.above is not None and len(gap.left) <= due:
                    above, draft.above = draft.above, None
                    self._insert(above.at, above.left)
                await self._position(gap)
        return self.tally

    async def _position(self, gap: typist.Gap) -> None:
        kind, seconds, wrong = next(self._moves)
        sent = time.perf_counter()
        if kind == "typo":
            self.tally.typos += 1
            at = gap.at
            self._insert(at, wrong)
            await self._ask(gap.at, seconds)
            self._remove(at, at + 1)
            sent = time.perf_counter()
        items = await self._ask(gap.at, seconds, sent)
        if items:
            written = self._written(items[0], gap.at)
            if len(written) >= LEAST and gap.left.startswith(written):
                await self._accept(items[0], gap, written)
                return
        self._type(gap, typist.next_key(gap.left))
        self.tally.pressed += 1

    def _type(self, gap: typist.Gap, text: str) -> None:
        self._insert(gap.at, text)
        gap.left = gap.left[len(text) :]

    async def _accept(self, item: lsp.InlineCompletionItem, gap: typist.Gap, written: str) -> None:
        self._type(gap, written)
        self.tally.accepted += 1
        self.tally.accepted_characters += len(written)
        self.tally.pressed += 1
        if item.command is not None:
            await self._session.command_result(item.command.command, *(item.command.arguments or []))

    async def _ask(
        self, offset: int, seconds: float, sent: float | None = None
    ) -> Sequence[lsp.InlineCompletionItem]:
        sent = sent or time.perf_counter()
        line, character = self._draft.position(offset)
        answer = asyncio.ensure_future(self._session.inline(self._uri, line, character, invoked=False))
        self.tally.asked += 1
        limit = seconds * self._pace if self._pace else PATIENCE
        done, _ = await asyncio.wait({answer}, timeout=limit)
        if not done:
            self.tally.late += 1
            answer.add_done_callback(_forget)
            return []
        try:
            items = answer.result()
        except Exception:
            # A newer change overtook the request: an editor shows nothing then.
            return []
        elapsed = time.perf_counter() - sent
        self.tally.latencies.append(round(1e3 * elapsed, 3))
        self.tally.shown += bool(items)
        if self._pace and elapsed < limit:
            await asyncio.sleep(limit - elapsed)
        return items

    def _written(self, item: lsp.InlineCompletionItem, offset: int) -> str:
        """What an item would add at the cursor; nothing where it would change more than that."""
        text = self._draft.text
        insert = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
        if item.range is None:
            return insert
        start, end = (_offset(text, place) for place in (item.range.start, item.range.end))
        before, after = text[start:offset], text[offset:end]
        if not start <= offset <= end or not insert.startswith(before) or not insert.endswith(after):
            return ""
        return insert[len(before) : len(insert) - len(after)]

    def _insert(self, at: int, text: str) -> None:
        place = lsp.Position(*self._draft.position(at))
        self._draft.insert(at, text)
        self._changed(lsp.Range(place, place), text)

    def _remove(self, start: int, end: int) -> None:
        places = lsp.Range(*(lsp.Position(*self._draft.position(at)) for at in (start, end)))
        self._draft.remove(start, end)
        self._changed(places, "")

    def _changed(self, places: lsp.Range, text: str) -> None:
        self._version += 1
        self.tally.changes += 1
        self._session.change(self._uri, self._version, places, text)


def _forget(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


def _offset(text: str, position: lsp.Position) -> int:
    start = 0
    for _ in range(position.line):
        start = text.find("\n", start) + 1
    return start + position.character


async def evaluate(
    options: Mapping[str, Any],
    folder: Folder,
    settings: ReplaySettings,
    files: Sequence[Path],
    progress: ReportProgress,
) -> list[Tally]:
    """Type the files that the folder doesn't hold yet; a tally a file.

        OUT/files.jsonl       a tally a line

    Raises:
        SessionError: the language server did not start, or ended.
        DataError: a file can't be read.
    """
    log = folder.log("files")
    known = {record["file"]: Tally(**record["tally"]) for record in log.records}
    progress(len(known), len(files))
    for path in files:
        if str(path) in known:
            continue
        # A server and an engine of its own for each file: what one run leaves in caches helps no other.
        async with _session(options) as (session, metrics):
            before = await metrics()
            known[str(path)] = tally = await _type_file(session, path, settings)
            tally.prefilled, tally.cached = _difference(before, await metrics())
        log.append({"file": str(path), "tally": asdict(tally)})
        progress(len(known), len(files))
    return [known[str(path)] for path in files]


async def _type_file(session: HeadlessEditor, path: Path, settings: ReplaySettings) -> Tally:
    try:
        text = await asyncio.to_thread(path.read_text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't read {path}: {error}") from error
    seed = f"{settings.seed}:{path.name}"
    try:
        draft = typist.draft(text, settings.characters, settings.gaps, seed)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}") from error
    return await Typing(session, path, draft, settings, seed).run()


Counters = tuple[float, float] | None


@asynccontextmanager
async def _session(options: Mapping[str, Any]) -> AsyncIterator[tuple[HeadlessEditor, Any]]:
    """A language server, ready, and a way to read its engine's counters (prefilled and cached tokens)."""
    from codegen_lsp.wire.client import HttpEngineClient
    from codegen_lsp.wire.config import EngineConfig, socket_path

    with tempfile.TemporaryDirectory(prefix="codegen-replay-") as runtime:
        environment = os.environ | {"CODEGEN_LSP_RUNTIME_DIR": runtime}
        server = options.get("server")
        if server:
            engine = HttpEngineClient(url=str(server), token=str(options.get("token") or ""))
        else:
            name = socket_path(EngineConfig(model=str(options["model"]))).name
            engine = HttpEngineClient(socket=Path(runtime, name))

        async def counters() -> Counters:
            try:
                return _counters(await engine.metrics())
            except Exception:  # another server has none
                return None

        try:
            async with HeadlessEditor(options, env=environment) as session:
                await session.ready()
                yield session, counters
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
    found: dict[str, float] = {}
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name in ("codegen_prefill_tokens_total", "codegen_cached_tokens_total"):
            found[name] = float(value)
    if len(found) < 2:
        return None
    return found["codegen_prefill_tokens_total"], found["codegen_cached_tokens_total"]


def _difference(before: Counters, after: Counters) -> tuple[float | None, float | None]:
    if before is None or after is None:
        return None, None
    return after[0] - before[0], after[1] - before[1]


def summarise(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The figures of the report, over all files given."""
    total = {
        name: sum(getattr(t, name) for t in tallies)
        for name in (
            "baseline",
            "pressed",
            "asked",
            "shown",
            "accepted",
            "accepted_characters",
            "late",
            "changes",
        )
    }
    latencies = sorted(ms for t in tallies for ms in t.latencies)
    measured = [t for t in tallies if t.prefilled is not None and t.cached is not None]
    prefilled, cached = (sum(getattr(t, n) for t in measured) for n in ("prefilled", "cached"))
    changes = sum(t.changes for t in measured)

    def share(part: float, whole: float) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "files": len(tallies),
        "keystrokes_saved": share(total["baseline"] - total["pressed"], total["baseline"]),
        "shown_rate": share(total["shown"], total["asked"]),
        "accept_rate": share(total["accepted"], total["shown"]),
        "characters_per_accept": share(total["accepted_characters"], total["accepted"]),
        "late_rate": share(total["late"], total["asked"]),
        "latency_ms": {
            f"p{p}": round(percentile(latencies, p), 1) if latencies else None for p in (50, 95, 99)
        },
        "prefilled_per_keystroke": share(prefilled, changes),
        "cache_hit_rate": share(cached, cached + prefilled),
        **total,
    }


def write_report(folder: Folder, tallies: Sequence[Tally], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report's three files; the JSON's content."""
    names = list(dict.fromkeys(t.path for t in tallies))
    data: dict[str, Any] = {
        "evaluation": "replay",
        **about,
        **summarise(tallies),
        "by_file": {name: summarise([t for t in tallies if t.path == name]) for name in names},
        "published": TYPING,
    }
    latencies = sorted(ms for t in tallies for ms in t.latencies)
    report.write(folder.path, data, _page(data), lambda axes: _draw(axes, latencies))
    return data


def _page(data: Mapping[str, Any]) -> list[str]:
    head = ["", "saved", "shown", "accepted", "characters an accept", "p50 ms", "p95 ms", "p99 ms"]
    head += ["prefilled a key", "cache hits"]
    rows = [_cells("**all**", data), *(_cells(name, figures) for name, figures in data["by_file"].items())]
    pace = data["settings"]["pace"]
    waiting = (
        "every answer was waited for" if not pace else f"typed at pace {pace:g}; late answers were not seen"
    )
    return [
        f"# Typing replay: {data['model']}",
        "",
        (
            f"{data['files']} files through the language server, {data['baseline']} keys without help; "
            f"{waiting}. Saved: keys that were not pressed, of those that the text takes (accepting is one key, "
            "indentation after a line end none). Shown: positions with a suggestion. Accepted: suggestions that "
            "were right, of those shown; one that stays while it is typed through counts at every position."
        ),
        "",
        *report.table(head, rows),
        "",
        "What is known of neighbours, who measure in other ways: "
        + "; ".join(f"{name}: {text}" for name, text in data["published"].items())
        + ".",
    ]


def _cells(name: str, figures: Mapping[str, Any]) -> list[str]:
    def percent(key: str) -> str:
        value = figures[key]
        return "–" if value is None else f"{100 * value:.1f} %"

    def number(value: float | None) -> str:
        return "–" if value is None or math.isnan(value) else f"{value:.1f}"

    latency = figures["latency_ms"]
    return [
        name,
        *(percent(key) for key in ("keystrokes_saved", "shown_rate", "accept_rate")),
        number(figures["characters_per_accept"]),
        *(number(latency[p]) for p in ("p50", "p95", "p99")),
        number(figures["prefilled_per_keystroke"]),
        percent("cache_hit_rate"),
    ]


def _draw(axes: Axes, latencies: Sequence[float]) -> None:
    if not latencies:
        axes.set_title("No answer came in time")
        return
    shares = [100 * (n + 1) / len(latencies) for n in range(len(latencies))]
    axes.plot(latencies, shares)
    for percent in (50, 95, 99):
        value = percentile(latencies, percent)
        axes.axvline(value, linestyle=":", color="0.5", linewidth=1)
        axes.annotate(f"p{percent} {value:.0f} ms", (value, percent - 8), fontsize=8, rotation=90, ha="right")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the key to its answer")
    axes.set_ylabel("answers, percent")
    axes.set_title("Latency of suggestions while typing")


def settings_of(settings: ReplaySettings) -> dict[str, Any]:
    """The settings as the folder keeps them."""
    return asdict(settings)
