"""Times the report of a large run: `python -m tests.performance.large_report 100000`.

A record is a launch with all that it found. The bar is 10 s from the store to every file, and 8 MB for the
page. A report of so many cells has no figures in files; `--figures` draws them too, apart. `--profile` prints
the functions that take most. Seconds are the processor's, which the time that passes is too where nothing
else runs: a report uses one thread.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bench.results.store import Store
from reports.content import Content, content_of, uncollected
from reports.formats.table import FORMATS, Format
from reports.frames.view import read
from reports.plots import draw_all
from tests.support.large_run import RUN, build_large

MAX_S, MAX_PAGE_BYTES = 10.0, 8_000_000

FIGURES = "figures drawn"

MadeT = TypeVar("MadeT")
Row = tuple[str, float, int]
"""What was done, the seconds that it took, and the bytes that it wrote."""


def main(records: int, *, figures: bool = False, profile: bool = False) -> list[str]:
    """Print a table of seconds and bytes; return the bars that were missed."""
    with tempfile.TemporaryDirectory() as folder:
        store, built_s = _timed(lambda: build_large(Path(folder), records))
        print(f"{records:,} records entered in {built_s:.1f} s: {store.disk_bytes() / 1e6:.0f} MB")
        profiled = cProfile.Profile(time.process_time)
        if profile:
            profiled.enable()
        rows = list(_rows(store, figures=figures))
        profiled.disable()
        store.close()
    if profile:
        pstats.Stats(profiled).sort_stats("tottime").print_stats(60)
    for what, seconds, size in rows:
        print(f"{what:<12} {seconds:8.2f} s {f'{size / 1e6:10.2f} MB' if size else ''}")
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{peak_bytes / 1e9:.2f} GB at the peak")
    whole_s = sum(seconds for what, seconds, _ in rows if what != FIGURES)
    page_bytes = next(size for what, _, size in rows if what == "html")
    missed = [f"{whole_s:.1f} s, the bar is {MAX_S:g} s"] if whole_s > MAX_S else []
    if page_bytes > MAX_PAGE_BYTES:
        missed.append(f"a page of {page_bytes / 1e6:.1f} MB, the bar is {MAX_PAGE_BYTES / 1e6:g} MB")
    print("\n".join(f"missed: {bar}" for bar in missed) or f"{whole_s:.1f} s: no bar missed")
    return missed


def _rows(store: Store, *, figures: bool) -> Iterator[Row]:
    """Do what a report does, part by part."""
    with uncollected():
        view, seconds = _timed(lambda: read(store, RUN))
        yield "loading", seconds, 0
        content, seconds = _timed(lambda: content_of(view))
        yield "content", seconds, 0
        for format_ in FORMATS.rows():
            if not format_.on_request:
                yield _written(format_, content)
    if figures:
        plots, seconds = _timed(lambda: draw_all(content.frames, view))
        yield FIGURES, seconds, sum(len(plot.png) + len(plot.svg) for plot in plots)


def _written(format_: Format, content: Content) -> Row:
    size, seconds = _timed(lambda: sum(len(data) for _, data in format_.render(content)))
    return format_.name, seconds, size


def _timed(make: Callable[[], MadeT]) -> tuple[MadeT, float]:
    began_s = time.process_time()
    return make(), time.process_time() - began_s


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("records", type=int, nargs="?", default=100_000)
    options.add_argument("--figures", action="store_true")
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    sys.exit(1 if main(asked.records, figures=asked.figures, profile=asked.profile) else 0)
