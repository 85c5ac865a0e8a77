"""What the page has inside: the libraries as they were published, and no way to run text."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import reports.page
from bench.formatting import visible
from reports.page.assets import script, script_of_tables, style

FOLDER = Path(reports.page.__file__).parent


def test_libraries_are_those_that_are_named_beside_them() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \|.*\| `([0-9a-f]{64})` \|$", (FOLDER / "vendor/README.md").read_text(), re.M
    )
    files = {path.name: path for path in (FOLDER / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert dict(rows) == {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_own_scripts_never_make_markup_or_code_of_texts() -> None:
    scripts = sorted((FOLDER / "scripts").glob("*.js"))
    own = "\n".join(path.read_text() for path in scripts)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", own)
    pages = script() + script_of_tables()
    assert all(path.read_text().strip() in pages for path in scripts), "a script that no page has"


def test_script_and_style_end_no_element_and_hide_no_character() -> None:
    for text in (script(), script_of_tables(), style()):
        assert (
            "</" + "script" not in text.lower() and "</" + "style" not in text.lower() and "<!--" not in text
        )
        assert visible(text) == text and "sourceMappingURL" not in text
