"""What the replicas behind one address have counted: each of them answers some session's request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from codegen_lsp.wire.errors import UnavailableError
from codegen_lsp.wire.transport.http import make_client, server_addresses
from codegen_lsp.wire.transport.session_id import HEADER

SESSIONS = 48
"""Number of sessions that ask: each replica of a few is met by one of them."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Prompt tokens that one replica has computed, and those that its prefix cache held."""

    prefilled: float
    cached: float


async def counters(url: str, token: str) -> dict[str, TokenCounts]:
    """Return what each replica has counted, by its name; empty if the server has no such metrics.

    Raises:
        UnavailableError: the environment's proxies or certificates can't be used.
    """
    async with make_client(socket=None, url=server_addresses(url)[0], token=token, timeout=30.0) as client:
        pages = await asyncio.gather(*(_page(client, f"metrics {number}") for number in range(SESSIONS)))
    return dict(reading for page in pages for reading in _readings(page))


def cached_share(before: Mapping[str, TokenCounts], after: Mapping[str, TokenCounts]) -> float | None:
    """Return the share of prompt tokens in between that prefix caches held; None without metrics.

    A replica that is new counts from 0, and one that has gone does not count.
    """
    nothing = TokenCounts(0.0, 0.0)
    cached = sum(now.cached - before.get(name, nothing).cached for name, now in after.items())
    prefilled = sum(now.prefilled - before.get(name, nothing).prefilled for name, now in after.items())
    return round(cached / (cached + prefilled), 4) if cached + prefilled else None


async def _page(client: httpx.AsyncClient, session: str) -> str:
    try:
        answer = await client.get("/metrics", headers={HEADER: session})
    except (httpx.HTTPError, UnavailableError):
        return ""
    return answer.text if answer.is_success else ""


def _readings(page: str) -> list[tuple[str, TokenCounts]]:
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    values = {sample.name: sample.value for sample in samples}
    names = [sample.labels["replica"] for sample in samples if sample.name == "codegen_engine_info"]
    prefilled, cached = (values.get(f"codegen_{kind}_tokens_total") for kind in ("prefill", "cached"))
    if prefilled is None or cached is None:
        return []
    return [(name, TokenCounts(prefilled, cached)) for name in names]
