"""`python -m docs.results PAGE RESULTS [RUN]`: write a page of results from a run of a results folder.

PAGE is the matrix of the run; RUN is its latest run by default. The table behind the page goes to
`results/examples`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from docs.reference.pages import EXAMPLES, PAGES_FOLDER, ROOT
from docs.results import backends, compression, optimizers, standard
from docs.results.measured import Measured, measured_by, write


def _no_figures(_: Measured) -> Iterable[tuple[str, bytes]]:
    return ()


@dataclass(frozen=True)
class Page:
    """What writes a page of a matrix, the file of the table kept beside it, that table, and its figures."""

    page: Callable[[Measured], str]
    csv: str
    table: str
    figures: Callable[[Measured], Iterable[tuple[str, bytes]]] = _no_figures


PAGES = {
    "backends": Page(backends.page, backends.CSV, "runtimes"),
    "compression": Page(compression.page, compression.CSV, "tradeoff"),
    "optimizers": Page(optimizers.page, optimizers.CSV, "optimizers", optimizers.figures),
    "standard": Page(standard.page, standard.CSV, "inference"),
}

_OF_A_STORE = ("infer_key", "lower_key", "evaluate_key")


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
    path = f"results/{chosen.page}.md"
    write(PAGES_FOLDER / path, page.page(measured))
    for name, content in page.figures(measured):
        (ROOT / EXAMPLES / name).write_bytes(content)
    if path not in (ROOT / "mkdocs.yml").read_text():
        print(f"{path} is new: name it in mkdocs.yml and in docs/pages/results/index.md")


if __name__ == "__main__":
    main()
