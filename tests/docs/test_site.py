"""The site builds without a warning, its links lead somewhere, and its pages fetch nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.pages import README, ROOT, anchors, links


def test_every_link_leads_to_a_page_or_a_heading(site):
    for path in sorted(site.rglob("*.md")):
        text = path.read_text()
        for link in links(text):
            if link.startswith(("https://", "http://")):
                continue
            place, _, heading = link.partition("#")
            target = (path.parent / place).resolve() if place else path
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if heading:
                assert heading in anchors(target.read_text()), f"{path.relative_to(site)}: {link}"


def test_every_link_of_the_readme_leads_to_a_file():
    for link in links(README.read_text()):
        assert link.startswith("https://") or (ROOT / link.partition("#")[0]).exists(), link


def test_every_page_is_in_the_navigation(site):
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/-]+\.md", str(configuration["nav"])))
    assert listed == {str(path.relative_to(site)) for path in site.rglob("*.md")}


def test_the_site_builds_strictly_and_its_pages_fetch_nothing(site, tmp_path):
    pytest.importorskip("zensical")
    shutil.copytree(site, tmp_path / "docs" / "pages")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(site.rglob("*.md")))  # and one for what is not found
    for page in pages:
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?(https?:[^\">\s]+)", page.read_text())
        styles = re.findall(r"<link[^>]*\srel=\"?stylesheet[^>]*href=\"?(https?:[^\">\s]+)", page.read_text())
        assert not fetched + styles, page.name
