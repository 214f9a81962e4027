"""The engine's memory under mixed traffic stays within what the plan and its limits promise.

    python -m pytest tests/e2e/test_mixed_traffic.py -m benchmark -s

drives a real engine for ten minutes and prints its memory each half a minute; without `-m benchmark` the same traffic
runs for a few seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.served import Served, environment, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

MEGABYTE = 2**20
CACHE, REQUESTS = 128 * MEGABYTE, 192 * MEGABYTE
"""The limits that the engine is started with, in bytes."""
CLIENTS = 4
SOURCES = sorted((Path(__file__).resolve().parents[2] / "codegen_lsp").rglob("*.py"))
SPARE = 32 * MEGABYTE
"""What the plan does not count: the buffers of one step, and the HTTP side."""


@dataclass
class MixedTraffic:
    """Requests of every kind, in random order, as several editors and scripts send them."""

    http: httpx.AsyncClient
    chance: random.Random
    until: float
    statuses: dict[str, dict[int, int]] = field(default_factory=dict)

    def text(self, most: int) -> str:
        """Return a part of a source file: its beginning, so that prompts share prefixes, or any part."""
        text = self.chance.choice(SOURCES).read_text(encoding="utf-8")
        start = 0 if self.chance.random() < 0.5 else self.chance.randrange(len(text) + 1)
        return text[start : start + self.chance.randrange(1, most)] or "x"

    async def send(self, path: str, body: dict[str, Any]) -> int:
        return (await self.http.post(path, json=body)).status_code

    async def complete(self) -> int:
        rows, tokens = self.chance.randrange(1, 17), self.chance.choice((1, 8, 40, 128))
        body = {"prompt": self.text(6000), "n": rows, "max_tokens": tokens, "temperature": 0.8}
        return await self.send("/v1/completions", body)

    async def leave_early(self) -> int:
        """Read a few events of a stream, and close the connection."""
        body = {"prompt": self.text(6000), "n": 4, "max_tokens": 128, "stream": True, "logprobs": 1}
        stop = self.chance.randrange(0, 12)
        async with self.http.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code == 200:
                async for _ in response.aiter_lines():
                    stop -= 1
                    if stop <= 0:
                        break
            return response.status_code

    async def score(self) -> int:
        prompts = [self.text(3000) for _ in range(self.chance.randrange(1, 5))]
        body = {"prompt": prompts, "max_tokens": 0, "echo": True, "logprobs": 5}
        return await self.send("/v1/completions", body)

    async def embed(self) -> int:
        texts = [self.text(3000) for _ in range(self.chance.randrange(1, 9))]
        return await self.send("/v1/embeddings", {"input": texts})

    async def churn(self) -> int:
        """Read a prompt that nothing shares, which pushes others out of the prefix cache."""
        prompt = f"# {self.chance.random()}\n" + self.text(6000)
        return await self.send("/v1/completions", {"prompt": prompt, "max_tokens": 0})

    async def run(self) -> None:
        """Send one request after the other until the time is over."""
        kinds: list[Callable[[], Awaitable[int]]] = [
            self.complete, self.complete, self.leave_early, self.score, self.embed, self.churn
        ]  # fmt: skip
        while time.monotonic() < self.until:
            kind = self.chance.choice(kinds)
            status = await kind()
            counts = self.statuses.setdefault(kind.__name__, {})
            counts[status] = counts.get(status, 0) + 1
            await asyncio.sleep(self.chance.random() * 0.1)


def promised() -> int:
    """Return the bytes that the plan of nano and the engine's limits add up to."""
    command = [sys.executable, "-P", "-m", "codegen_lsp", "models", "plan", "nano", "--json"]
    plan = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return int(plan["process_bytes"]) + int(plan["weight_bytes"]) + CACHE + REQUESTS


async def drive(engine: Served, seconds: float) -> tuple[dict[str, dict[int, int]], list[tuple[float, int]]]:
    """Return the statuses of the requests by kind, and the engine's memory over time."""
    began = time.monotonic()
    memory: list[tuple[float, int]] = [(0.0, engine.rss)]
    transport = httpx.AsyncHTTPTransport(uds=str(engine.socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=120) as http:
        statuses: dict[str, dict[int, int]] = {}
        clients = [
            asyncio.create_task(MixedTraffic(http, random.Random(seed), began + seconds, statuses).run())
            for seed in range(CLIENTS)
        ]
        while not all(client.done() for client in clients):
            await asyncio.wait(clients, timeout=0.2, return_when=asyncio.FIRST_EXCEPTION)
            memory.append((time.monotonic() - began, engine.rss))
            if any(client.done() and client.exception() for client in clients):
                break
        await asyncio.gather(*clients)
    return statuses, memory


def report(memory: list[tuple[float, int]], limit: int) -> str:
    """Return the memory over time as a Markdown table."""
    lines = [f"| seconds | MiB, of {limit / MEGABYTE:.0f} promised |", "|---|---|"]
    due = 0.0
    for elapsed, size in memory:
        if elapsed >= due or elapsed == memory[-1][0]:
            lines.append(f"| {elapsed:.0f} | {size / MEGABYTE:.0f} |")
            due = elapsed + 30
    return "\n".join([*lines, f"| peak | {max(size for _, size in memory) / MEGABYTE:.0f} |"])


@pytest.mark.parametrize(
    "seconds", [pytest.param(20, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.benchmark)]
)
def test_memory_stays_within_the_plan(
    tmp_path: Path, seconds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = promised()
    options = ("--prefix-cache", str(CACHE), "--request-memory", str(REQUESTS))
    with serving(tmp_path, *options, env=environment(tmp_path)) as engine:
        statuses, memory = asyncio.run(drive(engine, seconds))
        cached = engine.metrics()["codegen_prefix_cache_bytes"]
        assert engine.complete(max_tokens=2)["choices"]
    with capsys.disabled():
        print(f"\n\n{report(memory, limit)}\n| prefix cache | {cached / MEGABYTE:.0f} |\n\n{statuses}")
    assert len(statuses) == 5
    assert {status for counts in statuses.values() for status in counts} <= {200, 400}
    assert cached <= CACHE
    assert max(size for _, size in memory) <= limit + SPARE
