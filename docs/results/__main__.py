"""`python -m docs.results PAGE RESULTS [RUN]`: write a page of results from a run of a results folder.

PAGE is the matrix of the run; RUN is its latest run by default. The table behind the page goes to
`results/examples`, and the page is named in mkdocs.yml and in the table of results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from docs.reference.pages import EXAMPLES, PAGES_FOLDER, ROOT
from docs.results import backends, compression, frameworks, generation, optimizers, requests, standard
from docs.results.measured import Measured, listed, measured_by, write


def _no_figures(_: Measured) -> Iterable[tuple[str, bytes]]:
    return ()


@dataclass(frozen=True)
class Page:
    """What writes a page of a matrix, the file of the table kept beside it, that table, and its figures.

    `title` and `question` are those of the page in the navigation and in the table of results.
    """

    page: Callable[[Measured], str]
    csv: str
    table: str
    title: str
    question: str
    figures: Callable[[Measured], Iterable[tuple[str, bytes]]] = _no_figures


PAGES = {
    "backends": Page(
        backends.page,
        backends.CSV,
        "runtimes",
        "Backends",
        "every backend, format and precision on three models",
    ),
    "compression": Page(
        compression.page,
        compression.CSV,
        "tradeoff",
        "Compression",
        "what each compression costs, saves and whom it costs, and why it is not faster",
    ),
    "frameworks": Page(
        frameworks.page,
        frameworks.CSV,
        "training",
        "Frameworks",
        "one model trained alike in PyTorch, Keras on three back ends, and Flax",
    ),
    "generation": Page(
        generation.page,
        generation.CSV,
        "generation",
        "Generation",
        "a language model's time to each token",
    ),
    "optimizers": Page(
        optimizers.page,
        optimizers.CSV,
        "optimizers",
        "Optimizers",
        "which optimizer reaches the target first, on each workload and over all",
        optimizers.figures,
    ),
    "requests": Page(
        requests.page,
        requests.CSV,
        "requests",
        "Requests",
        "requests for texts that arrive at random: how many each engine serves within bounds",
    ),
    "standard": Page(
        standard.page,
        standard.CSV,
        "inference",
        "standard",
        "seven kinds of models, compressions and runtimes, in an hour",
    ),
}

_OF_A_STORE = ("infer_key", "lower_key", "evaluate_key", "stage_key")


def main() -> None:
    """Read the arguments, and write the page and its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", choices=PAGES)
    parser.add_argument("results", type=Path)
    parser.add_argument("run", nargs="?")
    chosen = parser.parse_args()
    page = PAGES[chosen.page]
    measured = measured_by(chosen.results, chosen.run)
    if measured.matrix != chosen.page:
        parser.error(f"the run is of the matrix {measured.matrix}, not of {chosen.page}; name a run")
    frame = measured.frames[page.table]
    kept = frame.drop(columns=[column for column in _OF_A_STORE if column in frame]).dropna(axis=1, how="all")
    kept.to_csv(ROOT / EXAMPLES / page.csv, index=False, float_format="%.4g")
    write(PAGES_FOLDER / "results" / f"{chosen.page}.md", page.page(measured))
    for name, content in page.figures(measured):
        (ROOT / EXAMPLES / name).write_bytes(content)
    listed(ROOT, chosen.page, page.title, page.question, measured.day)


if __name__ == "__main__":
    main()
