"""The page of the matrix `compression`: what each method costs and saves, and why it is not faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.diagnosis.cause import FASTER
from bench.formatting import format_points, format_value, three_digits
from docs.reference.markdown import code, prose, table
from docs.results.measured import Measured, Row, assemble, groups, model_of
from reports.frames.choices import QUALITY_POINTS
from reports.frames.controls import NONE
from reports.frames.view import records
from reports.grids.cell import UNKNOWN
from reports.prose.answers import answers

CSV = "compression.csv"
_WHO_PAYS = ("Which classes lose quality?", "Which groups lose more than chance explains?")


Losses = Mapping[tuple[str, str, str], Row]
"""The paired loss of each workload, compression and backend."""


def page(measured: Measured) -> str:
    """Return the page."""
    rows = [row for row in records(measured.frames["tradeoff"]) if row["compression"] != NONE]
    losses = _losses(measured)
    parts = [_of_workload(workload, own, losses) for workload, own in groups(rows, "workload")]
    return assemble(
        "Compression: smaller, faster, how much worse, and why not faster",
        measured,
        "Speeds are relative to `none` on the same backend, with 95 % intervals over launches. Losses are "
        "points of quality lost to `none` on the same test items and backend; where several "
        "seeds were trained, the interval is over seeds. *Smaller* is the compressed file. **–**: no kernel "
        "for it there, or no valid timing. "
        f"[{CSV}](../examples/{CSV}) has all columns.",
        *_answers(measured, rows, losses),
        *_who_pays(measured),
        *parts,
    )


def _losses(measured: Measured) -> Losses:
    """Return the paired losses of the first training of each."""
    found: dict[tuple[str, str, str], Row] = {}
    if "fidelity" in measured.frames:
        for row in records(measured.frames["fidelity"]):
            found.setdefault((row["workload"], row["compression"], row["backend"]), row)
    return found


def _of_workload(workload: str, rows: list[dict[str, Any]], losses: Losses) -> str:
    backends = [backend for backend, _ in groups(rows, "backend")]
    lines = []
    for compression, own in groups(rows, "compression"):
        speeds = {row["backend"]: _speed(row) for row in own}
        first = max(own, key=lambda row: row["seeds"])
        paired = losses.get((workload, compression, first["backend"]))
        smaller = first["times_smaller_compressed"]
        lines.append(
            [
                code(compression),
                _loss(first, paired),
                UNKNOWN if smaller is None else f"{three_digits(smaller)}×",
                *(speeds.get(backend, UNKNOWN) for backend in backends),
            ]
        )
    header = ["compression", "quality loss (points)", "smaller", *map(code, backends)]
    parts = [f"## {model_of(workload)}", table(header, lines), _why_not(rows)]
    return "\n\n".join(filter(None, parts))


def _loss(row: Row, paired: Row | None) -> str:
    """Write a loss with its interval: over seeds where there are several, else over test items."""
    if row["seeds"] > 1 and row["loss_points"] is not None:
        return _points(row, "loss_points")
    if paired is not None and paired["paired_loss_points"] is not None:
        return _points(paired, "paired_loss_points")
    return format_points(row["loss_points"])


def _points(row: Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = f" ({format_points(low)} to {format_points(high)})" if low is not None else ""
    return f"{format_points(row[name])}{interval}"


def _speed(row: Row) -> str:
    if row["same_timing"]:
        return "1× (as `none`)"
    if row["speedup"] is None:
        return UNKNOWN
    text = f"{three_digits(row['speedup'])}×"
    low, high = row["speedup_low"], row["speedup_high"]
    if low is None or high is None:
        return text
    told = f"{text} ({three_digits(low)} to {three_digits(high)})"
    return f"**{told}**" if low > 1 else told


def _why_not(rows: list[dict[str, Any]]) -> str:
    """Say of each format and chain that is not faster why, each reason once, with where it holds."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        slow = row["speedup"] is not None and row["speedup"] < FASTER and not row["same_timing"]
        if slow and row["why"]:
            reasons.setdefault(row["why"], []).append(f"{code(row['compression'])} on {code(row['backend'])}")
    if not reasons:
        return ""
    lines = [f"- {', '.join(places)}: {prose(why)}." for why, places in reasons.items()]
    return "\n".join(["Not faster, by `bench why`:", "", *lines])


