"""Writes facts with what they are about, and answers a repeated call as it was answered before."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime

from servemesh.errors import ConflictError
from servemesh.optimizer.domain.jobs import Job, State
from servemesh.optimizer.domain.records import Fact, FactKind
from servemesh.optimizer.service.storage import Transaction
from servemesh.requests import RequestKey

_FACTS = {
    State.QUEUED: FactKind.QUEUED,
    State.RUNNING: FactKind.STARTED,
    State.SUCCEEDED: FactKind.SUCCEEDED,
    State.FAILED: FactKind.FAILED,
    State.CANCELLED: FactKind.CANCELLED,
}


async def record(tx: Transaction, job: Job, now: datetime) -> None:
    """Keep the fact that the job has come into its state."""
    fact = Fact(
        event_id=str(uuid.uuid4()),
        kind=_FACTS[job.state],
        job=job.name,
        noun=job.kind.noun,
        revision=await tx.facts.next_revision(job.name),
        occur_time=now,
        reason=job.error.reason if job.error is not None else "",
    )
    await tx.facts.add(fact)


async def answered(
    tx: Transaction, request: RequestKey | None, now: datetime, work: Callable[[], Awaitable[str]]
) -> str:
    """Do `work` and keep the name that it made under the request's id; the second time only return the name.

    ConflictError REQUEST_ID_REUSED if the id came with other arguments before.
    """
    if request is None:
        return await work()
    found = await tx.requests.find(request.request_id)
    if found is not None:
        sha256, name = found
        if sha256 != request.sha256:
            raise ConflictError(
                f"request_id {request.request_id} was used before with other arguments; take a new one",
                reason="REQUEST_ID_REUSED",
                request_id=request.request_id,
            )
        return name
    name = await work()
    await tx.requests.put(request, name, create_time=now)
    return name


def request_lock(request: RequestKey | None) -> tuple[str, ...]:
    """The lock that keeps two calls with one request id apart."""
    return (f"requests/{request.request_id}",) if request is not None else ()
