"""Asks the edge on behalf of HTTP clients, within bounds of time, of requests and of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from servemesh.errors import OverloadedError
from servemesh.web.codes import BodyTooLargeError

RETRY_AFTER_S = 1.0


class Edge(Protocol):
    """The mesh's public address."""

    async def ask(self, method: str, request: Any, *, timeout_s: float) -> Any:
        """Make one call of the Open Inference Protocol, by its name; the typed error that the mesh raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """Bounds of a REST front; reaching one is a typed error."""

    message_bytes_max: int = 64 << 20
    json_bytes_max: int = 16 << 20
    bodies_bytes_max: int = 256 << 20
    calls_max: int = 1_024
    body_timeout_s: float = 30.0
    deadline_s_default: float = 30.0
    deadline_s_max: float = 300.0


class Front:
    """What all requests of one REST front share."""

    def __init__(self, edge: Edge, limits: FrontLimits) -> None:
        self._edge = edge
        self.limits = limits
        self._calls = 0
        self._body_bytes = 0

    @contextmanager
    def admitted(self) -> Iterator[Body]:
        """Count one request in, for the length of the block, and give it room for its body."""
        if self._calls >= self.limits.calls_max:
            raise OverloadedError(
                f"{self.limits.calls_max} requests are in flight here, the limit",
                reason="CALLS_IN_FLIGHT",
                retry_after_s=RETRY_AFTER_S,
                calls_max=self.limits.calls_max,
            )
        self._calls += 1
        body = Body(self)
        try:
            yield body
        finally:
            self._calls -= 1
            self._body_bytes -= body.size_bytes

    async def ask(self, method: str, request: Any, timeout_s: float) -> Any:
        """Make one call, within `timeout_s` and the longest time that is allowed."""
        if request.ByteSize() > self.limits.message_bytes_max:
            raise self.too_large()
        return await self._edge.ask(method, request, timeout_s=min(timeout_s, self.limits.deadline_s_max))

    def reserve(self, size_bytes: int) -> None:
        """Take room for a piece of a body."""
        if self._body_bytes + size_bytes > self.limits.bodies_bytes_max:
            raise OverloadedError(
                "the bodies of the requests in flight here are as large together as is allowed",
                reason="BODIES_IN_FLIGHT",
                retry_after_s=RETRY_AFTER_S,
                bodies_bytes_max=self.limits.bodies_bytes_max,
            )
        self._body_bytes += size_bytes

    def too_large(self) -> BodyTooLargeError:
        """Return the error for a body or a message above the bound."""
        most = self.limits.message_bytes_max
        return BodyTooLargeError(f"the request is larger than {most} bytes", message_bytes_max=most)


class Body:
    """The body of one request as it comes in, in pieces that each find room or do not."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Keep one more piece."""
        if self.size_bytes + len(piece) > self._front.limits.message_bytes_max:
            raise self._front.too_large()
        self._front.reserve(len(piece))
        self.size_bytes += len(piece)
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """Return all of it, and keep nothing."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
