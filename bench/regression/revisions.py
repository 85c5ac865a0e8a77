"""A git repository as bisecting needs it: names, ancestors, the middle of what is left. Changes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.processes import how_it_ended

MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")
"""What a work tree is compared with, by default: its merge base with the first of these that there is."""

_FIELDS = "%H%x00%an%x00%as%x00%s"


@dataclass(frozen=True)
class Commit:
    """A commit for people: its hash, author, day (of the author) and subject."""

    revision: str
    author: str
    day: str
    subject: str

    def __str__(self) -> str:
        return f"{self.revision[:10]} {self.subject}"


class GitError(BenchError):
    """A git command that failed, with the last line of what it said."""


class Repository:
    """The repository that a folder lies in."""

    def __init__(self, folder: Path) -> None:
        """Raises BenchError where git is missing, or the folder lies in no repository."""
        self.folder = folder
        try:
            top = self._git("rev-parse", "--show-toplevel")
        except FileNotFoundError:
            raise BenchError("comparing revisions requires git, which is not installed") from None
        except GitError:
            raise BenchError(
                f"{folder} is in no git repository, so there are no revisions to compare"
            ) from None
        self.folder = Path(top)

    def commit(self, name: str) -> Commit:
        """Return the commit of a revision's name; raises BenchError where there is none."""
        try:
            # Without --end-of-options a name that begins with a dash would be an option.
            revision = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except GitError:
            raise BenchError(f"{self.folder} has no commit {name!r}; `git log` lists them") from None
        fields = self._git("show", "--no-patch", f"--format={_FIELDS}", revision.splitlines()[-1])
        return Commit(*fields.split("\0"))

    def parent(self, revision: str) -> str:
        """Return the first parent of a commit that has one."""
        return self._git("rev-parse", "--verify", f"{revision}^1")

    def has_changes(self) -> bool:
        """Say whether the work tree has uncommitted changes of tracked files."""
        return bool(self._git("status", "--porcelain", "--untracked-files=no"))

    def is_ancestor(self, older: str, newer: str, *, first_parent: bool = False) -> bool:
        """Say whether the older commit is among those that the newer one came from."""
        if first_parent:
            return older in self._git("rev-list", "--first-parent", newer).splitlines()
        try:
            self._git("merge-base", "--is-ancestor", older, newer)
        except GitError:
            return False
        return True

    def suspects(self, bad: str, good: Collection[str], *, first_parent: bool = False) -> list[str]:
        """Return `bad` and its ancestors that no good commit has, those that halve the rest best first."""
        options = ["--first-parent"] if first_parent else []
        lines = self._git("rev-list", "--bisect-all", *options, bad, "--not", *good).splitlines()
        return [line.split()[0] for line in lines]

    def merge_base_with_main(self) -> str:
        """Return the commit at which the work tree left main; raises BenchError where there is no main."""
        for name in MAIN:
            try:
                return self._git("merge-base", "HEAD", name)
            except GitError:
                continue
        raise BenchError(
            f"no main branch to compare with ({', '.join(MAIN)}); name a revision: bench ab REVISION"
        )

    def add_worktree(self, folder: Path, revision: str) -> None:
        """Check a commit out into a new folder, without a branch."""
        self._git("worktree", "add", "--detach", "--force", str(folder), revision)

    def prune_worktrees(self) -> None:
        """Forget the worktrees whose folders are gone."""
        self._git("worktree", "prune")

    def _git(self, *words: str) -> str:
        quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        # A subject may be in any encoding; settings of the user's may ask for signatures.
        words = ("git", "-c", "log.showSignature=false", *words)
        done = subprocess.run(words, cwd=self.folder, env=quiet, capture_output=True, check=False)
        if done.returncode:
            errors = done.stderr.decode(errors="replace").strip().splitlines()
            raise GitError(errors[-1] if errors else f"git {words[3]} {how_it_ended(done.returncode)}")
        return done.stdout.decode(errors="replace").strip()
