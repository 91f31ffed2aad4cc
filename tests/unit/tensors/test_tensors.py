"""Tensors survive the wire in every datatype, and malformed ones are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.tensors import contents, datatypes, raw
from servemesh.tensors.datatypes import BYTES, DATATYPES, Datatype

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
NUMERIC = [datatype for datatype in DATATYPES.values() if datatype is not BYTES]
TYPED = [datatype for datatype in DATATYPES.values() if datatype.contents]


@st.composite
def tensors(draw: st.DrawFn, kinds: list[Datatype]) -> tuple[Datatype, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(kinds))
    shape = draw(SHAPES)
    count = int(np.prod(shape))
    if datatype is BYTES:
        elements = draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
        array = np.empty(count, dtype=object)
        array[:] = elements
    elif datatype.name == "BOOL":
        array = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=np.bool_)
    else:
        size_bytes = count * datatype.size_bytes
        array = np.frombuffer(draw(st.binary(min_size=size_bytes, max_size=size_bytes)), datatype.dtype)
    return datatype, array.reshape(shape)


@given(tensors([BYTES, *NUMERIC]))
def test_raw_bytes_of_every_datatype_come_back_bit_for_bit(tensor: tuple[Datatype, Any]) -> None:
    datatype, array = tensor
    data = raw.encode(array)
    back = raw.decode(data, datatype, array.shape, "inputs.x")
    assert back.shape == array.shape
    assert back.dtype == array.dtype
    assert raw.encode(back) == data
    assert datatypes.of_array(back) is datatype


@given(tensors(TYPED))
def test_typed_contents_come_back_as_they_were(tensor: tuple[Datatype, Any]) -> None:
    datatype, array = tensor
    message = pb.InferTensorContents()
    getattr(message, datatype.contents).extend(array.ravel().tolist())
    back = contents.decode(message, datatype, array.shape, "inputs.x")
    assert back.dtype == array.dtype
    assert raw.encode(back.astype(array.dtype)) == raw.encode(
        np.array(getattr(message, datatype.contents)[:], dtype=array.dtype).reshape(array.shape)
    )


@given(
    data=st.binary(max_size=64),
    datatype=st.sampled_from(list(DATATYPES.values())),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 6), max_size=40),
)
@example(data=b"", datatype=DATATYPES["FP32"], shape=[0, 2**40, 2**40])
@example(data=b"", datatype=DATATYPES["BYTES"], shape=[2**31, 0, 2**31])
def test_malformed_bytes_are_refused_and_never_anything_else(
    data: bytes, datatype: Datatype, shape: list[int]
) -> None:
    check_outcome(lambda: raw.decode(data, datatype, shape, "inputs.x"), shape)


@given(
    message=st.builds(
        pb.InferTensorContents,
        bool_contents=st.lists(st.booleans(), max_size=3),
        int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
        uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=3),
        fp32_contents=st.lists(st.floats(width=32), max_size=3),
        bytes_contents=st.lists(st.binary(max_size=3), max_size=3),
    ),
    datatype=st.sampled_from(list(DATATYPES.values())),
    shape=st.lists(st.integers(-2, 4) | st.just(2**45), max_size=3),
)
def test_malformed_contents_are_refused_and_never_anything_else(
    message: Any, datatype: Datatype, shape: list[int]
) -> None:
    check_outcome(lambda: contents.decode(message, datatype, shape, "inputs.x"), shape)


def check_outcome(decode: Callable[[], np.ndarray[Any, Any]], shape: list[int]) -> None:
    try:
        outcome: Any = decode()
    except InvalidError as error:
        outcome = error
    if isinstance(outcome, InvalidError):
        assert outcome.metadata["field"].startswith("inputs.x")
        assert "expected" in outcome.metadata
    else:
        assert list(outcome.shape) == shape


def test_numbers_are_views_of_the_bytes_received() -> None:
    data = np.arange(6, dtype=np.float32).tobytes()
    array = raw.decode(data, DATATYPES["FP32"], (2, 3), "x")
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize("shape", [(2**45,), (2**31, 2**31, 2**31), (0, 2**62), (-1, 4)])
def test_absurd_shapes_are_refused_before_anything_is_allocated(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidError) as refusal:
        raw.decode(b"", BYTES, shape, "inputs.x")
    assert refusal.value.reason in ("SHAPE_INVALID", "BYTE_LENGTH_WRONG")


def test_bytes_that_promise_more_than_they_hold_are_refused() -> None:
    with pytest.raises(InvalidError, match="expected at least 4294967299"):
        raw.decode(b"\xff\xff\xff\xffabc", BYTES, (1,), "x")


def test_a_small_integer_out_of_range_is_refused() -> None:
    message = pb.InferTensorContents(int_contents=[128])
    with pytest.raises(InvalidError, match="expected -128 to 127"):
        contents.decode(message, DATATYPES["INT8"], (1,), "x")


def test_a_bool_is_0_or_1() -> None:
    with pytest.raises(InvalidError, match="other than 0 and 1"):
        raw.decode(b"\x01\x02", DATATYPES["BOOL"], (2,), "x")


def test_half_precision_travels_raw_only() -> None:
    with pytest.raises(InvalidError, match="raw_input_contents"):
        contents.decode(pb.InferTensorContents(fp32_contents=[1.0]), DATATYPES["FP16"], (1,), "x")


def test_text_and_foreign_byte_orders_are_sent_as_the_protocol_wants_them() -> None:
    assert raw.encode(np.array(["é"], dtype=object)) == b"\x02\x00\x00\x00\xc3\xa9"
    assert raw.encode(np.array([b"ab"])) == b"\x02\x00\x00\x00ab"
    assert raw.encode(np.array([1], dtype=">i4")) == b"\x01\x00\x00\x00"
    assert datatypes.of_array(np.array([1], dtype=">i4")).name == "INT32"
    assert datatypes.of_array(np.array([1], dtype=ml_dtypes.bfloat16)).name == "BF16"


def test_what_the_protocol_cannot_carry_is_refused() -> None:
    with pytest.raises(InvalidError, match="complex128"):
        datatypes.of_array(np.array([1j]))
    with pytest.raises(InvalidError, match="FP128"):
        datatypes.named("FP128")
