"""Libraries as sides: an environment for each list of requirements, and what two environments differ in."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis.comparable import changed_versions
from bench.digests import file_digest
from bench.errors import BenchError
from bench.regression.ab.revisions import Say, environment
from techniques.registry import first_few

_SEPARATOR = " / "

# Of two versions on the path, the first is the one that is imported.
_LIST = """
import importlib.metadata, json
found = reversed([each for each in importlib.metadata.distributions() if each.metadata])
print(json.dumps({each.metadata["Name"]: each.version for each in found}))
"""


def requirements_of(text: str) -> tuple[list[str], list[str]]:
    """Return both lists of pip's requirements; raises BenchError where there are not two."""
    lists = [part.split() for part in text.split(_SEPARATOR)]
    if len(lists) != 2 or not all(lists):
        raise BenchError(
            f"--with: must be two lists with ' / ' between, as 'torch==2.12 / torch==2.13', got {text!r}"
        )
    return lists[0], lists[1]


def python_with(requirements: Sequence[str], folder: Path, say: Say) -> str:
    """Return the interpreter of an environment with these requirements, and the packages of this one.

    It is kept for as long as the requirements, the files that they name, and this interpreter are the same.
    A folder that they name may hold anything the next time, so that it is installed again.
    """
    named = [folder / each for each in requirements]
    files = {str(path): file_digest(path) for path in named if path.is_file()}
    text = json.dumps([list(requirements), str(folder), files, sys.prefix, sys.version])
    name = f"with-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    again = any(path.is_dir() for path in named)
    return environment(name, requirements, say, alongside=True, again=again)


def difference_of(before: str, after: str) -> str:
    """Say in which packages the environments of two interpreters differ."""
    changed = changed_versions(installed(before), installed(after))
    return f"packages differ: {first_few(changed)}" if changed else "both sides have the same packages"


def installed(python: str) -> Mapping[str, str]:
    """Return the versions of the packages that an interpreter imports, by their normalized names."""
    done = subprocess.run([python, "-I", "-c", _LIST], capture_output=True, text=True, check=True)
    found: dict[str, str | None] = json.loads(done.stdout)
    return {re.sub(r"[-_.]+", "-", name).lower(): version or "" for name, version in found.items()}
