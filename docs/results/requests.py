"""The page of the matrix `requests`: how many requests for texts each engine serves within bounds."""

from __future__ import annotations

from typing import Any

from bench.formatting import format_interval, format_value, three_digits
from docs.reference.markdown import code, prose, table
from docs.results.measured import Measured, Row, assemble, groups, model_of, not_measured
from reports.frames.view import records
from reports.grids.cell import UNKNOWN

CSV = "requests.csv"

_HEADER = (
    *("engine", "offered", "goodput", "within the bounds", "first token", "99th percentile"),
    *("later tokens", "99th percentile", "in the system"),
)


def page(measured: Measured) -> str:
    """Return the page."""
    rows = records(measured.frames["requests"])
    served = [row for row in rows if row["offered_per_s"] is not None]
    return assemble(
        "Requests for texts that arrive at random",
        measured,
        "Requests arrive as a Poisson process, whether earlier ones have been served or not, so that waiting "
        "counts from when each was due. *Goodput* is the rate of those whose first and later tokens came "
        "within the bounds, with its 95 % interval over launches, each with arrivals of its own. By Little's "
        "law the requests in the system are the rate times the time each stays: a load that misses it by "
        f"more than 2 % is INVALID. [{CSV}](../examples/{CSV}) has all columns. "
        "[Generate text](../guides/generation.md) defines them.",
        *(_of_workload(workload, own) for workload, own in groups(served, "workload")),
        not_measured(
            (_engine(row), prose(str(row["reason"] or row["state"])))
            for row in rows
            if row["offered_per_s"] is None
        ),
    )


def _of_workload(workload: str, rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    bounds = (
        f"Bounds: the first token within {format_value('request_ttft_s', first['ttft_bound_s'])}, later ones "
        f"within {format_value('request_tpot_s', first['tpot_bound_s'])} each."
    )
    return "\n\n".join([f"## {model_of(workload)}", bounds, _best(rows), table(_HEADER, map(_line, rows))])


def _best(rows: list[dict[str, Any]]) -> str:
    """Say which engine serves the highest of the offered rates best."""
    highest = max(row["offered_per_s"] for row in rows)
    judged = [row for row in rows if row["offered_per_s"] == highest and row["state"] == "ok"]
    if not judged:
        return ""
    best = max(judged, key=lambda row: float(row["goodput_per_s"] or 0.0))
    return (
        f"Of {three_digits(highest)} requests a second, {_engine(best)} serves most within the bounds: "
        f"{100 * (best['goodput_share'] or 0.0):.0f} %."
    )


def _line(row: Row) -> list[str]:
    goodput = format_interval("goodput_per_s", row["goodput_per_s"], row["goodput_low"], row["goodput_high"])
    share = UNKNOWN if row["goodput_share"] is None else f"{100 * row['goodput_share']:.0f} %"
    names = ("request_ttft", "request_ttft_p99", "request_tpot", "request_tpot_p99")
    inside = UNKNOWN if row["requests_in_system"] is None else three_digits(row["requests_in_system"])
    invalid = " (INVALID)" if row["state"] == "INVALID" else ""
    return [
        f"{_engine(row)}{invalid}",
        f"{three_digits(row['offered_per_s'])}/s",
        goodput,
        share,
        *(format_value(f"{name}_s", row[f"{name}_s"]) for name in names),
        inside,
    ]


def _engine(row: Row) -> str:
    return f"{code(row['backend'])} in {row['precision']}"
