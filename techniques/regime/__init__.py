"""What goes with an optimizer over a training: the schedule of its rate, clipped gradients, averaged weights.

Each is a table of its own, and so is an axis of a matrix. `Regime` has one of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from techniques.registry import Registry, Row, RowT, Technique
from techniques.settings import Setting

__all__ = ["AVERAGES", "CLIPS", "CONSTANT", "NONE", "PLAIN", "SCHEDULES", "Regime", "ScheduleRow"]

CONSTANT, NONE = "constant", "none"
"""What each axis is by default: a constant rate, no clipping, no average."""


@dataclass(frozen=True)
class ScheduleRow(Row):
    """A schedule: `implementation` is called as `factor(step, steps, **settings)`.

    It returns what the optimizer's own rate is multiplied by in step number `step`, from 0, of `steps` that
    are planned. `decays` says whether the rate ends below its own.
    """

    decays: bool = True


SCHEDULES: Registry[ScheduleRow] = Registry("schedule", ScheduleRow, entry_points="bench.schedules")
"""Schedules of the learning rate."""

CLIPS: Registry[Row] = Registry("clip", Row, entry_points="bench.clips")
"""What is done to gradients before a step: `implementation` is called as `clip(parameters, **settings)`.

It changes the gradients in place; it returns their norm before, and whether they were clipped, as tensors
without dimensions.
"""

AVERAGES: Registry[Row] = Registry("average", Row, entry_points="bench.averages")
"""Averages of weights, which are evaluated and saved in place of the trained ones.

`implementation` is called as `weight(step, steps, **settings)`. It returns the share that the weights after
step number `step`, from 0, of `steps` have in the average: 0 before the average begins, 1 as it begins.
"""

_SHARE, _PART = "[0, 1)", "(0, 1]"

_CONSTANT = SCHEDULES.add(
    CONSTANT,
    "techniques.regime.schedules:constant",
    about="The optimizer's own rate, after a linear warm-up if it has one (Goyal et al. 2017)",
    defaults={"warmup": 0.0},
    ranges={"warmup": _SHARE},
    decays=False,
)
SCHEDULES.add(
    "cosine",
    "techniques.regime.schedules:cosine",
    about="Half a cosine from the rate to its final share (Loshchilov & Hutter 2017)",
    defaults={"warmup": 0.05, "final": 0.0},
    ranges={"warmup": _SHARE, "final": "[0, 1]"},
)
SCHEDULES.add(
    "linear",
    "techniques.regime.schedules:linear",
    about="A straight line from the rate to its final share (Defazio et al. 2023)",
    defaults={"warmup": 0.05, "final": 0.0},
    ranges={"warmup": _SHARE, "final": "[0, 1]"},
)
SCHEDULES.add(
    "wsd",
    "techniques.regime.schedules:wsd",
    about="Warm-up, stable, decay: the rate falls in a last share of the steps (Zhai et al. 2022; Hu et al. "
    "2024), in a line or as 1 - sqrt (Hägele et al. 2024)",
    defaults={"warmup": 0.05, "decay": 0.2, "final": 0.0, "shape": "linear"},
    ranges={"warmup": _SHARE, "decay": _PART, "final": "[0, 1]", "shape": "linear, sqrt"},
)
SCHEDULES.add(
    "one-cycle",
    "techniques.regime.schedules:one_cycle",
    about="Up to the rate and down to almost 0 (Smith & Topin 2019), as PyTorch has it; momentum stays",
    defaults={"warmup": 0.3, "start": 0.04, "final": 4e-6, "shape": "cosine"},
    ranges={"warmup": "(0, 1)", "start": _PART, "final": "[0, 1]", "shape": "cosine, linear"},
)

_NO_CLIP = CLIPS.add(NONE, "techniques.regime.clipping:none", about="Gradients as they are")
CLIPS.add(
    "norm",
    "techniques.regime.clipping:norm",
    about="All gradients together scaled down to this norm where it is larger (Pascanu et al. 2013)",
    defaults={"limit": 1.0},
    argument="limit",
    ranges={"limit": "(0, inf)"},
)

_NO_AVERAGE = AVERAGES.add(NONE, "techniques.regime.averages:none", about="The trained weights themselves")
AVERAGES.add(
    "ema",
    "techniques.regime.averages:ema",
    about="Exponential moving average, each step back counting this much of the next (Polyak & Juditsky "
    "1992; Tarvainen & Valpola 2017), corrected as Adam's are: the first weights do not count",
    defaults={"decay": 0.999},
    argument="decay",
    ranges={"decay": _SHARE},
)
AVERAGES.add(
    "mean",
    "techniques.regime.averages:mean",
    about="Mean over this last share of the planned steps (Polyak & Juditsky 1992; Izmailov et al. 2018)",
    defaults={"share": 0.5},
    argument="share",
    ranges={"share": _PART},
)


@dataclass(frozen=True)
class Regime:
    """A schedule, clipping and an average for a training of `steps` planned steps, of which `taken` are over.

    Shares of a schedule and of an average are shares of `steps`, wherever the training ends.
    """

    schedule: Technique[ScheduleRow] = field(default_factory=lambda: _plain(_CONSTANT))
    clip: Technique[Row] = field(default_factory=lambda: _plain(_NO_CLIP))
    average: Technique[Row] = field(default_factory=lambda: _plain(_NO_AVERAGE))
    steps: int = 1
    taken: int = 0

    @property
    def plain(self) -> bool:
        """Say whether it does nothing: the rate stays, gradients are not clipped, weights not averaged."""
        return not (self.changes_rates or self.clips or self.averages)

    @property
    def changes_rates(self) -> bool:
        """Say whether any step has another rate than the optimizer's own."""
        return self.schedule.name != CONSTANT or bool(self.schedule.settings["warmup"])

    @property
    def clips(self) -> bool:
        """Say whether gradients are clipped."""
        return self.clip.name != NONE

    @property
    def averages(self) -> bool:
        """Say whether an average of the weights is evaluated."""
        return self.average.name != NONE

    @property
    def techniques(self) -> tuple[Technique[ScheduleRow], Technique[Row], Technique[Row]]:
        """Return the three of them."""
        return self.schedule, self.clip, self.average

    @property
    def settings(self) -> dict[str, dict[str, Setting]]:
        """Return the settings of each, with the defaults that its text leaves out."""
        return {
            "schedule": dict(self.schedule.settings),
            "clip": dict(self.clip.settings),
            "average": dict(self.average.settings),
        }

    def factor(self, step: int) -> float:
        """Return what the optimizer's own rate is multiplied by in step number `step`, from 0."""
        return self._factor(step, self.steps)

    def weight(self, step: int) -> float:
        """Return the share that the weights after step number `step` have in the average so far."""
        return self._weight(step, self.steps)

    @cached_property
    def _factor(self) -> Callable[[int, int], float]:
        return partial(self.schedule.load(), **self.schedule.settings)

    @cached_property
    def _weight(self) -> Callable[[int, int], float]:
        return partial(self.average.load(), **self.average.settings)


def _plain(row: RowT) -> Technique[RowT]:
    return Technique(row, dict(row.defaults))


PLAIN = Regime()


def clash_with_own_average(regime: Regime) -> str:
    """Say why a regime does not go with an optimizer that evaluates an average of its own, or nothing.

    Such an average stands for a rate that decays (Defazio et al. 2024, "The Road Less Scheduled").
    """
    schedule, _, average = regime.techniques
    if schedule.row.decays:
        return f"averages weights in place of a schedule: schedule must be constant, got {schedule.text}"
    if regime.averages:
        return f"evaluates an average of its own: average must be none, got {average.text}"
    return ""
