"""Who shares a timing: artifacts observed to have one structure; no cell takes another's result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from bench.costs import make_estimator
from bench.costs.timeline import Timeline, now_s
from bench.execution.engines.local import LocalEngine
from bench.execution.job import Job
from bench.execution.resources import find_resources
from bench.execution.runner import run_plan
from bench.matrix.file import Budget
from bench.matrix.reading import read_matrix
from bench.plan.planner import Plan, make_plan
from bench.records import ANY_BATCH, STRUCTURE, Measurement, Request, Result
from bench.results.store import CellRow, StageRow, Store
from reports.frames import inference_table
from reports.frames.view import read
from tests.support.futures import done

RUN = "run-1"
TRAININGS = ("sgd", "adam")
RECIPES = ("none", "prune-mean:1")

Answer = Callable[[Request], Result]


class Simulated:
    """Stands in for worker processes; remembers what was asked of it."""

    alive = True
    end = ""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.ready = done(None)

    def __call__(self, *_: object) -> Simulated:
        return self

    def close(self) -> None: ...

    def submit(self, request: Request) -> Future[Result]:
        self.requests.append(request)
        return done(self.answer(request))

    def timed(self) -> list[str]:
        """Return which artifact each launch of an inference was of."""
        return [request.parents["lowered"] for request in self.requests if request.kind == "infer"]


SCENARIOS = """
[train]
workload = "shakespeare-gpt2"
optimizer = ["sgd", "adam"]
[infer]
compression = ["none", "prune-mean:1"]
backend = "cpu-eager"
batch_size = [1, 2]
[server]
p99_ms = 10
"""


def plan_of(folder: Path, recipes: tuple[str, ...] = RECIPES) -> Plan:
    file = folder / "some.toml"
    file.write_text(
        f'[train]\nworkload = "digits"\noptimizer = {list(TRAININGS)}\n'
        f'[infer]\ncompression = {list(recipes)}\nbackend = "cpu-eager"\n'
    )
    return make_plan(read_matrix(str(file)), cpus=1)


def answers(
    digests: dict[str, str] | None = None, states: dict[str, Result] | None = None, default: str = "dense"
) -> Answer:
    """Answer every request well; `digests` and `states` are by a part of the label, as `adam`."""

    def answer(request: Request) -> Result:
        for part, result in (states or {}).items():
            if part in f"{request.kind} {request.label}":
                return result
        if request.kind == "lower":
            found = [digest for part, digest in (digests or {}).items() if part in request.label]
            digest = [*found, default][0]
            marks = (Measurement(STRUCTURE, 1, method=digest),) if digest else ()
            return Result("ok", measurements=marks)
        return Result("ok", measurements=(Measurement("latency_s", 1.0 + len(request.parents)),))

    return answer


def carry_out(folder: Path, plan: Plan, workers: Simulated) -> Store:
    store = Store.open(folder)
    if RUN not in store.runs()["id"].tolist():
        store.start_run(RUN, "identity", "m", "bench run", {}, list(plan.stages.values()), plan.cells)
    plan = Plan({stage.key: stage for stage in store.stages(RUN)}, tuple(store.cells(RUN)))
    estimator = make_estimator(list(plan.stages.values()), 1, 3, store, folder)
    budget = Budget(max_launches=3, max_repeats=0, target_interval=0.05)
    job = Job(RUN, store, folder, budget, find_resources(None))
    run_plan(job, plan, Timeline(now_s()), estimator, LocalEngine(job.resources, workers))
    return store


def run(folder: Path, answer: Answer, recipes: tuple[str, ...] = RECIPES) -> tuple[Store, Simulated]:
    workers = Simulated(answer)
    return carry_out(folder, plan_of(folder, recipes), workers), workers


def cells_by(store: Store) -> dict[tuple[str, str], CellRow]:
    return {(cell.axes["optimizer"], cell.axes["compression"]): cell for cell in store.cells(RUN)}


def timing(store: Store, cell: CellRow) -> StageRow:
    return next(stage for stage in store.stages(RUN) if stage.key == cell.stages["infer"])


def states_of(store: Store, stage: StageRow) -> list[tuple[str, str]]:
    launches = store.launches(RUN)
    own = launches[launches["stage_key"] == stage.key]
    return list(zip(own["state"], own["reason"], strict=True))


def test_artifacts_of_one_structure_are_timed_once(tmp_path):
    store, workers = run(tmp_path, answers())
    cells = cells_by(store)
    assert {cell.stages["infer"] for cell in cells.values()} == {cells["sgd", "none"].stages["infer"]}
    assert workers.timed() == [cells["sgd", "none"].stages["lower"]] * 3


def test_a_compression_that_says_nothing_of_other_shapes_has_a_timing_of_its_own(tmp_path):
    store, workers = run(tmp_path, answers({"prune-mean": "smaller"}))
    cells = cells_by(store)
    assert cells["sgd", "none"].stages["infer"] == cells["adam", "none"].stages["infer"]
    assert cells["sgd", "prune-mean:1"].stages["infer"] == cells["adam", "prune-mean:1"].stages["infer"]
    timed = {cells["sgd", recipe].stages["lower"] for recipe in RECIPES}
    assert set(workers.timed()) == timed and len(workers.timed()) == 6
    smaller = timing(store, cells["adam", "prune-mean:1"])
    assert smaller.request.parents == {"lowered": cells["sgd", "prune-mean:1"].stages["lower"]}
    assert smaller.label == "digits sgd + prune-mean:1 @ cpu-eager b1"
    assert timing(store, cells["adam", "none"]).label == "digits dense @ cpu-eager b1"


@pytest.mark.parametrize("kind", ("serve", "generate"))
def test_scenarios_are_split_as_timings_are(tmp_path, kind):
    """A generation has batches of its own, so those of artifacts for other batches are one."""

    def answer(request: Request) -> Result:
        result = answers()(request)
        if request.kind != "lower":
            return result
        model = "smaller" if "prune-mean" in request.label else "dense"
        of_batch = f"{model} b{request.settings['batch_size']}"
        digests = {"": of_batch, ANY_BATCH: model}
        marks = (Measurement(STRUCTURE, 1, method=name, qualifier=at) for at, name in digests.items())
        return replace(result, measurements=tuple(marks))

    (tmp_path / "s.toml").write_text(SCENARIOS)
    workers = Simulated(answer)
    plan = make_plan(read_matrix(str(tmp_path / "s.toml")), cpus=1)
    store = carry_out(tmp_path, plan, workers)
    groups: dict[tuple[object, ...], set[str]] = {}
    for cell in store.cells(RUN):
        batch = cell.axes["batch_size"] if kind == "serve" else "any"
        groups.setdefault((cell.axes["compression"], batch), set()).add(str(cell.stages[kind]))
    stages = [stage for of_group in groups.values() for stage in of_group]
    assert all(len(of_group) == 1 for of_group in groups.values()), "both trainings share it"
    assert len(set(stages)) == len(groups) == (4 if kind == "serve" else 2)
    launched = [request.key for request in workers.requests if request.kind == kind]
    assert set(launched) == set(stages)


def test_what_could_not_be_observed_shares_no_timing(tmp_path):
    store, workers = run(tmp_path, answers(default=""), ("none",))
    assert len(set(workers.timed())) == 2
    assert len({cell.stages["infer"] for cell in store.cells(RUN)}) == 2


@pytest.mark.parametrize("diverged", TRAININGS)
def test_a_training_that_diverged_first_or_last_keeps_no_other_from_its_timing(tmp_path, diverged):
    other = next(name for name in TRAININGS if name != diverged)
    nan = {f"train digits {diverged}": Result("diverged", "loss is nan")}
    store, workers = run(tmp_path, answers(states=nan))
    cells = cells_by(store)
    assert workers.timed() == [cells[other, "none"].stages["lower"]] * 3
    good, bad = timing(store, cells[other, "none"]), timing(store, cells[diverged, "none"])
    assert good.label == "digits dense @ cpu-eager b1"
    assert good.key == cells[other, "prune-mean:1"].stages["infer"]
    assert [state for state, _ in states_of(store, good)] == ["ok"] * 3
    ((state, reason),) = states_of(store, bad)
    assert state == "skipped" and "diverged: loss is nan" in reason and diverged in reason


def test_where_all_trainings_fail_each_cell_has_the_reason_of_its_own(tmp_path):
    failed = {f"train digits {name}": Result("failed", f"{name} broke") for name in TRAININGS}
    store, workers = run(tmp_path, answers(states=failed))
    assert workers.timed() == []
    for (training, _), cell in cells_by(store).items():
        ((state, reason),) = states_of(store, timing(store, cell))
        assert state == "skipped" and f"{training} broke" in reason


def test_an_invalid_artifact_is_not_what_others_are_timed_by(tmp_path):
    invalid = Result("ok", measurements=(Measurement("valid", 0.0, reason="too far off"),))
    store, workers = run(tmp_path, answers(states={"evaluate digits sgd @": invalid}), ("none",))
    cells = cells_by(store)
    assert set(workers.timed()) == {cells["adam", "none"].stages["lower"]}
    assert len({cell.stages["infer"] for cell in cells.values()}) == 1


def failing_for(plan: Plan, training: str) -> Answer:
    """Answer as `answers` does, but fail each timing of that training's uncompressed artifact."""
    cell = next(
        cell
        for cell in plan.cells
        if (cell.axes["optimizer"], cell.axes["compression"]) == (training, "none")
    )
    well = answers()

    def answer(request: Request) -> Result:
        if request.kind == "infer" and request.parents["lowered"] == cell.stages["lower"]:
            return Result("failed", "StageError: outputs are not finite")
        return well(request)

    return answer


