"""What a run predicted of itself against what it took, as text."""

from __future__ import annotations

from bench.costs import sources_text
from bench.costs.comparison import Compared
from bench.formatting import format_value
from reports.frames.estimate import relative_error
from reports.frames.view import RunView


def estimate_summary(view: RunView) -> str:
    """Return a sentence on the whole run, and what the prediction went by and did not count."""
    comparison = view.comparison
    if view.smoke:
        return "Predicted against taken: nothing to compare in a smoke run."
    if comparison is None:
        return "Predicted against taken: this run recorded no prediction."
    whole = comparison.rows[-1]
    sentences = [f"Predicted against taken: {_against(whole)}"]
    error, count = comparison.median_error, comparison.compared_stages
    if error is not None:
        sentences.append(f"median error over {count} stages {100 * error:.1f} %")
    if comparison.reused or comparison.ended:
        sentences.append(
            f"not counted, of {comparison.stages} stages: {comparison.reused} reused from other runs, "
            f"{comparison.ended} finished before the run went on"
        )
    if comparison.bound_s:
        bound = _seconds(comparison.bound_s)
        sentences.append(f"{bound} of the prediction were an upper bound of trainings, which may end early")
    return (
        f"{'; '.join(sentences)}. Predicted from: {sources_text(comparison.sources)}. "
        "A kind's seconds are those of its stages added up, whatever ran side by side."
    )


def estimate_text(view: RunView) -> str:
    """Return the summary, and a line for each part of the run."""
    rows = view.comparison.rows if view.comparison and not view.smoke else ()
    width = max((len(row.part) for row in rows), default=0)
    return "\n".join([estimate_summary(view), *(f"  {row.part:<{width}}  {_against(row)}" for row in rows)])


def _against(row: Compared) -> str:
    seconds = (
        f"{_seconds(row.predicted_s)} against {_seconds(row.taken_s)}{_error(row.predicted_s, row.taken_s)}"
    )
    if not row.predicted_bytes and not row.taken_bytes:
        return seconds
    size = f"{_bytes(row.predicted_bytes)} against {_bytes(row.taken_bytes)}"
    return f"{seconds}, disk {size}{_error(row.predicted_bytes, row.taken_bytes)}"


def _error(predicted: float, taken: float | None) -> str:
    error = relative_error(predicted, taken)
    return "" if error is None else f" ({100 * error:+.1f} %)"


def _seconds(seconds: float | None) -> str:
    return format_value("training_s", seconds)


def _bytes(size: float | None) -> str:
    return format_value("artifact_bytes", size)
