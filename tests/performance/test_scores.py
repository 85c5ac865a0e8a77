"""Scores of comparisons, from simulated and recorded launches; recording goes on where it stopped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.performance import ab_scores, check_scores, optimizer_scores
from tests.performance.launch_pool import (
    BEFORE,
    EXTRA,
    NETWORKS,
    Block,
    Launch,
    append,
    blocks_of,
    read_launches,
)
from tests.performance.recording import record
from tests.support.synthetic_run import Synthetic, build


def recorded(count: int, spread: float = 0.01) -> list[Launch]:
    """Return launches as they are recorded: two of each network in a block, slower beside a neighbour."""
    chance = np.random.default_rng(0)
    found = []
    for block in range(count):
        neighbour = bool(block % 2)
        for metric in ("latency_s", "step_latency_s"):
            for network in (*NETWORKS, *reversed(NETWORKS)):
                work = 1 + EXTRA.get(network, 0) / 100 + 0.3 * neighbour
                value = 0.01 * work * math.exp(chance.normal(0, spread))
                found.append(Launch(block, neighbour, 3.0, metric, network, value, 0.8))
    return found


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return blocks_of(recorded(20))


def test_recorded_launches_come_back_from_their_file_in_blocks(tmp_path):
    path, launches = tmp_path / "launches.csv", recorded(3)
    append([launch for launch in launches if launch.block < 2], path)
    append([launch for launch in launches if launch.block == 2], path)
    read = read_launches(path)
    assert [(each.block, each.network, each.metric) for each in read] == [
        (each.block, each.network, each.metric) for each in launches
    ]
    found = blocks_of(read)
    assert [block.neighbour for block in found] == [False, True, False]
    assert found[0].metrics == ["latency_s", "step_latency_s"]
    assert found[0].launches["latency_s", BEFORE] == pytest.approx(
        [
            each.value_s
            for each in launches
            if (each.block, each.metric, each.network) == (0, "latency_s", "A")
        ],
        rel=1e-4,
    )
    assert read_launches(tmp_path / "none.csv") == []


def test_a_comparison_of_recorded_networks_finds_what_does_more_and_nothing_where_none_does(blocks):
    quiet = [block for block in blocks if not block.neighbour]
    more = ab_scores.score(quiet, "latency_s", "+5", 120.0, comparisons=20)
    assert more.truth == pytest.approx(0.05, abs=0.01) and more.slower >= 0.9
    same = ab_scores.score(quiet, "latency_s", "+0", 120.0, comparisons=20)
    assert same.truth == 0 and same.slower <= 0.1 and math.isnan(same.right)


def test_a_replay_keeps_the_budget_on_the_recorded_clock(blocks):
    timing = ab_scores.replayed(blocks, "latency_s", "+1", 0, 60.0)
    assert 6 <= len(timing.differences) <= 60 / (3.0 + 4 * 0.8)


def test_a_check_of_recorded_networks_draws_real_extra_work(blocks):
    pool = check_scores.pool_of_blocks(blocks)
    samples = check_scores.Samples(pool, seed=0)
    assert sorted(pool.slower) == [0.01, 0.03, 0.05, 0.1]
    ratios = []
    for _ in range(50):
        check = check_scores.make_check(samples, check_scores.STEADY, 0.1)
        ratios.append(np.median(check.now[0]) / np.median(check.before[0]))
        assert len(check.now) == check_scores.CELLS and len(check.now[0]) == check_scores.LAUNCHES
    assert np.median(ratios) == pytest.approx(1.1, abs=0.01)


def test_beside_a_neighbour_launches_are_those_that_were_recorded_beside_one(blocks):
    samples = check_scores.Samples(check_scores.pool_of_blocks(blocks), seed=0)
    always = check_scores.Conditions("always", neighbour=1.0)
    assert np.median(samples.run([0] * 20, always)) == pytest.approx(1.3, abs=0.02)
    simulated = check_scores.Samples(check_scores.pool_of([[1.0, 1.01] * 10]), seed=0)
    assert 1.01 < np.mean(simulated.run([0] * 20, always)) < 1.2


@pytest.mark.parametrize("kind", ["simulated", "recorded"])
def test_every_rule_is_scored_on_the_same_checks(blocks, kind):
    pool = (
        check_scores.pool_of(check_scores.simulated(0.01, stages=20))
        if kind == "simulated"
        else check_scores.pool_of_blocks(blocks)
    )
    found = check_scores.scores(check_scores.Samples(pool, 0), check_scores.STEADY, (0.1,), 9)
    assert {check_scores.OURS, check_scores.CONFIRMED, *check_scores.RULES} == set(found)
    assert found[check_scores.CONFIRMED].false_alarms <= found[check_scores.OURS].false_alarms <= 0.34
    assert found[check_scores.OURS].found[0.1] >= 0.6


def test_asvs_interval_is_that_of_its_posterior():
    """By integrating the density of asv's documentation, sum(|y - b|) to the power of minus the samples."""
    low, high = check_scores._asv_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert low + high == pytest.approx(7, abs=0.01) and high > 6
    places = np.linspace(-1000, 1007, 4_000_001)
    density = sum(np.abs(y - places) for y in range(1, 7)) ** -6.0
    beyond = density[places > high].sum() / density.sum()
    assert beyond == pytest.approx(0.005, rel=0.02) or high == 6


def test_launches_of_shipped_cells_are_there():
    cells = check_scores.recorded_cells()
    assert len(cells) >= 20 and min(map(len, cells)) >= check_scores.LAUNCHES


def test_verdicts_on_optimizers_are_scored_from_simulated_and_from_recorded_seeds(tmp_path):
    chance = np.random.default_rng(0)
    draw = optimizer_scores.simulated(0.05, chance)
    assert optimizer_scores.told_apart(draw, 5, 1e4, comparisons=60) <= 0.1
    found, seeds = optimizer_scores.found_planted(draw, 5, 1e4, comparisons=20)
    assert found >= 0.6 and seeds >= 5
    behind, tied = optimizer_scores.longer_step(draw, 5, 1e4, comparisons=20)
    assert behind >= 0.9 and tied == 1
    build(tmp_path, Synthetic(("adam", "sgd"), ("none",), seeds=(0, 1, 2))).close()
    recorded = optimizer_scores.recorded(tmp_path, None)
    ((needed, budget),) = [recorded["digits adam"]]
    assert len(needed) == 3 and np.median(needed) == 1 and budget > 1
    assert "digits sgd" not in recorded  # it never reaches its target


@pytest.mark.slow
def test_real_launches_are_recorded_and_recording_goes_on_where_it_stopped(tmp_path: Path):
    path, two = tmp_path / "launches.csv", {"+0": 0, "+10": 10}
    assert [record(5, path, sample_s=0.02, extra=two, most=1) for _ in range(2)] == [1, 1]
    found = blocks_of(read_launches(path))
    assert [block.neighbour for block in found] == [False, True]
    for block in found:
        assert block.metrics == ["latency_s", "step_latency_s"]
        assert {network for _, network in block.launches} == {BEFORE, *two}
        assert all(len(values) == 2 and min(values) > 0 for values in block.launches.values())