def test_a_timing_that_fails_for_one_artifact_is_taken_of_the_next(tmp_path):
    plan = plan_of(tmp_path)
    workers = Simulated(failing_for(plan, "sgd"))
    store = carry_out(tmp_path, plan, workers)
    cells = cells_by(store)
    assert [state for state, _ in states_of(store, timing(store, cells["sgd", "none"]))] == ["failed"]
    shared = timing(store, cells["adam", "none"])
    assert shared.key == cells["sgd", "prune-mean:1"].stages["infer"]
    assert [state for state, _ in states_of(store, shared)] == ["ok"] * 3
    assert len(workers.timed()) == 4


def test_a_timing_that_is_invalid_for_one_artifact_is_taken_of_the_next(tmp_path):
    plan = plan_of(tmp_path, ("none",))
    first = next(cell for cell in plan.cells if cell.axes["optimizer"] == "sgd").stages["lower"]
    well = answers()

    def answer(request: Request) -> Result:
        result = well(request)
        if request.kind != "infer" or request.parents["lowered"] != first:
            return result
        return replace(result, measurements=(*result.measurements, Measurement("valid", 0.0)))

    store = carry_out(tmp_path, plan, Simulated(answer))
    cells = cells_by(store)
    assert read(store, RUN).invalid(cells["sgd", "none"].stages["infer"])
    good = timing(store, cells["adam", "none"])
    assert not read(store, RUN).invalid(good.key) and good.label == "digits dense @ cpu-eager b1"
    assert [state for state, _ in states_of(store, good)] == ["ok"] * 3


