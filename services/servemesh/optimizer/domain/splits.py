"""Which rows calibrate, which train and which measure: drawn once by a seed, never moved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from servemesh.errors import InvalidError

Array = np.ndarray[Any, Any]


class Split(StrEnum):
    """A share of the rows."""

    CALIBRATE = "calibrate"
    TRAIN = "train"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares in per cent, which add up to at most 100, and the seed of the draw."""

    calibrate: int = 10
    train: int = 70
    evaluate: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        shares = (self.calibrate, self.train, self.evaluate)
        if min(shares) < 0 or not 1 <= sum(shares) <= 100:
            raise InvalidError(
                f"the shares are {self.calibrate}, {self.train} and {self.evaluate} per cent, expected 0 or more "
                "each and at most 100 together",
                reason="SPLIT_INVALID",
                field="split",
                expected="0 or more each, at most 100 together",
                got=list(shares),
            )
        if self.seed < 0:
            raise InvalidError(
                f"the seed is {self.seed}, expected 0 or more",
                reason="SPLIT_INVALID",
                field="split.seed",
                expected="0 or more",
                got=self.seed,
            )


def row_count(split: Split, total: int, shares: Shares) -> int:
    """Return how many of `total` rows are in a share."""
    begin, end = _bounds(split, total, shares)
    return end - begin


def rows_of(split: Split, total: int, shares: Shares) -> Array:
    """Return the numbers of the rows in a share, in the order of the draw. The same arguments give the same rows."""
    begin, end = _bounds(split, total, shares)
    rows: Array = np.random.default_rng(shares.seed).permutation(total)[begin:end]
    return rows


def check_enough(split: Split, total: int, shares: Shares, least: int) -> None:
    """InvalidError that says what to change unless a share has at least so many rows."""
    count = row_count(split, total, shares)
    if count >= least:
        return
    share = getattr(shares, split.value)
    raise InvalidError(
        f"{count} of the {total} rows are there to {split.value} ({share} per cent), expected at least {least}: give "
        f"more rows, or raise {split.value}_percent of the Dataset's split",
        reason="DATASET_TOO_SMALL",
        field=f"split.{split.value}_percent",
        expected=least,
        got=count,
    )


def _bounds(split: Split, total: int, shares: Shares) -> tuple[int, int]:
    before = {
        Split.CALIBRATE: 0,
        Split.TRAIN: shares.calibrate,
        Split.EVALUATE: shares.calibrate + shares.train,
    }[split]
    return _rounded(total * before), _rounded(total * (before + getattr(shares, split.value)))


def _rounded(hundredths: int) -> int:
    return (hundredths + 50) // 100
