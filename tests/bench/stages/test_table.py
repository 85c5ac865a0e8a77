"""The table of stage kinds: what each row names exists, and a plug-in adds a kind from one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.metrics import METRICS
from bench.results.store import Store
from bench.stages import STAGES, StageKind, StageTable
from techniques.registry import load_reference

ONE_CELL = "optimizer=adam,compression=none,backend=cpu-eager"


@pytest.mark.parametrize("row", STAGES.rows().values(), ids=list(STAGES.rows()))
def test_every_kind_names_what_there_is(row: StageKind) -> None:
    assert callable(load_reference(row.run))
    assert isinstance(load_reference(row.settings), type)
    assert not row.plan or callable(load_reference(row.plan))
    assert not row.timed_by or METRICS[row.timed_by].stage == row.name
    assert not row.shares or STAGES.get(row.shares).leaves_artifact


def test_kinds_come_in_the_order_in_which_they_build_on_each_other() -> None:
    assert list(STAGES.rows()) == [
        *("trial", "train", "teach", "compress", "lower", "evaluate", "robustness", "attribution"),
        *("ceilings", "serve", "requests", "generate", "step", "single", "infer", "imported"),
    ]


def test_a_kind_is_added_once_and_under_a_name_that_can_be_written() -> None:
    table = StageTable()
    row = StageKind("layers", "m:run", "m:Settings", "m:plan", "Count layers", phase=3, works="runs")
    table.add(row)
    table.add(row)  # as a plug-in that is loaded again
    assert table.get("layers") is row and table.known("layer") is None
    with pytest.raises(BenchError, match="stage kind 'layers' is already registered: Count layers"):
        table.add(StageKind("layers", "other:run", "m:Settings", "m:plan", "Others", phase=3, works="runs"))
    with pytest.raises(BenchError, match="stage kind 'Two words': a name has only"):
        table.add(StageKind("Two words", "m:run", "m:Settings", "m:plan", "", phase=3, works="runs"))
    with pytest.raises(BenchError, match="unknown stage kind 'layer'; did you mean 'layers'"):
        table.get("layer")


def test_a_plug_in_adds_a_kind_that_is_planned_run_and_shown(bench, plugins: Path, tmp_path: Path) -> None:
    options = ("--matrix", "ci", "--smoke", "--filter", ONE_CELL, "--plugin", plugins / "count_layers.py")
    done = bench("run", *options, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path, create=False)
    run_id = store.find_run(None)
    cell = store.cells(run_id)[0]
    assert "count-layers" in cell.stages
    measured = store.measurements(run_id)
    counted = measured[measured["qualifier"] == "layers"]
    assert counted["value"].tolist() == [10.0]
    shown = bench("show", cell.name, "--results", tmp_path)  # without the plug-in
    assert "count-layers: layers of" in shown.stdout and "parameters[layers]: 10" in shown.stdout


@pytest.mark.parametrize(("field", "message"), [("run", "has no 'runs'"), ("plan", "must be a function")])
def test_a_kind_that_names_what_is_not_there_is_one_line(tmp_path: Path, field: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Settings: ...\ndef run(request, folder): ...\nplan = 3\n")
    names = {"run": "run", "plan": "Settings"} | {field: {"run": "runs", "plan": "plan"}[field]}
    table = StageTable()
    references = {name: f"{file}:{value}" for name, value in names.items()}
    table.add(StageKind("layers", **references, settings=f"{file}:Settings", about="", phase=3, works="runs"))
    with pytest.raises(BenchError, match=f"stage kind 'layers': .*{message}"):
        table.plans()
