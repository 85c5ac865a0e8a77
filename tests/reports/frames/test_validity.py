"""A timing that is faster than its machine can multiply is INVALID, and says so; honest ones are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records import Measurement, Result
from reports.frames import inference_table, problems_table, steps_table, training_table
from reports.frames.outcomes import workload_outcomes
from reports.frames.view import RunView, read, records
from tests.support.synthetic_run import Synthetic, build

CELL = "digits/adam/none@cpu-eager"
STEP_RATE = 3e9 / 0.01
"""Operations a second of the made-up step of training."""


def view_of(folder: Path, peaks: dict[str, float], *, disturbed: str = "", **made_up: object) -> RunView:
    rates = [Measurement("ceiling_operations_per_s", rate, qualifier=name) for name, rate in peaks.items()]
    measured = Result("ok", measurements=tuple(rates), dynamic={"disturbed": disturbed})
    made = Synthetic(("adam",), results={"ceilings": measured}, **made_up)  # type: ignore[arg-type]
    store = build(folder, made)
    view = read(store, "run-1")
    store.close()
    return view


def row_of(view: RunView, cell: str = CELL) -> dict[str, object]:
    return next(row for row in records(inference_table(view)) if row["cell"] == cell)


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Return the operations a second of each cell that is well; the made-up times are always the same."""
    view = view_of(tmp_path_factory.mktemp("rates"), {"fp32": 1e15, "int8": 1e15})
    rows = records(inference_table(view))
    return {row["cell"]: 1e7 / row["latency_s"] for row in rows if row["state"] == "ok"}


@pytest.mark.parametrize(
    ("share", "state"), [(0.5, "ok"), (1.01, "ok"), (1.03, "INVALID"), (50.0, "INVALID")]
)
def test_a_cell_above_its_machines_measured_peak_is_invalid(tmp_path, rates, share, state):
    view = view_of(tmp_path, {"fp32": rates[CELL] / share, "int8": 1e15})
    row = row_of(view)
    assert row["state"] == state and row["ranked"] is (state == "ok")
    if state == "INVALID":
        assert str(row["reason"]).startswith(f"timing: {100 * share:.0f} % of the peak rate in fp32")
        assert "nothing beats the machine" in str(row["reason"])
        assert CELL in set(problems_table(view)["what"])


def test_a_low_precision_cell_is_judged_by_its_own_peak_or_a_wider_ones(tmp_path, rates):
    cell = "digits/adam/int8-static@onnxruntime"
    for name, int8, fp32, state in (
        ("fast", 2.0, 0.5, "ok"),
        ("beyond", 0.5, 0.25, "INVALID"),
        ("emulated", 0.1, 2.0, "ok"),
    ):
        view = view_of(tmp_path / name, {"fp32": fp32 * rates[cell], "int8": int8 * rates[cell]})
        assert row_of(view, cell)["state"] == state, name


def test_bytes_that_a_cache_may_hold_condemn_no_cell(tmp_path):
    slow_memory = Measurement("ceiling_bytes_per_s", 1.0)
    fast = Measurement("ceiling_operations_per_s", 1e15, qualifier="fp32")
    ceilings = Result("ok", measurements=(slow_memory, fast))
    made_up = Synthetic(("adam",), ("none",), results={"ceilings": ceilings})
    row = row_of(read(build(tmp_path, made_up), "run-1"))
    assert row["state"] == "ok" and row["roofline_share"] > 1000


def test_a_peak_that_was_measured_beside_other_work_judges_nothing(tmp_path):
    assert row_of(view_of(tmp_path, {"fp32": 1.0}, disturbed="another process ran"))["state"] == "ok"


def test_a_smoke_run_is_not_judged(tmp_path):
    assert row_of(view_of(tmp_path, {"fp32": 1.0}, request={"smoke": True}))["state"] == "ok"


def test_a_step_of_training_above_the_peak_is_noted_and_ranks_nothing(tmp_path):
    for name, share in (("honest", 0.9), ("beyond", 1.1)):
        view = view_of(tmp_path / name, {"fp32": STEP_RATE / share, "int8": 1e15}, compressions=("none",))
        (training,), (step,) = records(training_table(view)), records(steps_table(view))
        (outcomes,) = workload_outcomes(view)
        for notes in (training["notes"], step["notes"]):
            assert ("step timing INVALID: 110 % of the peak rate in fp32" in notes) is (name == "beyond")
        (trained,) = (one for seeds in outcomes.trained.values() for one in seeds.values())
        assert (trained.step_s is None) is (name == "beyond")
