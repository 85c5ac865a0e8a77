"""Tables of the page: one line a field, each text once, and the best of each group of too many rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reports.content import gather
from reports.formats.html import render_html
from reports.grids.cell import Entry
from reports.page.numbers import as_json, coded, rounded
from reports.page.tables import one_line
from tests.support.synthetic_run import Synthetic, build


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            Entry("35.1 µs†", "34.0 to 36.2 µs, 6 launches", 35.1e-6, low=34.0e-6, high=36.2e-6),
            "35.1 µs† ± 3 %",
        ),
        (Entry("1.01 s", sort=1.01, low=1.009, high=1.011), "1.01 s ± 0.1 %"),
        (Entry("93.20 %", sort=0.932, low=0.928, high=0.936), "93.20 ± 0.4 %"),
        (Entry("-0.30", sort=-0.3, low=-0.5, high=-0.1), "-0.30 ± 0.2"),
        (Entry("0.00", sort=0.0, low=-0.5, high=0.5), "0.00 ± 0.5"),
        (Entry("35.1 µs", sort=35.1e-6), "35.1 µs"),
        (Entry("1.00×", sort=1.0, low=1.0, high=1.0), "1.00×"),
        (Entry("–"), "–"),
        (Entry("", "train 1a2b\nstep 3c4d", mark="key"), "train 1a2b step 3c4d"),
        (Entry("", "a\nb\nc", mark="list"), "a, and 2 more"),
    ],
)
def test_a_field_is_one_line_with_half_the_width_of_its_interval(entry: Entry, text: str) -> None:
    assert one_line(entry) == text


def test_a_long_table_says_what_it_leaves_out(tmp_path: Path) -> None:
    store = build(tmp_path, Synthetic(optimizers=("adam",)))
    content = gather(store, "run-1", figures=False)
    store.close()
    left_out = "8 of 9,000 rows: the lowest <latency> of each backend."
    grids = tuple(replace(grid, left_out=left_out) for grid in content.grids if grid.name == "inference")
    page = render_html(replace(content, grids=grids))
    assert page.count("8 of 9,000 rows: the lowest &lt;latency&gt; of each backend.") == 1
    assert "8 of 9,000" not in render_html(content)


def test_texts_are_written_once() -> None:
    assert coded(["a", "b", "a"]) == {"of": ["a", "b"], "at": [0, 1, 0]}
    assert coded(["a", "b"]) == {"of": ["a", "b"]}


def test_json_of_any_texts_and_numbers_can_stand_in_a_page() -> None:
    texts = ["</script><!--", "&amp;", "\u2028", "\x1b", '"\\']
    numbers = [rounded(value) for value in (float("nan"), float("inf"), -float("inf"), None, 1 / 3, 2.0)]
    written = as_json({"texts": texts, "numbers": numbers})
    assert not set(written) & set("<>&\u2028")
    assert json.loads(written) == {"texts": texts, "numbers": [None, 1e300, -1e300, None, 0.333333, 2]}
