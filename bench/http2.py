"""The frames of HTTP/2 that a gRPC call needs, made once and sent many times."""

from __future__ import annotations

import struct

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 1, 2, 4
WINDOW_FIRST, WINDOW_MAX = 65_535, (1 << 31) - 1
FRAME_BYTES_MAX = 16_384
FRAME_HEAD_BYTES = 9

_HEAD = struct.Struct(">IBI")  # length (24 bits) and type, flags, stream


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def frame_head(data: bytes | bytearray, start: int) -> tuple[int, int, int, int]:
    """Return length, type, flags and stream of the frame at `start`."""
    length_and_kind, flags, stream = _HEAD.unpack_from(data, start)
    return length_and_kind >> 8, length_and_kind & 0xFF, flags, stream


def opening() -> bytes:
    """Return what a client says first: no header table, so that equal headers are equal bytes; windows wide open."""
    settings = struct.pack(">HIHIHI", HEADER_TABLE_SIZE, 0, ENABLE_PUSH, 0, INITIAL_WINDOW_SIZE, WINDOW_MAX)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + window_update(0, WINDOW_MAX - WINDOW_FIRST)


def window_update(stream: int, size_bytes: int) -> bytes:
    """Return a frame that lets the peer send so much more."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size_bytes))


def settings_of(payload: bytes) -> dict[int, int]:
    """Return the settings of a SETTINGS frame by their number."""
    return dict(struct.iter_unpack(">HI", payload))


def grpc_headers(authority: str, path: str, timeout_s: int) -> bytes:
    """Return the header block of a gRPC call. Nothing enters a table, so it may be sent again and again."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text(path),
            b"\x01" + _text(authority),
            b"\x0f\x10" + _text("application/grpc"),  # content-type
            b"\x00" + _text("te") + _text("trailers"),
            b"\x00" + _text("grpc-timeout") + _text(f"{timeout_s}S"),
        )
    )


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 126:
        raise ValueError(f"{text!r} is too long for a header of ours")
    return bytes((len(data),)) + data


def message(data: bytes) -> bytes:
    """Return a gRPC message: its length and its bytes."""
    return b"\x00" + struct.pack(">I", len(data)) + data


def header_block(flags: int, payload: bytes) -> bytes:
    """Return the header block of a HEADERS frame."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    return payload[start:end]


class Statuses:
    """Tells whether trailers say OK; each different block is decoded once, for decoding costs more than a call."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def failure(self, block: bytes) -> str:
        """Return "" for OK, else the status and its message."""
        found = self._seen.get(block)
        if found is None:
            found = self._seen[block] = _failure(block)
        return found


def _failure(block: bytes) -> str:
    decoder = Decoder()
    headers = {str(name): str(value) for name, value in decoder.decode(block)}
    status = headers.get("grpc-status", f"none, HTTP {headers.get(':status', 'without status')}")
    return "" if status == "0" else f"status {status}: {headers.get('grpc-message', '')}"
