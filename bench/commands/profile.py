"""`bench profile`: run a cell under its runtime's profiler, apart from all timings."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Plugins, Results, RunOption, StoreUrl, Trust
from bench.formatting import at_least, format_value, print_table, say, three_digits
from bench.plugins import load_plugins
from bench.results.folder import refuse_links
from bench.workloads.trust import trust

if TYPE_CHECKING:
    from bench.analysis.roofline import RooflinePoint
    from techniques.backends.tracing import OperatorTime

CALLS = 20
_MAX_STEM, _MAX_LAYERS = 200, 3
MAX_OPERATORS = 25


@dataclass(frozen=True)
class Profile:
    """The trace file, its operators, slowest first, and the number of calls that it covers.

    `memory` has the bytes of live tensors over the trace, as (seconds, bytes); it is empty if the runtime
    allocates outside PyTorch. `run_id`, `lower` and `infer` say which record it belongs to.
    """

    run_id: str
    lower: str
    infer: str
    trace: Path
    operators: tuple[OperatorTime, ...]
    memory: tuple[tuple[float, int], ...]
    calls: int

    @property
    def timeline(self) -> Path:
        """The CSV file of the memory timeline."""
        return self.trace.with_suffix(".memory.csv")


def profile(
    cell: Annotated[str, typer.Argument(help="A cell's name, as in `bench show` and the report.")],
    beside: Annotated[
        str | None,
        typer.Option("--beside", help="Another cell of the run, shown beside it: its uncompressed one."),
    ] = None,
    run_id: RunOption = None,
    plugin: Plugins = None,
    trusted: Trust = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Profile a cell with its runtime's own profiler: operators by time, and a trace for Perfetto.

    With --beside, another cell is profiled after it, and both are shown in one table, with the layers that
    each operator ran for where the runtime names them. The profile is a pass of its own and never part of a
    timing.
    """
    trust(trusted or ())
    load_plugins(plugin or [])
    profiled = profile_cell(cell, run_id, results, store_url or "")
    if beside is None:
        _print_operators(cell, profiled)
    else:
        other = profile_cell(beside, profiled.run_id, results, store_url or "")
        _print_both((cell, beside), (profiled, other))
        say(f"trace of {beside}: {other.trace}")
    say(f"trace, for ui.perfetto.dev or Chrome: {profiled.trace}")
    _print_memory(cell, profiled)
    _print_roofline(results, store_url or "", profiled)


COMMANDS = (Command("profile", "Measure", profile),)


def _print_operators(cell: str, profiled: Profile) -> None:
    whole = sum(operator.self_s for operator in profiled.operators) or 1.0
    rows = [
        (
            operator.name,
            three_digits(operator.calls / profiled.calls),
            format_value("latency_s", operator.self_s / profiled.calls),
            f"{100 * operator.self_s / whole:.1f} %",
        )
        for operator in profiled.operators[:MAX_OPERATORS]
        if operator.self_s
    ]
    title = f"{cell}: operators by their own time, of {profiled.calls} calls under the profiler"
    print_table(title, rows, ("operator", "calls per call", "time per call", "share"))


def _print_both(cells: tuple[str, str], profiles: tuple[Profile, Profile]) -> None:
    """Print the operators of two cells by their time, each with its layers where the runtime names them."""
    sides = [{each.name: each for each in profiled.operators if each.self_s} for profiled in profiles]

    def slowest_s(name: str) -> float:
        return max(side[name].self_s for side in sides if name in side)

    names = sorted(dict.fromkeys(name for side in sides for name in side), key=lambda name: -slowest_s(name))
    rows = []
    for name in names[:MAX_OPERATORS]:
        own = [side.get(name) for side in sides]
        times = [
            f"{_per_call(each.self_s)} ({three_digits(each.calls / CALLS)})" if each else "" for each in own
        ]
        layers = next((each.layers for each in own if each), ())
        more = [f"and {len(layers) - _MAX_LAYERS} more"] if len(layers) > _MAX_LAYERS else []
        rows.append((name, *times, ", ".join([*layers[:_MAX_LAYERS], *more])))
    whole = [_per_call(sum(each.self_s for each in side.values())) for side in sides]
    rows.append(("all operators", *whole, ""))
    title = f"Operators by their own time, of {CALLS} calls of each under the profiler (calls per call)"
    print_table(title, rows, ("operator", *cells, "layers"))


def _per_call(seconds: float) -> str:
    return format_value("latency_s", seconds / CALLS)


def _print_memory(cell: str, profiled: Profile) -> None:
    if not profiled.memory:
        say("memory timeline: unavailable, this runtime allocates outside PyTorch")
        return
    from reports.plots.timeline import draw_timeline

    figure = profiled.timeline.with_suffix(".svg")
    figure.write_bytes(draw_timeline(cell, profiled.memory, profiled.calls).svg)
    peak = format_value("peak_tensor_bytes", max(size for _, size in profiled.memory))
    say(f"memory timeline: {profiled.timeline} and {figure.name}, {peak} at the peak of the trace")


