"""The shapes of the JSON that the store's tables hold; keys that are not named here may hold anything."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter
from typing_extensions import TypedDict

from bench.analysis.tuning import FIXED
from bench.metrics import Metric
from techniques.parallel import ONE_DEVICE
from techniques.regime import CONSTANT, NONE

KEY = r"[0-9A-Za-z_-]{1,64}"
"""The form of a stage's or an artifact's key: it names a folder."""

_OPEN = ConfigDict(extra="allow")

Key = Annotated[str, StringConstraints(pattern=f"^{KEY}$")]
Number = Annotated[float, Field(ge=-1e18, le=1e18, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
Change = Annotated[int, Field(ge=-(2**53), le=2**53)]


class Before(TypedDict):
    """What a run had taken when it was predicted."""

    launches: Count
    overheads: dict[str, Number]
    bytes: NotRequired[dict[str, Count]]


class Cost(TypedDict):
    """The predicted cost of a stage; `artifact_bytes` is null where no size was predicted."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    artifact_bytes: Count | None


class PredictionDocument(TypedDict):
    """`bench.costs.Prediction` as JSON. Each of `stages` is a place in `costs`."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    wall_s: Number
    bound_s: Number
    disk: dict[str, Count]
    overheads: dict[str, Number]
    ended: Count
    reused: Count
    sources: dict[str, Count]
    costs: list[Cost]
    stages: list[Count | None]
    seconds: list[Number]
    before: NotRequired[Before]
    grown: NotRequired[dict[str, Change]]


def _places_exist(prediction: PredictionDocument) -> PredictionDocument:
    places = [place for place in prediction["stages"] if place is not None]
    if max(places, default=-1) >= len(prediction["costs"]):
        raise ValueError("stages must be places in costs")
    if len(prediction["stages"]) != len(prediction["seconds"]):
        raise ValueError("stages and seconds must have equal lengths")
    return prediction


class PricesDocument(TypedDict):
    """A price list, in `currency`: for an hour of the machine and for a kilowatt-hour."""

    name: str
    currency: str
    machine_per_hour: NotRequired[Amount | None]
    energy_per_kwh: NotRequired[Amount | None]


class EstimateDocument(TypedDict, total=False):
    """The matrix's estimate of the machine's power, in watts, for what has no measured energy."""

    watts: Amount | None


class PeakDocument(TypedDict, total=False):
    """The peak of one device as the matrix states it; `operations_per_s` by number format."""

    operations_per_s: dict[str, Rate]
    bytes_per_s: Rate | None


class LimitDocument(TypedDict):
    """A limit of the matrix; `where` has patterns of the cells it is for, by axis."""

    metric: str
    sign: Literal["<=", ">=", "<", ">"]
    bound: Number
    asks: str
    stage: str
    where: dict[str, list[str]]


class BudgetDocument(TypedDict, total=False):
    """The run's budget; `target_interval` is the half-width of a 95 % interval as a share of the value.

    `budget_s` bounds the seconds of a model beside its training.
    """

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    target_interval: Amount | None
    budget_s: Amount | None


class MetricDocument(TypedDict):
    """A row of `bench.metrics` as JSON; a bound that is null is infinite."""

    name: str
    label: str
    unit: str
    better: str
    kind: str
    stage: str
    about: str
    low: Number | None
    high: Number | None
    quality: bool
    operations: bool
    curve: bool


def _a_right_row(document: MetricDocument) -> MetricDocument:
    Metric.from_json(document).check()
    return document


MetricRow = Annotated[MetricDocument, AfterValidator(_a_right_row)]
MetricRows = Annotated[list[MetricRow], Field(max_length=1000)]


class ImportedDocument(TypedDict):
    """The file that a run is from: the tool that wrote it, its path and its SHA-256."""

    tool: str
    file: str
    sha256: str


class RunDocument(TypedDict, total=False):
    """The request of a run."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    filter: str
    smoke: bool
    anew: bool  # the name of --rebuild in the store
    plugins: dict[str, str]
    trusted: list[str]
    budget: BudgetDocument
    prices: PricesDocument | None
    estimate: EstimateDocument
    peaks: dict[str, PeakDocument]
    limits: list[LimitDocument]
    notes: list[str]
    matrix_path: str
    metrics: MetricRows
    imported: ImportedDocument
    prediction: Annotated[PredictionDocument, AfterValidator(_places_exist)]


class SettingsDocument(TypedDict, total=False):
    """Settings of a stage that others than the stage itself read."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    workload: str
    optimizer: str
    optimizer_settings: dict[str, Any]
    backend: str
    precision: str
    technique: str
    quality_metric: str | None
    format: str | None
    batch_size: Positive
    target: Number | None
    steps: Count | None
    recover_steps: Count | None
    student_steps: Count | None
    sample_s: Amount


class StageDocument(TypedDict, total=False):
    """A stage's request."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    settings: SettingsDocument
    parents: dict[str, Key]
    device: str
    fork_safe: bool
    server_imports: list[str]
    worker_imports: list[str]


AxesDocument = TypedDict(
    "AxesDocument",
    {
        "workload": str,
        "optimizer": str,
        "schedule": str,
        "clip": str,
        "average": str,
        "train.backend": str,
        "train.precision": str,
        "train.batch_size": Positive,
        "devices": Positive,
        "parallel": str,
        "tuning": str,
        "seed": Count,
        "compression": str,
        "backend": str,
        "precision": str,
        "batch_size": Positive,
    },
    total=False,
)

ADDED_AXES = {
    **{"schedule": CONSTANT, "clip": NONE, "average": NONE, "tuning": FIXED},
    **{"devices": 1, "parallel": ONE_DEVICE},
}
"""Axes that cells of older stores lack, with the value that all of those cells have."""


class DynamicDocument(TypedDict, total=False):
    """What went on during a launch."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    disturbed: str | None
    reference_s: Rate | None
    modules: dict[str, str]


class AcceleratorDocument(TypedDict):
    """One accelerator of an environment."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    name: str


class EnvironmentDocument(TypedDict, total=False):
    """The machine that a launch ran on, as `bench.instruments.environment.describe` has it."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]

    cpu: dict[str, Any] | str
    accelerators: list[AcceleratorDocument]
    threads: Count | None


RUN: TypeAdapter[Any] = TypeAdapter(RunDocument)
STAGE: TypeAdapter[Any] = TypeAdapter(StageDocument)
PARENTS: TypeAdapter[Any] = TypeAdapter(list[Key])
AXES: TypeAdapter[Any] = TypeAdapter(AxesDocument)
STAGE_KEYS: TypeAdapter[Any] = TypeAdapter(dict[str, Key])
DYNAMIC: TypeAdapter[Any] = TypeAdapter(DynamicDocument)
ENVIRONMENT: TypeAdapter[Any] = TypeAdapter(EnvironmentDocument)
