"""The overhead of a run, as text: wall time outside its stages."""

from __future__ import annotations

from bench.formatting import format_value
from reports.frames.problems import overhead_table
from reports.frames.view import RunView, records


def overhead_text(view: RunView) -> str:
    """Return a line on the wall time outside stages, and one for each part, largest first."""
    outside = sum(view.overheads.values())
    if not outside:
        return "Overhead outside stages: not recorded yet."
    whole = outside + view.body_s
    share = f"{100 * outside / whole:.1f} % of {_seconds(whole)}; parallel stages count in full"
    lines = [f"Overhead outside stages: {_seconds(outside)} ({share})"]
    parts = records(overhead_table(view))
    width = max(len(part["part"]) for part in parts)
    lines += [
        f"  {part['part']:<{width}}  {_seconds(part['seconds']):>9}  {100 * part['share']:5.1f} %"
        for part in parts
    ]
    return "\n".join(lines)


def _seconds(seconds: float) -> str:
    return format_value("training_s", seconds)
