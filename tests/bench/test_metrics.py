"""The table of metrics is open: plug-ins and packages add rows, and a stored run brings its own."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from bench.metrics import METRICS, Metric, MetricTable
from bench.metrics import table as metric_table
from techniques.registry import TechniqueError

ABOUT = "overlap of the marked pixels with the right ones"


@pytest.fixture
def table() -> MetricTable:
    """Return a table of its own, with this suite's rows."""
    return MetricTable(METRICS[name] for name in METRICS if METRICS.is_built_in(name))


def add_dice(table: MetricTable, **traits: Any) -> Metric:
    return table.add(
        "dice", **{"unit": "share", "better": "higher", "quality": True, "about": ABOUT, **traits}
    )


def test_a_metric_that_was_added_is_a_row_as_any_other(table: MetricTable) -> None:
    row = add_dice(table)
    assert table["dice"] is row and "dice" in table and table.get("dice") in table.values()
    assert (row.label, row.kind, row.stage, row.bounds) == ("dice", "seeded", "any", (0.0, 1.0))
    assert table.qualities[-1] == "dice" and table.added() == [row]
    assert len(table) == len(list(table))


def test_adding_the_same_row_again_does_nothing_and_another_of_its_name_is_one_line(
    table: MetricTable,
) -> None:
    assert add_dice(table) == add_dice(table)
    for taken, message in (
        (lambda: add_dice(table, better="lower"), f"metric 'dice' is already registered: {ABOUT}"),
        (
            lambda: table.add("accuracy", about="mine"),
            "metric 'accuracy' is already registered: share of test",
        ),
    ):
        with pytest.raises(TechniqueError, match=message):
            taken()
    assert table["dice"].better == "higher"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"direction": "higher"}, "unknown field 'direction'"),
        ({"betters": "higher"}, "did you mean 'better'"),
        ({"better": "up"}, "better must be lower, higher, neither, got 'up'"),
        ({"kind": "random"}, "kind must be exact, seeded, sampled"),
        ({"label": "x" * 61}, "label must be one line of at most 60 characters"),
        ({"label": "two\nlines"}, "label must be one line"),
        ({"unit": 3}, "unit must be one line"),
        ({"low": "0"}, "low must be a number"),
        ({"low": 1, "high": 1}, "low must be less than high"),
        ({"low": math.nan}, "low must be less than high"),
        ({"quality": 1}, "quality must be True or False"),
    ],
)
def test_a_field_that_is_wrong_is_one_line(table: MetricTable, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TechniqueError, match=rf"^metric 'dice': [^\n]*{message}[^\n]*$"):
        add_dice(table, **wrong)
    assert "dice" not in table


@pytest.mark.parametrize("name", ["", "Dice", "my metric", "dice[0]", "9lives", "_x", "d" * 65, 3, None])
def test_a_name_that_is_no_column_is_one_line(table: MetricTable, name: Any) -> None:
    with pytest.raises(TechniqueError, match="a name has only a-z, 0-9 and '_'"):
        table.add(name, about="x")


def test_a_package_adds_metrics_by_its_entry_point_once_a_name_is_unknown(
    table: MetricTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def entry_points(group: str) -> list[SimpleNamespace]:
        asked.append(group)
        return [SimpleNamespace(load=lambda: add_dice)]

    monkeypatch.setattr(metric_table, "entry_points", entry_points)
    assert table["accuracy"].quality and not asked
    assert table["dice"].about == ABOUT and "unheard_of" not in table
    assert asked == ["bench.metrics"]


def test_what_a_stored_run_brings_is_known_and_never_replaces_a_row(table: MetricTable) -> None:
    row = add_dice(MetricTable([]))
    other = {**table["accuracy"].to_json(), "better": "lower"}
    table.learn([row.to_json(), other])
    assert table["dice"] == row.from_json(row.to_json()) and table["accuracy"].better == "higher"
    assert table.added() == []  # they are of that run, not of this process
    table.learn([{**row.to_json(), "label": "of another run"}])
    assert table["dice"].label == "of another run"
    assert add_dice(table).label == "dice" == table["dice"].label


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS.is_built_in(name)])
def test_every_row_is_right_and_survives_json(name: str) -> None:
    row = METRICS[name]
    row.check()
    again = row.from_json(json.loads(json.dumps(row.to_json(), allow_nan=False)) | {"of_later": 1})
    assert again.bounds == row.bounds and again.to_json() == row.to_json()
