"""How many words must be inserted, deleted or replaced to turn one list into another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def distance(ours: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Return the least number of edits (Levenshtein)."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*ours, *right)))}
    theirs = np.array([numbers[word] for word in right], np.int64)
    places = np.arange(len(right) + 1)
    costs = places.copy()
    for word in ours:
        changed = costs[:-1] + (theirs != numbers[word])
        best = np.concatenate([costs[:1] + 1, np.minimum(changed, costs[1:] + 1)])
        costs = np.minimum.accumulate(best - places) + places  # what is left is to insert
    return int(costs[-1])
