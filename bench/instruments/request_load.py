"""Requests that arrive as a Poisson process, whatever the server does: an open loop.

Each is clocked from when it was due, so that one that a busy server took up late has waited: there is no
coordinated omission (Tene 2013). A thread of its own notes arrivals, so that a busy engine does not hold them
up. Goodput is what holds bounds on the first token and on the later ones (Zhong et al. 2024, "DistServe").

Two checks make a load invalid. Little's law (Little 1961): the mean number of requests in the system is
their rate times their mean time in it. The number is counted apart, as requests come and go, and the time is
of their own records: where these are wrong, the two differ. And punctuality: arrivals that a busy machine
notes late are no open load, however long the requests take.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from techniques.backends.text_engine import NewTokens, TextEngine

LITTLE = 0.02
"""How far the number that was counted may be from rate times time."""

LATE = 0.02
"""How late requests may be seen on average, as a share of the bound on their first token."""

_NAP_S = 0.05


@runtime_checkable
class RequestServer(Protocol):
    """An engine that takes requests at any time and works on several at once."""

    def submit(self, prompt: torch.Tensor, tokens: int) -> Any:
        """Take a request to continue a prompt (time,) by so many tokens; return its handle."""
        ...

    def unfinished(self) -> bool:
        """Say whether a request has tokens to come."""
        ...

    def step(self, handles: Sequence[Any]) -> NewTokens:
        """Take a step with all requests; return the new tokens of these."""
        ...


class OneAtATime:
    """A server that continues one text after the other, in the order of their arrival."""

    def __init__(self, engine: TextEngine) -> None:
        self._engine = engine
        self._waiting: deque[tuple[object, torch.Tensor, int]] = deque()
        self._running: Iterator[NewTokens] | None = None
        self._left = 0

    def submit(self, prompt: torch.Tensor, tokens: int) -> object:
        """Put a request behind the others."""
        handle = object()
        self._waiting.append((handle, prompt, tokens))
        return handle

    def unfinished(self) -> bool:
        """Say whether a request has tokens to come."""
        return bool(self._waiting)

    def step(self, handles: Sequence[object]) -> NewTokens:
        """Take a step of the first request; return the new tokens of these."""
        first, prompt, tokens = self._waiting[0]
        if self._running is None:
            self._running, self._left = self._engine.stream(prompt[None], tokens), tokens
        new = next(self._running)[0]
        self._left -= len(new)
        if self._left <= 0:
            for _ in self._running:  # what an engine does when a text is whole
                pass
            self._running = None
            self._waiting.popleft()
        return [new if handle is first else [] for handle in handles]


@dataclass(frozen=True)
class Arrival:
    """A request that is due `due_s` after the start, with the lengths of its prompt and its continuation."""

    due_s: float
    prompt: int
    new: int


@dataclass
class ServedRequest:
    """When a request was due, seen to arrive, and had its tokens, in seconds after the start."""

    planned: Arrival
    seen_s: float = 0.0
    first_s: float = 0.0
    end_s: float = 0.0
    tokens: int = 0
    handle: Any = field(default=None, repr=False)

    @property
    def ttft_s(self) -> float:
        """Return the wait for the first token since the request was due."""
        return self.first_s - self.planned.due_s

    @property
    def tpot_s(self) -> float | None:
        """Return the time per output token; None for a single token."""
        return (self.end_s - self.first_s) / (self.tokens - 1) if self.tokens > 1 else None

    @property
    def total_s(self) -> float:
        """Return the time from when it was due to its last token."""
        return self.end_s - self.planned.due_s


def plan_requests(
    rate_per_s: float, count: int, prompt: tuple[int, int], new: tuple[int, int], seed: int = 0
) -> list[Arrival]:
    """Return requests of a Poisson process; lengths are uniform from the least to the most, both included."""
    generator = np.random.default_rng(seed)
    due_s = np.cumsum(generator.exponential(1 / rate_per_s, count))
    prompts, continuations = (generator.integers(least, most + 1, count) for least, most in (prompt, new))
    return [
        Arrival(*entry)
        for entry in zip(due_s.tolist(), prompts.tolist(), continuations.tolist(), strict=True)
    ]


class Arrivals(Protocol):
    """Sees requests arrive, by a clock in seconds after the start."""

    def now_s(self) -> float:
        """Return the time."""
        ...

    def wait(self) -> None:
        """Wait until a request may have arrived."""
        ...

    def seen(self) -> list[float]:
        """Return when each request was seen to arrive, of those that arrived since the last call."""
        ...


class ThreadedArrivals:
    """Arrivals that a thread notes as they become due."""

    def __init__(self, planned: Sequence[Arrival]) -> None:
        self._due_s = [entry.due_s for entry in planned]
        self._noted: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._news = threading.Event()
        self._began = time.perf_counter()
        threading.Thread(target=self._note, daemon=True).start()

    def now_s(self) -> float:
        """Return the time."""
        return time.perf_counter() - self._began

    def wait(self) -> None:
        """Wait until a request may have arrived."""
        self._news.wait(_NAP_S)

    def seen(self) -> list[float]:
        """Return when each of the next requests was seen to arrive."""
        self._news.clear()
        return [self._noted.get() for _ in range(self._noted.qsize())]

    def _note(self) -> None:
        for due_s in self._due_s:
            time.sleep(max(0.0, due_s - self.now_s()))
            self._noted.put(self.now_s())
            self._news.set()


class Census:
    """The number of requests in the system, counted as they come and go."""

    def __init__(self) -> None:
        self._changes: list[tuple[float, int]] = []

    def enter(self, at_s: float) -> None:
        """Count one more from a time on."""
        self._changes.append((at_s, 1))

    def leave(self, at_s: float, count: int) -> None:
        """Count so many fewer from a time on."""
        self._changes.append((at_s, -count))

    def mean(self) -> float:
        """Return the mean number over all time from 0 to the last change."""
        area, present, since = 0.0, 0, 0.0
        for at_s, change in sorted(self._changes):
            area += present * (at_s - since)
            present, since = present + change, at_s
        return area / since if since else 0.0


@dataclass(frozen=True)
class ServedLoad:
    """What became of each request, in the order in which they came; `in_system` is their mean number."""

    requests: Sequence[ServedRequest]
    in_system: float


def serve_requests(
    server: RequestServer, arrivals: Arrivals, planned: Sequence[Arrival], prompts: Sequence[torch.Tensor]
) -> ServedLoad:
    """Serve requests as they arrive, and return what became of them.

    `prompts` are their prompts, each (time,). Raises ValueError where the server ends with fewer tokens than
    a request asked for.
    """
    requests = [ServedRequest(entry) for entry in planned]
    coming, running = deque(zip(requests, prompts, strict=True)), list[ServedRequest]()
    census = Census()
    while coming or running:
        for seen_s in arrivals.seen():
            request, prompt = coming.popleft()
            census.enter(seen_s)
            request.seen_s, request.handle = seen_s, server.submit(prompt, request.planned.new)
            running.append(request)
        if not running:
            arrivals.wait()
            continue
        if not server.unfinished():
            raise ValueError(f"the server ended {len(running)} requests before their last token")
        new = server.step([request.handle for request in running])
        _note(running, new, arrivals.now_s())
        left = [request for request in running if request.tokens < request.planned.new]
        if len(left) < len(running):
            census.leave(arrivals.now_s(), len(running) - len(left))
        running = left
    return ServedLoad(requests, census.mean())


def _note(running: Sequence[ServedRequest], new: NewTokens, at_s: float) -> None:
    for request, tokens in zip(running, new, strict=True):
        if tokens:
            request.first_s = request.first_s or at_s
            request.tokens += len(tokens)
            request.end_s = at_s


@dataclass(frozen=True)
class Goodput:
    """What became of a load: requests a second that came, and those within the bounds, of all seconds.

    `in_system` is the mean number of requests that were counted in the system, `by_littles_law` their rate
    times their mean time in it; `late` is how long after they were due they were seen, on average, as a share
    of the bound on the first token.
    """

    rate_per_s: float
    good_per_s: float
    good_share: float
    in_system: float
    by_littles_law: float
    late: float = 0.0

    @property
    def fault(self) -> str:
        """Say why the load is not the planned one or its times are wrong, or return an empty text."""
        off = abs(self.in_system / self.by_littles_law - 1)
        if off > LITTLE:
            return (
                f"{self.in_system:.3g} requests were counted in the system, {self.by_littles_law:.3g} by "
                f"Little's law: their times are {100 * off:.0f} % off"
            )
        if self.late > LATE:
            return (
                f"requests were seen {100 * self.late:.0f} % of the bound on the first token after they were "
                "due: the load did not come as planned"
            )
        return ""


def goodput(load: ServedLoad, ttft_s: float, tpot_s: float) -> Goodput:
    """Return the goodput of served requests at bounds on the first token and on the later ones."""
    served = load.requests
    seconds = max(request.end_s for request in served)
    good = sum(request.ttft_s <= ttft_s and (request.tpot_s or 0.0) <= tpot_s for request in served)
    rate = len(served) / seconds
    mean_s = sum(request.total_s for request in served) / len(served)
    late_s = sum(request.seen_s - request.planned.due_s for request in served) / len(served)
    return Goodput(rate, good / seconds, good / len(served), load.in_system, rate * mean_s, late_s / ttft_s)
