"""Fork servers: a fresh one for each round, one for all of a smoke run, and another where one has ended."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bench.costs.timeline import Timeline, now_s
from bench.errors import BenchError
from bench.execution.engines.local import LocalEngine
from bench.execution.resources import Resources
from bench.execution.servers import MAX_ENDS, Servers
from bench.execution.tasks import finished
from bench.records import PlannedRequest
from bench.results.store import StageRow
from tests.support.futures import done

RESOURCES = Resources((0,), 2**30)

STAGE = StageRow("0" * 64, "infer", "dense", True, (), PlannedRequest(server_imports=("a_library",)))


class Made:
    """Stands in for fork servers; those that import something in `crashing` end before they are ready."""

    def __init__(self, crashing: tuple[str, ...] = ()) -> None:
        self.crashing = set(crashing)
        self.all: list[SimpleNamespace] = []

    def __call__(self, imports: list[str]) -> Any:
        server = SimpleNamespace(imports=imports, alive=not self.crashing & set(imports), end="", closed=0)
        server.ready = done(None)
        server.close = lambda: setattr(server, "closed", server.closed + 1)
        self.all.append(server)
        return server


def servers_of(make: Callable[[list[str]], Any], *, kept: bool) -> Servers:
    return Servers(LocalEngine(RESOURCES, make), Timeline(now_s()), print, kept=kept)


def start(servers: Servers, old: Any = None) -> Any:
    (node,) = servers.nodes()
    return finished(servers.start(node, [STAGE], old))


def test_a_server_that_was_started_beforehand_serves_a_round_that_needs_no_more_than_it_imported():
    made = Made()
    servers = servers_of(made, kept=False)
    (node,) = servers.nodes()
    finished(servers.prepare(node, [STAGE]))
    servers.spare(node, made([]), [])
    (prepared, untimed) = made.all
    assert start(servers) is prepared
    servers.stop(prepared)
    fresh = start(servers)
    assert fresh is not untimed and untimed.closed == 1  # it lacked the import
    finished(servers.prepare(node, [STAGE]))
    servers.stop(fresh)
    servers.close()
    assert [server.closed for server in made.all] == [1] * 4


def test_a_server_that_ended_before_its_round_is_replaced():
    made = Made()
    servers = servers_of(made, kept=False)
    (node,) = servers.nodes()
    finished(servers.prepare(node, [STAGE]))
    made.all[0].alive = False
    assert start(servers) is made.all[1]


@pytest.mark.parametrize(("kept", "count"), [(False, 3), (True, 1)])
def test_rounds_have_fresh_servers_but_in_a_smoke_run_and_none_is_left(kept, count):
    made = Made()
    servers = servers_of(made, kept=kept)
    for _ in range(3):
        servers.stop(start(servers))
    servers.close()
    assert [server.imports for server in made.all] == [["a_library"]] * count
    assert [server.closed for server in made.all] == [1] * count


def test_a_kept_server_that_ended_is_replaced():
    made = Made()
    servers = servers_of(made, kept=True)
    first = start(servers)
    first.alive = False
    servers.stop(first)
    assert start(servers, first) is made.all[1]
    servers.close()
    assert [server.closed for server in made.all] == [1, 1]


def test_what_crashes_a_server_is_left_to_the_worker_that_needs_it():
    made = Made(crashing=("a_library",))
    server = start(servers_of(made, kept=False))
    assert server.imports == [] and len(made.all) == MAX_ENDS
    assert [each.closed for each in made.all] == [1] * (MAX_ENDS - 1) + [0]


def test_servers_that_never_get_ready_stop_the_run():
    made = Made()
    with pytest.raises(BenchError, match="no fork server could be started"):
        start(servers_of(lambda imports: dead(made(imports)), kept=True))


def dead(server: Any) -> Any:
    server.alive = False
    return server
