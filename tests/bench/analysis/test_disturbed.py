"""Which launches count as disturbed, on a machine that is mostly calm and on one that is mostly not."""

from __future__ import annotations

import pytest

from bench.analysis.disturbed import repeats_help, what_disturbed


def judged(*reference_s: float | None, disturbed: str = "") -> list[str]:
    launches = {
        number: {"reference_s": seconds, "disturbed": disturbed} for number, seconds in enumerate(reference_s)
    }
    return list(what_disturbed(launches).values())


def test_a_launch_on_a_slower_machine_is_disturbed() -> None:
    found = judged(1.0, 1.05, 1.0, 1.3)
    assert found == ["", "", "", "the machine was 30 % slower than at its best in this run"]


def test_its_own_signs_come_first_and_without_a_reference_they_decide_alone() -> None:
    assert judged(1.0, 1.0, 1.0, 2.0, disturbed="pressure") == ["pressure"] * 4
    assert judged(None, None) == ["", ""]


def test_a_machine_that_is_mostly_slow_is_judged_by_what_it_mostly_was() -> None:
    found = judged(*[1.0] * 8, *[1.3] * 14, 1.5)
    assert found[:22] == [""] * 22
    assert found[22] == "the machine was 15 % slower than it mostly was in this run"


def test_a_few_launches_or_half_of_them_are_judged_by_the_best() -> None:
    assert judged(*[1.0] * 4, *[1.3] * 15).count("") == 4
    assert judged(*[1.0] * 12, *[1.3] * 12).count("") == 12


@pytest.mark.parametrize(
    ("good", "disturbed", "helps"), [(19, 19, True), (20, 11, False), (20, 10, True), (1000, 400, True)]
)
def test_repeats_help_unless_most_of_twenty_launches_were_disturbed(
    good: int, disturbed: int, helps: bool
) -> None:
    assert repeats_help(good, disturbed) is helps
