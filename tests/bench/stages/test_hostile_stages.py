"""A stage that goes wrong is a record; the matrix goes on, and the runner and the machine live."""

from __future__ import annotations

import pytest

from bench.results.store import Store


@pytest.fixture(scope="module")
def hostile(bench, plugins, tmp_path_factory):
    results = tmp_path_factory.mktemp("hostile")
    done = bench(
        "run",
        "--matrix",
        plugins / "hostile.toml",
        "--plugin",
        plugins / "hostile_workloads.py",
        "--results",
        results,
    )
    store = Store.open(results, create=False)
    run_id = store.find_run(None)
    return done, store, run_id


def launches_of(store: Store, run_id: str, workload: str, kind: str):
    keys = {
        stage.key
        for stage in store.stages(run_id)
        if stage.kind == kind and stage.request.settings["workload"] == workload
    }
    frame = store.launches(run_id)
    return frame[frame["stage_key"].isin(keys)]


@pytest.mark.parametrize(
    ("workload", "state", "reason"),
    [
        ("segfaults", "failed", "SIGSEGV"),
        ("allocates", "oom", "memory"),
        ("hangs", "timeout", "exceeded its timeout of 10 s"),
        ("diverges", "diverged", "loss is"),
        ("behaves", "ok", ""),
    ],
)
def test_each_workload_leaves_a_record_with_the_right_state(hostile, workload, state, reason):
    _, store, run_id = hostile
    launches = launches_of(store, run_id, workload, "train")
    assert list(launches["state"]) == [state]
    assert reason in launches.iloc[0]["reason"]


def test_what_depends_on_a_failed_stage_is_skipped_because_of_it(hostile):
    _, store, run_id = hostile
    for kind in ("lower", "evaluate", "infer"):
        launches = launches_of(store, run_id, "segfaults", kind)
        assert list(launches["state"]) == ["skipped"]
        assert "stage" in launches.iloc[0]["reason"]


def test_the_rest_of_the_matrix_goes_on(hostile):
    _, store, run_id = hostile
    for kind in ("step", "lower", "evaluate", "infer"):
        assert list(launches_of(store, run_id, "behaves", kind)["state"]) == ["ok"]


def test_the_run_ends_with_exit_code_1_and_a_report_that_names_what_failed(hostile):
    done, store, run_id = hostile
    assert done.returncode == 1, done.stderr
    report = (store.path.parent / run_id / "report.md").read_text()
    for state in ("SIGSEGV", "oom", "timeout", "diverged"):
        assert state in report


def test_a_record_keeps_the_last_lines_of_its_output(hostile):
    _, store, run_id = hostile
    (launch,) = launches_of(store, run_id, "diverges", "train").to_dict("records")
    assert "Diverged" in launch["output_tail"]


def test_show_tells_a_failed_stage_with_the_command_that_makes_it_again(bench, hostile):
    _, store, run_id = hostile
    (stage,) = [
        stage for stage in store.stages(run_id) if stage.label.startswith("hangs") and stage.kind == "train"
    ]
    shown = bench("show", stage.key[:12], "--results", store.path.parent).stdout
    assert "timeout" in shown and "reproduce: python -m bench run" in shown
    assert "workload=hangs" in shown and "--plugin" in shown
