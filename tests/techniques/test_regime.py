"""What goes with an optimizer: scheduled rates, clipped gradients, averaged weights, in steps of PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from techniques.backends.training import TorchTrainingStep, TrainingOptions
from techniques.optimizers import OPTIMIZERS
from techniques.optimizers.torch_optim import build
from techniques.regime import AVERAGES, CLIPS, PLAIN, SCHEDULES, Regime
from techniques.registry import CannotApply

RANDOM = torch.Generator().manual_seed(0)
INPUTS = torch.randn(12, 6, generator=RANDOM)
LABELS = torch.arange(12) % 3
STEPS = 20


def regime(
    schedule: str = "constant", clip: str = "none", average: str = "none", steps: int = STEPS
) -> Regime:
    return Regime(SCHEDULES.parse(schedule), CLIPS.parse(clip), AVERAGES.parse(average), steps)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def learner(
    optimizer: str, model: nn.Module, own: Regime = PLAIN, precision: str = "fp32", accumulate: int = 1
) -> TorchTrainingStep:
    options = TrainingOptions(accumulate=accumulate)
    device = torch.device("cpu")
    return TorchTrainingStep.prepare(
        model, functional.cross_entropy, OPTIMIZERS.parse(optimizer), device, precision, options, own
    )


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def by_hand(model: nn.Module, optimizer: str, steps: int, before: Any = lambda *_: None) -> Any:
    """Train as a loop of PyTorch does, yielding each loss; `before` is called between backward and step."""
    own = build(OPTIMIZERS.parse(optimizer), model)
    for step in range(steps):
        own.zero_grad()
        loss = functional.cross_entropy(model(INPUTS), LABELS)
        loss.backward()
        before(own, step)
        own.step()
        yield loss.item()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum:lr=0.1", "adam", "adamw:weight_decay=0.1"])
def test_without_a_regime_losses_and_weights_are_those_of_a_bare_loop_bit_for_bit(optimizer: str) -> None:
    model, theirs = net(), net()
    learn = learner(optimizer, model, regime())
    losses = [learn(INPUTS, LABELS).item() for _ in range(STEPS)]
    assert losses == list(by_hand(theirs, optimizer, STEPS))
    assert torch.equal(flat(model), flat(theirs))
    learn.write_back()
    assert torch.equal(flat(model), flat(theirs)) and not learn.averaged and learn.clipping() is None


def test_a_warm_up_and_a_cosine_train_a_quadratic_as_pytorchs_schedulers_do() -> None:
    curvature = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)

    class Bowl(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return 0.5 * (curvature * self.place.square()).sum()

    ours, theirs = Bowl(), Bowl()
    own = torch.optim.SGD(ours.parameters(), lr=0.02, momentum=0.9)
    learn = TorchTrainingStep(ours, lambda loss, _: loss, own, regime=regime("cosine:warmup=0.25"))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=0.9)
    rising = lr_scheduler.LinearLR(optimizer, 1 / 5, 1.0, total_iters=4)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, STEPS - 5)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rising, falling], milestones=[5])
    for _ in range(STEPS):
        learn(torch.zeros(1), torch.zeros(1))
        optimizer.zero_grad()
        theirs(torch.zeros(1)).backward()
        optimizer.step()
        scheduler.step()
    assert torch.allclose(ours.place, theirs.place, rtol=1e-9)
    assert not torch.allclose(ours.place, torch.ones(3, dtype=torch.float64), atol=0.1)


def test_a_schedule_multiplies_the_rate_of_each_group() -> None:
    learn = learner("muon:lr=0.5,adamw_lr=0.25", net(), regime("linear:warmup=0"))
    for step in range(3):
        learn(INPUTS, LABELS)
        rates = [group["lr"] for group in learn.optimizer.param_groups]
        assert rates == pytest.approx([0.5 * (1 - step / STEPS), 0.25 * (1 - step / STEPS)])


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.rows() if name != "none"])
def test_every_optimizer_follows_a_schedule(name: str) -> None:
    if (why := OPTIMIZERS.get(name).unavailable()) is not None:
        pytest.skip(why)
    moved = []
    for schedule in ("constant", "constant:warmup=0.5"):
        model = net()
        start = flat(model)
        with torch.compiler.set_stance("force_eager"):
            learn = learner(name, model, regime(schedule, steps=2 * 10**6))
            for _ in range(3):
                learn(INPUTS, LABELS)
        learn.write_back()
        moved.append((flat(model) - start).norm().item())
    own, warming = moved
    assert warming < 1e-3 * own or (own == 0 and warming == 0)


@pytest.mark.parametrize(("precision", "accumulate"), [("fp32", 1), ("fp32", 3), ("fp16", 1), ("fp16", 3)])
def test_clipped_steps_are_those_of_clip_grad_norm(precision: str, accumulate: int) -> None:
    model, theirs = net(), net()
    learn = learner("sgd:lr=1", model, regime(clip="norm:0.1"), precision, accumulate)
    norms: list[float] = []

    def clip(optimizer: Any, _: int) -> None:
        norms.append(nn.utils.clip_grad_norm_(theirs.parameters(), 0.1).item())

    loose = precision == "fp16"
    for _ in by_hand(theirs, "sgd:lr=1", STEPS, clip):
        learn(INPUTS, LABELS)
        assert torch.allclose(flat(model), flat(theirs), atol=2e-2 if loose else 1e-5)
    found = learn.clipping()
    assert found is not None and found.steps == STEPS
    assert found.max_norm == pytest.approx(max(norms), rel=2e-2 if loose else 1e-5)
    assert found.share == pytest.approx(sum(norm > 0.1 for norm in norms) / STEPS, abs=0.1 if loose else 0)


class Planted(nn.Module):
    """One weight, whose gradient is the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.weight * batch