def seeds(folder: Path) -> Plan:
    file = folder / "seeds.toml"
    file.write_text(
        '[train]\nworkload = "digits"\noptimizer = "adam"\nseed = [0, 1, 2]\n'
        '[infer]\ncompression = "none"\nbackend = "cpu-eager"\n'
    )
    return make_plan(read_matrix(str(file)), cpus=1)


def steps_of(store: Store) -> dict[int, StageRow]:
    stages = {stage.key: stage for stage in store.stages(RUN)}
    return {cell.axes["seed"]: stages[str(cell.stages["step"])] for cell in store.cells(RUN)}


def test_seeds_share_the_time_of_a_step_also_with_one_that_diverged(tmp_path):
    nan = {"train digits adam": Result("diverged", "loss is nan")}  # seed 0: its label names no seed

    def answer(request: Request) -> Result:
        result = answers(states=nan if not request.settings.get("seed") else {})(request)
        return with_structure(request, result, "same")

    store = carry_out(tmp_path, seeds(tmp_path), Simulated(answer))
    assert len({stage.key for stage in steps_of(store).values()}) == 1
    assert steps_of(store)[1].request.settings["seed"] is None


def with_structure(request: Request, result: Result, digest: str) -> Result:
    if request.kind != "train" or result.state != "ok":
        return result
    return replace(result, measurements=(Measurement(STRUCTURE, 1, method=digest),))


