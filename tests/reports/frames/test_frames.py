"""What the tables say of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.statistics import launch_interval
from bench.records import Measurement, Result
from bench.results.store import Store
from reports.frames import (
    compression_table,
    curves,
    inference_table,
    memory_table,
    overhead_table,
    problems_table,
    ranked_points,
    training_table,
)
from reports.frames.view import RunView, read, records
from reports.prose.notes import notes
from tests.support.synthetic_run import Synthetic, build, key_of


def made_up_view(folder: Path, made_up: Synthetic, *, finish: bool = True) -> RunView:
    store = build(folder, made_up, finish=finish)
    view = read(store, "run-1")
    store.close()
    return view


def test_censored_training_is_shown_with_a_note(view: RunView) -> None:
    sgd = training_table(view).set_index("optimizer").loc["sgd"]
    assert sgd["censored"]
    assert sgd["steps_to_target"] != sgd["steps_to_target"]
    assert "censored" in sgd["notes"] and "1,200" in sgd["notes"]


def test_time_to_target_is_steps_times_the_median_step(view: RunView, store) -> None:
    adam = training_table(view).set_index("optimizer").loc["adam"]
    step = launch_interval(store.launch_values("run-1", key_of("step digits/adam"), "step_latency_s"))
    assert adam["step_latency_s"] == step.value
    assert adam["time_to_target_by_steps_s"] == pytest.approx(600 * step.value)
    assert adam["step_latency_preliminary"]


def test_a_gap_between_clocked_and_computed_time_is_flagged_above_five_percent(view: RunView) -> None:
    table = training_table(view).set_index("optimizer")
    assert table.loc["adam", "time_gap"] == pytest.approx(0.1, abs=0.01)
    assert table.loc["adam", "time_gap_flagged"]
    assert "clocked time" in table.loc["adam", "notes"]
    assert not table.loc["momentum", "time_gap_flagged"]


def test_flops_to_target_count_forward_backward_and_optimizer(view: RunView) -> None:
    adam = training_table(view).set_index("optimizer").loc["adam"]
    assert adam["flops_to_target"] == 600 * 3e9


def test_reused_training_keeps_its_steps_and_says_why_no_time_was_clocked(tmp_path: Path) -> None:
    measurements = (
        Measurement("target_reached", 1.0),
        Measurement("steps_to_target", 500.0),
        Measurement("time_to_target_s", None, reason="reused from run abc"),
        Measurement("curve_step", 500.0, samples=(250.0, 500.0)),
        Measurement("curve_seconds", None, reason="reused from run abc"),
        Measurement("curve_quality", 0.9, samples=(0.5, 0.9)),
    )
    results = {"train digits/adam": Result("ok", measurements=measurements)}
    view = made_up_view(tmp_path, Synthetic(optimizers=("adam",), results=results))
    row = training_table(view).iloc[0]
    assert row["time_to_target_by_steps_s"] == pytest.approx(5.0, rel=0.02)
    assert "reused from run abc" in row["notes"]
    assert list(curves(view)["quality"]) == [0.5, 0.9]
    assert curves(view)["seconds"].isna().all()


def test_batches_that_the_training_set_cannot_fill_are_a_note(tmp_path: Path) -> None:
    trained = (Measurement("target_reached", 1.0), Measurement("effective_batch_size", 20.0))
    made_up = Synthetic(
        optimizers=("adam", "momentum"),
        compressions=("none",),
        results={"train digits/adam": Result("ok", measurements=trained)},
    )
    adam, momentum = records(training_table(made_up_view(tmp_path, made_up)))
    assert "batches of 20 samples: the training set has fewer than 128" in adam["notes"]
    assert "batches" not in momentum["notes"]


def test_what_a_reader_left_out_of_the_data_is_a_note_of_the_training(tmp_path: Path) -> None:
    left_out = Measurement("training_samples", 40, method="3 rows left out: column 'label' is empty")
    made_up = Synthetic(("adam",), results={"train digits/adam": Result("ok", measurements=(left_out,))})
    assert "data: 3 rows left out" in training_table(made_up_view(tmp_path, made_up)).iloc[0]["notes"]
    assert next(notes(read(Store.open(tmp_path), "run-1"))).startswith(
        "note: data of digits: 3 rows left out"
    )


def test_every_cell_has_a_row_whatever_became_of_it(view: RunView) -> None:
    table = inference_table(view)
    assert list(table["cell"]) == [cell.name for cell in view.cells]
    skipped = table[table["state"] == "skipped"]
    assert set(skipped["reason"]) == {"cpu-eager has no kernel for int8-static"}
    assert len(skipped) == 3


def test_invalid_cell_is_marked_and_never_ranked(view: RunView) -> None:
    table = inference_table(view)
    invalid = table[table["state"] == "INVALID"].iloc[0]
    assert invalid["cell"] == "digits/momentum/int8-static@onnxruntime"
    assert invalid["quality"] == table["quality"].max(), "it would lead the front if it were ranked"
    assert not invalid["pareto"] and not invalid["pareto_size"] and not invalid["ranked"]
    assert invalid["speedup"] != invalid["speedup"]
    assert invalid["reason"] == "cosine 0.5 is under 0.98"
    assert invalid["cell"] not in {cell for p in ranked_points(table, "latency_s") for cell in p["cells"]}


def test_a_cost_that_is_not_positive_was_not_measured_and_has_no_place_on_the_front(view):
    table = inference_table(view)
    assert ranked_points(table, "latency_s")
    assert not ranked_points(table.assign(latency_s=0.0), "latency_s")


def test_quality_loss_is_against_the_uncompressed_model_of_the_same_training(view: RunView) -> None:
    table = inference_table(view).set_index("cell")
    row = table.loc["digits/adam/prune-magnitude:0.5@onnxruntime"]
    assert row["quality_reference"] == "digits/adam/none@cpu-eager"
    assert row["quality_loss_points"] == pytest.approx(2.0)
    sgd = table.loc["digits/sgd/prune-magnitude:0.5@onnxruntime"]
    assert sgd["quality_reference"] == "digits/sgd/none@cpu-eager"
    assert sgd["quality_loss_points"] == pytest.approx(2.0)


def test_without_an_eager_reference_the_end_of_training_stands_in(tmp_path: Path) -> None:
    view = made_up_view(tmp_path, Synthetic(backends=("onnxruntime",)))
    table = inference_table(view)
    assert set(table["quality_reference"]) == {"end of training"}
    assert table["speedup"].isna().all()


def test_speed_up_is_against_uncompressed_eager_of_the_same_batch(tmp_path: Path) -> None:
    view = made_up_view(tmp_path, Synthetic(optimizers=("adam",), batch_sizes=(1, 32)))
    table = inference_table(view)
    reference = table[(table["compression"] == "none") & (table["backend"] == "cpu-eager")]
    assert list(reference["speedup"]) == [1.0, 1.0]
    onnx = table[(table["compression"] == "none") & (table["backend"] == "onnxruntime")]
    assert onnx["speedup"].tolist() == pytest.approx([2.5, 2.5], rel=0.05)
    assert (onnx["speedup_low"] < onnx["speedup"]).all()


def test_latency_is_the_interval_over_launches(view: RunView, store) -> None:
    row = inference_table(view).set_index("cell").loc["digits/adam/none@onnxruntime"]
    interval = launch_interval(store.launch_values("run-1", row["infer_key"], "latency_s"))
    assert (row["latency_s"], row["latency_low_s"], row["latency_high_s"]) == (
        interval.value,
        interval.low,
        interval.high,
    )
    assert row["latency_launches"] == 3 and row["latency_preliminary"]


def test_three_launches_are_preliminary_and_a_single_one_is_invalid_and_not_ranked(tmp_path: Path) -> None:
    view = made_up_view(tmp_path / "three", Synthetic(launches=3))
    assert inference_table(view).query("ranked")["latency_preliminary"].all()
    table = inference_table(made_up_view(tmp_path / "one", Synthetic(launches=1)))
    run = table[table["state"] != "skipped"]
    assert set(run["state"]) == {"INVALID"} and not run["ranked"].any()
    assert set(run["reason"]) == {"timing: too few launches: 1 (an interval needs 3)"}


def test_a_timing_whose_launches_were_all_disturbed_is_invalid(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("none",), launches=6, disturbed="pressure")
    table = inference_table(made_up_view(tmp_path, made_up))
    assert set(table["reason"]) == {"timing: all 6 launches were disturbed"}
    assert table["latency_preliminary"].all(), "though six launches have an interval"


def test_a_timing_of_what_answers_wrong_is_invalid_with_what_was_wrong(tmp_path: Path) -> None:
    timed = (Measurement("latency_s", 1e-3), Measurement("valid", 0.0, reason="outputs are not finite"))
    made_up = Synthetic(
        optimizers=("adam",),
        compressions=("none",),
        results={"infer digits/dense@onnxruntime": Result("ok", measurements=timed)},
    )
    eager, onnx = records(inference_table(made_up_view(tmp_path, made_up)))
    assert (eager["state"], onnx["state"]) == ("ok", "INVALID")
    assert onnx["reason"] == "timed call: outputs are not finite" and not onnx["ranked"]


def test_nothing_is_faster_than_a_reference_that_is_invalid(tmp_path: Path) -> None:
    made_up = Synthetic(compressions=("none",), invalid=("adam/0/none@cpu-eager",))
    table = inference_table(made_up_view(tmp_path, made_up))
    onnx = table[table["backend"] == "onnxruntime"].set_index("optimizer")
    assert onnx["ranked"].all() and onnx.loc["momentum", "speedup"] > 1
    assert onnx["speedup"].isna().to_dict() == {"adam": True, "momentum": False, "sgd": False}


def test_each_batch_size_has_a_front_of_its_own(tmp_path: Path) -> None:
    made_up = Synthetic(optimizers=("adam",), compressions=("none",), batch_sizes=(1, 32))
    table = inference_table(made_up_view(tmp_path, made_up))
    assert table.groupby("batch_size")["pareto"].sum().to_dict() == {1: 1, 32: 1}


def test_a_smoke_run_has_no_front(view: RunView) -> None:
    assert inference_table(view)["pareto"].any()
    smoke = replace(view, run={**view.run, "request": {**view.run["request"], "smoke": True}})
    assert not inference_table(smoke)[["pareto", "pareto_size"]].any(axis=None)


def test_a_timing_is_held_against_this_machines_own_ceilings(tmp_path: Path) -> None:
    table = inference_table(made_up_view(tmp_path, Synthetic())).query("ranked")
    assert set(table["operations_per_byte"]) == {10.0} and set(table["roofline_binds"]) == {"compute"}
    for row in records(table):
        peak = 2e12 if row["compression"] == "int8-static" else 1e12
        assert row["achieved_operations_per_s"] == pytest.approx(1e7 / row["latency_s"])
        assert row["utilization"] == pytest.approx(1e7 / row["latency_s"] / peak)


def test_what_a_matrix_says_of_a_peak_wins_over_what_was_measured(tmp_path: Path) -> None:
    peaks = {"cpu": {"operations_per_s": {"fp32": 4e11}, "bytes_per_s": None}}
    made_up = Synthetic(compressions=("none",), peaks=peaks)
    for row in records(inference_table(made_up_view(tmp_path, made_up)).query("ranked")):
        assert row["utilization"] == pytest.approx(1e7 / row["latency_s"] / 4e11)


def test_a_step_shows_what_the_model_needs_apart_from_what_the_hardware_does(tmp_path: Path) -> None:
    peaks = {"cpu": {"operations_per_s": {"fp32": 1e12}, "bytes_per_s": 1e11}}
    made_up = Synthetic(optimizers=("adam",), peaks=peaks, recomputed_flops=1e9)
    (row,) = records(training_table(made_up_view(tmp_path, made_up)))
    needed, repeated = 1e9 + 2e9, 1e9
    assert row["recomputed_flops"] == repeated
    assert row["utilization"] == pytest.approx(needed / row["step_latency_s"] / 1e12)
    assert row["hardware_utilization"] == pytest.approx((needed + repeated) / row["step_latency_s"] / 1e12)
    assert row["flops_to_target"] == needed * row["steps_to_target"]


def test_pareto_front_averages_seeds_so_that_a_lucky_one_does_not_win(tmp_path: Path) -> None:
    lucky = Measurement("quality", 0.955)
    made_up = Synthetic(
        optimizers=("adam", "momentum"),
        compressions=("none",),
        seeds=(0, 1),
        results={"evaluate digits/momentum/1/none@onnxruntime": Result("ok", measurements=(lucky,))},
    )
    table = inference_table(made_up_view(tmp_path, made_up))
    momentum = table[(table["optimizer"] == "momentum") & (table["backend"] == "onnxruntime")]
    adam = table[(table["optimizer"] == "adam") & (table["backend"] == "onnxruntime")]
    assert momentum["pareto"].all() and not adam["pareto"].any(), "by the mean of its seeds"


def test_compression_is_held_against_training_on(view: RunView) -> None:
    table = compression_table(view)
    row = table[(table["recipe"] == "prune-magnitude:0.5") & (table["optimizer"] == "adam")].iloc[0]
    assert (row["quality_before"], row["quality_pruned"], row["quality_recovered"]) == (0.94, 0.88, 0.935)
    assert row["quality_control"] == 0.945
    assert row["vs_control_points"] == pytest.approx(-1.0)


def test_a_step_has_the_quality_before_right_after_and_recovered_with_its_budget(tmp_path: Path) -> None:
    key = "compress digits/adam/0/"
    measured = {
        f"{key}gptq": (
            Measurement("quality", 0.94, qualifier="before"),
            Measurement("quality", 0.93, qualifier="recovered"),
        ),
        f"{key}finetune": (
            Measurement("quality", 0.94, qualifier="before"),
            Measurement("quality", 0.95, qualifier="recovered"),
        ),
        f"{key}prune": (Measurement("steps_trained", 117), Measurement("training_s", 2.5)),
    }
    recipes = ("prune-magnitude:0.5", "gptq:4", "finetune")
    made_up = Synthetic(optimizers=("adam",), compressions=recipes, measured=measured)
    table = compression_table(made_up_view(tmp_path, made_up)).set_index("step")
    rows = {name: dict(row) for name, row in table.iterrows()}
    columns = ("quality_before", "quality_applied", "quality_after")
    assert [rows["prune-magnitude:0.5"][name] for name in columns] == [0.94, 0.88, 0.935]
    assert rows["prune-magnitude:0.5"]["recovered_points"] == pytest.approx(5.5)
    assert [rows["prune-magnitude:0.5"][name] for name in ("steps_trained", "training_s")] == [117, 2.5]
    assert [rows["gptq:4"][name] for name in columns] == [0.94, 0.93, 0.93]  # it trains nothing
    assert rows["gptq:4"]["recovered_points"] == 0 and pd.isna(rows["gptq:4"]["budget_steps"])
    assert pd.isna(rows["finetune"]["quality_applied"]) and rows["finetune"]["quality_after"] == 0.95


def test_each_step_of_a_recipe_has_its_row(tmp_path: Path) -> None:
    recipes = ("prune-mean+prune-magnitude:0.5+int8-static", "prune-mean")
    view = made_up_view(tmp_path, Synthetic(optimizers=("adam",), compressions=recipes))
    table = compression_table(view)
    assert list(table["recipe"]) == ["prune-mean", "prune-mean+prune-magnitude:0.5"]
    assert list(table["position"]) == [1, 2]


def test_a_diverged_training_fails_its_cells_with_its_reason(tmp_path: Path) -> None:
    result = Result("diverged", reason="loss is nan at step 3", output_tail="first\nlast line\n\n")
    view = made_up_view(tmp_path, Synthetic(results={"train digits/adam": result}))
    adam = inference_table(view).query("optimizer == 'adam' and state != 'skipped'")
    assert set(adam["state"]) == {"diverged"}
    assert set(adam["reason"]) == {"train: loss is nan at step 3"}
    assert not adam["ranked"].any()
    problem = problems_table(view).iloc[0]
    assert (problem["state"], problem["reason"], problem["last_line"]) == (
        "diverged",
        "loss is nan at step 3",
        "last line",
    )
    assert problem["cells"] == len(adam)


def test_problems_list_what_was_skipped_and_what_is_invalid(view: RunView) -> None:
    table = problems_table(view)
    assert list(table["state"].value_counts().sort_index().items()) == [("INVALID", 1), ("skipped", 3)]


def test_memory_names_each_shared_structure_once(view: RunView) -> None:
    table = memory_table(view)
    assert table["stage_key"].is_unique
    eager = table[(table["kind"] == "infer") & (table["backend"] == "cpu-eager")].iloc[0]
    assert eager["compressions"] == "none, finetune, prune-magnitude:0.5"
    assert eager["cells"] == 9


def test_overhead_shares_sum_to_one(view: RunView) -> None:
    table = overhead_table(view)
    assert list(table["part"]) == ["imports", "start of processes"]
    assert table["share"].sum() == pytest.approx(1)