def planted(own: Regime, rate: float = 1.0) -> tuple[nn.Module, TorchTrainingStep]:
    model = Planted()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return model, TorchTrainingStep(model, lambda outputs, _: outputs.mean(), optimizer, regime=own)


def test_the_share_of_clipped_steps_and_the_norms_are_those_of_planted_gradients() -> None:
    model, learn = planted(regime(clip="norm:2"))
    for gradient in (1.0, 4.0, 2.0, 8.0, 0.5, 3.0, 1.0, 0.0):
        before = model.weight.item()
        learn(torch.full((3,), gradient), torch.zeros(3))
        assert before - model.weight.item() == pytest.approx(min(gradient, 2.0), abs=1e-5)
    found = learn.clipping()
    assert (found.steps, found.bound, found.share) == (8, 3, 3 / 8)
    assert (found.median_norm, found.max_norm) == (1.5, 8.0)


def test_norms_of_more_steps_than_wait_on_the_device_all_count() -> None:
    _, learn = planted(regime(clip="norm:2"))
    for step in range(2500):
        learn(torch.full((1,), 3.0 if step % 5 == 0 else 1.0), torch.zeros(1))
    assert learn.clipping().steps == 2500 and learn.clipping().share == 0.2


def test_steps_that_fp16_leaves_out_do_not_count_as_clipped() -> None:
    learn = learner("sgd", net(), regime(clip="norm:1e-3"), "fp16")
    learn(INPUTS, LABELS)
    learn(INPUTS * 1e7, LABELS)
    found = learn.clipping()
    assert (found.steps, found.bound) == (1, 1)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("ema:0.5", [1 / 15, 2 / 15, 4 / 15, 8 / 15]),
        ("mean:0.5", [0, 0, 1 / 2, 1 / 2]),
        ("mean:1", [1 / 4] * 4),
    ],
)
def test_an_average_is_that_of_the_weights_after_each_step(text: str, shares: list[float]) -> None:
    plain, averaged = net(), net()
    learn = learner("momentum:lr=0.1", averaged, regime(average=text, steps=4))
    weights = []
    for _ in by_hand(plain, "momentum:lr=0.1", 4):
        learn(INPUTS, LABELS)
        weights.append(flat(plain))
        assert torch.equal(flat(averaged), weights[-1])  # what is trained is not averaged
    learn.write_back()
    expected = sum(share * weight for share, weight in zip(shares, weights, strict=True))
    assert torch.allclose(flat(averaged), expected, atol=1e-6)
    learn.write_back()  # a second time changes nothing
    assert torch.allclose(flat(averaged), expected, atol=1e-6)


def test_training_goes_on_from_its_own_weights_after_an_evaluation() -> None:
    plain, averaged = net(), net()
    learn = learner("adam:lr=0.01", averaged, regime(average="ema:0.9"))
    for step, _ in enumerate(by_hand(plain, "adam:lr=0.01", STEPS)):
        learn(INPUTS, LABELS)
        assert torch.equal(flat(averaged), flat(plain))
        if step % 3 == 0:
            learn.write_back()
            assert step == 0 or not torch.equal(flat(averaged), flat(plain))


def test_before_an_average_begins_the_trained_weights_are_evaluated() -> None:
    model = net()
    learn = learner("sgd", model, regime(average="mean:0.5"))
    learn(INPUTS, LABELS)
    trained = flat(model)
    learn.write_back()
    assert torch.equal(flat(model), trained) and not learn.averaged


def test_statistics_of_batch_normalization_are_averaged_and_other_buffers_are_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model.register_buffer("mask", torch.tensor([float("-inf"), 0.0]))
    learn = learner("sgd", model, regime(average="mean:1", steps=3))
    model.train()
    seen = []
    for step in range(3):
        learn(INPUTS + step, LABELS)
        seen.append(model[1].running_mean.clone())
    learn.write_back()
    assert torch.allclose(model[1].running_mean, torch.stack(seen).mean(0), atol=1e-6)
    assert model[1].num_batches_tracked == 3
    assert torch.equal(model.mask, torch.tensor([float("-inf"), 0.0]))