def test_a_seed_that_makes_another_model_has_a_step_of_its_own(tmp_path):
    def answer(request: Request) -> Result:
        digest = "odd" if request.settings.get("seed") == 1 else "even"
        return with_structure(request, answers()(request), digest)

    store = carry_out(tmp_path, seeds(tmp_path), Simulated(answer))
    steps = steps_of(store)
    assert steps[0].key == steps[2].key != steps[1].key
    assert steps[1].request.settings["seed"] == 1 and steps[0].request.settings["seed"] in (0, 2)
    assert [state for state, _ in states_of(store, steps[1])] == ["ok"] * 3


def test_an_interrupted_run_makes_the_same_choices_and_repeats_nothing(tmp_path):
    nan = {"train digits sgd": Result("diverged", "loss is nan")}
    well = answers({"prune-mean": "smaller"}, nan)
    (tmp_path / "whole").mkdir()
    whole, reference = run(tmp_path / "whole", well)
    expected = [(cell.name, cell.stages) for cell in whole.cells(RUN)]
    count = len(reference.requests)
    for at in range(1, count, 4):
        folder = tmp_path / f"at{at}"
        folder.mkdir()
        done: list[Request] = []

        def interrupted(request: Request, done: list[Request] = done, at: int = at) -> Result:
            if len(done) == at:
                raise KeyboardInterrupt
            done.append(request)
            return well(request)

        with pytest.raises(KeyboardInterrupt):
            run(folder, interrupted)
        again = Simulated(well)
        store = carry_out(folder, plan_of(folder), again)
        assert [(cell.name, cell.stages) for cell in store.cells(RUN)] == expected
        assert Counter(store.launch_results(RUN)) == Counter(whole.launch_results(RUN))


MATRIX = """
[train]
workload = "digits"
optimizer = ["sgd:lr=1000000", "adam"]
[infer]
compression = ["none", "prune-mean:1", "silent"]
backend = "cpu-eager"
[budget]
train_steps = 12
recover_steps = 1
max_launches = 1
sample_s = 0.02
"""


@pytest.mark.slow
def test_a_run_times_a_silent_compression_apart_and_what_did_not_diverge_at_all(tmp_path, bench, plugins):
    matrix = tmp_path / "s.toml"
    matrix.write_text(MATRIX)
    plugin = plugins / "silent_student.py"
    done = bench("run", "--matrix", matrix, "--plugin", plugin, "--results", tmp_path / "results")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    store = Store.open(tmp_path / "results", create=False)
    run_id = store.find_run(None)
    cells = {(cell.axes["optimizer"], cell.axes["compression"]): cell for cell in store.cells(run_id)}
    timed = {name: str(cell.stages["infer"]) for name, cell in cells.items()}
    assert timed["adam", "none"] == timed["adam", "prune-mean:1"] != timed["adam", "silent"]
    table = inference_table(read(store, run_id)).set_index("cell")
    latencies = table["latency_s"]
    assert set(latencies[latencies.notna()].index) == {
        cell.name for (optimizer, _), cell in cells.items() if optimizer == "adam"
    }
    assert set(table["state"][latencies.isna()]) == {"diverged"}
    labels = {stage.label for stage in store.stages(run_id) if stage.key in set(timed.values())}
    assert {"digits dense @ cpu-eager b1", "digits adam + silent @ cpu-eager b1"} < labels
