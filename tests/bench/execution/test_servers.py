"""Fork servers: a fresh one for each round, one for all of a smoke run, and another where one has ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.costs.timeline import Timeline, now_s
from bench.errors import BenchError
from bench.execution.servers import MAX_ENDS, Servers
from bench.records import PlannedRequest
from bench.results.store import StageRow

STAGE = StageRow("0" * 64, "infer", "dense", True, (), PlannedRequest(server_imports=("a_library",)))


class Made:
    """Stands in for fork servers; those that import something in `crashing` end before they are ready."""

    def __init__(self, crashing: tuple[str, ...] = ()) -> None:
        self.crashing = set(crashing)
        self.all: list[SimpleNamespace] = []

    def __call__(self, imports: list[str]) -> Any:
        server = SimpleNamespace(imports=imports, alive=not self.crashing & set(imports), end="", closed=0)
        server.wait_until_ready = lambda: None
        server.close = lambda: setattr(server, "closed", server.closed + 1)
        self.all.append(server)
        return server


@pytest.mark.parametrize(("kept", "count"), [(False, 3), (True, 1)])
def test_rounds_have_fresh_servers_but_in_a_smoke_run_and_none_is_left(kept, count):
    made = Made()
    servers = Servers(made, Timeline(now_s()), kept=kept)
    for _ in range(3):
        servers.stop(servers.start([STAGE]))
    servers.close()
    assert [server.imports for server in made.all] == [["a_library"]] * count
    assert [server.closed for server in made.all] == [1] * count


def test_a_kept_server_that_ended_is_replaced():
    made = Made()
    servers = Servers(made, Timeline(now_s()), kept=True)
    first: Any = servers.start([STAGE])
    first.alive = False
    servers.stop(first)
    assert servers.start([STAGE], first) is made.all[1]
    servers.close()
    assert [server.closed for server in made.all] == [1, 1]


def test_what_crashes_a_server_is_left_to_the_worker_that_needs_it():
    made = Made(crashing=("a_library",))
    server: Any = Servers(made, Timeline(now_s()), kept=False).start([STAGE])
    assert server.imports == [] and len(made.all) == MAX_ENDS
    assert [each.closed for each in made.all] == [1] * (MAX_ENDS - 1) + [0]


def test_servers_that_never_get_ready_stop_the_run():
    made = Made()
    with pytest.raises(BenchError, match="no fork server could be started"):
        Servers(lambda imports: dead(made(imports)), Timeline(now_s()), kept=True).start([STAGE])


def dead(server: Any) -> Any:
    server.alive = False
    return server
