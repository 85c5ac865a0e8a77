"""The sections of a matrix file, their checks, and the messages for mistakes in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from bench.analysis.statistics import LOOKS
from bench.analysis.tuning import FIXED
from bench.errors import MatrixError
from bench.matrix.axes import Axis
from bench.matrix.tuning import MAX_TRIAL_SEED, MAX_TRIALS, RIGHT, Tuning
from techniques.parallel import DATA_PARALLEL
from techniques.precisions import PRECISIONS
from techniques.regime import CONSTANT, NONE
from techniques.registry import nearest

Allocator = Literal["keep", "system"]

_MAX_TOKENS, _MAX_TEXTS = 2**20, 4096

CACHE_FORMAT = r"^[a-z][a-z0-9-]*$"

Device = Literal["cpu", "cuda", "rocm", "mps", "xpu", "tpu"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Trials(_Strict):
    """Tune optimizers by so many quasi-random trials of what the row is searched in.

    `at` lists numbers of trials, each a tuning of its own by the first of them. `trial_seed` decides which
    points are tried.
    """

    trials: int = Field(ge=2, le=MAX_TRIALS)
    at: list[Annotated[int, Field(ge=2)]] = []
    trial_seed: int = Field(default=0, ge=0, le=MAX_TRIAL_SEED)

    @field_validator("at")
    @classmethod
    def _at_most_all(cls, counts: list[int], info: ValidationInfo) -> list[int]:
        most = info.data.get("trials", MAX_TRIALS)
        if any(count > most for count in counts):
            raise ValueError(f"must have numbers of at most trials = {most}")
        return counts

    def values(self) -> list[str]:
        """Return the values of the axis that the table stands for."""
        return [str(Tuning(count, self.trial_seed)) for count in self.at or [self.trials]]


TuningAxis = str | Trials | list[str | Trials]
"""What a matrix file may give for the axis `tuning`."""


def tuning_values(written: TuningAxis) -> Axis:
    """Return tables of trials as the values that they stand for."""
    if isinstance(written, str):
        return written
    values: list[str | int] = []
    for value in written if isinstance(written, list) else [written]:
        values += value.values() if isinstance(value, Trials) else [value]
    return values


class TrainAxes(_Strict):
    """What is trained. `batch_size` defaults to the workload's own; `backend` may be "auto".

    `schedule` changes the optimizer's rate over the planned steps, `clip` bounds gradients, and `average` is
    of the weights that are evaluated. `tuning`: "fixed" trains with the settings as they are written,
    "defaults" with those of the optimizer's row, and a table such as { trials = 20 } with the best of so many
    trials. So many `devices` train one model together, in the way `parallel`; the batch is that of all.
    """

    workload: Axis
    optimizer: Axis
    schedule: Axis = CONSTANT
    clip: Axis = NONE
    average: Axis = NONE
    backend: Axis = "cpu-eager"
    precision: Axis = "fp32"
    batch_size: Axis = "default"
    devices: Axis = 1
    parallel: Axis = DATA_PARALLEL
    tuning: TuningAxis = FIXED
    seed: Axis = 0


class InferAxes(_Strict):
    """What happens to each trained model. `backend` may be "auto"."""

    compression: Axis
    backend: Axis
    precision: Axis = "fp32"
    batch_size: Axis = 1


def _a_number_of_launches(value: int) -> int:
    if value not in (1, *LOOKS) and value < LOOKS[-1]:
        raise ValueError(f"must be 1, {', '.join(map(str, LOOKS[:-1]))}, {LOOKS[-1]} or more")
    return value


class Budget(_Strict):
    """What a run may spend. Without `train_steps` and the like, steps are the workload's own.

    A training ends once its target holds; without `stop_at_target` it takes all of its steps.
    Launches of a timing stop once the half-width of its 95 % interval is below `target_interval`, a share of
    its value, or at `max_launches`. At most `max_repeats` disturbed launches are repeated; without it 9, or
    `max_launches` if that is more. Each workload ends within `budget_s`, besides its training: its cells are
    begun in the order of what they tell, uncompressed ones on each backend first, as long as one launch of
    each timing is predicted to fit; the others are left out with that reason, and launches end with the time.
    `sample_s` is how long a launch samples. `flush_cache` empties the device's caches before each sample, as
    other work would between calls that are far apart. `timeout_s` ends a stage that hangs, `memory_gib` one
    that allocates without end. Lowered models are evaluated on the first `evaluate_samples` of the test set,
    or on all. `allocator`: workers "keep" the memory that they free, or leave it to the "system".
    """

    train_steps: int | None = Field(default=None, ge=1, le=10**9)
    recover_steps: int | None = Field(default=None, ge=1, le=10**9)
    student_steps: int | None = Field(default=None, ge=1, le=10**9)
    stop_at_target: bool = True
    target_interval: float = Field(default=0.05, gt=0, le=1)
    max_launches: Annotated[int, AfterValidator(_a_number_of_launches)] = 10
    max_repeats: int | None = Field(default=None, ge=0, le=10**6)
    budget_s: float | None = Field(default=None, gt=0, le=30 * 24 * 3600)
    sample_s: float = Field(default=0.4, gt=0, le=3600)
    flush_cache: bool = False
    timeout_s: float = Field(default=1800, ge=1, le=30 * 24 * 3600)
    memory_gib: float | None = Field(default=None, ge=0.125, le=2**20)
    evaluate_samples: int | None = Field(default=None, ge=1, le=10**9)
    allocator: Allocator = "keep"


class Prices(_Strict):
    """What machine time and energy cost. `name` says whose prices they are; the record keeps them all."""

    name: str = Field(min_length=1)
    currency: str = Field(default="USD", min_length=1)
    machine_per_hour: float | None = Field(default=None, ge=0, le=1e18)
    energy_per_kwh: float | None = Field(default=None, ge=0, le=1e18)


class Estimate(_Strict):
    """Estimates of what cannot be measured, in columns of their own: energy, from `watts`."""

    watts: float | None = Field(default=None, gt=0, le=1e6)


class Server(_Strict):
    """Find the highest rate of Poisson arrivals at which 99 % of batches are answered within `p99_ms`.

    Each rate is tried for `seconds`, or longer if that gives fewer than 1,000 arrivals.
    """

    p99_ms: float = Field(gt=0, le=3.6e6)
    seconds: float = Field(default=2.0, gt=0, le=3600)


class Evaluate(_Strict):
    """Further evaluations, each a stage of its own that takes time.

    `corruptions`: quality on corrupted test items, of each workload that has them, on `corrupted_items` of
    them at most. `attributions`: how far integrated gradients of a compressed model rank inputs as those of
    the uncompressed model do, on `attributed_items`, and on up to `flipped_items` whose answer differs.
    """

    corruptions: bool = False
    corrupted_items: int = Field(default=2000, ge=1, le=10**9)
    attributions: bool = False
    attributed_items: int = Field(default=64, ge=1, le=10**6)
    flipped_items: int = Field(default=64, ge=1, le=10**6)


_Span = Annotated[list[Annotated[int, Field(ge=1, le=_MAX_TOKENS)]], Field(min_length=2, max_length=2)]


class Requests(_Strict):
    """Offer requests for texts as a Poisson process at each of `rates_per_s`, so many `requests` of each.

    Lengths of prompts and continuations are drawn evenly from the least to the most, as [16, 64]. A request
    counts as good if its first token comes within `ttft_ms` of when it was due, and the later ones within
    `tpot_ms` each, on average.
    """

    rates_per_s: list[Annotated[float, Field(gt=0, le=1e6)]] = Field(min_length=1)
    requests: int = Field(default=400, ge=10, le=10**6)
    prompt_tokens: _Span = [16, 64]
    new_tokens: _Span = [16, 64]
    ttft_ms: float = Field(gt=0, le=3.6e6)
    tpot_ms: float = Field(gt=0, le=3.6e6)

    @field_validator("rates_per_s")
    @classmethod
    def _each_once(cls, rates: list[float]) -> list[float]:
        """Keep one of each rate: measurements are known by it as it is shown."""
        return list({f"{rate:g}": rate for rate in reversed(rates)}.values())[::-1]

    @field_validator("prompt_tokens", "new_tokens")
    @classmethod
    def _least_first(cls, span: list[int]) -> list[int]:
        if span[0] > span[1]:
            raise ValueError("must have the least before the most")
        return span


class Generation(_Strict):
    """How language models generate text: every length of prompt with each number of new tokens and of texts.

    Without `prompt_tokens` a prompt is half of what the model reads, without `new_tokens` the rest is made,
    and without `texts` 1, 2, 4 and 8 texts are continued side by side. It is repeated with the key-value
    cache in each of the formats `caches`, as ["int8"], and with the model of each workload in `drafts`, which
    proposes tokens that the cell's model checks. What an engine does not support is said in its record.
    `requests`, the table [generation.requests], offers requests at rates of arrival.
    """

    prompt_tokens: list[Annotated[int, Field(ge=1, le=_MAX_TOKENS)]] = []
    new_tokens: list[Annotated[int, Field(ge=1, le=_MAX_TOKENS)]] = []
    texts: list[Annotated[int, Field(ge=1, le=_MAX_TEXTS)]] = []
    caches: list[Annotated[str, Field(pattern=CACHE_FORMAT)]] = []
    drafts: list[Annotated[str, Field(min_length=1)]] = []
    requests: Requests | None = None

    @field_validator("prompt_tokens", "new_tokens", "texts", "caches", "drafts")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        return list(dict.fromkeys(values))


class Limits(_Strict):
    """What cells must hold, as code: `require` lists limits such as "latency_p99_ms <= 20".

    `where` says of which cells, written as `--filter` is; without it, of all cells.
    """

    where: str = ""
    require: list[str] = Field(min_length=1)


def _as_tables(written: Any) -> Any:
    """Return limits as the list of tables that they are short for: a list of texts, or a single table."""
    if isinstance(written, dict):
        return [written]
    if isinstance(written, list) and written and all(isinstance(entry, str) for entry in written):
        return [{"require": written}]
    return written


class Peak(_Strict):
    """A device's peak rates, instead of measured ones or those known from its name.

    `operations_per_s` by precision, `int8` or `fp8`; `bytes_per_s` to and from memory.
    """

    operations_per_s: dict[str, Annotated[float, Field(gt=0, le=1e30)]] = {}
    bytes_per_s: float | None = Field(default=None, gt=0, le=1e30)

    @field_validator("operations_per_s")
    @classmethod
    def _of_known_numbers(cls, rates: dict[str, float]) -> dict[str, float]:
        known = [*PRECISIONS, "int8", "fp8"]
        for name in rates:
            if name not in known:
                raise ValueError(f"unknown number format {name!r}{nearest(name, known)}")
        return rates


class Cross(_Strict):
    """One of several crosses, whose cells are united. `zip` and `exclude` are of this cross alone.

    Without `infer` models are trained, and not served.
    """

    about: str = ""
    train: TrainAxes
    infer: InferAxes | None = None
    zip: list[list[str]] = []
    exclude: list[dict[str, Axis]] = []


class MatrixFile(_Strict):
    """The content of a matrix file.

    Its cells are those of `[train]` and `[infer]`, and of each `[[cross]]`. Axes in one list of `zip` advance
    together, the first value of one with the first of the others, instead of each with each. `[[exclude]]` at
    the top is for the cells of all crosses. Where none has an `[infer]`, models are trained, and not served.
    `about` says what the matrix is for, and `leaves_out` what a reader might miss; both are shown before a
    run. `[targets]` has targets of workloads instead of their own, `[evaluations_per_epoch]` how often a
    training is evaluated. `limits` of all cells may also be written as a list of texts, or as one table,
    [limits].
    """

    about: str = ""
    leaves_out: str = ""
    train: TrainAxes | None = None
    infer: InferAxes | None = None
    zip: list[list[str]] = []
    cross: list[Cross] = []
    exclude: list[dict[str, Axis]] = []
    budget: Budget = Budget()
    prices: Prices | None = None
    estimate: Estimate = Estimate()
    server: Server | None = None
    evaluate: Evaluate = Evaluate()
    generation: Generation | None = None
    peaks: dict[Device, Peak] = {}
    fallback: dict[str, str] = {}
    targets: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    evaluations_per_epoch: dict[str, Annotated[int, Field(ge=1, le=1000)]] = {}
    limits: Annotated[list[Limits], BeforeValidator(_as_tables)] = []


def parse_matrix_file(path: Path, text: str) -> MatrixFile:
    """Read the text of a matrix file; raises MatrixError with what is wrong and where."""
    try:
        content = MatrixFile.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise MatrixError(f"{path}: {_explain(error)}") from None
    except RecursionError:
        raise MatrixError(f"{path}: tables or lists are nested too deeply") from None
    except ValueError as error:  # no TOML, or an integer of more digits than Python reads
        raise MatrixError(f"{path}: {error}") from None
    alone = not content.cross or content.train or content.infer or content.zip
    if alone and content.train is None:
        raise MatrixError(f"{path}: 'train' is missing; write [train] and [infer], or [[cross]]")
    served = [("", content.infer)] if alone else []
    served += [(f"cross {number}: ", cross.infer) for number, cross in enumerate(content.cross, 1)]
    lacking = [where for where, infer in served if infer is None]
    if lacking and len(lacking) < len(served):
        raise MatrixError(f"{path}: {lacking[0]}'infer' is missing; all crosses have one, or none does")
    return content


_SECTIONS: Mapping[str, type[BaseModel]] = {
    **{"train": TrainAxes, "infer": InferAxes},
    **{"budget": Budget, "prices": Prices, "estimate": Estimate, "server": Server, "peaks": Peak},
    "evaluate": Evaluate,
    "generation": Generation,
}


_LISTED: Mapping[str, type[BaseModel]] = {"cross": Cross, "limits": Limits}
"""Sections of which a file may have several."""

_TRIALS = Trials.__name__
_UNIONS = ("str", "int", "list[union[str,int]]", _TRIALS, f"list[union[str,{_TRIALS}]]")
"""What stands in the place of a mistake for one of several types."""


def _explain(error: ValidationError) -> str:
    """Return the first mistake in one line, with the nearest key for an unknown one."""
    first = max(error.errors(), key=lambda entry: (entry["type"] == "extra_forbidden", len(entry["loc"])))
    place = [str(part) for part in first["loc"]]
    number, own = "", _LISTED.get(place[0], MatrixFile)
    if place[0] in _LISTED and len(place) > 2:
        number, place = f"{place[0]} {int(place[1]) + 1}: ", place[2:]
    elif place[0] in _LISTED:
        place = place[:1]
    where = ".".join(part for part in place if part not in _UNIONS)
    if first["type"] == "extra_forbidden":
        model = _SECTIONS.get(place[0], own) if len(place) > 1 else own
        model = Trials if _TRIALS in place else model
        model = Requests if place[:2] == ["generation", "requests"] and len(place) > 2 else model
        return f"{number}unknown key {where!r}{nearest(place[-1], model.model_fields)}"
    if first["type"] == "missing":
        return f"{number}{where!r} is missing"
    return f"{number}{_wrong(place, where, first['msg'])}, got {first['input']!r}"


def _wrong(place: list[str], where: str, message: str) -> str:
    """Return where a value is wrong, and what would be right."""
    message = message.removeprefix("Value error, ").replace("Input should ", "must ")
    if len(place) == 1 and place[0] in _SECTIONS:
        message = f"must be a table, [{place[0]}]"
    elif place[0] in ("exclude", "cross") and len(place) < 3:
        message = f"must be a list of tables, each [[{place[0]}]]"
    elif place[0] == "limits":
        message = 'must be a list of texts, as ["accuracy >= 0.9"], or tables, each [[limits]]'
    elif place[0] == "require":
        message = 'must be a list of limits, as ["latency_p99_ms <= 20"]'
    elif place[0] == "zip":
        message = 'must be a list of lists of axes, as [["optimizer", "workload"]]'
    elif place[:2] == ["train", "tuning"]:
        message = message if where != "train.tuning" else f"must be {RIGHT}"
    elif place[0] in ("train", "infer", "exclude"):
        message = "must be a string, an integer or a list of these"
    return f"{where}: {message[0].lower()}{message[1:]}"
