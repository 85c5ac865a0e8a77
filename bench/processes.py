"""Other programs that the suite starts: how they ended, in words."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence

from bench.errors import BenchError


def output_of(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command and return what it printed; raises BenchError where it fails or is killed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    refuse_bad_end(words, done.returncode, done.stderr)
    return done.stdout


def refuse_bad_end(words: Sequence[str], code: int, errors: str = "") -> None:
    """Raise BenchError where a command's exit code is not 0, with the last line of its errors."""
    if code == 0:
        return
    if code < 0 or not errors.strip():
        raise BenchError(f"{shlex.join(words)} {how_it_ended(code)}")
    raise BenchError(f"{shlex.join(words)}: {errors.strip().splitlines()[-1]}")


def how_it_ended(code: int) -> str:
    """Say how a process ended, from its exit code as `subprocess` has it: negative for a signal."""
    return f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def signal_name(number: int) -> str:
    """Return a signal's name, or its number where it has none, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
