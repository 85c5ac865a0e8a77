"""The ranking of a run's optimizers as tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

from bench.analysis.profiles import MIN_WORKLOADS, settled
from bench.analysis.statistics import Interval
from bench.analysis.verdicts import Judged
from bench.formatting import counted, format_value, three_digits
from reports.frames.outcomes import Measure
from reports.frames.ranking import MEASURES, Ranking
from reports.frames.view import records
from reports.grids.cell import UNKNOWN, Entry, Row
from reports.grids.grid import Grid, without_empty

MAX_PAIRS = 10
"""Of more pairs than these, a table has each optimizer with the next one and with the baseline."""

_NEVER = "never"


def ranking_grids(ranking: Ranking) -> list[Grid]:
    """Return two tables for each workload, of optimizers and of pairs, and one across workloads.

    Where a workload's optimizers were tuned in several ways, a third has these side by side.
    """
    grids = []
    rows = records(ranking.ranking)
    for workload in dict.fromkeys(row["workload"] for row in rows):
        own = [row for row in rows if row["workload"] == workload]
        grids += [_optimizers(ranking, own), _tuning(ranking, str(workload)), _pairs(ranking, own)]
    return [without_empty(grid, ()) for grid in (*grids, _across(ranking)) if grid.rows]


def _optimizers(ranking: Ranking, rows: list[dict[str, Any]]) -> Grid:
    first = rows[0]
    spread = ranking.spreads[first["workload"]]
    title = f"{first['workload']}: to {first['quality_metric']} {first['target']:g}, medians over seeds"
    title += f"; seeds differ by {_percent(spread)} (standard deviation)" if spread is not None else ""
    loss = f"loss at step {first['common_step']:,.0f}" if first["common_step"] else "loss"
    columns = (
        *("", "optimizer", "reached", "steps", "on the grid", "Kaplan–Meier", "known to"),
        *("seeds differ by", f"time ({first['time_basis']})" if first["time_basis"] else "time", loss),
    )
    return Grid("ranking", title, columns, tuple(tuple(map(Entry, _optimizer(row))) for row in rows))


def _optimizer(row: Row) -> Iterator[str]:
    yield str(row["rank"])
    yield str(row["optimizer"])
    yield f"{row['reached']}/{row['seeds']}" + (f" ({row['states']})" if row["states"] else "")
    budget = f"> {format_value('steps_to_target', row['budget_steps'])}"
    for name in ("steps_to_target", "steps_to_target_on_grid", "steps_to_target_kaplan_meier"):
        yield budget if row[name] is None else format_value("steps_to_target", row[name])
    yield _known_to(row)
    yield UNKNOWN if row["seed_spread"] is None else _percent(row["seed_spread"])
    never = _NEVER if row["time_basis"] else UNKNOWN
    yield (
        never
        if row["time_to_target_s"] is None
        else format_value("time_to_target_s", row["time_to_target_s"])
    )
    yield UNKNOWN if row["loss"] is None else three_digits(row["loss"])


def _known_to(row: Row) -> str:
    """Say how well steps are known between evaluations; of targets that held at the first, how many."""
    if row["at_first"]:
        return f"at most ({row['at_first']} of {row['seeds']} at the first evaluation)"
    return UNKNOWN if row["resolution"] is None else _percent(row["resolution"])


def _tuning(ranking: Ranking, workload: str) -> Grid:
    """Return a row for each optimizer, with what it needed after each kind of tuning, and its rank there."""
    rows = [row for row in records(ranking.tuning) if row["workload"] == workload]
    tunings = list(dict.fromkeys(row["tuning"] for row in rows))
    found = {(row["optimizer"], row["tuning"]): row for row in rows}
    columns = ["optimizer"]
    for tuning in tunings:
        columns += [tuning, f"steps of {tuning}"]
    table = [
        [name, *(text for tuning in tunings for text in _tuned(found.get((name, tuning))))]
        for name in dict.fromkeys(row["optimizer"] for row in rows)
    ]
    title = f"{workload}: by tuning, with the rank among those tuned alike, and the steps of the trials"
    return Grid("tuning", title, tuple(columns), tuple(tuple(map(Entry, row)) for row in table))


def _tuned(row: Row | None) -> Iterator[str]:
    if row is None:
        yield from (UNKNOWN, "")
        return
    steps, seconds = row["steps_to_target"], row["time_to_target_s"]
    text = (
        f"> {format_value('steps_to_target', row['budget_steps'])}"
        if steps is None
        else format_value("steps_to_target", steps)
    )
    text += " steps" + ("" if seconds is None else f", {format_value('time_to_target_s', seconds)}")
    yield f"{text} (rank {row['rank']} of {row['of']})"
    yield "" if row["tuning_steps"] is None else format_value("steps_trained", row["tuning_steps"])


def _pairs(ranking: Ranking, rows: list[dict[str, Any]]) -> Grid:
    workload, names = rows[0]["workload"], [row["optimizer"] for row in rows]
    every = list(combinations(names, 2))
    title = f"{workload}: verdicts, each as a multiple of what the other needs"
    pairs = every if len(every) <= MAX_PAIRS else list(_chosen(names, ranking.baseline))
    title += f"; {len(pairs)} of {len(every)} pairs" if len(pairs) < len(every) else ""
    by_steps = ranking.verdicts[workload, "steps"].values()
    difference = next((judged.difference for judged in by_steps), 0.0)
    columns = (
        *("optimizer", "compared with", "seeds", "steps", "time", "loss"),
        f"to see {100 * difference:g} % in steps",
    )
    return Grid(
        "pairs", title, columns, tuple(tuple(map(Entry, _pair(ranking, workload, *p))) for p in pairs)
    )


def _chosen(names: Sequence[str], baseline: str) -> Iterator[tuple[str, str]]:
    """Yield each optimizer with the next one, and the others with the baseline."""
    yield from pairwise(names)
    place = names.index(baseline) if baseline in names else None
    for position, name in enumerate(names):
        if place is not None and abs(position - place) > 1:
            yield name, baseline


def _pair(ranking: Ranking, workload: str, first: str, second: str) -> Iterator[str]:
    found = {measure: ranking.verdict(workload, measure, first, second) for measure in MEASURES}
    steps = found["steps"]
    yield first
    yield second
    yield UNKNOWN if steps is None else _seeds(steps)
    for measure, judged in found.items():
        yield UNKNOWN if judged is None else _verdict(judged, measure)
    yield _more_seeds(steps)


def _seeds(judged: Judged) -> str:
    ratio = judged.ratio
    counts = {"unreached": ratio.unreached, "at the first evaluation": ratio.at_first}
    unknown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{ratio.seeds}" + (f" ({unknown})" if unknown else "")


def _verdict(judged: Judged, measure: Measure) -> str:
    """Write a ratio with its interval and the verdict; a lower loss is no faster, but less."""
    ratio = judged.ratio
    if ratio.low is None or ratio.high is None:
        return f"{three_digits(ratio.value)}× (no interval), can't tell"
    words = {"faster": "less", "slower": "more"} if measure == "loss" else {}
    text = f"{three_digits(ratio.value)}× ({_bound(ratio.low)} to {_bound(ratio.high)})"
    text += f", {words.get(judged.verdict, judged.verdict)}"
    if judged.detectable is not None and measure != "loss":
        text += f" (would have seen {_percent(judged.detectable)})"
    return text


def _more_seeds(judged: Judged | None) -> str:
    if judged is None or judged.verdict != "can't tell":
        return ""
    if judged.detectable is None:
        return UNKNOWN
    if judged.more_seeds is None:
        return "over 1,000 more seeds"
    return counted(judged.more_seeds, "more seed") if judged.more_seeds else "enough seeds"


def _across(ranking: Ranking) -> Grid:
    rows = records(ranking.across.table)
    workloads = counted(int(rows[0]["workloads"]), "workload") if rows else ""
    base = rows[0]["baseline"] if rows else ""
    columns = (
        *("optimizer", "score", f"score vs {base}", "", f"speed vs {base}"),
        *("lowest without one workload", "highest without one"),
    )
    title = (
        f"Across {workloads}, by {ranking.measure}: AlgoPerf's score (share of the profile up to 4× the best)"
    )
    return Grid("across", title, columns, tuple(tuple(map(Entry, _standing(row))) for row in rows))


def _standing(row: Row) -> Iterator[str]:
    yield str(row["optimizer"])
    yield f"{row['score']:.3f} ({row['score_low']:.3f} to {row['score_high']:.3f})"
    if row["difference"] is None or row["optimizer"] == row["baseline"]:
        yield from (UNKNOWN, "", UNKNOWN)
    else:
        bounds = f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}"
        yield f"{row['difference']:+.3f} ({bounds})"
        yield _settled(row)
        speed = (row["speedup"], row["speedup_low"], row["speedup_high"])
        yield UNKNOWN if None in speed else "{}× ({} to {})".format(*map(three_digits, speed))
    yield f"{row['lowest_score']:.3f} ({row['lowest_without']})"
    yield f"{row['highest_score']:.3f} ({row['highest_without']})"


def _settled(row: Row) -> str:
    if row["workloads"] < MIN_WORKLOADS:
        return "too few workloads"
    known = Interval(row["difference"], row["difference_low"], row["difference_high"], 0, "")
    return "settled" if settled(known, 0.0) else "not settled"


def _bound(value: float) -> str:
    return "∞" if math.isinf(value) else three_digits(value)


def _percent(share: float) -> str:
    return "∞" if math.isinf(share) else f"{three_digits(100 * share)} %"
