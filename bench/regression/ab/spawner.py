"""Runs one command and says what it used; a process of its own, run by path, that imports next to nothing.

A process's peak memory counts what its parent had when it was started, so that the parent must be small.
Reads JSON from standard input: words, folder, environment, output (a file), timeout_s. Prints JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any


def run(command: dict[str, Any]) -> dict[str, Any]:
    """Run the command; returns its seconds, what the kernel counted, and how it ended.

    What is counted includes its children that it waited for. Those that are left when it has ended, or when
    it takes too long, are ended with it: they would disturb whatever is measured next.
    """
    started = time.perf_counter()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        _become(command)
    late = False

    def stop(number: int, _: object) -> None:
        nonlocal late
        late = late or number == signal.SIGALRM
        _end_group(child)

    with suppress(OSError):
        os.setpgid(child, child)  # here too: whichever comes first
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, stop)
    signal.setitimer(signal.ITIMER_REAL, command["timeout_s"])
    _, status, usage = os.wait4(child, 0)
    wall_s = time.perf_counter() - started
    signal.setitimer(signal.ITIMER_REAL, 0)
    _end_group(child)
    return {
        "wall_s": wall_s,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
    }


def _end_group(leader: int) -> None:
    with suppress(OSError):  # nobody is left
        os.killpg(leader, signal.SIGKILL)


def _become(command: dict[str, Any]) -> None:
    """Be the command from now on; exit code 127 where it cannot be found, as in shells."""
    try:
        output = os.open(command["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(command["folder"])
        os.execvpe(command["words"][0], command["words"], command["environment"])
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    os._exit(127)


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
