"""Shards: every cell in one of them, chains whole, about the same time each."""

from __future__ import annotations

from functools import cache

import pytest

from bench.costs import guessed_s
from bench.errors import MatrixError
from bench.matrix.cells import Matrix
from bench.matrix.reading import read_matrix
from bench.plan import keys
from bench.plan.names import varying_axes
from bench.plan.planner import Plan, make_plan
from bench.plan.shards import Shard, parse_shard, shard_of


@cache
def whole(name: str) -> tuple[Matrix, Plan]:
    matrix = read_matrix(name)
    return matrix, make_plan(matrix, cpus=2)


def shards(name: str, count: int) -> list[tuple[Matrix, Shard]]:
    matrix, plan = whole(name)
    seconds = guessed_s(plan.stages.values(), matrix.budget.max_launches)
    return [shard_of(matrix, plan, Shard(number, count), seconds) for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_cell_is_in_one_shard_under_the_same_name_and_key(count: int) -> None:
    matrix, plan = whole("standard")
    parts = shards("standard", count)
    assert sorted(str(cell) for part, _ in parts for cell in part.cells) == sorted(map(str, matrix.cells))
    assert len({shard.split for _, shard in parts}) == 1
    rows = {
        row.name: row
        for part, _ in parts
        for row in make_plan(part, cpus=2, varying=varying_axes(matrix.cells)).cells
    }
    for cell in plan.cells:
        assert rows[cell.name].stages == cell.stages and rows[cell.name].skipped == cell.skipped


def test_machines_with_other_processors_split_a_matrix_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = read_matrix("standard")
    splits = set()
    for processor in ("one CPU avx2", "another CPU avx512f", "a third"):
        keys.device_kind.cache_clear()
        monkeypatch.setattr(keys, "kind_of_processor", lambda name=processor: name)
        plan = make_plan(matrix, cpus=2)
        seconds = guessed_s(plan.stages.values(), matrix.budget.max_launches)
        splits.add(shard_of(matrix, plan, Shard(1, 4), seconds)[1].split)
    keys.device_kind.cache_clear()
    assert len(splits) == 1


def test_no_model_is_trained_or_compressed_or_lowered_in_two_shards() -> None:
    matrix, plan = whole("standard")
    plans = [make_plan(part, cpus=2, varying=varying_axes(matrix.cells)) for part, _ in shards("standard", 5)]
    for kind in ("train", "compress", "lower", "evaluate"):
        found = [stage.key for part in plans for stage in part.of_kind(kind)]
        assert sorted(found) == sorted(stage.key for stage in plan.of_kind(kind))


def test_each_stage_has_its_parents_in_its_own_shard() -> None:
    matrix, _ = whole("standard")
    for part, _ in shards("standard", 5):
        stages = make_plan(part, cpus=2, varying=varying_axes(matrix.cells)).stages
        assert all(parent in stages for stage in stages.values() for parent in stage.parents)


def test_shards_take_about_as_long_and_repeat_little() -> None:
    matrix, plan = whole("full")
    all_s = sum(guessed_s(plan.stages.values(), 6).values())
    taken = [
        sum(
            guessed_s(make_plan(part, cpus=2, varying=varying_axes(matrix.cells)).stages.values(), 6).values()
        )
        for part, _ in shards("full", 4)
    ]
    assert max(taken) < 1.25 * min(taken)
    assert sum(taken) < 1.15 * all_s


def test_a_shard_of_another_split_is_refused_before_anything_runs() -> None:
    matrix, plan = whole("standard")
    seconds = guessed_s(plan.stages.values(), matrix.budget.max_launches)
    split = shard_of(matrix, plan, Shard(1, 4), seconds)[1].split
    second = shard_of(matrix, plan, parse_shard(f"2/4@{split}"), seconds)[1]
    assert (str(second), second.split) == ("2/4", split)
    with pytest.raises(MatrixError, match=rf"--shard 2/4@0{{12}}: here the matrix is split as {split}; "):
        shard_of(matrix, plan, parse_shard("2/4@000000000000"), seconds)


def test_more_shards_than_trainings_leave_some_empty() -> None:
    matrix, plan = whole("ci")
    with pytest.raises(MatrixError, match="--shard 3/3: is empty; the matrix has 2 trainings"):
        shard_of(matrix, plan, Shard(3, 3), guessed_s(plan.stages.values(), 6))


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "1/99999", "a/b", "1/3/5"])
def test_a_mistake_in_a_shard_is_one_line(text: str) -> None:
    with pytest.raises(MatrixError, match="--shard: must be as 2/5"):
        parse_shard(text)
