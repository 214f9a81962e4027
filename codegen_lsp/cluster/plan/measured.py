"""A replay of a team held against the simulation: its keys are simulated with the service times of a quiet replay.

`codegen-lsp eval replay --clients` writes the requests of real language servers. What a replica needs for a step, a
prompt's token and a request is read off those of a few clients; waiting for each other is what the simulation adds.
"""

from __future__ import annotations

import bisect
import json
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen_lsp.cluster.plan.service import Service
from codegen_lsp.cluster.plan.simulation import Key, Scenario, Tallies, replay
from codegen_lsp.cluster.plan.traces import EngineCall
from codegen_lsp.wire.config import ConfigError

COLD, WARM = 128, 16
"""A prompt with at least the first number of tokens to read is cold, one with at most the second is warm."""
LEAST_REQUESTS = 30
PROCESSORS = ("processor_seconds", "resting_processors")
"""Figures of a replay's report that say what processors did."""


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
        """Time at which the answer arrived."""
        return self.sent + self.latency

    @property
    def call(self) -> EngineCall:
        """The request in the form that the simulation takes."""
        return EngineCall(self.sent, self.prompt, self.unread, max(1, self.written))


@dataclass(frozen=True, slots=True)
class Replayed:
    """The keys of a replay by their outcome; times in seconds."""

    answered: tuple[Measured, ...]
    """Requests that an engine answered in time, in order."""
    late: tuple[tuple[float, int], ...]
    """Time and client of each request that the next key has overtaken."""
    without: tuple[tuple[float, int, float], ...]
    """Time, client and latency of each key that needed no engine."""
    busy: float
    """Seconds for which processors worked because of keys: for language servers, the replay, and a cluster here."""
    resting: float
    """How many processors work for the same processes while no key is pressed."""

    @property
    def keys(self) -> int:
        """Number of keys that requested a suggestion."""
        return len(self.answered) + len(self.late) + len(self.without)


def read(folder: Path) -> Replayed:
    """Return the replay of a team in a folder.

    Raises:
        ConfigError: there is no such replay, or it is too short.
    """
    path = folder / "requests.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        team = json.loads((folder / "report.json").read_text(encoding="utf-8"))["team"]
        replayed = _replayed(rows, *(float(team[name]) for name in PROCESSORS))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no replay of a team ({error}); codegen-lsp eval replay --clients 40 --server URL writes it"
        ) from error
    count = len(replayed.answered)
    if count < LEAST_REQUESTS:
        raise ConfigError(
            f"{path} holds {count} requests; at least {LEAST_REQUESTS} are needed; replay for longer"
        )
    return replayed


def _replayed(rows: Sequence[dict[str, Any]], busy: float, resting: float) -> Replayed:
    answered = [_measured(row) for row in rows if row["source"] == "engine" and row["prompt"]]
    late = [(float(row["at"]), int(row["client"])) for row in rows if row["source"] == "late"]
    without = [
        (float(row["at"]), int(row["client"]), row["latency_ms"] / 1e3)
        for row in rows
        if row["source"] not in ("engine", "late")
    ]
    answered.sort(key=lambda request: request.sent)
    return Replayed(tuple(answered), tuple(late), tuple(without), busy, resting)


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


@dataclass(frozen=True, slots=True)
class Times:
    """What keys take if they don't wait for each other, in seconds."""

    service: Service
    overheads: tuple[float, ...]
    """What requests took beside their prompts and steps: they differ from each other."""
    without: float
    """Time of a key that needs no engine."""
    beside: float
    """Processor time that each key takes without delaying its answer."""
    resting: float
    """Number of processors that are busy all the time."""


def times_of(quiet: Replayed, cache: int) -> Times:
    """Return what the keys of a quiet replay took, with replicas whose prefix caches hold `cache` tokens."""
    service = fitted(quiet.answered, cache)
    alone = _alone(quiet.answered)
    overheads = [max(0.0, request.latency - _alone_seconds(request, service)) for request in alone]
    seconds = [item[2] for item in quiet.without]
    waited = math.fsum(request.latency for request in quiet.answered) + math.fsum(seconds)
    beside = max(0.0, quiet.busy - waited) / quiet.keys
    return Times(service, tuple(overheads), statistics.median(seconds or [0.0]), beside, quiet.resting)


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
    row = _row(requests, company, step)
    token = _token(requests, statistics.median(request.first for request in warm) - step)
    return Service(request=overhead, step=step, row=row, token=token, context=0.0, cache=cache)


def _token(requests: Sequence[Measured], without: float) -> float:
    """Return what a token of a prompt takes, if a first token takes `without` beside the prompt.

    Cold prompts are few, and other work only ever makes them slower: the fastest quarter tells what they need.
    """
    cold = [request for request in requests if request.unread >= COLD]
    reading = sorted((request.first - without) / request.unread for request in cold) or [0.0]
    return max(0.0, reading[len(reading) // 4])


def _alone_seconds(request: Measured, service: Service) -> float:
    """Return what a replica without other requests takes for the prompt and the steps of one."""
    return max(service.step, service.token * request.unread) + service.step * max(0, request.written - 1)


def _alone(requests: Sequence[Measured]) -> list[Measured]:
    company = _company(requests)
    middle = statistics.median(company)
    return [request for request, others in zip(requests, company, strict=True) if others <= middle]


def _company(requests: Sequence[Measured]) -> list[float]:
    """Return for each request the mean number of other requests in progress during it."""
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
    """Return what each concurrent request adds to a step: the slope of the time of a step over their number."""
    pairs = [
        (others, request.decode / (request.written - 1))
        for request, others in zip(requests, company, strict=True)
        if request.written > 2
    ]
    if len({others for others, _ in pairs}) < 2:
        return 0.0
    slope = statistics.linear_regression(*zip(*pairs, strict=True)).slope
    return min(step, max(0.0, slope))


def simulated(
    replayed: Replayed, times: Times, replicas: int, processors: float = math.inf, seeds: int = 5
) -> Tallies:
    """Simulate the same keys; each seed distributes the sessions over the replicas differently.

    `processors` is the number that replicas, proxies and language servers share if they run on one machine.
    """
    clients = {request.client for request in replayed.answered}
    seconds = max(request.end for request in replayed.answered)
    shared = max(0.1, processors - times.resting)
    total = Tallies()
    for seed in range(seeds):
        scenario = Scenario(
            len(clients),
            replicas,
            times.service,
            1.0,
            seconds,
            seed,
            overheads=times.overheads,
            processors=shared,
            beside=times.beside,
        )
        total += replay(scenario, _keys(replayed, times, seed))
    return total


def _keys(replayed: Replayed, times: Times, seed: int) -> list[Key]:
    """Return the keys of a replay in order; answered requests stand in for late ones, which are unknown."""
    source = random.Random(f"{seed}:late")
    keys: list[Key] = [(request.sent, request.client, request.call) for request in replayed.answered]
    keys += [(time, client, source.choice(replayed.answered).call) for time, client in replayed.late]
    keys += [(time, client, times.without) for time, client, _ in replayed.without]
    return sorted(keys, key=lambda key: key[0])