def _print_roofline(results: Path, store_url: str, profiled: Profile) -> None:
    """Print where the cell's own timing, not the profiler's, lies below this machine's ceilings."""
    from bench.results.store import Store
    from reports.frames.roofline import infer_point
    from reports.frames.view import read

    store = Store.open(results, store_url, create=False)
    point = infer_point(read(store, profiled.run_id), profiled.infer, profiled.lower)
    store.close()
    if point is None:
        say("roofline: unavailable, the run has no timing, FLOP count or ceiling for this cell")
        return
    say(f"roofline: {_roofline(point)}")


def _roofline(point: RooflinePoint) -> str:
    """Describe a point; the numbers of an incomplete count are lower bounds."""
    numbers = (
        format_value("achieved_operations_per_s", point.operations_per_s),
        f"{three_digits(point.operations_per_byte)} operations a byte",
        f"{100 * point.utilization:.1f} %",
    )
    rate, intensity, peak = map(at_least, numbers) if point.incomplete else numbers
    text = f"{rate} at {intensity} (estimated from the minimum bytes moved), {peak} of peak"
    if point.binds is None:
        text += "; its bound is unknown"
    elif point.share is None:
        text += f"; bound by {point.binds}, its ceiling is unknown"
    else:
        share = f"{100 * point.share:.1f} %"
        text += f"; bound by {point.binds}, {at_least(share) if point.incomplete else share} of that ceiling"
    return text + (f"; FLOPs are incomplete: {point.incomplete}" if point.incomplete else "")


def profile_cell(name: str, run_id: str | None, results: Path, store_url: str = "") -> Profile:
    """Run what a cell of a run serves under its runtime's profiler, after a warm-up.

    Raises BenchError where there is no such cell, or its artifact is gone. The trace opens in Perfetto
    (ui.perfetto.dev) and in Chrome.
    """
    from bench.execution.resources import find_resources
    from bench.instruments.clock import warm_up
    from bench.results.lookup import artifact_of, find_cell
    from bench.results.store import Store
    from bench.stages.inputs import rotating_batches
    from bench.stages.served_cell import load_served
    from bench.workloads.loading import example_batch
    from techniques.backends.protocol import sparing_inputs

    store = Store.open(results, store_url, create=False)
    run_id = store.find_run(run_id)
    cell = find_cell(store, run_id, name)
    folder = artifact_of(cell, run_id, results, "lower")
    lower = next(stage for stage in store.stages(run_id) if stage.key == cell.stages["lower"])
    served = load_served(lower.request.settings, folder, len(find_resources().cpus))
    workload, data, batch_size = served.workload, served.data, served.settings.batch_size
    program = sparing_inputs(served.program, example_batch(workload, data, batch_size))
    prepared = [program.prepare(batch) for batch in rotating_batches(workload, data, batch_size)]
    warm_up(lambda: program(prepared[0]), served.backend.synchronize)
    path = results / run_id / "profiles" / f"{_stem(cell.name)}.json"
    refuse_links(results, f"{run_id}/profiles")
    path.parent.mkdir(parents=True, exist_ok=True)
    operators = tuple(program.trace(prepared, CALLS, path))
    memory = tuple(memory_timeline(path))
    keys = (str(cell.stages["lower"]), str(cell.stages["infer"]))
    profile = Profile(run_id, *keys, path, operators, memory, CALLS)
    if memory:
        with profile.timeline.open("w", newline="") as file:
            csv.writer(file).writerows([("seconds", "bytes"), *memory])
    store.close()
    return profile


def _stem(name: str) -> str:
    """Return a cell's name as a file name of at most 255 bytes; a hash replaces what is cut off."""
    stem = name.replace("/", " ")
    return (
        stem if len(stem.encode()) <= _MAX_STEM else f"{stem[:40]} {sha256(name.encode()).hexdigest()[:12]}"
    )


def memory_timeline(trace: Path) -> Iterator[tuple[float, int]]:
    """Yield (seconds since the first, bytes of tensors alive) after each allocation and release in a trace.

    The trace is a Chrome trace of PyTorch's profiler with its memory; another runtime's has no such events.
    Only the CPU's or, where there are any, the GPU's are counted, from what was alive before the trace.
    """
    content = json.loads(trace.read_text())
    listed = content["traceEvents"] if isinstance(content, dict) else content
    events = [event for event in listed if event.get("name") == "[memory]"]
    device = max((event["args"].get("Device Type", 0) for event in events), default=0)
    own = sorted((e for e in events if e["args"].get("Device Type", 0) == device), key=lambda e: e["ts"])
    for event in own:
        yield (event["ts"] - own[0]["ts"]) / 1e6, int(event["args"]["Total Allocated"])
