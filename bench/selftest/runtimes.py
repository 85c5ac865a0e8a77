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
from bench.execution.executor import ForkServerExecutor
from bench.execution.job import request_of
from bench.execution.resources import find_resources
from bench.matrix.file import Budget
from bench.results.folder import WORK
from bench.results.store import StageRow, Store
from bench.selftest.harness import SERVED, HarnessCost, Timing, cost, run_matrix, run_script, script_of

ROUNDS = 64
ENOUGH = 20
"""Pairs that nothing disturbed: a model at a batch size where each comparison has as many is done."""

MATRIX = Path(__file__).parent / "runtimes.toml"
_TIMEOUT_S = 600
_TELLS_OWN_CLOCK = ("openvino",)

_Round = Mapping[str, Timing]


def measure_runtimes(
    results: Path, say: Callable[[str], None], filter_text: str = "", rounds: int = ROUNDS
) -> list[HarnessCost]:
    """Return each runtime's cost in the suite over its own tool, and the best of ours over the best tool.

    `filter_text` keeps some of the models, runtimes and batch sizes, as that of `bench run` does. A round
    in which a launch or a tool fails is told and left out; raises BenchError where none is whole. Who
    interrupts it gets what the rounds made so far say.
    """
    say("trains, lowers and evaluates the models first: 5 to 10 minutes for all three")
    run_matrix(results, MATRIX, filter_text)
    cases = [case for stages in _cases(_stages(results)) if (case := _Case(stages, results)).scripts]
    if not cases:
        raise BenchError("no remaining runtime has its own benchmark tool: keep onnxruntime or openvino")
    for number in range(rounds):
        waiting = [case for case in cases if case.quiet < ENOUGH]
        if not waiting:
            break
        try:
            _round(waiting, results, theirs_first=bool(number % 2))
        except BenchError as error:
            say(f"round {number + 1} of {rounds} at most: broken off, {error}")
        except KeyboardInterrupt:
            if not any(case.pairs for case in cases):
                raise
            say("interrupted: what follows is of the rounds before")
            break
        else:
            quiet = ", ".join(f"{case.name} {case.quiet}" for case in waiting)
            say(f"round {number + 1} of {rounds} at most; quiet pairs, of {ENOUGH}: {quiet}")
    found = [each for case in cases for each in case.judge()]
    if not found:
        raise BenchError(f"none of {rounds} rounds was complete: the lines above say why")
    return found


class _Case:
    """One model at one batch size on all runtimes, and its pairs."""

    def __init__(self, stages: Sequence[StageRow], results: Path) -> None:
        settings = stages[0].request.settings
        self.name = f"{settings['workload']} b{settings['batch_size']}"
        self.stages = {stage.label: stage for stage in stages}
        self.scripts = {
            stage.label: script_of(stage, results)
            for stage in stages
            if stage.request.settings["backend"] in SERVED
        }
        self.pairs: list[tuple[_Round, _Round]] = []

    @property
    def quiet(self) -> int:
        """Return how many pairs nothing disturbed, where they are fewest."""
        return min((each.quiet for each in self.judge()), default=0)

    def judge(self) -> Iterator[HarnessCost]:
        """Yield each runtime over its tool, and the best of ours over the best tool, once a round is made."""
        if not self.pairs:
            return
        for label in self.scripts:
            yield from _compare(label, label, label, self.pairs)
        ours_best = min(self.stages, key=lambda label: median(ours[label].call_s for ours, _ in self.pairs))
        theirs_best = min(
            self.scripts, key=lambda label: median(theirs[label].call_s for _, theirs in self.pairs)
        )
        yield from _compare(f"best: {ours_best} / tool of {theirs_best}", ours_best, theirs_best, self.pairs)


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


def _cases(stages: Mapping[str, StageRow]) -> list[list[StageRow]]:
    """Return the stages that serve one model at one batch size, for each of these."""
    cases: dict[tuple[str, int], list[StageRow]] = defaultdict(list)
    for stage in stages.values():
        settings = stage.request.settings
        cases[settings["workload"], settings["batch_size"]].append(stage)
    return list(cases.values())


def _round(cases: Sequence[_Case], results: Path, *, theirs_first: bool) -> None:
    """Launch each stage and its tool side by side, from a fork server of the round's own."""
    modules = dict.fromkeys(
        name for case in cases for stage in case.stages.values() for name in stage.request.server_imports
    )
    executor = ForkServerExecutor(results / WORK, results, list(modules))
    executor.wait_until_ready()
    try:
        for case in cases:
            case.pairs.append(_pairs_of(case, results, executor, theirs_first=theirs_first))
    finally:
        executor.close()


def _pairs_of(
    case: _Case, results: Path, executor: ForkServerExecutor, *, theirs_first: bool
) -> tuple[_Round, _Round]:
    ours: dict[str, Timing] = {}
    theirs: dict[str, Timing] = {}
    for label, stage in case.stages.items():
        if theirs_first and label in case.scripts:
            theirs[label] = _run_tool(stage, case.scripts[label])
        ours[label] = _launch(stage, results, executor)
        if not theirs_first and label in case.scripts:
            theirs[label] = _run_tool(stage, case.scripts[label])
    return ours, theirs


def _run_tool(stage: StageRow, script: Sequence[str]) -> Timing:
    told = run_script(script)
    own_clock = stage.request.settings["backend"] in _TELLS_OWN_CLOCK
    return replace(told, runtime_s=told.call_s) if own_clock else told


def _launch(stage: StageRow, results: Path, executor: ForkServerExecutor) -> Timing:
    """Launch a stage as a run does; raises BenchError where that does not end well."""
    resources = find_resources()
    budget = Budget(timeout_s=_TIMEOUT_S)
    request = request_of(stage, 1, resources.cpus, results=results, resources=resources, budget=budget)
    result = executor.submit(request).result()
    if result.state != "ok":
        raise BenchError(f"{stage.label}: {result.state}, {result.reason}")
    told = {entry.metric: entry.value for entry in result.measurements}
    call_s, reference_s = told["latency_s"], told["reference_s"]
    if call_s is None or reference_s is None:
        raise BenchError(f"{stage.label}: a launch gave no latency")
    return Timing(call_s, reference_s, str(result.dynamic.get("disturbed", "")), told.get("runtime_s"))
