"""Type one file into the language server: ask at every position, accept what is right, else press the next key."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp

from codegen_lsp.evals.benchmarks.replay import typist
from codegen_lsp.evals.harness.records import EvaluationError
from codegen_lsp.headless_editor import HeadlessEditor

LEAST = 2
"""Shortest suggestion that is worth a key to accept, in characters."""
PATIENCE = 120.0
"""Time limit of one answer at pace 0, in seconds."""

OnRequest = Callable[[Mapping[str, Any], float], None]
"""Gets the language server's record of a request, and the milliseconds until its answer."""
OnLate = Callable[[float], None]
"""Gets the time at which a request was sent that the next key has overtaken, on the clock of `time.perf_counter`."""


@dataclass(frozen=True)
class ReplaySettings:
    """Settings of one replay; the same settings press the same keys for the same suggestions."""

    characters: int = 400
    """Characters to type in each file, approximately."""
    gaps: int = 3
    """Places in each file where they are typed."""
    pace: float = 0.0
    """0 waits for every answer; 1 types as fast as a person, so that late answers are not seen; 2 half as fast."""
    within: float = 0.0
    """Milliseconds after which an answer is not seen, although it is waited for; 0 sees every answer."""
    seed: int = 0
    trace: bool = False
    """Record each request to the engine, in the time of the typist, for `codegen-lsp cluster plan`."""

    def __post_init__(self) -> None:
        if self.characters < typist.MIN_GAP or self.gaps < 1 or not 0 <= self.pace < 100:
            raise EvaluationError(
                f"at least {typist.MIN_GAP} characters, one gap, and a pace from 0 to 100 are required"
            )
        if not 0 <= self.within <= 1e3 * PATIENCE:
            raise EvaluationError(f"answers can be seen within 0 to {1e3 * PATIENCE:.0f} ms")


@dataclass
class Tally:
    """Counts and latencies of typing one file."""

    path: str
    """Name of the file with the two folders above it."""
    baseline: int = 0
    """Keys that the gaps take without help; slips are counted neither here nor in `pressed`."""
    pressed: int = 0
    """Pressed keys; accepting a suggestion is one key."""
    asked: int = 0
    shown: int = 0
    accepted: int = 0
    accepted_characters: int = 0
    late: int = 0
    """Answers that came after the next key, or too late to be seen."""
    typos: int = 0
    changes: int = 0
    """Changes of the document: keys, slips, corrections and accepted suggestions."""
    latencies: list[float] = field(default_factory=list)
    """Milliseconds from the change to its answer, if that came in time."""
    prefilled: float | None = None
    """Prompt tokens that the engine computed; None if it has no metrics."""
    cached: float | None = None
    """Prompt tokens from the engine's prefix cache; None if it has no metrics."""
    typed_seconds: float = 0.0
    """Time that a person takes for the file without waiting for answers."""
    trace: list[list[float]] = field(default_factory=list)
    """Requests to the engine, if they are recorded: seconds, tokens of the prompt, those not cached, tokens written."""


