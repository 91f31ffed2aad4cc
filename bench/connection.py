"""One HTTP/2 connection with gRPC calls on it, at a few microseconds of processor time per call.

grpc.aio spends more on a call than the fastest server does, and a benchmark on two cores would time its own client.
This client knows one thing, to send the same request many times, and checks the status of every answer.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import http2
from bench.http2 import END_HEADERS, END_STREAM, frame

RECEIVE_BYTES = 1 << 18
WINDOW_LOW_BYTES = 1 << 30
CALL_TIMEOUT_S = 60


class CallError(Exception):
    """A call failed, or its connection did."""


@dataclass(slots=True)
class Upload:
    """What is left of a message that waits for the server's windows."""

    stream: int
    rest: memoryview
    ends_stream: bool


class Connection:
    """Calls of one method. `on_answer` gets the stream of each call, or message of a stream, that is answered.

    What unary calls are answered is thrown away unless `answer` is given to take it in.
    """

    def __init__(
        self, address: str, path: str, on_answer: Callable[[int], None], answer: bytearray | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._headers = http2.grpc_headers(address, path, CALL_TIMEOUT_S)
        self._on_answer = on_answer
        self._statuses = http2.Statuses()
        self._next_stream = 1
        self._out = bytearray(http2.opening())
        self._in = bytearray()
        self._uploads: deque[Upload] = deque()
        self._window = self._stream_window = http2.WINDOW_FIRST
        self._stream_windows: dict[int, int] = {}
        self._received_bytes = 0
        self._answer = answer
        self._messages: dict[int, bytearray] = {}  # what has come of a stream's next message

    def fileno(self) -> int:
        """The socket, for select."""
        return self.socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._out)

    def call(self, body: bytes) -> int:
        """Send one unary call with a framed message; return its stream."""
        stream = self._opened()
        self._send(stream, body, ends_stream=True)
        return stream

    def open_stream(self) -> int:
        """Open a bidirectional stream."""
        stream = self._opened()
        self._messages[stream] = bytearray()
        return stream

    def send(self, stream: int, body: bytes) -> None:
        """Send a framed message on an open stream."""
        self._send(stream, body, ends_stream=False)

    def flush(self) -> None:
        """Give the socket what it takes."""
        while self._out:
            try:
                sent = self.socket.send(self._out)
            except BlockingIOError:
                return
            del self._out[:sent]

    def receive(self) -> None:
        """Take what has arrived; CallError if a call failed."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise CallError("the server closed the connection")
        self._received_bytes += len(data)
        if self._received_bytes > WINDOW_LOW_BYTES:
            self._out += http2.window_update(0, self._received_bytes)
            self._received_bytes = 0
        self._in += data
        self._take_frames()

    def close(self) -> None:
        """Close it, whatever is under way."""
        self.socket.close()

    def _opened(self) -> int:
        stream = self._next_stream
        self._next_stream += 2
        self._out += frame(http2.HEADERS, END_HEADERS, stream, self._headers)
        return stream

    def _send(self, stream: int, body: bytes, *, ends_stream: bool) -> None:
        fits = len(body) <= min(http2.FRAME_BYTES_MAX, self._window, self._window_of(stream))
        if fits and not self._uploads:
            self._spend(stream, len(body))
            self._out += frame(http2.DATA, END_STREAM if ends_stream else 0, stream, body)
            return
        self._uploads.append(Upload(stream, memoryview(body), ends_stream))
        self._upload()

    def _window_of(self, stream: int) -> int:
        return self._stream_windows.get(stream, 0) + self._stream_window

    def _spend(self, stream: int, size_bytes: int) -> None:
        self._window -= size_bytes
        self._stream_windows[stream] = self._stream_windows.get(stream, 0) - size_bytes

    def _upload(self) -> None:
        """Send on whatever the windows allow, in turn."""
        for _ in range(len(self._uploads)):
            upload = self._uploads.popleft()
            while upload.rest:
                size = min(
                    http2.FRAME_BYTES_MAX, self._window, self._window_of(upload.stream), len(upload.rest)
                )
                if size <= 0:
                    break
                part, upload.rest = bytes(upload.rest[:size]), upload.rest[size:]
                self._spend(upload.stream, size)
                ends = END_STREAM if upload.ends_stream and not upload.rest else 0
                self._out += frame(http2.DATA, ends, upload.stream, part)
            if upload.rest:
                self._uploads.append(upload)

    def _take_frames(self) -> None:
        data, start, end = self._in, 0, len(self._in)
        while end - start >= http2.FRAME_HEAD_BYTES:
            length, kind, flags, stream = http2.frame_head(data, start)
            stop = start + http2.FRAME_HEAD_BYTES + length
            if stop > end:
                break
            if kind == http2.DATA:
                if self._messages:
                    self._take_messages(stream, data[stop - length : stop])
                elif self._answer is not None:
                    self._answer += data[stop - length : stop]
            elif kind == http2.HEADERS:
                if flags & END_STREAM:
                    self._ended(stream, http2.header_block(flags, bytes(data[stop - length : stop])))
            else:
                self._control(kind, flags, stream, bytes(data[stop - length : stop]))
            start = stop
        del data[:start]

    def _take_messages(self, stream: int, data: bytearray) -> None:
        message = self._messages[stream]
        message += data
        while len(message) >= 5 and len(message) >= (size := 5 + int.from_bytes(message[1:5], "big")):
            if message[5:6] != b"\x12":  # not `infer_response`
                raise CallError(f"the stream answered {bytes(message[:200])!r}")
            del message[:size]
            self._on_answer(stream)

    def _ended(self, stream: int, block: bytes) -> None:
        failure = self._statuses.failure(block)
        if failure:
            raise CallError(failure)
        if self._messages:
            raise CallError("the server ended the stream")
        self._stream_windows.pop(stream, None)
        self._on_answer(stream)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.SETTINGS and not flags & http2.ACK:
            self._stream_window = http2.settings_of(payload).get(
                http2.INITIAL_WINDOW_SIZE, self._stream_window
            )
            self._out += frame(http2.SETTINGS, http2.ACK, 0)
            self._upload()
        elif kind == http2.PING and not flags & http2.ACK:
            self._out += frame(http2.PING, http2.ACK, 0, payload)
        elif kind == http2.WINDOW_UPDATE:
            size_bytes = struct.unpack(">I", payload)[0]
            if stream == 0:
                self._window += size_bytes
            elif stream in self._stream_windows:
                self._stream_windows[stream] += size_bytes
            self._upload()
        elif kind in (http2.RST_STREAM, http2.GOAWAY):
            raise CallError(f"frame {kind} with {payload!r}")


def turn(connections: Sequence[Connection], wait_s: float) -> None:
    """Send what waits, wait for something to arrive, and take it."""
    writers = []
    for connection in connections:
        connection.flush()
        if connection.wants_to_write:
            writers.append(connection)
    readable, _, _ = select.select(connections, writers, (), wait_s)
    for connection in readable:
        connection.receive()


def answer_to(address: str, path: str, body: bytes) -> bytes:
    """Make one call with a framed message and return the message of its answer. CallError if it fails."""
    answers: list[int] = []
    answer = bytearray()
    connection = Connection(address, path, answers.append, answer)
    try:
        connection.call(body)
        until_s = time.monotonic() + CALL_TIMEOUT_S
        while not answers:
            if time.monotonic() > until_s:
                raise CallError(f"no answer in {CALL_TIMEOUT_S} s")
            turn([connection], 0.1)
        return bytes(answer[5:])
    finally:
        connection.close()
