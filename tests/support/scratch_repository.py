"""Scratch git repositories, and a stand-in for `bench ab` that times a command in two revisions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.analysis.statistics import ratio_interval
from bench.regression.bisect import Effect

WHO = {
    **{"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org"},
    **{"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"},
    **{"GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z"},
    **{"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
}


def git(folder: Path, *words: str) -> str:
    environment = {**os.environ, **WHO}
    done = subprocess.run(
        ("git", *words), cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def start(folder: Path) -> None:
    git(folder, "init", "--quiet", "--initial-branch", "main")


def commit(folder: Path, subject: str, **files: str) -> str:
    """Write files, commit them and return the commit's hash."""
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(folder, "rev-parse", "HEAD")


class TimedCommand:
    """Compares revisions by the user CPU time of a command: what other processes do hardly matters to it."""

    def __init__(self, folder: Path, words: Sequence[str], launches_per_s: float) -> None:
        self.folder, self.words, self.launches_per_s = folder, words, launches_per_s
        self.calls = 0

    def __call__(self, before: str, after: str, budget_s: float, /) -> Effect:
        """Launch both in turn, ABBA, as often as the budget says."""
        self.calls += 1
        times: dict[str, list[float]] = {before: [], after: []}
        with worktrees(self.folder, before, after) as trees:
            for number in range(round(budget_s * self.launches_per_s)):
                for revision in (before, after) if number % 2 else (after, before):
                    code, spent_s = user_time_s(self.words, trees[revision])
                    if code:
                        return Effect(None, f"exit code {code}")
                    times[revision].append(spent_s)
        return Effect(ratio_interval(times[after], times[before]))


@contextmanager
def worktrees(folder: Path, *revisions: str) -> Iterator[dict[str, Path]]:
    """Check out each revision in a folder of its own, which is removed at the end whatever happens."""
    with tempfile.TemporaryDirectory() as scratch:
        trees = {revision: Path(scratch, revision) for revision in revisions}
        try:
            for revision, tree in trees.items():
                git(folder, "worktree", "add", "--quiet", "--detach", str(tree), revision)
            yield trees
        finally:
            for tree in trees.values():
                git(folder, "worktree", "remove", "--force", str(tree))


def user_time_s(words: Sequence[str], folder: Path) -> tuple[int, float]:
    """Run a command; return its exit code and the user CPU time that it took."""
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime


PYTHON = (sys.executable, "-I", "-S")
"""Starts in little time and reads nothing of the user's."""
