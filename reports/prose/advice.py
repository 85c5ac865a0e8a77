"""Advice in sentences: the answer, how sure it is, what else fits, and what to try where nothing does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.formatting import counted, format_interval, format_points, format_value, three_digits
from bench.matrix.limits import Limit
from bench.metrics import metric_named
from reports.frames.advice import CALLS, ESTIMATED_ENERGY, OBJECTIVES, Advice, Judged
from reports.frames.candidates import Candidate, Estimate
from reports.frames.controls import NONE
from reports.grids.cell import PRELIMINARY
from techniques.backends import BACKENDS
from techniques.compression import COMPRESSIONS
from techniques.registry import first_few

_MAX_LISTED = 3
_HOUR_S = 3600.0

_COLUMNS = {"money_per_million": "price of a million", ESTIMATED_ENERGY: "energy, estimated"}
"""Columns that are no metrics → what they are called."""

_SHOWN = ("latency_s", "quality_loss_points", "artifact_bytes", "peak_rss_bytes")


def advice_lines(advice: Advice, *, per_million: bool = False) -> Iterator[str]:
    """Yield the advice as lines; with `per_million`, what a million calls cost."""
    found = advice.found
    runs = f"{counted(len(found.runs), 'run')} ({first_few(found.runs)})"
    choices = counted(len(found.every), "choice")
    yield f"{found.workload}, batch {found.batch_size}, on {found.machine}: {choices} measured by {runs}"
    limits = ", ".join(_limit_texts(advice))
    estimated = " (estimate)" if advice.cost == ESTIMATED_ENERGY else ""
    yield f"limits: {limits or 'none'}; of what fits, the lowest {advice.objective}{estimated}"
    yield from (f"note: {note}" for note in _notes(advice))
    yield ""
    if advice.best is None:
        yield from _nothing(advice)
        return
    yield from _best(advice, advice.best)
    told = {advice.best.name, *(candidate.name for candidate in advice.ties)}
    others = [judged.candidate for judged in advice.fitting[1:] if judged.candidate.name not in told]
    if others:
        yield f"also fit: {_list(others)}"
    if advice.unsure:
        unsure = _list([each.candidate for each in advice.unsure])
        yield f"may fit, more launches or seeds would tell: {unsure}"
    if per_million:
        yield from _per_million(advice, advice.best)
    yield from _break_even(advice, advice.best)


def _limit_texts(advice: Advice) -> Iterator[str]:
    for place, limit in enumerate(advice.limits):
        default = " (the default; --max-loss sets it)" if advice.assumed and not place else ""
        yield f"{_label(limit)} {limit.asks}{default}"


def _notes(advice: Advice) -> list[str]:
    """Return what to know of the choices, and why some of them were not judged."""
    notes = list(advice.found.notes)
    if not advice.bounded:
        notes.append("nothing bounds the quality: no loss of it is known, and none was asked for")
    if advice.untrained:
        optimizers = first_few(list(dict.fromkeys(str(c.axes["optimizer"]) for c in advice.untrained)))
        many = counted(len(advice.untrained), "choice")
        notes.append(f"left out, {many} of trainings that missed the target: {optimizers}")
    return notes


def _best(advice: Advice, best: Candidate) -> Iterator[str]:
    yield f"best: {best.name}, trained with {best.axes['optimizer']}"
    launches, seeds = counted(len(best.launches_s), "launch"), counted(best.seeds, "seed")
    sure = {"latency_s": launches, "quality_loss_points": seeds}
    metrics = dict.fromkeys((*_SHOWN, *(limit.metric for limit in advice.limits), advice.cost))
    for metric in metrics:
        estimate = best.values.get(metric)
        if estimate is not None:
            mark = PRELIMINARY if metric == "latency_s" and best.preliminary else ""
            basis = f", {sure[metric]}" if metric in sure else ""
            yield f"  {_name(metric):<22}{_value(metric, estimate)}{mark}{basis}"
    if best.preliminary:
        yield f"  {PRELIMINARY} preliminary: fewer than 6 launches, or a wide interval"
    loss = best.values.get("quality_loss_points")
    if loss is not None and loss.low is None:
        yield "  one seed: nobody knows by how much the loss of quality differs between trainings"
    if advice.ties:
        yield f"  may be as fast: {_list(advice.ties)}"
    yield f"  record: bench show {_quoted(best.cell)} --run {best.run_id}"


def _nothing(advice: Advice) -> Iterator[str]:
    """Say what comes nearest, which limit it breaks, and what to try next."""
    if advice.unsure:
        yield "nothing fits for sure. May fit:"
        yield from _listed(advice.unsure, "can't tell")
        yield "next: run again with a higher max_launches, or with more seeds: the intervals get narrower"
        return
    yield "nothing fits. Nearest:"
    yield from _listed(advice.misses, "broken")
    for limit, candidate in advice.relaxed:
        value = _value(limit.metric, candidate.values[limit.metric])
        yield f"without the limit on {_label(limit)}: {candidate.name}, {value}"
    yield from _untried(advice)


def _listed(judged: Sequence[Judged], verdict: str) -> Iterator[str]:
    first: dict[str, Judged] = {}
    for each in judged:
        first.setdefault(each.candidate.name, each)
    for each in list(first.values())[:_MAX_LISTED]:
        yield f"  {each.candidate.name}, trained with {each.candidate.axes['optimizer']}"
        for finding in each.findings:
            if finding.verdict == verdict:
                yield f"    {_name(finding.metric)}: {finding.text}"


def _untried(advice: Advice) -> Iterator[str]:
    """Name what runs here and that no run has measured for this workload."""
    measured = {str(each.axes["backend"]) for each in advice.found.every}
    backends = [
        name for name, row in BACKENDS.rows().items() if name not in measured and row.obstacle() is None
    ]
    steps = {part.partition(":")[0] for each in advice.found.every for part in _steps(each)}
    formats = [
        name for name, row in COMPRESSIONS.rows().items() if row.kind == "format" and name not in steps
    ]
    for what, names in (("backends that run here", backends), ("formats", formats)):
        if names:
            yield f"not measured yet, {what}: {first_few(names)}"
    yield f"next: bench run --matrix standard --workload {_quoted(advice.found.workload)}"


def _steps(candidate: Candidate) -> list[str]:
    return str(candidate.axes["compression"]).split("+")


def _per_million(advice: Advice, best: Candidate) -> Iterator[str]:
    """Say what a million calls take of the machine, in energy and in money, as far as each is known."""
    plain = advice.plain
    yield f"{CALLS:,} calls of {counted(int(best.axes['batch_size']), 'sample')}:"
    for candidate in (best, *([plain] if plain else [])):
        parts = [f"{three_digits((candidate.value('latency_s') or 0.0) * CALLS / _HOUR_S)} machine hours"]
        for column in OBJECTIVES["energy"]:
            energy = candidate.value(column)
            if energy is not None:
                estimated = " (estimate)" if column == ESTIMATED_ENERGY else ""
                parts.append(f"{three_digits(energy * CALLS / 3.6e6)} kWh{estimated}")
                break
        money = candidate.value("money_per_million")
        if money is not None:
            parts.append(f"{three_digits(money * int(best.axes['batch_size']))} by the matrix's prices")
        yield f"  {candidate.name}: {', '.join(parts)}"


def _break_even(advice: Advice, best: Candidate) -> Iterator[str]:
    """Say from how many inferences on compressing has paid, as the table of compression does."""
    found = best.break_even
    if found is None:
        return
    against = f"break-even against {NONE} on {best.axes['backend']}"
    if found.inferences is None:
        yield f"{against}: {found.verdict if found.never else f'unknown, {found.verdict}'}"
        return
    if not found.inferences:
        yield f"{against}: from the first inference, making it took no longer"
        return
    others = {"energy": found.energy_inferences, "money": found.money_inferences}
    known = [f", in {what} after {number:,.0f}" for what, number in others.items() if number is not None]
    size = int(best.axes["batch_size"])
    calls = f", {found.inferences / size:,.0f} calls" if size > 1 else ""
    took = format_value("compressing_s", found.compressing_s)
    yield f"{against}: after {found.inferences:,.0f} inferences{calls} (it took {took} more){''.join(known)}"


def _list(candidates: Sequence[Candidate]) -> str:
    names = list(dict.fromkeys(candidate.name for candidate in candidates))
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def _label(limit: Limit) -> str:
    return _name(limit.metric)


def _name(metric: str) -> str:
    return _COLUMNS.get(metric) or metric_named(metric).label


def _value(metric: str, estimate: Estimate) -> str:
    if metric == "money_per_million":
        return three_digits(estimate.value)
    if metric != "quality_loss_points":
        of = "energy_j" if metric == ESTIMATED_ENERGY else metric
        return format_interval(of, estimate.value, estimate.low, estimate.high)
    text = f"{format_points(estimate.value)} points"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({format_points(estimate.low)} to {format_points(estimate.high)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def advice_document(advice: Advice) -> dict[str, Any]:
    """Return the advice as JSON has it."""
    even = advice.best.break_even if advice.best else None
    return {
        "workload": advice.found.workload,
        "batch_size": advice.found.batch_size,
        "machine": advice.found.machine,
        "runs": list(advice.found.runs),
        "objective": advice.objective,
        "limits": [limit.to_json() for limit in advice.limits],
        "best": None if advice.best is None else _candidate(advice.fitting[0]),
        "ties": list(dict.fromkeys(candidate.name for candidate in advice.ties)),
        "fitting": [_candidate(judged) for judged in advice.fitting],
        "unsure": [_candidate(judged) for judged in advice.unsure],
        "misses": [_candidate(judged) for judged in advice.misses[:_MAX_LISTED]],
        "relaxed": [
            {"without": limit.to_json(), "candidate": candidate.name} for limit, candidate in advice.relaxed
        ],
        "break_even": None if even is None else asdict(even),
        "notes": _notes(advice),
    }


def _candidate(judged: Judged) -> dict[str, Any]:
    candidate = judged.candidate
    objectives = (column for columns in OBJECTIVES.values() for column in columns)
    shown = dict.fromkeys((*_SHOWN, *objectives, "quality", *(f.metric for f in judged.findings)))
    return {
        "name": candidate.name,
        **candidate.axes,
        "run": candidate.run_id,
        "cell": candidate.cell,
        "seeds": candidate.seeds,
        "launches": len(candidate.launches_s),
        "preliminary": candidate.preliminary,
        "values": {
            metric: {"value": found.value, "low": found.low, "high": found.high}
            for metric in shown
            if (found := candidate.values.get(metric)) is not None
        },
        "limits": [finding.to_json() for finding in judged.findings],
    }
