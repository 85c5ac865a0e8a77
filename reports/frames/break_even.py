"""How many inferences pay for compressing: what it took to make, over what each inference saves.

Both are against the uncompressed model of the same training on the same backend. What is done anyway,
training and lowering the uncompressed model, is no part of the price. Tables, limits, model cards and
`bench advise` all have it from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.frames.money import estimate, money_of
from reports.frames.view import RunView, training_of

NEVER = "never"

BREAK_EVENS = ("break_even_inferences", "break_even_energy_inferences", "break_even_money_inferences")
BREAK_EVEN_COLUMNS = ("compressing_s", *BREAK_EVENS, "break_even_verdict")

_NONE = "none"
_PLACE = ("backend", "precision", "batch_size", "machine")
_MILLION = 1e6

_ALONE = "the uncompressed model was not measured on this backend"

Row = dict[str, Any]


@dataclass(frozen=True)
class BreakEven:
    """From how many inferences (samples) on compressing has paid: in time, in energy and in money.

    Each is None where it is unknown, or never comes; `verdict` then says why, and is empty else.
    `compressing_s` is what it cost in time, None where that is unknown.
    """

    compressing_s: float | None
    inferences: float | None
    energy_inferences: float | None
    money_inferences: float | None
    verdict: str

    @property
    def never(self) -> bool:
        return self.verdict.startswith(NEVER)


def break_even_over(rows: Sequence[Mapping[str, Any]]) -> BreakEven:
    """Average the break-even over trainings, from rows of the table of inference.

    Where one of them never pays, or its break-even is unknown, that of all is.
    """
    verdict = next((row["break_even_verdict"] for row in rows if row["break_even_verdict"]), "")
    time, energy, money = (None if verdict else _mean(rows, name) for name in BREAK_EVENS)
    return BreakEven(_mean(rows, "compressing_s"), time, energy, money, str(verdict))


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) / len(known) if known else None


def set_break_even(view: RunView, rows: list[Row]) -> None:
    """Add the columns to the rows of the table of inference, in place.

    `compressing_s` is the work of the recipe's steps, of the teacher's outputs, and what the lowering took
    longer than the uncompressed model's, without what measuring the model takes. The break-evens are numbers
    of samples: that time, its estimated energy and its money, over what a sample saves. `break_even_verdict`
    is empty where they are known, begins with "never" where a cell is not faster or that can't be told, and
    else says what is unknown.
    """
    plain: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        if row["compression"] == _NONE:
            plain.setdefault(_place(row), row)
    for row in rows:
        twin = plain.get(_place(row)) if row["compression"] != _NONE else None
        if twin is not None:
            row |= _of_pair(view, row, twin)
        else:
            row |= _nothing(_ALONE if row["compression"] != _NONE and row["ranked"] else "")


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*training_of(row), *(row[name] for name in _PLACE))


def _nothing(verdict: str = "") -> Row:
    return {**dict.fromkeys(BREAK_EVEN_COLUMNS), "break_even_verdict": verdict}


def _of_pair(view: RunView, row: Row, twin: Row) -> Row:
    seconds = _compressing_s(view, row, twin)
    found = {**_nothing(), "compressing_s": seconds}
    if not row["ranked"]:
        return found
    if not twin["ranked"]:
        return {**found, "break_even_verdict": _ALONE}
    slow = _not_faster(view, row, twin)
    if slow:
        return {**found, "break_even_verdict": f"{NEVER}: {slow}"}
    if seconds is None:
        return {**found, "break_even_verdict": "the time to compress is unknown"}
    samples = int(row["batch_size"] or 1)
    joules, _ = estimate(view, seconds)
    money, _ = money_of(view, seconds, None, joules)
    prices = [entry["money_per_million"] for entry in (twin, row)]
    saved_money = None if None in prices else (prices[0] - prices[1]) / _MILLION
    pairs = (
        (seconds, (twin["latency_s"] - row["latency_s"]) / samples),
        (joules, _saved_j(row, twin, samples)),
        (money, saved_money),
    )
    return {**found, **{name: _over(*pair) for name, pair in zip(BREAK_EVENS, pairs, strict=True)}}


def _not_faster(view: RunView, row: Row, twin: Row) -> str:
    """Say why a cell saves no time, or return an empty text."""
    keys = (str(twin["infer_key"]), str(row["infer_key"]))
    return view.once(("not faster", *keys), lambda: _is_not_faster(view, *keys))


def _is_not_faster(view: RunView, plain: str, own: str) -> str:
    if own == plain:
        return "runs as the uncompressed model"
    ratio = view.latency_ratio(plain, own)
    if ratio is None or ratio.low is None or ratio.high is None:
        return "can't tell whether it is faster"
    before_s, after_s = (view.value(key, "latency_s") for key in (plain, own))
    if ratio.low > 1 and before_s is not None and after_s is not None and after_s < before_s:
        return ""
    return "not faster" if ratio.high <= 1 else "can't tell whether it is faster"


def _compressing_s(view: RunView, row: Row, twin: Row) -> float | None:
    """Return the seconds that compressing took; None where any of its parts is unknown."""
    made = str(row["compress_key"] or "")
    steps_s = view.once(("made in", made), lambda: _made_s(view, made))
    own_s, plain_s = (_worked_s(view, str(entry["lower_key"] or ""), "lowering_s") for entry in (row, twin))
    if steps_s is None or own_s is None or plain_s is None:
        return None
    return steps_s + max(0.0, own_s - plain_s)


def _made_s(view: RunView, key: str) -> float | None:
    """Return the seconds that the stages worked which made a compressed model; None where one is unknown."""
    parts = [_worked_s(view, part, "compression_s") for part in making(view, key)]
    return None if None in parts else sum(part or 0.0 for part in parts)


def _worked_s(view: RunView, key: str, metric: str) -> float | None:
    """Return the seconds of a stage's own work; of one that has not measured them, those of all of it."""
    own = view.value(key, metric)
    return view.made_s.get(key) if own is None else own


def making(view: RunView, key: str) -> Iterator[str]:
    """Yield the keys of the stages that made a compressed model from the trained one."""
    while key in view.stages and view.stages[key].kind == "compress":
        yield key
        parents = [parent for parent in view.stages[key].parents if parent in view.stages]
        yield from (parent for parent in parents if view.stages[parent].kind == "teach")
        key = next((parent for parent in parents if view.stages[parent].kind == "compress"), "")


def _saved_j(row: Row, twin: Row, samples: int) -> float | None:
    """Return the joules that a sample saves: as measured where both are, else as estimated."""
    for name in ("energy_j", "energy_estimate_j"):
        if row[name] is not None and twin[name] is not None:
            return float(twin[name] - row[name]) / samples
    return None


def _over(price: float | None, saved: float | None) -> float | None:
    return None if price is None or saved is None or saved <= 0 else price / saved
