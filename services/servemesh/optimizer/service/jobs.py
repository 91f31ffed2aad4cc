"""Jobs as users see them: asked for, looked at, cancelled and deleted. `working.Workbench` does them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import ConflictError, MissingError, OverloadedError
from servemesh.lifecycle import Clock
from servemesh.optimizer.domain import asking
from servemesh.optimizer.domain.asking import Bounds
from servemesh.optimizer.domain.jobs import Job, Kind
from servemesh.optimizer.domain.records import JobRecord, LogLine
from servemesh.optimizer.domain.specs import ConversionSpec, EvaluationSpec, JobSpec, OptimizationSpec
from servemesh.optimizer.service.recording import answered, record, request_lock
from servemesh.optimizer.service.storage import Store, Transaction
from servemesh.paging import Page, PageRequest
from servemesh.requests import RequestKey

WATCH_INTERVAL_S = 0.5  # other optimizers change jobs too
_KINDS = {
    ConversionSpec: Kind.CONVERSION,
    OptimizationSpec: Kind.OPTIMIZATION,
    EvaluationSpec: Kind.EVALUATION,
}


class JobBook:
    """Every method is one transaction, but for `watch`."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, bounds: Bounds) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._bounds = bounds
        self._watchers = 0

    async def create(self, spec: JobSpec, request: RequestKey | None = None) -> JobRecord:
        """Queue a job. MissingError if its Source or Dataset does not exist."""
        kind, now = _KINDS[type(spec)], self._clock.now()
        async with self._store.writing("jobs", *request_lock(request)) as tx:

            async def work() -> str:
                asking.check_room(await tx.jobs.count_open(), self._bounds.jobs_open_max, "jobs", "JOBS_MAX")
                await _check_parts(tx, spec)
                job = Job(kind=kind, job_id=f"j{uuid.uuid4().hex[:16]}", due_time=now, create_time=now)
                await tx.jobs.add(JobRecord(job=job, spec=spec))
                await record(tx, job, now)
                return job.name

            made = await _found(tx, await answered(tx, request, now, work))
        self._changes.notify()
        return made

    async def find_made(self, request: RequestKey | None) -> JobRecord | None:
        """The job that this request made before, if it did."""
        if request is None:
            return None
        async with self._store.reading() as tx:
            found = await tx.requests.find(request.request_id)
            if found is None or found[0] != request.sha256:
                return None  # `create` refuses one that came with other arguments
            return await tx.jobs.find(found[1])

    async def get(self, name: str, kind: Kind | None = None) -> JobRecord:
        """The job; MissingError if there is none, or none of that kind."""
        names.job_ids(name)
        async with self._store.reading() as tx:
            found = await _found(tx, name)
        if kind is not None and found.job.kind is not kind:
            raise _missing(name)
        return found

    async def list(self, kind: Kind, page: PageRequest) -> Page[JobRecord]:
        """Newest first."""
        async with self._store.reading() as tx:
            rows = await tx.jobs.list(kind, before=page.after_number, limit=page.fetch)
        numbered = page.page(rows, lambda row: str(row[0]))
        return Page(
            items=tuple(record for _, record in numbered.items), next_page_token=numbered.next_page_token
        )

    async def cancel(self, name: str) -> Job:
        """Stop it; one that has ended, or that only has to be registered, stays as it is."""
        names.job_ids(name)
        now = self._clock.now()
        async with self._store.writing(name) as tx:
            before = (await _found(tx, name)).job
            after = before.cancelled(now)
            if after != before:
                await tx.jobs.put(after)
            if after.has_ended and not before.has_ended:
                await record(tx, after, now)
        self._changes.notify()
        return after

    async def delete(self, name: str) -> None:
        """Forget a job that has ended, with its log."""
        names.job_ids(name)
        async with self._store.writing(name) as tx:
            job = (await _found(tx, name)).job
            if not job.has_ended:
                raise ConflictError(
                    f"{name} is {job.state}; cancel it, wait until it has ended, and delete it then",
                    reason="JOB_NOT_ENDED",
                    name=name,
                    state=job.state,
                )
            await tx.jobs.delete(name)

    async def watch(self, name: str) -> AsyncGenerator[Job]:
        """The job now and whenever it differs, until it has ended; a slow reader misses states, never the last."""
        if self._watchers >= self._bounds.watchers_max:
            raise OverloadedError(
                f"{self._watchers} watchers, the most this optimizer takes; ask again or poll",
                reason="WATCHERS_MAX",
                retry_after_s=1.0,
                limit=self._bounds.watchers_max,
            )
        self._watchers += 1
        try:
            told: Job | None = None
            while told is None or not told.has_ended:
                seen = self._changes.count
                current = (await self.get(name)).job
                if told is None or _shown(current) != _shown(told):
                    told = current
                    yield current
                if not current.has_ended:
                    await self._changes.wait(seen, timeout_s=WATCH_INTERVAL_S)
        finally:
            self._watchers -= 1

    async def log_lines(self, name: str, page: PageRequest) -> Page[LogLine]:
        """Oldest first; while the job has not ended there is always a token to go on with."""
        names.job_ids(name)
        async with self._store.reading() as tx:
            job = (await _found(tx, name)).job
            lines = await tx.log_lines.list(name, after=page.after_number, limit=page.fetch)
        cut = page.page(lines, lambda line: str(line.row_id))
        if cut.next_page_token or job.has_ended:
            return cut
        last = str(lines[-1].row_id) if lines else page.after
        return Page(items=cut.items, next_page_token=page.token(last) if last else page.token("0"))


async def _found(tx: Transaction, name: str) -> JobRecord:
    found = await tx.jobs.find(name)
    if found is None:
        raise _missing(name)
    return found


async def _check_parts(tx: Transaction, spec: JobSpec) -> None:
    if spec.dataset and await tx.datasets.find(names.dataset_id(spec.dataset)) is None:
        raise MissingError(
            f"{spec.dataset} does not exist; `servemesh dataset ls` shows those that do",
            reason="DATASET_MISSING",
            name=spec.dataset,
        )
    if not isinstance(spec, ConversionSpec):
        return
    if await tx.sources.find(names.source_digest(spec.source)) is None:
        raise MissingError(
            f"{spec.source} does not exist (any more); upload its files again",
            reason="SOURCE_MISSING",
            name=spec.source,
        )


def _shown(job: Job) -> tuple[object, ...]:
    return job.state, job.progress_percent, job.step, job.error, job.epoch, job.is_cancelling


def _missing(name: str) -> MissingError:
    return MissingError(f"{name} does not exist", reason="JOB_MISSING", name=name)
