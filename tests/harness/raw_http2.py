"""HTTP/2 spoken by hand over a socket: what no well-behaved client would send, or would read as slowly."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW = 4
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str, *, content_type: str = "application/grpc", **more: str) -> bytes:
    """Return the header block of a call, compressed in no way."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "mesh",
        "te": "trailers",
        "content-type": content_type,
    } | {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def message(content: bytes, *, declared_bytes: int | None = None) -> bytes:
    """Return a gRPC message with its prefix, which may lie about its length."""
    return struct.pack(">BI", 0, len(content) if declared_bytes is None else declared_bytes) + content


def _text(value: str) -> bytes:
    data = value.encode()
    assert len(data) < 127, "longer lengths take more than a byte"
    return bytes([len(data)]) + data


class RawConnection:
    """One connection, and the frames that come over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received_bytes = 0

    async def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self, *, window_bytes: int = 65_535) -> None:
        """Send preface and settings."""
        settings = struct.pack(">HI", INITIAL_WINDOW, window_bytes)
        await self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    async def call(self, path: str, body: bytes, *, ends: bool = True, **more: str) -> None:
        """Send a whole call as stream 1."""
        await self.send(
            frame(HEADERS, END_HEADERS, 1, headers(path, **more))
            + frame(DATA, END_STREAM if ends else 0, 1, body)
        )

    async def read(self) -> tuple[int, int, bytes] | None:
        """Return the next frame as kind, flags and payload; None at the end. Pings and settings are answered."""
        try:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags = head[3], head[4]
            if kind in (PING, SETTINGS) and not flags & ACK:
                await self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.received_bytes += len(payload) if kind == DATA else 0
        return kind, flags, payload

    async def grant(self, size_bytes: int) -> None:
        """Let the other side send so many bytes more."""
        size = struct.pack(">I", size_bytes)
        await self.send(frame(WINDOW_UPDATE, 0, 0, size) + frame(WINDOW_UPDATE, 0, 1, size))

    async def until_ended(self) -> dict[str, str]:
        """Read until stream 1 or the connection ends; return the headers and trailers that came."""
        seen: dict[str, str] = {}
        decoder = hpack.Decoder()
        while (found := await self.read()) is not None:
            kind, flags, payload = found
            if kind == HEADERS:
                seen |= {str(name): str(value) for name, value in decoder.decode(payload)}
            if kind in (RESET, GOAWAY):
                seen["reset"] = payload.hex()
                break
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                break
        return seen

    async def until_closed(self) -> None:
        """Read, and answer nothing, until the other side closes the connection."""
        with suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass


@asynccontextmanager
async def raw_connection(address: str) -> AsyncIterator[RawConnection]:
    """Connect; nothing is sent unasked."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
