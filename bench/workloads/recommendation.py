"""What a user takes next, from who took what: films that viewers rate, what countries grow, make and trade.

As in He et al. 2017, "Neural Collaborative Filtering" (arXiv:1708.05031): a rating of any number of stars
counts as one, each user's latest is held out, and the model is to rank it among 99 items that the user never
rated. The one before the latest is held out for validation. Training sees every other rating, and for each
four items that it does not know the user to have rated, drawn once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench import datasets
from bench.datasets import factbook_trade
from bench.datasets.movielens_100k import ITEMS, USERS
from bench.workloads.workload import Data, Samples, Workload

if TYPE_CHECKING:
    from bench.datasets.movielens_100k import Ratings

CANDIDATES = 100
NEGATIVES = 4
SAMPLING_SEED = 0


class Factors(nn.Module):
    """Generalized matrix factorization (He et al. 2017, section 3.2), with a bias for each user and item.

    Input: pairs of user and item, int64 of shape (batch, 2); output (batch, 1), the logit of a rating.
    """

    def __init__(self, users: int, items: int, factors: int = 32) -> None:
        super().__init__()
        self.users = nn.Embedding(users, factors)
        self.items = nn.Embedding(items, factors)
        self.user_bias = nn.Embedding(users, 1)
        self.item_bias = nn.Embedding(items, 1)
        self.weigh = nn.Linear(factors, 1)
        for factor in (self.users, self.items):
            nn.init.normal_(factor.weight, std=0.05)
        for bias in (self.user_bias, self.item_bias):
            nn.init.zeros_(bias.weight)
        # So it starts as plain matrix factorization.
        nn.init.ones_(self.weigh.weight)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 1) of pairs (batch, 2)."""
        user, item = pairs[:, 0], pairs[:, 1]
        shared: torch.Tensor = self.weigh(self.users(user) * self.items(item))
        return shared + self.user_bias(user) + self.item_bias(item)


@dataclass(frozen=True)
class Interactions:
    """Who took what, one entry for each time, int64 of shape (n,); the `times` order them.

    Users and items count from 0, and there are so many in all.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.int64]
    user_count: int
    item_count: int


def leave_one_out(taken: Interactions) -> Data:
    """Return data in which each user's latest item is for the test, and the one before for validation."""
    random = np.random.RandomState(SAMPLING_SEED)
    test, validation = latest(taken, 0), latest(taken, 1)
    others = np.setdiff1d(np.arange(len(taken.users)), [*test, *validation])
    known = _rated(taken, others)
    users = np.repeat(taken.users[others], 1 + NEGATIVES)
    targets = np.tile([1.0] + [0.0] * NEGATIVES, len(others))
    items = _unrated(known, users, random)
    items[targets == 1] = taken.items[others]
    on_test = _candidates(taken, test, random)
    return Data(
        torch.as_tensor(np.column_stack([users, items])),
        torch.as_tensor(targets, dtype=torch.float32).unsqueeze(1),
        *(on_test.inputs, on_test.targets),
        validation=_candidates(taken, validation, random),
    )


def latest(ratings: Interactions, later: int) -> NDArray[np.int64]:
    """Return the number of the rating of each user after which there are `later` ones, by user.

    Of several at one time the file's last is the latest. Users with as few ratings as `later` have none.
    """
    order = np.lexsort((ratings.times, ratings.users))
    users = ratings.users[order]
    ends = np.flatnonzero(np.append(users[1:] != users[:-1], True))
    starts = np.append(0, ends[:-1] + 1)
    return order[(ends - later)[ends - later >= starts]]


