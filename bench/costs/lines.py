"""A prediction as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.costs.model import SOURCES
from bench.costs.prediction import KindTotal, Prediction
from bench.formatting import clock_text, counted, format_value


def prediction_text(prediction: Prediction) -> str:
    """Return what is predicted in one line."""
    done = _done_text(prediction.ended, prediction.reused)
    what = f"predicted: {clock_text(prediction.wall_s)}, {_bytes(prediction.disk_bytes)} on disk"
    return what + (f" ({done})" if done else "")


def prediction_lines(prediction: Prediction) -> Iterator[str]:
    """Yield what a prediction goes by, what it excludes, and the total."""
    overhead = clock_text(sum(prediction.overheads.values()))
    size = _bytes(prediction.disk_bytes - prediction.disk["artifacts"])
    yield f"overhead: {overhead} for start, fork servers, store and report, {size} on disk"
    yield f"predicted from: {sources_text(prediction.sources)}"
    if done := _done_text(prediction.ended, prediction.reused):
        yield f"excluded: {done}"
    if prediction.bound_s:
        share = clock_text(prediction.bound_s)
        yield f"upper bound: {share} of it is training, counted with its full budget of steps"
    yield f"estimated time: {clock_text(prediction.wall_s)} from start to end"
    yield f"estimated disk: {_bytes(prediction.disk_bytes)}"


def total_text(total: KindTotal) -> str:
    """Return the predicted cost of a kind of stage: time, launches if there are several, disk space."""
    launches = f"  in {counted(round(total.launches), 'launch')}" if total.launches > total.stages else ""
    size = f"  {_bytes(total.artifact_bytes)}" if total.artifact_bytes else ""
    return f"{clock_text(total.wall_s):>12}{launches}{size}"


def sources_text(sources: Mapping[str, int]) -> str:
    """Say how many stages were predicted from what."""
    known = {name: count for name, count in sources.items() if name in SOURCES}
    named = [f"{counted(count, 'stage')} by {SOURCES[name]}" for name, count in known.items()]  # type: ignore[index]
    return "; ".join(named) or "nothing is left to run"


def _done_text(ended: int, reused: int) -> str:
    parts = [f"{counted(ended, 'stage')} already finished"] if ended else []
    parts += [f"{counted(reused, 'stage')} with reusable artifacts"] if reused else []
    return ", ".join(parts)


def _bytes(size: float) -> str:
    return format_value("artifact_bytes", size)
