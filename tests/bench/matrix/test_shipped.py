"""The shipped matrices: what they hold, and that `make bench` installs what they need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.matrix.axes import AXES, AXIS_BY_NAME
from bench.matrix.reading import read_matrix
from bench.matrix.shipped import shipped_matrices
from bench.plan.lookup import CellTechniques, Lookup
from bench.workloads import WORKLOADS
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS, parse_recipe
from techniques.optimizers import OPTIMIZERS
from techniques.precisions import PRECISIONS

KINDS = ("fashion-mnist-resnet18", "rotten-tomatoes-minilm", "shakespeare-gpt2")
"""What one compression of each kind is served for, besides SimpleCNN."""

MAKEFILE = (Path(__file__).parents[3] / "Makefile").read_text()

ENGINES = {name for name, row in BACKENDS.rows().items() if row.only_generates}
"""What continues texts and does nothing else."""


def test_full_has_all_that_is_registered_at_least_once() -> None:
    cells = read_matrix("full").cells
    found = {axis.name: {str(cell.value(axis.name)) for cell in cells} for axis in AXES}
    assert {name for name, row in WORKLOADS.rows().items() if row.complete} == found["workload"]
    assert set(OPTIMIZERS.rows()) - {"none"} <= found["optimizer"]
    steps = {step for recipe in found["compression"] for step in recipe.split("+")}
    assert {COMPRESSIONS.default(name).text for name in COMPRESSIONS.rows()} <= steps
    assert set(BACKENDS.rows()) == found["backend"] == found["train.backend"] | ENGINES
    assert set(PRECISIONS) == found["precision"] == found["train.precision"]


def test_full_crosses_compressions_backends_and_precisions_for_each_kind_of_model() -> None:
    everything = AXIS_BY_NAME["compression"].everything
    assert everything is not None
    formats = {recipe for recipe in everything() if parse_recipe(recipe).format}
    one_of_a_kind = {"none", "finetune", "prune-magnitude:0.5", "prune-channels:0.5", "distill:0.5"}
    product = {
        (compression, backend, precision)
        for compression in formats | one_of_a_kind
        for backend in set(BACKENDS.rows()) - ENGINES
        for precision in PRECISIONS
    }
    served: dict[str, set[tuple[str, str, str]]] = {}
    for cell in read_matrix("full").cells:
        served.setdefault(cell.workload, set()).add((cell.compression, cell.backend, cell.precision))
    assert sum(product <= points for points in served.values()) == 9


def test_compression_has_every_recovery_beside_its_control_on_four_kinds_of_models() -> None:
    cells = read_matrix("compression").cells
    recipes: dict[str, set[str]] = {}
    for cell in cells:
        recipes.setdefault(cell.workload, set()).add(cell.compression)
    steps = {step for found in recipes.values() for recipe in found for step in recipe.split("+")}
    assert {COMPRESSIONS.default(name).text for name in COMPRESSIONS.rows()} <= steps
    for workload in ("fashion-mnist-simplecnn", *KINDS):
        assert {"none", "finetune", "prune-channels:0.5", "int8-static"} <= recipes[workload]
    assert all({"distill-depth:0.5", "student-depth:0.5"} <= recipes[workload] for workload in KINDS)


def test_standard_is_the_smaller_one() -> None:
    assert len(read_matrix("standard").cells) < len(read_matrix("full").cells) / 10


@pytest.mark.parametrize("name", shipped_matrices())
def test_make_bench_installs_what_a_matrix_needs(name: str) -> None:
    found = re.search(rf"^EXTRAS_{name} := (.*)$", MAKEFILE, re.M)
    installed = set(found[1].split(",")) if found else set()
    lookup, needed = Lookup(), set()
    takes_all = 'backend = "*"' in shipped_matrices()[name].read_text()
    for cell in read_matrix(name).cells:
        chosen = CellTechniques.of(cell, lookup)
        rows = [chosen.workload.row, *([chosen.backend.row] if takes_all else [])]
        for row in rows:
            needed.update(re.findall(r"dl-efficiency-bench\[(.*?)\]", row.install))
    assert needed <= installed
