"""The performance profile: the share of workloads within so many times the best (Dolan & Moré 2002)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.frames.ranking import rank
from reports.frames.view import read
from reports.plots import profile
from reports.plots.draw import _profile
from tests.support.drawn import Keep
from tests.support.trainings import build_trainings

NEEDED = {
    **{"digits/adam": (240.0,) * 3, "digits/sgd": (480.0,) * 3},
    **{"letters/adam": (480.0,) * 3, "letters/sgd": (240.0,) * 3},
}
"""Adam is best on digits and takes twice as long as the best on letters, SGD the other way round."""


def test_of_many_optimizers_the_best_and_the_baseline_are_drawn(tmp_path: Path, kept: Keep) -> None:
    names = [f"sgd:lr={number}" for number in range(1, 14)]
    needed = {
        f"{workload}/{name}": (1000.0 - 40 * place,) * 3
        for workload in ("digits", "letters")
        for place, name in enumerate(names)
    }
    store = build_trainings(tmp_path, needed)
    view = read(store, "run-1")
    store.close()
    figures = kept(profile)
    plot = profile.draw_profile(rank(view, by_steps=True).across)
    assert (
        plot is not None and "The 11 best, the baseline included, of 13 optimizers are shown" in plot.caption
    )
    drawn = [str(line.get_label()).split()[0] for line in figures[0].axes[0].get_lines()]
    assert drawn == [*reversed(names[3:]), names[0]]


def test_each_optimizer_has_its_staircase_and_its_area(tmp_path: Path, kept: Keep) -> None:
    store = build_trainings(tmp_path, NEEDED)
    view = read(store, "run-1")
    store.close()
    figures = kept(profile)
    plot = _profile(view)
    assert plot is not None and plot.name == "performance-profile"
    assert plot.title == "Performance profile: time to the target on 2 workloads"
    axes = figures[0].axes[0]
    drawn = {str(line.get_label()).split()[0]: line for line in axes.get_lines()}
    for name in ("adam", "sgd"):
        taus, shares = drawn[name].get_data()
        assert list(shares) == [0.5, 1.0, 1.0] and list(taus) == pytest.approx([1, 2, 4], rel=0.02)
        # The area from 1 to 4 over 3: half of it up to 2, all of it from there.
        assert float(str(drawn[name].get_label()).split()[1]) == pytest.approx(5 / 6, abs=0.01)
    assert axes.get_xlabel() == "time to the target, as a multiple of the best"
