"""Tasks side by side."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from bench.execution.tasks import Task, finished, together
from tests.support.futures import done


def waits(futures: list[Future[int]], ended: list[str], name: str) -> Task[int]:
    total = 0
    try:
        for future in futures:
            total += yield future
    finally:
        ended.append(name)
    return total


def test_tasks_go_on_side_by_side_and_all_return() -> None:
    ended: list[str] = []
    tasks = [waits([done(1), done(2)], ended, "a"), waits([], ended, "b"), waits([done(4)], ended, "c")]
    assert finished(together(tasks)) == [3, 0, 4]
    assert sorted(ended) == ["a", "b", "c"]


def test_all_have_started_before_the_first_is_waited_for_and_all_are_closed_with_their_group() -> None:
    ended: list[str] = []
    never: Future[int] = Future()
    group = together([waits([never], ended, "a"), waits([], ended, "b"), waits([never], ended, "c")])
    assert next(group) is never and ended == ["b"]
    group.close()
    assert sorted(ended) == ["a", "b", "c"]


def test_what_a_task_raises_closes_the_others() -> None:
    ended: list[str] = []

    def raises() -> Task[int]:
        yield done(1)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        finished(together([raises(), waits([Future()], ended, "b")]))
    assert ended == ["b"]
