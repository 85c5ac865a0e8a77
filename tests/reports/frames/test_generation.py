"""Generation has a table where a run measured it, and leaves no trace in any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.records import Measurement, PlannedRequest, Result
from bench.results.store import StageRow, Store
from reports.frames import generation_table, requests_table
from reports.frames.view import read
from reports.grids.generation import generation_grids
from reports.write import write
from tests.support.synthetic_run import Synthetic, build, key_of

KEY = key_of("generate")


def generated(
    folder: Path, fault: str = "", *, disturbed: bool = False, further: tuple[Measurement, ...] = ()
) -> Store:
    """Enter a run of two cells that share one generation."""
    source = build(folder / "source", Synthetic(compressions=("none", "finetune"), optimizers=("adam",)))
    stage = StageRow(KEY, "generate", "digits generation", True, (), PlannedRequest())
    cells = [
        replace(cell, stages={**cell.stages, "generate": KEY})
        if cell.axes["backend"] == "cpu-eager"
        else cell
        for cell in source.cells("run-1")
    ]
    store = Store.open(folder / "store")
    stages = [*source.stages("run-1"), stage]
    store.start_run("run-1", "i", "quick", "bench run", {}, stages, cells)
    measurements = [
        Measurement(metric, value / int(beside), 0.9 * value / int(beside), 0.1, qualifier=beside)
        for beside in ("1", "8")
        for metric, value in (("ttft_s", 0.02), ("inter_token_s", 0.004), ("tokens_per_s", 240.0))
    ]
    measurements += [
        Measurement("inter_token_p99_s", None, reason="too few", qualifier="1"),
        Measurement("cache_bytes_per_token", 6144),
        *further,
        Measurement("valid", float(not fault), qualifier="cache", reason=fault),
    ]
    (ceilings,) = (entry for entry in source.stages("run-1") if entry.kind == "ceilings")
    speed = (Measurement("ceiling_bytes_per_s", 2e11),)
    store.add_launch("run-1", ceilings, 0, Result("ok", measurements=speed))
    dynamic = {"disturbed": "pressure"} if disturbed else {}
    store.add_launch("run-1", stage, 0, Result("ok", measurements=tuple(measurements), dynamic=dynamic))
    return store


def test_there_is_a_row_for_each_number_of_texts_side_by_side(tmp_path: Path) -> None:
    frame = generation_table(read(generated(tmp_path), "run-1"))
    assert frame["concurrency"].tolist() == [1, 8]
    assert frame["ttft_s"].tolist() == [0.02, 0.0025] and frame["tokens_per_s"].tolist() == [240, 30]
    assert frame["inter_token_p99_s"].isna().all()
    assert frame["ttft_low_s"].tolist() == pytest.approx([0.018, 0.00225])
    assert frame["tokens_per_s_low"].tolist() == pytest.approx([216, 27])
    assert set(frame["inter_token_high_s"]) == {0.1}
    assert set(frame["compressions"]) == {"none, finetune"} and set(frame["cache_bytes_per_token"]) == {6144}


def test_each_further_cache_has_rows_of_its_own_and_one_that_is_not_there_its_reason(tmp_path: Path) -> None:
    further = (
        Measurement("tokens_per_s", 200.0, qualifier="1 int8"),
        Measurement("ttft_s", 0.025, qualifier="1 int8"),
        Measurement("cache_bytes_per_token", 1728, qualifier="int8"),
        Measurement("generation_kl", 1e-7),
        Measurement("generation_kl", 2e-5, qualifier="int8"),
        Measurement("generation_agreement", 0.99, qualifier="int8"),
        Measurement("engine_nats", 1.5, qualifier="int8"),
        Measurement("rss_growth_bytes", 2**20, qualifier="1 int8"),
        Measurement("cache_bytes_per_token", None, qualifier="nf4", reason="no cache in nf4"),
    )
    frame = generation_table(read(generated(tmp_path, further=further), "run-1"))
    assert frame["cache"].tolist() == ["own", "own", "int8", "nf4"]
    int8, nf4 = frame.iloc[2], frame.iloc[3]
    assert (int8["concurrency"], int8["tokens_per_s"], int8["cache_bytes_per_token"]) == (1, 200, 1728)
    assert (int8["generation_kl"], int8["generation_agreement"]) == (2e-5, 0.99)
    assert (int8["engine_nats"], int8["rss_growth_bytes"]) == (1.5, 2**20)
    assert frame["generation_kl"].tolist()[:2] == [1e-7, 1e-7]
    assert frame["engine_nats"].isna().tolist() == [True, True, False, True]
    assert (nf4["state"], nf4["reason"]) == ("skipped", "no cache in nf4")


def test_a_cache_that_changes_what_is_said_makes_it_invalid(tmp_path: Path) -> None:
    frame = generation_table(read(generated(tmp_path, "9 greedy tokens are others"), "run-1"))
    assert set(frame["state"]) == {"INVALID"} and set(frame["reason"]) == {"9 greedy tokens are others"}


def test_requests_have_a_row_for_each_rate_with_their_bounds(tmp_path: Path) -> None:
    source, key = build(tmp_path / "source", Synthetic()), key_of("requests")
    cell = next(cell for cell in source.cells("run-1") if cell.axes["backend"] == "cpu-eager")
    settings = {"ttft_s": 0.2, "tpot_s": 0.02}
    stage = StageRow(key, "requests", "digits requests", True, (), PlannedRequest(settings))
    store = Store.open(tmp_path / "store")
    cells = [replace(cell, stages={**cell.stages, "requests": key})]
    store.start_run("run-1", "i", "quick", "bench run", {}, [*source.stages("run-1"), stage], cells)
    measurements = [
        Measurement(metric, value * rate, qualifier=f"{rate}/s")
        for rate in (16, 4)
        for metric, value in (("goodput_per_s", 0.9), ("goodput_share", 0.05), ("request_ttft_s", 0.01))
    ]
    for number, factor in enumerate((1 / 1.1, 1.0, 1.1)):
        own = tuple(replace(entry, value=factor * (entry.value or 0.0)) for entry in measurements)
        store.add_launch("run-1", stage, number, Result("ok", measurements=own))
    frame = requests_table(read(store, "run-1"))
    assert frame["offered_per_s"].tolist() == [4, 16]
    assert frame["goodput_per_s"].tolist() == pytest.approx([3.6, 14.4])
    assert set(frame["ttft_bound_s"]) == {0.2} and set(frame["tpot_bound_s"]) == {0.02}
    assert (frame["goodput_low"] < frame["goodput_per_s"]).all()
    assert (frame["goodput_per_s"] < frame["goodput_high"]).all()
    assert (frame["request_ttft_low_s"] < frame["request_ttft_s"]).all()
    assert set(frame["request_ttft_launches"]) == {3}
    found = generation_grids({"generation": generation_table(read(store, "run-1")), "requests": frame})
    assert found[1].name == "requests" and len(found[1].rows) == 2


@pytest.mark.parametrize("there", [True, False])
def test_the_report_has_the_table_only_where_there_is_one(there: bool, tmp_path: Path) -> None:
    store = generated(tmp_path) if there else build(tmp_path / "store", Synthetic())
    folder = write(store, "run-1", tmp_path / "report").parent
    assert (folder / "tables" / "generation.csv").exists() == there
    for page in ("report.md", "report.html"):
        text = (folder / page).read_text()
        assert ("tokens/s in total" in text) == there


def test_a_time_says_on_how_many_launches_it_rests_and_which_were_disturbed(tmp_path: Path) -> None:
    store = generated(tmp_path, disturbed=True)
    (grid,) = generation_grids({"generation": generation_table(read(store, "run-1"))})
    (first,) = (row[grid.columns.index("first token")] for row in grid.rows[:1])
    assert (first.text, first.detail) == ("20.0 ms†", "18.0 to 100 ms, 1 launch, 1 disturbed")


def test_lengths_drafts_and_the_share_of_the_memorys_speed_have_columns(tmp_path: Path) -> None:
    place = "8 prompt=64 new=32 draft=small"
    further = (
        Measurement("tokens_per_s", 300.0, qualifier=place),
        Measurement("tpot_s", 0.01, qualifier=place),
        Measurement("draft_acceptance", 0.75, qualifier=place),
        Measurement("decode_bytes", 1e9, qualifier=place),
        Measurement("cache_bytes_per_token", None, qualifier="draft=other", reason="it has no tokenizer"),
    )
    view = read(generated(tmp_path, further=further), "run-1")
    frame = generation_table(view)
    assert frame["draft"].tolist() == ["", "", "small", "other"]
    small, other = frame.iloc[2], frame.iloc[3]
    assert (small["prompt_tokens"], small["new_tokens"], small["concurrency"]) == (64, 32, 8)
    assert (small["tpot_s"], small["draft_acceptance"]) == (0.01, 0.75)
    assert (other["state"], other["reason"]) == ("skipped", "it has no tokenizer")


@pytest.mark.parametrize(
    ("draft", "seconds", "state"),
    [
        # The synthetic machine reads 200 GB/s: 40 GB take 0.2 s. A token takes a quarter of a step's time.
        ("", {"tpot_s": 0.25}, "ok"),
        ("", {"tpot_s": 0.1}, "INVALID"),
        ("draft=small", {"tpot_s": 0.0625, "inter_token_s": 0.25}, "ok"),
        ("draft=small", {"tpot_s": 0.025, "inter_token_s": 0.1}, "INVALID"),
    ],
)
def test_a_steps_bytes_are_held_against_a_steps_time_and_nothing_beats_the_memory(
    draft: str, seconds: dict[str, float], state: str, tmp_path: Path
) -> None:
    place = f"1 prompt=64 new=32 {draft}".rstrip()
    further = (
        Measurement("tokens_per_s", 300.0, qualifier=place),
        Measurement("decode_bytes", 40e9, qualifier=place),
        *(Measurement(name, value, qualifier=place) for name, value in seconds.items()),
    )
    row = generation_table(read(generated(tmp_path, further=further), "run-1")).iloc[-1]
    assert row["state"] == state
    assert row["decode_share"] == pytest.approx(0.2 / (0.25 if state == "ok" else 0.1))
    if state == "INVALID":
        assert "of the memory's speed that this run measured: nothing beats the machine" in row["reason"]
