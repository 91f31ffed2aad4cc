"""How near two models are is told by their worst output and by how often they choose the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.parity import ParityTally, compared

SCORES = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)


def test_the_same_outputs_are_at_no_distance():
    found = compared({"y": SCORES}, {"y": SCORES.copy()}, row_count=2)
    assert (found.row_count, found.max_abs, found.max_rel, found.argmax_agreement) == (2, 0, 0, 1)


def test_the_relative_difference_is_to_the_largest_value_of_its_output():
    found = compared(
        {"a": np.array([100.0, 0.0]), "b": np.array([1.0, 0.5])},
        {"a": np.array([99.0, 0.0]), "b": np.array([1.0, 0.25])},
        row_count=2,
    )
    assert (found.max_abs, found.max_rel, found.argmax_agreement) == (1.0, 0.25, None)


def test_batches_add_up():
    tally = ParityTally()
    tally.add({"y": SCORES}, {"y": SCORES}, row_count=2)
    tally.add({"y": SCORES}, {"y": SCORES[:, ::-1]}, row_count=2)
    found = tally.parity()
    assert (found.row_count, found.argmax_agreement) == (4, 0.5)
    assert found.max_abs == pytest.approx(0.8)


def test_nan_and_infinity_are_the_same_only_beside_themselves():
    odd = np.array([math.nan, math.inf, -math.inf, 1.0])
    assert compared({"y": odd}, {"y": odd.copy()}, row_count=4).max_abs == 0
    assert compared({"y": odd}, {"y": np.ones(4)}, row_count=4).max_abs == math.inf


def test_the_first_output_with_scores_is_asked_for_its_choice():
    outputs = {"label": np.array([1, 0]), "probabilities": SCORES}
    assert compared(outputs, outputs, row_count=2).argmax_agreement == 1


def test_text_is_the_same_whether_it_comes_as_bytes_or_not():
    texts = {"y": np.array(["á", "b"], dtype=object)}
    assert compared(texts, {"y": np.array(["á".encode(), b"b"], dtype=object)}, row_count=2).max_abs == 0
    assert compared(texts, {"y": np.array(["a", "b"], dtype=object)}, row_count=2).max_abs == 1


@pytest.mark.parametrize("candidate", [{}, {"y": np.zeros((2, 3))}])
def test_another_shape_is_refused_by_name(candidate: dict[str, np.ndarray]):
    with pytest.raises(InvalidError, match="output 'y' has shape") as refusal:
        compared({"y": SCORES}, candidate, row_count=2)
    assert refusal.value.reason == "OUTPUTS_DIFFER"
