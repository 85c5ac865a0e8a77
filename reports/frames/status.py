"""What became of each stage, from all of its launches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Status:
    """The state of a stage. A `pending` one has no launch yet, or never got one if the run is finished.

    Of its `launches`, `good` ended well; of those, `disturbed` were disturbed.
    """

    state: str = "pending"
    reason: str = ""
    last_line: str = ""
    launches: int = 0
    reused: bool = False
    good: int = 0
    disturbed: int = 0

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    @property
    def bad(self) -> bool:
        return self.state not in ("ok", "pending")


PENDING = Status()


def statuses_of(launches: pd.DataFrame) -> dict[str, Status]:
    """Return the status of each stage that was launched, by its key, from the frame of `Store.launches`."""
    found: dict[str, Status] = {}
    # Most stages have the same status as others.
    equal: dict[tuple[Any, ...], Status] = {}
    columns = ("stage_key", "state", "reason", "output_tail", "reused", "disturbed")
    for key, state, reason, tail, reused, disturbed in zip(
        *(launches[name].tolist() for name in columns), strict=True
    ):
        before, state_now = found.get(key, PENDING), state
        if before.ok and state != "ok":
            state, reason, tail, reused = before.state, before.reason, before.last_line, before.reused
        elif before.ok:
            reused = before.reused and bool(reused)
        lines = [line.strip() for line in tail.splitlines() if line.strip()] if tail else []
        last_line = lines[-1] if lines else ""
        counts = (before.good + (state_now == "ok"), before.disturbed + bool(disturbed))
        values = (state, reason or "", last_line, before.launches + 1, bool(reused), *counts)
        found[key] = equal.get(values) or equal.setdefault(values, Status(*values))
    return found
