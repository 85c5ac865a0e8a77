"""Times the report of a large run: `python -m tests.performance.large_report 100000`.

A record is a launch with all that it found. The bar is 10 s for the whole command `bench report`, its imports
included, and 8 MB for the page. Before that the same is done part by part. A report of so many cells has
neither raw tables nor figures in files: `--every` makes them too, apart. `--profile` prints the functions
that take most. `--store FOLDER` keeps the run that is made up, and takes it from there the next time. Seconds
are the processor's, which the time that passes is too where nothing else runs: a report uses one thread.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bench.collector import collector
from bench.results.store import STORE_NAME, Store
from reports.content import Content, content_of
from reports.formats.table import FIGURES, FORMATS, Format
from reports.frames.view import read
from reports.write import formats_of
from tests.support.large_run import RUN, build_large

MAX_S, MAX_PAGE_BYTES = 10.0, 8_000_000

MadeT = TypeVar("MadeT")
Row = tuple[str, float, int]
"""What was done, the seconds that it took, and the bytes that it wrote."""


def main(records: int, folder: Path, *, every: bool = False, profile: bool = False) -> list[str]:
    """Print a table of seconds and bytes; return the bars that were missed."""
    known = (folder / STORE_NAME).is_file()
    store, built_s = _timed(lambda: Store.open(folder) if known else build_large(folder, records))
    print(f"{records:,} records entered in {built_s:.1f} s: {store.disk_bytes() / 1e6:.0f} MB")
    profiled = cProfile.Profile(time.process_time)
    if profile:
        profiled.enable()
    rows = list(_rows(store, every=every))
    profiled.disable()
    store.close()
    if profile:
        pstats.Stats(profiled).sort_stats("tottime").print_stats(60)
    for what, seconds, size in rows:
        print(f"{what:<12} {seconds:8.2f} s {f'{size / 1e6:10.2f} MB' if size else ''}")
    whole_s, page_bytes = _whole(folder)
    missed = [f"{whole_s:.1f} s, the bar is {MAX_S:g} s"] if whole_s > MAX_S else []
    if page_bytes > MAX_PAGE_BYTES:
        missed.append(f"a page of {page_bytes / 1e6:.1f} MB, the bar is {MAX_PAGE_BYTES / 1e6:g} MB")
    print("\n".join(f"missed: {bar}" for bar in missed) or f"{whole_s:.1f} s: no bar missed")
    return missed


def _whole(folder: Path) -> tuple[float, int]:
    """Run the command; return the processor's seconds that it took, and the bytes of its page."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "bench", "report", RUN, "--results", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    passed_s, used = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    whole_s, page_bytes = used.ru_utime + used.ru_stime, (folder / RUN / "report.html").stat().st_size
    print(f"bench report {whole_s:8.2f} s {page_bytes / 1e6:10.2f} MB, of {passed_s:.2f} s that passed")
    print(f"{used.ru_maxrss * 1024 / 1e9:.2f} GB at the peak")
    return whole_s, page_bytes


def _rows(store: Store, *, every: bool) -> Iterator[Row]:
    """Do what a report does, part by part; with `every` also what one of so many cells leaves out."""
    with collector(on=False):
        view, seconds = _timed(lambda: read(store, RUN))
        yield "loading", seconds, 0
        content, seconds = _timed(lambda: content_of(view))
        yield "content", seconds, 0
        parts = formats_of(content)
        for format_ in parts:
            yield _written(format_, content)
        others = [row for row in FORMATS.rows() if every and not row.on_request and row not in parts]
        for format_ in others:
            yield _written(format_, content)
    if every:
        drawn, seconds = _timed(lambda: content_of(view, figures=True))
        yield FIGURES, seconds, sum(len(plot.png) + len(plot.svg) for plot in drawn.plots)


def _written(format_: Format, content: Content) -> Row:
    size, seconds = _timed(lambda: sum(len(data) for _, data in format_.render(content)))
    return format_.name, seconds, size


def _timed(make: Callable[[], MadeT]) -> tuple[MadeT, float]:
    began_s = time.process_time()
    return make(), time.process_time() - began_s


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("records", type=int, nargs="?", default=100_000)
    options.add_argument("--store", type=Path)
    options.add_argument("--every", action="store_true")
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as own:
        bars = main(asked.records, asked.store or Path(own), every=asked.every, profile=asked.profile)
    sys.exit(1 if bars else 0)
