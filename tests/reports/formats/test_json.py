"""`report.json` holds what the report says and the numbers of its tables, with their units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.formats.json import _table_text
from reports.frames.run import read_frames
from reports.frames.view import RunView, records


@pytest.fixture(scope="module")
def document(report: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((report / "report.json").read_text(), parse_constant=refuse)  # type: ignore[no-any-return]


def test_it_says_what_the_page_says(document: dict[str, Any], report: Path) -> None:
    page = (report / "report.md").read_text().replace("\\", "")
    assert document["title"] in page
    assert document["verdict"] and all(
        sentence.replace("<", "&lt;") in page for sentence in document["verdict"]
    )
    assert document["answers"] and all(answer["question"] in page for answer in document["answers"])
    assert {"name": "state", "value": "finished"} in document["about"]


def test_its_tables_are_the_runs_frames(document: dict[str, Any], view: RunView) -> None:
    frames = read_frames(view)
    assert document["tables"].keys() == frames.keys()
    for name, frame in frames.items():
        again = pd.DataFrame(document["tables"][name]["data"], columns=list(frame.columns))
        assert records(again) == records(frame), name
        assert [field["name"] for field in document["tables"][name]["fields"]] == list(frame.columns)


def test_columns_have_their_type_and_unit(document: dict[str, Any]) -> None:
    fields = {field["name"]: field for field in document["tables"]["inference"]["fields"]}
    assert fields["latency_s"] == {
        "name": "latency_s",
        "type": "number",
        "unit": "s",
        "description": "median time of one batch, single stream",
    }
    assert fields["quality"]["unit"] == "share" and fields["artifact_bytes"]["unit"] == "bytes"
    assert fields["quality_loss_points"]["unit"] == "percentage points"
    assert (fields["pareto"]["type"], fields["seed"]["type"]) == ("boolean", "integer")
    assert fields["cell"] == {"name": "cell", "type": "string", "description": "the cell's name"}


def test_numbers_that_are_none_and_types_of_numpy_are_plain_json() -> None:
    frame = pd.DataFrame(
        {
            "mixed": [np.float64(1.5), None, np.nan],
            "infinite": [np.inf, -np.inf, 1.0],
            "whole": np.array([1, 2, 3], dtype=np.int32),
            "flag": [True, None, np.bool_(False)],
            "text": ["=1+1", None, "x"],
        }
    )
    table = json.loads(f"{{{_table_text('mixed', frame)}}}")["mixed"]
    assert [field["type"] for field in table["fields"]] == [
        "number",
        "number",
        "integer",
        "boolean",
        "string",
    ]
    assert table["data"] == [
        {"mixed": 1.5, "infinite": None, "whole": 1, "flag": True, "text": "=1+1"},
        {"mixed": None, "infinite": None, "whole": 2, "flag": None, "text": None},
        {"mixed": None, "infinite": 1.0, "whole": 3, "flag": False, "text": "x"},
    ]
