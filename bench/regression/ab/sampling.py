"""Where samples come from: a command's processes, or launches of a matrix's timed stages."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from bench.errors import BenchError
from bench.execution.on_demand import Launched, Offer
from bench.regression.ab.serving import OLDER

SHOWN_CHARACTERS = 300
"""Of what a process that failed said last."""

USED = ("wall_s", "processor_s", "peak_rss_bytes")
"""What is measured of each command."""

_END_S = 60.0


@dataclass(frozen=True)
class Place:
    """Where one side's code runs: its folder, and the environment of its processes.

    `python` is the interpreter whose packages it has.
    """

    name: str
    folder: Path
    python: str = sys.executable
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of its processes: commands come from the interpreter's folder first."""
        own = str(Path(self.python).parent)
        return {**os.environ, "PATH": f"{own}{os.pathsep}{os.environ.get('PATH', '')}", **self.variables}


class Sampler(Protocol):
    """One side that gives samples."""

    def timings(self) -> Sequence[Offer]:
        """Return what can be sampled; may take long, as everything that is not timed is done first."""

    def start_renewal(self) -> None:
        """Begin to start a fresh server, for the samples of a block."""

    def end_renewal(self) -> None:
        """Wait until the fresh server is ready."""

    def sample(self, key: str) -> Mapping[str, Launched]:
        """Return a fresh process's value of each metric of a timing, by metric."""

    def end(self) -> Mapping[str, Any]:
        """End it; returns what a baseline of this side would have, empty where there is nothing."""

    def close(self) -> None:
        """Stop what still runs."""


@dataclass
class CommandSampler:
    """Runs a command again and again: seconds, seconds of the processor, memory, and what it prints.

    `pattern` is a regular expression with one group, a number in what the command prints; the last match
    counts.
    """

    place: Place
    command: str
    timeout_s: float
    pattern: str = ""

    @property
    def _metrics(self) -> list[str]:
        return [*USED, *(["printed"] if self.pattern else [])]

    def timings(self) -> Sequence[Offer]:
        """Return what can be sampled, after the command ran once.

        The first run in a fresh worktree compiles byte code and reads files that no cache has: it is not
        counted.
        """
        self.sample(self.command)
        return [Offer(self.command, self.command, metric) for metric in self._metrics]

    def start_renewal(self) -> None:
        return

    def end_renewal(self) -> None:
        return

    def sample(self, key: str) -> Mapping[str, Launched]:
        words = shlex.split(key)
        if _is_own_python(Path(words[0])):
            words[0] = self.place.python
        with TemporaryDirectory(prefix="bench-ab-") as folder:
            output = Path(folder) / "output"
            used = _spawned(words, self.place, output, self.timeout_s)
            printed = output.read_text(errors="replace") if output.is_file() else ""
        if reason := _why_failed(used, printed):
            return dict.fromkeys(self._metrics, Launched(None, reason))
        values = {metric: Launched(float(used[metric])) for metric in USED}
        return values | ({"printed": self._printed(printed)} if self.pattern else {})

    def _printed(self, printed: str) -> Launched:
        found = re.findall(self.pattern, printed)
        try:
            return Launched(float(found[-1]))
        except (IndexError, TypeError, ValueError):
            return Launched(None, f"printed no number that {self.pattern!r} finds")

    def end(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        return


def _is_own_python(program: Path) -> bool:
    """Say whether a command means the side's interpreter: any but one that is named by another's path."""
    here = program.parent.resolve() == Path(sys.executable).parent.resolve()
    return program.name in ("python", "python3") and (here or not program.is_absolute())


def _spawned(words: Sequence[str], place: Place, output: Path, timeout_s: float) -> dict[str, Any]:
    """Run a command in a side's place; returns what `bench.regression.ab.spawner` says of it."""
    command = {
        "words": words,
        "folder": str(place.folder),
        "environment": place.environment,
        "output": str(output),
        "timeout_s": timeout_s,
    }
    spawner = [sys.executable, "-I", "-S", str(Path(__file__).with_name("spawner.py"))]
    pipe = subprocess.PIPE
    with subprocess.Popen(spawner, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            # Not as an argument: the environment may hold secrets, and everybody can list arguments.
            said, _ = process.communicate(json.dumps(command))
        except BaseException:
            process.terminate()
            raise
    found: dict[str, Any] = json.loads(said)
    return found


def _why_failed(used: Mapping[str, Any], printed: str) -> str:
    """Say why a command failed; empty where it did not."""
    if used["code"] == 0:
        return ""
    last = " ".join(printed.split())[-SHOWN_CHARACTERS:]
    code = used["code"]
    ended = "took too long" if used["late"] else f"exit code {code}" if code > 0 else f"signal {-code}"
    return ended + (f": {last}" if last else "")


class MatrixSampler:
    """A side's own process that launches the timed stages of a matrix; see `bench.regression.ab.serving`."""

    def __init__(self, place: Place, served: Mapping[str, Any], log: Path) -> None:
        self._place = place
        self._served = dict(served)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._metrics: dict[str, str] = {}

    def timings(self) -> Sequence[Offer]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [self._place.python, "-m", "bench.regression.ab.serving", json.dumps(self._served)],
                cwd=self._place.folder,
                env=self._place.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        offers = [Offer(**offer) for offer in self._heard()["offers"]]
        self._metrics = {offer.key: offer.metric for offer in offers}
        return offers

    def start_renewal(self) -> None:
        self._write("")

    def end_renewal(self) -> None:
        self._heard()

    def sample(self, key: str) -> Mapping[str, Launched]:
        return {self._metrics[key]: self._ask(key)}

    def _ask(self, key: str | None) -> Launched:
        self._write(key)
        return Launched(**self._heard())

    def end(self) -> Mapping[str, Any]:
        self._write(None)
        content: Mapping[str, Any] = self._heard()["content"]
        assert self._process is not None
        self._process.wait(_END_S)
        return content

    def _write(self, key: str | None) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(key) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _heard(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        heard: dict[str, Any] = json.loads(line)
        if "error" in heard:
            raise BenchError(f"{self._place.name}: {heard['error']}")
        return heard

    def _fail(self) -> None:
        assert self._process is not None
        code = self._process.wait(_END_S)
        said = self._log.read_text(errors="replace")
        if "No module named" in said and "bench" in said.rsplit("No module named", 1)[1]:
            raise BenchError(f"{self._place.name}: {OLDER}")
        last = " ".join(said.split())[-SHOWN_CHARACTERS:]
        raise BenchError(
            f"{self._place.name}: its process ended with {code}: {last} (all of it: {self._log})"
        )

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
