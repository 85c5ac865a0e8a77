"""Three pieces of fixed work that tell how fast a machine is beside the one of the reference costs.

A few seconds, once a day: compiling Python, compiling C++, and a product of matrices on all cores. They run
in a process of their own, so that none of their threads stays in the runner.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.costs.kept import change_kept, is_recent, read_kept, recent
from bench.records import read_as

_FILE = "calibration.json"
_MAX_S = 60.0
_REPEATS = 3
_REPEAT_S = 0.7
"""Seconds that each piece is repeated for, so that the fewest are of a moment when nothing disturbs."""
_SIDE = 1024
_PYTHON = "\n".join(
    f"def f{i}(a, b={i}):\n    c = [x * {i} for x in a if x % 3]\n    return {{k: v for k, v in zip(c, b)}}\n"
    for i in range(300)
)
_CPP = (
    "#include <map>\n#include <string>\nint f(std::map<std::string, int> &m) { return m[std::string()]++; }\n"
)


@dataclass(frozen=True)
class Calibration:
    """Seconds of each piece of work; `cpp_s` is None where there is no C++ compiler."""

    python_s: float
    product_s: float
    cpp_s: float | None = None

    def host_over(self, other: Calibration) -> float:
        """Return how many times as long one core takes here as there: the geometric mean over compilers."""
        ratio = self.python_s / other.python_s
        if self.cpp_s and other.cpp_s:
            return float((ratio * self.cpp_s / other.cpp_s) ** 0.5)
        return ratio

    def arithmetic_over(self, other: Calibration) -> float:
        """Return how many times as long a model's steps take here as there.

        Half of a small model's step is Python and calls, half arithmetic: the geometric mean of both.
        """
        return float((self.host_over(other) * self.product_s / other.product_s) ** 0.5)


def calibration_of(cpus: int, *, measure: bool = True) -> Calibration | None:
    """Return this machine's calibration, measured where none is kept from the last day; None if it fails.

    Without `measure` only a kept one is returned.
    """
    name = f"{platform.node()} {platform.machine()} {cpus}"
    kept = read_kept(_FILE).get(name)
    try:
        if isinstance(kept, dict) and is_recent(kept.pop("measured_s", None), time.time()):
            return read_as(Calibration, kept)
    except ValueError:
        pass  # of another version
    found = _measured() if measure else None
    if found is not None:
        now_s = time.time()
        entry = {**asdict(found), "measured_s": now_s}
        change_kept(_FILE, lambda content: {**recent(content, now_s), name: entry})
    return found


def _measured() -> Calibration | None:
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_MAX_S)
        return read_as(Calibration, json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def measure() -> Calibration:
    """Do the work in this process, and return the fewest seconds that each piece took."""
    import numpy as np

    generator = np.random.default_rng(0)
    left = generator.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    right = generator.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    return Calibration(
        python_s=_fewest_s(lambda: compile(_PYTHON, "calibration", "exec")),
        product_s=_fewest_s(lambda: left @ right),
        cpp_s=_cpp_s(),
    )


def _fewest_s(work: Callable[[], object]) -> float:
    taken: list[float] = []
    while len(taken) < _REPEATS or sum(taken) < _REPEAT_S:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def _cpp_s() -> float | None:
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        return None
    command = [compiler, "-O2", "-x", "c++", "-c", "-", "-o", os.devnull]
    try:
        return _fewest_s(
            lambda: subprocess.run(
                command, input=_CPP.encode(), capture_output=True, check=True, timeout=_MAX_S
            )
        )
    except subprocess.CalledProcessError:
        return None


def main() -> None:
    """Print this machine's calibration as JSON."""
    print(json.dumps(asdict(measure())))
