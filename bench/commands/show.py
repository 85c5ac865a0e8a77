"""`bench show`: every record of one cell or one stage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands import RESULTS, Command, Results, RunOption, StoreUrl
from bench.errors import BenchError
from bench.formatting import at_least, counted, format_value, say, three_digits
from bench.metrics import METRICS, metric_named
from bench.results.repeat import repeat_command
from techniques.registry import first_few, nearest

if TYPE_CHECKING:
    import pandas as pd

    from bench.results.store import CellRow, StageRow, Store

_SHORT_KEY = 12


def show(
    record: Annotated[str, typer.Argument(help="A cell's name, or the beginning of a stage's key.")],
    run_id: RunOption = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Show every record of one cell or stage, and the command that reproduces it."""
    from bench.results.store import Store

    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    METRICS.learn(store.run(run_id)["request"].get("metrics", ()))
    cells = {cell.name: cell for cell in store.cells(run_id)}
    stages = {stage.key: stage for stage in store.stages(run_id)}
    if record in cells:
        cell = cells[record]
        say(f"cell {cell.name} of run {run_id}")
        if cell.axes:
            _print_mapping("axes", cell.axes)
        if cell.skipped:
            say(f"skipped: {cell.skipped}")
            return
        say(_origin(store, run_id, cell, results))
        for key in cell.stages.values():
            say()
            _print_stage(store, run_id, stages[key])
        return
    matching = [stage for key, stage in stages.items() if key.startswith(record)]
    if not matching:
        raise BenchError(f"run {run_id} has no cell or stage key {record!r}{nearest(record, cells)}")
    if len(matching) > 1:
        names = first_few([f"{stage.key[:_SHORT_KEY]} ({stage.kind} {stage.label})" for stage in matching])
        raise BenchError(f"{record!r} is ambiguous; stage keys of run {run_id} that begin with it: {names}")
    stage = matching[0]
    descendants = _descendants(stage.key, stages.values())
    users = [cell for cell in cells.values() if descendants & set(map(str, cell.stages.values()))]
    used_by = f"used by {counted(len(users), 'cell')}: {', '.join(cell.name for cell in users)}"
    say(f"stage of run {run_id}, {used_by if users else 'used by no cell'}")
    if users:
        say(_origin(store, run_id, users[0], results))
    _print_stage(store, run_id, stage)


COMMANDS = (Command("show", "Look", show),)


def _descendants(key: str, stages: Iterable[StageRow]) -> set[str]:
    """Return the keys of a stage and of all that build on it, timings that artifacts share left out."""
    from bench.plan.sharing import shared_by

    found = {key}
    for stage in stages:  # parents first
        if found & set(stage.parents) and not shared_by(stage.kind):
            found.add(stage.key)
    return found


def _origin(store: Store, run_id: str, cell: CellRow, results: Path) -> str:
    """Say how a cell is measured again, or which file it is from."""
    run = store.run(run_id)
    imported = run["request"].get("imported")
    if imported:
        return f"imported: from {imported['file']}, measured by {imported['tool']}"
    return f"reproduce: {repeat_command(run, cell.axes, results, store.url)}"


def _print_stage(store: Store, run_id: str, stage: StageRow) -> None:
    say(f"{stage.kind}: {stage.label}")
    say(f"  key: {stage.key}")
    for parent in stage.parents:
        say(f"  parent: {parent}")
    _print_mapping("settings", stage.request.settings)
    launches = store.launches(run_id)
    measurements = store.measurements(run_id)
    for launch in launches[launches["stage_key"] == stage.key].to_dict("records"):
        environment = f", environment {launch['environment_id']}" if launch["environment_id"] else ""
        reused = ", reused from an earlier run" if launch["reused"] else ""
        say(
            f"  launch {launch['round'] + 1}: {launch['state']}{reused}, body {launch['body_s']:.3f} s of "
            f"{launch['wall_s']:.3f} s{environment}"
        )
        if launch["reason"]:
            say(f"    reason: {launch['reason']}")
        for line in launch["output_tail"].splitlines():
            say(f"    | {line}")
        if launch["disturbed"]:
            say(f"    disturbed: {launch['disturbed']}")
        _print_measurements(measurements[measurements["launch_id"] == launch["id"]])
    for id_, content in store.environments(run_id).items():
        if id_ in set(launches[launches["stage_key"] == stage.key]["environment_id"]):
            _print_mapping(f"environment {id_}", content)


def _print_measurements(measurements: pd.DataFrame) -> None:
    incomplete = _incomplete_counts(measurements)
    for row in measurements.to_dict("records"):
        name = row["metric"] + (f"[{row['qualifier']}]" if row["qualifier"] else "")
        text = format_value(row["metric"], row["value"])
        if row["metric"] in incomplete and row["value"] is not None and row["value"] == row["value"]:
            text = at_least(text)
        if row["low"] == row["low"] and row["low"] is not None:
            text += (
                f"  [{format_value(row['metric'], row['low'])}, {format_value(row['metric'], row['high'])}]"
            )
        notes = [note for note in (row["method"], row["reason"]) if note]
        count = f"n={row['n']:.0f}" if row["n"] == row["n"] and row["n"] is not None else ""
        if metric_named(row["metric"]).curve and row["samples"] is not None:
            text = ", ".join(three_digits(value) for value in row["samples"])
        say(f"    {name}: {text}  {'; '.join([count, *notes] if count else notes)}".rstrip())


def _incomplete_counts(measurements: pd.DataFrame) -> set[str]:
    """Return the FLOP counts of a launch that lack an operator; all, if only the launch itself says so."""
    own = {
        row["metric"]
        for row in measurements.to_dict("records")
        if metric_named(row["metric"]).operations and str(row["reason"]).startswith("incomplete")
    }
    complete = measurements[measurements["metric"] == "flops_complete"]["value"]
    return own or (set(METRICS.operation_counts) if (complete == 0).any() else set())


def _print_mapping(title: str, content: Mapping[str, Any]) -> None:
    say(f"  {title}:")
    for key, value in content.items():
        say(f"    {key}: {value if isinstance(value, str) else json.dumps(value)}")
