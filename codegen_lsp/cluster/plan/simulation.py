"""A discrete-event simulation of replicas that serve typing developers.

Each replica works in iterations, as engines with continuous batching do (Yu et al. 2022, *Orca*, section 3.2): an
iteration decodes one token for each running request and reads a chunk of one waiting prompt. A request is cancelled
when its developer's next one arrives. Sessions stay on their replica, whose prefix cache keeps the newest documents.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from codegen_lsp.cluster.plan import traces as recorded
from codegen_lsp.cluster.plan.service import Service

CHUNK = 512
"""Tokens of a prompt that an iteration reads."""

MAX_ROWS = 256
"""Maximum number of requests that a replica decodes at once."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated."""

    developers: int
    replicas: int
    service: Service
    active: float = 0.2
    """Share of the time in which a developer types."""
    seconds: float = 120.0
    seed: int = 0
    overheads: tuple[float, ...] = ()
    """Seconds outside of the steps, one of which each request takes; without them all take those of the service."""
    lost_at: float | None = None
    """Time at which one replica is lost; its sessions go to the others, which have not read their documents."""


@dataclass(slots=True)
class Request:
    """A request on its way through a replica."""

    developer: int
    arrived: float
    prompt: int
    unread: int
    """Tokens of the prompt that are left to read."""
    unwritten: int
    cancelled: bool = False


@dataclass(slots=True)
class Tallies:
    """What happened."""

    latencies: list[float] = field(default_factory=list)
    """Seconds of each answered request."""
    after_loss: list[float] = field(default_factory=list)
    """Those of requests after the loss of a replica."""
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
        """Return what happened in two simulations."""
        return Tallies(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        )

    @property
    def cache_hits(self) -> float:
        """Share of prompt tokens that a prefix cache held."""
        return self.cached / max(1, self.cached + self.read)


class Replica:
    """One engine."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.working = False
        self._documents: OrderedDict[int, int] = OrderedDict()
        self._held = 0

    def cached(self, developer: int, call: recorded.EngineCall, first: bool) -> int:
        """Return the tokens of a prompt that the prefix cache holds, and keep the whole prompt from now on."""
        held = self._documents.pop(developer, 0)
        self._held += call.prompt - held
        self._documents[developer] = call.prompt
        while self._held > self._service.cache and len(self._documents) > 1:
            _, tokens = self._documents.popitem(last=False)
            self._held -= tokens
        return 0 if first or not held else max(0, call.prompt - call.new)

    def iterate(self) -> tuple[float, list[Request]]:
        """Do one iteration; return its seconds and the requests that it finishes."""
        self.waiting = deque(request for request in self.waiting if not request.cancelled)
        self.running = [request for request in self.running if not request.cancelled]
        chunk = 0
        while self.waiting and chunk < CHUNK and len(self.running) < MAX_ROWS:
            request = self.waiting[0]
            part = min(request.unread, CHUNK - chunk)
            request.unread -= part
            chunk += part
            if request.unread:
                break
            self.running.append(self.waiting.popleft())
        context = sum(request.prompt for request in self.running)
        seconds = self._service.iteration(len(self.running), context, chunk)
        for request in self.running:
            request.unwritten -= 1
        finished = [request for request in self.running if request.unwritten <= 0]
        self.running = [request for request in self.running if request.unwritten > 0]
        return seconds, finished

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running


def simulate(scenario: Scenario, traces: Sequence[recorded.Trace]) -> Tallies:
    """Return what happens to the requests of a scenario; the same seed gives the same tallies."""
    arrivals = (_typing(scenario, number, traces) for number in range(scenario.developers))
    return _Simulation(scenario, heapq.merge(*arrivals, key=lambda arrival: arrival[0])).run()


def replay(scenario: Scenario, requests: Sequence[tuple[float, int, recorded.EngineCall]]) -> Tallies:
    """Return what happens to these requests (time, developer, request), which are in the order of time.

    They say themselves what was not cached: their documents are taken for known from the start.
    """
    simulation = _Simulation(scenario, ((*request, False) for request in requests))
    for _, developer, call in requests:
        simulation.know(developer, call)
    return simulation.run()


TimedCall = tuple[float, int, recorded.EngineCall, bool]
"""Time, developer, request, and whether it is the first one in a file."""


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
        self._done: list[tuple[float, int, list[Request]]] = []

    def know(self, developer: int, call: recorded.EngineCall) -> None:
        """Put a document into the prefix cache of its session's replica."""
        self.replicas[self._replica_of(developer, 0.0)].cached(developer, call, True)

    def run(self) -> Tallies:
        for now, developer, call, first in self._arrivals:
            self._work_until(now)
            self._arrive(now, developer, call, first)
        self._work_until(float("inf"))
        self.tallies.seconds = self.scenario.seconds
        return self.tallies

    def _arrive(self, now: float, developer: int, call: recorded.EngineCall, first: bool) -> None:
        previous = self.current.get(developer)
        if previous is not None and previous.unwritten > 0 and not previous.cancelled:
            previous.cancelled = True
            self.tallies.cancelled += 1
        number = self._replica_of(developer, now)
        replica = self.replicas[number]
        cached = replica.cached(developer, call, first)
        self.tallies.cached += cached
        self.tallies.read += call.prompt - cached
        request = Request(developer, now, call.prompt, call.prompt - cached, max(1, call.written))
        self.current[developer] = request
        replica.waiting.append(request)
        if not replica.working:
            self._iterate(now, number)

    def _replica_of(self, developer: int, now: float) -> int:
        """Return the session's replica, by a hash; after a loss, those of replica 0 are spread over the others."""
        count = len(self.replicas)
        if developer not in self._places:
            source = random.Random(f"{self.scenario.seed}:{developer}:place")
            self._places[developer] = source.randrange(count * max(1, count - 1))
        place = self._places[developer]
        number = place % count
        lost = self.scenario.lost_at is not None and now >= self.scenario.lost_at
        return 1 + (place // count) % (count - 1) if lost and number == 0 and count > 1 else number

    def _iterate(self, now: float, number: int) -> None:
        replica = self.replicas[number]
        replica.working = True
        seconds, finished = replica.iterate()
        self.tallies.busy += seconds
        self.tallies.rows += len(finished) + len(replica.running)
        self.tallies.iterations += 1
        heapq.heappush(self._done, (now + seconds, number, finished))

    def _work_until(self, limit: float) -> None:
        """Let the replicas iterate up to a time."""
        while self._done and self._done[0][0] <= limit:
            now, number, finished = heapq.heappop(self._done)
            for request in finished:
                self._answered(request, now)
            self.replicas[number].working = False
            if not self.replicas[number].idle:
                self._iterate(now, number)

    def _answered(self, request: Request, now: float) -> None:
        if request.cancelled:
            return
        overheads = self.scenario.overheads
        overhead = self._source.choice(overheads) if overheads else self.scenario.service.request
        latency = now - request.arrived + overhead
        self.tallies.latencies.append(latency)
        lost_at = self.scenario.lost_at
        if lost_at is not None and request.arrived >= lost_at:
            self.tallies.after_loss.append(latency)
