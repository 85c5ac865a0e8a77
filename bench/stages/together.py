"""The passes of a training step that several ranks take together: rank 0 times it, the others follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

from bench.instruments.communication import measure_communication
from bench.models.training import Trainer
from bench.records import Measurement, Request
from bench.stages.parts import unknown_parts
from bench.stages.settings import StepSettings
from bench.stages.timing import TimedPass, energy_pass, timed_pass
from techniques.parallel.ranks import Ranks

_STOP, _GO = 0, 1

_PROFILED_S, _MAX_PROFILED = 0.25, 50
"""Share of the sampling time that the profiled pass takes, and how many steps it has at most."""

_MIN_PROFILED = 3

NOT_APART = "several devices exchange gradients during the backward pass: parts have no time of their own"


class Together:
    """Calls that all ranks make at once. Rank 0 decides when, without a message inside the call."""

    def __init__(self, ranks: Ranks, call: Callable[[], object]) -> None:
        self._ranks, self._call = ranks, call
        self._announced = False

    def announce(self) -> None:
        """Have every rank ready for the next call: it begins when all have ended the one before."""
        self._ranks.agree(_GO)
        self._announced = True

    def __call__(self) -> object:
        """Make a call with the others, in rank 0."""
        if not self._announced:
            self.announce()
        self._announced = False
        return self._call()

    def follow(self) -> None:
        """Make calls as rank 0 does, in any other rank, until it ends them."""
        while self._ranks.agree() == _GO:
            self._call()

    def end(self) -> None:
        """Let the others go on."""
        self._ranks.agree(_STOP)


def timed_together(
    call: Callable[[], object], trainer: Trainer, request: Request[StepSettings]
) -> tuple[TimedPass | None, list[Measurement]]:
    """Time calls in rank 0; return the timed pass, None in other ranks, and the energy of a call.

    A sample begins as all ranks have ended the call before, and ends with rank 0's.
    """
    together = Together(trainer.ranks, call)
    if not trainer.ranks.first:
        together.follow()
        return None, []
    timed = timed_pass(together, trainer.synchronize, request, ahead=together.announce)
    energy: list[Measurement] = []
    if request.all_passes and request.device == "cpu":
        energy.append(energy_pass(together, trainer.synchronize, request))
    elif request.all_passes:
        energy.append(Measurement("energy_j", None, reason="energy of several devices is not measured"))
    together.end()
    return timed, energy


def communication_pass(
    call: Callable[[], object], trainer: Trainer, timed: TimedPass | None, request: Request[StepSettings]
) -> list[Measurement]:
    """Measure the share of collectives in a step, as the mean over the ranks; every rank must call it."""
    ranks, calls = trainer.ranks, 0
    if timed is not None:
        step_s = median(timed.samples.durations_s)
        calls = math.ceil(_PROFILED_S * request.settings.sample_s / max(step_s, 1e-9))
        calls = max(_MIN_PROFILED, min(calls, _MAX_PROFILED))
    calls = ranks.agree(calls)
    found = measure_communication(call, calls, trainer.synchronize)
    share, communicating_s, collectives = ranks.mean(
        [found.share, found.communicating_s / calls, found.collectives]
    )
    method = (
        f"PyTorch's profiler: {ranks.backend}'s collectives under way, waiting for other ranks included; "
        f"mean of {ranks.size} ranks"
    )
    return [
        Measurement("communication_share", share, n=calls, method=method),
        Measurement("communication_s", communicating_s, n=calls, method=method),
        Measurement("collectives_per_step", collectives, n=calls),
        *unknown_parts(NOT_APART),
    ]
