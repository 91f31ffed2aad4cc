"""The console's paths: the page and its parts, questions, beats over server-sent events, and files of reports."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from servemesh.errors import InvalidError, MissingError, ServemeshError
from servemesh.metrics.console.api.callers import check_caller
from servemesh.metrics.console.service import Pulse, Questions
from servemesh.names import ID_PATTERN
from servemesh.rpc import edge
from servemesh.web.codes import BodyTooLargeError, code_of, retry_after_s

ASSETS = resources.files("servemesh.metrics.console") / "assets"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing comes from elsewhere, and nothing in a page runs but our own files.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_REPORT_HEADERS = {
    # A report is a page of its own with its style in it.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_REPORT_TYPES = {
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "pdf": "application/pdf",
}
_BEAT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
Handle = Callable[[Request], Awaitable[Response]]


def application(
    questions: Questions, pulse: Pulse, *, question_bytes_max: int, hosts: frozenset[str] = frozenset()
) -> Starlette:
    """Return the console as an ASGI application. `hosts` are names with a dot by which browsers know it."""

    async def page(request: Request) -> Response:
        return _asset("index.html")

    async def asset(request: Request) -> Response:
        return _asset(request.path_params["path"])

    async def question(request: Request) -> Response:
        document = await _document(request, question_bytes_max)
        path = request.path_params
        answer = await questions.answer(path["service"], path["method"], document)
        return JSONResponse(answer, headers={**_HEADERS, "Cache-Control": "no-store"})

    async def beats(request: Request) -> Response:
        return StreamingResponse(_events(pulse), media_type="text/event-stream", headers=_BEAT_HEADERS)

    async def report(request: Request) -> Response:
        name, _, format_ = request.path_params["file"].rpartition(".")
        if format_ not in _REPORT_TYPES:
            raise MissingError(f"reports are {', '.join(_REPORT_TYPES)}", reason="REPORT_FORMAT_UNKNOWN")
        if not re.fullmatch(ID_PATTERN, name):  # it goes into a header
            raise MissingError("there is no report of that name", reason="REPORT_MISSING")
        chunks = questions.report(f"reports/{name}", format_)
        first = await anext(chunks, b"")
        headers = dict(_REPORT_HEADERS)
        if format_ != "html":
            headers["Content-Disposition"] = f'attachment; filename="{name}.{format_}"'
        return StreamingResponse(_after(first, chunks), media_type=_REPORT_TYPES[format_], headers=headers)

    return Starlette(
        routes=[
            Route("/", _guarded(page, hosts)),
            Route("/assets/{path:path}", _guarded(asset, hosts)),
            Route("/api/{service}/{method}", _guarded(question, hosts), methods=["POST"]),
            Route("/beats", _guarded(beats, hosts)),
            Route("/reports/{file}", _guarded(report, hosts)),
        ]
    )


def _guarded(handle: Handle, hosts: frozenset[str]) -> Handle:
    """Answer a typed error as JSON, and what we did not expect without its text."""

    async def guarded(request: Request) -> Response:
        try:
            check_caller(request.headers, hosts)
            return await handle(request)
        except Exception as error:
            typed = edge.typed(error)
            headers = dict(_HEADERS)
            wait_s = retry_after_s(typed)
            if wait_s is not None:
                headers["Retry-After"] = str(wait_s)
            body = {"reason": typed.reason, "message": typed.message}
            return JSONResponse(body, code_of(typed), headers=headers)

    return guarded


def _asset(path: str) -> Response:
    # Resolved against the list of what ships, so that no path leads elsewhere.
    if path not in _shipped():
        raise MissingError("the console has no such file", reason="ASSET_UNKNOWN")
    kind = _TYPES[path.rpartition(".")[2]]
    return Response(
        (ASSETS / path).read_bytes(), media_type=kind, headers={**_HEADERS, "Cache-Control": "no-cache"}
    )


def _shipped() -> set[str]:
    own = {each.name for each in ASSETS.iterdir() if each.is_file()}
    return own | {f"pages/{each.name}" for each in (ASSETS / "pages").iterdir() if each.is_file()}


async def _document(request: Request, size_bytes_max: int) -> dict[str, Any]:
    # Other sites' pages cannot send this type without being asked first, so that they cannot ask in a user's name.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InvalidError(
            "questions are application/json", reason="QUESTION_MALFORMED", field="content-type"
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > size_bytes_max:
            raise BodyTooLargeError(
                f"a question is at most {size_bytes_max} bytes", limit_bytes=size_bytes_max
            )
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidError("the question is not JSON", reason="QUESTION_MALFORMED", field="") from error
    if not isinstance(document, dict):
        raise InvalidError("the question is not a JSON object", reason="QUESTION_MALFORMED", field="")
    return document


async def _events(pulse: Pulse) -> AsyncIterator[str]:
    try:
        async with aclosing(pulse.beats()) as beats:  # type: ignore[type-var]
            async for beat in beats:
                yield f"data: {beat}\n\n"
    except ServemeshError as error:
        yield f"event: refused\ndata: {json.dumps({'reason': error.reason, 'message': error.message})}\n\n"


async def _after(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk
