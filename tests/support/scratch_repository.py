"""Scratch git repositories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


PYTHON = (sys.executable, "-I", "-S")
"""Starts in little time and reads nothing of the user's."""
