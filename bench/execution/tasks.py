"""Tasks that wait for processes, carried on side by side in one thread, which alone writes the store.

A task is a generator that yields the future that it waits for. An event loop of asyncio would do the same,
but refuses to run inside another one, as a notebook has.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

ReturnT = TypeVar("ReturnT")

Task = Generator[Future[Any], Any, ReturnT]
"""What waits for a future by `result = yield future`."""


class Tasks:
    """The tasks that run, each with the future that it waits for."""

    def __init__(self) -> None:
        self._waiting: dict[Task[None], Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, task: Task[None]) -> None:
        """Run a task until it waits for something."""
        self._go_on(task, None)

    def step(self, timeout_s: float | None = None) -> None:
        """Sleep until a future is done, and run the tasks that waited for it until they wait again."""
        done, _ = wait(self._waiting.values(), timeout_s, FIRST_COMPLETED)
        for task in [task for task, future in self._waiting.items() if future in done]:
            self._go_on(task, self._waiting.pop(task).result())

    def close(self) -> None:
        """End the tasks where they are."""
        for task in list(self._waiting):
            task.close()
        self._waiting.clear()

    def _go_on(self, task: Task[None], result: Any) -> None:
        try:
            self._waiting[task] = task.send(result)
        except StopIteration:
            return


def together(tasks: Sequence[Task[Any]]) -> Task[list[Any]]:
    """Carry on tasks side by side; return what they return once all have ended."""
    waiting: dict[int, Future[Any]] = {}
    returned: list[Any] = [None] * len(tasks)

    def go_on(number: int, result: Any) -> None:
        try:
            waiting[number] = tasks[number].send(result)
        except StopIteration as end:
            returned[number] = end.value

    try:
        for number in range(len(tasks)):
            go_on(number, None)
        while waiting:
            number = next(iter(waiting))
            result = yield waiting[number]
            del waiting[number]
            go_on(number, result)
    finally:
        for task in tasks:
            task.close()
    return returned


def finished(task: Task[ReturnT]) -> ReturnT:
    """Run one task to its end, and return what it returns."""
    result = None
    while True:
        try:
            result = task.send(result).result()
        except StopIteration as end:
            returned: ReturnT = end.value
            return returned
