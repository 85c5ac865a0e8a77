"""The shipped matrices: what they hold, and that `make bench` installs what they need."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.costs import CostModel, Estimator, Progress
from bench.costs.reference import read_reference
from bench.matrix.axes import AXES, AXIS_BY_NAME, NO_OPTIMIZER
from bench.matrix.reading import read_matrix
from bench.matrix.shipped import shipped_matrices
from bench.plan.lookup import CellTechniques, Lookup
from bench.plan.planner import make_plan
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

TRAINS_ONLY = {name for name, row in BACKENDS.rows().items() if not row.serves}


def test_full_has_all_that_is_registered_at_least_once() -> None:
    cells = read_matrix("full").cells
    found = {axis.name: {str(cell.value(axis.name)) for cell in cells} for axis in AXES}
    for axis in AXES:
        if axis.everything is not None:
            assert set(axis.everything()) <= found[axis.name], axis.name
    steps = {step for recipe in found["compression"] for step in recipe.split("+")}
    assert {COMPRESSIONS.default(name).text for name in COMPRESSIONS.rows()} <= steps
    assert set(BACKENDS.rows()) == found["backend"] | TRAINS_ONLY == found["train.backend"] | ENGINES
    assert set(PRECISIONS) == found["precision"] == found["train.precision"]
    assert "2" in found["devices"]


def test_full_trains_as_many_optimizers_as_the_steps_of_a_workload_allow() -> None:
    trained: dict[str, set[str]] = {}
    for cell in read_matrix("full").cells:
        trained.setdefault(cell.workload, set()).add(cell.optimizer)
    six = {"sgd", "momentum", "adam", "adamw", "rmsprop"}
    every = set(OPTIMIZERS.rows()) - {NO_OPTIMIZER}
    taken = all_steps_s()
    assert len(taken) >= 15
    for workload, seconds in taken.items():
        assert (every <= trained[workload]) == (seconds <= 30), (workload, seconds)
        assert (six <= trained[workload]) == (seconds <= 360), (workload, seconds)


def all_steps_s() -> dict[str, float]:
    """Return what all steps of a workload took on the reference machine, with its cheapest optimizer."""
    taken: dict[str, float] = {}
    for launch in read_reference().launches:
        if launch.kind == "train" and launch.values.get("steps_trained"):
            workload = str(launch.settings["workload"])
            step_s = launch.values["training_s"] / launch.values["steps_trained"]
            seconds = step_s * WORKLOADS.get(workload).train_steps
            taken[workload] = min(seconds, taken.get(workload, seconds))
    return taken


def test_full_has_the_whole_product_of_the_surveys_case() -> None:
    points = {
        (cell.optimizer, cell.compression, cell.backend, cell.batch_size)
        for cell in read_matrix("full").cells
        if cell.workload == "fashion-mnist-simplecnn" and cell.precision == cell.train_precision == "fp32"
    }
    optimizers = ("sgd", "momentum", "adam", "adamw", "rmsprop")
    compressions = (
        *("none", "finetune", "prune-mean:1", "prune-magnitude:0.5", "prune-magnitude-as-mean:1"),
        *("prune-channels:0.5", "distill:0.5", "student:0.5"),
        *("int8-dynamic", "int8-static", "int8-weight", "int4-weight", "fp8"),
        *("prune-magnitude:0.5+int8-static", "prune-channels:0.5+int8-static", "distill:0.5+int8-dynamic"),
    )
    serving = set(BACKENDS.rows()) - ENGINES - TRAINS_ONLY
    for point in itertools.product(optimizers, compressions, serving, (1, 32)):
        assert point in points


def predicted_s(name: str) -> float:
    """Return what a matrix takes on the reference machine with all runtimes: the same on every machine."""
    matrix = read_matrix(name)
    plan = make_plan(matrix, cpus=2)
    reference = read_reference()
    model = CostModel((), (), matrix.budget.max_launches, reference.launches)
    stages = list(plan.stages.values())
    return Estimator(model, reference.rates, 2).predict(stages, Progress()).wall_s


@pytest.mark.parametrize(
    ("name", "most_s"), [("standard", 3600), ("full", 10 * 3600), ("optimizers", 100 * 60)]
)
def test_a_matrix_takes_no_longer_than_it_says(name: str, most_s: float) -> None:
    assert predicted_s(name) <= most_s


@pytest.mark.parametrize("name", ["standard", "full", "compression", "optimizers"])
def test_a_matrix_that_is_a_choice_says_what_it_leaves_out(name: str, command: Any) -> None:
    text = read_matrix(name).leaves_out
    assert text and text in command("list", "matrices").stdout


def test_what_a_matrix_leaves_out_is_told_before_a_run_and_kept_with_it(command: Any, tmp_path: Path) -> None:
    text = read_matrix("optimizers").leaves_out
    dry = command("run", "--matrix", "optimizers", "--dry-run", "--json", "--results", tmp_path / "none")
    assert json.loads(dry.stdout)["leaves_out"] == text
    # The report of a run shows its notes.
    assert f"optimizers leaves out {text}" in json.loads(dry.stdout)["notes"]


def test_full_crosses_compressions_backends_and_precisions_for_each_kind_of_model() -> None:
    everything = AXIS_BY_NAME["compression"].everything
    assert everything is not None
    formats = {recipe for recipe in everything() if parse_recipe(recipe).format}
    one_of_a_kind = {"none", "finetune", "prune-magnitude:0.5", "prune-channels:0.5", "distill:0.5"}
    product = {
        (compression, backend, precision)
        for compression in formats | one_of_a_kind
        for backend in set(BACKENDS.rows()) - ENGINES - TRAINS_ONLY
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


def test_compression_has_the_settings_of_formats_two_orders_and_who_pays() -> None:
    matrix = read_matrix("compression")
    recipes = {cell.compression for cell in matrix.cells}
    wanted = {f"int8-static:calibration={each}" for each in ("min-max", "percentile", "entropy", "mse")}
    assert wanted | {"int8-static:mixed=0.01", "smooth-quant:0.5+int8-static"} <= recipes
    assert {"prune-channels:0.5+prune-magnitude:0.5", "prune-magnitude:0.5+prune-channels:0.5"} <= recipes
    assert {"qat:4", "finetune+round-to-nearest:4"} <= recipes
    assert matrix.evaluate.corruptions and matrix.evaluate.attributions
    assert {"attribution", "fairness"} <= set(
        re.findall(r"[\w-]+", MAKEFILE.partition("EXTRAS_compression := ")[2].partition("\n")[0])
    )


def test_standard_is_the_smaller_one() -> None:
    assert len(read_matrix("standard").cells) < len(read_matrix("full").cells) / 10


@pytest.mark.parametrize("name", shipped_matrices())
def test_make_bench_installs_what_a_matrix_needs(name: str) -> None:
    found = re.search(rf"^EXTRAS_{name} := (.*)$", MAKEFILE, re.M)
    installed = set(found[1].split(",")) if found else set()
    lookup, needed = Lookup(), set()
    matrix = read_matrix(name)
    for cell in (*matrix.cells, *matrix.further):
        chosen = CellTechniques.of(cell, lookup)
        rows = [technique.row for technique in chosen.techniques]
        for row in rows:
            extras = re.findall(r"dl-efficiency-bench\[(.*?)\]", row.install)
            needed.update(name for found in extras for name in found.split(","))
    assert needed <= installed
