"""LibreOffice's help in English and German: the same paragraphs, by their ids, from two Debian packages."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from bench.datasets.packaged import Package, PackagedSet

# Debian's point release changes with security updates that leave the pages as they are: only these are kept,
# and so only they are hashed.
_HELP = "usr/share/libreoffice/help"
SET = PackagedSet(
    "libreoffice-help",
    (
        Package("Debian", "libreoffice-help-en-us", keep=(f"{_HELP}/en-US/text/*.html",)),
        Package("Debian", "libreoffice-help-de", keep=(f"{_HELP}/de/text/*.html",)),
    ),
    content_sha256="0231251d6230897d7cc166774b11e49ec8433181f40ca534aed206c1557cbe8a",
)

locate = SET.locate
fetch = SET.fetch

_PARAGRAPH = re.compile(r'<(p|h[1-6]) id="((?:par|hd)_[^"]*)"[^>]*>(.*?)</\1>', re.DOTALL)
_HIDDEN = "<span hidden="
_TAG = re.compile(r"<[^>]+>")
_BREAK = re.compile(r"<br\b[^>]*>")


@dataclass(frozen=True)
class ParagraphPairs:
    """Paragraphs with their translations and the page that each is from, all in the same order."""

    pages: tuple[str, ...]
    english: tuple[str, ...]
    german: tuple[str, ...]


def load() -> ParagraphPairs:
    """Return all pairs that differ in the two languages, without markup, in the order of the pages' paths."""
    folder = SET.here() / _HELP
    pairs: list[tuple[str, str, str]] = []
    for path in sorted((folder / "en-US" / "text").rglob("*.html")):
        page = path.relative_to(folder / "en-US" / "text")
        german = paragraphs(_read(folder / "de" / "text" / page))
        for number, text in paragraphs(_read(path)).items():
            translation = german.get(number, "")
            if text and translation and text != translation:
                pairs.append((page.as_posix(), text, translation))
    pages, texts, translations = zip(*pairs, strict=True)
    return ParagraphPairs(pages, texts, translations)


def paragraphs(page: str) -> dict[str, str]:
    """Return the text of a page's paragraphs and headings by their ids, white space made one blank each.

    Those that hide a part, wording for another system or program, are left out.
    """
    return {
        number: _text(content) for _, number, content in _PARAGRAPH.findall(page) if _HIDDEN not in content
    }


def _text(content: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", _BREAK.sub(" ", content))).split())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
