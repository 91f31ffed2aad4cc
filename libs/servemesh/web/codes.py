"""Which HTTP status says which error."""

from __future__ import annotations

import math

from servemesh import errors
from servemesh.errors import OverloadedError, ServemeshError

RETRY_AFTER_S = 1  # where nobody said when to come back

_OF_KIND: dict[type[ServemeshError], int] = {
    errors.InvalidError: 400,
    errors.MissingError: 404,
    errors.ConflictError: 409,
    errors.OverloadedError: 429,
    errors.UnavailableError: 503,
    errors.UnsupportedError: 501,
    errors.DamagedError: 500,
    errors.ExpiredError: 504,
    ServemeshError: 500,
}
# Where HTTP has a more exact word than gRPC.
_OF_REASON = {
    "ORIGIN_REFUSED": 403,
    "METHOD_NOT_ALLOWED": 405,
    "BODY_TIMEOUT": 408,
    "MESSAGE_TOO_LARGE": 413,
    "JSON_TOO_LARGE": 413,
    "RESPONSE_TOO_LARGE": 413,
    "ENCODING_UNSUPPORTED": 415,
    "METADATA_TOO_LARGE": 431,
}


class BodyTooLargeError(OverloadedError):
    """What was sent is above a bound: 413. Sending the same again will not help."""

    reason = "MESSAGE_TOO_LARGE"

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message, reason=reason, retry_after_s=None, **metadata)


def code_of(error: ServemeshError) -> int:
    """Return the HTTP status of `error`."""
    if error.reason in _OF_REASON:
        return _OF_REASON[error.reason]
    return next(_OF_KIND[kind] for kind in type(error).__mro__ if kind in _OF_KIND)


def retry_after_s(error: ServemeshError) -> int | None:
    """Return the header Retry-After, whole seconds; None where coming back will not help."""
    if code_of(error) not in (429, 503):
        return None
    if error.retry_after_s is None:
        return RETRY_AFTER_S if isinstance(error, errors.UnavailableError) else None
    return max(RETRY_AFTER_S, math.ceil(error.retry_after_s))


def body_of(error: ServemeshError) -> dict[str, object]:
    """Return what the caller reads: the text that Triton's clients show, our reason, and what it is about."""
    body: dict[str, object] = {"error": error.message, "reason": error.reason}
    if error.metadata:
        body["metadata"] = error.metadata
    if error.retry_after_s is not None:
        body["retry_after_s"] = error.retry_after_s
    return body
