"""The page of every backend, format and precision, from a run of the matrix `backends`."""

from __future__ import annotations

from typing import Any

from bench.formatting import format_value, three_digits
from docs.reference.markdown import code, table
from docs.results.measured import Measured, Row, assemble, groups, model_of
from reports.frames.inference import REFERENCE_BACKEND
from reports.frames.view import records
from techniques.compression import COMPRESSIONS

CSV = "backends.csv"
NO_LAYER = "–"
_FP32 = "fp32"
_TIMING = "timing: "


def page(measured: Measured) -> str:
    """Return the page."""
    rows = records(measured.frames["runtimes"])
    return assemble(
        "Every backend, format and precision",
        measured,
        _introduction(rows),
        f"Intervals, agreement, sizes, load times and memory are in [{CSV}](../examples/{CSV}).",
        _table(rows),
    )


def _introduction(rows: list[dict[str, Any]]) -> str:
    models = "; ".join(
        f"{' and '.join(_latency(row) for row in own)} ({model_of(workload)})"
        for workload, own in groups([row for row in rows if _is_reference(row)], "workload")
    )
    sizes = " and ".join(str(size) for size, _ in groups(rows, "batch_size"))
    wrong = [row for row in rows if row["state"] == "INVALID" and not _is_disturbed(row)]
    disturbed = sum(map(_is_disturbed, rows))
    sentences = [
        f"The table says how many times as fast as eager fp32 each one is, at batch sizes {sizes}. "
        f"Eager fp32 takes {models}. The fastest is bold. **{NO_LAYER}** means that the model has no layer "
        "that the format fits, or the backend no kernel for it.",
        _invalid(wrong),
        f"{disturbed} cells have no valid timing, as other work disturbed each launch: **?**."
        if disturbed
        else "",
    ]
    return " ".join(filter(None, sentences))


def _invalid(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    known = [row["cosine"] for row in rows if row["cosine"] is not None]
    cosines = f" (cosine {three_digits(min(known))} to {three_digits(max(known))})" if known else ""
    count = f"The {len(rows)} INVALID cells give" if len(rows) > 1 else "The INVALID cell gives"
    return f"{count} other answers than the model{cosines}."


def _table(rows: list[dict[str, Any]]) -> str:
    places = [
        (workload, size)
        for workload, own in groups(rows, "workload")
        for size, _ in groups(own, "batch_size")
    ]
    header = ["backend", "format, precision"]
    header += [
        f"{model_of(workload)}, {size}" if number == 0 or places[number - 1][0] != workload else str(size)
        for number, (workload, size) in enumerate(places)
    ]
    lines = []
    for (format_, backend, precision), own in _kinds(rows):
        cells = {(row["workload"], row["batch_size"]): _cell(row) for row in own}
        if any(row["state"] != "skipped" for row in own):
            how = " ".join(filter(None, (format_, precision)))
            lines.append([code(backend), how, *(cells.get(place, NO_LAYER) for place in places)])
    return table(header, lines)


def _kinds(rows: list[dict[str, Any]]) -> list[tuple[tuple[str, str, str], list[dict[str, Any]]]]:
    """Return the rows of each format, backend and precision: no format first, then as the table has them."""
    order = ["", *COMPRESSIONS.rows()]
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["format"] or "", row["backend"], row["precision"]), []).append(row)
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    return sorted(found.items(), key=lambda entry: (order.index(entry[0][0]), backends.index(entry[0][1])))


def _cell(row: Row) -> str:
    if row["state"] == "skipped":
        return NO_LAYER
    if _is_disturbed(row):
        return "?"
    if row["state"] != "ok" or row["speedup"] is None:
        return str(row["state"])
    shown = f"{row['speedup']:.3g}"
    return f"**{shown}**" if row["fastest"] else shown


def _is_reference(row: Row) -> bool:
    return (row["backend"], row["format"] or "", row["precision"]) == (REFERENCE_BACKEND, "", _FP32)


def _is_disturbed(row: Row) -> bool:
    return row["state"] == "INVALID" and str(row["reason"] or "").startswith(_TIMING)


def _latency(row: Row) -> str:
    return format_value("latency_s", row["latency_s"])
