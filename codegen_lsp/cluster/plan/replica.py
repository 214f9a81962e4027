"""One simulated engine: what it does in an iteration, and which documents its prefix cache holds."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from codegen_lsp.cluster.plan import traces as recorded
from codegen_lsp.cluster.plan.service import Service

CHUNK = 512
"""Maximum number of tokens of a prompt that an iteration reads."""

MAX_ROWS = 256
"""Maximum number of requests that a replica decodes at once."""


@dataclass(slots=True)
class Request:
    """A request that a replica works on."""

    developer: int
    arrived: float
    """Time of the key that it answers."""
    prompt: int
    unread: int
    """Tokens of the prompt that are left to read."""
    unwritten: int
    cancelled: bool = False


class Replica:
    """One simulated engine."""

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
        """Run one iteration; return its duration in seconds and the requests that it finishes."""
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
