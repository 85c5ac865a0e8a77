"""The best way to serve a workload within limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.matrix.limits import Limit, parse_limit
from reports.frames.advice import Advice, advise
from reports.frames.break_even import BreakEven
from reports.frames.candidates import Candidates, Estimate, candidates_of
from reports.prose.advice import advice_lines
from tests.support.synthetic_run import Synthetic, build

MADE_UP = Synthetic(
    optimizers=("adam",),
    compressions=("none", "finetune", "prune-channels:0.5", "int8-static"),
    seeds=(0, 1, 2),
    launches=6,
)
INT8 = "int8-static on onnxruntime (fp32)"
PLAIN = "none on onnxruntime (fp32)"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Candidates:
    store = build(tmp_path_factory.mktemp("advice"), MADE_UP)
    candidates = candidates_of(store, "digits")
    store.close()
    return candidates


def limits(*texts: str) -> list[Limit]:
    return [parse_limit(text) for text in texts]


def best(advice: Advice) -> str:
    assert advice.best is not None
    return advice.best.name


def test_the_fastest_of_what_keeps_every_limit_is_the_answer(found: Candidates) -> None:
    assert best(advise(found, limits("quality_loss_points <= 1"))) == INT8
    assert best(advise(found, limits("quality_loss_points <= 3"))).startswith("prune-channels:0.5 on onnx")
    advice = advise(found, limits("quality_loss_points <= 1", "artifact_bytes <= 300000", "latency_ms <= 5"))
    assert [judged.candidate.name for judged in advice.fitting] == [INT8]
    assert all(finding.verdict == "broken" for judged in advice.misses for finding in judged.findings[1:2])


def test_among_equals_the_uncompressed_one_is_taken_and_the_others_are_ties(found: Candidates) -> None:
    advice = advise(found, limits("quality_loss_points <= 0.1"))
    assert best(advice) == PLAIN and advice.plain is None
    assert advice.best is not None and advice.best.break_even is None
    assert [candidate.name for candidate in advice.ties] == ["finetune on onnxruntime (fp32)"]


def test_another_objective_picks_another_choice(found: Candidates) -> None:
    smallest = advise(found, (), "size")
    assert smallest.best is not None and smallest.best.value("artifact_bytes") == 2e5
    assert smallest.ties == ()


def test_without_a_bound_on_quality_that_of_reports_holds(found: Candidates) -> None:
    cheap = "prune-channels:0.5 on onnxruntime (fp32)"
    size = {PLAIN: 9.0, INT8: 5.0, cheap: 1.0}
    every = tuple(
        replace(each, values={**each.values, "artifact_bytes": Estimate(size.get(each.name, 9.0))})
        for each in found.every
    )
    found = replace(found, every=every)
    advice = advise(found, limits("latency_ms <= 1000"), "size")
    assert best(advice) == INT8 and advice.assumed and advice.limits[0].bound == 1.0
    assert best(advise(found, limits("quality_loss_points <= 100"), "size")) == cheap
    asked = advise(found, limits("quality >= 0.1"), "size")
    assert best(asked) == cheap and not asked.assumed
    bare = tuple(
        replace(each, values={name: value for name, value in each.values.items() if "loss" not in name})
        for each in every
    )
    unknown = advise(replace(found, every=bare), (), "size")
    assert best(unknown) == cheap and not unknown.bounded
    assert any("nothing bounds the quality" in line for line in advice_lines(unknown))


def test_models_of_trainings_that_missed_the_target_are_no_advice(tmp_path: Path) -> None:
    made_up = replace(MADE_UP, optimizers=("adam", "sgd"), compressions=("none", "int8-static"))
    store = build(tmp_path, made_up)
    found = candidates_of(store)
    store.close()
    badly = {each.name for each in found.every if not each.trained}
    assert badly and all(each.trained == (each.axes["optimizer"] == "adam") for each in found.every)
    small = tuple(
        replace(each, values={**each.values, "artifact_bytes": Estimate(1.0 if not each.trained else 2.0)})
        for each in found.every
    )
    advice = advise(replace(found, every=small), (), "size")
    assert advice.best is not None and advice.best.axes["optimizer"] == "adam"
    note = f"note: left out, {len(advice.untrained)} choices of trainings that missed the target: sgd"
    assert note in list(advice_lines(advice))
    by_quality = advise(replace(found, every=small), limits("quality >= 0.01"), "size")
    assert by_quality.best is not None and by_quality.best.axes["optimizer"] == "sgd"


def test_what_is_unknown_of_all_is_the_least_of_none(found: Candidates) -> None:
    for objective, needs in (("energy", "a counter of its energy"), ("money", r"\[prices\] in the matrix")):
        line = f"--by {objective}: unknown of all 5 choices that fit; it requires .*{needs}"
        with pytest.raises(BenchError, match=line):
            advise(found, (), objective)
    # Where nothing fits, nothing is picked: the nearest is by the limits.
    assert advise(found, limits("latency_ms <= 0.1"), "energy").best is None


def test_energy_that_was_not_measured_is_minimized_by_its_estimate_which_is_said(found: Candidates) -> None:
    watts = {INT8: 3.0, PLAIN: 1.0}
    every = tuple(
        replace(each, values={**each.values, "energy_estimate_j": Estimate(watts.get(each.name, 9.0))})
        for each in found.every
    )
    advice = advise(replace(found, every=every), (), "energy")
    assert best(advice) == PLAIN and advice.cost == "energy_estimate_j"
    lines = list(advice_lines(advice))
    default = "quality loss <= 1 points (the default; --max-loss sets it)"
    assert lines[1] == f"limits: {default}; of what fits, the lowest energy (estimate)"
    assert "  energy, estimated     1.00 J" in lines
    measured = tuple(replace(each, values={**each.values, "energy_j": Estimate(2.0)}) for each in every[:1])
    assert advise(replace(found, every=(*measured, *every[1:])), (), "energy").cost == "energy_j"


def test_what_lies_on_both_sides_of_a_limit_may_fit_and_does_not_count_as_fitting(found: Candidates) -> None:
    (int8,) = (each for each in found.every if each.name == INT8)
    bound = f"latency_s <= {int8.values['latency_s'].value!r}"
    advice = advise(found, limits(bound, "quality_loss_points <= 1"))
    assert advice.best is None and [judged.candidate.name for judged in advice.unsure] == [INT8]


def test_where_nothing_fits_the_nearest_comes_first_and_what_each_limit_costs_is_known(
    found: Candidates,
) -> None:
    advice = advise(found, limits("latency_ms <= 0.1", "quality_loss_points <= 1"))
    assert advice.best is None and not advice.unsure
    assert advice.misses[0].candidate.name == INT8
    without = {limit.metric: candidate.name for limit, candidate in advice.relaxed}
    assert without == {"latency_s": INT8}


def test_what_was_not_measured_may_fit_for_all_that_is_known(found: Candidates) -> None:
    advice = advise(found, limits("energy_j <= 1", "quality_loss_points <= 100"))
    assert advice.best is None and len(advice.unsure) == len(found.every)


def test_a_slower_model_to_make_pays_after_the_inferences_that_save_as_much(found: Candidates) -> None:
    advice = advise(found, limits("quality_loss_points <= 3"))
    assert advice.best is not None and advice.plain is not None and advice.plain.name == PLAIN
    even = advice.best.break_even
    assert even is not None and even.compressing_s == 1.0 and not even.verdict
    saved_s = advice.plain.values["latency_s"].value - advice.best.values["latency_s"].value
    assert even.inferences == pytest.approx(1.0 / saved_s)
    line = f"break-even against none on onnxruntime: after {even.inferences:,.0f} inferences"
    assert f"{line} (it took 1.00 s more)" in list(advice_lines(advice))
    free = advise(found, limits("quality_loss_points <= 1"))
    assert free.best is not None and free.best.break_even is not None
    assert free.best.break_even.inferences == 0.0
    assert list(advice_lines(free))[-1].endswith("from the first inference, making it took no longer")


def test_a_break_even_that_is_unknown_or_never_comes_says_why(found: Candidates) -> None:
    def last_line(even: BreakEven) -> str:
        every = tuple(replace(each, break_even=each.break_even and even) for each in found.every)
        return list(advice_lines(advise(replace(found, every=every), limits("quality_loss_points <= 1"))))[-1]

    against = "break-even against none on onnxruntime: "
    unknown = BreakEven(None, None, None, None, "the time to compress is unknown")
    assert last_line(unknown) == f"{against}unknown, the time to compress is unknown"
    never = BreakEven(1.0, None, None, None, "never: not faster")
    assert last_line(never) == f"{against}never: not faster"
    paid = BreakEven(90.0, 1000.0, 900.0, 2000.0, "")
    assert last_line(paid).startswith(f"{against}after 1,000 inferences (it took ")
    assert last_line(paid).endswith(" more), in energy after 900, in money after 2,000")


def test_one_seed_and_no_limit_are_enough_for_an_answer_that_is_preliminary(tmp_path: Path) -> None:
    store = build(tmp_path, replace(MADE_UP, seeds=(0,), launches=3))
    advice = advise(candidates_of(store), ())
    assert advice.best is not None and advice.best.preliminary
    assert advice.best.values["quality_loss_points"].low is None
