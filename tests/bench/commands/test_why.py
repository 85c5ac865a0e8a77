"""`bench why CELL`: the sentence first, then what it rests on."""

from __future__ import annotations

import pytest

from bench.records import Measurement
from tests.support.synthetic_run import Synthetic, build

PLAIN, INT8 = "digits/adam/none@onnxruntime", "digits/adam/int8-static@onnxruntime"
SLOW_MS = {"QGemm": 0.2, "QuantizeLinear": 0.5, "Softmax": 0.1}


def timed(latency_ms: float, operators: dict[str, float], kernels: str) -> tuple[Measurement, ...]:
    """Return what a launch measures: a latency, and a profile of these operators in milliseconds."""
    return (
        Measurement("latency_s", latency_ms / 1e3, n=500),
        Measurement("kernels", len(operators), method=kernels),
        *(Measurement("operator_s", ms / 1e3, qualifier=name) for name, ms in operators.items()),
        *(Measurement("operator_calls", 2.0, method="/first, /second", qualifier=name) for name in operators),
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    of_int8 = timed(1.0, SLOW_MS, "QGemm int8, Softmax")
    of_none = timed(0.5, {"Gemm": 0.3, "Softmax": 0.1}, "Gemm fp32, Softmax")
    measured = {
        "infer digits/int8-static@onnxruntime": of_int8,
        "infer digits/dense@onnxruntime": of_none,
    }
    build(folder, Synthetic(optimizers=("adam",), measured=measured)).close()
    return folder


def test_the_sentence_comes_first_then_causes_and_operators_of_both(results, command):
    done = command("why", INT8, "--results", results)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"{INT8}: not faster, 0.500× (0.500 to 0.500) the speed of none, 3 launches: ")
    assert "% of the time goes into converting numbers and layouts (QuantizeLinear, QGemm" not in first
    assert "converting numbers and layouts (QuantizeLinear)" in first
    assert "Causes, strongest first" in done.stdout and "conversions" in done.stdout
    operators = done.stdout.split("Operators, time of a call")[1]
    assert all(
        name in operators for name in ("QGemm", "QuantizeLinear", "Gemm", "Softmax", "/first, /second")
    )
    assert f"bench profile {INT8!r}" in done.stdout


def test_zeros_that_share_the_timing_of_none_are_dense(results, command):
    done = command("why", "digits/adam/prune-magnitude:0.5@onnxruntime", "--results", results)
    assert "not faster, 1.00× the speed of none: 50 % of the weights are zero" in done.stdout.splitlines()[0]


def test_the_uncompressed_and_skipped_cells_say_what_they_are(results, command):
    assert "this is the uncompressed model" in command("why", PLAIN, "--results", results).stdout
    skipped = command("why", "digits/adam/int8-static@cpu-eager", "--results", results)
    assert skipped.stdout.strip().endswith("skipped: cpu-eager has no kernel for int8-static")


def test_a_wrong_cell_is_one_line_that_names_the_nearest(results, command):
    done = command("why", "digits/adam/int8-statik@onnxruntime", "--results", results)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and INT8 in done.stderr and "has no cell" in done.stderr


def test_the_report_has_the_sentence_in_a_column(results, tmp_path):
    from bench.results.store import Store
    from reports.write import write

    store = Store.open(results)
    folder = write(store, "run-1", tmp_path).parent
    store.close()
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "converting numbers and layouts (QuantizeLinear)" in text, name
        assert "50 % of the weights are zero" in text, name
    header, *_ = (folder / "tables" / "tradeoff.csv").read_text().splitlines()
    assert header.endswith(",why")