class Typing:
    """The typing of one file in a headless editor."""

    def __init__(
        self,
        editor: HeadlessEditor,
        path: Path,
        draft: typist.Draft,
        settings: ReplaySettings,
        seed: str,
        *,
        on_request: OnRequest | None = None,
        on_late: OnLate | None = None,
    ) -> None:
        """Open the document. `on_request` gets each request that is answered in time, `on_late` the others."""
        self._editor = editor
        self._draft = draft
        self._pace = settings.pace
        self._within = settings.within / 1e3 or math.inf
        self._moves = typist.moves(seed)
        self._version = 1
        self._recorded = "" if settings.trace or on_request else None
        self._on_request = on_request
        self._on_late = on_late
        self._late: set[asyncio.Future[Any]] = set()
        self._uri = editor.open(path, draft.text)
        self.tally = Tally("/".join(path.parts[-3:]))

    async def read(self) -> None:
        """Ask where the first key will be pressed, and wait for the answer: the document is known from then on."""
        offset = self._draft.gaps[self._draft.order[0]].offset
        line, character = self._draft.position(offset)
        answer = asyncio.ensure_future(self._editor.inline(self._uri, line, character, invoked=False))
        answer.add_done_callback(_forget)
        await asyncio.wait({answer}, timeout=PATIENCE)

    async def run(self, deadline: float = math.inf) -> Tally:
        """Fill all gaps, and write a line above in the middle of the last one; no key is pressed after `deadline`."""
        draft = self._draft
        self.tally.baseline = sum(typist.keys(gap.left) for gap in draft.gaps)
        for number in draft.order:
            gap = draft.gaps[number]
            due = len(gap.left) // 2 if number == draft.order[-1] else -1
            while gap.left and time.perf_counter() < deadline:
                if draft.above is not None and len(gap.left) <= due:
                    above, draft.above = draft.above, None
                    self._insert(above.offset, above.left)
                await self._position(gap)
        self.tally.baseline -= sum(
            typist.keys(gap.left) for gap in draft.gaps
        )  # not typed before the deadline
        return self.tally

    async def unanswered(self, seconds: float) -> int:
        """Return how many of the requests that the next key overtook have no answer after a while."""
        pending = {answer for answer in self._late if not answer.done()}
        return len((await asyncio.wait(pending, timeout=seconds))[1]) if pending else 0

    async def _position(self, gap: typist.Gap) -> None:
        kind, seconds, wrong = next(self._moves)
        self.tally.typed_seconds += seconds
        sent = time.perf_counter()
        if kind == "typo":
            self.tally.typos += 1
            start = gap.offset
            self._insert(start, wrong)
            await self._ask(gap.offset, seconds)
            self._remove(start, start + 1)
            sent = time.perf_counter()
        items = await self._ask(gap.offset, seconds, sent)
        if items:
            written = self._written(items[0], gap.offset)
            if len(written) >= LEAST and gap.left.startswith(written):
                await self._accept(items[0], gap, written)
                return
        self._type(gap, typist.next_key(gap.left))
        self.tally.pressed += 1

    def _type(self, gap: typist.Gap, text: str) -> None:
        self._insert(gap.offset, text)
        gap.left = gap.left[len(text) :]

    async def _accept(self, item: lsp.InlineCompletionItem, gap: typist.Gap, written: str) -> None:
        self._type(gap, written)
        self.tally.accepted += 1
        self.tally.accepted_characters += len(written)
        self.tally.pressed += 1
        if item.command is not None:
            await self._editor.command_result(item.command.command, *(item.command.arguments or []))

    async def _ask(
        self, offset: int, seconds: float, sent: float | None = None
    ) -> Sequence[lsp.InlineCompletionItem]:
        sent = sent or time.perf_counter()
        line, character = self._draft.position(offset)
        answer = asyncio.ensure_future(self._editor.inline(self._uri, line, character, invoked=False))
        self.tally.asked += 1
        limit = seconds * self._pace if self._pace else PATIENCE
        done, _ = await asyncio.wait({answer}, timeout=limit)
        if not done:
            self.tally.late += 1
            answer.add_done_callback(_forget)
            self._late.add(answer)
            if self._on_late is not None:
                self._on_late(sent)
            return []
        try:
            items = answer.result()
        except Exception:
            # A newer change overtook the request; an editor then shows nothing.
            return []
        elapsed = time.perf_counter() - sent
        self.tally.latencies.append(round(1e3 * elapsed, 3))
        await self._record(1e3 * elapsed)
        if elapsed > self._within:
            self.tally.late += 1
            items = []
        self.tally.shown += bool(items)
        if self._pace and elapsed < limit:
            await asyncio.sleep(limit - elapsed)
        return items

    async def _record(self, milliseconds: float) -> None:
        """Add the last request to the trace, if the engine answered it and it is not there yet."""
        if self._recorded is None:
            return
        request = await self._editor.last_request(self._uri)
        if request.get("id", self._recorded) == self._recorded:
            return
        self._recorded = request["id"]
        if self._on_request is not None:
            self._on_request(request, milliseconds)
        if request["source"] != "engine":
            return
        usage = request["usage"]
        prompt, written = usage["prompt_tokens"], usage["completion_tokens"]
        unread = prompt - usage["cached_tokens"]
        self.tally.trace.append([round(self.tally.typed_seconds, 3), prompt, unread, written])

    def _written(self, item: lsp.InlineCompletionItem, offset: int) -> str:
        """Return what an item would add at the cursor; nothing if it would change other text."""
        text = self._draft.text
        insert = item.insert_text if isinstance(item.insert_text, str) else item.insert_text.value
        if item.range is None:
            return insert
        start, end = (_offset(text, place) for place in (item.range.start, item.range.end))
        before, after = text[start:offset], text[offset:end]
        if not start <= offset <= end or not insert.startswith(before) or not insert.endswith(after):
            return ""
        return insert[len(before) : len(insert) - len(after)]

    def _insert(self, offset: int, text: str) -> None:
        place = lsp.Position(*self._draft.position(offset))
        self._draft.insert(offset, text)
        self._changed(lsp.Range(place, place), text)

    def _remove(self, start: int, end: int) -> None:
        places = lsp.Range(*(lsp.Position(*self._draft.position(offset)) for offset in (start, end)))
        self._draft.remove(start, end)
        self._changed(places, "")

    def _changed(self, places: lsp.Range, text: str) -> None:
        self._version += 1
        self.tally.changes += 1
        self._editor.change(self._uri, self._version, places, text)


def _forget(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()


def _offset(text: str, position: lsp.Position) -> int:
    start = 0
    for _ in range(position.line):
        start = text.find("\n", start) + 1
    return start + position.character
