"""The workbench: takes jobs that are due, so many at a time, and sees each to its end."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from servemesh.changes import Changes
from servemesh.errors import ServemeshError, StaleError, UnavailableError
from servemesh.lifecycle import Clock, background
from servemesh.observe import metrics
from servemesh.observe import names as telemetry
from servemesh.optimizer.domain.jobs import Job, JobError, Kind
from servemesh.optimizer.domain.records import JobRecord
from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.service.holding import HeldJob, HoldSettings, told
from servemesh.optimizer.service.ports import Folders, JobRunner, RunningJob
from servemesh.optimizer.service.recording import record
from servemesh.optimizer.service.storage import Store

RELEASE_WAIT_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """How many jobs at a time, how often to look for one unasked, and how they are held."""

    jobs_max: int = 1
    poll_s: float = 2.0
    hold: HoldSettings = field(default_factory=HoldSettings)


class Workbench:
    """Runs for the life of the process. A message that a job waits only makes it look sooner."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        changes: Changes,
        runners: Mapping[Kind, JobRunner],
        folders: Folders,
        holder: str,
        settings: WorkSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._runners = runners
        self._folders = folders
        self._holder = holder
        self._settings = settings
        self._running: set[str] = set()
        self._measured_at_s = -math.inf

    async def run(self) -> None:
        """Take and do jobs until cancelled; what is under way then is given back."""
        metrics.gauge(telemetry.OPTIMIZER_JOBS_RUNNING).set_function(lambda: len(self._running))
        async with asyncio.TaskGroup() as group:
            while True:
                seen = self._changes.count
                try:
                    await self._measure()
                    async with aclosing(self._take()) as found:
                        async for taken in found:
                            self._running.add(taken.name)
                            group.create_task(self._work(taken), name=f"job {taken.name}")
                except (UnavailableError, StaleError) as error:
                    log.warning(telemetry.STORE_WAITING, extra={"reason": error.reason})
                await self._changes.wait(seen, timeout_s=self._settings.poll_s)

    async def _measure(self) -> None:
        """Show how many jobs have not ended, whoever works on them."""
        now_s = self._clock.monotonic_s()
        if now_s - self._measured_at_s < self._settings.poll_s:
            return
        async with self._store.reading() as tx:
            metrics.gauge(telemetry.OPTIMIZER_JOBS_OPEN).set(await tx.jobs.count_open())
        self._measured_at_s = now_s

    async def _take(self) -> AsyncGenerator[JobRecord]:
        """Take what is due, as far as there is room."""
        free = self._settings.jobs_max - len(self._running)
        if free <= 0:
            return
        async with self._store.reading() as tx:
            due = await tx.jobs.list_due(
                list(self._runners), now=self._clock.now(), limit=free + len(self._running)
            )
        for name in [name for name in due if name not in self._running][:free]:
            if (taken := await self._taken(name)) is not None:
                yield taken

    async def _taken(self, name: str) -> JobRecord | None:
        """The job in our hands, or None if another optimizer was faster or it has just ended."""
        now = self._clock.now()
        async with self._store.writing(name) as tx:
            found = await tx.jobs.find(name)
            if found is None or not found.job.is_due(now):
                return None
            job = found.job.taken(self._holder, now, self._settings.hold.rules)
            await tx.jobs.put(job)
            await record(tx, job, now)
        if job.has_ended:
            self._changes.notify()
            return None
        log.info(telemetry.JOB_TAKEN, extra={"job": name, "epoch": job.epoch})
        return JobRecord(job=job, spec=found.spec, result=found.result)

    async def _work(self, taken: JobRecord) -> None:
        held = HeldJob(self._store, self._clock, self._changes.notify, taken, self._settings.hold)
        try:
            self._tell(await self._done(taken, held))
        except StaleError:
            log.warning(telemetry.JOB_LOST, extra={"job": taken.name, "epoch": taken.job.epoch})
        except asyncio.CancelledError:
            with suppress(ServemeshError, TimeoutError):
                async with asyncio.timeout(RELEASE_WAIT_S):
                    await held.released(wait_s=0.0)
            raise
        finally:
            self._running.discard(taken.name)
            self._changes.notify()

    async def _done(self, taken: JobRecord, held: HeldJob) -> Job:
        """Do the work, write its end and return the job as it stands then."""
        try:
            async with self._folders.opened() as folder:
                result = await self._worked(taken, held, folder)
        except UnavailableError as error:  # something that the work needs is away: it goes on later
            held.log(f"waiting: {error.message}")
            return await held.released(wait_s=error.retry_after_s or self._settings.hold.retry_s)
        except ServemeshError as error:
            if error.reason == "JOB_LOST":
                raise
            return await held.failed(told(error))
        except TimeoutError:
            return await held.failed(_out_of_time(taken.spec.limits.time_s))
        except Exception:  # a bug of ours or of a library ends this job, not the service
            error_id = uuid.uuid4().hex[:12]
            log.exception(telemetry.JOB_CRASHED, extra={"job": taken.name, "error_id": error_id})
            held.forget_found()
            return await held.failed(_internal(error_id))
        return await held.succeeded(result)

    async def _worked(self, taken: JobRecord, held: HeldJob, folder: Path) -> JobResult:
        job = taken.job
        left_s = max(0.0, taken.spec.limits.time_s - job.worked_s)
        running = RunningJob(
            name=job.name,
            epoch=job.epoch,
            folder=folder,
            decided=taken.result if job.is_decided else None,
            left_s=left_s,
        )
        async with asyncio.timeout(None if job.is_decided else left_s) as deadline:
            held.on_decided = lambda: deadline.reschedule(None)
            async with background(held.beat):
                return await self._runners[job.kind].run(running, taken.spec, held)

    def _tell(self, job: Job) -> None:
        extra = {"job": job.name, "epoch": job.epoch, "state": job.state.value}
        if job.error is not None:
            extra["reason"] = job.error.reason
        log.info(telemetry.JOB_LEFT, extra=extra)
        if job.has_ended:
            metrics.counter(telemetry.OPTIMIZER_JOBS_ENDED).labels(
                kind=job.kind.noun, state=job.state.value
            ).inc()
            if job.start_time is not None and job.end_time is not None:
                span_s = max(0.0, (job.end_time - job.start_time) / timedelta(seconds=1))
                metrics.histogram(telemetry.OPTIMIZER_JOB_DURATION).labels(kind=job.kind.noun).observe(span_s)


def _out_of_time(time_s: float) -> JobError:
    return JobError(
        reason="TIME_EXCEEDED",
        message=f"the job did not end within {time_s:g} s of work: give it more time (limits.time), fewer "
        "rows, or fewer steps; finished steps are kept and not done again",
        field="limits.time",
    )


def _internal(error_id: str) -> JobError:
    return JobError(
        reason="INTERNAL",
        message=f"the optimizer failed in a way that it does not know; its log says more under error id {error_id}",
    )
