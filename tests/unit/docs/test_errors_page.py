"""docs/errors.md lists every reason that the source knows, and no other, with its status codes."""

from __future__ import annotations

import re

from tests.lint import reasons

PAGE = (reasons.ROOT / "docs" / "errors.md").read_text()
ROW = re.compile(r"^\| `([A-Z0-9_]+)` \| ((?:`[A-Z_]+`(?:, )?)+) \| (.+) \| (.+) \|$", re.MULTILINE)
LISTED = {reason: set(re.findall("[A-Z_]+", codes)) for reason, codes, _, _ in ROW.findall(PAGE)}
FOUND = reasons.found()


def test_every_reason_of_the_source_is_listed():
    assert sorted(FOUND.keys() - LISTED.keys()) == []


def test_every_listed_reason_is_in_the_source():
    assert sorted(LISTED.keys() - FOUND.keys()) == []


def test_no_reason_is_listed_twice():
    names = [reason for reason, _, _, _ in ROW.findall(PAGE)]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_reason_is_listed_with_the_codes_that_it_is_raised_with():
    missing = {reason: codes - LISTED.get(reason, set()) for reason, codes in FOUND.items()}
    assert {reason: codes for reason, codes in missing.items() if codes} == {}


def test_no_reason_is_longer_than_clients_may_expect():
    assert [reason for reason in FOUND if len(reason) > 63] == []
