import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import datasets
from bench.errors import DataError
from bench.workloads.recommendation import (
    CANDIDATES,
    FACTBOOK_TRADE_FACTORS,
    MOVIELENS_100K_FACTORS,
    NEGATIVES,
    Interactions,
    hits_and_gain,
    latest,
    most_popular,
)
from bench.workloads.workload import Data
from techniques.backends.training import TorchTrainingStep

USERS = 30


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ratings by 30 users, in two groups that like different films."""
    random = np.random.RandomState(0)
    lines = []
    for user in range(1, USERS + 1):
        for place, item in enumerate(random.permutation(40)[:20] + 100 * (user % 2) + 1):
            lines.append(f"{user}\t{item}\t{random.randint(1, 6)}\t{880_000_000 + place // 2}")
    random.shuffle(lines)
    folder = tmp_path_factory.mktemp("own")
    (folder / "movielens-100k").mkdir()
    (folder / "movielens-100k" / "u.data").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def data(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setenv("BENCH_DATA_DIR", str(data_folder))
    return MOVIELENS_100K_FACTORS.data()


def pairs(inputs: torch.Tensor, targets: torch.Tensor, target: int) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in inputs[targets[:, 0] == target].tolist()}


def test_each_users_latest_two_ratings_are_held_out(data: Data) -> None:
    ratings = datasets.load("movielens-100k")
    everything = set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))
    trained = pairs(data.train_inputs, data.train_targets, 1)
    assert data.validation is not None
    held_out = pairs(data.test_inputs, data.test_targets, 1)
    before = pairs(data.validation.inputs, data.validation.targets, 1)
    assert len(held_out) == len(before) == USERS
    assert trained | held_out | before == everything
    assert not trained & held_out and not trained & before and not held_out & before
    times = dict(zip(zip(ratings.users, ratings.items, strict=True), ratings.times, strict=True))
    for user, item in held_out:
        assert times[user, item] == ratings.times[ratings.users == user].max()
    for user, item in before:
        assert times[user, item] >= np.sort(ratings.times[ratings.users == user])[-2]


def test_of_two_ratings_at_one_time_the_files_last_is_the_latest() -> None:
    numbers = np.array([7, 3, 5])
    ratings = Interactions(np.zeros(3, dtype=np.int64), numbers, np.array([2, 2, 1]), 1, 8)
    assert latest(ratings, 0).tolist() == [1] and latest(ratings, 1).tolist() == [0]
    assert latest(ratings, 3).tolist() == []


def test_candidates_are_99_different_items_that_the_user_never_rated(data: Data) -> None:
    ratings = datasets.load("movielens-100k")
    everything = set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))
    assert data.test_inputs.shape == (USERS * CANDIDATES, 2)
    assert data.test_inputs.dtype == torch.int64
    assert not pairs(data.test_inputs, data.test_targets, 0) & everything
    for group, targets in zip(
        data.test_inputs.split(CANDIDATES), data.test_targets.split(CANDIDATES), strict=True
    ):
        assert len(set(group[:, 0].tolist())) == 1
        assert len(set(group[:, 1].tolist())) == CANDIDATES
        assert targets.sum() == 1


def test_each_trained_rating_has_four_items_the_user_did_not_rate_before(data: Data) -> None:
    trained = pairs(data.train_inputs, data.train_targets, 1)
    assert len(data.train_inputs) == len(trained) * (1 + NEGATIVES)
    assert not trained & pairs(data.train_inputs, data.train_targets, 0)


def test_samples_are_the_same_each_time(data: Data) -> None:
    again = MOVIELENS_100K_FACTORS.data()
    assert torch.equal(data.train_inputs, again.train_inputs)
    assert torch.equal(data.test_inputs, again.test_inputs)


def ranked(places: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of users whose held-out item is at these places, counted from 0."""
    outputs = torch.arange(CANDIDATES, 0, -1.0).repeat(len(places)).unsqueeze(1)
    targets = torch.zeros_like(outputs)
    for user, place in enumerate(places):
        targets[user * CANDIDATES + place] = 1
    return outputs, targets


def test_hits_and_gain_of_known_places() -> None:
    found = hits_and_gain(*ranked([0, 2, 9, 10]))
    assert found["hit_rate_at_10"] == 0.75
    assert found["ndcg_at_10"] == pytest.approx((1 + 1 / 2 + math.log(2) / math.log(11)) / 4)


def test_users_without_all_their_candidates_are_left_out() -> None:
    outputs, targets = ranked([0, 0])
    assert hits_and_gain(outputs[:164], targets[:164])["hit_rate_at_10"] == 1
    assert hits_and_gain(outputs[:64], targets[:64]) == {"hit_rate_at_10": 0, "ndcg_at_10": 0}


@pytest.mark.parametrize("score", [0.0, math.nan])
def test_equal_scores_and_such_that_are_no_number_hit_nothing(score: float) -> None:
    outputs, targets = ranked([0])
    assert hits_and_gain(torch.full_like(outputs, score), targets)["hit_rate_at_10"] == 0


def test_popularity_is_counted_in_the_training_set(data: Data) -> None:
    # Each item is rated by one of the two groups, and hardly any candidate by anybody.
    assert most_popular(data)["most popular"] > 0.8


def test_training_lowers_the_loss_and_finds_the_held_out_items(data: Data) -> None:
    torch.manual_seed(0)
    model = MOVIELENS_100K_FACTORS.model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    learn = TorchTrainingStep(model, MOVIELENS_100K_FACTORS.loss, optimizer)
    losses = []
    for _ in range(5):
        for inputs, targets in zip(data.train_inputs.split(256), data.train_targets.split(256), strict=True):
            losses.append(learn(MOVIELENS_100K_FACTORS.transform(inputs), targets).item())
    assert losses[-1] < losses[0]
    with torch.no_grad():
        found = hits_and_gain(model(data.test_inputs), data.test_targets)
    assert found["hit_rate_at_10"] > 0.5


def test_model_exports(data: Data) -> None:
    model = MOVIELENS_100K_FACTORS.model().eval()
    batch = data.test_inputs[:8]
    exported = torch.export.export(model, (batch,)).module()
    with torch.no_grad():
        assert model(batch).shape == (8, 1)
        torch.testing.assert_close(exported(batch), model(batch))


@pytest.fixture(scope="module")
def trade() -> Data:
    try:
        datasets.fetch("world-factbook")
    except DataError as error:
        pytest.skip(f"needs the World Factbook: {error}")
    return FACTBOOK_TRADE_FACTORS.data()


def test_each_country_has_one_thing_held_out_that_is_not_trained_on(trade: Data) -> None:
    trained = pairs(trade.train_inputs, trade.train_targets, 1)
    held_out = pairs(trade.test_inputs, trade.test_targets, 1)
    assert trade.validation is not None
    before = pairs(trade.validation.inputs, trade.validation.targets, 1)
    countries = {country for country, _ in held_out}
    assert len(held_out) == len(before) == len(countries) > 200
    assert not held_out & trained and not before & trained and not held_out & before
    assert len(trained) > 5_000


def test_popularity_alone_does_not_meet_the_target(trade: Data) -> None:
    assert 0.3 < most_popular(trade)["most popular"] < 0.5
