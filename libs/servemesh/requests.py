"""What every request message is read for: its id, which makes it the same when it is repeated, and its page."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

from servemesh.errors import InvalidError
from servemesh.paging import PageRequest, page_request


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """What makes a repeated call the same call: the caller's UUID and the digest of method and arguments."""

    request_id: str
    sha256: str


def request_key(request: Any) -> RequestKey | None:
    """The request's id with the digest of everything else in it; None if it has no id."""
    if not request.request_id:
        return None
    try:
        request_id = str(uuid.UUID(request.request_id))
    except ValueError:
        raise InvalidError(
            f"request_id is {request.request_id[:100]!r}, expected a UUID",
            reason="REQUEST_ID_MALFORMED",
            field="request_id",
            expected="a UUID",
        ) from None
    body = request.SerializeToString(deterministic=True)
    digest = hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body)
    return RequestKey(request_id=request_id, sha256=digest.hexdigest())


def page_of(request: Any, parent: str = "") -> PageRequest:
    """The page that a List request asks for."""
    scope = f"{request.DESCRIPTOR.full_name} {parent}"
    return page_request(scope, request.page_size, request.page_token)
