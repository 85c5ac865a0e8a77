"""The command line: exit codes, one-line mistakes, and what a finished run leaves."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from bench.matrix.shipped import SHIPPED
from bench.results.store import Store

PART = ("run", "--matrix", "ci", "--smoke", "--filter", "optimizer=adam")


@pytest.fixture(scope="module")
def finished(bench, tmp_path_factory):
    """One smoke run of half of ci: real stages, two steps each."""
    results = tmp_path_factory.mktemp("smoke")
    done = bench(*PART, "--results", results)
    assert done.returncode == 0, done.stderr
    return done, results


@pytest.fixture
def own_copy(finished, tmp_path):
    """The folder of that run, for a test that changes it."""
    _, results = finished
    return Path(shutil.copytree(results, tmp_path / "results"))


def test_smoke_executes_every_distinct_stage_once(finished):
    _, results = finished
    store = Store.open(results, create=False)
    run_id = store.find_run(None)
    launched = [key for key, _, state in store.launch_results(run_id) if state == "ok"]
    assert sorted(launched) == sorted(stage.key for stage in store.stages(run_id))


def test_a_run_ends_with_where_its_time_went_and_the_path_of_its_report(finished):
    done, _ = finished
    assert "Overhead outside stages" in done.stdout
    path = done.stdout.strip().splitlines()[-1].removeprefix("report: ")
    assert path.endswith("report.html")
    page = Path(path).read_text()
    assert "<html" in page
    assert "<dd>finished</dd>" in page and "numbers below are incomplete" not in page


def test_a_smoke_run_says_that_its_numbers_mean_nothing_and_ranks_nothing(finished):
    done, results = finished
    page = next(results.glob("*/report.html")).read_text()
    assert "its numbers mean nothing" in page
    assert "its numbers mean nothing" in done.stdout and "latency" not in done.stdout
    assert "Pareto" not in done.stdout and "lowest latency" not in page and "<img" not in page
    assert "median stage error" not in done.stdout


def test_progress_is_plain_lines_where_there_is_no_terminal(finished):
    done, _ = finished
    assert "/17] train digits adam  ok" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_run_logs_who_was_asked_what_and_how_that_ended_and_shows_none_of_it(finished):
    done, results = finished
    (path,) = results.glob("*/run.log")
    log = path.read_text()
    for kind in ("train", "compress", "lower", "evaluate", "step", "infer"):
        assert re.search(
            rf"worker \d+: {kind} .*, key [0-9a-f]{{12}}, launch 1, CPUs [\d,]+, memory \d+ MiB", log
        )
    assert len(re.findall(r"worker \d+ \(pid \d+\): ok after", log)) == len(re.findall(r"worker \d+: ", log))
    assert "bench run --matrix ci" in log and "finished, every stage ok" in log.splitlines()[-1]
    assert "worker" not in done.stderr


def test_a_new_run_reuses_artifacts_and_says_what_it_did_not_measure_again(bench, own_copy):
    results = own_copy
    again = bench(*PART, "-v", "--results", results)
    assert "ok (reused)" in again.stderr
    assert re.search(r"INFO bench.execution.executor: worker \d+: infer digits ", again.stderr)
    store = Store.open(results, create=False)
    assert len(store.runs()) == 2
    run_id = store.find_run(None)
    frame = store.measurements(run_id)
    clocked = frame[(frame["kind"] == "train") & (frame["metric"] == "training_s")]
    assert clocked["value"].isna().all()
    assert clocked["reason"].str.contains("earlier run").all()
    assert (frame[frame["metric"] == "latency_s"]["value"] > 0).all()
    started = bench("report", "20", "--results", results)
    assert started.returncode == 2 and "'20' is ambiguous; runs that begin with it: 20" in started.stderr


def test_a_smoke_run_is_no_baseline(command, finished):
    _, results = finished
    saved = command("baseline", "save", "main", "--results", results)
    assert saved.returncode == 2 and "its numbers cannot be compared" in saved.stderr


def test_show_tells_all_of_a_cell_with_the_command_that_makes_it_again(command, finished):
    _, results = finished
    shown = command("show", "digits/adam/int8-static@onnxruntime", "--results", results).stdout
    for text in (
        "reproduce: python -m bench run --matrix ci",
        "latency_s",
        "top1_agreement",
        "environment",
    ):
        assert text in shown


def test_a_profile_leaves_a_trace_operators_memory_over_time_and_a_roofline_point(bench, own_copy):
    results = own_copy
    done = bench("profile", "digits/adam/none@cpu-eager", "--results", results)
    assert done.returncode == 0, done.stderr
    (trace,) = results.glob("*/profiles/*cpu-eager.json")
    assert json.loads(trace.read_text())["traceEvents"]
    assert "convolution" in done.stdout and "% of peak; bound by" in done.stdout
    timeline = trace.with_suffix(".memory.csv").read_text().splitlines()
    sizes = [int(line.partition(",")[2]) for line in timeline[1:]]
    # What the two convolutions' outputs need at least: 16 and 32 channels of a digit of 8 x 8 and 4 x 4.
    assert timeline[0] == "seconds,bytes" and max(sizes) >= 4 * 16 * 64 and min(sizes) >= 0
    assert trace.with_suffix(".memory.svg").is_file()


def test_a_runtimes_own_memory_is_not_claimed_to_be_known(bench, own_copy):
    results = own_copy
    done = bench("profile", "digits/adam/none@onnxruntime", "--results", results)
    assert done.returncode == 0, done.stderr
    assert "memory timeline: unavailable, this runtime allocates outside PyTorch" in done.stdout


def test_a_compressed_cell_is_profiled_beside_the_uncompressed_one(bench, own_copy):
    cells = [f"digits/adam/{name}@onnxruntime" for name in ("int8-static", "none")]
    done = bench("profile", cells[0], "--beside", cells[1], "--results", own_copy)
    assert done.returncode == 0, done.stderr
    assert len(list(own_copy.glob("*/profiles/*.json"))) == 2 and f"trace of {cells[1]}" in done.stdout
    for text in ("Conv", "QLinearConv", "all operators", "layers"):
        assert text in done.stdout


@pytest.mark.slow
def test_making_a_record_again_makes_its_artifacts_again(bench, own_copy):
    results = own_copy
    shown = bench("show", "digits/adam/int8-static@onnxruntime", "--results", results).stdout
    (words,) = [line.split("-m bench ")[1] for line in shown.splitlines() if line.startswith("reproduce:")]
    again = bench(*shlex.split(words))
    assert again.returncode == 0, again.stderr
    assert "ok (reused)" not in again.stderr
    store = Store.open(results, create=False)
    frame = store.measurements(store.find_run(None))
    assert (frame[frame["metric"] == "training_s"]["value"] > 0).all()


def test_a_skipped_cell_is_shown_with_its_reason_and_no_command(command, finished):
    _, results = finished
    shown = command("show", "digits/adam/int8-static@cpu-eager", "--results", results)
    assert "skipped: cpu-eager has no kernel for int8-static" in shown.stdout
    assert "reproduce:" not in shown.stdout


def test_dry_run_tells_cells_stages_time_and_what_is_skipped_and_runs_nothing(bench, tmp_path):
    done = bench("run", "--matrix", "full", "--dry-run", "--results", tmp_path / "none")
    assert done.returncode == 0
    assert "distinct stages" in done.stdout and "estimated time" in done.stdout
    assert "  have a format that their backend has no kernel for: " in done.stdout
    assert len(done.stdout.splitlines()) <= 50  # a screen, whatever the number of cells
    assert not (tmp_path / "none").exists()


def test_a_dry_run_lists_every_cell_on_request_and_prints_json(bench, tmp_path):
    words = ("run", "--matrix", "quick", "--dry-run", "--results", tmp_path / "none")
    done = bench(*words, "--cells")
    cells = [line for line in done.stdout.splitlines() if "-simplecnn/" in line]
    assert len(cells) == 45
    assert sum("(skipped: cpu-eager has no kernel for int8-static" in line for line in cells) == 3
    found = json.loads(bench(*words, "--json").stdout)
    assert found["cells"] == {"all": 45, "run": 42, "skipped": 3} and "every_cell" not in found
    assert found["axes"]["backend"] == {"cpu-inductor": 15, "onnxruntime": 15, "cpu-eager": 12}
    assert found["stages"]["lower"] == 42 and found["predicted"]["seconds"] > 0
    (group,) = found["skipped"]
    assert group["cells"] == 3 and group["about"] == {"cpu-eager": 3}
    every = json.loads(bench(*words, "--json", "--cells").stdout)["every_cell"]
    assert len(every) == 45 and sum(bool(cell["skipped"]) for cell in every) == 3
    alone = bench("run", "--matrix", "quick", "--cells", "--results", tmp_path / "none")
    assert alone.returncode == 2 and "add --dry-run" in alone.stderr


def test_dry_run_tells_what_auto_leaves_out_of_this_machine(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # no compiler
    monkeypatch.delenv("CXX", raising=False)
    ci = (SHIPPED / "ci.toml").read_text()
    (tmp_path / "mine.toml").write_text(ci.replace('["cpu-eager", "onnxruntime"]', '"auto"'))
    done = bench("run", "--matrix", tmp_path / "mine.toml", "--dry-run", "--results", tmp_path / "none")
    assert done.returncode == 0, done.stderr
    assert 'backend = "auto" leaves out cpu-inductor: requires a C++ compiler' in done.stdout
    assert "onnxruntime " in done.stdout and "cpu-inductor " not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--matrix", "quik"], "did you mean 'quick'?"),
        (["run", "--matrix", "quick", "--filter", "optimizer=adma"], "did you mean 'adam'?"),
        (["run", "--matrix", "quick", "--plugin", "nowhere.py"], "plug-in nowhere.py: no such file"),
        (["run", "--matrix", "quick", "--results", "/proc/results"], "--results"),
        (["run", "--matrix", "quick", "--filter", " "], "--filter must not be empty"),
        (["run", "--matrix", "quick", "--dry-run", "--results", __file__], "is a file; choose a folder"),
        (["run", "--matirx", "quick"], "--matrix"),
        (["check"], "bench check: Missing option '--baseline'; see `bench check --help`"),
        (["clean", "--keep", "-1"], "--keep"),
        (["rnu"], "rnu"),
        (["list", "optimisers"], "did you mean 'optimizers'?"),
        (["report", "--results", "/nowhere"], "no results yet"),
        (["data", "get", "fashon-mnist"], "did you mean 'fashion-mnist'?"),
        (["check", "--baseline", "x", "--results", "/nowhere"], "no results yet"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, arguments, message):
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ("own:x.py", "'x.py' must be package.module:name or file.py:name"),
        ("module:x", "'x' must be package.module:name or file.py:name"),
        ("module:m.py:f:g", "'m.py:f:g' must be package.module:name or file.py:name"),
        ("huggingface:FILE,length=8", "model.bin is not a folder; give the one that save_pretrained wrote"),
        ("onnx:FOLDER", "is not a file, but a folder"),
        ("exported:FOLDER", "is not a file, but a folder"),
        ("onnx:/dev/null", "/dev/null is not a file"),
    ],
)
def test_a_model_that_its_workload_cannot_take_is_refused_before_anything_runs(
    command, tmp_path, workload, message
):
    (tmp_path / "model.bin").write_bytes(b"x")
    workload = workload.replace("FILE", f"{tmp_path}/model.bin").replace("FOLDER", str(tmp_path))
    words = ("--workload", workload, "--dry-run", "--results", tmp_path / "none")
    done = command("run", "--matrix", "quick", *words)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_showing_what_is_not_there_names_the_nearest(command, finished):
    _, results = finished
    done = command("show", "digits/adm/none@onnxruntime", "--results", results)
    assert done.returncode == 2 and "did you mean 'digits/adam/none@onnxruntime'" in done.stderr


def test_the_beginning_of_several_stages_gets_all_of_them(command, finished):
    _, results = finished
    done = command("show", "", "--results", results)
    assert done.returncode == 2 and "is ambiguous; stage keys of run" in done.stderr
    assert "(train digits" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("add('mine', f'{__file__}:bild', about='x')\ndef build(parameters): ...", "did you mean 'build'?"),
        (
            "add('mine', f'{__file__}:x', about='x', default={})",
            "unknown trait 'default'; did you mean 'defau",
        ),
        ("add('mine', 'torch.optim', about='x')", "'torch.optim' must be package.module:name"),
        ("add('adam', 'torch.optim:Adam', about='x')", "optimizer 'adam' is already registered"),
        ("add(1 / 0)", "line 2: ZeroDivisionError: division by zero"),
        ("add('mine', 'x:y', about='x', defaults={'lr': None})", "the default of 'lr' is None"),
        ("add('mine', f'{__file__}:X', about='x')\nX = 3", "must be a function or class"),
        ("rows()\nraise SystemExit(0)", "line 3: SystemExit: 0"),
        (
            "rows()\nfrom techniques.compression import COMPRESSIONS\n"
            "COMPRESSIONS.add('mine', 'x:y', about='x', structure='student:{wdth}')",
            "names an unknown setting: 'wdth'",
        ),
        (
            "rows()\nfrom bench.workloads import WORKLOADS\n"
            "WORKLOADS.add('mine', 'x:y', about='x', batch_size=-1)",
            "batch_size must be an integer of at least 1, got -1",
        ),
    ],
)
def test_a_broken_plug_in_gets_one_line_before_anything_runs(bench, tmp_path, text, message):
    (tmp_path / "mine.py").write_text(f"from techniques.optimizers import OPTIMIZERS\nOPTIMIZERS.{text}\n")
    done = bench("run", "--matrix", "quick", "--dry-run", "--plugin", tmp_path / "mine.py")
    assert done.returncode == 2
    assert message in done.stderr and "mine.py" in done.stderr and "TechniqueError" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
