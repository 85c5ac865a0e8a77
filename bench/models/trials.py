"""What trials leave for the training that they tune, and which settings were chosen: small JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.analysis.tuning import Trial
from bench.errors import StageError
from bench.files import read_json
from bench.records import as_json, read_as

_TRIAL = "trial.json"
_CHOSEN = "optimizer.json"


def save_trial(folder: Path, trial: Trial) -> None:
    """Write what a trial found into its artifact's folder."""
    (folder / _TRIAL).write_text(json.dumps(as_json(trial)))


def read_trials(folders: Iterable[Path]) -> list[Trial]:
    """Return what trials found, by their number; raises StageError where a file is missing or damaged."""
    return sorted(map(_read_trial, folders), key=lambda trial: trial.number)


def _read_trial(folder: Path) -> Trial:
    try:
        return read_as(Trial, read_json(folder / _TRIAL))
    except (OSError, ValueError) as error:
        raise StageError(f"{folder.name[:12]}: its {_TRIAL} is damaged: {error}") from None


def save_chosen(folder: Path, optimizer: str) -> None:
    """Write which optimizer, with its tuned settings, a model was trained with."""
    (folder / _CHOSEN).write_text(json.dumps({"optimizer": optimizer}))


def read_chosen(folder: Path) -> str | None:
    """Return the optimizer that a model was tuned to; None where it was not tuned."""
    if not (folder / _CHOSEN).is_file():
        return None
    try:
        return str(read_json(folder / _CHOSEN)["optimizer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{folder.name[:12]}: its {_CHOSEN} is damaged: {error}") from None
