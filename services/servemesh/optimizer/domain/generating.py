"""Inputs made up from a model's signature, for when there is no Dataset: the same seed gives the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servemesh.optimizer.domain.feeding import ModelInput
from servemesh.tensors.datatypes import DATATYPES

Array = np.ndarray[Any, Any]

OPEN_SIZE = 32  # of every axis but the first that the model leaves open: the same for all, as many must agree
_IDS_END = 2  # whole numbers of unknown meaning are 0 or 1: flags, masks and ids that every table has
_WORDS = ("a cat", "sat", "on the", "warm", "mat", "while", "rain fell", "over hills and towns")


def fixed_rows(inputs: Sequence[ModelInput]) -> int | None:
    """Return how many rows each run takes: None for any number, 1 where inputs have no axis of rows in common."""
    sizes = {spec.shape[0] if spec.shape else 0 for spec in inputs}
    if sizes == {-1}:
        return None
    size = sizes.pop() if len(sizes) == 1 else 1
    return size if size > 0 else 1


def generated(
    inputs: Sequence[ModelInput], row_count: int, *, seed: int, ids_ends: Mapping[str, int]
) -> dict[str, Array]:
    """Return inputs of `row_count` rows, or of as many as an input fixes on its first axis.

    Numbers are drawn from the normal distribution; whole numbers below `ids_ends` of their input, where it is known
    how many rows a table has that they look up.
    """
    random = np.random.default_rng(seed)
    return {spec.name: _array(spec, _shape(spec, row_count), random, ids_ends) for spec in inputs}


def _shape(spec: ModelInput, row_count: int) -> tuple[int, ...]:
    opened = (row_count, *(OPEN_SIZE for _ in spec.shape[1:]))
    return tuple(size if size > 0 else open_size for size, open_size in zip(spec.shape, opened, strict=False))


def _array(
    spec: ModelInput, shape: tuple[int, ...], random: np.random.Generator, ids_ends: Mapping[str, int]
) -> Array:
    datatype = DATATYPES[spec.datatype]
    if spec.datatype == "BYTES":
        words = random.choice(np.array(_WORDS), (*shape, 4))
        texts = np.empty(shape, dtype=object)
        for place in np.ndindex(shape):
            texts[place] = " ".join(words[place]).encode()
        return texts
    if spec.datatype == "UINT8":
        return random.integers(0, ids_ends.get(spec.name, 256), shape, dtype=np.uint8)
    if datatype.dtype.kind in "iub":
        if "mask" in spec.name.lower():
            return np.ones(shape, datatype.dtype)
        end = ids_ends.get(spec.name, _IDS_END)
        return random.integers(0, end, shape).astype(datatype.dtype)
    return random.standard_normal(shape).astype(datatype.dtype)
