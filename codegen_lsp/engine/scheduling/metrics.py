"""Counters of the engine, for `GET /metrics` in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from codegen_lsp.engine.decode.progress import Step

if TYPE_CHECKING:
    from codegen_lsp.engine.model.prefix_cache import PrefixCache

CONTENT_TYPE = "text/plain; version=0.0.4"


class Metrics:
    """The counters of one engine, in a registry that other engines in the same process don't share."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.requests = Counter(
            "codegen_requests_total", "Requests that ended, by outcome.", ["outcome"], registry=registry
        )
        self.prompt_tokens = Counter("codegen_prompt_tokens_total", "Tokens in prompts.", registry=registry)
        self.prefill_tokens = Counter(
            "codegen_prefill_tokens_total", "Tokens of prompts that the model read.", registry=registry
        )
        self.cached_tokens = Counter(
            "codegen_cached_tokens_total", "Tokens of prompts that the prefix cache held.", registry=registry
        )
        self.generated_tokens = Counter(
            "codegen_generated_tokens_total", "Tokens decoded.", registry=registry
        )
        self.drafted_tokens = Counter(
            "codegen_drafted_tokens_total", "Tokens that were guessed and verified.", registry=registry
        )
        self.accepted_tokens = Counter(
            "codegen_accepted_tokens_total", "Guessed tokens that were decoded.", registry=registry
        )
        self.steps = Counter("codegen_steps_total", "Forward passes, by kind.", ["kind"], registry=registry)
        self.cancelled = Counter(
            "codegen_cancelled_total", "Requests whose client left before the end.", registry=registry
        )
        self.running = Gauge("codegen_requests_running", "Requests that take turns now.", registry=registry)
        self.waiting = Gauge("codegen_requests_waiting", "Requests that have not started.", registry=registry)
        self.cache_bytes = Gauge(
            "codegen_prefix_cache_bytes", "Bytes held by the prefix cache.", registry=registry
        )
        self.cache_evictions = Counter(
            "codegen_prefix_cache_evictions_total",
            "Segments evicted from the prefix cache.",
            registry=registry,
        )
        self._last_evictions = 0
        resident = Gauge("process_resident_memory_bytes", "Resident memory in bytes.", registry=registry)
        process = psutil.Process()
        resident.set_function(lambda: process.memory_info().rss)
        self._steps = {kind: self.steps.labels(kind) for kind in ("prefill", "decode")}
        self._tokens = (
            self.prompt_tokens,
            self.generated_tokens,
            self.cached_tokens,
            self.prefill_tokens,
            self.drafted_tokens,
            self.accepted_tokens,
        )
        """In the order of `DecodeProgress.counts`."""
        for outcome in ("ok", "cancelled", "error"):
            self.requests.labels(outcome)

    def watch(
        self,
        running: Callable[[], int],
        waiting: Callable[[], int],
        cache: Callable[[], PrefixCache | None],
    ) -> None:
        """Read these when the page is made, instead of updating its gauges at every step."""

        def cache_bytes() -> int:
            current = cache()
            return current.nbytes if current is not None else 0

        self.running.set_function(running)
        self.waiting.set_function(waiting)
        self.cache_bytes.set_function(cache_bytes)

    def count_step(self, kind: Step | None, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        """Count one step of a request, if it made a forward pass, and by how much `DecodeProgress.counts` grew."""
        if kind is not None:
            self._steps[kind].inc()
        if before != after:
            for counter, old, new in zip(self._tokens, before, after, strict=True):
                if new != old:
                    counter.inc(new - old)

    def count_end(self, outcome: str) -> None:
        """Count a request that ended: `ok`, `cancelled` or `error`."""
        self.requests.labels(outcome).inc()
        if outcome == "cancelled":
            self.cancelled.inc()

    def count_evictions(self, evictions: int) -> None:
        """Update the counter of evictions to what a prefix cache has; a new one starts at 0 again."""
        self.cache_evictions.inc(max(0, evictions - self._last_evictions))
        self._last_evictions = evictions

    def text(self) -> bytes:
        """Return the page."""
        return generate_latest(self.registry)
