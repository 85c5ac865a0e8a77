"""What a compression costs and saves, who pays, and the sentences that say so."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.records import Measurement
from reports.frames import compression_table, control_of, worst_classes
from reports.frames.controls import CONTROL, controls
from reports.frames.run import read_frames
from reports.frames.view import read
from reports.grids.compression import compression_grids
from reports.prose.answers import answers
from tests.support.synthetic_run import Synthetic, build

COMPRESSIONS = (
    *("none", "finetune", "prune-mean:1", "prune-channels:0.5", "int8-static"),
    *("distill:0.5", "student:0.5", "distill:0.5+int8-static"),
)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    made_up = Synthetic(
        optimizers=("adam", "momentum"), seeds=(0, 1, 2), compressions=COMPRESSIONS, launches=6
    )
    store = build(tmp_path_factory.mktemp("costs"), made_up)
    found = read_frames(read(store, "run-1"))
    store.close()
    return found


@pytest.fixture(scope="module")
def costs(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return frames["tradeoff"].set_index(["compression", "backend"])


@pytest.mark.parametrize(
    ("compression", "format_", "control"),
    [
        ("none", None, ""),
        ("finetune", None, ""),
        ("int8-static", "int8-static", ""),
        ("student:0.5", None, ""),
        ("prune-mean:1", None, "finetune"),
        ("prune-mean:1+int8-static", "int8-static", "finetune+int8-static"),
        ("distill:0.5,temperature=2", None, "student:0.5"),
        # A student without a teacher has nothing of the model before it.
        ("prune-mean:1+distill:0.5+int8-dynamic", "int8-dynamic", "student:0.5+int8-dynamic"),
        ("prune-wanda:0.75", None, "prune-random:0.75"),
        ("prune-channels:0.5+prune-taylor:0.5", None, "prune-channels:0.5+prune-random:0.5"),
        ("prune-random:0.75", None, "finetune"),
        ("of-a-plug-in:1,x=2+int8-static", "int8-static", "finetune+int8-static"),
    ],
)
def test_a_control_trains_as_long_without_the_technique(compression, format_, control) -> None:
    assert control_of(compression, format_) == control


def test_costs_average_over_trainings_and_their_interval_is_over_seeds(costs: pd.DataFrame) -> None:
    row = costs.loc[("distill:0.5", "onnxruntime")]
    assert (row["trainings"], row["seeds"]) == (6, 3)
    # 4 points less 0.2 a seed, against 5 without a teacher: 1, 0.8 and 0.6.
    assert row["vs_control_points"] == pytest.approx(0.8)
    half = 4.303 * 0.2 / 3**0.5
    assert row["vs_control_points_high"] - row["vs_control_points"] == pytest.approx(half, rel=1e-3)
    assert row["loss_points"] == pytest.approx(4.2)


def test_masked_weights_are_said_to_run_as_the_dense_model(costs: pd.DataFrame) -> None:
    pruned = costs.loc[("prune-mean:1", "onnxruntime")]
    assert pruned["same_timing"] and pruned["speedup"] == 1
    assert pruned["nonzero_share"] == 0.5
    assert pruned["vs_control_points"] == pytest.approx(-2.3)
    channels = costs.loc[("prune-channels:0.5", "onnxruntime")]
    assert not channels["same_timing"]
    assert channels["speedup"] == pytest.approx(2, rel=0.05)


def test_speed_and_size_are_against_none_on_the_same_backend(costs: pd.DataFrame) -> None:
    row = costs.loc[("distill:0.5+int8-static", "onnxruntime")]
    assert row["speedup"] == pytest.approx(1 / 0.3, rel=0.05)
    assert row["times_smaller"] == pytest.approx(4)
    assert row["control"] == "student:0.5"  # the nearest that this matrix has


def test_classes_tell_who_loses_most(frames: dict[str, pd.DataFrame]) -> None:
    worst = worst_classes(frames["classes"])
    loser = worst["digits", "onnxruntime", "fp32", 1, "prune-mean:1"]
    assert loser["class"] == "shirt"
    assert loser["change_points"] == pytest.approx(-4)


def test_every_question_of_the_survey_is_answered(frames: dict[str, pd.DataFrame]) -> None:
    said = {answer.question: " ".join(answer.sentences) for answer in answers(frames)}
    assert "prune-channels:0.5 vs none on the same backend" in said["What runs faster, and where?"]
    assert "prune-mean:1" not in said["What runs faster, and where?"]
    assert "same speed as none on every backend" in said["What do zeroed weights save?"]
    assert "prune-mean:1 (50.00 % zeros)" in said["What do zeroed weights save?"]
    teacher = said["Does distillation help?"]
    assert "distill:0.5 vs student:0.5 (the same student without a teacher)" in teacher
    assert "trained with adam +0.80 (+0.30 to +1.30)" in teacher and "trained with momentum +0.80" in teacher
    assert "largest drop: shirt, -4.0 points" in said["Which classes lose quality?"]
    combined = said["What do combinations give?"]
    assert "distill:0.5+int8-static gives" in combined and "int8-static alone" in combined


def test_two_orders_of_the_same_steps_stand_side_by_side(tmp_path: Path) -> None:
    first, second = "prune-channels:0.5+prune-magnitude:0.5", "prune-magnitude:0.5+prune-channels:0.5"
    made_up = Synthetic(optimizers=("adam",), compressions=("none", first, second, "prune-magnitude:0.5"))
    store = build(tmp_path, made_up)
    found = read_frames(read(store, "run-1"))
    store.close()
    said = {answer.question: answer.sentences for answer in answers(found)}["Does the order of steps matter?"]
    assert len(said) == 2  # one for each backend
    for sentence in said:
        assert sentence.index(f"{first} gives") < sentence.index(f"{second} gives")
    (grid,) = (grid for grid in compression_grids(found) if grid.name == "tradeoff")
    place = grid.columns.index("compression")
    assert {first, second} <= {row[place].text for row in grid.rows}


def test_rounding_is_held_against_rounding_to_nearest() -> None:
    assert control_of("gptq:4+int4-weight", "int4-weight") == "round-to-nearest:4+int4-weight"
    assert control_of("gptq:4,group=64") == "round-to-nearest:4,group=64"
    assert control_of("prune-magnitude:0.5+sign-round:3") == "prune-magnitude:0.5+round-to-nearest:3"


def test_rounding_in_training_is_held_against_as_much_training_and_rounding_afterwards() -> None:
    assert control_of("qat:4,group=0") == "finetune+round-to-nearest:4,group=0"
    assert list(controls("qat:4")) == ["finetune+round-to-nearest:4"] * 2  # never finetune in full precision
    assert list(controls("qat:4+int4-weight", "int4-weight")) == [
        "finetune+round-to-nearest:4+int4-weight",
        "finetune+round-to-nearest:4",
        "finetune+int4-weight",
    ]


def test_a_chain_is_held_against_what_trains_as_often() -> None:
    assert control_of("prune-magnitude:0.5+lora:8") == "prune-magnitude:0.5+finetune"
    assert list(controls("prune-channels:0.5+low-rank:0.5+int8-static", "int8-static")) == [
        "prune-channels:0.5+finetune+int8-static",
        "prune-channels:0.5+finetune",
        "finetune+finetune+int8-static",
        "finetune+finetune",
    ]
    assert list(controls("prune-wanda:0.5"))[-1] == "finetune"
    for nothing_else in ("gptq:4", "distill:0.5", "distill:0.5+prune-wanda:0.5"):
        assert CONTROL not in controls(nothing_else)


def test_each_step_is_held_against_its_own_control(tmp_path: Path) -> None:
    qualities = {
        **{"finetune": 0.95, "prune-random:0.5": 0.90, "prune-wanda:0.5": 0.92, "gptq:4": 0.93},
        **{"student:0.5": 0.85, "distill:0.5": 0.88},
    }
    recipes = ("none", *qualities)
    measured = {
        f"compress digits/adam/0/{recipe}": (Measurement("quality", quality, qualifier="recovered"),)
        for recipe, quality in qualities.items()
    }
    store = build(tmp_path, Synthetic(optimizers=("adam",), compressions=recipes, measured=measured))
    table = compression_table(read(store, "run-1")).set_index("recipe")
    store.close()
    gains = {recipe: table.loc[recipe, "vs_control_points"] for recipe in recipes[1:]}
    assert gains["prune-wanda:0.5"] == pytest.approx(2) and gains["distill:0.5"] == pytest.approx(3)
    assert gains["prune-random:0.5"] == pytest.approx(-5)  # over finetune, which trains as long
    assert all(pd.isna(gains[recipe]) for recipe in ("finetune", "gptq:4", "student:0.5"))
    assert table.loc["distill:0.5", "control"] == "student:0.5" and table.loc["gptq:4", "control"] == ""


def test_nobody_is_named_to_pay_where_seeds_differ_by_more(frames: dict[str, pd.DataFrame]) -> None:
    classes = frames["classes"].assign(change_points_low=-9.0, change_points_high=1.0)
    said = {answer.question: " ".join(answer.sentences) for answer in answers(frames | {"classes": classes})}
    assert "no class drops by more than seeds differ" in said["Which classes lose quality?"]
    assert "largest drop" not in said["Which classes lose quality?"]


def test_without_a_difference_the_teacher_is_not_praised(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("none", "distill:0.5", "student:0.5"))
    store = build(tmp_path, made_up)
    said = {answer.question: answer.sentences for answer in answers(read_frames(read(store, "run-1")))}
    store.close()
    assert "(one seed, no interval)" in said["Does distillation help?"][0]


def test_tables_for_people_name_control_and_interval(frames: dict[str, pd.DataFrame]) -> None:
    grids = {grid.name: grid for grid in compression_grids(frames)}
    rows = {(row[0].text, row[1].text): row for row in grids["tradeoff"].rows}
    columns = grids["tradeoff"].columns
    entry = rows["distill:0.5", "onnxruntime"][columns.index("gain vs control (pts)")]
    assert entry.text == "+0.80" and entry.detail.startswith("student:0.5; +0.30")
    speed = rows["prune-mean:1", "onnxruntime"][columns.index("speedup vs none, same backend")]
    assert (speed.text, speed.detail) == ("1×", "same speed as none (zeroed weights still run as dense)")
    assert {"shirt", "bag"} <= set(grids["classes"].columns)
