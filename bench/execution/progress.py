"""The progress of a run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from bench.execution.run_log import SHOWN
from bench.formatting import clock_text, counted, visible

_LOG = logging.getLogger(SHOWN)
_DETAILS = logging.getLogger(__name__)

_OK = "ok"
"""How the outcome of a stage that ended well begins."""

_BAR_COLUMNS = 60

QUIET_S = 60
"""Seconds after which a file or a pipe gets a line though no stage ended: timed ones end together."""


class Display:
    """Shows stages as they start and end. It draws only on request, never during a timed launch.

    A terminal keeps only lines that say something went wrong; what runs, what is next and what ended last is
    redrawn in place. A file or a pipe gets a line for each stage that ends, and at least one in a minute.
    """

    def __init__(self, total: int, rest_s: Callable[[], float], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream, highlight=False)
        self._total = total
        self._done = 0
        self._bad = 0
        self._rest_s = rest_s
        self._started = time.monotonic()
        self._running: dict[str, tuple[str, float]] = {}
        self._coming: Sequence[str] = ()
        self._last = ""
        self._said = self._started
        self._repeated: Counter[str] = Counter()
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(visible(text), markup=False, soft_wrap=True)
        self._said = time.monotonic()

    def coming(self, stages: Sequence[str]) -> None:
        """Tell which stages are next, in their order; they are shown when the display is drawn again."""
        self._coming = stages

    def started(self, what: str, detail: str = "") -> None:
        now = time.monotonic()
        self._running[what] = (detail, now)
        if self._live is None and now - self._said >= QUIET_S:
            self.say(f"[{self._done}/{self._total}] now {what}{detail}  ({self._clock()})")
        self.draw()

    def ended(self, what: str, how: str, *, counts: bool = True) -> None:
        """Show how a stage ended; `counts` is false if it will be repeated."""
        self._running.pop(what, None)
        self._done += counts
        _LOG.info("%s: %s", what, how)
        self._last = f"{what}  {how}"
        well = how.startswith(_OK)
        self._bad += counts and not well
        line = f"[{self._done}/{self._total}] {self._last}"
        if self._live is None:
            self.say(f"{line}  ({self._clock()})")
        elif not well:
            self.say(line)
        self.draw()

    def repeated(self, what: str, why: str) -> None:
        """Count a launch that was disturbed and will be repeated; only the log says which and by what."""
        self._running.pop(what, None)
        self._repeated[what] += 1
        _DETAILS.info("%s: disturbed, repeated: %s", what, why)
        self.draw()

    def round_ended(self) -> None:
        """Say in one line how many launches of a round were disturbed, if any were."""
        if self._repeated:
            stages = counted(len(self._repeated), "stage")
            launches = counted(self._repeated.total(), "disturbed launch")
            self.say(f"{launches} of {stages} repeated (-v or run.log has the reasons)")
            self._repeated.clear()

    def expect(self, more: int) -> None:
        """Add this many stages to the total."""
        self._total += more

    def draw(self) -> None:
        """Redraw the display, on a terminal."""
        if self._live is None:
            return
        lines = [Text(visible(line), no_wrap=True, overflow="ellipsis") for line in self._lines()]
        bar = ProgressBar(total=max(1, self._total), completed=self._done, width=_BAR_COLUMNS)
        self._live.update(Group(*lines, bar), refresh=True)

    def _lines(self) -> Iterator[str]:
        """Yield what runs, what is next, what ended last, and how far the run is."""
        now = time.monotonic()
        for what, (detail, since) in self._running.items():
            yield f"  now   {what}{detail}  {now - since:.0f} s"
        waiting = [what for what in self._coming if what not in self._running]
        if waiting:
            more = f", then {len(waiting) - 1:,} more" if len(waiting) > 1 else ""
            yield f"  next  {waiting[0]}{more}"
        if self._last:
            yield f"  last  {self._last}"
        bad = f", {self._bad:,} not ok" if self._bad else ""
        yield f"{self._done:,} of {counted(self._total, 'stage')}{bad}, {self._clock()}"

    def _clock(self) -> str:
        elapsed = time.monotonic() - self._started
        return f"{clock_text(elapsed)} elapsed, about {clock_text(self._rest_s())} left"
