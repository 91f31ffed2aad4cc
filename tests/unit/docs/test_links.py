"""Every link of every page leads somewhere, and every file that a page names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    if "node_modules" not in page.parts  # packages of others, which npm has put there
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"(?<![\w/.-])(?:docs|tests|protos|libs|services)/[\w./-]+\.(?:md|py|proto|lua)\b")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links(page: Path) -> Iterator[str]:
    for link in LINK.findall(page.read_text()):
        if not link.startswith(("http://", "https://")):
            yield link


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_title_of_it(page: Path):
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page: Path):
    assert [path for path in CODE_PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []
