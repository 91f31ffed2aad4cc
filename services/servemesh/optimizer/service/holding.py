"""A job in this process's hands: heartbeats that carry what it has to say, and the end that is written once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from servemesh.errors import ConflictError, ServemeshError, StaleError, UnavailableError
from servemesh.lifecycle import Clock
from servemesh.observe import names as telemetry
from servemesh.optimizer.domain.jobs import Job, JobError, LeaseRules
from servemesh.optimizer.domain.records import JobRecord, LogLine
from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.service.recording import record
from servemesh.optimizer.service.storage import Store

LINE_CHARS_MAX = 1_000
LINES_WAITING_MAX = 1_000
STEP_CHARS_MAX = 300

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSettings:
    """How often a job is shown to be alive, and how much it may say. `beat_s` is also how soon a cancel is seen."""

    rules: LeaseRules = field(default_factory=LeaseRules)
    beat_s: float = 1.0
    log_lines_max: int = 10_000
    retry_s: float = 5.0


class HeldJob:
    """Satisfies ports.JobProgress. Every write carries the epoch and fails once another optimizer has the job."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        changed: Callable[[], None],
        taken: JobRecord,
        settings: HoldSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._name = taken.name
        self._epoch = taken.job.epoch
        self._percent = taken.job.progress_percent
        self._step = taken.job.step
        self._lines: deque[LogLine] = deque(maxlen=LINES_WAITING_MAX)
        self._lines_left: int | None = None
        self._found: JobResult | None = None
        self._decided = False
        self._writing = asyncio.Lock()  # two writes at once would both write the same lines
        self.on_decided: Callable[[], None] = lambda: None

    def progress(self, share: float, step: str) -> None:
        """So much of the job is done, and this is being done now; seen at the next beat."""
        self._percent = max(self._percent, min(100.0, 100.0 * share)) if share == share else self._percent
        self._step = step[:STEP_CHARS_MAX]

    def log(self, text: str) -> None:
        """A line of the log; of too many the oldest are lost."""
        line = LogLine(log_time=self._clock.now(), epoch=self._epoch, text=text[:LINE_CHARS_MAX])
        self._lines.append(line)

    def found(self, result: JobResult) -> None:
        """What is known so far."""
        self._found = result

    def forget_found(self) -> None:
        """Leave out what was found since the last write: it may be what cannot be written."""
        self._found = None

    async def decide(self, result: JobResult) -> None:
        """Write down what is to be registered; from here on nobody can cancel."""
        if not self._decided:
            self._found = result
            await self._write(lambda job: job.decided(self._epoch))
            self._decided = True
            self.on_decided()

    async def beat(self) -> None:
        """Show for ever that the job is alive. ConflictError JOB_CANCELLED or StaleError JOB_LOST end it."""
        while True:
            with suppress(
                UnavailableError
            ):  # nobody else can take it either, and the epoch guards what follows
                job = await self._write(self._beaten)
                if job.is_cancelling:
                    raise ConflictError(
                        f"{self._name} is being cancelled", reason="JOB_CANCELLED", name=self._name
                    )
            await self._clock.sleep(self._settings.beat_s)

    async def succeeded(self, result: JobResult) -> Job:
        """The end, with a result."""
        self._found = result
        return await self._ended(lambda job: job.succeeded(self._epoch, self._clock.now()))

    async def failed(self, error: JobError) -> Job:
        """The end, with an error; or cancelled, if somebody asked for that."""
        return await self._ended(lambda job: job.failed(self._epoch, self._clock.now(), error))

    async def released(self, *, wait_s: float) -> Job:
        """Given back, to be taken again after `wait_s`."""
        due_time = self._clock.now() + timedelta(seconds=wait_s)
        return await self._ended(lambda job: job.released(self._epoch, due_time))

    async def _ended(self, move: Callable[[Job], Job]) -> Job:
        """Write until it is written or somebody else has the job: work that is done is not to be done again."""
        while True:
            try:
                return await self._write(move)
            except UnavailableError as error:
                log.warning(telemetry.STORE_WAITING, extra={"reason": error.reason})
                await self._clock.sleep(self._settings.beat_s)
            except StaleError as error:
                if error.reason != "WRITE_CONFLICT":
                    raise
                await self._clock.sleep(self._settings.beat_s)

    def _beaten(self, job: Job) -> Job:
        now, rules = self._clock.now(), self._settings.rules
        return job.beaten(self._epoch, now, rules, progress_percent=self._percent, step=self._step)

    async def _write(self, move: Callable[[Job], Job]) -> Job:
        """One transaction: the move, with what was found and said since the last one."""
        async with self._writing:
            job = await self._write_alone(move)
        self._changed()
        return job

    async def _write_alone(self, move: Callable[[Job], Job]) -> Job:
        lines, found = list(self._lines), self._found
        async with self._store.writing(self._name) as tx:
            current = await tx.jobs.find(self._name)
            if current is None:
                raise StaleError(f"{self._name} is gone", reason="JOB_LOST", name=self._name)
            job = move(current.job)
            await tx.jobs.put(job)
            if found is not None:
                await tx.jobs.put_result(self._name, found)
            if self._lines_left is None:
                self._lines_left = self._settings.log_lines_max - await tx.log_lines.count(self._name)
            kept = lines[: max(0, self._lines_left)]
            await tx.log_lines.add(self._name, kept)
            if job.state is not current.job.state:
                await record(tx, job, self._clock.now())
        self._lines_left -= len(kept)
        for line in lines:
            if self._lines and self._lines[0] is line:
                self._lines.popleft()
        if found is self._found:
            self._found = None
        return job


def told(error: ServemeshError) -> JobError:
    """The job's error for one that its work raised."""
    return JobError(reason=error.reason, message=error.message, field=error.metadata.get("field", ""))
