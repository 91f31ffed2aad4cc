"""Which elements of which axes must go together when one of them goes.

Every index of every axis of every tensor is an element. Operators tie elements: channel 3 of a sum is channel 3 of
both its terms, and row 3 of the weights that made each of them. Elements that are tied form a unit, which is removed
whole or not at all (after DepGraph, Fang et al. 2023, with elements instead of layers as what is tied, so that
concatenation, flattening and attention heads need no cases of their own).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Axis = tuple[str, int]


class Coupling:
    """Collects ties between elements of axes, and which axes must stay as they are."""

    def __init__(self, sizes: Mapping[str, tuple[int, ...]], integers: Mapping[str, list[int]]) -> None:
        self.sizes = sizes
        self.integers = integers  # short lists of integers that the graph holds: axes, steps
        self._first: dict[Axis, int] = {}
        self._count = 0
        self._left: list[np.ndarray] = []
        self._right: list[np.ndarray] = []
        self._frozen: list[np.ndarray] = []
        for name, shape in sizes.items():
            for axis, size in enumerate(shape):
                self._first[name, axis] = self._count
                self._count += size

    @property
    def element_count(self) -> int:
        """Elements in all."""
        return self._count

    def elements(self, axis: Axis) -> np.ndarray:
        """Return the elements of an axis, in order."""
        start = self._first[axis]
        return np.arange(start, start + self.sizes[axis[0]][axis[1]])

    def tie(self, left: Axis, right: Axis) -> None:
        """Tie two axes of the same size, element by element."""
        self.tie_elements(self.elements(left), self.elements(right))

    def tie_blocks(self, fine: Axis, coarse: Axis) -> None:
        """Tie each element of `coarse` to the block of elements of `fine` that it became."""
        block = self.sizes[fine[0]][fine[1]] // self.sizes[coarse[0]][coarse[1]]
        self.tie_elements(self.elements(fine), np.repeat(self.elements(coarse), block))

    def tie_elements(self, left: np.ndarray, right: np.ndarray) -> None:
        """Tie elements pairwise."""
        self._left.append(left)
        self._right.append(right)

    def freeze(self, axis: Axis) -> None:
        """Keep an axis as it is, and whatever is tied to it."""
        self._frozen.append(self.elements(axis))

    def freeze_all(self, name: str) -> None:
        """Keep all axes of a tensor as they are."""
        for axis in range(len(self.sizes.get(name, ()))):
            self.freeze((name, axis))

    def unit_of(self) -> np.ndarray:
        """Return the unit of each element, by number; -1 for elements that must stay."""
        unit = _components(self._count, _joined(self._left), _joined(self._right))
        frozen = np.zeros(self._count, bool)
        frozen[unit[_joined(self._frozen)]] = True
        return np.where(frozen[unit], -1, unit)

    def axes(self) -> list[Axis]:
        """Return all axes, in the order of their elements."""
        return list(self._first)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return for each of `count` elements the least element that it is tied to, directly or not."""
    root = np.arange(count)
    while True:
        low, high = np.minimum(root[left], root[right]), np.maximum(root[left], root[right])
        apart = low != high
        if not apart.any():
            return root
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(shorter := root[root], root):
            root = shorter
