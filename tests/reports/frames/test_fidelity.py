"""What compression does to whom, against the uncompressed model on the same backend and test items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.matrix.limits import parse_limit
from bench.records import Measurement
from reports.frames.limits import limits_of
from reports.frames.run import read_frames
from reports.frames.view import RunView, read
from reports.grids.fidelity import fidelity_grids
from reports.prose.answers import answers
from tests.support.synthetic_run import Synthetic, build

ITEMS = 1000
RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(0, 3, ITEMS)
PLAIN = (RANDOM.random(ITEMS) < 0.9).astype(float)
"""Right answers of the uncompressed model on onnxruntime."""


def of_items(right: np.ndarray, ece: float = 0.02) -> tuple[Measurement, ...]:
    """Return what a stage keeps of its test items."""
    names = json.dumps(["bag", "coat", "shirt"])
    codes = tuple(map(float, CLASSES))
    return (
        Measurement("item_right", right.mean(), n=ITEMS, method="accuracy", samples=tuple(right)),
        Measurement("item_group", 3, n=ITEMS, method=names, qualifier="class", samples=codes),
        Measurement("ece", ece, ece - 0.01, ece + 0.01, n=ITEMS),
        Measurement("kl_divergence", 0.01, n=ITEMS),
    )


def degraded(right: np.ndarray) -> np.ndarray:
    """Return answers of which those of one class are wrong four times in ten."""
    lost = (CLASSES == 2) & (np.random.default_rng(1).random(ITEMS) < 0.4)
    return np.where(lost, 0.0, right)


def corrupted(blurred: float, clean: float = 0.9, *, kept: bool = True) -> tuple[Measurement, ...]:
    """Return what a stage measures and keeps of 100 items that are corrupted."""
    found = {"clean": clean, "blur-3": blurred}
    of_all = [Measurement("corrupted_quality", value, qualifier=name, n=100) for name, value in found.items()]
    of_items = [
        Measurement(
            *("item_corrupted", value),
            **{"qualifier": name, "n": 100, "method": "item_right"},
            samples=tuple(float(item < round(100 * value)) for item in range(100)),
        )
        for name, value in found.items()
    ]
    return (*of_all, *(of_items if kept else ()))


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunView]:
    place = "digits/adam/0"
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "prune-mean:1", "int8-static"),
        measured={
            f"evaluate {place}/none@onnxruntime": of_items(PLAIN),
            f"evaluate {place}/none@cpu-eager": of_items(PLAIN[::-1].copy()),
            f"evaluate {place}/prune-mean:1@onnxruntime": of_items(degraded(PLAIN), 0.08),
            f"evaluate {place}/prune-mean:1@cpu-eager": of_items(PLAIN[::-1].copy()),
        },
    )
    store = build(tmp_path_factory.mktemp("fidelity"), made_up)
    yield read(store, "run-1")
    store.close()


@pytest.fixture(scope="module")
def frames(view: RunView) -> dict[str, pd.DataFrame]:
    return read_frames(view)


def row(frame: pd.DataFrame, compression: str, backend: str) -> Any:
    return frame[(frame["compression"] == compression) & (frame["backend"] == backend)].iloc[0]


def test_a_loss_is_paired_by_item_with_the_uncompressed_model_on_the_same_backend(frames) -> None:
    found = row(frames["fidelity"], "prune-mean:1", "onnxruntime")
    expected = 100 * (PLAIN.mean() - degraded(PLAIN).mean())
    assert found["paired_loss_points"] == pytest.approx(expected)
    assert 0 < found["paired_loss_points_low"] < expected < found["paired_loss_points_high"]
    assert found["items_won"] == 0 and found["items_lost"] == pytest.approx(ITEMS * expected / 100)
    assert found["p_value"] < 1e-6 and found["paired_metric"] == "accuracy"
    same = row(frames["fidelity"], "prune-mean:1", "cpu-eager")
    assert same["paired_loss_points"] == 0 and same["p_value"] == 1


def test_a_class_that_was_degraded_is_found_and_no_other(frames) -> None:
    found = row(frames["fidelity"], "prune-mean:1", "onnxruntime")
    assert (found["worst_column"], found["worst_group"]) == ("class", "shirt")
    assert found["worst_group_points"] > 25 and found["groups_flagged"] == 1
    groups = frames["groups"]
    flagged = groups[groups["flagged"].astype(bool)]
    assert flagged[["backend", "group"]].to_numpy().tolist() == [["onnxruntime", "shirt"]]
    assert row(frames["fidelity"], "prune-mean:1", "cpu-eager")["groups_flagged"] == 0


def test_calibration_stands_beside_that_of_the_uncompressed_model(frames) -> None:
    found = row(frames["fidelity"], "prune-mean:1", "onnxruntime")
    assert (found["ece"], found["ece_uncompressed"]) == (0.08, 0.02)
    assert (found["ece_low"], found["ece_high"]) == pytest.approx((0.07, 0.09))


def test_a_cell_that_kept_nothing_of_its_items_has_no_paired_loss(frames) -> None:
    found = row(frames["fidelity"], "int8-static", "onnxruntime")
    assert np.isnan(found["paired_loss_points"]) and found["worst_group"] == ""


def test_the_gap_between_groups_is_told_before_and_after(frames) -> None:
    pytest.importorskip("fairlearn")
    found = row(frames["gaps"], "prune-mean:1", "onnxruntime")
    assert found["gap_points"] > 25 and found["gap_points_uncompressed"] < 10


def test_tables_for_people_name_the_worst_group(frames) -> None:
    grids = {grid.name: grid for grid in fidelity_grids(frames)}
    columns = grids["fidelity"].columns
    entries = {entry.text for row in grids["fidelity"].rows for entry in row}
    assert "class shirt" in entries and "1 of 3" in entries and "2.00 % → 8.00 %" in entries
    assert "loss vs none, same items (pts)" in columns
    assert len(grids["groups"].rows) == 1


def test_a_sentence_names_the_group_that_loses(frames) -> None:
    said = {answer.question: " ".join(answer.sentences) for answer in answers(frames)}
    (sentence,) = [text for question, text in said.items() if "groups" in question]
    assert sentence.startswith("digits: in 1 of 2 compressed cells: prune-mean:1 on onnxruntime seed 0")
    assert "class shirt, -" in sentence


def test_a_limit_may_bound_the_loss_of_the_worst_group(view, frames) -> None:
    texts = ("worst_group_points <= 5", "bits_per_weight <= 64")
    found = limits_of(view, frames, [parse_limit(text, "limits 1", {}) for text in texts]).findings
    verdicts = {
        (each.metric, each.stage.rpartition("/")[2].removesuffix(" 1")): each.verdict for each in found
    }
    assert verdicts["worst_group_points", "prune-mean:1@onnxruntime"] == "broken"
    assert verdicts["worst_group_points", "prune-mean:1@cpu-eager"] == "kept"
    assert verdicts["worst_group_points", "none@onnxruntime"] == "not comparable"
    assert verdicts["bits_per_weight", "none@onnxruntime"] == "kept"


@pytest.mark.parametrize("kept", [True, False])
def test_quality_under_corruption_is_relative_to_the_clean_items_and_beside_none(
    tmp_path: Path, kept: bool
) -> None:
    place = "digits/adam/0"
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "prune-mean:1"),
        backends=("onnxruntime",),
        measured={
            f"robustness {place}/none": corrupted(0.72, kept=kept),
            f"robustness {place}/prune-mean:1": corrupted(0.45, kept=kept),
        },
        further=("robustness",),
    )
    store = build(tmp_path, made_up)
    found = read_frames(read(store, "run-1"))["robustness"]
    store.close()
    assert found["corruption"].tolist() == ["blur-3"]
    row = found.iloc[0]
    assert row["relative_quality"] == pytest.approx(0.5)
    assert row["relative_quality_uncompressed"] == pytest.approx(0.8)
    assert row["change_points"] == pytest.approx(-30)
    if kept:
        assert row["change_points_low"] < -30 < row["change_points_high"] < 0
        assert row["flagged"] and row["q_value"] < 1e-4
    else:  # in a run of an earlier version
        assert row[["change_points_low", "q_value", "flagged"]].isna().all()


def test_bits_per_weight_are_those_of_the_files(frames) -> None:
    found = row(frames["inference"], "prune-mean:1", "onnxruntime")
    assert found["bits_per_weight"] == 32 and found["effective_bits_per_weight"] == pytest.approx(0.6 * 32)


def test_a_run_without_compression_has_none_of_these_tables(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(optimizers=("adam",), compressions=("none",)))
    found = read_frames(read(store, "run-1"))
    store.close()
    assert not found.keys() & {"fidelity", "groups", "gaps", "robustness", "attributions"}


@pytest.mark.parametrize(
    "samples", [(float("nan"),) * ITEMS, (1.0,) * 7, ()], ids=["not numbers", "other items", "none"]
)
def test_samples_of_a_damaged_store_are_not_compared(tmp_path: Path, samples: tuple[float, ...]) -> None:
    place = "evaluate digits/adam/0"
    damaged = Measurement("item_right", 0.9, n=ITEMS, method="accuracy", samples=samples)
    groups = Measurement("item_group", 3, n=ITEMS, method="[", qualifier="class", samples=(7.0,) * ITEMS)
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none", "prune-mean:1"),
        backends=("onnxruntime",),
        measured={f"{place}/none": of_items(PLAIN), f"{place}/prune-mean:1": (damaged, groups)},
    )
    store = build(tmp_path, made_up)
    found = read_frames(read(store, "run-1"))["fidelity"].iloc[0]
    store.close()
    assert found["paired_loss_points"] is None or np.isnan(found["paired_loss_points"])
