"""Schedules, clipping and averages as axes of a matrix: how they are written, planned and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.cells import Cell
from bench.matrix.reading import read_matrix
from bench.plan.planner import Plan, make_plan
from techniques.optimizers import OPTIMIZERS

MATRIX = """
[train]
workload = "digits"
optimizer = "adam"
{axes}
[infer]
compression = ["none", "finetune"]
backend = "cpu-eager"
"""


def cells_of(folder: Path, axes: str, filter_text: str = "", workloads: tuple[str, ...] = ()) -> list[Cell]:
    path = folder / "mine.toml"
    path.write_text(MATRIX.format(axes=axes))
    return list(read_matrix(str(path), filter_text, workloads=workloads).cells)


def plan_of(folder: Path, axes: str) -> Plan:
    path = folder / "mine.toml"
    path.write_text(MATRIX.format(axes=axes))
    return make_plan(read_matrix(str(path)), cpus=2)


def test_without_the_axes_the_rate_is_constant_and_nothing_is_clipped_or_averaged(tmp_path: Path) -> None:
    first, _ = cells_of(tmp_path, "")
    assert (first.schedule, first.clip, first.average) == ("constant", "none", "none")
    plan = plan_of(tmp_path, "")
    assert [cell.name for cell in plan.cells] == [
        "digits/adam/none@cpu-eager",
        "digits/adam/finetune@cpu-eager",
    ]
    assert [stage.label for stage in plan.of_kind("train")] == ["digits adam"]


def test_values_are_crossed_and_spelled_as_techniques_are(tmp_path: Path) -> None:
    axes = 'schedule = ["constant", "cosine:warmup=0.10"]\nclip = ["none", "norm:1.0"]\naverage = "ema"'
    found = {(cell.schedule, cell.clip, cell.average) for cell in cells_of(tmp_path, axes)}
    assert found == {
        (schedule, clip, "ema:0.999")
        for schedule in ("constant", "cosine:warmup=0.1")
        for clip in ("none", "norm:1")
    }


def test_a_star_takes_every_schedule(tmp_path: Path) -> None:
    found = {cell.schedule for cell in cells_of(tmp_path, 'schedule = "*"')}
    assert found == {"constant", "cosine", "linear", "wsd", "one-cycle"}


def test_a_filter_names_a_schedule_with_its_settings(tmp_path: Path) -> None:
    axes = 'schedule = ["constant", "wsd:warmup=0.1,decay=0.3", "cosine"]'
    chosen = cells_of(tmp_path, axes, "schedule=wsd:warmup=0.1,decay=0.3,compression=none")
    assert [cell.schedule for cell in chosen] == ["wsd:warmup=0.1,decay=0.3"]
    assert len(cells_of(tmp_path, axes, "schedule=wsd*|cosine")) == 4


def test_a_model_that_is_served_as_given_has_no_regime(tmp_path: Path) -> None:
    axes = 'schedule = ["cosine", "linear"]\nclip = "norm:1"\naverage = "ema"'
    cells = cells_of(tmp_path, axes, workloads=("exported:model.pt2",))
    assert {(cell.schedule, cell.clip, cell.average) for cell in cells} == {("constant", "none", "none")}
    assert len(cells) == 2


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ('schedule = "cosin"', "[train] schedule: unknown schedule 'cosin'; did you mean 'cosine'?"),
        ('schedule = "wsd:warmup=2"', "[train] schedule: schedule 'wsd:warmup=2': warmup: '2' is out of its"),
        ("clip = 1", "[train] clip: unknown clip '1'; known: none, norm"),
        ('clip = "norm:0"', "limit: '0' is out of its range (0, inf)"),
        ('average = "ema:1"', "[train] average: average 'ema:1': decay: '1' is out of its range [0, 1)"),
        ('average = "mean:0"', "share: '0' is out of its range (0, 1]"),
        ("average = 0.5", "train.average: must be a string, an integer or a list of these, got 0.5"),
        ('shedule = "cosine"', "unknown key 'train.shedule'; did you mean 'schedule'?"),
    ],
)
def test_a_mistake_gets_one_line_that_says_where(tmp_path: Path, axes: str, message: str) -> None:
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        cells_of(tmp_path, axes)
    assert "mine.toml" in str(caught.value) and message in str(caught.value)


def test_labels_name_what_is_not_the_default(tmp_path: Path) -> None:
    axes = 'schedule = "cosine:warmup=0.1"\nclip = "norm:1"\naverage = "mean:0.5"'
    plan = plan_of(tmp_path, axes)
    label = "digits adam cosine:warmup=0.1 clip norm:1 average mean:0.5"
    assert [stage.label for stage in plan.of_kind("train")] == [label]
    assert [stage.label for stage in plan.of_kind("step")] == [f"{label} step"]
    assert [stage.label for stage in plan.of_kind("compress")] == [f"{label} + finetune"]


def test_each_regime_is_trained_recovered_and_timed_by_itself(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'schedule = ["constant", "cosine"]\nclip = ["none", "norm:1"]')
    assert {kind: len(plan.of_kind(kind)) for kind in ("train", "step", "compress")} == {
        **{"train": 4, "step": 4, "compress": 4},
    }
    assert len({cell.name for cell in plan.cells}) == 8
    assert "digits/adam/none@cpu-eager/schedule=cosine/clip=norm:1" in {cell.name for cell in plan.cells}


def test_a_stages_request_has_the_settings_that_its_text_leaves_out(tmp_path: Path) -> None:
    (stage,) = plan_of(tmp_path, 'schedule = "cosine"').of_kind("train")
    settings = stage.request.settings
    assert (settings["schedule"], settings["clip"], settings["average"]) == ("cosine", "none", "none")
    assert settings["regime_settings"]["schedule"] == {"warmup": 0.05, "final": 0.0}


def test_schedule_free_with_a_schedule_or_an_average_is_skipped_and_with_a_warm_up_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(OPTIMIZERS.get("schedule-free-sgd")), "obstacle", lambda _: None)
    axes = 'schedule = ["constant", "constant:warmup=0.1", "cosine"]\naverage = ["none", "ema"]'
    text = MATRIX.format(axes=axes).replace('"adam"', '"schedule-free-sgd"')
    path = tmp_path / "mine.toml"
    path.write_text(text)
    plan = make_plan(read_matrix(str(path)), cpus=2)
    found = {(cell.axes["schedule"], cell.axes["average"]): cell.skipped for cell in plan.cells}
    assert found["constant", "none"] == found["constant:warmup=0.1", "none"] == ""
    assert found["cosine", "none"] == (
        "schedule-free-sgd averages weights in place of a schedule: schedule must be constant, got cosine"
    )
    assert "average must be none, got ema:0.999" in found["constant", "ema:0.999"]
