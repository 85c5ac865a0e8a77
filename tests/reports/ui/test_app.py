"""`bench ui` over a real socket: who gets in, what each page shows, and that nothing is written."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from html import escape, unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from bench.formatting import visible
from bench.results.store import Store
from tests.support.hostile import NAMES
from tests.support.served_store import HOSTILE, MADE_UP, TOKEN, Get, serving
from tests.support.synthetic_run import build

pytest.importorskip("starlette")


def refused(request: str | urllib.request.Request) -> urllib.error.HTTPError:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    return caught.value


@pytest.mark.parametrize("path", ["/", "/?token=another", "/runs/run-1", "/history"])
def test_without_the_token_nothing_is_shown(address: str, path: str) -> None:
    answer = refused(address + path)
    assert answer.code == 403 and b"run-1" not in answer.read()


def test_a_page_elsewhere_cannot_lead_here_under_its_own_name(address: str) -> None:
    request = urllib.request.Request(f"{address}/?token={TOKEN}", headers={"Host": "evil.example"})
    assert refused(request).code == 400


def test_the_token_leaves_the_address_and_pages_name_no_other_place(address: str, get: Get) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(f"{address}/?token={TOKEN}&q=run-1") as answer:
        assert answer.url == f"{address}/?q=run-1"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        page = answer.read().decode()
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "") and TOKEN not in page


def test_two_stores_are_looked_at_in_one_browser(address: str, results: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with serving(results, "another-token") as other:
        for place, token in ((address, TOKEN), (other, "another-token")):
            opener.open(f"{place}/?token={token}").close()
        for place in (address, other):
            with opener.open(f"{place}/runs/run-1") as answer:
                assert answer.status == 200
    assert refused(f"{address}/?token=another-token").code == 403


def test_pages_without_a_script_allow_none_and_forms_lead_here_only(get: Get) -> None:
    page = unescape(get("/"))
    policy = re.search(r'content="(default-src [^"]*)"', page)
    assert policy is not None and "<script" not in page
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == rules["base-uri"] == "'none'" and rules["form-action"] == "'self'"
    assert "script-src" not in rules


def test_runs_stand_newest_first_and_a_search_finds_one(get: Get) -> None:
    page = get("/")
    assert page.index("run-going-on") < page.index("run-2") < page.index("run-1")
    found = get("/?q=run-2")
    assert 'href="/runs/run-2"' in found and "run-1" not in found and "1 row" in found


def test_records_are_filtered_sorted_and_lead_to_each(get: Get) -> None:
    page = get("/runs/run-1?backend=cpu-eager&state=ok&sort=latency_s")
    rows = re.findall(r"<tr><td><a href=\"(/runs/run-1/record[^\"]+)\">", page)
    assert len(rows) == 1 and "1 row<" in page
    record = get(rows[0].replace("&amp;", "&"))
    assert "latency_s" in record and "bench run --matrix quick" in record and "infer digits/" in record
    everything = get("/runs/run-1")
    assert "no kernel for int8-static" in everything and "skipped" in everything


def test_a_stage_is_found_by_its_key(get: Get, results: Path) -> None:
    store = Store.open(results, create=False)
    stage = next(stage for stage in store.stages("run-1") if stage.kind == "infer")
    store.close()
    assert f"infer: {stage.label}" in get(f"/runs/run-1/record?name={stage.key}")


def test_runs_are_compared(get: Get) -> None:
    page = get("/compare?run=run-1&run=run-2")
    assert "slower" in page


def test_history_lists_cells_and_draws_one(get: Get, results: Path) -> None:
    listed = get("/history?q=cpu-eager")
    links = re.findall(r"href=\"(/history\?metric=[^\"]+)\"", listed)
    assert links
    drawn = get(links[0].replace("&amp;", "&"))
    assert "data:image/png;base64," in drawn and "run-2" in drawn


def test_the_report_is_the_one_that_bench_report_writes(get: Get, results: Path) -> None:
    from reports.content import gather
    from reports.formats.html import render_html

    store = Store.open(results, create=False)
    expected = render_html(gather(store, "run-1"))
    store.close()
    assert get("/runs/run-1/report") == expected


def test_a_run_that_goes_on_is_shown(get: Get) -> None:
    assert "running" in get("/?q=going-on") and "digits" in get("/runs/run-going-on")


def test_pages_are_read_while_a_run_writes(get: Get, results: Path) -> None:
    run_id = "run-being-written"
    many = replace(MADE_UP, optimizers=("adam", "momentum"), seeds=tuple(range(6)))
    writing = threading.Thread(target=lambda: build(results, many, run_id=run_id).close())
    writing.start()
    seen = 0
    while writing.is_alive():
        if run_id in get("/"):
            seen += "running" in get(f"/?q={run_id}")
            assert "digits" in get(f"/runs/{run_id}")
            assert "latency" in get("/runs/run-1") and "slower" in get("/compare?run=run-1&run=run-2")
    writing.join()
    assert seen and "finished" in get(f"/?q={run_id}")
    assert "48 rows" in get(f"/runs/{run_id}")


def test_names_act_nowhere(get: Get) -> None:
    page = get("/runs/run-hostile")
    links = re.findall(r"<tr><td><a href=\"(/runs/run-hostile/record[^\"]+)\">", page)
    for shown in (page, get(links[0].replace("&amp;", "&")), get(f"/?q={quote(HOSTILE)}")):
        assert "<script>alert" not in shown and "\x1b" not in shown
    assert escape("<script>alert(1)<b>") in page
    fields = {unescape(field) for field in re.findall(r"<td>([^<]*)</td>", page)}
    assert {visible(name) for name in NAMES} <= fields


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/runs/nothing", "no run &#39;nothing&#39;"),
        ("/runs/run-1?acuracy=x", "no column &#39;acuracy&#39;"),
        ("/runs/run-1/record?name=x", "has no cell or stage &#39;x&#39;"),
        ("/compare?run=run-1", "compare takes two runs"),
        ("/history?metric=latncy&cell=x", "no metric &#39;latncy&#39;"),
    ],
)
def test_what_is_not_there_gets_one_line(get: Get, path: str, line: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(path)
    assert caught.value.code == 404 and line in caught.value.read().decode()


def test_nothing_is_written_and_nothing_can_be(address: str, get: Get, results: Path) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in results.rglob("*")}

    before = state()
    for path in ("/", "/runs/run-2", "/runs/run-2/report", "/compare?run=run-1&run=run-2", "/history"):
        get(path)
    assert state() == before
    for method in ("POST", "PUT", "DELETE"):
        headers = {"Cookie": f"bench-ui-{urlsplit(address).port}={TOKEN}"}
        request = urllib.request.Request(address, method=method, data=b"", headers=headers)
        assert refused(request).code == 405
