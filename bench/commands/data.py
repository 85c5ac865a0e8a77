"""`bench data`: list, fetch and locate data sets."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands import Command
from bench.formatting import print_table, say

Name = Annotated[str, typer.Argument(help="Data set.")]


def list_() -> None:
    """List the data sets with licence, size and location."""
    from bench.datasets import DATASETS, locate

    rows = []
    for dataset in DATASETS.values():
        place = locate(dataset.name)
        where = str(place) if place else f"not found; `bench data get {dataset.name}` fetches it"
        rows.append(
            (dataset.name, dataset.licence, f"{dataset.size_bytes / 1e6:.1f} MB", where, dataset.about)
        )
    print_table("data sets", rows)


def get(name: Name) -> None:
    """Find a data set, or download it into the cache."""
    from bench import datasets

    say(datasets.fetch(name, say))


def where(name: Name) -> None:
    """Print the folder of a data set; exits with 1 if it is not found."""
    from bench import datasets

    place = datasets.locate(name)
    say(place if place is not None else f"{name}: not found; `bench data get {name}` fetches it")
    if place is None:
        raise typer.Exit(1)


COMMANDS = tuple(
    Command(name, "Look", function, parent="data")
    for name, function in (("list", list_), ("get", get), ("where", where))
)
