"""Decision records are numbered without gaps and stay short; every dependency has its line of reason."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
DEPENDENCIES = {re.split(r"[^\w-]", line)[0] for lines in REQUIREMENTS for line in lines} - {"servemesh"}


def test_records_are_numbered_without_gaps():
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_begins_with_its_number_its_date_and_its_state(record: Path):
    title, state, *_ = record.read_text().splitlines()
    assert title.startswith(f"# {int(record.name[:4])}. ")
    assert re.fullmatch(r"Date: \d{4}-\d\d-\d\d · \w+.*", state)


def test_every_dependency_has_a_line_of_reason():
    tables = [record.read_text().lower() for record in RECORDS if record.name[:4] in ("0002", "0011", "0016")]
    parts = {
        part
        for row in re.findall(r"^\| (.+?) \|", "\n".join(tables), re.MULTILINE)
        for part in re.findall(r"[\w-]+", row)
    }
    assert sorted(DEPENDENCIES - parts) == []
