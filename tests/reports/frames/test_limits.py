"""What a run is held against: measurements of its stages, derived columns, and cells that have neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.matrix.limits import parse_limit
from bench.records import Measurement, Result
from bench.regression.finding import Comparison, Finding
from reports.content import gather
from reports.frames.limits import limits_of, limits_table
from reports.frames.run import read_frames
from reports.frames.view import read
from reports.write import write
from tests.support.synthetic_run import Synthetic, build


def requested(*texts: str, where: dict[str, list[str]] | None = None) -> dict[str, Any]:
    return {"limits": [parse_limit(text, of=where).to_json() for text in texts]}


def held(folder: Path, *texts: str, where: dict[str, list[str]] | None = None, **made_up: Any) -> Comparison:
    """Return what becomes of limits in a made-up run of adam, uncompressed, on two backends."""
    choices = {"optimizers": ("adam",), "compressions": ("none",), **made_up}
    request = {**requested(*texts, where=where), **choices.pop("request", {})}
    store = build(folder, Synthetic(**choices, request=request))
    view = read(store, "run-1")
    store.close()
    return limits_of(view, read_frames(view))


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {finding.stage: finding.verdict for finding in comparison.findings}


def only(comparison: Comparison) -> Finding:
    (finding,) = comparison.findings
    return finding


def test_each_stage_that_a_limit_applies_to_has_a_verdict(tmp_path):
    found = verdicts(held(tmp_path, "latency_us <= 700"))
    assert found == {
        "infer infer digits/dense@cpu-eager 1": "broken",
        "infer infer digits/dense@onnxruntime 1": "kept",
    }


def test_a_limit_within_the_interval_over_launches_cannot_be_told(tmp_path):
    comparison = held(tmp_path, "latency_us <= 1000", where={"backend": ["cpu-*"]}, launches=6)
    finding = only(comparison)
    assert finding.verdict == "can't tell" and "both sides of the limit <= 1000 us" in finding.text


def test_a_measurement_that_cells_share_is_judged_once(tmp_path):
    comparison = held(tmp_path, "latency_us <= 700", optimizers=("adam", "momentum"))
    assert len(comparison.findings) == 2


def test_quality_is_judged_as_it_was_measured_on_the_test_samples(tmp_path):
    found = held(tmp_path, "accuracy >= 0.94", "accuracy >= 0.95", where={"backend": ["cpu-eager"]})
    assert [finding.verdict for finding in found.findings] == ["kept", "broken"]
    assert found.findings[1].text == "94.00 %, limit >= 0.95"


def test_points_of_quality_lost_are_to_the_uncompressed_model(tmp_path):
    comparison = held(
        tmp_path,
        "quality_loss_points <= 1",
        compressions=("none", "int8-static", "prune-magnitude:0.5"),
        backends=("onnxruntime", "cpu-eager"),
    )
    measured = [finding for finding in comparison.findings if finding.verdict != "not comparable"]
    by_compression = {
        compression: {f.verdict for f in measured if f"/{compression}@" in f.stage}
        for compression in ("none", "int8-static", "prune-magnitude:0.5")
    }
    assert by_compression["none"] == {"kept"}
    assert by_compression["prune-magnitude:0.5"] == {"broken"}  # by 2 points
    assert by_compression["int8-static"] == {"kept"}  # 0.4 points
    skipped = [finding for finding in comparison.findings if finding.verdict == "not comparable"]
    assert [finding.text for finding in skipped] == ["skipped: cpu-eager has no kernel for int8-static"]


def test_a_speedup_has_the_interval_of_its_launches(tmp_path):
    comparison = held(tmp_path, "speedup >= 2", "speedup >= 4", where={"backend": ["onnxruntime"]})
    assert [finding.verdict for finding in comparison.findings] == ["kept", "broken"]
    assert " to " in comparison.findings[0].text


def test_a_training_that_never_reached_its_target_needs_more_than_it_took(tmp_path):
    comparison = held(tmp_path, "steps_to_target <= 700", optimizers=("adam", "sgd"))
    found = {finding.stage.split("/")[1]: finding for finding in comparison.findings}
    assert found["adam"].verdict == "kept"
    assert found["sgd"].verdict == "broken" and found["sgd"].text == "≥ 1,200, limit <= 700"
    open_ = held(tmp_path / "open", "steps_to_target <= 5000", optimizers=("sgd",))
    assert only(open_).verdict == "can't tell"


def test_a_kind_of_stage_may_be_named_where_several_measure_a_metric(tmp_path):
    comparison = held(tmp_path, "peak_rss_mb <= 500", "step.peak_rss_mb <= 500")
    assert Counter((f.stage.split()[0], f.verdict) for f in comparison.findings) == {
        ("infer", "kept"): 2,
        ("step", "broken"): 1,
    }


def test_a_timing_of_too_few_launches_cannot_be_told_but_its_memory_can(tmp_path):
    comparison = held(tmp_path, "latency_s <= 20", "peak_rss_gb <= 1", launches=2)
    assert {(f.metric, f.verdict) for f in comparison.findings} == {
        ("latency_s", "can't tell"),
        ("peak_rss_bytes", "kept"),
    }
    assert "too few launches" in comparison.findings[0].text
    assert comparison.exit_code() == 0 and comparison.exit_code(strict=True) == 3


def test_an_unknown_value_says_why(tmp_path):
    finding = held(tmp_path, "latency_p99_ms <= 20").findings[0]
    assert finding.verdict == "can't tell" and "too few samples" in finding.text


def test_of_a_stage_that_failed_no_limit_can_be_told(tmp_path):
    failed = {"infer": Result("oom", reason="killed at 2 GiB")}
    comparison = held(tmp_path, "latency_ms <= 20", "speedup >= 1", "accuracy >= 0.9", results=failed)
    by_metric = {finding.metric: finding for finding in comparison.findings}
    assert by_metric["latency_s"].text.endswith("cannot be judged: infer oom: killed at 2 GiB")
    assert by_metric["latency_s"].verdict == by_metric["speedup"].verdict == "can't tell"
    assert by_metric["accuracy"].verdict == "kept"
    assert comparison.exit_code(strict=True) == 3 and "clean" not in comparison.summary


def test_an_invalid_cell_keeps_no_limit(tmp_path):
    comparison = held(tmp_path, "accuracy >= 0.9", "latency_ms <= 20", invalid=("adam",))
    assert {finding.verdict for finding in comparison.findings} == {"can't tell"}
    assert all("the cell is INVALID: cosine 0.5" in finding.text for finding in comparison.findings)


def test_a_metric_that_a_cell_does_not_measure_is_not_comparable(tmp_path):
    comparison = held(tmp_path, "server_p99_ms <= 20", "bleu >= 20", "hardware_utilization <= 1")
    assert {(f.verdict, f.text) for f in comparison.findings if f.metric != "hardware_utilization"} == {
        ("not comparable", "not measured of this cell")
    }


def test_utilization_is_the_least_possible_where_the_count_is_incomplete(tmp_path):
    lacking = {"digits/adam": "no formula for aten._fft_r2c"}
    comparison = held(tmp_path, "utilization >= 0.5", "utilization >= 0.001", incomplete=lacking)
    assert {finding.verdict for finding in comparison.findings[:2]} == {"can't tell"}
    assert {finding.verdict for finding in comparison.findings[2:]} == {"kept"}
    assert comparison.findings[0].text.startswith("≥ ")


def test_a_smoke_run_is_not_judged_and_says_so(tmp_path):
    comparison = held(tmp_path, "latency_us <= 1", request={"smoke": True})
    assert not comparison.findings and "smoke" in comparison.notes[0]


def test_each_value_of_a_metric_with_qualifiers_is_judged(tmp_path):
    values = {"a": 0.9, "b": 0.1}
    measured = [Measurement("class_recall", value, qualifier=name) for name, value in values.items()]
    result = Result("ok", measurements=(Measurement("valid", 1.0), *measured))
    comparison = held(
        tmp_path, "class_recall >= 0.5", where={"backend": ["cpu-eager"]}, results={"evaluate": result}
    )
    assert {f.metric: f.verdict for f in comparison.findings} == {
        "class_recall[a]": "kept",
        "class_recall[b]": "broken",
    }


@pytest.fixture
def report(tmp_path: Path) -> Path:
    request = requested("latency_us <= 700", "accuracy >= 0.9")
    store = build(tmp_path / "results", Synthetic(("adam",), ("none",), request=request))
    content = gather(store, "run-1")
    assert content.limits.counts == {"broken": 1, "kept": 3}
    assert any(line == "limits: 1 broken, 3 kept" for line in content.last_lines)
    page = write(store, "run-1", tmp_path / "report")
    store.close()
    return page.parent


def test_the_report_has_the_limits_broken_ones_first(report):
    lines = (report / "tables" / "limits.csv").read_text().splitlines()
    assert lines[0] == "verdict,stage,metric,limit,value,text"
    assert lines[1].startswith("broken,infer infer digits/dense@cpu-eager 1,latency_s,<= 700 us,0.00")
    assert [line.partition(",")[0] for line in lines[1:]] == ["broken", "kept", "kept", "kept"]
    for name in ("report.html", "report.md"):
        text = (report / name).read_text()
        assert "Limits" in text and "limits: 1 broken, 3 kept" in text


def test_a_run_without_limits_has_no_such_table(tmp_path):
    content = gather(build(tmp_path, Synthetic(("adam",), ("none",))), "run-1")
    assert "limits" not in content.frames
    assert not any(line.startswith("limits") for line in content.last_lines)
    assert next(iter(limits_table(content.limits).columns)) == "verdict"
