"""Rows are drawn once by a seed, and never are in two splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.splits import Shares, Split, check_enough, row_count, rows_of

shares = st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(1, 100)).filter(
    lambda parts: sum(parts) <= 100
)


@given(shares, st.integers(0, 500), st.integers(0, 2**63))
def test_every_row_is_in_at_most_one_split(parts: tuple[int, int, int], total: int, seed: int):
    drawn = Shares(calibrate=parts[0], train=parts[1], evaluate=parts[2], seed=seed)
    rows = np.concatenate([rows_of(split, total, drawn) for split in Split])
    assert len(set(rows.tolist())) == len(rows)
    assert sum(row_count(split, total, drawn) for split in Split) == len(rows)
    if sum(parts) == 100:
        assert sorted(rows.tolist()) == list(range(total))


@given(st.integers(1, 500), st.integers(0, 2**63))
def test_the_same_seed_draws_the_same_rows(total: int, seed: int):
    first, again = (rows_of(Split.TRAIN, total, Shares(seed=seed)).tolist() for _ in range(2))
    assert first == again


def test_too_few_rows_say_which_share_to_raise():
    with pytest.raises(InvalidError) as refusal:
        check_enough(Split.CALIBRATE, 40, Shares(), 16)
    assert refusal.value.reason == "DATASET_TOO_SMALL"
    assert refusal.value.metadata == {"field": "split.calibrate_percent", "expected": "16", "got": "4"}


@pytest.mark.parametrize("parts", [(50, 50, 10), (-1, 50, 50), (0, 0, 0)])
def test_shares_that_make_no_sense_are_refused(parts: tuple[int, int, int]):
    with pytest.raises(InvalidError) as refusal:
        Shares(calibrate=parts[0], train=parts[1], evaluate=parts[2])
    assert refusal.value.reason == "SPLIT_INVALID"
