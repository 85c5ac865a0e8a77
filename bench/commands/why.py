"""`bench why`: why a compressed cell is not faster than the uncompressed model, or why it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands import RESULTS, Command, Results, RunOption, StoreUrl
from bench.formatting import counted, format_value, print_table, say, three_digits

if TYPE_CHECKING:
    from bench.diagnosis.evidence import Evidence, Served
    from bench.diagnosis.why import Answer

MAX_OPERATORS = 12

_KINDS = {
    "low": "low-precision product",
    "full": "full-precision product",
    "conversion": "conversion",
    "generated": "generated code",
    "call": "call",
    "other": "other",
}


def why(
    cell: Annotated[str, typer.Argument(help="A cell's name, as in `bench show` and the report.")],
    run_id: RunOption = None,
    results: Results = RESULTS,
    store_url: StoreUrl = None,
) -> None:
    """Say why a compressed model is not faster than the uncompressed one on the same backend, or why it is.

    Reads the record only: the operators of both, their operations and bytes, and what this machine can do.
    """
    from bench.diagnosis.why import explain
    from bench.results.lookup import find_cell
    from bench.results.store import Store
    from reports.frames.inference import inference_table
    from reports.frames.view import read, records
    from reports.frames.why import evidence_of, twin_of

    store = Store.open(results, store_url or "", create=False)
    run_id = store.find_run(run_id)
    find_cell(store, run_id, cell)
    view = read(store, run_id)
    store.close()
    rows = records(inference_table(view))
    row = next((entry for entry in rows if entry["cell"] == cell), None)
    if row is None:
        say(f"{cell}: trained only, nothing is served")
        return
    twin = twin_of(row, rows)
    evidence = evidence_of(view, row, twin)
    answer = explain(evidence)
    say(f"{cell}: {_headline(evidence, answer)}")
    say()
    _print_causes(answer)
    if evidence.plain is not None and evidence.own.latency_s is not None:
        _print_sides(evidence)
        _print_operators(evidence)
        if evidence.own.unprofiled:
            say(f"no profile of operators: {evidence.own.unprofiled}")
            return
        if not evidence.own.operators:
            say("no profile of operators is in this record; `bench profile` makes one")
        say(f"operators with a trace: bench profile {cell!r} --beside {str(twin and twin['cell'])!r}")


COMMANDS = (Command("why", "Look", why),)


def _headline(evidence: Evidence, answer: Answer) -> str:
    if evidence.speedup is None or answer.verdict == "unknown":
        return answer.sentence
    bounds = ""
    if evidence.low is not None and evidence.high is not None and evidence.low != evidence.high:
        bounds = f" ({three_digits(evidence.low)} to {three_digits(evidence.high)})"
    launches = f", {counted(evidence.launches, 'launch')}" if not evidence.same_timing else ""
    speed = f"{three_digits(evidence.speedup)}×{bounds} the speed of none{launches}"
    return f"{answer.verdict}, {speed}: {answer.sentence}"


def _print_causes(answer: Answer) -> None:
    rows = [
        (cause.name, f"{100 * min(1.0, cause.share):.0f} %", cause.evidence, cause.sentence)
        for cause in answer.causes
    ]
    if rows:
        print_table("Causes, strongest first", rows, ("cause", "share of time", "evidence", "in words"))


def _print_sides(evidence: Evidence) -> None:
    sides = (evidence.own, evidence.twin)
    rows = [
        ("latency", *(format_value("latency_s", side.latency_s) for side in sides)),
        ("FLOPs", *(format_value("dense_flops", side.operations) for side in sides)),
        ("least bytes moved", *(format_value("least_bytes_moved", side.bytes_moved) for side in sides)),
        ("zero weights", *(f"{100 * side.zeros:.1f} %" for side in sides)),
        ("bound by", *(_bound(side) for side in sides)),
        ("CPUs kept busy", *(_number(side.busy_cpus) for side in sides)),
    ]
    print_table("What both ask of the machine", rows, ("", evidence.compression, "none"))


def _number(value: float | None) -> str:
    return "–" if value is None else three_digits(value)


def _bound(side: Served) -> str:
    if side.point is None or side.point.binds is None:
        return "–"
    share = f", {100 * side.point.share:.0f} % of its ceiling" if side.point.share is not None else ""
    return f"{side.point.binds}{share}"


def _print_operators(evidence: Evidence) -> None:
    """Print the operators of both by their time, those that only one runs included."""
    own = {operator.name: operator for operator in evidence.own.operators}
    plain = {operator.name: operator for operator in evidence.twin.operators}
    if not own and not plain:
        return

    def seconds(name: str) -> float:
        return max(side[name].seconds for side in (own, plain) if name in side)

    names = sorted(own.keys() | plain.keys(), key=lambda name: -seconds(name))
    rows = []
    for name in names[:MAX_OPERATORS]:
        operator = own.get(name) or plain[name]
        times = (
            f"{format_value('latency_s', side[name].seconds)} ({counted(side[name].calls, 'call')})"
            if name in side
            else ""
            for side in (own, plain)
        )
        rows.append((name, _KINDS[operator.kind], *times, operator.layers))
    title = "Operators, time of a call in each under the profiler"
    print_table(title, rows, ("operator", "kind", evidence.compression, "none", "layers"))
    if len(names) > MAX_OPERATORS:
        say(f"and {counted(len(names) - MAX_OPERATORS, 'operator')} more")
