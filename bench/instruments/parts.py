"""The time of the parts of a call, from marks at their borders."""

from __future__ import annotations

import time
from collections.abc import Callable


class PartsClock:
    """Adds up the seconds of each part of a call, as often as it comes.

    A part lasts from its own mark to the next one. `synchronize` waits for the device and is inside each
    part: what a part queued is done when it ends. So the parts add up to all that passed since the first
    mark, and a device that would have gone on with the next part waits for the host instead.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._part = ""
        self._since_ns = 0
        self._spent_ns: dict[str, int] = {}

    def begin(self, part: str) -> None:
        """Mark the end of the part that is running, if any, and the start of this one."""
        if part != self._part:
            self._since_ns = self._end()
            self._part = part

    def take(self) -> dict[str, float]:
        """End the part that is running; return the seconds of each since the last call, then forget them."""
        self._end()
        taken = {part: spent / 1e9 for part, spent in self._spent_ns.items()}
        self._part, self._spent_ns = "", {}
        return taken

    def _end(self) -> int:
        """Add up the running part; return the time of its end."""
        self._synchronize()
        now = time.perf_counter_ns()
        if self._part:
            self._spent_ns[self._part] = self._spent_ns.get(self._part, 0) + now - self._since_ns
        return now
