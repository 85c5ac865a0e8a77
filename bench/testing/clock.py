"""A timer for pytest-benchmark that counts what launches took: its rounds are launches of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class LaunchClock:
    """A clock that stands still, but for `next_launch`, which takes as long as the next launch did."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._left: Iterator[float] = iter(())

    def load(self, seconds: Sequence[float]) -> None:
        """Take the seconds that launches took."""
        self._left = iter(seconds)

    def launch_clock(self) -> float:
        """Return the time in seconds: what pytest-benchmark reads."""
        return self._now_s

    def rewind(self) -> None:
        """Go back to 0, so that the next round is as long as its launch to the last digit."""
        self._now_s = 0.0

    def next_launch(self) -> None:
        """Let the next launch's seconds go by."""
        self._now_s += next(self._left, 0.0)
