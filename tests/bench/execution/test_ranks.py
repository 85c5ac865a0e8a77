"""A stage on several devices ends as one record, however its ranks end."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.execution.rank import shares_of
from bench.execution.ranks import judge, run_in_ranks
from bench.models.files import load_model
from bench.records import Result
from bench.results.artifacts import artifact_folder
from bench.stages import settings_of, train
from bench.workloads.loading import load_workload
from tests.support.several_devices import by_metric, several

OK = Result("ok")
LOST = "its training of up to 12 steps"


@pytest.mark.parametrize(
    ("cpus", "ranks", "shares"),
    [
        ((0, 1), 2, [(0,), (1,)]),
        ((2, 3, 6, 7, 8), 2, [(2, 3), (6, 7)]),
        ((0,), 2, [(0,), (0,)]),
    ],
)
def test_ranks_share_the_cores_evenly(cpus, ranks, shares):
    assert shares_of(cpus, ranks) == shares


def test_a_stage_has_the_result_of_its_first_rank():
    assert judge({}, [Result("ok", body_s=1.0), OK], LOST).body_s == 1.0


@pytest.mark.parametrize(
    ("number", "out_of_memory", "state"),
    [
        (signal.SIGKILL, False, "killed"),
        (signal.SIGTERM, False, "killed"),
        (signal.SIGKILL, True, "oom"),
        (signal.SIGSEGV, False, "failed"),
    ],
)
def test_a_rank_that_was_killed_is_named_and_not_those_that_lost_it(number, out_of_memory, state):
    disconnected = Result("failed", "RuntimeError: Connection closed by peer")
    result = judge({0: 1, 1: -number}, [disconnected, None], LOST, out_of_memory=out_of_memory)
    assert (result.state, result.reason) == (
        state,
        f"rank 1 of 2 was killed by {number.name}; its training of up to 12 steps is lost",
    )


def test_a_rank_that_says_why_comes_before_one_that_only_failed():
    refused = Result("skipped", "parallel=tp requires a workload that declares how its layers are split")
    result = judge({0: 1, 1: 1}, [Result("failed", "RuntimeError: Connection closed"), refused], LOST)
    assert (result.state, result.reason) == (refused.state, refused.reason)


def test_a_rank_that_the_agent_then_ends_is_not_the_reason():
    refused = Result("skipped", "parallel=tp requires a workload that declares how its layers are split")
    assert judge({0: -signal.SIGTERM, 1: 1}, [None, refused], LOST).reason == refused.reason
    assert judge({0: -signal.SIGTERM, 1: 3}, [None, None], LOST).reason == (
        "rank 1 of 2 ended with exit code 3 and left no result"
    )
    killed = judge({0: -signal.SIGTERM, 1: -signal.SIGKILL}, [None, None], LOST)
    assert killed.reason.startswith("rank 1 of 2 was killed by SIGKILL")


def test_a_rank_that_failed_is_named():
    result = judge({1: 1}, [OK, Result("failed", "ValueError: no")], LOST)
    assert (result.state, result.reason) == ("failed", "rank 1 of 2: ValueError: no")


def test_a_rank_that_left_nothing_is_named():
    result = judge({1: 3}, [None, None], LOST)
    assert result.reason == "rank 1 of 2 ended with exit code 3 and left no result"


@pytest.mark.slow
def test_a_training_in_two_ranks_leaves_the_model_of_one_and_the_memory_of_each(tmp_path: Path) -> None:
    request = several(tmp_path, "mlp", key="d" * 64)
    result = run_in_ranks(request, 2, tmp_path)
    assert (result.state, result.reason) == ("ok", "")
    found = by_metric(result.measurements)
    assert found["steps_trained"].value == 12 and found["ranks"].value == 2
    assert found["ranks"].method == "ddp over gloo, 1 thread each"
    peaks = [entry.value for entry in result.measurements if entry.metric == "rank_peak_rss_bytes"]
    assert len(peaks) == 2 and found["peak_rss_bytes"].value == max(peaks)
    settings = settings_of("train", request.settings)
    model = load_model(artifact_folder(tmp_path, request.key), settings.workload)
    assert [tuple(tensor.shape) for tensor in model.parameters()] == [(32, 8), (32,), (2, 32), (2,)]


@pytest.mark.slow
@pytest.mark.parametrize(("workload", "parallel"), [("mlp", "ddp"), ("mlp", "fsdp"), ("transformer", "tp")])
def test_a_training_on_two_devices_has_the_losses_and_the_outputs_of_one(
    tmp_path: Path, workload: str, parallel: str
) -> None:
    alone = several(tmp_path, workload, "none", devices=1, key="c" * 64)
    alone = replace(alone, settings=settings_of("train", alone.settings))
    artifact_folder(tmp_path, alone.key).mkdir(parents=True)
    one = by_metric(tuple(train.run(alone, artifact_folder(tmp_path, alone.key))))
    result = run_in_ranks(several(tmp_path, workload, parallel, key="d" * 64), 2, tmp_path)
    assert (result.state, result.reason) == ("ok", "")
    two = by_metric(result.measurements)
    assert two["curve_step"].samples == one["curve_step"].samples == (2, 4, 6, 8, 10, 12)
    assert two["curve_loss"].samples == pytest.approx(one["curve_loss"].samples, abs=1e-5)
    assert two["curve_quality"].samples == one["curve_quality"].samples
    # Not their weights: the bias of an attention's keys has no gradient but rounding, which Adam takes up.
    inputs = load_workload(alone.settings.workload)[1].test_inputs
    models = (load_model(artifact_folder(tmp_path, key * 64), alone.settings.workload) for key in "cd")
    with torch.no_grad():
        own, other = (model.eval()(inputs) for model in models)
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_step_of_two_ranks_is_timed_with_its_communication(tmp_path: Path) -> None:
    result = run_in_ranks(several(tmp_path, "mlp", "fsdp", "step"), 2, tmp_path)
    assert (result.state, result.reason) == ("ok", "")
    found = by_metric(result.measurements)
    assert found["step_latency_s"].value > 0 and found["step_latency_s"].n >= 6
    assert 0 < found["communication_share"].value <= 1
    assert found["collectives_per_step"].value >= 2
    assert "gloo" in found["communication_share"].method
    # Multiply-adds of both ranks: 16 samples through 8 × 32 and 32 × 2 weights.
    assert found["forward_flops"].value == 2 * 16 * (8 * 32 + 32 * 2)
    # Adam keeps two numbers for each weight, of which a rank of fsdp has its half.
    assert found["optimizer_state_bytes"].value == 2 * 4 * (8 * 32 + 32 + 32 * 2 + 2) / 2
