"""Our launches of three models on the CPU's runtimes against the runtimes' own tools, paired by turns.

ONNX Runtime's is a bare loop over a session, OpenVINO's its `benchmark_app`; ExecuTorch brings none.
Precision, threads, shape and data are the same. Ours are timed around the call from Python, as a user would
have it, and so is the bare loop; `benchmark_app` tells OpenVINO's own clock, inside the call. So launches of
OpenVINO are held against it twice: as a user has them, and by that same clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.errors import BenchError
from bench.executor import ForkServerExecutor
from bench.records import Request
from bench.resources import find_resources
from bench.results_folder import WORK
from bench.selftest.harness import SERVED, HarnessCost, Timing, cost, run_matrix, run_script, script_of
from bench.store import StageRow, Store

ROUNDS = 32
ENOUGH = 20
"""Pairs that nothing disturbed: no more rounds are made where each comparison has as many."""

MATRIX = Path(__file__).parent / "runtimes.toml"
_TIMEOUT_S = 600
_TELLS_OWN_CLOCK = ("openvino",)

_Round = Mapping[str, Timing]


def measure_runtimes(results: Path, say: Callable[[str], None], rounds: int = ROUNDS) -> list[HarnessCost]:
    """Return each runtime's cost in the suite over its own tool, and the best of ours over the best tool."""
    run_matrix(results, MATRIX)
    stages = _stages(results)
    scripts = {
        label: script_of(stage, results)
        for label, stage in stages.items()
        if stage.request["settings"]["backend"] in SERVED
    }
    cases = [(labels, [label for label in labels if label in scripts]) for labels in _cases(stages)]
    pairs: list[tuple[_Round, _Round]] = []
    found: list[HarnessCost] = []
    for number in range(rounds):
        pairs.append(_round(stages, scripts, results, theirs_first=bool(number % 2)))
        found = [each for labels, with_tool in cases for each in _judge(labels, with_tool, pairs)]
        quiet = min(each.quiet for each in found)
        say(f"round {number + 1} of {rounds} at most: {quiet} of {ENOUGH} quiet pairs")
        if quiet >= ENOUGH:
            break
    return found


def _judge(
    labels: Sequence[str], with_tool: Sequence[str], pairs: Sequence[tuple[_Round, _Round]]
) -> Iterator[HarnessCost]:
    for label in with_tool:
        yield from _compare(label, label, label, pairs)
    ours_best = min(labels, key=lambda label: median(ours[label].call_s for ours, _ in pairs))
    theirs_best = min(with_tool, key=lambda label: median(theirs[label].call_s for _, theirs in pairs))
    yield from _compare(f"best: {ours_best} / tool of {theirs_best}", ours_best, theirs_best, pairs)


def _compare(
    name: str, ours: str, theirs: str, pairs: Sequence[tuple[_Round, _Round]]
) -> Iterator[HarnessCost]:
    """Yield a comparison, and where the tool tells the runtime's own clock, another by that on both sides."""
    chosen = [(our_round[ours], their_round[theirs]) for our_round, their_round in pairs]
    yield cost(name, chosen)
    inside = [
        (replace(our, call_s=our.runtime_s), replace(their, call_s=their.runtime_s))
        for our, their in chosen
        if our.runtime_s is not None and their.runtime_s is not None
    ]
    if inside:
        yield cost(f"{name}, by the runtime's clock", inside)


def _stages(results: Path) -> dict[str, StageRow]:
    """Return the latest run's inferences by label."""
    store = Store.open(results, create=False)
    found = store.stages(store.find_run(None))
    store.close()
    return {stage.label: stage for stage in found if stage.kind == "infer"}


def _cases(stages: Mapping[str, StageRow]) -> list[list[str]]:
    """Return the labels that serve one model at one batch size, for each of these."""
    cases: dict[tuple[str, int], list[str]] = defaultdict(list)
    for label, stage in stages.items():
        settings = stage.request["settings"]
        cases[settings["workload"], settings["batch_size"]].append(label)
    return list(cases.values())


def _round(
    stages: Mapping[str, StageRow], scripts: Mapping[str, Sequence[str]], results: Path, *, theirs_first: bool
) -> tuple[_Round, _Round]:
    """Launch each stage and its tool side by side, from a fork server of the round's own."""
    ours: dict[str, Timing] = {}
    theirs: dict[str, Timing] = {}
    modules = dict.fromkeys(name for stage in stages.values() for name in stage.request["server_imports"])
    executor = ForkServerExecutor(results / WORK, results, list(modules))
    executor.wait_until_ready()
    try:
        for label, stage in stages.items():
            if theirs_first and label in scripts:
                theirs[label] = _run_tool(stage, scripts[label])
            ours[label] = _launch(stage, results, executor)
            if not theirs_first and label in scripts:
                theirs[label] = _run_tool(stage, scripts[label])
    finally:
        executor.close()
    return ours, theirs


def _run_tool(stage: StageRow, script: Sequence[str]) -> Timing:
    told = run_script(script)
    own_clock = stage.request["settings"]["backend"] in _TELLS_OWN_CLOCK
    return replace(told, runtime_s=told.call_s) if own_clock else told


def _launch(stage: StageRow, results: Path, executor: ForkServerExecutor) -> Timing:
    """Launch a stage as a run does; raises BenchError where that does not end well."""
    resources = find_resources()
    request = Request.planned(
        stage.kind,
        stage.key,
        stage.label,
        stage.request,
        plugins={},
        results=str(results),
        run_id="",
        round=1,
        threads=len(resources.cpus),
        cpus=resources.cpus,
        memory_bytes=resources.memory_bytes,
        timeout_s=_TIMEOUT_S,
    )
    result = executor.submit(request).result()
    if result.state != "ok":
        raise BenchError(f"{stage.label}: {result.state}, {result.reason}")
    told = {entry.metric: entry.value for entry in result.measurements}
    call_s, reference_s = told["latency_s"], told["reference_s"]
    if call_s is None or reference_s is None:
        raise BenchError(f"{stage.label}: a launch gave no latency")
    return Timing(call_s, reference_s, str(result.dynamic.get("disturbed", "")), told.get("runtime_s"))
