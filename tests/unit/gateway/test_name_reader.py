"""The Lua that reads model names, run in LuaJIT as in Envoy, against protobuf's own parser."""

from __future__ import annotations

from importlib import resources

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from lupa import luajit21

from servemesh.api.oip.v2 import inference_pb2 as pb

NAMES = st.one_of(st.from_regex("[a-z][a-z0-9_-]{0,62}", fullmatch=True), st.text(max_size=80))
TENSORS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=st.text(max_size=20),
    datatype=st.sampled_from(["FP32", "BYTES"]),
    shape=st.lists(st.integers(min_value=-1, max_value=2**62), max_size=4),
)
MESSAGES = st.builds(
    pb.ModelInferRequest,
    model_name=NAMES,
    model_version=st.one_of(st.just(""), st.integers(min_value=1, max_value=2**40).map(str), NAMES),
    id=st.text(max_size=300),
    inputs=st.lists(TENSORS, max_size=3),
    raw_input_contents=st.lists(st.binary(max_size=400), max_size=3),
)
VARINTS = st.integers(min_value=0, max_value=2**64 - 1)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


FIELDS = st.one_of(
    st.builds(field, st.integers(min_value=1, max_value=12), st.binary(max_size=70)),
    st.builds(lambda name: field(1, name.encode()), NAMES),
    st.builds(lambda name: field(2, name.encode()), NAMES),
    st.builds(lambda number, value: varint(number << 3) + varint(value), st.integers(1, 2**29 - 1), VARINTS),
    st.builds(lambda number: varint(number << 3 | 1) + bytes(8), st.integers(1, 2**29 - 1)),
    st.builds(lambda number: varint(number << 3 | 5) + bytes(4), st.integers(1, 2**29 - 1)),
    st.binary(max_size=8),
)


class Reader:
    """`read_names` of the script, over bytes."""

    def __init__(self) -> None:
        self._lua = luajit21.LuaRuntime(encoding=None)
        script = (resources.files("servemesh.gateway") / "edge" / "name_reader.lua").read_bytes()
        self._lua.execute(script)
        self._read = self._lua.globals()[b"read_names"]

    def __call__(self, message: bytes) -> tuple[bytes, bytes] | None:
        """Return name and version, None where the script declines."""
        found = self._read(lambda first, length: message[int(first) : int(first + length)], len(message))
        return None if found is None else (bytes(found[0]), bytes(found[1]))


READ = Reader()


def assert_agrees(message: bytes) -> None:
    """Where protobuf can read the message, the script reads the same or declines."""
    read = READ(message)
    try:
        parsed = pb.ModelInferRequest.FromString(message)
    except DecodeError:
        return  # the worker refuses it, whoever it is sent to
    if read is not None:
        assert read == (parsed.model_name.encode(), parsed.model_version.encode())


@given(MESSAGES)
def test_a_message_as_clients_send_it_is_read_as_protobuf_reads_it(message: pb.ModelInferRequest) -> None:
    assert_agrees(message.SerializeToString())


@given(st.lists(FIELDS, max_size=12).map(b"".join))
@example(field(1, b"first") + field(7, bytes(300)) + field(1, b"last"))
@example(b"\x8a\x00" + b"\x03abc")  # a tag in more bytes than it needs
@example(varint(1 << 3 | 3) + varint(1 << 3 | 4) + field(1, b"after-a-group"))
def test_no_order_of_fields_makes_it_read_another_name(message: bytes) -> None:
    assert_agrees(message)


@given(MESSAGES, st.data())
def test_no_change_of_bytes_makes_it_read_another_name(
    message: pb.ModelInferRequest, data: st.DataObject
) -> None:
    content = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        if content:
            content[data.draw(st.integers(min_value=0, max_value=len(content) - 1))] = data.draw(
                st.integers(0, 255)
            )
    assert_agrees(bytes(content[: data.draw(st.integers(min_value=0, max_value=len(content)))]))


@pytest.mark.parametrize("version", ["", "3", "prod"])
def test_names_of_ours_are_never_declined(version: str) -> None:
    message = pb.ModelInferRequest(
        model_name="iris-2_b", model_version=version, raw_input_contents=[bytes(1 << 20)]
    )
    assert READ(message.SerializeToString()) == (b"iris-2_b", version.encode())


def test_more_fields_than_its_bound_are_declined() -> None:
    assert READ(field(3, b"x") * 300 + field(1, b"iris")) is None
