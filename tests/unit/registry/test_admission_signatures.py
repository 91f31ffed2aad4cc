"""Signatures: which axis is the batch, and what the protocol cannot carry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servemesh.errors import InvalidError
from servemesh.registry.domain.onnx_models import ModelDescription, ValueDescription
from servemesh.registry.domain.signatures import signature_of

FLOAT, INT64, STRING, COMPLEX64, INT4 = 1, 7, 8, 14, 22


def a_value(name, *shape, elem_type=FLOAT) -> ValueDescription:
    return ValueDescription(name=name, kind="tensor", elem_type=elem_type, shape=shape)


def a_model(inputs, outputs, **changes) -> ModelDescription:
    model = ModelDescription(
        ir_version=8,
        opsets={"ai.onnx": 17},
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        defaulted=(),
        external=(),
        operators={},
    )
    return replace(model, **changes)


def axes_of(signature):
    return [spec.batch_axis for spec in (*signature.inputs, *signature.outputs)]


@pytest.mark.parametrize(
    ("inputs", "outputs", "batchable", "axes"),
    [
        ([("batch", "sequence")] * 2, [("batch", "sequence", 384)], True, [0, 0, 0]),
        ([(None, 4)], [(None,), (None, 3)], True, [0, 0, 0]),
        ([(0, 4)], [(0, 3)], True, [0, 0]),
        ([("N", 3, 8, 8)], [("N", 10)], True, [0, 0]),
        (
            [("batch", 576), (2, "batch", 128), ()],
            [("batch", 1), (2, "batch", 128)],
            False,
            [0, 1, None, 0, 1],
        ),
        ([(None, 576), (2, None, 128), ()], [(None, 1), (None, None, None)], False, [None] * 5),
        ([("sequence", 576)], [("sequence", 1)], False, [None, None]),
        ([(1, 576)], [(1, 1)], False, [None, None]),
        ([("batch", 4)], [("rows_out", 4)], False, [0, None]),
        ([("batch", 4)], [(None, 4)], False, [0, None]),
        ([("unk__1", 4), ("unk__2", 4)], [("unk__1", 4)], False, [0, None, 0]),
        ([("unk__1", 4)], [("unk__2", 4)], True, [0, 0]),
        ([("p2o.DynamicDimension.0", 3, "?")], [("p2o.DynamicDimension.1", "?")], True, [0, 0]),
        ([(-1, 3, "?", "?")], [(-1, 2)], True, [0, 0]),
        ([("unk__1", 4)], [(1, 4)], False, [None, None]),
        ([], [(4,)], False, [None]),
    ],
)
def test_rows_run_together_only_if_every_axis_0_is_the_batch(inputs, outputs, batchable, axes):
    signature, _ = signature_of(
        a_model(
            [a_value(f"in{index}", *shape) for index, shape in enumerate(inputs)],
            [a_value(f"out{index}", *shape) for index, shape in enumerate(outputs)],
        )
    )
    assert signature.batchable is batchable
    assert axes_of(signature) == axes


def test_open_sizes_are_minus_one_and_strings_are_bytes():
    signature, _ = signature_of(
        a_model([a_value("words", None, "n", 0, 3, elem_type=STRING)], [a_value("y", elem_type=INT64)])
    )
    assert signature.inputs[0].shape == (-1, -1, -1, 3)
    assert (signature.inputs[0].datatype, signature.outputs[0].datatype) == ("BYTES", "INT64")
    assert signature.outputs[0].shape == ()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (ValueDescription(name="probabilities", kind="sequence"), "zipmap"),
        (ValueDescription(name="probabilities", kind="map"), "zipmap"),
        (ValueDescription(name="probabilities", kind="optional"), "always there"),
        (ValueDescription(name="probabilities", kind=""), "without a type"),
        (a_value("probabilities", 4, elem_type=COMPLEX64), "complex64"),
        (a_value("probabilities", 4, elem_type=INT4), "int4"),
        (a_value("probabilities", 4, elem_type=99), "number 99"),
    ],
)
def test_an_output_that_cannot_be_carried_is_refused_with_advice(output, says):
    with pytest.raises(InvalidError, match=says) as refused:
        signature_of(a_model([a_value("x", None, 4)], [output]))
    assert refused.value.reason == "OUTPUT_NOT_SERVABLE"
    assert refused.value.metadata["field"] == "probabilities"


def test_an_input_that_cannot_be_carried_is_not_told_how_outputs_are_mended():
    with pytest.raises(InvalidError, match="make it a plain tensor, and push again") as refused:
        signature_of(a_model([ValueDescription(name="x", kind="sequence")], [a_value("y", 1)]))
    assert refused.value.reason == "INPUT_NOT_SERVABLE"


def test_an_input_without_a_shape_is_refused():
    unknown = ValueDescription(name="x", kind="tensor", elem_type=FLOAT)
    with pytest.raises(InvalidError) as refused:
        signature_of(a_model([unknown], [a_value("y", 1)]))
    assert refused.value.reason == "INPUT_NOT_SERVABLE"


@pytest.mark.parametrize("names", [("x", "x"), ("", "x"), ("x" * 2_000, "y")])
def test_names_are_unique_and_bounded(names):
    with pytest.raises(InvalidError) as refused:
        signature_of(a_model([a_value(name, None, 4) for name in names], [a_value("y", None)]))
    assert refused.value.reason == "SIGNATURE_INVALID"


def test_a_user_is_told_why_calls_do_not_run_together_and_which_inputs_are_fixed():
    _, warnings = signature_of(a_model([a_value("x", 1, 4)], [a_value("y", 1, 4)], defaulted=("threshold",)))
    assert "one call at a time, because axis 0 of input 'x'" in warnings[0]
    assert "'threshold'" in warnings[1]
