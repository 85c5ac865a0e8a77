"""Launches that were recorded, of networks that do known extra work: what scores of checks are drawn from.

A block has fresh servers of two sides, and launches of networks in random order and back: of side A a network
of a hundred layers, of side B the same and some with more layers. Half of the blocks have a neighbour: a
process that keeps a core busy half of the time.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "data" / "launches.csv"

LAYERS = 100
BEFORE = "A"
"""The network of side A, which has `LAYERS`."""

EXTRA = {"+0": 0, "+1": 1, "+3": 3, "+5": 5, "+10": 10}
"""Layers more than that, of each network of side B."""

NETWORKS = (BEFORE, *EXTRA)

COLUMNS = ("block", "neighbour", "servers_s", "metric", "network", "value_s", "launch_s")
"""Of each launch: its value, how long it took, and how long the servers of its block took to start."""


@dataclass(frozen=True)
class Block:
    """Launches of one block by metric and network, in their order; `launch_s` is a launch's seconds."""

    neighbour: bool
    servers_s: float
    launches: Mapping[tuple[str, str], Sequence[float]]
    launch_s: Mapping[str, float]

    @property
    def metrics(self) -> list[str]:
        return sorted({metric for metric, _ in self.launches})


@dataclass(frozen=True)
class Launch:
    """One recorded launch, as a row of the file."""

    block: int
    neighbour: bool
    servers_s: float
    metric: str
    network: str
    value_s: float
    launch_s: float

    def row(self) -> list[str]:
        texts = (f"{self.servers_s:.2f}", self.metric, self.network, f"{self.value_s:.5g}")
        return [str(self.block), str(int(self.neighbour)), *texts, f"{self.launch_s:.2f}"]


def read_launches(path: Path = RECORDED) -> list[Launch]:
    """Return the launches of a file, none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            Launch(
                int(row["block"]),
                row["neighbour"] == "1",
                float(row["servers_s"]),
                row["metric"],
                row["network"],
                float(row["value_s"]),
                float(row["launch_s"]),
            )
            for row in csv.DictReader(file)
        ]


def append(launches: Sequence[Launch], path: Path = RECORDED) -> None:
    """Write the launches of a block after those that are there."""
    new = not path.is_file()
    with path.open("a", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows([COLUMNS] if new else [])
        rows.writerows(launch.row() for launch in launches)


def blocks_of(launches: Sequence[Launch]) -> list[Block]:
    """Return the blocks of launches, in their order."""
    numbers = sorted({launch.block for launch in launches})
    return [_block([launch for launch in launches if launch.block == number]) for number in numbers]


def _block(launches: Sequence[Launch]) -> Block:
    values: dict[tuple[str, str], list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for launch in launches:
        values.setdefault((launch.metric, launch.network), []).append(launch.value_s)
        seconds.setdefault(launch.metric, []).append(launch.launch_s)
    means = {metric: sum(each) / len(each) for metric, each in seconds.items()}
    return Block(launches[0].neighbour, launches[0].servers_s, values, means)
