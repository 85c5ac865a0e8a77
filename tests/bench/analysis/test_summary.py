"""From launches to one value: what was disturbed is set aside where something else tells the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.analysis import summary
from bench.analysis.summary import numbered, summarize
from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import CellRow, StageRow, Store

STAGE = StageRow("0" * 64, "infer", "dense", True, (), PlannedRequest())


@pytest.fixture
def store(tmp_path: Path):
    store = Store.open(tmp_path)
    store.start_run("run-1", "identity", "m", "bench run", {}, [STAGE], [CellRow("one", {}, {}, "")])
    yield store
    store.close()


def launch(store: Store, round_: int, latency_s: float, disturbed: str = "", *others: Measurement) -> None:
    measurements = (Measurement("latency_s", latency_s), *others)
    dynamic = {"disturbed": disturbed, "load_1min": 1.0}
    store.add_launch("run-1", STAGE, round_, Result("ok", measurements=measurements, dynamic=dynamic))


def test_a_disturbed_launch_is_set_aside_but_what_only_it_measured_is_kept(store):
    launch(store, 0, 8.0, "pressure", Measurement("peak_tensor_bytes", 64.0))
    for round_ in range(3):
        launch(store, round_, 1.0)
    rows = summarize(store.measurements("run-1")).set_index("metric")
    assert (rows.loc["latency_s", "value"], rows.loc["latency_s", "launches"]) == (1.0, 3)
    assert rows.loc["peak_tensor_bytes", "value"] == 64
    assert store.launch_values("run-1", STAGE.key, "latency_s") == [1.0, 1.0, 1.0]
    assert len(store.launches("run-1")) == 4


def test_where_every_launch_was_disturbed_all_count(store):
    for round_, latency_s in enumerate((2.0, 4.0, 8.0)):
        launch(store, round_, latency_s, "pressure")
    rows = summarize(store.measurements("run-1")).set_index("metric")
    assert rows.loc["latency_s", "value"] == pytest.approx(4)
    assert store.launch_values("run-1", STAGE.key, "latency_s") == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("largest", [2**62, 4], ids=["at once", "again and again"])
def test_groups_are_numbered_in_the_order_they_come(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_LARGEST", largest)
    frame = pd.DataFrame(
        {
            "name": ["b", "a", "b", None, "a", None],
            "size": [1, 1, 1, 2, 2, 2],
            "value": [0.5, None, 0.5, None, None, None],
        }
    )
    group, count = numbered(frame, ["name", "size", "value"])
    assert group.tolist() == [0, 1, 0, 2, 3, 2] and count == 4
    categories = frame.astype({"name": "category"})
    assert numbered(categories, ["name", "size", "value"])[0].tolist() == group.tolist()
    nothing, none = numbered(frame.iloc[:0], ["name"])
    assert nothing.tolist() == [] and none == 0
