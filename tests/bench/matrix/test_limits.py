"""Limits of a matrix: what they mean, whose cells they are for, and what a mistake in one gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import MatrixError
from bench.matrix.limits import Limit, parse_limit
from bench.matrix.reading import read_matrix
from bench.metrics import METRICS

TEXT = """
{top}
[train]
workload = ["digits", "diabetes-mlp"]
optimizer = "adam"

[infer]
compression = ["none", "int8-dynamic"]
backend = ["cpu-eager", "onnxruntime"]

{rest}
"""


def written(folder: Path, top: str = "", rest: str = "") -> str:
    path = folder / "mine.toml"
    path.write_text(TEXT.format(top=top, rest=rest))
    return str(path)


@pytest.mark.parametrize(
    ("text", "metric", "sign", "bound"),
    [
        ("latency_p99_ms <= 20", "latency_p99_s", "<=", 0.020),
        ("latency_us<50", "latency_s", "<", 50e-6),
        ("time_to_target_min <= 2", "time_to_target_s", "<=", 120.0),
        ("accuracy >= 0.90", "accuracy", ">=", 0.9),
        ("peak_rss_bytes <= 1.5e9", "peak_rss_bytes", "<=", 1.5e9),
        ("peak_rss_gb <= 1.5", "peak_rss_bytes", "<=", 1.5e9),
        ("artifact_mib <= 2", "artifact_bytes", "<=", 2 * 2**20),
        ("dense_gflops <= 1", "dense_flops", "<=", 1e9),
        ("energy_mj <= 5", "energy_j", "<=", 0.005),
        ("quality_loss_points <= 1", "quality_loss_points", "<=", 1.0),
        (" speedup  >  1.5 ", "speedup", ">", 1.5),
        ("throughput >= 1e3", "throughput", ">=", 1000.0),
    ],
)
def test_a_limit_is_read_in_the_unit_of_its_metric(text, metric, sign, bound):
    limit = parse_limit(text)
    assert (limit.metric, limit.sign) == (metric, sign)
    assert limit.bound == pytest.approx(bound, rel=1e-12)


def test_a_limit_keeps_the_bound_as_it_was_written():
    assert parse_limit("latency_p99_ms <= 20").asks == "<= 20 ms"
    assert parse_limit("peak_rss_bytes <= 1.5e9").asks == "<= 1.5e9 bytes"
    assert parse_limit("accuracy >= 0.90").asks == ">= 0.90"
    assert parse_limit("quality_loss_points <= 1").asks == "<= 1 points"


def test_a_limit_may_say_which_kind_of_stage_it_means():
    assert parse_limit("step.peak_rss_gb <= 2").stage == "step"
    assert parse_limit("peak_rss_gb <= 2").stage == ""
    assert parse_limit("latency_ms <= 2").stage == "infer"


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS.is_built_in(name)])
def test_every_metric_may_have_a_limit(name):
    low, high = METRICS[name].bounds
    bound = max(min(0.5, high), low)
    assert parse_limit(f"{name} <= {bound}").metric == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency_p99_ms 20", "must be METRIC <= NUMBER"),
        ("latency_p99_ms = 20", "must be METRIC <= NUMBER"),
        ("latency_p99_ms == 20", "must be METRIC <= NUMBER"),
        ("latency_p99_ms =< 20", "must be METRIC <= NUMBER"),
        ("latency_p99_ms <<= 20", "must be METRIC <= NUMBER"),
        ("", "must be METRIC <= NUMBER"),
        ("latency_p99_ms <= 20 ms", "must end in a number, got '20 ms'"),
        ("latency_p99_ms <=", "must end in a number, got ''"),
        ("latency_p99_ms <= inf", "must end in a number"),
        ("acuracy >= 0.9", "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ("latency_p99 <= 1", "did you mean 'latency_p99_s'?"),
        ("latency_p99_mb <= 20", "'latency_p99_mb' has a wrong unit; latency_p99_s may end in _s, _ms, _us"),
        ("peak_rss_ms <= 20", "peak_rss_bytes may end in _bytes, _kb"),
        ("server_rate_per_ms >= 1", "unknown metric 'server_rate_per_ms'"),
        ("accuracy >= 90", "accuracy is 0 to 1, got 90"),
        ("stp.peak_rss_bytes <= 1", "unknown kind of stage 'stp'; did you mean 'step'?"),
        ("step.latency_s <= 1", "latency_s is measured by infer, not by step"),
    ],
)
def test_a_wrong_limit_is_refused_in_one_line_that_says_what_would_be_right(tmp_path, text, message):
    with pytest.raises(MatrixError) as caught:
        read_matrix(written(tmp_path, top=f'limits = ["accuracy >= 0.9", {text!r}]'))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'mine.toml'}: limits 1: ") and message in said and "\n" not in said


@pytest.mark.parametrize(
    ("top", "rest"),
    [
        ('limits = ["latency_p99_ms <= 20", "accuracy >= 0.9"]', ""),
        ("", '[limits]\nrequire = ["latency_p99_ms <= 20", "accuracy >= 0.9"]'),
        ("", '[[limits]]\nrequire = ["latency_p99_ms <= 20"]\n[[limits]]\nrequire = ["accuracy >= 0.9"]'),
    ],
)
def test_limits_of_all_cells_are_written_as_a_list_or_as_tables(tmp_path, top, rest):
    matrix = read_matrix(written(tmp_path, top, rest))
    assert [limit.metric for limit in matrix.limits] == ["latency_p99_s", "accuracy"]
    assert all(limit.applies(cell.axes()) for limit in matrix.limits for cell in matrix.cells)


def test_a_table_of_limits_is_for_the_cells_that_it_names_as_a_filter_does(tmp_path):
    where = "workload=digits,backend=onnx*,compression=none|int8*"
    rest = f'[[limits]]\nwhere = "{where}"\nrequire = ["latency_ms <= 2"]'
    matrix = read_matrix(written(tmp_path, rest=rest))
    (limit,) = matrix.limits
    held = {(cell.workload, cell.backend) for cell in matrix.cells if limit.applies(cell.axes())}
    assert held == {("digits", "onnxruntime")}
    assert Limit.from_json(limit.to_json()) == limit


def test_a_limit_of_cells_that_a_filter_leaves_out_is_no_mistake(tmp_path):
    rest = '[[limits]]\nwhere = "workload=digits"\nrequire = ["accuracy >= 0.9"]'
    matrix = read_matrix(written(tmp_path, rest=rest), "workload=diabetes-mlp")
    assert len(matrix.limits) == 1
    assert not any(limit.applies(cell.axes()) for limit in matrix.limits for cell in matrix.cells)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            '[[limits]]\nwhere = "workload=digit"\nrequire = ["accuracy >= 0.9"]',
            "limits 1: where: no cell has workload='digit'; did you mean 'digits'?",
        ),
        ('[[limits]]\nwhere = "worklod=digits"\nrequire = ["accuracy >= 0.9"]', "did you mean 'workload'?"),
        ('[[limits]]\nwere = "workload=digits"\nrequire = []', "limits 1: unknown key 'were'"),
        ('[[limits]]\nwhere = "workload=digits"', "limits 1: 'require' is missing"),
        ("[limits]\nrequire = []", "limits 1: require: must be a list of limits"),
        ('[limits]\nrequire = "accuracy >= 0.9"', "limits 1: require: must be a list of limits"),
        ('[limits]\naccuracy = ">= 0.9"', "limits 1: unknown key 'accuracy'"),
    ],
)
def test_a_wrong_table_of_limits_is_refused_in_one_line(tmp_path, rest, message):
    with pytest.raises(MatrixError) as caught:
        read_matrix(written(tmp_path, rest=rest))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("top", ["limits = 3", 'limits = "accuracy >= 0.9"', "limits = [3]"])
def test_limits_that_are_no_list_say_what_to_write(tmp_path, top):
    with pytest.raises(MatrixError, match=r"limits: must be a list of texts, as .*, or tables, each"):
        read_matrix(written(tmp_path, top=top))
