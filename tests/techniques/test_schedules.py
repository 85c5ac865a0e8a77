"""Schedules have the values of their formulas, which are those of PyTorch's own schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from techniques.regime import AVERAGES, SCHEDULES, Regime
from techniques.registry import TechniqueError

STEPS, WARM = 40, 8
RATE = 0.5


def regime(text: str, steps: int = STEPS) -> Regime:
    return Regime(SCHEDULES.parse(text), steps=steps)


def factors(text: str, steps: int = STEPS) -> list[float]:
    own = regime(text, steps)
    return [own.factor(step) for step in range(steps)]


def of_scheduler(make: Callable[[Any], Any], steps: int = STEPS) -> list[float]:
    """Return the rates that a scheduler of PyTorch gives each step, over the optimizer's own."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"] / RATE)
        optimizer.step()
        scheduler.step()
    return rates


def warm(optimizer: Any) -> Any:
    return lr_scheduler.LinearLR(optimizer, 1 / WARM, 1.0, total_iters=WARM - 1)


def after_warm_up(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [warm(optimizer), make(optimizer)], milestones=[WARM]
    )


PYTORCH = {
    "constant:warmup=0.2": warm,
    "cosine:warmup=0": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS),
    "cosine:warmup=0,final=0.1": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1 * RATE),
    "cosine:warmup=0.2": after_warm_up(lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS - WARM)),
    "linear:warmup=0": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=STEPS),
    "linear:warmup=0.2,final=0.25": after_warm_up(
        lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, total_iters=STEPS - WARM)
    ),
    "one-cycle": lambda o: lr_scheduler.OneCycleLR(o, RATE, total_steps=STEPS, cycle_momentum=False),
    "one-cycle:warmup=0.45,start=0.1,final=0.01,shape=linear": lambda o: lr_scheduler.OneCycleLR(
        *(o, RATE),
        total_steps=STEPS,
        **{"pct_start": 0.45, "div_factor": 10, "final_div_factor": 10, "anneal_strategy": "linear"},
        cycle_momentum=False,
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("text", PYTORCH)
def test_a_schedule_is_that_of_pytorch(text: str) -> None:
    # OneCycleLR refuses a step beyond its last.
    steps = STEPS - 1 if text.startswith("one-cycle") else STEPS
    assert factors(text)[:steps] == pytest.approx(of_scheduler(PYTORCH[text], steps), abs=1e-7)


def test_one_cycle_ends_at_its_final_share() -> None:
    assert factors("one-cycle:final=0.125")[-1] == pytest.approx(0.125)


def test_wsd_rises_stays_and_falls() -> None:
    found = factors("wsd:warmup=0.2,decay=0.25")
    assert found[:WARM] == pytest.approx([(step + 1) / WARM for step in range(WARM)])
    assert found[WARM:31] == [1.0] * (31 - WARM)
    assert found[30:] == pytest.approx([1 - n / 10 for n in range(10)])


def test_wsd_may_fall_as_one_minus_a_root() -> None:
    found = factors("wsd:warmup=0,decay=0.25,shape=sqrt,final=0.2")
    assert found[30:] == pytest.approx([1 - 0.8 * math.sqrt(n / 10) for n in range(10)])


def test_a_decay_that_is_longer_than_what_a_warm_up_leaves_begins_after_it() -> None:
    found = factors("wsd:warmup=0.5,decay=1")
    assert max(found) == found[19] == found[20] == 1.0 and found[21] < 1


def test_a_constant_rate_is_exactly_the_optimizers_own() -> None:
    assert factors("constant") == [1.0] * STEPS
    assert Regime().plain and not regime("constant:warmup=0.1").plain


@pytest.mark.parametrize("name", SCHEDULES.rows())
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_rates_that_are_not_negative(name: str, steps: int) -> None:
    assert all(0 <= factor <= 1 for factor in factors(name, steps))


@pytest.mark.parametrize("name", SCHEDULES.rows())
def test_every_step_of_a_training_has_a_rate_above_0(name: str) -> None:
    assert all(factor > 0 for factor in factors(name, 1000))


def test_shares_of_an_average_add_up_to_1() -> None:
    for text in ("ema:0.9", "ema:0", "mean:0.5", "mean:1"):
        own = Regime(average=AVERAGES.parse(text), steps=10)
        shares: list[float] = []
        for step in range(10):
            weight = own.weight(step)
            shares = [share * (1 - weight) for share in shares] + [weight]
        assert sum(shares) == pytest.approx(1), text


def test_an_exponential_average_counts_steps_back_by_powers_of_its_decay() -> None:
    own = Regime(average=AVERAGES.parse("ema:0.5"), steps=3)
    assert [own.weight(step) for step in range(3)] == pytest.approx([1, 2 / 3, 4 / 7])


def test_a_mean_begins_with_its_share_of_the_planned_steps() -> None:
    own = Regime(average=AVERAGES.parse("mean:0.3"), steps=10)
    assert [own.weight(step) for step in range(10)] == pytest.approx([0] * 7 + [1, 1 / 2, 1 / 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ("cosine:0.1", "schedule 'cosine:0.1': '0.1' must be key=value; known: final, warmup"),
        ("cosine:warmup=1", "schedule 'cosine:warmup=1': warmup: '1' is out of its range [0, 1)"),
        ("wsd:decay=0", "schedule 'wsd:decay=0': decay: '0' is out of its range (0, 1]"),
        ("wsd:shape=round", "'round' must be one of linear, sqrt"),
        ("linear:final=nan", "final: 'nan' must be a finite number"),
        ("constant:steps=3", "unknown setting 'steps'"),
    ],
)
def test_a_mistake_in_a_schedule_is_one_line(text: str, message: str) -> None:
    with pytest.raises(TechniqueError) as error:
        SCHEDULES.parse(text)
    assert message in str(error.value) and "\n" not in str(error.value)
