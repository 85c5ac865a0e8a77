"""The first screen: for each workload a card with its choices, how sure they are, and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.formatting import counted, format_interval, format_points, format_value, three_digits
from reports.content import Content
from reports.frames.choices import (
    LATENCY,
    MONEY,
    QUALITY_POINTS,
    SIZE,
    Choices,
    Point,
    ServingChoice,
    TrainingChoice,
    choice_name,
    loss_over_seeds,
    names_of,
)
from reports.frames.controls import NONE
from reports.frames.scores import Score
from reports.frames.view import RunView
from reports.grids.cell import PRELIMINARY, shortened
from reports.page.records import SHORT_KEY, keys_of_point

_MAX_TIES = 3
_MAX_NAME = 120
_MAX_REASONS = 3
_MAX_REASON = 160

_SAME_SIZE = 0.005
"""Share by which downloads may differ in size and still be called the same."""


@dataclass(frozen=True)
class Choice:
    """One choice: what it is for, its name, its value, how sure that is, and what it costs against a default.

    `axes` are the values that it highlights, `key` the beginnings of the keys of its
    records, joined by spaces.
    """

    role: str
    name: str
    value: str = ""
    sure: str = ""
    against: str = ""
    ties: str = ""
    axes: tuple[tuple[str, str], ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Batch:
    """The serving choices at one batch size."""

    size: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Card:
    """What a run came to for one workload.

    `has_points` says whether any way to serve it was ranked; `left_out` what did not run or failed, and why.
    """

    workload: str
    training: Choice
    batches: tuple[Batch, ...]
    has_points: bool
    left_out: tuple[str, ...]

    def every(self) -> list[Choice]:
        """Return all choices of the card."""
        return [self.training, *(choice for batch in self.batches for choice in batch.choices)]


def cards_of(content: Content) -> list[Card]:
    """Return a card for each workload; none of a smoke run."""
    return [_card(content, chosen) for chosen in content.choices]


def _card(content: Content, chosen: Choices) -> Card:
    several = len(chosen.serving) > 1
    # What most was measured of comes first, which the chart beside it shows too.
    serving = sorted(chosen.serving, key=lambda each: -len(each.points[LATENCY]))
    batches = [_batch(content, each, several=several) for each in serving]
    return Card(
        chosen.workload,
        _training(chosen.training),
        tuple(batch for batch in batches if batch.choices),
        any(serving.points[LATENCY] for serving in chosen.serving),
        tuple(_left_out(content, chosen.workload)),
    )


def _training(training: TrainingChoice) -> Choice:
    best, closest = training.best, training.closest
    if closest is None:
        return Choice("Train", "no training", "the model is served as given")
    if best is None:
        return Choice(
            "Train",
            "no optimizer reached the target",
            f"best quality {format_value('quality', closest.quality)}: {_name(closest.label)}",
        )
    steps = f"{format_value('steps_to_target', best.steps)} steps"
    time = format_interval("time_to_target_s", best.time_s, best.time_low_s, best.time_high_s)
    return Choice(
        "Train with",
        _name(best.label),
        f"target in {steps}" + (f", {time}" if best.time_s is not None else ""),
        _sure_of_training(best),
        _against_default(training, best),
        _tied([score.label for score in training.ties]),
        (("optimizer", str(best.rows[0]["optimizer"])),),
        str(best.rows[0]["train_key"] or "")[:SHORT_KEY],
    )


def _sure_of_training(best: Score) -> str:
    launches = max((int(row["step_latency_launches"] or 0) for row in best.rows), default=0)
    seeds = f"{best.reached} of {counted(best.seeds, 'seed')} reached it"
    return seeds + (f", step timed in {counted(launches, 'launch')}" if launches else "")


def _against_default(training: TrainingChoice, best: Score) -> str:
    default = training.default
    if default is None or default is best:
        return "is the default: the run's first optimizer"
    name = _name(default.label)
    if default.steps is None:
        return f"{name} (the run's first) did not reach it"
    if best.time_s and default.time_s:
        return f"{three_digits(default.time_s / best.time_s)}× as fast as {name} (the run's first)"
    return f"{three_digits(default.steps / (best.steps or 1))}× fewer steps than {name} (the run's first)"


def _batch(content: Content, serving: ServingChoice, *, several: bool) -> Batch:
    found = tuple(_serving(content, serving))
    size = f", batch {serving.batch_size}" if several else ""
    return Batch(serving.batch_size, tuple(replace(each, role=each.role + size) for each in found))


def _serving(content: Content, serving: ServingChoice) -> Iterator[Choice]:
    best, smallest, cheapest = serving.fastest, serving.smallest, serving.cheapest
    if best is None:
        if serving.points[LATENCY]:
            yield Choice("Serve", f"nothing stays within {QUALITY_POINTS:g} point of the uncompressed model")
        return
    yield _served(content, serving, best, "Serve fastest", LATENCY)
    for role, point, cost in (("Serve smallest", smallest, SIZE), ("Serve cheapest", cheapest, MONEY)):
        if point is not None and choice_name(point) == choice_name(best):
            yield Choice(role, "the same as the fastest", _price(content.view, point, cost))
        elif point is not None:
            yield _served(content, serving, point, role, cost)
        elif cost == MONEY:
            yield Choice(role, "unknown", "the matrix has no [prices]")


def _served(content: Content, serving: ServingChoice, point: Point, role: str, cost: str) -> Choice:
    view, fast = content.view, cost == LATENCY
    return Choice(
        role,
        _name(choice_name(point)),
        _value(view, point, cost),
        _sure_of_serving(view, point),
        _against_plain(content, point, serving.default),
        _tied(names_of((*serving.same, *serving.ties))) if fast else "",
        tuple((axis, str(point[axis])) for axis in ("optimizer", "compression", "backend")),
        keys_of_point(view, point),
    )


def _value(view: RunView, point: Point, cost: str) -> str:
    mark = PRELIMINARY if point["preliminary"] else ""
    latency = format_interval(LATENCY, *(point[f"latency{end}_s"] for end in ("", "_low", "_high"))) + mark
    return latency if cost == LATENCY else f"{_price(view, point, cost)}, {latency}"


def _price(view: RunView, point: Point, cost: str) -> str:
    """Write what a choice was made by, latency apart."""
    if cost == MONEY:
        currency = (view.run["request"].get("prices") or {}).get("currency", "")
        return " ".join(filter(None, (three_digits(point[MONEY]), str(currency), "per million samples")))
    return f"{format_value(SIZE, point[SIZE])} compressed"


def _sure_of_serving(view: RunView, point: Point) -> str:
    launches = len(view.launch_values(point["infer_key"], LATENCY))
    found = f"{counted(launches, 'launch')}, {counted(point['seeds'], 'seed')}"
    found += "; preliminary" if point["preliminary"] else ""
    trained = "" if point["optimizer"] == NONE else f"; trained with {_name(str(point['optimizer']))}"
    return found + trained


def _against_plain(content: Content, point: Point, default: Point | None) -> str:
    """Say what a choice costs and saves against the uncompressed model on eager PyTorch."""
    if default is point:
        return "is the default: uncompressed on eager PyTorch"
    parts = [_quality(content, point)]
    if default is not None and default["latency_s"]:
        parts.append(f"{three_digits(default['latency_s'] / point['latency_s'])}× the speed")
    if default is not None and point[SIZE] and default[SIZE]:
        parts.append(_smaller(default[SIZE] / point[SIZE]))
    text = ", ".join(filter(None, parts))
    return f"{text} vs {choice_name(default)}" if default is not None else text


def _quality(content: Content, point: Point) -> str:
    """Say how quality changes, with the interval of the change over seeds: of one seed there is none."""
    loss = loss_over_seeds(content.frames["inference"], point)
    if loss is None:
        return ""
    text = f"quality {format_points(-loss.value)} points"
    if loss.low is None or loss.high is None:
        return f"{text} (no interval: one seed)" if point["seeds"] == 1 else text
    return f"{text} ({format_points(-loss.high)} to {format_points(-loss.low)})"


def _smaller(ratio: float) -> str:
    """Say how many times as small a download is."""
    if abs(ratio - 1) < _SAME_SIZE:
        return "the same size"
    return f"{three_digits(ratio)}× smaller" if ratio > 1 else f"{three_digits(1 / ratio)}× larger"


def _tied(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _MAX_TIES} more" if len(names) > _MAX_TIES else ""
    return f"may be as fast: {', '.join(map(_name, names[:_MAX_TIES]))}{more}"


def _left_out(content: Content, workload: str) -> Iterator[str]:
    """Count the cells that are not ok, or where nothing is served the trainings, and give the reasons."""
    every, what = content.frames["inference"], "cell"
    every = every[every["workload"] == workload]
    if every.empty:
        every, what = content.frames["training"], "training"
        every = every[every["workload"] == workload]
    own = every[every["state"] != "ok"]
    if own.empty:
        return
    states = Counter(own["state"].tolist())
    counts = ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    yield f"Left out: {counts} of {counted(len(every), what)}"
    reasons = Counter(zip(own["state"].tolist(), own["reason"].tolist(), strict=True))
    for (state, reason), count in reasons.most_common(_MAX_REASONS):
        times = f" ({count:,}×)" if count > 1 else ""
        yield shortened(f"{state}{times}: {reason or 'no reason given'}", _MAX_REASON)


def _name(text: str) -> str:
    return shortened(text, _MAX_NAME)
