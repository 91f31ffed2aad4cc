"""Classification: the best classes of each row, as text."""

from __future__ import annotations

import numpy as np
import pytest

from servemesh.errors import InvalidError
from servemesh.tensors.datatypes import DATATYPES
from servemesh.worker.service.classification import best_classes

SCORES = np.array([[0.1, 0.7, 0.2], [5, 4, 6]], np.float32)


def test_each_row_has_its_best_classes_greatest_first() -> None:
    assert best_classes(SCORES, 2, "y", batchable=True).tolist() == [
        [b"0.700000:1", b"0.200000:2"],
        [b"6.000000:2", b"5.000000:0"],
    ]


def test_without_rows_the_whole_output_is_ranked() -> None:
    assert best_classes(SCORES, 1, "y", batchable=False).tolist() == [b"6.000000:5"]


def test_no_rows_have_no_classes() -> None:
    assert best_classes(SCORES[:0], 2, "y", batchable=True).shape == (0, 2)


def test_half_precision_can_be_ranked_and_text_cannot() -> None:
    half = SCORES.astype(DATATYPES["BF16"].dtype)
    assert best_classes(half, 1, "y", batchable=True).tolist()[1] == [b"6.000000:2"]
    with pytest.raises(InvalidError, match="no numbers"):
        best_classes(np.array([b"a"], dtype=object), 1, "y", batchable=True)
