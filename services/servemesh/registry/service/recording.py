"""Writes facts into the outbox, and answers a repeated call as it was answered before."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from servemesh.errors import ConflictError, StaleError
from servemesh.registry.domain.events import Event, Kind
from servemesh.registry.service.ports import Transaction
from servemesh.requests import RequestKey

Answer = TypeVar("Answer")


async def record(
    tx: Transaction,
    kind: Kind,
    resource: str,
    subject_id: str,
    now: datetime,
    *,
    version: str = "",
    lease_expired: bool = False,
) -> int:
    """Add the fact to the outbox and return the resource's new revision."""
    revision = await tx.outbox.next_value(resource)
    event = Event(
        event_id=str(uuid.uuid4()),
        kind=kind,
        resource=resource,
        subject_id=subject_id,
        revision=revision,
        occur_time=now,
        version=version,
        lease_expired=lease_expired,
    )
    await tx.outbox.add(event)
    return revision


async def answered(
    tx: Transaction,
    request: RequestKey | None,
    kind: type[Answer],
    now: datetime,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Do `work` and keep its answer under the request's id; the second time only return the answer.

    ConflictError REQUEST_ID_REUSED if the id came with other arguments before.
    """
    if request is None:
        return await work()
    found = await tx.requests.find(request.request_id, kind)
    if found is not None:
        sha256, answer = found
        if sha256 != request.sha256 or answer is None:
            raise ConflictError(
                f"request_id {request.request_id} was used before with other arguments; take a new one",
                reason="REQUEST_ID_REUSED",
                request_id=request.request_id,
            )
        return answer
    answer = await work()
    await tx.requests.put(request, answer, create_time=now)
    return answer


def request_lock(request: RequestKey | None) -> tuple[str, ...]:
    """The lock that keeps two calls with one request id apart."""
    return (f"requests/{request.request_id}",) if request is not None else ()


def check_etag(name: str, etag: str, current: str) -> None:
    """StaleError if the caller sent the etag of another state; an empty one always fits."""
    if etag and etag != current:
        raise StaleError(
            f"{name} has changed since etag {etag[:100]!r}; read it again and decide again",
            name=name,
            etag=etag[:100],
            current=current,
        )
