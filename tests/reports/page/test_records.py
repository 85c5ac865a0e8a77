"""What opens from a point of the page: samples of each launch, texts that say where they were cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.records import Measurement, Result
from reports.content import gather
from reports.page import records
from tests.support.synthetic_run import Synthetic, build, key_of

LABEL = "infer digits/dense@cpu-eager 1"
CALLS = tuple(1e-3 + 1e-6 * number for number in range(100))
SAMPLED = {LABEL: (Measurement("latency_s", 1.05e-3, n=100, samples=CALLS),)}


def data_of(folder: Path, label: str, made_up: Synthetic) -> tuple[dict[str, Any], list[str]]:
    """Return the record of a stage as the page has it, and the texts that it names."""
    store = build(folder, made_up)
    content = gather(store, "run-1", figures=False)
    store.close()
    key = key_of(label)[: records.SHORT_KEY]
    data = records.records_data(content.view, content.frames["tradeoff"], {key})
    return data["stages"][key], data["texts"]


def test_samples_are_picked_evenly_in_their_order(tmp_path: Path) -> None:
    record, _ = data_of(tmp_path, LABEL, Synthetic(("adam",), ("none",), measured=SAMPLED))
    assert record["of"] == [100, 100, 100] and len(record["samples"]) == len(record["values"]) == 3
    picked = record["samples"][0]
    assert len(picked) == 24 and picked == sorted(picked)
    # The middles of 24 even parts: from the 2nd to the 98th percentile.
    assert picked[0] == pytest.approx(1e-3 + 99e-6 / 48, rel=1e-3)
    assert picked[-1] == pytest.approx(1e-3 + 99e-6 * 47 / 48, rel=1e-3)


def test_a_page_without_room_has_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_SAMPLES_OF_PAGE", 10)
    record, _ = data_of(tmp_path, LABEL, Synthetic(("adam",), ("none",), measured=SAMPLED))
    assert "samples" not in record and len(record["values"]) == 3


def test_a_text_that_is_cut_says_so(tmp_path: Path) -> None:
    label = "infer digits/dense@onnxruntime 1"
    failed = {label: Result("failed", reason="x" * 5000)}
    record, texts = data_of(tmp_path, label, Synthetic(("adam",), ("none",), results=failed))
    assert texts[record["reason"]].endswith("x…") and len(texts[record["reason"]]) == 1000
