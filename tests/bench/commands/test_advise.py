"""`bench advise`: an answer that says how sure it is, and what to try where nothing fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.synthetic_run import Synthetic, build

MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "prune-channels:0.5", "int8-static"),
    seeds=(0, 1, 2),
    launches=6,
    request={
        "prices": {"name": "list", "currency": "EUR", "machine_per_hour": 2.0},
        "estimate": {"watts": 20.0},
    },
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("advised")
    build(folder, MADE_UP).close()
    return folder


def test_it_says_the_answer_how_sure_it_is_and_where_its_record_is(command, results):
    done = command("advise", "--max-loss", "1", "--max-latency-ms", "5", "--results", results)
    assert done.returncode == 0, done.stderr
    assert "limits: quality loss <= 1 points, latency <= 5 ms" in done.stdout
    assert "best: int8-static on onnxruntime (fp32), trained with adam" in done.stdout
    assert ", 6 launches" in done.stdout and "0.40 points (" in done.stdout and ", 3 seeds" in done.stdout
    assert "record: bench show 'digits/adam/int8-static@onnxruntime' --run run-1" in done.stdout
    assert "also fit: none on onnxruntime (fp32), none on cpu-eager (fp32)" in done.stdout


def test_it_says_what_a_million_calls_take_and_when_it_pays(command, results):
    done = command("advise", "--max-loss", "3", "--per-million-calls", "--results", results)
    assert "1,000,000 calls of 1 sample:" in done.stdout
    assert (
        "machine hours" in done.stdout
        and "kWh (estimate)" in done.stdout
        and "by the matrix's prices" in done.stdout
    )
    assert "break-even against none on onnxruntime: after " in done.stdout
    assert ", in energy after " in done.stdout and ", in money after " in done.stdout


def test_where_nothing_fits_it_names_the_nearest_the_limit_and_what_to_try(command, results):
    done = command("advise", "--max-loss", "1", "--max-latency-ms", "0.1", "--results", results)
    assert done.returncode == 1
    assert "nothing fits. Nearest:\n  int8-static on onnxruntime (fp32), trained with adam" in done.stdout
    assert "limit <= 0.1 ms" in done.stdout
    assert "without the limit on latency: int8-static on onnxruntime (fp32)" in done.stdout
    assert "not measured yet, formats: " in done.stdout
    assert "next: bench run --matrix standard --workload 'digits'" in done.stdout


def test_json_has_the_same_for_programs(command, results):
    done = command("advise", "--max-loss", "1", "--by", "size", "--json", "--results", results)
    found = json.loads(done.stdout)
    assert found["best"]["name"].startswith("int8-static") and found["best"]["seeds"] == 3
    assert found["best"]["values"]["artifact_bytes"]["value"] == 2e5
    assert found["limits"][0]["metric"] == "quality_loss_points" and found["objective"] == "size"
    assert found["break_even"]["inferences"] == 0.0
    nothing = command("advise", "--limit", "latency_ms <= 0.01", "--json", "--results", results)
    assert nothing.returncode == 1 and json.loads(nothing.stdout)["best"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "latencies"], "--by must be one of latency, size, memory, energy, money, got 'latencies'"),
        (["--limit", "latency_ms < "], "--limit: 'latency_ms < ' must end in a number"),
        (["--limit", "latenzy_ms <= 1"], "--limit: unknown metric 'latenzy_ms'; did you mean"),
        (["--max-loss", "200"], "--max-loss: "),
        (["--workload", "letters"], "--workload: no run has served 'letters'"),
        (["--batch-size", "8"], "--batch-size: digits was measured at 1, not at 8"),
        (["--run", "run-7"], "no run 'run-7'"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(command, results, arguments, message):
    done = command("advise", *arguments, "--results", results)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_names_cannot_act_on_the_terminal(command, tmp_path):
    names = ("\x1b[31mred", "it's';rm", "w" * 300, "=cmd()", "日本")
    build(tmp_path, Synthetic(("adam",), ("none",), ("cpu-eager",), workloads=names)).close()
    for name in names:
        done = command("advise", "--workload", name, "--max-latency-ms", "1e-9", "--results", tmp_path)
        assert done.returncode == 1 and done.stdout.replace("\n", "").isprintable(), done.stdout


def test_the_help_lists_it(command):
    assert "advise " in command("--help").stdout
