"""Which path is answered by which method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Route

from servemesh.errors import MissingError, UnsupportedError
from servemesh.gateway.rest.api.answers import Answer
from servemesh.gateway.rest.api.endpoint import Endpoint, Request, refusal
from servemesh.gateway.rest.api.oip import OipHttp
from servemesh.gateway.rest.service import Front

Handle = Callable[[Request], Awaitable[Answer]]
_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"


def application(front: Front) -> Starlette:
    """Return the REST front as an ASGI application."""
    made = Starlette(
        routes=[
            Route(
                path,
                Endpoint(f"{verb} {path}", handle, front, has_body=verb == "POST"),
                methods=[verb],
            )
            for (verb, path), handle in table(OipHttp(front)).items()
        ],
        exception_handlers={HTTPException: _refused},
    )
    made.router.redirect_slashes = False
    return made


def table(oip: OipHttp) -> dict[tuple[str, str], Handle]:
    """Return what answers which verb and path; of two that fit, the first does."""
    return {
        ("GET", "/v2"): oip.metadata,
        ("GET", "/v2/health/live"): oip.live,
        ("GET", "/v2/health/ready"): oip.ready,
        ("GET", "/v2/openapi.json"): oip.document,
        ("GET", "/v2/models/stats"): oip.statistics,
        **{
            ("GET", f"{path}{suffix}"): handle
            for path in (_MODEL, _VERSION)
            for suffix, handle in (
                ("", oip.model_metadata),
                ("/ready", oip.model_ready),
                ("/config", oip.model_config),
                ("/stats", oip.statistics),
            )
        },
        ("POST", f"{_MODEL}/infer"): oip.infer,
        ("POST", f"{_VERSION}/infer"): oip.infer,
        ("POST", "/v2/repository/index"): oip.index,
        ("POST", "/v2/repository/models/{model}/load"): oip.load,
        ("POST", "/v2/repository/models/{model}/unload"): oip.unload,
    }


async def _refused(request: StarletteRequest, error: Exception) -> Response:
    """Answer what no path takes, in the form of all other errors."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    refused: Exception
    if error.status_code == 405:
        refused = UnsupportedError(f"{path} takes another method", reason="METHOD_NOT_ALLOWED", path=path)
    else:
        refused = MissingError(
            f"there is no {path} here; /v2/openapi.json lists what is", reason="PATH_UNKNOWN", path=path
        )
    answer = refusal(refused)
    return Response(
        b"".join(answer.body),
        answer.status,
        {**(error.headers or {}), **answer.headers},
        answer.content_type,
    )
