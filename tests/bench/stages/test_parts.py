"""The pass that takes a training step apart: known seconds, and a reason where it cannot be cut."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest

from bench.records import Measurement
from bench.stages import step
from bench.stages.parts import NOT_APART, PARTS, parts_pass
from bench.stages.settings import SamplingSettings
from tests.conftest import SimulatedClock
from tests.support.stage_requests import request_of

SECONDS = {"data": 0.5, "forward": 1.0, "backward": 2.0, "optimizer": 0.5}


class Timed:
    """A training step of known parts; every `period`-th update takes longer by 3 s."""

    def __init__(self, clock: SimulatedClock, period: int = 1) -> None:
        self.clock, self.period, self.steps = clock, period, 0
        self.on_part: Any = None

    def __call__(self) -> None:
        self.clock.work(SECONDS["data"])
        for part in PARTS[1:]:
            if self.on_part is not None:
                self.on_part(part)
            self.clock.work(SECONDS[part])
        self.steps += 1
        if self.period > 1 and self.steps % self.period == 0:
            self.clock.work(3.0)


def measured(learn: Any, call: Any, period: int = 1, **settings: Any) -> dict[str, Measurement]:
    trainer = SimpleNamespace(learn=learn, synchronize=lambda: None)
    request = SimpleNamespace(
        device="cpu", smoke=False, settings=SamplingSettings(**{"sample_s": 100.0, **settings})
    )
    return {entry.metric: entry for entry in parts_pass(call, trainer, period, 4.0, request)}


def test_parts_have_their_seconds_and_shares_that_add_up_to_1(simulated_clock):
    learn = Timed(simulated_clock)
    found = measured(learn, learn)
    assert {part: found[f"step_{part}_s"].value for part in PARTS} == SECONDS
    shares = {part: found[f"step_{part}_share"].value for part in PARTS}
    assert shares == {"data": 0.125, "forward": 0.25, "backward": 0.5, "optimizer": 0.125}
    assert found["step_parts_ratio"].value == 1.0
    assert found["step_data_s"].n == 7  # a quarter of the sampling time, at 4 s a step
    assert learn.on_part is None


def test_work_that_an_optimizer_does_now_and_then_is_spread_over_its_period(simulated_clock):
    learn = Timed(simulated_clock, period=10)
    found = measured(learn, learn, period=10)
    assert learn.steps % 10 == 0 and found["step_optimizer_s"].n == 3
    assert found["step_optimizer_s"].value == pytest.approx(0.5 + 0.3)
    assert found["step_forward_s"].value == pytest.approx(1.0)
    assert "rounds of 10 steps" in found["step_optimizer_s"].method
    assert found["step_parts_ratio"].value == pytest.approx(4.3 / 4)


def test_a_runtime_that_takes_a_step_as_one_program_says_so(simulated_clock):
    found = measured(SimpleNamespace(), lambda: simulated_clock.work(1.0))
    assert {entry.value for entry in found.values()} == {None}
    assert {entry.reason for entry in found.values()} == {NOT_APART}
    assert len(found) == 2 * len(PARTS) + 1


def test_marks_end_with_the_pass_even_if_a_step_fails(simulated_clock):
    learn = Timed(simulated_clock)

    def fails() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        measured(learn, fails)
    assert learn.on_part is None


@pytest.mark.parametrize("variant", ["loop", "foreach", "fused"])
def test_a_launch_measures_its_parts_and_what_its_memory_is_made_of(variant: str, tmp_path: Path) -> None:
    settings = {"optimizer": f"adam:variant={variant}", "sample_s": 0.02}
    request = request_of("step", tmp_path, settings, all_passes=True)
    found = {(entry.metric, entry.qualifier): entry for entry in step.run(request, tmp_path)}
    values = {metric: entry.value for (metric, qualifier), entry in found.items() if not qualifier}
    assert all(values[f"step_{part}_s"] > 0 for part in PARTS)
    assert sum(values[f"step_{part}_share"] for part in PARTS) == pytest.approx(1)
    assert values["step_parts_ratio"] == pytest.approx(
        sum(values[f"step_{part}_s"] for part in PARTS) / median(found["step_latency_s", ""].samples)
    )
    kinds = ("weights", "gradients", "optimizer", "activations")
    assert sum(values[f"peak_{kind}_bytes"] for kind in kinds) == values["peak_tensor_bytes"]
    assert found["optimizer_parameters", "adam"].method.startswith(f"{variant}: ")


def test_every_launch_measures_parts_so_that_they_have_an_interval(tmp_path: Path) -> None:
    request = request_of("step", tmp_path, {"sample_s": 0.02}, all_passes=False)
    metrics = {entry.metric for entry in step.run(request, tmp_path)}
    assert {f"step_{part}_share" for part in PARTS} <= metrics and "peak_tensor_bytes" not in metrics
