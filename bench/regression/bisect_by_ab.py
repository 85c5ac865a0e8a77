"""`bench ab` as a process of its own: how bisecting compares two revisions."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from bench.analysis.statistics import Interval
from bench.errors import BenchError
from bench.files import read_json
from bench.regression.bisect import Effect

_PATIENCE_S = 60.0


class _Ratio(BaseModel):
    value: float
    low: float | None
    high: float | None
    launches: int
    method: str


class _Finding(BaseModel):
    verdict: str
    stage: str
    metric: str
    text: str
    ratio: _Ratio | None


class _Comparison(BaseModel):
    kind: Literal["ab"]
    findings: list[_Finding]


@dataclass
class AbProcess:
    """Compares revisions of the repository in `folder` by `bench ab` with the options `what`.

    `metric` chooses the finding; empty, it is the first one that alarms, else the first with a ratio, and
    from then on that one's stage and metric.
    """

    what: Sequence[str]
    folder: Path
    metric: str = ""
    stage: str = ""

    def __call__(self, before: str, after: str, budget_s: float, border: float = 1.0, /) -> Effect:
        """Return after over before; where `after` cannot be built or run, why.

        By default `bench ab` ends once it is clear that the two differ; here, once it is clear whether they
        differ by more than the `border`.
        """
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "ab.json")
            words = [sys.executable, "-P", "-m", "bench", "ab", before, after, *self.what]
            words += ["--budget", f"{budget_s:g}", "--json", str(path)]
            if self.metric and "--metric" not in self.what:
                words += ["--metric", self.metric]
            if border != 1:
                change = f"{max(border, 1 / border) - 1:.6g}"
                words += ["--threshold", change, "--margin", change]
            code, errors = _run(words, self.folder)
            if code not in (0, 1, 3):
                lines = errors.strip().splitlines()
                return Effect(None, lines[-1] if lines else f"bench ab ended with exit code {code}")
            return self._effect(_read(path, words))

    def _effect(self, comparison: _Comparison) -> Effect:
        own = [
            finding
            for finding in comparison.findings
            if self.metric in ("", finding.metric) and self.stage in ("", finding.stage)
        ]
        measured = sorted((each for each in own if each.ratio), key=lambda each: each.verdict != "regression")
        if not measured:
            texts = [finding.text for finding in own] or [f"no finding of {self.metric or 'any metric'}"]
            return Effect(None, texts[0])
        chosen = measured[0]
        self.metric, self.stage = chosen.metric, chosen.stage
        ratio = chosen.ratio
        assert ratio is not None
        return Effect(Interval(ratio.value, ratio.low, ratio.high, ratio.launches, ratio.method))


def _run(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a process; return its exit code and errors. After Ctrl-C it has time to remove its work trees."""
    with subprocess.Popen(
        words,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that it gets one signal, from here, and not another from the terminal
    ) as process:
        try:
            _, errors = process.communicate()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, errors


def _read(path: Path, words: Sequence[str]) -> _Comparison:
    try:
        return _Comparison.model_validate(read_json(path))
    except (OSError, ValueError, ValidationError):
        raise BenchError(f"no comparison came back from {shlex.join(words)}") from None
