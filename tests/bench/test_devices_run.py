"""A matrix with several devices, from its plan through a run to the report, also where a rank is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.frames.loading import load
from tests.support.several_devices import WORKLOADS

MATRIX = """
about = "One device and two, and a training that loses one of them"

[train]
workload = ["own:{place}:losing", "own:{place}:mlp"]
optimizer = "adam"
batch_size = 16
devices = [1, 2]
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(bench, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    place = folder / "mine.py"
    place.write_text(WORKLOADS.replace("PIDS", repr(str(folder / "pids"))))
    (folder / "mine.toml").write_text(MATRIX.format(place=place))
    done = bench("run", "--matrix", folder / "mine.toml", "--smoke", "--results", folder / "results")
    assert "some stages failed" in done.stderr, done.stderr
    return folder / "results"


@pytest.fixture(scope="module")
def training(results: Path) -> pd.DataFrame:
    (report,) = results.glob("*-*/report.html")
    path = report.parent / "tables" / "training.csv"
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def row_of(training: pd.DataFrame, workload: str) -> dict[str, Any]:
    own = training[(training["parallel"] == "ddp") & training["workload"].str.endswith(workload)]
    (row,) = own.to_dict("records")
    return row


def states(training: pd.DataFrame, workload: str) -> dict[str, str]:
    own = training[training["workload"].str.endswith(workload)]
    return dict(zip(own["parallel"], own["state"], strict=True))


def test_what_one_device_and_two_trained_is_in_the_table(training: pd.DataFrame) -> None:
    assert states(training, "mlp") == {"none": "ok", "ddp": "ok"}
    ddp = row_of(training, "mlp")
    assert ddp["scaling_efficiency"] > 0 and 0 < ddp["communication_share"] <= 1
    assert ddp["rank_peak_rss_bytes"] > 1e7 and ddp["single_step_s"] > 0


def test_a_lost_rank_is_on_record_and_the_run_goes_on(training: pd.DataFrame) -> None:
    assert states(training, "losing")["none"] == "ok"
    lost = row_of(training, "losing")
    assert lost["state"] == "killed"
    assert lost["reason"].startswith(
        "rank 1 of 2 was killed by SIGKILL; its training of up to 2 steps is lost"
    )


def test_the_records_say_how_many_ranks_there_were_and_what_connected_them(results: Path) -> None:
    values = load(results=results)
    ranks = values[values["metric"] == "ranks"]
    assert set(ranks["value"]) == {2.0}
    assert {"ddp over gloo"} == {method.partition(",")[0] for method in ranks["method"]}
