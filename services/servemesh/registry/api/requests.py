"""What every request message is read for: its id, its page, its mask and its times."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.errors import InvalidError
from servemesh.registry.domain.models import RequestKey
from servemesh.registry.domain.paging import PageRequest, page_request


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


def paths_of(mask: FieldMask, allowed: Sequence[str], populated: Sequence[str]) -> frozenset[str]:
    """The fields to change: those of the mask, or `populated` if it is empty; InvalidError for others."""
    for path in mask.paths:
        if path not in allowed:
            raise InvalidError(
                f"update_mask has {path[:100]!r}, expected some of {', '.join(allowed)}",
                reason="MASK_MALFORMED",
                field="update_mask",
                expected=", ".join(allowed),
                got=path[:100],
            )
    return frozenset(mask.paths or populated)


def moment_of(request: Message, field: str) -> datetime | None:
    """The time in that field; None if it is absent."""
    if not request.HasField(field):
        return None
    timestamp: Timestamp = getattr(request, field)
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidError(
            f"{field} is not a time between the years 1 and 9999", reason="TIME_MALFORMED", field=field
        ) from None


def version_id_of(version: str, model_id: str, field: str) -> int:
    """The id of a Version of that Model; InvalidError if it is another Model's."""
    other_id, version_id = names.version_ids(version)
    if other_id != model_id:
        raise InvalidError(
            f"{field} is {version}, expected a version of {names.model(model_id)}",
            reason="VERSION_OF_ANOTHER_MODEL",
            field=field,
            expected=names.model(model_id),
            got=version,
        )
    return version_id
