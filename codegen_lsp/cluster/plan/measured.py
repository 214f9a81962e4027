"""A replay of a team held against the simulation: service times from its requests, then the same requests simulated.

`codegen-lsp eval replay --clients` writes the requests of real language servers. What a replica needs for a step, a
prompt's token and a request is read off them; waiting for each other is what the simulation has to add.
"""

from __future__ import annotations

import bisect
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.cluster.plan.service import Service
from codegen_lsp.cluster.plan.simulation import Scenario, Tallies, replay
from codegen_lsp.cluster.plan.traces import EngineCall
from codegen_lsp.wire.config import ConfigError

COLD, WARM = 128, 16
"""Minimum tokens to read of a cold prompt, and their maximum of a warm one."""
LEAST_REQUESTS = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """One request of a replay, times in seconds."""

    client: int
    sent: float
    latency: float
    prompt: int
    unread: int
    written: int
    first: float
    """From the request to its first token."""
    decode: float
    """From the first token to the last."""

    @property
    def end(self) -> float:
        """Time of the answer."""
        return self.sent + self.latency

    @property
    def call(self) -> EngineCall:
        """The request as the simulation takes it."""
        return EngineCall(self.sent, self.prompt, self.unread, max(1, self.written))


def read(folder: Path) -> list[Measured]:
    """Return the requests that an engine answered, in order, of the replay in a folder.

    Raises:
        ConfigError: there is no such replay, or it is too short.
    """
    path = folder / "requests.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        requests = [_measured(row) for row in rows if row["source"] == "engine" and row["prompt"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no replay of a team ({error}); codegen-lsp eval replay --clients 40 --server URL writes it"
        ) from error
    if len(requests) < LEAST_REQUESTS:
        raise ConfigError(f"{path} holds {len(requests)} requests; at least {LEAST_REQUESTS} are needed")
    return sorted(requests, key=lambda request: request.sent)


def _measured(row: dict[str, Any]) -> Measured:
    return Measured(
        int(row["client"]),
        float(row["at"]),
        row["latency_ms"] / 1e3,
        int(row["prompt"]),
        int(row["unread"]),
        int(row["written"]),
        row["first_ms"] / 1e3,
        row["decode_ms"] / 1e3,
    )


def fitted(requests: Sequence[Measured], cache: int) -> Service:
    """Return the service times of the replicas that answered, with a prefix cache of `cache` tokens.

    Times come from the half of the requests that had least company, so that waiting is not counted twice.
    """
    company = _company(requests)
    alone = _alone(requests)
    steps = [request.decode / (request.written - 1) for request in alone if request.written > 2]
    step = statistics.median(steps or [0.0])
    warm = [request for request in alone if request.unread <= WARM] or alone
    overhead = max(0.0, statistics.median(request.latency - request.decode - step for request in warm))
    cold = [request for request in requests if request.unread >= COLD]
    reading = [(request.latency - request.decode - overhead) / request.unread for request in cold]
    token = max(0.0, statistics.median(reading or [0.0]))
    return Service(
        request=overhead, step=step, row=_row(requests, company, step), token=token, context=0.0, cache=cache
    )


def overheads(requests: Sequence[Measured], service: Service) -> tuple[float, ...]:
    """Return what the requests with least company took beside their prompts and steps: they differ from each other."""
    return tuple(max(0.0, request.latency - _alone_seconds(request, service)) for request in _alone(requests))


def _alone_seconds(request: Measured, service: Service) -> float:
    """Return what a replica without other requests takes for the prompt and the steps of one."""
    return max(service.step, service.token * request.unread) + service.step * max(0, request.written - 1)


def _alone(requests: Sequence[Measured]) -> list[Measured]:
    company = _company(requests)
    middle = statistics.median(company)
    return [request for request, others in zip(requests, company, strict=True) if others <= middle]


def _company(requests: Sequence[Measured]) -> list[float]:
    """Return for each request how many others were under way, on average, while it was."""
    sent = [request.sent for request in requests]
    longest = max(request.latency for request in requests)
    company = []
    for request in requests:
        near = requests[
            bisect.bisect_left(sent, request.sent - longest) : bisect.bisect_right(sent, request.end)
        ]
        shared = sum(max(0.0, min(request.end, other.end) - max(request.sent, other.sent)) for other in near)
        company.append(shared / request.latency - 1)
    return company


def _row(requests: Sequence[Measured], company: Sequence[float], step: float) -> float:
    """Return what a request in company adds to a step: the slope of a step's time over the company."""
    pairs = [
        (others, request.decode / (request.written - 1))
        for request, others in zip(requests, company, strict=True)
        if request.written > 2
    ]
    if len({others for others, _ in pairs}) < 2:
        return 0.0
    slope = statistics.linear_regression(*zip(*pairs, strict=True)).slope
    return min(step, max(0.0, slope))


def simulated(requests: Sequence[Measured], service: Service, replicas: int, seeds: int = 5) -> Tallies:
    """Return what the simulation makes of the same requests; sessions are dealt out anew for each seed."""
    beside = overheads(requests, service)
    arrivals = [(request.sent, request.client, request.call) for request in requests]
    seconds = max(request.end for request in requests)
    clients = len({request.client for request in requests})
    total = Tallies()
    for seed in range(seeds):
        scenario = Scenario(clients, replicas, service, 1.0, seconds, seed, beside)
        total += replay(scenario, arrivals)
    return total
