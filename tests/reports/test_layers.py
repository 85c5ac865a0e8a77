"""The packages of `reports` build on each other in one direction."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import reports

LAYERS = ("frames", "grids", "prose", "plots", "content", "formats", "write")
ROOT = Path(reports.__file__).parent


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each module of `reports` that a file imports, and whether inside a function."""
    tree = ast.parse(path.read_text())
    hidden = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.ImportFrom | ast.Import)
    }
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from ((name, node in hidden) for name in names if name.partition(".")[0] == "reports")


def layer(module: str) -> int:
    return LAYERS.index(module.split(".")[1]) if "." in module else -1


def test_nothing_imports_from_a_layer_above_it_and_no_import_hides_in_a_function() -> None:
    seen = 0
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", ".")
        for name, hidden in imports(path):
            seen += 1
            assert layer(name) <= layer(own), f"{own} imports {name}"
            assert not hidden, f"{own} imports {name} inside a function"
    assert seen > 50
