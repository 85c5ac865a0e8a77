"""What training and its step leave on record of schedules, clipping and averages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.instruments.clock import Samples, Warmup
from bench.models.files import load_model, load_outputs
from bench.models.training import predict
from bench.records import Measurement, Request
from bench.stages import compress, settings_of, step, train
from bench.stages.inputs import make_trainer
from bench.stages.timing import TimedPass
from bench.workloads.loading import load_workload
from techniques.optimizers.torch_optim import build
from tests.support.stage_requests import request_of

OWN = """
import torch
from bench.workloads.classification import accuracy_and_recall
from bench.workloads.workload import Data, Samples, Workload

def data():
    x = torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return Data(x[:64], y[:64], x[64:], y[64:], validation=Samples(x[64:], y[64:]))

def make_workload():
    loss = torch.nn.functional.cross_entropy
    return Workload(data, lambda x: x, lambda: torch.nn.Linear(8, 2), loss, accuracy_and_recall)
"""
STEPS = 12
PARAMETERS = 8 * 2 + 2
SETTINGS = {
    **{"quality_metric": "accuracy", "target": 2.0, "test_samples": None, "optimizer": "sgd:lr=0.5"},
    **{"precision": "fp32", "steps": STEPS, "evaluations_per_epoch": 2, "seed": 0, "sample_s": 0.01},
    **{"backend": "cpu-eager", "batch_size": 16},
}


def request(folder: Path, kind: str, **settings: object) -> Request:
    (folder / "mine.py").write_text(OWN)
    workload = f"own:{folder / 'mine.py'}:make_workload"
    return request_of(kind, folder, SETTINGS | {"workload": workload} | settings, round=1)


def trained(folder: Path, **settings: object) -> dict[str, Measurement]:
    return {entry.metric: entry for entry in train.run(request(folder, "train", **settings), folder)}


def test_a_training_without_a_regime_has_a_rate_of_its_own_and_no_clipping(tmp_path: Path) -> None:
    found = trained(tmp_path)
    assert set(found["curve_rate"].samples) == {1.0}
    assert "clip_binding_share" not in found


def test_a_schedule_goes_over_the_planned_steps_and_is_on_record_at_each_evaluation(tmp_path: Path) -> None:
    found = trained(tmp_path, schedule="linear:warmup=0.25")
    assert found["curve_step"].samples == (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
    assert found["curve_rate"].samples == pytest.approx((2 / 3, 1, 7 / 9, 5 / 9, 3 / 9, 1 / 9))


def test_the_share_of_clipped_steps_is_on_record(tmp_path: Path) -> None:
    found = trained(tmp_path, clip="norm:0.001")
    share = found["clip_binding_share"]
    assert (share.value, share.n, share.method) == (1.0, STEPS, "clip norm:0.001")
    assert 0.001 < found["gradient_norm_median"].value <= found["gradient_norm_max"].value
    loose = trained(tmp_path, clip="norm:1e6")
    assert loose["clip_binding_share"].value == 0


def test_the_average_is_evaluated_and_saved(tmp_path: Path) -> None:
    """Hold the artifact against a mean of the weights after each of the last six steps."""
    settings = request(tmp_path, "train").settings
    workload, data = load_workload(settings.workload, None)
    weights: list[torch.Tensor] = []
    torch.manual_seed(0)
    model = workload.model()
    trainer = make_trainer(settings, workload, data, model, settings.regime(STEPS))
    learn, after = trainer.learn, trainer.learn.__class__.__call__

    def remembering(*batch: torch.Tensor) -> torch.Tensor:
        loss = after(learn, *batch)
        weights.append(model.weight.detach().clone())
        return loss

    object.__setattr__(trainer, "learn", _Calls(learn, remembering))
    trainer.train(STEPS, 0)

    found = trained(tmp_path, average="mean:0.5")
    saved = load_model(tmp_path, settings.workload)
    assert torch.allclose(saved.weight, torch.stack(weights[-6:]).mean(0), atol=1e-6)
    assert not torch.allclose(saved.weight, weights[-1], atol=1e-4)
    outputs = load_outputs(tmp_path)
    cpu = torch.device("cpu")
    assert torch.allclose(outputs.main, predict(saved, workload, data.test_inputs, cpu).main)
    assert found["curve_quality"].samples[-1] == found["quality"].value


class _Calls:
    """A training step whose calls go through a function."""

    def __init__(self, learn: Any, call: Callable[..., torch.Tensor]) -> None:
        self._learn, self._call = learn, call

    def __call__(self, *batch: torch.Tensor) -> torch.Tensor:
        return self._call(*batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learn, name)


def stepped(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> dict[str, Measurement]:
    def five_calls(call: Callable[[], object], *_: object) -> TimedPass:
        for _number in range(6):
            call()
        return TimedPass(Warmup(1, True, 0.2, 0.2, 0.2), Samples((0.2,) * 5, 1.0), None, 1e-7)

    monkeypatch.setattr(step, "timed_pass", five_calls)
    monkeypatch.setattr(step, "energy_pass", lambda *_: Measurement("energy_j", None))
    (folder / "mine.py").write_text(OWN)
    asked = SETTINGS | {"workload": f"own:{folder / 'mine.py'}:make_workload"} | settings
    whole = request_of("step", folder, asked, round=0, all_passes=True)
    return {entry.metric: entry for entry in step.run(whole, folder)}


@pytest.mark.parametrize("average", ["ema:0.9", "mean:0.5"])
def test_a_timed_step_averages_and_the_average_is_part_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: str
) -> None:
    plain = stepped(tmp_path, monkeypatch, optimizer="adam")
    found = stepped(tmp_path, monkeypatch, optimizer="adam", average=average)
    kept = 4 * PARAMETERS
    assert "average_bytes" not in plain
    assert (found["average_bytes"].value, found["average_bytes"].method) == (kept, average)
    for metric in ("optimizer_state_bytes", "optimizer_state_theory_bytes", "peak_optimizer_bytes"):
        assert found[metric].value == plain[metric].value + kept, metric
    assert found["peak_weights_bytes"].value == plain["peak_weights_bytes"].value
    assert found["least_bytes_moved"].value == plain["least_bytes_moved"].value + 2 * kept


def test_a_timed_step_is_one_after_the_warm_up_that_moves_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[torch.optim.Optimizer] = []
    monkeypatch.setattr(
        "techniques.backends.training.build", lambda *given: built.append(build(*given)) or built[-1]
    )
    stepped(tmp_path, monkeypatch, schedule="linear:warmup=0.5", clip="norm:1")
    rate = built[0].param_groups[0]["lr"]
    assert rate == pytest.approx(0.5 * 0.2, rel=1e-6)


def test_recovery_after_a_compression_has_the_schedule_over_its_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def remember(settings: Any, workload: Any, data: Any, model: Any, regime: Any) -> Any:
        asked.append(regime.steps)
        assert regime.schedule.text == "cosine" and regime.clip.text == "norm:1"
        return make_trainer(settings, workload, data, model, regime)

    monkeypatch.setattr(compress, "make_trainer", remember)
    own = request(
        tmp_path, "compress", schedule="cosine", clip="norm:1", recover_steps=7, technique="finetune"
    )
    workload, data = load_workload(own.settings.workload, None)
    context = compress.StageContext(own, workload, data, None)  # type: ignore[arg-type]
    context.recover(workload.model())
    assert asked == [7]


def test_settings_of_older_stores_have_no_regime() -> None:
    older = {
        **{"workload": "digits", "quality_metric": "accuracy", "optimizer": "adam", "backend": "cpu-eager"},
        **{"precision": "fp32", "batch_size": 8, "seed": 0, "steps": 2, "target": 0.9},
        "evaluations_per_epoch": 1,
    }
    assert settings_of("train", older).regime(2).plain
