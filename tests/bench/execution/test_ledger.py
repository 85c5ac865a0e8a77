"""What has ended and what is left, from the store alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.execution.job import MIN_REPEATS
from bench.execution.ledger import MAX_KILLS
from bench.records import Measurement, Result
from bench.results.store import StageRow
from tests.support.ledgers import EVALUATE, INFER, TRAIN, ledger_of


def timed(latency_s: float, disturbed: str = "", wall_s: float = 0.0) -> Result:
    return Result(
        "ok",
        wall_s=wall_s,
        measurements=(Measurement("latency_s", latency_s),),
        dynamic={"disturbed": disturbed},
    )


def test_an_untimed_stage_ends_with_its_first_result_and_is_remembered(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    assert ledger.enter(TRAIN, 0, Result("ok"))
    assert ledger.left() == [EVALUATE, INFER] and ledger.has_ended(TRAIN) and ledger.ok
    again = ledger_of(tmp_path)
    again.remember()
    assert again.left() == [EVALUATE, INFER]


def test_a_stage_whose_parent_failed_is_skipped_for_the_first_reason(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    assert ledger.blocked(EVALUATE) is None
    ledger.enter(TRAIN, 0, Result("failed", "no such data"))
    blocked = ledger.blocked(EVALUATE)
    assert blocked == Result("skipped", "its train stage (net) failed: no such data")
    assert not ledger.ok


def test_a_timed_stage_ends_when_its_interval_is_narrow_enough(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    for launch in range(3):
        assert not ledger.has_ended(INFER)
        ledger.enter(INFER, launch, timed(1.0 + 0.001 * launch))
        assert ledger.count_launch(INFER)
    assert ledger.has_ended(INFER)


def test_a_wide_interval_asks_for_launches_up_to_the_budget(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    for launch in range(10):
        assert not ledger.has_ended(INFER)
        ledger.enter(INFER, launch, timed(1.0 + launch))
        ledger.count_launch(INFER)
    assert ledger.has_ended(INFER)


def test_a_disturbed_launch_does_not_count_until_the_repeats_are_used_up(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    counted = []
    for launch in range(ledger.job.max_repeats + 1):
        ledger.enter(INFER, launch, timed(1.0, "pressure"))
        counted.append(ledger.count_launch(INFER))
    assert counted == [False] * max(MIN_REPEATS, 10) + [True]


def test_where_most_launches_of_a_run_are_disturbed_none_is_repeated(tmp_path: Path, capsys) -> None:
    others = [replace(INFER, key=f"{number:064d}", label=f"net {number} @ cpu") for number in range(12)]
    ledger = ledger_of(tmp_path, (TRAIN, *others))
    counted = []
    for launch in range(2):
        for stage in others:
            ledger.enter(stage, launch, timed(1.0, "pressure"))
            counted.append(ledger.count_launch(stage))
    assert counted == [False] * 19 + [True] * 5
    assert "20 of 20 launches were disturbed" in capsys.readouterr().err
    assert ledger.reopen() and max(ledger.repeats.values()) == 2
    for launch in range(2, 40):
        for stage in others:
            ledger.enter(stage, launch, timed(1.0))
            ledger.count_launch(stage)
        if not ledger.reopen():
            break
    assert sum(ledger.repeats.values()) == 24


def test_a_spent_time_budget_ends_a_timing_that_has_an_interval(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, budget_s=20.0)
    for launch in range(4):
        assert not ledger.has_ended(INFER)
        ledger.enter(INFER, launch, timed(1.0 + launch, wall_s=6.0))
        assert ledger.count_launch(INFER)
    assert ledger.has_ended(INFER) and ledger.ok


def test_a_timing_that_has_begun_ends_with_one_launch_however_small_the_budget(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, budget_s=0.1)
    ledger.spend([INFER], 60.0)
    ledger.end_spent()
    assert not ledger.has_ended(INFER) and ledger.blocked(INFER) is None, "the only cell has its answer"
    ledger.enter(INFER, 0, timed(1.0, "pressure"))
    assert ledger.count_launch(INFER), "nothing is repeated"
    assert ledger.has_ended(INFER) and ledger.ok
    ledger.reopen()
    assert ledger.left() == [TRAIN, EVALUATE]


def test_a_disturbed_launch_counts_where_no_time_is_left_to_repeat_it(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, budget_s=60.0)
    ledger.enter(INFER, 0, timed(1.0, "pressure", wall_s=1.0))
    assert not ledger.count_launch(INFER)
    ledger.spend([INFER], 60.0)
    ledger.end_spent()
    assert ledger.has_ended(INFER) and ledger.launches[INFER.key] == 1


def test_what_others_of_its_workload_spend_ends_a_timing_too(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, budget_s=20.0)
    for launch in range(3):
        ledger.enter(INFER, launch, timed(1.0 + launch, wall_s=1.0))
        ledger.count_launch(INFER)
    ledger.end_spent()
    assert not ledger.has_ended(INFER)
    ledger.spend([INFER, replace(INFER, key="d" * 64)], 34.0)
    ledger.end_spent()
    assert ledger.has_ended(INFER)


def test_what_is_not_timed_spends_the_budget_too_but_training_does_not(tmp_path: Path) -> None:
    def has_ended(name: str, before: StageRow, wall_s: float) -> bool:
        (tmp_path / name).mkdir()
        ledger = ledger_of(tmp_path / name, budget_s=20.0)
        ledger.enter(before, 0, Result("ok", wall_s=wall_s))
        for launch in range(3):
            ledger.enter(INFER, launch, timed(1.0 + launch, wall_s=1.0))
            ledger.count_launch(INFER)
        again = ledger_of(tmp_path / name, budget_s=20.0)
        again.remember()
        assert again.has_ended(INFER) == ledger.has_ended(INFER)
        return ledger.has_ended(INFER)

    assert not has_ended("trained", TRAIN, 1000.0)
    assert not has_ended("on one of two cores", EVALUATE, 30.0)
    assert has_ended("long", EVALUATE, 36.0)


def test_a_resumed_run_knows_what_its_launches_have_spent(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, budget_s=20.0)
    for launch in range(3):
        ledger.enter(INFER, launch, timed(1.0 + launch, "pressure" if launch else "", wall_s=6.0))
    again = ledger_of(tmp_path, budget_s=15.0)
    again.remember()
    assert again.launches[INFER.key] == 3 and again.has_ended(INFER)


def test_a_smoke_run_launches_each_stage_once_and_repeats_nothing(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, smoke=True)
    ledger.enter(INFER, 0, timed(1.0, "pressure"))
    assert ledger.count_launch(INFER) and ledger.has_ended(INFER)


def test_a_stage_that_is_killed_again_and_again_has_failed(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    killed = Result("killed", "ended from outside by SIGKILL")
    ended = [ledger.enter(TRAIN, 0, killed) for _ in range(MAX_KILLS)]
    assert ended == [False] * (MAX_KILLS - 1) + [True] and ledger.has_ended(TRAIN) and not ledger.ok


def test_a_stage_that_failed_of_a_full_disk_ends_the_run_with_that_reason(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    with pytest.raises((BenchError, OSError), match="no space left; free some"):
        ledger.enter(TRAIN, 0, Result("failed", "OSError: [Errno 28] No space left on device"))


def test_what_was_lost_with_a_node_whose_disk_is_full_is_launched_again(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    reason = "its node was lost: its agent failed: OSError: [Errno 28] No space left on device"
    assert not ledger.enter(TRAIN, 0, Result("killed", reason, dynamic={"node": "node-1"}))
    assert not ledger.has_ended(TRAIN)


def test_a_launch_gets_all_passes_first_and_memory_by_its_cores(tmp_path: Path) -> None:
    job = ledger_of(tmp_path, trusted=("model.pt2",)).job
    first = job.request(INFER, 0, (0, 1), job.resources)
    later = job.request(INFER, 1, (1,), job.resources)
    assert (first.all_passes, first.threads, first.memory_bytes) == (True, 2, 2**30)
    assert (later.all_passes, later.cpus, later.memory_bytes) == (False, (1,), 2**29)
    assert first.trusted == ("model.pt2",) and first.run_id == "run-1"
