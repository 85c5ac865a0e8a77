"""What agents of a cluster's nodes say, and a channel that answers for one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from itertools import count
from typing import Any

from bench.execution.engines.remote import NodeLost
from tests.support.futures import done

OBSTACLES = {"cpu-eager": None, "openvino": ["no OpenVINO", "pip install openvino", ""]}


_NUMBERS = count()


class Channel:
    """Answers calls as it is told; a call that has no answer finds that the node is lost."""

    def __init__(self, **answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[str] = []
        self.closed = False
        self.end = ""

    def call(self, what: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        self.calls.append(what)
        if what in self.answers:
            return done(self.answers[what])
        lost: Future[dict[str, Any]] = Future()
        lost.set_exception(NodeLost("no answer"))
        return lost

    def close(self) -> None:
        self.closed = True


def answer(
    kind: str = "kind",
    cores: int = 2,
    *,
    boards: int = 0,
    problem: str = "",
    machine: str = "",
    cpus: int = 0,
    threads: int = 1,
) -> dict[str, Any]:
    """Return what an agent says of its node: `cores` of the `cpus` of a machine, which has `threads` a core.

    Each has a machine of its own, unless one is named.
    """
    allowed = list(range(cpus or cores))
    return {
        **{"kind": kind, "cpus": allowed, "cores": cores, "memory_bytes": 2**30, "problem": problem},
        **{"physical": [str(cpu // threads) for cpu in allowed], "boards": list(map(str, range(boards)))},
        **{"devices": {"cpu": f"cpu: {kind}"}, "obstacles": OBSTACLES, "host": "a-host"},
        "machine": machine or f"machine-{next(_NUMBERS)}",
    }