def test_frozen_weights_have_no_average() -> None:
    model = net()
    model[0].requires_grad_(False)
    learn = learner("sgd", model, regime(average="ema:0.9"))
    learn(INPUTS, LABELS)
    assert [tuple(tensor.shape) for tensor in learn.averaged] == [(3, 8), (3,)]


def test_warming_up_takes_no_step_of_a_regime() -> None:
    model = net()
    learn = learner("sgd", model, regime("linear", "norm:0.01", "ema:0.9"))
    learn.warm_up(INPUTS, LABELS)
    assert learn.clipping() is None and not learn.averaged
    assert torch.equal(flat(model), flat(net()))


def test_a_compiled_step_follows_a_regime() -> None:
    own = regime("cosine:warmup=0.1", "norm:0.5", "mean:0.5")
    plain, model = net(), net()
    eager = learner("adamw", plain, own)
    device = torch.device("cpu")
    compiled = TorchTrainingStep.prepare(
        *(model, functional.cross_entropy, OPTIMIZERS.parse("adamw"), device, "fp32", TrainingOptions(), own),
        compiled=lambda each: torch.compile(each, backend="aot_eager"),
    )
    for _ in range(STEPS):
        eager(INPUTS, LABELS)
        compiled(INPUTS, LABELS)
    for learn in (eager, compiled):
        learn.write_back()
    assert torch.allclose(flat(plain), flat(model), atol=1e-5)
    assert eager.clipping().share == compiled.clipping().share


def test_sophias_hessian_is_that_of_gradients_before_they_are_clipped() -> None:
    if (why := OPTIMIZERS.get("sophia").unavailable()) is not None:
        pytest.skip(why)
    hessians = []
    for clip in ("none", "norm:1e-3"):
        learn = learner("sophia", net(), regime(clip=clip))
        torch.manual_seed(3)
        learn(INPUTS, LABELS)
        hessians.append([state["hessian"].clone() for state in learn.optimizer.state.values()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*hessians, strict=True))


class Rateless(torch.optim.Optimizer):
    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})

    def step(self) -> None:  # type: ignore[override]
        return


def test_what_does_not_go_together_is_one_line() -> None:
    model = net()
    cross = functional.cross_entropy
    lbfgs = torch.optim.LBFGS(model.parameters())
    with pytest.raises(CannotApply, match="LBFGS computes gradients by itself: clip=norm:1 cannot change"):
        TorchTrainingStep(model, cross, lbfgs, regime=regime(clip="norm:1"))
    TorchTrainingStep(model, cross, lbfgs, regime=regime("cosine", average="ema:0.9"))
    rateless = Rateless(model.parameters())
    with pytest.raises(CannotApply, match=r"Rateless has no rate \(lr\) that schedule=cosine could change"):
        TorchTrainingStep(model, cross, rateless, regime=regime("cosine"))
    TorchTrainingStep(model, cross, rateless, regime=regime(clip="norm:1"))


def test_an_optimizer_with_an_average_of_its_own_takes_a_warm_up_and_clipping_only() -> None:
    if (why := OPTIMIZERS.get("schedule-free-adamw").unavailable()) is not None:
        pytest.skip(why)
    with pytest.raises(CannotApply, match="in place of a schedule: schedule must be constant, got cosine"):
        learner("schedule-free-adamw", net(), regime("cosine"))
    with pytest.raises(CannotApply, match=r"an average of its own: average must be none, got ema:0\.9"):
        learner("schedule-free-adamw", net(), regime(average="ema:0.9"))
    learn = learner("schedule-free-adamw", net(), regime("constant:warmup=0.2", "norm:1"))
    losses = [learn(INPUTS, LABELS).item() for _ in range(STEPS)]
    assert losses[-1] < losses[0] and learn.clipping().steps == STEPS


def test_sparse_gradients_cannot_be_clipped() -> None:
    model = nn.EmbeddingBag(10, 3, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learn = TorchTrainingStep(model, functional.cross_entropy, optimizer, regime=regime(clip="norm:1"))
    with pytest.raises(CannotApply, match="clip=norm: sparse gradients cannot be clipped"):
        learn(torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1]))


def test_a_copy_of_the_model_keeps_the_average_that_was_evaluated() -> None:
    model = net()
    learn = learner("sgd", model, regime(average="ema:0.5"))
    for _ in range(3):
        learn(INPUTS, LABELS)
    learn.write_back()
    kept = copy.deepcopy(model)
    learn(INPUTS, LABELS)
    learn.write_back()
    assert not torch.equal(flat(kept), flat(model))
