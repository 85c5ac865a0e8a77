"""Who may import whom: from the ground up, no circle, nothing upward, also inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = """
techniques
bench.errors bench.files bench.collector
bench.processes bench.records bench.metrics
bench.formatting bench.digests
bench.analysis
bench.datasets
bench.instruments
bench.diagnosis
bench.workloads
bench.models
bench.results
bench.plugins
bench.identity
bench.stages
bench.matrix
bench.plan
bench.costs
bench.projection
bench.execution
bench.regression
reports.frames
reports.grids
reports.prose
reports.plots
reports.content
reports.page
reports.formats
reports.checks
reports.write
reports.ui
bench.interchange
bench.search
bench.selftest
bench.commands
bench.api
bench
bench.testing
bench.cli
bench.__main__
"""
"""What a line holds may import what the lines above it hold, and its own package."""

LEVEL = {name: number for number, line in enumerate(LAYERS.strip().splitlines()) for name in line.split()}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("bench", "reports", "techniques")
    for path in (ROOT / package).rglob("*.py")
}


def place(module: str) -> str:
    """Return the entry of `LAYERS` that a module belongs to."""
    parts = module.split(".")
    return parts[0] if parts[0] == "techniques" else ".".join(parts[:2])


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in full]
        else:
            continue
        yield from (name for name in names if name in MODULES)


GRAPH = {module: sorted(set(imports(path)) - {module}) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "reports"])
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    own = place(module)
    upward = [used for used in GRAPH[module] if place(used) != own and LEVEL[place(used)] >= LEVEL[own]]
    assert not upward


def test_no_modules_import_each_other_in_a_circle() -> None:
    ended: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' -> '.join([*way[way.index(module) :], module])}"
        if module not in ended:
            for used in GRAPH[module]:
                walk(used, (*way, module))
            ended.add(module)

    for module in GRAPH:
        walk(module, ())


def test_techniques_know_nothing_of_the_suite() -> None:
    found = {name for module, used in GRAPH.items() if module.startswith("techniques") for name in used}
    assert not [name for name in found if not name.startswith("techniques")]


def test_the_top_of_the_package_has_at_most_a_dozen_files() -> None:
    assert len(list((ROOT / "bench").glob("*.py"))) <= 12
