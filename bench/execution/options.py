"""The options of `bench run`, and the command that repeats a run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from bench.execution.engines import LOCAL
from bench.plan.shards import Shard, parse_shard
from bench.results.store import without_password


@dataclass(frozen=True)
class RunOptions:
    """The options of a run, as the user gave them."""

    matrix: str
    results: Path
    filter: str = ""
    workloads: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    smoke: bool = False
    fresh: bool = False
    rebuild: bool = False
    trusted: tuple[Path, ...] = ()
    shard: Shard | None = None
    engine: str = LOCAL
    artifacts: str = ""
    budget_s: float | None = None
    store: str = field(default="", repr=False)  # it may hold a password
    only: frozenset[str] = frozenset()
    """Kinds and labels of stages, as "infer net @ cpu": cells without any of them are left out."""

    @property
    def command(self) -> str:
        """Return the command that repeats the run; a store's password is not in it."""
        words = ["python", "-m", "bench", "run", "--matrix", self.matrix]
        words += ["--filter", self.filter] if self.filter else []
        words += [word for name in self.workloads for word in ("--workload", name)]
        words += [word for path in self.plugins for word in ("--plugin", str(path))]
        words += [word for path in self.trusted for word in ("--trust", str(path))]
        words += ["--shard", str(self.shard)] if self.shard else []
        words += ["--smoke"] if self.smoke else []
        words += ["--rebuild"] if self.rebuild else []
        words += ["--engine", self.engine] if self.engine != LOCAL else []
        words += ["--artifacts", self.artifacts] if self.artifacts else []
        words += ["--budget-s", f"{self.budget_s:g}"] if self.budget_s is not None else []
        words += ["--results", str(self.results)]
        words += ["--store", without_password(self.store)] if self.store else []
        return shlex.join(words)


def options_of(command: str) -> RunOptions:
    """Return the options of the run that a `RunOptions.command` repeats."""
    words = iter(shlex.split(command)[4:])
    found: dict[str, list[str]] = {}
    for word in words:
        found.setdefault(word, []).append("" if word in _FLAGS else next(words))

    def last(option: str, default: str = "") -> str:
        return found.get(option, [default])[-1]

    return RunOptions(
        last("--matrix"),
        Path(last("--results", "results")),
        last("--filter"),
        tuple(found.get("--workload", ())),
        tuple(map(Path, found.get("--plugin", ()))),
        smoke="--smoke" in found,
        trusted=tuple(map(Path, found.get("--trust", ()))),
        shard=parse_shard(last("--shard")) if "--shard" in found else None,
        engine=last("--engine", LOCAL),
        artifacts=last("--artifacts"),
        budget_s=float(last("--budget-s")) if "--budget-s" in found else None,
    )


_FLAGS = ("--smoke", "--rebuild")
