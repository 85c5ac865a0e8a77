"""No module of `reports` hides an import in a function; who may import whom, `test_architecture` checks."""

from __future__ import annotations

import ast
from pathlib import Path

import reports

ROOT = Path(reports.__file__).parent


def hidden_imports(path: Path) -> list[str]:
    """Return the modules of `reports` that a file imports inside functions."""
    inner = [
        node
        for outer in ast.walk(ast.parse(path.read_text()))
        if isinstance(outer, ast.FunctionDef)
        for node in ast.walk(outer)
    ]
    names = [node.module or "" for node in inner if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in inner if isinstance(node, ast.Import) for alias in node.names]
    return [name for name in names if name.partition(".")[0] == "reports"]


def test_no_import_hides_in_a_function() -> None:
    assert not {path: found for path in ROOT.rglob("*.py") if (found := hidden_imports(path))}
