"""What request messages are read for: the mask, times, and the ids of Versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh import names
from servemesh.errors import InvalidError


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
