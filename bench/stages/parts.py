"""The pass of a launch that takes a training step apart: data, forward, backward, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import get_args

from bench.instruments import clock
from bench.instruments.parts import PartsClock
from bench.models.training import Trainer
from bench.records import Measurement, Request
from bench.stages.settings import StepSettings
from bench.stages.timing import flushing
from techniques.backends.training import Part, StepInParts

PARTS: tuple[Part, ...] = get_args(Part)

_SHARE_OF_SAMPLING = 0.25
"""Of the seconds that the whole step is sampled for: parts need no interval within a launch."""

_MIN_ROUNDS = 3

NOT_APART = "this runtime takes a step as one program: its parts have no time of their own"


def parts_pass(
    step: Callable[[], object], trainer: Trainer, period: int, step_s: float, request: Request[StepSettings]
) -> list[Measurement]:
    """Measure the seconds of each part of a step, and its share of all of them.

    `step` takes the next step, its choice of samples included. In `period` steps an optimizer does all of its
    work once. A part's seconds are the median over such rounds, all passes of a step added up; shares add up
    to 1. `step_s` is the median time of a step without marks at its borders.
    """
    learn = trainer.learn
    if not isinstance(learn, StepInParts):
        return unknown_parts(NOT_APART)
    parts = PartsClock(trainer.synchronize)
    rounds: list[dict[str, float]] = []

    def take_round() -> None:
        for _ in range(period):
            parts.begin("data")
            step()
        rounds.append(parts.take())

    learn.on_part = parts.begin
    try:
        clock.sample(
            take_round,
            seconds=_SHARE_OF_SAMPLING * request.settings.sample_s,
            least=1 if request.smoke else _MIN_ROUNDS,
            between=flushing(request),
        )
    finally:
        learn.on_part = None
    method = "median of rounds" + (f" of {period} steps" if period > 1 else "")
    return _measurements(rounds, period, step_s, f"{method}, the device synchronized at each border")


def _measurements(
    rounds: list[dict[str, float]], period: int, step_s: float, method: str
) -> list[Measurement]:
    spent = {part: median(each.get(part, 0.0) for each in rounds) / period for part in PARTS}
    whole, n = sum(spent.values()), len(rounds)
    if not whole or not step_s:
        return unknown_parts("the clock is too coarse for the parts of a step")
    return [
        *(Measurement(f"step_{part}_s", spent_s, n=n, method=method) for part, spent_s in spent.items()),
        *(Measurement(f"step_{part}_share", spent_s / whole, n=n) for part, spent_s in spent.items()),
        Measurement("step_parts_ratio", whole / step_s, n=n),
    ]


def unknown_parts(reason: str) -> list[Measurement]:
    """Return the measurements of parts as unknown, with the reason."""
    names = [f"step_{part}_{unit}" for part in PARTS for unit in ("s", "share")]
    return [Measurement(name, None, reason=reason) for name in (*names, "step_parts_ratio")]
