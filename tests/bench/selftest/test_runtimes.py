"""Launches and the runtimes' own tools are paired by turns; the best of both are held together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import BenchError
from bench.records import PlannedRequest
from bench.results.store import StageRow
from bench.selftest import runtimes
from bench.selftest.harness import Timing, harness_line

CALL_S = {"onnxruntime": 3e-3, "openvino": 2e-3, "executorch": 1e-3}


def stage(backend: str) -> StageRow:
    settings = {"backend": backend, "workload": "net", "batch_size": 1}
    request = PlannedRequest(settings, server_imports=(f"{backend}_module",))
    return StageRow(backend, "infer", f"net @ {backend}", True, (), request)


class Server:
    """Stands in for a fork server."""

    def __init__(self, work: object, results: object, modules: list[str]) -> None:
        assert modules == [f"{backend}_module" for backend in CALL_S]

    def wait_until_ready(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def order(monkeypatch) -> list[str]:
    """Stand in for launches and tools; list what ran, in order."""
    order: list[str] = []

    def launch(stage: StageRow, *_: object) -> Timing:
        order.append(f"our {stage.key}")
        return Timing(CALL_S[stage.key], 1e-4, runtime_s=1.9e-3 if stage.key == "openvino" else None)

    def script(words: list[str]) -> Timing:
        order.append(f"tool of {words[0]}")
        return Timing(CALL_S[words[0]] * 1.25, 1e-4)

    monkeypatch.setattr(runtimes, "run_matrix", lambda *_: None)
    monkeypatch.setattr(runtimes, "_stages", lambda _: {f"net @ {name}": stage(name) for name in CALL_S})
    monkeypatch.setattr(runtimes, "script_of", lambda stage, _: [stage.key])
    monkeypatch.setattr(runtimes, "ForkServerExecutor", Server)
    monkeypatch.setattr(runtimes, "_launch", launch)
    monkeypatch.setattr(runtimes, "run_script", script)
    return order


def test_each_runtime_is_held_against_its_tool_and_the_best_against_the_best(order, tmp_path):
    found = runtimes.measure_runtimes(tmp_path, lambda text: None, rounds=8)
    assert order[:5] == [
        *("our onnxruntime", "tool of onnxruntime", "our openvino", "tool of openvino"),
        "our executorch",  # which brings no tool of its own
    ]
    assert order[5:7] == ["tool of onnxruntime", "our onnxruntime"]
    own_clock = "net @ openvino, by the runtime's clock"
    assert [entry.what for entry in found[:3]] == ["net @ onnxruntime", "net @ openvino", own_clock]
    assert [entry.ratio.value for entry in found[:3]] == pytest.approx([0.8, 0.8, 1.9 / 2.5])
    (best,) = found[3:]
    assert best.what == "best: net @ executorch / tool of net @ openvino"
    assert best.ratio.value == pytest.approx(1 / 2.5) and best.bare_s == pytest.approx(2.5e-3)


def test_rounds_end_where_each_comparison_has_enough_quiet_pairs(order, tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "ENOUGH", 3)
    told: list[str] = []
    found = runtimes.measure_runtimes(tmp_path, told.append)
    assert told[-1] == f"round 3 of {runtimes.ROUNDS} at most; quiet pairs, of 3: net b1 3"
    assert {entry.rounds for entry in found} == {3}


def test_disturbed_rounds_are_not_enough(order, tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "ENOUGH", 3)
    monkeypatch.setattr(runtimes, "_launch", lambda stage, *_: Timing(CALL_S[stage.key], 1e-4, "pressure"))
    found = runtimes.measure_runtimes(tmp_path, lambda text: None, rounds=5)
    assert {(entry.rounds, entry.quiet) for entry in found} == {(5, 0)}
    assert "5 of 5 pairs, none of them quiet" in harness_line(found[0])


def test_a_model_with_enough_quiet_pairs_is_launched_no_more(order, tmp_path, monkeypatch):
    def larger(backend: str) -> StageRow:
        one = stage(backend)
        settings = {**one.request.settings, "batch_size": 32}
        return replace(one, label=f"net @ {backend} b32", request=replace(one.request, settings=settings))

    launch = runtimes._launch

    def disturbed_at_first(stage: StageRow, *rest: object) -> Timing:
        timing = launch(stage, *rest)
        small = stage.request.settings["batch_size"] == 1
        return replace(timing, disturbed="pressure") if small and len(order) < 20 else timing

    both = {row.label: row for name in CALL_S for row in (stage(name), larger(name))}
    monkeypatch.setattr(runtimes, "_stages", lambda _: both)
    monkeypatch.setattr(runtimes, "_launch", disturbed_at_first)
    monkeypatch.setattr(runtimes, "ENOUGH", 2)
    found = runtimes.measure_runtimes(tmp_path, lambda text: None)
    rounds = {entry.what: entry.rounds for entry in found}
    assert (rounds["net @ openvino b32"], rounds["net @ openvino"]) == (2, 4)


def test_a_filter_is_the_runs_and_must_leave_a_tool(order, tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(runtimes, "run_matrix", lambda *words: told.append(words[-1]))
    monkeypatch.setattr(runtimes, "script_of", lambda *_: [])
    monkeypatch.setattr(runtimes, "_stages", lambda _: {"net @ executorch": stage("executorch")})
    with pytest.raises(BenchError, match="keep onnxruntime or openvino"):
        runtimes.measure_runtimes(tmp_path, lambda text: None, "backend=executorch")
    assert told == ["backend=executorch"]


def test_a_failed_round_is_left_out_and_the_others_count(order, tmp_path, monkeypatch):
    launch = runtimes._launch

    def fails_once(stage: StageRow, *rest: object) -> Timing:
        if len(order) == 6:
            order.append("failed")
            raise BenchError("net @ onnxruntime: failed, out of memory")
        return launch(stage, *rest)

    monkeypatch.setattr(runtimes, "_launch", fails_once)
    told: list[str] = []
    found = runtimes.measure_runtimes(tmp_path, told.append, rounds=3)
    assert {entry.rounds for entry in found} == {2}
    assert "round 2 of 3 at most: broken off, net @ onnxruntime: failed, out of memory" in told


def test_no_whole_round_is_one_clear_line(order, tmp_path, monkeypatch):
    def fails(*_: object) -> Timing:
        raise BenchError("the disk is full")

    monkeypatch.setattr(runtimes, "_launch", fails)
    with pytest.raises(BenchError, match="none of 2 rounds was complete"):
        runtimes.measure_runtimes(tmp_path, lambda text: None, rounds=2)


def test_who_interrupts_gets_what_the_rounds_before_say(order, tmp_path, monkeypatch):
    launch = runtimes._launch

    def interrupted(stage: StageRow, *rest: object) -> Timing:
        if len(order) > 12:
            raise KeyboardInterrupt
        return launch(stage, *rest)

    monkeypatch.setattr(runtimes, "_launch", interrupted)
    told: list[str] = []
    found = runtimes.measure_runtimes(tmp_path, told.append)
    assert {entry.rounds for entry in found} == {2} and told[-1].startswith("interrupted")
