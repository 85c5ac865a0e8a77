"""The trials of an optimizer: the same number for each, in its space, the first few those of any number."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from techniques.optimizers import OPTIMIZERS, OptimizerRow, Span
from techniques.optimizers.search import searched, trials_of, with_settings
from techniques.registry import Technique

TUNED = [name for name, row in OPTIMIZERS.rows().items() if row.space]


def optimizer(text: str) -> Technique[OptimizerRow]:
    return OPTIMIZERS.parse(text)


def rates(text: str, count: int, seed: int = 0) -> list[float]:
    return [float(trial.settings["lr"]) for trial in trials_of(optimizer(text), count, seed)]


@pytest.mark.parametrize("name", TUNED)
def test_every_optimizer_has_as_many_trials_each_in_its_space_and_written_so_that_it_reads_the_same(name):
    trials = trials_of(optimizer(name), 20, seed=0)
    assert len({trial.text for trial in trials}) == 20
    for trial in trials:
        assert OPTIMIZERS.parse(trial.text).settings == trial.settings
        for key, span in trial.row.space.items():
            assert span.low <= trial.settings[key] <= span.high
        others = trial.settings.keys() - trial.row.space.keys()
        assert all(trial.settings[key] == trial.row.defaults[key] for key in others)


def test_every_optimizer_of_the_table_has_a_space_with_its_rate():
    assert [name for name, row in OPTIMIZERS.rows().items() if "lr" not in row.space] == ["none"]


@pytest.mark.parametrize("name", ["adam", "adamw", "ademamix"])
def test_the_first_trials_of_twenty_are_those_of_five(name):
    assert trials_of(optimizer(name), 20, seed=3)[:5] == trials_of(optimizer(name), 5, seed=3)


def test_trials_are_the_same_each_time_and_others_for_another_seed():
    assert rates("adam", 8) == rates("adam", 8)
    assert not set(rates("adam", 8)) & set(rates("adam", 8, seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_rates_fill_the_span_evenly_however_few_there_are(seed):
    """One in each quarter of the decades by the fourth trial, one in each sixteenth by the sixteenth."""
    for count in (4, 16):
        shares = [(math.log10(rate) + 5) / 4 for rate in rates("adam", count, seed)]
        assert sorted(int(share * count) for share in shares) == list(range(count))


def test_a_setting_that_is_written_stays_and_is_not_searched():
    written = optimizer("adamw:lr=0.01,eps=1e-06")
    assert searched(written) == ("weight_decay",)
    trials = trials_of(written, 5, seed=0)
    assert {(trial.settings["lr"], trial.settings["eps"]) for trial in trials} == {(0.01, 1e-6)}
    assert len({trial.settings["weight_decay"] for trial in trials}) == 5


def test_a_decay_close_to_one_keeps_its_distance_to_one():
    for trial in trials_of(optimizer("ademamix"), 20, seed=0):
        distance = 1 - float(trial.settings["beta3"])
        assert distance == pytest.approx(float(f"{distance:.4g}"), rel=1e-9)


def test_a_setting_out_of_its_range_is_refused():
    with pytest.raises(ValueError, match="out of its range"):
        with_settings(optimizer("adam"), {"lr": -1.0})


def drawn(count: int, spans: list[Span], seed: int) -> Iterator[list[float]]:
    """Yield the points that Optuna's sampler draws of shares from 0 to 1, once it knows what they are."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = [str(number) for number in range(len(spans))]
    space = {name: optuna.distributions.FloatDistribution(0, 1) for name in names}
    sampler = optuna.samplers.QMCSampler(qmc_type="halton", scramble=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    # Its first trial is drawn at random: the space is that of the trials before.
    study.add_trial(
        optuna.trial.create_trial(params=dict.fromkeys(names, 0.5), distributions=space, value=0.0)
    )
    for _ in range(count):
        trial = study.ask(space)
        yield [trial.params[name] for name in names]
        study.tell(trial, 0.0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["adam", "muon", "sophia"])
def test_the_points_are_those_of_optunas_quasi_random_sampler(name):
    spans = list(OPTIMIZERS.get(name).space.items())
    points = list(drawn(20, [span for _, span in spans], seed=7))
    for trial, point in zip(trials_of(optimizer(name), 20, seed=7), points, strict=True):
        for (key, span), share in zip(spans, point, strict=True):
            assert trial.settings[key] == pytest.approx(span.at(share), rel=1e-3)
