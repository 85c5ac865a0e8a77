"""Carries a case out in this process, as `python -m bench` would, and judges what came of it."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.__main__ import main
from tests.fuzz.stores import Case

MAX_CHARACTERS = 500
MAX_SECONDS = 20.0

_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code, what it printed, an exception that nobody caught."""

    code: int
    out: str
    err: str
    uncaught: str
    seconds: float


def run(words: tuple[str, ...]) -> Outcome:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    # What this process worked for: a busy machine makes no command long.
    arguments, started, uncaught, code = sys.argv, time.process_time(), "", 0
    sys.argv = ["bench", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        uncaught = traceback.format_exc()
    finally:
        sys.argv = arguments
    return Outcome(code, out.getvalue(), err.getvalue(), uncaught, time.process_time() - started)


def faults(case: Case, outcome: Outcome, before: bytes | None) -> Iterator[str]:
    """Yield what is wrong with what a command did."""
    if outcome.uncaught:
        yield outcome.uncaught
        return
    regressed = case.words[:1] in (("check",), ("limits",), ("advise",)) and outcome.code == 1
    if outcome.code not in (0, 2) and not regressed:
        yield f"exit code {outcome.code}"
    if outcome.code == 2 and not outcome.err.strip() and not outcome.out.strip():
        yield "refused without a word"
    for line in outcome.err.splitlines():
        if len(line) > MAX_CHARACTERS:
            yield f"a message of {len(line)} characters: {line[:80]}"
    if "Traceback" in outcome.err + outcome.out:
        yield "a traceback"
    for stream, text in (("stdout", outcome.out), ("stderr", outcome.err)):
        found = _INVISIBLE.search(text)
        if found:
            around = text[max(0, found.start() - 60) : found.end() + 20]
            yield f"{found[0]!r} on {stream}: {around!r}"
    refused = outcome.code == 2 and "damaged" in outcome.err
    if refused and case.store is not None and case.store.read_bytes() != before:
        yield "the damaged store was changed"
    if outcome.seconds > MAX_SECONDS:
        yield f"took {outcome.seconds:.0f} s of the processor"


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    """Give a folder for one case."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def judge(case: Case) -> list[str]:
    """Carry a case out; returns what was wrong, nothing where all was well."""
    before = case.store.read_bytes() if case.store else None
    return list(faults(case, run(case.words), before))
