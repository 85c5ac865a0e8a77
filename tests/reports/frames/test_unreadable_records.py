"""A record that cannot be read is a row with its reason, and takes no other record's result."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.commands.show import show
from bench.errors import StoreError
from bench.regression.baseline import save
from bench.regression.verdict import check
from bench.results.store import Store
from reports.frames import inference_table, problems_table
from reports.frames.view import read
from reports.prose.notes import notes
from reports.write import write
from tests.support.synthetic_run import Synthetic, build, key_of

RUN = "20260101-000001-ci"
MADE_UP = Synthetic(optimizers=("adam", "momentum"), compressions=("none",), backends=("onnxruntime",))


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Path]:
    store = build(tmp_path, MADE_UP, run_id=RUN)
    save(store, RUN, "before", tmp_path)
    store.close()
    yield tmp_path


def edit(results: Path, statement: str) -> None:
    connection = sqlite3.connect(results / "bench.sqlite")
    connection.execute(statement)
    connection.commit()
    connection.close()


def one_launch(label: str) -> str:
    key = key_of(label)
    return f"(SELECT id FROM launches WHERE stage_key = '{key}' ORDER BY id LIMIT 1)"


def label_of(results: Path, kind: str, part: str) -> str:
    store = Store.open(results, create=False)
    (label,) = {stage.label for stage in store.stages(RUN) if stage.kind == kind and part in stage.label}
    store.close()
    return label


DAMAGE = {
    "launches.wall_s must be a number": "UPDATE launches SET wall_s = 'long' WHERE id = {launch}",
    "launches.dynamic must be JSON": "UPDATE launches SET dynamic = '{{' WHERE id = {launch}",
    "launches.state has the form 'fine'": "UPDATE launches SET state = 'fine' WHERE id = {launch}",
    "measurements.value must be a number": "UPDATE measurements SET value = 'x' WHERE launch_id = {launch}",
    "measurements.samples must be": "UPDATE measurements SET samples = 'x' WHERE launch_id = {launch}",
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_damaged_record_fails_its_own_stage_alone(results: Path, reason: str) -> None:
    label = label_of(results, "evaluate", "adam")
    edit(results, DAMAGE[reason].format(launch=one_launch(label)))
    store = Store.open(results, create=False)
    view = read(store, RUN)
    problems = problems_table(view)
    row = problems[problems["what"] == label].iloc[0]
    assert row["state"] == "failed" and f"its record cannot be read: {reason}" in row["reason"]
    table = inference_table(view).set_index("optimizer")
    assert table.loc["momentum", "state"] == "ok" and table.loc["momentum", "quality"] > 0.5
    assert table.loc["adam", "quality"] != table.loc["adam", "quality"]
    page = write(store, RUN, results / "report").read_text()
    assert "its record cannot be read" in page and f"{label}: its record" in "\n".join(
        notes(read(store, RUN))
    )
    store.close()


def test_a_stage_with_other_launches_keeps_its_timing_and_the_record_is_named(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = label_of(results, "infer", "")
    edit(results, DAMAGE["launches.wall_s must be a number"].format(launch=one_launch(label)))
    store = Store.open(results, create=False)
    view = read(store, RUN)
    problems = problems_table(view)
    row = problems[problems["what"] == label].iloc[0]
    assert row["state"] == "unreadable" and "launches.wall_s" in row["reason"]
    assert len(view.launch_values(key_of(label), "latency_s")) == 2
    show(store.cells(RUN)[0].name, RUN, results)
    assert "its record cannot be read: launches.wall_s" in capsys.readouterr().out
    notes = check(store, RUN, "before", results).notes
    assert any(f"infer {label} is excluded: its record cannot be read" in note for note in notes)
    store.close()


def test_a_metric_that_this_version_does_not_know_is_named(results: Path) -> None:
    label = label_of(results, "evaluate", "adam")
    edit(
        results,
        "INSERT INTO measurements (launch_id, metric, qualifier, value, method, reason) "
        f"SELECT id, 'of_tomorrow', '', 0.1, '', '' FROM launches WHERE id = {one_launch(label)}",
    )
    store = Store.open(results, create=False)
    view = read(store, RUN)
    problems = problems_table(view)
    row = problems[problems["what"] == label].iloc[0]
    assert row["state"] == "unreadable" and "unknown metric 'of_tomorrow'" in row["reason"]
    assert set(inference_table(view)["state"]) == {"ok"}
    page = write(store, RUN, results / "report").read_text()
    assert "Records that are partly unreadable" in page and "of_tomorrow" in page
    notes = check(store, RUN, "before", results).notes
    assert "not compared, metrics unknown to this version: of_tomorrow" in notes
    store.close()


def test_where_half_of_the_records_cannot_be_read_the_store_is_damaged(results: Path) -> None:
    edit(results, "UPDATE launches SET wall_s = 'long' WHERE id <= (SELECT max(id) FROM launches) / 2 + 1")
    store = Store.open(results, create=False)
    with pytest.raises(StoreError, match=r"damaged: launches\.wall_s"):
        read(store, RUN)
    store.close()
