"""The page of the matrix `standard`: which optimizer, which compression on which backend, for each model."""

from __future__ import annotations

from typing import Any

from bench.formatting import format_interval, format_points, format_value, three_digits
from docs.reference.markdown import code, prose, table
from docs.results.measured import Measured, Row, assemble, groups, model_of
from reports.frames.choices import QUALITY_POINTS
from reports.frames.controls import NONE
from reports.frames.inference import REFERENCE_BACKEND
from reports.frames.view import records
from reports.grids.cell import UNKNOWN

CSV = "standard.csv"


def page(measured: Measured) -> str:
    """Return the page."""
    rows = records(measured.frames["inference"])
    served = [_of_largest_training(own) for _, own in groups(rows, "workload")]
    return assemble(
        "standard: kinds of models, compressed and served",
        measured,
        _summary(rows),
        "## Training",
        _training(records(measured.frames["optimizers"])),
        "## Serving: the answers",
        f"The fastest valid cell of each model that loses at most {QUALITY_POINTS:g} point of quality, "
        f"against eager PyTorch without compression.",
        "\n".join(filter(None, map(_answer, served))),
        "## Serving: all cells",
        "Latency of a call, with its 95 % interval over launches. The fastest of each model is bold. "
        f"**{UNKNOWN}**: the model has no layer that the format fits, or the backend no kernel for it. "
        f"What runs as the uncompressed model was timed with it. [{CSV}](../examples/{CSV}) has all columns.",
        *map(_of_model, served),
    )


def _of_largest_training(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells of the training of a workload that most cells have."""
    return max((own for _, own in groups(rows, "optimizer")), key=len)


def _summary(rows: list[dict[str, Any]]) -> str:
    states = {state: len(own) for state, own in groups(rows, "state")}
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda item: -item[1]))
    return f"{len(rows)} cells: {told}."


def _training(rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            model_of(row["workload"]),
            code(row["optimizer"]),
            format_interval(
                "steps_to_target",
                row["steps_to_target"],
                row.get("steps_to_target_low"),
                row.get("steps_to_target_high"),
            )
            if row["steps_to_target"] is not None
            else "not reached",
            format_value("time_to_target_s", row["time_to_target_s"]),
            format_value("quality", row["quality"]),
        ]
        for row in rows
    ]
    return table(["workload", "optimizer", "steps to target", "time to target", "test quality"], lines)


def _answer(rows: list[dict[str, Any]]) -> str:
    """Say which cell of a model is the fastest of those that keep its quality."""
    own = [row for row in rows if row["ranked"] and row["quality_loss_points"] is not None]
    good = [row for row in own if row["quality_loss_points"] <= QUALITY_POINTS]
    plain = [row for row in own if (row["backend"], row["compression"]) == (REFERENCE_BACKEND, NONE)]
    if not good:
        return ""
    best = min(good, key=lambda row: row["latency_s"])
    against = f", {three_digits(plain[0]['latency_s'] / best['latency_s'])} times as fast" if plain else ""
    return (
        f"- {model_of(best['workload'])}: {code(best['compression'])} on {code(best['backend'])}, "
        f"{_latency(best)}{against}, {format_points(best['quality_loss_points'])} points lost."
    )


def _of_model(rows: list[dict[str, Any]]) -> str:
    """Return the table of a model's cells: compressions by backends."""
    timed = [row["latency_s"] for row in rows if row["ranked"]]
    fastest = min(timed, default=None)
    backends = [backend for backend, _ in groups(rows, "backend")]
    lines = []
    for compression, own in groups(rows, "compression"):
        cells = {row["backend"]: _cell(row, fastest) for row in own}
        lines.append([code(compression), _lost(own), *(cells.get(each, UNKNOWN) for each in backends)])
    title = f"### {model_of(rows[0]['workload'])}, trained by {prose(rows[0]['optimizer'])}"
    return f"{title}\n\n{table(['compression', 'points lost', *map(code, backends)], lines)}"


def _cell(row: Row, fastest: float | None) -> str:
    if row["state"] == "skipped":
        return UNKNOWN
    if row["latency_s"] is None or not row["ranked"]:
        return str(row["state"])
    return f"**{_latency(row)}**" if row["latency_s"] == fastest else _latency(row)


def _latency(row: Row) -> str:
    return format_interval("latency_s", row["latency_s"], row["latency_low_s"], row["latency_high_s"])


def _lost(rows: list[dict[str, Any]]) -> str:
    """Return the points of quality that the cells lost, as a range over backends where they differ."""
    lost = [row["quality_loss_points"] for row in rows if row["quality_loss_points"] is not None]
    if not lost:
        return UNKNOWN
    low, high = format_points(min(lost)), format_points(max(lost))
    return low if low == high else f"{low} to {high}"
