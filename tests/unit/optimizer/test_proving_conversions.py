"""A converted model is compared with its source on rows of a dataset, where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import proof
from servemesh.optimizer.adapters.converters.converted import Converted
from servemesh.optimizer.adapters.datasets import examine
from tests.harness.conversions import TARGET, Told, converted, refusal, source_of

ROWS, LABELS = load_digits(return_X_y=True)


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    """The folder of a job that converts a forest on digits."""
    estimator = RandomForestClassifier(4, random_state=0).fit(ROWS[:300], LABELS[:300])
    skops.io.dump(estimator, source_of(tmp_path) / "model.skops")
    return tmp_path


def given_rows(folder: Path, **columns: Any) -> None:
    """Write a dataset of these columns, where `label` is one."""
    (folder / "rows").mkdir()
    np.savez(folder / "rows" / "rows.npz", **columns)
    labels = [name for name in columns if name == "label"]
    examine.run({"source": "rows", "out": "data", "labels": labels}, folder, Told())


def test_rows_of_the_evaluate_split_prove_it(forest):
    given_rows(forest, input=ROWS.astype(np.float32), label=LABELS)
    result = converted(forest, data="data")
    assert not result["parity"]["generated"]
    assert result["parity"]["row_count"] == 256
    assert result["parity"]["argmax_agreement"] == 1.0


def test_a_cast_is_told(forest):
    given_rows(forest, input=ROWS)
    assert "FP64" in converted(forest, data="data")["warnings"][0]


def test_an_input_without_a_column_is_named(forest):
    # Of one column alone the input would take the name.
    given_rows(forest, image=ROWS.astype(np.float32), depth=ROWS.astype(np.float32))
    error = refusal(forest, data="data")
    assert (error.reason, error.metadata["field"]) == ("INPUT_COLUMN_MISSING", "input")


def test_a_column_of_another_shape_is_named(forest):
    given_rows(forest, input=ROWS[:, :5].astype(np.float32))
    assert refusal(forest, data="data").reason == "COLUMN_DOES_NOT_FIT"


def test_a_model_that_is_not_its_source_is_refused_with_figures(forest):
    converted(forest)

    def another(batches: Sequence[Any]) -> Iterable[dict[str, Any]]:
        for batch in batches:
            rows = len(batch["input"])
            yield {"label": np.zeros(rows, np.int64), "probabilities": np.full((rows, 10), 0.1, np.float32)}

    found = proof.prove(forest / TARGET, Converted(reference=another), None)
    with pytest.raises(InvalidError) as caught:
        proof.check(found, 1e-4)
    assert caught.value.reason == "PARITY_EXCEEDED"
    assert float(caught.value.metadata["got"]) > 1
    assert float(caught.value.metadata["argmax_agreement"]) < 1


def test_a_source_that_fails_on_the_rows_says_so(forest):
    converted(forest)

    def failing(batches: Sequence[Any]) -> Iterable[dict[str, Any]]:
        raise IndexError("index out of range in self")

    with pytest.raises(InvalidError) as caught:
        proof.prove(forest / TARGET, Converted(reference=failing), None)
    assert caught.value.reason == "SOURCE_RUN_FAILED"
    assert "index out of range" in caught.value.message
