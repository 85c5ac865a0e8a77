"""The predicted and the actual cost of a run, as text."""

from __future__ import annotations

from bench.costs import sources_text
from bench.costs.comparison import Compared
from bench.formatting import counted, format_value
from reports.frames.estimate import relative_error
from reports.frames.view import RunView


def estimate_summary(view: RunView) -> str:
    """Return sentences on the whole run, on what the prediction is based on, and on what it excludes."""
    comparison = view.comparison
    if view.smoke:
        return "Predicted vs actual: not compared in a smoke run."
    if comparison is None:
        return "Predicted vs actual: this run recorded no prediction."
    whole = comparison.rows[-1]
    sentences = [f"Predicted vs actual: {_against(whole)}"]
    error, count = comparison.median_error, comparison.compared_stages
    if error is not None:
        sentences.append(f"median stage error {100 * error:.1f} % ({counted(count, 'stage')})")
    if comparison.reused or comparison.ended:
        sentences.append(
            f"excluded from {counted(comparison.stages, 'stage')}: {comparison.reused} reused from other "
            f"runs, {comparison.ended} finished before the run was resumed"
        )
    if comparison.from_start is not None:
        sentences.append(f"over all executions, predicted at the first: {_against(comparison.from_start)}")
    if comparison.bound_s:
        bound = _seconds(comparison.bound_s)
        sentences.append(f"{bound} of the prediction are an upper bound for trainings, which may stop early")
    return (
        f"{'; '.join(sentences)}. Predicted from: {sources_text(comparison.sources)}. "
        "The seconds of a kind are the sum over its stages, also where stages ran in parallel."
    )


def estimate_text(view: RunView) -> str:
    """Return the summary, and a line for each part of the run."""
    rows = view.comparison.rows if view.comparison and not view.smoke else ()
    width = max((len(row.part) for row in rows), default=0)
    return "\n".join([estimate_summary(view), *(f"  {row.part:<{width}}  {_against(row)}" for row in rows)])


def _against(row: Compared) -> str:
    seconds = f"{_seconds(row.predicted_s)} vs {_seconds(row.taken_s)}{_error(row.predicted_s, row.taken_s)}"
    if not row.predicted_bytes and not row.taken_bytes:
        return seconds
    size = f"{_bytes(row.predicted_bytes)} vs {_bytes(row.taken_bytes)}"
    return f"{seconds}, disk {size}{_error(row.predicted_bytes, row.taken_bytes)}"


def _error(predicted: float, taken: float | None) -> str:
    error = relative_error(predicted, taken)
    return "" if error is None else f" ({100 * error:+.1f} %)"


def _seconds(seconds: float | None) -> str:
    return format_value("training_s", seconds)


def _bytes(size: float | None) -> str:
    return format_value("artifact_bytes", size)
