"""The README's figures of speed and memory, measured through the real server, the real engine and nano.

    python -m pytest tests/e2e/test_figures.py -m benchmark -s

prints them as a Markdown table, and writes it into the README where CODEGEN_LSP_README is set. Nothing here asserts
a speed: only that every keystroke was answered.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from lsprotocol import types as lsp
from support.engines import engine_processes, stop_engines
from support.readme import put

from codegen_lsp.headless_editor import HeadlessEditor

pytestmark = [pytest.mark.benchmark, pytest.mark.e2e, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "codegen_lsp" / "lsp" / "suggest" / "pipeline.py"
KEYSTROKES = 200


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, round(percent / 100 * len(ordered) + 0.5) - 1))
    return ordered[rank]


def spread(values: Sequence[float]) -> str:
    """Median, 95th and 99th percentile."""
    return f"p50 {statistics.median(values):.1f}, p95 {percentile(values, 95):.1f}, p99 {percentile(values, 99):.1f}"


@pytest.fixture
def engine_env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with a runtime folder of its own, and the end of the engine that starts in it."""
    env = dict(os.environ) | {"CODEGEN_LSP_RUNTIME_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    yield env
    stop_engines(tmp_path)


async def start_times(env: dict[str, str], runs: int) -> list[float]:
    """Milliseconds from process start to `initialize` answered."""
    times = []
    for _ in range(runs):
        session = HeadlessEditor({"model": "nano"}, env=env)
        started = time.perf_counter()
        await session.__aenter__()
        times.append((time.perf_counter() - started) * 1000)
        await session.__aexit__(None, None, None)
    return times


class Typist:
    """Types into one document of a session, character by character, and keeps the version."""

    def __init__(self, session: HeadlessEditor, uri: str, line: int, column: int) -> None:
        self.session, self.uri, self.line, self.column = session, uri, line, column
        self.version = 1

    def type(self, text: str) -> None:
        self.version += 1
        at = lsp.Position(self.line, self.column)
        self.session.change(self.uri, self.version, lsp.Range(at, at), text)
        for character in text:
            self.line, self.column = (self.line + 1, 0) if character == "\n" else (self.line, self.column + 1)

    async def ask(self) -> Any:
        return await self.session.inline(self.uri, self.line, self.column, invoked=False)


async def keystrokes(session: HeadlessEditor, figures: dict[str, list[float]]) -> None:
    """Take the middle out of a real file and type it again."""
    lines = FILE.read_text().splitlines(keepends=True)
    start = next(
        i for i, line in enumerate(lines) if i > 220 and line.lstrip().startswith(("def ", "async def "))
    )
    typed = "".join(lines[start : start + 12])[:KEYSTROKES]
    rest = "".join(lines[:start]) + "\n" + "".join(lines[start + 12 :])
    uri = session.open(FILE, rest)
    typist = Typist(session, uri, start, 0)
    await typist.ask()
    for character in typed:
        typist.type(character)
        began = time.perf_counter()
        await typist.ask()
        elapsed = (time.perf_counter() - began) * 1000
        last = await session.last_request(uri)
        usage = last.get("usage") or {}
        from_engine = last.get("source") != "memory"
        figures["keystroke (all)"].append(elapsed)
        if from_engine:
            figures["keystroke (engine asked)"].append(elapsed)
            figures["tokens"].append(usage.get("prompt_tokens", 0) - usage.get("cached_tokens", 0))


async def typed_through(session: HeadlessEditor, figures: dict[str, list[float]]) -> None:
    """Type into the suggestion that is shown."""
    text = FILE.read_text()
    uri = session.open(FILE.with_name("typed_through.py"), text)
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("        return ")]
    for line in starts:
        typist = Typist(session, uri, line, len("        return "))
        items = await session.inline(uri, typist.line, typist.column)
        shown = items[0].insert_text if items else ""
        for character in str(shown)[:12]:
            typist.type(character)
            began = time.perf_counter()
            await typist.ask()
            elapsed = (time.perf_counter() - began) * 1000
            if (await session.last_request(uri)).get("source") == "memory":
                figures["typed-through"].append(elapsed)


async def busy_changes(session: HeadlessEditor, figures: dict[str, list[float]]) -> None:
    """Change a document and ask for the status while a generation runs; the answer shows the change was handled."""
    uri = session.open(FILE.with_name("busy.py"), "import os\n\n\ndef walk(folder):\n    ")
    other = session.open(FILE.with_name("other.py"), FILE.read_text())
    typist = Typist(session, other, 40, 0)
    for attempt in range(10):
        place = lsp.Position(4, 4)
        session.change(uri, attempt + 2, lsp.Range(place, place), f"x{attempt} = ")
        running = asyncio.create_task(session.inline(uri, 4, 4 + len(f"x{attempt} = ")))
        await asyncio.sleep(0.005)
        while not running.done():
            began = time.perf_counter()
            typist.type("#")
            await session.command_result("codegen.status")
            figures["didChange while generating"].append((time.perf_counter() - began) * 1000)
        await running


async def measure(env: dict[str, str], folder: Path) -> list[tuple[str, str]]:
    """Every figure, as rows of the table."""
    figures: dict[str, list[float]] = {
        "keystroke (all)": [],
        "keystroke (engine asked)": [],
        "tokens": [],
        "typed-through": [],
        "didChange while generating": [],
    }
    started = await start_times(env, 7)
    async with HeadlessEditor({"model": "nano", "debounce": 0}, env=env) as session:
        await session.ready()
        await keystrokes(session, figures)
        await typed_through(session, figures)
        await busy_changes(session, figures)
        server = psutil.Process(session.client._server.pid).memory_info().rss / 2**20
        # What processes share counts once: each has its proportional share.
        engine = sum(p.memory_full_info().pss for p in engine_processes(folder)) / 2**20
    assert len(figures["keystroke (all)"]) == KEYSTROKES
    assert all(figures.values()), {k: len(v) for k, v in figures.items()}
    return [
        ("process start to `initialize` answered, ms", spread(started)),
        (f"keystroke to suggestion, all {KEYSTROKES}, ms", spread(figures["keystroke (all)"])),
        (
            f"keystroke to suggestion, the {len(figures['keystroke (engine asked)'])} that asked the engine, ms",
            spread(figures["keystroke (engine asked)"]),
        ),
        ("tokens prefilled per keystroke that asked the engine", spread(figures["tokens"])),
        (
            f"typed-through, {len(figures['typed-through'])} keystrokes, ms",
            spread(figures["typed-through"]),
        ),
        (
            f"`didChange` while generating, {len(figures['didChange while generating'])} changes, ms",
            spread(figures["didChange while generating"]),
        ),
        ("memory of the language server, MiB", f"{server:.0f}"),
        ("memory of the engine with nano, MiB", f"{engine:.0f}"),
    ]


def test_figures(engine_env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = asyncio.run(measure(engine_env, tmp_path))
    lines = [f"| figure | {os.cpu_count()} cores |", "|---|---|"]
    table = "\n".join(lines + [f"| {name} | {value} |" for name, value in rows])
    with capsys.disabled():
        print(f"\n\n{table}")
    if os.environ.get("CODEGEN_LSP_README"):
        put("figures", table)
