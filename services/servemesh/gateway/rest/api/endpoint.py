"""What surrounds every request: bounds, deadline, trace, counters, and an answer whatever happens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from servemesh.errors import ExpiredError, InvalidError
from servemesh.gateway.rest.api.answers import Answer, json_answer
from servemesh.gateway.rest.domain.documents import malformed
from servemesh.gateway.rest.service import Body, Front
from servemesh.lifecycle import background
from servemesh.observe import traces
from servemesh.observe.calls import calls_of
from servemesh.rpc import edge, statuses
from servemesh.web.codes import body_of, code_of, retry_after_s

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
TIMEOUT = "servemesh-timeout"
REASON = "Servemesh-Reason"
BODY_TIMEOUT = "BODY_TIMEOUT"
_PIECE_BYTES = (
    256 * 1024
)  # of an answer, before the next is written the client must have taken most of the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, read whole."""

    path: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    timeout_s: float | None
    """What the client asks for in a header."""


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


class Endpoint:
    """One method of one path, as an ASGI application."""

    def __init__(
        self, route: str, handle: Callable[[Request], Awaitable[Answer]], front: Front, *, has_body: bool
    ) -> None:
        self._route = route
        self._handle = handle
        self._front = front
        self._has_body = has_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raise nothing but the cancellation of a server that stops."""
        calls = calls_of(self._route)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        started_s, code = calls.started(), None
        try:
            with self._front.admitted() as body, traces.http_span(self._route, _Caller(headers)):
                answer = await self._answered(scope, headers, body, receive)
                await self._sent(answer, send)
        except ClientLeftError:
            code = "CANCELLED"
        except Exception as error:
            code = statuses.code_of(error).name
            await _send(refusal(error), send)
        finally:
            calls.ended(started_s, code)

    async def _answered(
        self, scope: Scope, headers: Mapping[str, str], body: Body, receive: Receive
    ) -> Answer:
        _check_origin(headers)
        timeout_s = _timeout_s(headers)
        whole = await self._read(headers, body, receive) if self._has_body else b""
        request = Request(path=scope["path_params"], headers=headers, body=whole, timeout_s=timeout_s)
        return await _unless_left(receive, self._handle(request))

    async def _read(self, headers: Mapping[str, str], body: Body, receive: Receive) -> bytes:
        encoding = headers.get("content-encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            raise InvalidError(
                f"Content-Encoding is {encoding[:40]}: send the body as it is",
                reason="ENCODING_UNSUPPORTED",
                field="Content-Encoding",
                expected="identity",
            )
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._front.limits.message_bytes_max:
            raise self._front.too_large()
        try:
            async with asyncio.timeout(self._front.limits.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeftError
                    body.add(message.get("body", b""))
                    if not message.get("more_body", False):
                        return body.whole()
        except TimeoutError:
            raise ExpiredError(
                f"the body did not come within {self._front.limits.body_timeout_s:g} s", reason=BODY_TIMEOUT
            ) from None

    async def _sent(self, answer: Answer, send: Send) -> None:
        try:
            async with asyncio.timeout(self._front.limits.body_timeout_s):
                await _send(answer, send)
        except TimeoutError:
            raise ClientLeftError from None


def refusal(error: Exception) -> Answer:
    """Return what a caller is told of an error."""
    typed = edge.typed(error)
    headers = {REASON: typed.reason}
    if typed.reason == BODY_TIMEOUT:
        headers["Connection"] = "close"
    wait_s = retry_after_s(typed)
    if wait_s is not None:
        headers["Retry-After"] = str(wait_s)
    return json_answer(body_of(typed), code_of(typed), headers)


async def _unless_left(receive: Receive, work: Awaitable[Answer]) -> Answer:
    """Return what `work` gives; stop it and raise ClientLeftError when the client goes."""
    task, has_left = asyncio.current_task(), False
    assert task is not None

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        task.cancel()

    try:
        async with background(watch):
            return await work
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        raise ClientLeftError from None


async def _send(answer: Answer, send: Send) -> None:
    headers = {"Content-Length": str(sum(map(len, answer.body))), **answer.headers}
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    encoded = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    for part in answer.body:
        for start in range(0, len(part), _PIECE_BYTES):
            piece = part[start : start + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what a page of another site sends from a browser of somebody who can reach the mesh."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise InvalidError(
            "requests of pages of other sites are refused", reason="ORIGIN_REFUSED", field="Origin"
        )


def _timeout_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get(TIMEOUT)
    if text is None:
        return None
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        raise malformed("Servemesh-Timeout", "seconds, more than 0", text)
    return timeout_s


class _Caller:
    """The trace context of a request, as gRPC's contexts have it."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        parent = self._headers.get(traces.TRACE_PARENT)
        return () if parent is None else ((traces.TRACE_PARENT, parent),)
