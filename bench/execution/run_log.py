"""A run's log: each process, its request and how it ended; in the run's folder and, with `-v`, on stderr.

Only the runner writes it, before a worker starts and after it has ended, so that no timed launch shares its
cores with the log. A log that cannot be written never ends a run.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bench.formatting import visible
from bench.results.folder import refuse_links

RUN_LOG = "run.log"

SHOWN = "bench.shown"
"""The logger of lines that a run prints by itself, with `-v` or without."""

_LOG = logging.getLogger("bench")
_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _OneLine(logging.Formatter):
    """Writes a record as one line, whatever a stage's name or a worker's last words have in them."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(" ".join(super().format(record).split("\n")))


class _Quiet(logging.StreamHandler[Any]):
    """Stops writing after an error: a full disk ends the log, not the run."""

    def handleError(self, record: logging.LogRecord) -> None:
        self.setLevel(logging.CRITICAL + 1)


class _Stderr(_Quiet):
    """Writes to the stderr of the moment: the live display puts its own in place of the first."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


@contextmanager
def logged_to(results: Path, run_id: str) -> Iterator[None]:
    """Write what happens meanwhile to the run's log, after what is there already.

    Raises StoreError where the run's folder or its log is a link.
    """
    refuse_links(results, f"{run_id}/{RUN_LOG}")
    file = _open(results / run_id / RUN_LOG)
    with _attached(logging.NullHandler() if file is None else _Quiet(file)):
        try:
            yield
        finally:
            with suppress(OSError):  # what a full disk has kept in the buffer
                if file is not None:
                    file.close()


@contextmanager
def shown(verbose: bool = True) -> Iterator[None]:
    """Show the same lines on stderr, once however often this is asked for."""
    if not verbose or any(isinstance(handler, _Stderr) for handler in _LOG.handlers):
        yield
        return
    handler = _Stderr()
    handler.addFilter(lambda record: record.name != SHOWN)
    with _attached(handler):
        yield


def also_logged(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that prints a line and also logs it."""

    def tell(line: str) -> None:
        logging.getLogger(SHOWN).info("%s", line)
        say(line)

    return tell


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    handler.setFormatter(_OneLine(_FORM))
    level, propagates = _LOG.level, _LOG.propagate
    _LOG.setLevel(logging.INFO if level == logging.NOTSET else min(level, logging.INFO))
    # Not to the handlers of a program that calls `bench.measure`: its terminal is its own.
    _LOG.propagate = False
    _LOG.addHandler(handler)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)
        _LOG.propagate = propagates


def _open(path: Path) -> IO[str] | None:
    """Open a log for what is to be added to it; None where that cannot be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        file = os.fdopen(os.open(path, flags, 0o644), "a", encoding="utf-8", errors="backslashreplace")
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            return file
        file.close()  # of somebody else's: a pipe, or a file that is also another's
    return None
