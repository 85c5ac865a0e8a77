"""The settings of each kind of stage: typed here, JSON in requests, keys and the store.

A technique is written as text in JSON and parsed once, as the settings are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from techniques.backends import BACKENDS, BackendRow
from techniques.compression import COMPRESSIONS, CompressionRow
from techniques.optimizers import OPTIMIZERS, OptimizerRow
from techniques.parallel import ONE_DEVICE, PARALLELS, ParallelRow
from techniques.regime import AVERAGES, CLIPS, PLAIN, SCHEDULES, Regime, ScheduleRow
from techniques.registry import Registry, Row, Technique


def _parsed_by(registry: Registry[Any]) -> Callable[[object], Technique[Any]]:
    return lambda given: given if isinstance(given, Technique) else registry.parse(str(given))


_AS_TEXT = PlainSerializer(lambda technique: technique.text)

Optimizer = Annotated[Technique[OptimizerRow], PlainValidator(_parsed_by(OPTIMIZERS)), _AS_TEXT]
Backend = Annotated[Technique[BackendRow], PlainValidator(_parsed_by(BACKENDS)), _AS_TEXT]
Schedule = Annotated[Technique[ScheduleRow], PlainValidator(_parsed_by(SCHEDULES)), _AS_TEXT]
Clip = Annotated[Technique[Row], PlainValidator(_parsed_by(CLIPS)), _AS_TEXT]
Average = Annotated[Technique[Row], PlainValidator(_parsed_by(AVERAGES)), _AS_TEXT]
Parallel = Annotated[Technique[ParallelRow], PlainValidator(_parsed_by(PARALLELS)), _AS_TEXT]
Compression = Annotated[Technique[CompressionRow], PlainValidator(_parsed_by(COMPRESSIONS)), _AS_TEXT]

ALONE: Technique[ParallelRow] = Technique(PARALLELS.get(ONE_DEVICE), {})
"""How one device trains."""

TRIAL_ROLE = "trial "
"""Begins the role of a trial, as `trial 3`, among the parents of a stage that goes by it."""


DRAFT_ROLE = "draft "
"""Begins the role of a lowered draft model, before its workload's name."""


@dataclass(frozen=True, kw_only=True)
class WorkloadSettings:
    """`workload` by its name. Of validation and test set only the first `test_samples` are used, or all."""

    workload: str
    quality_metric: str
    test_samples: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(WorkloadSettings):
    """How steps of training are taken.

    `optimizer_settings` and `regime_settings` have the defaults that the texts leave out.
    """

    optimizer: Optimizer
    optimizer_settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = PLAIN.schedule
    clip: Clip = PLAIN.clip
    average: Average = PLAIN.average
    regime_settings: Mapping[str, Any] = field(default_factory=dict)
    backend: Backend
    precision: str
    batch_size: int

    def regime(self, steps: int, taken: int = 0) -> Regime:
        """Return what goes with the optimizer in a training of so many planned steps, some taken already."""
        return Regime(self.schedule, self.clip, self.average, steps, taken)


@dataclass(frozen=True, kw_only=True)
class DevicesSettings(TrainingSettings):
    """So many `devices` train one model together, each by a process; `parallel` says in which way.

    A batch is that of all devices.
    """

    devices: int = 1
    parallel: Parallel = ALONE


@dataclass(frozen=True, kw_only=True)
class TrainSettings(DevicesSettings):
    """A training ends at its `target` if it `stops_at_target`, or after so many `steps`."""

    seed: int
    steps: int
    target: float
    evaluations_per_epoch: int
    stops_at_target: bool = True


@dataclass(frozen=True, kw_only=True)
class TrialSettings(TrainSettings):
    """A training that tries settings of its optimizer, `searched` by name; `number` counts from 1.

    An `extension`, from 1, tries a rate beyond the edge of its parents' rates, if their best one lies there.
    """

    number: int
    searched: tuple[str, ...]
    extension: int = 0


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """A timed pass takes `sample_s` seconds; with `flush_cache` each call finds the device's caches empty."""

    sample_s: float
    flush_cache: bool = False


@dataclass(frozen=True, kw_only=True)
class StepSettings(SamplingSettings, DevicesSettings):
    """A `seed` is given only where it decides the structure of the model."""

    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class SingleSettings(StepSettings):
    """One device takes the step of `of_devices`; of a CPU it is one share of its cores."""

    of_devices: int


@dataclass(frozen=True, kw_only=True)
class CompressSettings(TrainingSettings):
    """One step of a recipe, and the budgets in steps of training of what it may ask for."""

    seed: int
    technique: Compression
    technique_settings: Mapping[str, Any] = field(default_factory=dict)
    recover_steps: int
    student_steps: int


@dataclass(frozen=True, kw_only=True)
class ServedSettings(WorkloadSettings):
    """What a model is lowered to: a backend, a format of numbers or None, a precision."""

    format: Compression | None = None
    backend: Backend
    precision: str


@dataclass(frozen=True, kw_only=True)
class LoweredSettings(ServedSettings):
    """A lowered model takes batches of exactly `batch_size`."""

    batch_size: int


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(LoweredSettings):
    """At most so many test `items` are corrupted, evenly spaced."""

    items: int


@dataclass(frozen=True, kw_only=True)
class AttributionSettings(WorkloadSettings):
    """So many test `items`, evenly spaced, have attributions, and up to `flipped_items` that changed."""

    items: int
    flipped_items: int


@dataclass(frozen=True, kw_only=True)
class InferSettings(SamplingSettings, LoweredSettings):
    """`structure` spells what the recipe makes of the model's shapes."""

    structure: str = ""


@dataclass(frozen=True, kw_only=True)
class ServeSettings(LoweredSettings):
    """A rate of arrivals is offered for `seconds`; 99 % are to be answered within `p99_s`."""

    structure: str = ""
    p99_s: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(ServedSettings):
    """Generation at each length of prompts and number of new tokens, and of `texts` side by side.

    Where one is empty, the stage's own values are taken. It is repeated with the cache in each of the formats
    `caches`, and with each workload's model of `drafts` that proposes tokens.
    """

    structure: str = ""
    prompt_tokens: tuple[int, ...] = ()
    new_tokens: tuple[int, ...] = ()
    texts: tuple[int, ...] = ()
    caches: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RequestsSettings(ServedSettings):
    """So many `requests` arrive at each rate; lengths are drawn evenly from the least to the most.

    The first token is to come within `ttft_s` of when a request was due, the others each within `tpot_s`.
    """

    structure: str = ""
    rates_per_s: tuple[float, ...]
    requests: int
    prompt_tokens: tuple[int, int]
    new_tokens: tuple[int, int]
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, kw_only=True)
class CeilingsSettings:
    """Each ceiling is measured for so many `seconds`."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class ImportedSettings:
    """`tool` is what measured it."""

    tool: str