def _answers(measured: Measured, rows: list[dict[str, Any]], losses: Losses) -> list[str]:
    """Return sections on what is asked for most: int8, half of the channels, students, 4 bits."""
    plain = [row for row in records(measured.frames["tradeoff"]) if row["compression"] == NONE]
    rounded = ("qat", "gptq", "sign-round")
    found = [
        ("Is int8 faster?", _fastest(rows, plain, losses, "int8-static")),
        ("Do half of the channels pay?", _fastest(rows, plain, losses, "prune-channels:0.5")),
        ("Is a teacher worth it?", _against_control(rows, ("distill",))),
        ("Does training for 4 bits recover what rounding loses?", _against_control(rows, rounded)),
    ]
    return [f"## {title}\n\n{text}" for title, text in found if text]


def _fastest(
    rows: list[dict[str, Any]], plain: list[dict[str, Any]], losses: Losses, compression: str
) -> str:
    """Say where a compression serves fastest, for each workload, and where `none` does.

    A backend on which it loses more than `QUALITY_POINTS` is named only where it does so on all.
    """
    own = [row for row in rows if row["compression"] == compression and row["latency_s"] is not None]
    lines = []
    for workload, members in groups(own, "workload"):
        known = [row for row in members if row["loss_points"] is not None]
        small = [row for row in known if row["loss_points"] <= QUALITY_POINTS]
        best = min(small or members, key=_latency_s)
        paired = losses.get((workload, compression, best["backend"]))
        text = f"{format_value('latency_s', best['latency_s'])} on {code(best['backend'])}, {_speed(best)}"
        others = [row for row in plain if row["workload"] == workload and row["latency_s"] is not None]
        if others:
            first = min(others, key=_latency_s)
            times = three_digits(first["latency_s"] / best["latency_s"])
            where = f"{format_value('latency_s', first['latency_s'])} on {code(first['backend'])}"
            text += f" the speed of {code(NONE)} there; the fastest {code(NONE)} takes {where}, {times}×"
        more = "" if small else f", on no backend {QUALITY_POINTS:g} or less"
        lines.append(f"- {model_of(workload)}: {text}. Quality lost: {_loss(best, paired)} points{more}.")
    return "\n".join(lines)


def _latency_s(row: Row) -> float:
    return float(row["latency_s"])


def _against_control(rows: list[dict[str, Any]], starts: tuple[str, ...]) -> str:
    lines = []
    for row in rows:
        if row["compression"].startswith(starts) and row["control"] and row["vs_control_points"] is not None:
            seeds = f"{row['seeds']} seeds" if row["seeds"] > 1 else "one seed"
            lines.append(
                f"- {model_of(row['workload'])}, {code(row['compression'])} on {code(row['backend'])}: "
                f"{_points(row, 'vs_control_points')} points over {code(row['control'])}, {seeds}."
            )
    return "\n".join(lines)


def _who_pays(measured: Measured) -> list[str]:
    """Return a section on classes, groups and corruptions that lose more than others; none without data."""
    sentences = [
        f"{answer.question}\n\n" + "\n".join(f"- {prose(sentence)}" for sentence in answer.sentences)
        for answer in answers(measured.frames)
        if answer.question in _WHO_PAYS
    ]
    corrupted = _corrupted(records(measured.frames["robustness"])) if "robustness" in measured.frames else ""
    return ["## Who pays?\n\n" + "\n\n".join(filter(None, [*sentences, corrupted]))] if sentences else []


def _corrupted(rows: list[dict[str, Any]]) -> str:
    """Count cells of each workload that corruption hurts more than `none`, and name the worst of them."""
    lines = []
    for workload, own in groups(rows, "workload"):
        tested = {row["cell"] for row in own if row["flagged"] is not None}
        flagged = sorted((row for row in own if row["flagged"]), key=lambda row: row["change_points"])
        worst = (
            f": {code(flagged[0]['compression'])} on {code(flagged[0]['backend'])} most, under "
            f"{flagged[0]['corruption']}, {format_points(flagged[0]['change_points'], 1)} points"
            if flagged
            else ""
        )
        count = len({row["cell"] for row in flagged})
        lines.append(f"- {model_of(workload)}: {count} of {len(tested)} cells{worst}.")
    return "\n".join(["Which keep less of their quality on corrupted items than `none` does?", "", *lines])
