"""Asks a server whether it serves: `python -m servemesh.rpc.probe ADDRESS`, for the health checks of containers.

ADDRESS is host:port of a gRPC server, which is asked by grpc.health.v1, or a URL http://host:port/path. The exit
status is 0 if it serves, and 1 if not. It speaks just as much HTTP/2 as one question takes, with nothing but the
standard library: a check every few seconds must not cost the import of gRPC.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

TIMEOUT_S = 2.0
ANSWER_BYTES_MAX = 65_536
USAGE = "usage: python -m servemesh.rpc.probe HOST:PORT | http://HOST:PORT/PATH\n"
EXIT_USAGE = 64

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_STREAM = 1
_NO_MESSAGE = bytes(5)  # a HealthCheckRequest about the whole process is empty
_SERVING = b"\0\0\0\0\2\x08\x01"  # a HealthCheckResponse with status SERVING, in its frame

Receive = Callable[[int], bytes]


def is_serving(address: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the gRPC server at host:port says that its process is SERVING."""
    host, _, port = address.rpartition(":")
    headers = (
        b"\x83\x86"  # POST, http
        + _literal(b"\x04", "/grpc.health.v1.Health/Check")
        + _literal(b"\x01", address)
        + b"\x0f\x10\x10application/grpc"  # content-type, without indexing
        + _literal(b"\x00\x02te", "trailers")
    )
    question = (
        _PREFACE
        + _frame(_SETTINGS, 0, b"", stream=0)
        + _frame(_HEADERS, _END_HEADERS, headers)
        + _frame(_DATA, _END_STREAM, _NO_MESSAGE)
    )
    with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as connection:
        connection.sendall(question)
        return _answer(connection, _exactly(connection)) == _SERVING


def is_answered(url: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether a GET of the URL is answered with status 200."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s) as connection:
        request = f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        # To its end: a server that is left in the middle of an answer says so in its log.
        while len(answer) < ANSWER_BYTES_MAX and (more := connection.recv(4096)):
            answer += more
        return answer[8:13] == b" 200 "


def _literal(name: bytes, value: str) -> bytes:
    return name + bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, payload: bytes, *, stream: int = _STREAM) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _exactly(connection: socket.socket) -> Receive:
    def receive(count: int) -> bytes:
        received = b""
        while len(received) < count:
            more = connection.recv(count - len(received))
            if not more:
                raise ConnectionError("closed before its answer")
            received += more
        return received

    return receive


def _answer(connection: socket.socket, receive: Receive) -> bytes:
    """Return the data of the one stream."""
    data, read_bytes = b"", 0
    while read_bytes < ANSWER_BYTES_MAX:
        head = receive(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = receive(min(length, ANSWER_BYTES_MAX))
        read_bytes += 9 + length
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, b"", stream=0))
        if int.from_bytes(head[5:], "big") == _STREAM:
            data += payload if kind == _DATA else b""
            if kind not in (_DATA, _HEADERS) or flags & _END_STREAM:
                break
    return data


def main() -> int:
    """Return the exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write(USAGE)
        return EXIT_USAGE
    target = sys.argv[1]
    try:
        serves = is_answered(target) if target.startswith("http://") else is_serving(target)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{target}: {type(error).__name__}\n")
        return 1
    if not serves:
        sys.stderr.write(f"{target}: does not serve\n")
    return 0 if serves else 1


if __name__ == "__main__":
    sys.exit(main())
