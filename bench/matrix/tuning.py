"""The axis `tuning`: how the settings of an optimizer are found before it is trained."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.analysis.tuning import FIXED
from techniques.registry import TechniqueError

DEFAULTS = "defaults"
"""The defaults of the optimizer's row: as published, but for rates that no paper has (`tried_on`)."""

RIGHT = f'"{FIXED}", "{DEFAULTS}", a table such as {{ trials = 20 }}, or a list of these'

TUNED_BY_TRIALS = "trials"
"""Any number of trials: smaller numbers are the first of larger ones."""

MAX_TRIALS = 1000
MAX_TRIAL_SEED = 2**31 - 1

_TRIALS = re.compile(r"trials:(\d{1,9})(?:,trial_seed=(\d{1,12}))?")


@dataclass(frozen=True)
class Tuning:
    """So many trials of settings. `trial_seed` decides which ones, and the seed that each is trained with."""

    trials: int
    trial_seed: int = 0

    def __str__(self) -> str:
        return f"trials:{self.trials}" + (f",trial_seed={self.trial_seed}" if self.trial_seed else "")

    @property
    def training_seed(self) -> int:
        """The seed of every trial's training: none that a matrix is likely to train with."""
        return MAX_TRIAL_SEED + 1 + self.trial_seed


def read_tuning(value: str | int) -> str:
    """Return the canonical spelling of a value of the axis; raises TechniqueError that says what is right."""
    if value in (FIXED, DEFAULTS):
        return str(value)
    found = tuning_of(str(value))
    if found is None:
        raise TechniqueError(f"must be {RIGHT}, got {value!r}")
    if not 2 <= found.trials <= MAX_TRIALS:
        raise TechniqueError(f"trials must be an integer from 2 to {MAX_TRIALS:,}, got {found.trials}")
    if found.trial_seed > MAX_TRIAL_SEED:
        raise TechniqueError(
            f"trial_seed must be an integer from 0 to {MAX_TRIAL_SEED:,}, got {found.trial_seed}"
        )
    return str(found)


def tuning_of(text: str) -> Tuning | None:
    """Return the trials that a value of the axis asks for; None where it asks for none."""
    found = _TRIALS.fullmatch(text)
    return Tuning(int(found[1]), int(found[2] or 0)) if found else None
