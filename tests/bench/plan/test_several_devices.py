"""Devices and the way they train as axes of a matrix: how they are written, planned and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.instruments.accelerators import visible_gpus
from bench.matrix.reading import read_matrix
from bench.plan.planner import Plan, make_plan

MATRIX = """
[train]
workload = "{workload}"
optimizer = "adam"
{axes}
[infer]
compression = "none"
backend = "cpu-eager"
"""


def plan_of(folder: Path, axes: str, cpus: int = 4, workload: str = "digits") -> Plan:
    path = folder / "mine.toml"
    path.write_text(MATRIX.format(axes=axes, workload=workload))
    return make_plan(read_matrix(str(path)), cpus=cpus)


def labels(plan: Plan, kind: str) -> list[str]:
    return [stage.label for stage in plan.of_kind(kind)]


def test_without_the_axes_one_device_trains_and_nothing_else_is_planned(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "")
    (cell,) = plan.cells
    assert (cell.axes["devices"], cell.axes["parallel"]) == (1, "none")
    assert labels(plan, "train") == ["digits adam"] and labels(plan, "single") == []


def test_one_device_has_one_cell_in_whichever_way_several_train(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'devices = [1, 2]\nparallel = ["ddp", "fsdp"]')
    found = [(cell.axes["devices"], cell.axes["parallel"]) for cell in plan.cells]
    assert found == [(1, "none"), (2, "ddp"), (2, "fsdp")]
    assert labels(plan, "train") == ["digits adam", "digits adam ddp x2", "digits adam fsdp x2"]
    assert labels(plan, "step") == [f"{label} step" for label in labels(plan, "train")]


def test_all_ways_and_seeds_are_held_against_one_timing_on_one_device(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'devices = [2, 4]\nparallel = ["ddp", "fsdp"]\nseed = [0, 1]')
    assert labels(plan, "single") == [f"digits adam step on one of {n} devices" for n in (2, 4)]
    assert len(plan.of_kind("train")) == 8 and len(plan.of_kind("step")) == 4
    request = plan.of_kind("single")[0].request.settings
    assert (request["devices"], request["of_devices"], request["parallel"]) == (1, 2, "none")


def test_trials_are_made_on_one_device_for_all(tmp_path: Path) -> None:
    alone = plan_of(tmp_path, "tuning = { trials = 2 }")
    several = plan_of(tmp_path, "tuning = { trials = 2 }\ndevices = 2")
    assert [stage.key for stage in several.of_kind("trial")] == [
        stage.key for stage in alone.of_kind("trial")
    ]
    assert several.of_kind("train")[0].key != alone.of_kind("train")[0].key


def test_a_model_that_is_served_as_given_is_trained_on_no_devices(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MATRIX.format(axes="devices = [1, 2]", workload="digits"))
    (cell,) = read_matrix(str(path), workloads=("exported:model.pt2",)).cells
    assert (cell.devices, cell.parallel) == (1, "none")


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ("devices = 8", "devices=8: cpu-eager has 4 cores here"),
        ("devices = 3", "devices=3: a batch of 32 cannot be shared equally"),
        (
            'devices = 2\nparallel = "none"',
            "devices=2 requires parallel = \"ddp\" or another way, got 'none'",
        ),
        ('devices = 2\nbackend = "cpu-inductor"', "cpu-inductor does not train on several devices by ddp"),
    ],
)
def test_what_cannot_train_together_is_skipped_with_the_reason(
    tmp_path: Path, axes: str, reason: str
) -> None:
    (cell,) = plan_of(tmp_path, axes).cells
    assert cell.skipped == reason


def test_each_device_of_a_batch_that_is_not_split_has_all_of_it(tmp_path: Path) -> None:
    (cell,) = plan_of(tmp_path, 'devices = 3\nparallel = "tp"').cells
    assert cell.skipped == ""


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("devices = 0", "[train] devices: must be an integer from 1 to 1,024, got 0"),
        ('devices = "two"', "[train] devices: must be an integer from 1 to 1,024, got 'two'"),
        ("devices = 1.5", "train.devices: must be a string, an integer or a list of these, got 1.5"),
        ('parallel = "dpd"', "[train] parallel: unknown parallel 'dpd'; did you mean 'ddp'?"),
        ("device = 2", "unknown key 'train.device'; did you mean 'devices'?"),
    ],
)
def test_a_mistake_gets_one_line_that_says_where(tmp_path: Path, axes: str, message: str) -> None:
    with pytest.raises(MatrixError, match=r"^[^\n]+$") as caught:
        plan_of(tmp_path, axes)
    assert "mine.toml" in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "seen"), [(None, 4), ("0,1", 2), ("2", 1), ("0,-1,1", 1), ("", 0), ("0,1,2,3,4", 4)]
)
def test_gpus_that_are_hidden_do_not_count(
    nvml, monkeypatch: pytest.MonkeyPatch, listed: str | None, seen: int
) -> None:
    nvml.boards = ["NVIDIA H100 80GB HBM3"] * 4
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpus() == seen
