"""Git revisions as sides: a worktree for each, and an environment of its own where requirements differ."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from bench.datasets.cache import cache_folder
from bench.errors import BenchError
from bench.regression.ab.sampling import Place
from bench.regression.revisions import Repository
from techniques.registry import nearest

REQUIREMENTS = (
    "uv.lock",
    "pdm.lock",
    "poetry.lock",
    "requirements.txt",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
)
"""Files that say what a revision needs; where they are the same, one environment serves both sides."""

_INSTALLED_BY = ("pyproject.toml", "setup.py")

WORK_TREE = "work tree"

Say = Callable[[str], None]


@contextmanager
def place_of(repository: Repository, revision: str, say: Say, extras: Sequence[str] = ()) -> Iterator[Place]:
    """Yield where a revision's code runs.

    An empty revision is the work tree as it is, with what is not committed. Others have worktrees, removed in
    the end. `extras` are those of the project that an environment of its own has. Raises BenchError where
    that cannot be made.
    """
    top = repository.folder
    if not revision:
        yield Place(WORK_TREE, top, variables=_found_in(top, top))
        return
    commit = repository.commit(revision).revision
    folder = Path(tempfile.mkdtemp(prefix="bench-ab-"))
    try:
        repository.add_worktree(folder / "tree", commit)
        tree = folder / "tree"
        python = (
            sys.executable if _requirements(tree) == _requirements(top) else _own_python(tree, say, extras)
        )
        yield Place(revision, tree, python, _found_in(tree, top))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        repository.prune_worktrees()


def _found_in(tree: Path, top: Path) -> dict[str, str]:
    """Return the variable by which Python finds a tree's own modules before those that are installed.

    Folders of the repository at `top` that modules come from now, by PYTHONPATH or as they are installed
    editable, become those of the tree: else both sides would import the work tree's code.
    """
    top = top.resolve()
    before = [Path(part).resolve() for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    inside = [path.relative_to(top) for path in (*before, *_editable()) if path.is_relative_to(top)]
    own = dict.fromkeys(tree / part for part in (Path("src"), Path(), *inside))
    others = [path for path in before if not path.is_relative_to(top)]
    return {"PYTHONPATH": os.pathsep.join(map(str, [*filter(Path.is_dir, own), *others]))}


def _editable() -> Iterator[Path]:
    """Yield the folders of what is installed editable here: lines of .pth files, and setuptools' finders."""
    for folder in map(Path, site.getsitepackages()):
        for path in sorted(folder.glob("*.pth")):
            lines = path.read_text(errors="replace").splitlines()
            yield from (Path(line).resolve() for line in lines if line.startswith("/"))
        for path in sorted(folder.glob("__editable__*_finder.py")):
            found = _MAPPING.search(path.read_text(errors="replace"))
            with suppress(ValueError, SyntaxError):
                places = ast.literal_eval(found[1]) if found else {}
                yield from (Path(str(place)).resolve().parent for place in places.values())


_MAPPING = re.compile(r"^MAPPING\b[^=\n]*= (\{[^\n]*\})$", re.MULTILINE)


def _requirements(tree: Path) -> str:
    """Return a hash of what says what a tree needs."""
    found = hashlib.sha256()
    for name in REQUIREMENTS:
        path = tree / name
        content = path.read_bytes() if path.is_file() else b""
        found.update(
            f"{name}\0".encode() + (_required(content) if name == "pyproject.toml" else content) + b"\0"
        )
    return found.hexdigest()[:16]


def _required(pyproject: bytes) -> bytes:
    """Return what a pyproject.toml says of requirements: the rest of it changes often, and needs nothing."""
    try:
        project = tomllib.loads(pyproject.decode()).get("project", {})
        keys = ("dependencies", "optional-dependencies", "requires-python", "dynamic")
        return json.dumps({key: project.get(key) for key in keys}, sort_keys=True).encode()
    except (ValueError, AttributeError):
        return pyproject


def _own_python(tree: Path, say: Say, extras: Sequence[str]) -> str:
    """Return the interpreter of an environment that has what a tree requires, made once for each such set."""
    wanted = []
    if (tree / "requirements.txt").is_file():
        wanted += ["-r", str(tree / "requirements.txt")]
    if extras:
        _check_extras(tree, extras)
        wanted.append(f"{tree}[{','.join(extras)}]")
    elif not wanted and any((tree / name).is_file() for name in _INSTALLED_BY):
        wanted.append(str(tree))
    if not wanted:
        return sys.executable
    python = f"{sys.version_info.major}{sys.version_info.minor}"
    return environment("-".join([_requirements(tree), python, *sorted(extras)]), wanted, say)


def _check_extras(tree: Path, extras: Sequence[str]) -> None:
    """Raise BenchError for an extra that a tree's pyproject.toml does not have: pip would only warn."""
    path = tree / "pyproject.toml"
    required = _required(path.read_bytes()) if path.is_file() else b"{}"
    try:
        known = sorted(json.loads(required).get("optional-dependencies") or ())
    except (ValueError, AttributeError):
        raise BenchError(f"--extra: the revision's {path.name} cannot be read") from None
    if unknown := [extra for extra in extras if extra not in known]:
        raise BenchError(f"--extra {unknown[0]}: the revision has no such extra{nearest(unknown[0], known)}")


def environment(
    name: str, wanted: Sequence[str], say: Say, *, alongside: bool = False, again: bool = False
) -> str:
    """Return the interpreter of a cached environment with packages of its own; raises BenchError.

    `wanted` are pip's arguments. With `alongside`, it has the packages of this environment too; its own come
    first. With `again` it is made even if there is one.
    """
    folder = cache_folder("environments") / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with FileLock(str(folder) + ".lock"):
        if (folder / "complete").is_file() and not again:
            return str(python)
        shutil.rmtree(folder, ignore_errors=True)
        say(f"making an environment with {' '.join(wanted)}")
        _run([sys.executable, "-m", "venv", str(folder)])
        if alongside:
            _see_also(python)
        uv = shutil.which("uv")
        install = (
            [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        )
        _run([*install, "--quiet", *wanted])
        (folder / "complete").touch()
    return str(python)


def _see_also(python: Path) -> None:
    """Let an environment see the packages of this one, after its own; what is installed editable too."""
    (own,) = (python.parent.parent / "lib").glob("python*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
    (own / "alongside.pth").write_text("".join(lines))


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise BenchError(f"an environment cannot be made: {said[-1]}")
