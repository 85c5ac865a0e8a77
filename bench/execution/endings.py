"""How workers end: the results that they leave, and what their exit codes say where they leave none."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.processes import signal_name
from bench.records import Result, State, read_as

TAIL_LINES = 20

NO_SPACE_EXIT = os.EX_IOERR
"""The exit code of a worker that could not leave its result because the disk is full."""

# These signals come from outside, so they are not the fault of the stage: the launch is repeated.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def judge_end(reply: Mapping[str, Any], tail: str, timeout_s: float) -> tuple[State, str]:
    """Return the state and reason of a worker that left no result."""
    code = reply["exit"]
    if reply.get("error"):
        return "failed", reply["error"]
    if reply["timed_out"]:
        return "timeout", f"exceeded its timeout of {timeout_s:g} s"
    if "std::bad_alloc" in tail or "MemoryError" in tail:
        return "oom", "could not allocate memory"
    if code == NO_SPACE_EXIT:
        return "failed", os.strerror(errno.ENOSPC)
    if code >= 0:
        return "failed", f"ended with exit code {code} and left no result"
    name = signal_name(-code)
    if -code == signal.SIGKILL and reply["oom_kills"]:
        return "oom", "killed by the kernel: out of memory"
    if -code in FROM_OUTSIDE:
        return "killed", f"ended from outside by {name}"
    return "failed", f"ended by {name}"


def read_result(path: Path) -> Result | None:
    """Return the result that a worker left, or None where it left none that is whole."""
    try:
        return read_as(Result, json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_tail(path: Path) -> str:
    """Return the last lines of a worker's output."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16384))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-TAIL_LINES:])
