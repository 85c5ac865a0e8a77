"""`python -m docs.results PAGE RESULTS [RUN]`: write a page of results from a run of a results folder.

PAGE is `backends` or `compression`, the matrix of the run; RUN is its latest run by default. The table behind
the page goes to `results/examples`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from docs.reference.pages import EXAMPLES, PAGES_FOLDER, ROOT
from docs.results import backends, compression
from docs.results.measured import measured_by, write

PAGES = {"backends": (backends, "runtimes"), "compression": (compression, "tradeoff")}
"""The module of each page, and the table that is kept beside it."""

_OF_A_STORE = ("infer_key", "lower_key", "evaluate_key")


def main() -> None:
    """Read the arguments, and write the page and its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", choices=PAGES)
    parser.add_argument("results", type=Path)
    parser.add_argument("run", nargs="?")
    chosen = parser.parse_args()
    module, name = PAGES[chosen.page]
    measured = measured_by(chosen.results, chosen.run)
    if measured.matrix != chosen.page:
        parser.error(f"the run is of the matrix {measured.matrix}, not of {chosen.page}; name a run")
    frame = measured.frames[name]
    kept = frame.drop(columns=[column for column in _OF_A_STORE if column in frame]).dropna(axis=1, how="all")
    kept.to_csv(ROOT / EXAMPLES / module.CSV, index=False, float_format="%.4g")
    path = f"results/{chosen.page}.md"
    write(PAGES_FOLDER / path, module.page(measured))
    if path not in (ROOT / "mkdocs.yml").read_text():
        print(f"{path} is new: name it in mkdocs.yml and in docs/pages/results/index.md")


if __name__ == "__main__":
    main()
