"""Find how many replicas a team needs, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codegen_lsp.cluster.plan.service import Service
from codegen_lsp.cluster.plan.simulation import Scenario, Tallies, simulate
from codegen_lsp.cluster.plan.traces import Trace
from codegen_lsp.wire.config import ConfigError

LARGEST = 4_096
"""Maximum number of developers that are simulated on one replica."""

SAMPLE = 6
"""Maximum number of replicas that are simulated at once: sessions don't move, so more behave the same."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """The developers that a cluster must serve, and how fast."""

    developers: int
    p95: float
    """Maximum latency of 95 % of the requests, in seconds from a keystroke's request to its answer."""
    active: float = 0.2
    """Share of the working time in which a developer types."""
    seconds: float = 60.0
    """Length of each simulation."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """The size that a cluster needs, with what was simulated to find it."""

    per_replica: int
    """Developers that one replica serves within the goal."""
    replicas: int
    """Number of replicas for all developers, one of which may be lost."""
    normal: Tallies
    loss: Tallies
    simulated_replicas: int
    simulated_developers: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures for programs; latencies in milliseconds."""
        busy = self.normal.busy / max(1e-9, self.simulated_replicas * self._seconds)
        return {
            "developers_per_replica": self.per_replica,
            "replicas": self.replicas,
            "latency_ms": percentiles(self.normal.latencies),
            "latency_after_loss_ms": percentiles(self.loss.after_loss),
            "cancelled_share": round(self.normal.cancelled / max(1, self._requests), 4),
            "cache_hits": round(self.normal.cache_hits, 4),
            "busy_share": round(min(1.0, busy), 4),
            "rows_per_step": round(self.normal.rows / max(1, self.normal.iterations), 2),
            "simulated": {"developers": self.simulated_developers, "replicas": self.simulated_replicas},
        }

    @property
    def _requests(self) -> int:
        return self.normal.cancelled + len(self.normal.latencies)

    @property
    def _seconds(self) -> float:
        return self.normal.seconds


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return the median and the 95th and 99th percentile in milliseconds; None without requests."""
    ordered = sorted(seconds)
    return {
        f"p{percent}": round(1e3 * ordered[math.ceil(percent / 100 * len(ordered)) - 1], 1)
        if ordered
        else None
        for percent in (50, 95, 99)
    }


def size(goal: Goal, service: Service, traces: Sequence[Trace], report: Report = lambda _: None) -> Size:
    """Return how many replicas serve the developers of a goal.

    Raises:
        ConfigError: not even a single developer gets answers in time.
    """
    per_replica = _capacity(goal, service, traces, report)
    # One more than necessary: the others must hold the goal while a lost one is replaced.
    replicas = max(2, math.ceil(goal.developers / per_replica) + 1)
    while True:
        sample = min(replicas, SAMPLE)
        developers = max(1, round(goal.developers * sample / replicas))
        report(f"simulating {sample} of {replicas} replicas")
        scenario = Scenario(developers, sample, service, goal.active, goal.seconds, goal.seed)
        normal = simulate(scenario, traces)
        if (percentiles(normal.latencies)["p95"] or 0.0) <= 1e3 * goal.p95:
            break
        replicas += max(1, replicas // 20)  # chance was kind to the single replica
    loss = simulate(replace(scenario, lost_at=goal.seconds / 2), traces)
    return Size(per_replica, replicas, normal, loss, sample, developers)


def _capacity(goal: Goal, service: Service, traces: Sequence[Trace], report: Report) -> int:
    """Return the largest number of developers on one replica within the goal, found by bisection to 3 %."""

    def holds(developers: int) -> bool:
        report(f"simulating {developers} developers on one replica")
        tallies = simulate(Scenario(developers, 1, service, goal.active, goal.seconds, goal.seed), traces)
        p95 = percentiles(tallies.latencies)["p95"]
        answered = len(tallies.latencies) >= tallies.cancelled
        return p95 is None or (p95 <= 1e3 * goal.p95 and answered)

    low = 1
    if not holds(low):
        raise ConfigError(
            f"one developer alone waits longer than {1e3 * goal.p95:.0f} ms: choose a smaller model, a faster device "
            "or a longer --p95"
        )
    limit = min(LARGEST, goal.developers)
    high = 2
    while high <= limit and holds(high):
        low, high = high, 2 * high
    if low * 2 > limit and (low == limit or holds(limit)):
        return limit
    high = min(high, limit)
    while high - low > max(1, low // 32):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
