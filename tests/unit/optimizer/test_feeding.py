"""Columns feed inputs of their name if datatype and shape allow it, and every value survives its cast."""

from __future__ import annotations

import numpy as np
import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.feeding import feeder
from servemesh.runtime.values import ValueSpec


def a_column(
    name: str = "x", datatype: str = "FP32", row_shape: tuple[int, ...] = (4,), label: bool = False
) -> Column:
    return Column(name=name, datatype=datatype, row_shape=row_shape, label=label)


def an_input(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 4)) -> ValueSpec:
    return ValueSpec(name="x", datatype=datatype, shape=shape)


def test_a_column_that_fits_feeds_as_it_is():
    rows = np.ones((3, 4), np.float32)
    feeding = feeder([a_column(), a_column("unused")], [an_input()])
    assert np.shares_memory(feeding.inputs({"x": rows, "unused": rows})["x"], rows)
    assert feeding.inputs({"x": rows}).keys() == {"x"}
    assert feeding.notes == ()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("FP64", "FP32"),
        ("INT64", "INT32"),
        ("INT64", "FP32"),
        ("FP32", "BF16"),
        ("BOOL", "INT64"),
        ("INT8", "BOOL"),
    ],
)
def test_numbers_are_cast_and_that_is_noted(source: str, target: str):
    feeding = feeder([a_column(datatype=source)], [an_input(target)])
    dtypes = {"FP64": np.float64, "FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_, "INT8": np.int8}
    fed = feeding.inputs({"x": np.ones((2, 4), dtypes[source])})["x"]
    assert fed.astype(np.float32).tolist() == [[1.0] * 4] * 2
    assert feeding.notes == (f"Column 'x' is {source} and is cast to the {target} of its input.",)


@pytest.mark.parametrize(
    ("values", "datatype", "target"),
    [
        ([2**40], "INT64", "INT32"),
        ([2**24 + 1], "INT64", "FP32"),
        ([-1], "INT64", "UINT64"),
        ([2], "INT64", "BOOL"),
        ([1e300], "FP64", "FP32"),
    ],
)
def test_a_value_that_does_not_survive_its_cast_is_refused(values: list[float], datatype: str, target: str):
    feeding = feeder([a_column(datatype=datatype, row_shape=())], [an_input(target, (-1, 1))])
    with pytest.raises(InvalidError, match="column 'x'") as refusal:
        feeding.inputs({"x": np.array(values)})
    assert refusal.value.metadata["expected"] == target


def test_a_number_per_row_feeds_an_input_of_one_column():
    assert feeder([a_column(row_shape=())], [an_input(shape=(-1, 1))]).inputs({"x": np.ones(3, np.float32)})[
        "x"
    ].shape == (3, 1)


@pytest.mark.parametrize(
    ("column", "wanted", "reason", "said"),
    [
        (a_column("y"), an_input(), "INPUT_COLUMN_MISSING", "the data has 'y'"),
        (a_column(label=True), an_input(), "INPUT_COLUMN_MISSING", "it is a label column"),
        (a_column(datatype="BYTES"), an_input(), "COLUMN_DOES_NOT_FIT", "is BYTES"),
        (a_column(), an_input("INT64"), "COLUMN_DOES_NOT_FIT", "takes INT64"),
        (a_column(), an_input("BYTES"), "COLUMN_DOES_NOT_FIT", "takes BYTES"),
        (a_column(row_shape=(5,)), an_input(), "COLUMN_DOES_NOT_FIT", r"has shape \[5\]"),
        (a_column(row_shape=(2, 2)), an_input(), "COLUMN_DOES_NOT_FIT", r"takes \[4\] per row"),
        (a_column(row_shape=()), an_input(shape=()), "COLUMN_DOES_NOT_FIT", "is a scalar"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(column: Column, wanted: ValueSpec, reason: str, said: str):
    with pytest.raises(InvalidError, match=said) as refusal:
        feeder([column], [wanted])
    assert refusal.value.reason == reason
    assert refusal.value.metadata["field"]