def _rated(taken: Interactions, which: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return who rated what, shape (users, items), by these of the ratings."""
    rated = np.zeros((taken.user_count, taken.item_count), dtype=np.bool_)
    rated[taken.users[which], taken.items[which]] = True
    return rated


def _unrated(
    known: NDArray[np.bool_], users: NDArray[np.int64], random: np.random.RandomState
) -> NDArray[np.int64]:
    """Draw for each user in `users`, shape (n,), an item that is not known to be rated.

    What was held out may be among them: never to draw it would give it away.
    """
    item_count = known.shape[1]
    items = random.randint(item_count, size=len(users))
    while len(again := np.flatnonzero(known[users, items])):
        items[again] = random.randint(item_count, size=len(again))
    return items


def _candidates(taken: Interactions, held_out: NDArray[np.int64], random: np.random.RandomState) -> Samples:
    """Return a hundred pairs for each user with the held-out one first, (users * 100, 2); its target is 1."""
    rated = _rated(taken, np.arange(len(taken.users)))
    users = taken.users[held_out]
    others = [random.permutation(np.flatnonzero(~rated[user]))[: CANDIDATES - 1] for user in users]
    items = np.column_stack([taken.items[held_out], others])
    pairs = np.column_stack([users.repeat(CANDIDATES), items.ravel()])
    targets = np.tile([1.0] + [0.0] * (CANDIDATES - 1), len(held_out))
    return Samples(torch.as_tensor(pairs), torch.as_tensor(targets, dtype=torch.float32).unsqueeze(1))


def hits_and_gain(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return hit rate and NDCG at 10 over the users; outputs and targets (users * 100, 1).

    A user whose hundred is not whole is left out; without any user both are 0.
    """
    users = len(outputs) // CANDIDATES
    scores, held_out = (
        values[: users * CANDIDATES].reshape(users, CANDIDATES) for values in (outputs, targets == 1)
    )
    # Ties count against the held-out item, and so does a score that is not a number.
    ahead = (~(scores < scores[held_out].unsqueeze(1)) & ~held_out).sum(1)
    gains = torch.where(ahead < 10, 1 / (ahead + 2.0).log2(), 0.0)
    return {
        "hit_rate_at_10": (gains > 0).double().sum().item() / max(1, users),
        "ndcg_at_10": gains.double().sum().item() / max(1, users),
    }


def most_popular(data: Data) -> dict[str, float]:
    """Return the hit rate of ranking items by how many users rated them in the training set."""
    rated = data.train_inputs[data.train_targets[:, 0] == 1, 1]
    counts = torch.bincount(rated, minlength=int(data.test_inputs[:, 1].max()) + 1)
    popularity = counts[data.test_inputs[:, 1]].unsqueeze(1)
    return {"most popular": hits_and_gain(popularity, data.test_targets)["hit_rate_at_10"]}


def _ratings() -> Data:
    ratings: Ratings = datasets.load("movielens-100k")
    return leave_one_out(Interactions(ratings.users, ratings.items, ratings.times, USERS, ITEMS))


def _workload(data: Callable[[], Data], model: Callable[[], nn.Module]) -> Workload:
    # No students: their teacher's outputs are softened over classes, and here there are none.
    return Workload(
        data=data,
        transform=lambda pairs: pairs,
        model=model,
        loss=nn.functional.binary_cross_entropy_with_logits,
        quality=hits_and_gain,
        outputs="values",
        baselines=most_popular,
    )


MOVIELENS_100K_FACTORS = _workload(_ratings, lambda: Factors(USERS, ITEMS))


@cache
def _trade() -> Interactions:
    """Return which place does what; in the random order of `factbook_trade`, since none has a time."""
    pairs = factbook_trade.load()
    places, things = (sorted({pair[part] for pair in pairs}) for part in (0, 1))
    users, items = ({name: number for number, name in enumerate(names)} for names in (places, things))
    return Interactions(
        np.array([users[place] for place, _ in pairs]),
        np.array([items[thing] for _, thing in pairs]),
        np.arange(len(pairs)),
        *(len(places), len(things)),
    )


FACTBOOK_TRADE_FACTORS = _workload(
    lambda: leave_one_out(_trade()), lambda: Factors(_trade().user_count, _trade().item_count)
)
