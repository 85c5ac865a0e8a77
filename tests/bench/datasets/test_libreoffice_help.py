import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bench.datasets import libreoffice_help

PAGE = """
<html><body><div class="howtogetbody"><p class="embedded">An embedded paragraph has no id</p></div>
<p id="bm_id7" class="bug">an entry of the index</p>
<h1 id="hd_id31" dir="auto"><a name="sum"></a>Sums &amp;
  totals</h1>
<p id="par_id32" dir="auto">Choose <span class="emph">Edit - Copy</span>.<br/>Then paste.</p>
<p id="par_id33" dir="auto"></p>
<p id="par_id34">Press <span class="switchinline"><span hidden="true" class="MAC">Command</span><span
hidden="true">Ctrl</span></span>+C</p>
</body></html>
"""


def test_paragraphs_and_headings_come_by_their_ids_without_markup() -> None:
    assert libreoffice_help.paragraphs(PAGE) == {
        "hd_id31": "Sums & totals",
        "par_id32": "Choose Edit - Copy. Then paste.",
        "par_id33": "",
    }


def test_pairs_are_of_one_page_and_one_id_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def page(**paragraphs: str) -> str:
        return "".join(f'<p id="par_{number}">{text}</p>\n' for number, text in paragraphs.items())

    pages = {
        "en-US/text/a/one.html": page(id1="Open", id2="Close", id3="Calc", id4="", id5="English only"),
        "de/text/a/one.html": page(id2="Schließen", id1="Öffnen", id3="Calc", id4="leer"),
        "en-US/text/b.html": page(id1="Save"),
        "de/text/b.html": page(id1="Speichern"),
        "en-US/text/english.html": page(id1="No such page in German"),
    }
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(
        libreoffice_help, "SET", replace(libreoffice_help.SET, content_sha256=hashlib.sha256().hexdigest())
    )
    for path, text in pages.items():
        file = libreoffice_help.SET.folder / "usr/share/libreoffice/help" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    pairs = libreoffice_help.load()

    assert pairs.pages == ("a/one.html", "a/one.html", "b.html")
    assert pairs.english == ("Open", "Close", "Save")
    assert pairs.german == ("Öffnen", "Schließen", "Speichern")
