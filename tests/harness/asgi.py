"""Requests to an ASGI application without a server, and an edge that answers what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Pieces = Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return orjson.loads(self.body)


class MemoryEdge:
    """Answers each call with what `answer` makes of it, and remembers it."""

    def __init__(self, answer: Callable[[str, Any], Any]) -> None:
        self._answer = answer
        self.calls: list[tuple[str, Any, float]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.was_asked = asyncio.Event()

    async def ask(self, method: str, request: Any, *, timeout_s: float) -> Any:
        """Answer, once the test allows it."""
        self.calls.append((method, request, timeout_s))
        self.was_asked.set()
        await self.may_answer.wait()
        answer = self._answer(method, request)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(slots=True)
class Caller:
    """One request to an application: its pieces come as they are, then the client waits, or leaves."""

    method: str
    path: str
    pieces: Pieces = (b"",)
    headers: Mapping[str, str] = field(default_factory=dict)
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    stalls: bool = False
    _sent: int = 0

    async def receive(self) -> dict[str, Any]:
        """Be ASGI's receive."""
        if self._sent < len(self.pieces):
            self._sent += 1
            more = self.stalls or self._sent < len(self.pieces)
            return {"type": "http.request", "body": self.pieces[self._sent - 1], "more_body": more}
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def asked(application: Any, caller: Caller) -> Answered | None:
    """Return the answer; None if there was none."""
    status, headers, body = 0, {}, b""

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status, headers, body
        if message["type"] == "http.response.start":
            assert not status, "one answer only"
            status = message["status"]
            headers = {name.decode(): value.decode() for name, value in message["headers"]}
        body += message.get("body", b"")

    scope = {
        "type": "http",
        "method": caller.method,
        "path": caller.path,
        "raw_path": caller.path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in caller.headers.items()],
    }
    await application(scope, caller.receive, send)
    return Answered(status=status, headers=headers, body=body) if status else None
