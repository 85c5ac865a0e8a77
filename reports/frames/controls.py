"""What a compression is held against: the recipe that trains as long without the idea of its last step."""

from __future__ import annotations

from collections.abc import Iterator

from techniques.compression import COMPRESSIONS, CompressionRow
from techniques.registry import TechniqueError
from techniques.settings import split

CONTROL = "finetune"
"""What changes nothing, and trains on for as long as a recovery."""

NONE = "none"


def control_of(compression: str, format_: str | None = None) -> str:
    """Return the compression that gets as much training without the last step's idea; its format is kept.

    It has the steps before that one, and the control of its row. It is empty for what trains nothing, `none`
    and a format alone, and for the controls themselves.
    """
    steps = _steps(compression, format_)
    control = _control_of_step(steps[-1]) if steps else ""
    rows = [_row(step) for step in split(control, "+")] if control else []
    # What starts anew has nothing of the steps before it.
    earlier = [] if any(row is not None and row.fresh for row in rows) else steps[:-1]
    formats = [format_] if format_ else []
    return "+".join([*earlier, control, *formats]) if control else ""


def controls(compression: str, format_: str | None = None) -> Iterator[str]:
    """Yield what a compression may be compared with, the best first: few matrices have a control in each.

    Where its own is missing, `finetune` as often as the recipe recovers. Weights that a step leaves rounded
    are not compared with those of `finetune` in full precision, but for a format that rounds both.
    """
    own = control_of(compression, format_)
    if not own:
        return
    ending = f"+{format_}" if format_ else ""
    plain = own.removesuffix(ending)
    yield from (own, plain)
    rows = [_row(step) for step in _steps(compression, format_)]
    budgets = ["recover" if row is None else row.budget for row in rows]
    if "student" in budgets or budgets[-1] != "recover":
        return
    trained = "+".join([CONTROL] * budgets.count("recover"))
    last = _row(split(plain, "+")[-1])
    rounds = last is not None and last.budget == "none"
    if ending:
        yield f"{trained}{ending}"
    if not rounds:
        yield trained


def _steps(compression: str, format_: str | None) -> list[str]:
    steps = split(compression, "+")
    return steps[:-1] if format_ else steps


def _row(step: str) -> CompressionRow | None:
    """Return the row of a step; None of a plug-in's that is not loaded now."""
    return COMPRESSIONS.rows().get(step.partition(":")[0])


def _control_of_step(step: str) -> str:
    """Return the canonical spelling of a step's control, which may be a chain."""
    if step.partition(":")[0] == NONE:
        return ""
    try:
        found = COMPRESSIONS.parse(step)
        control = found.row.control_of(found.settings)
        return "+".join(COMPRESSIONS.parse(part).text for part in split(control, "+")) if control else ""
    except TechniqueError:  # of a plug-in that is not loaded now
        return CONTROL
