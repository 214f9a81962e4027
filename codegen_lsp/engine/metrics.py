"""What the engine counts, for `GET /metrics` in Prometheus' text format."""

from __future__ import annotations

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """One engine's counters, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.requests = Counter(
            "codegen_requests_total", "Requests that ended, by how.", ["outcome"], registry=registry
        )
        self.prompt_tokens = Counter("codegen_prompt_tokens_total", "Tokens of prompts.", registry=registry)
        self.prefill_tokens = Counter(
            "codegen_prefill_tokens_total", "Tokens of prompts that were really read.", registry=registry
        )
        self.cached_tokens = Counter(
            "codegen_cached_tokens_total", "Tokens of prompts that the prefix cache held.", registry=registry
        )
        self.generated_tokens = Counter(
            "codegen_generated_tokens_total", "Tokens decoded.", registry=registry
        )
        self.steps = Counter("codegen_steps_total", "Forward passes, by kind.", ["kind"], registry=registry)
        self.cancelled = Counter(
            "codegen_cancelled_total", "Requests whose client left before the end.", registry=registry
        )
        self.running = Gauge("codegen_requests_running", "Requests that take turns now.", registry=registry)
        self.waiting = Gauge("codegen_requests_waiting", "Requests that have not begun.", registry=registry)
        self.cache_bytes = Gauge(
            "codegen_prefix_cache_bytes", "Bytes that the prefix cache holds.", registry=registry
        )
        self.cache_evictions = Counter(
            "codegen_prefix_cache_evictions_total", "Segments that made room for others.", registry=registry
        )
        self._evictions_seen = 0
        resident = Gauge("process_resident_memory_bytes", "Resident memory in bytes.", registry=registry)
        process = psutil.Process()
        resident.set_function(lambda: process.memory_info().rss)
        for kind in ("prefill", "decode"):
            self.steps.labels(kind)
        for outcome in ("ok", "cancelled", "error"):
            self.requests.labels(outcome)

    def count_evictions(self, total: int) -> None:
        """Bring the counter of evictions to `total`; a new prefix cache begins at 0 again."""
        self.cache_evictions.inc(max(0, total - self._evictions_seen))
        self._evictions_seen = total

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
