"""A discrete-event simulation of replicas that serve typing developers.

Each replica works in iterations, as engines with continuous batching do (Yu et al. 2022, *Orca*, section 3.2): an
iteration decodes one token for each running request and reads a chunk of one waiting prompt. Before that a request
takes its time outside of the replica. A request is cancelled when its developer's next key comes. Sessions stay on
their replica, whose prefix cache keeps the newest documents.

On a machine of few processors, all work that is under way at the same time gets an equal share of them (processor
sharing: Kleinrock 1976, *Queueing Systems*, volume 2, section 4.4).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from codegen_lsp.cluster.plan import traces as recorded
from codegen_lsp.cluster.plan.replica import Replica, Request
from codegen_lsp.cluster.plan.service import Service
from codegen_lsp.cluster.plan.work import SharedWork


@dataclass(frozen=True, slots=True)
class Scenario:
    """The developers, the replicas and the machine of a simulation."""

    developers: int
    replicas: int
    service: Service
    active: float = 0.2
    """Share of the time in which a developer types."""
    seconds: float = 120.0
    seed: int = 0
    overheads: tuple[float, ...] = ()
    """Overheads in seconds, of which each request draws one; if empty, all have the overhead of `service`."""
    lost_at: float | None = None
    """Time at which one replica is lost; its sessions go to the others, which have not read their documents."""
    processors: float = math.inf
    """Processors of the machine that replicas and language servers share; infinite if each has its own."""
    beside: float = 0.0
    """Seconds of a processor that each key takes besides, without making its answer wait."""


@dataclass(slots=True)
class Tallies:
    """What happened in a simulation, in numbers."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each answered request."""
    after_loss: list[float] = field(default_factory=list)
    """Seconds of each request that was answered after the loss of a replica."""
    seconds: float = 0.0
    """Time that was simulated."""
    cancelled: int = 0
    read: int = 0
    cached: int = 0
    busy: float = 0.0
    """Seconds of all replicas' iterations."""
    rows: int = 0
    iterations: int = 0

    def __add__(self, other: Tallies) -> Tallies:
        """Return the tallies of two simulations together."""
        return Tallies(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        )

    @property
    def cache_hits(self) -> float:
        """Share of prompt tokens that a prefix cache held."""
        return self.cached / max(1, self.cached + self.read)


def simulate(scenario: Scenario, traces: Sequence[recorded.Trace]) -> Tallies:
    """Simulate the requests of a scenario; the same seed gives the same tallies."""
    arrivals = (_typing(scenario, number, traces) for number in range(scenario.developers))
    return _Simulation(scenario, heapq.merge(*arrivals, key=lambda arrival: arrival[0])).run()


Key = tuple[float, int, recorded.EngineCall | float]
"""Time, developer, and the request, or the seconds of a processor that a key without a request takes."""


def replay(scenario: Scenario, keys: Sequence[Key]) -> Tallies:
    """Simulate these keys, which are sorted by time.

    Requests say themselves what was not cached: their documents are taken for known from the start.
    """
    simulation = _Simulation(scenario, ((*key, False) for key in keys))
    for _, developer, call in keys:
        if isinstance(call, recorded.EngineCall):
            simulation.know(developer, call)
    return simulation.run()


TimedCall = tuple[float, int, recorded.EngineCall | float, bool]
"""Time, developer, request (or the seconds of a key without one), and whether it is the first one in a file."""


def _typing(scenario: Scenario, developer: int, traces: Sequence[recorded.Trace]) -> Iterator[TimedCall]:
    source = random.Random(f"{scenario.seed}:{developer}")
    for time, call, first in recorded.requests(traces, scenario.active, scenario.seconds, source):
        yield time, developer, call, first


class _Simulation:
    def __init__(self, scenario: Scenario, arrivals: Iterable[TimedCall]) -> None:
        self.scenario = scenario
        self.replicas = [Replica(scenario.service) for _ in range(scenario.replicas)]
        self.tallies = Tallies()
        self.current: dict[int, Request] = {}
        self._arrivals = arrivals
        self._places: dict[int, int] = {}
        self._source = random.Random(f"{scenario.seed}:overheads")
        self._work = SharedWork(scenario.processors)

    def know(self, developer: int, call: recorded.EngineCall) -> None:
        """Put a document into the prefix cache of its session's replica."""
        self.replicas[self._replica_of(developer, 0.0)].cached(developer, call, True)

    def run(self) -> Tallies:
        for now, developer, call, first in self._arrivals:
            self._work.run(now)
            self._press(developer, call, first)
        self._work.run(math.inf)
        self.tallies.seconds = self.scenario.seconds
        return self.tallies

    def _press(self, developer: int, call: recorded.EngineCall | float, first: bool) -> None:
        previous = self.current.pop(developer, None)
        if previous is not None and previous.unwritten > 0 and not previous.cancelled:
            previous.cancelled = True
            self.tallies.cancelled += 1
        if self.scenario.beside:
            self._work.add(self.scenario.beside, _nothing)
        if not isinstance(call, recorded.EngineCall):
            self._work.add(call, _nothing)
            return
        request = Request(developer, self._work.now, call.prompt, 0, max(1, call.written))
        self.current[developer] = request
        overheads = self.scenario.overheads
        overhead = self._source.choice(overheads) if overheads else self.scenario.service.request
        self._work.add(overhead, lambda: self._arrive(request, call, first))

    def _arrive(self, request: Request, call: recorded.EngineCall, first: bool) -> None:
        if request.cancelled:
            return
        number = self._replica_of(request.developer, request.arrived)
        replica = self.replicas[number]
        cached = replica.cached(request.developer, call, first)
        self.tallies.cached += cached
        self.tallies.read += call.prompt - cached
        request.unread = call.prompt - cached
        replica.waiting.append(request)
        if not replica.working:
            self._iterate(number)

    def _replica_of(self, developer: int, now: float) -> int:
        """Return the session's replica, by a hash; after a loss, other replicas share the sessions of replica 0."""
        count = len(self.replicas)
        if developer not in self._places:
            source = random.Random(f"{self.scenario.seed}:{developer}:place")
            self._places[developer] = source.randrange(count * max(1, count - 1))
        place = self._places[developer]
        number = place % count
        lost = self.scenario.lost_at is not None and now >= self.scenario.lost_at
        return 1 + (place // count) % (count - 1) if lost and number == 0 and count > 1 else number

    def _iterate(self, number: int) -> None:
        replica = self.replicas[number]
        replica.working = True
        seconds, finished = replica.iterate()
        self.tallies.busy += seconds
        self.tallies.rows += len(finished) + len(replica.running)
        self.tallies.iterations += 1
        self._work.add(seconds, lambda: self._end_iteration(number, finished))

    def _end_iteration(self, number: int, finished: Sequence[Request]) -> None:
        for request in finished:
            self._answered(request)
        self.replicas[number].working = False
        if not self.replicas[number].idle:
            self._iterate(number)

    def _answered(self, request: Request) -> None:
        if request.cancelled:
            return
        latency = self._work.now - request.arrived
        self.tallies.latencies.append(latency)
        lost_at = self.scenario.lost_at
        if lost_at is not None and request.arrived >= lost_at:
            self.tallies.after_loss.append(latency)


def _nothing() -> None:
    pass
