"""A job's life as pure functions: who may work on it, when, and what may still be written.

Every time that an optimizer takes a job its epoch counts up, and whatever the optimizer writes carries that epoch:
one that was thought dead and comes back writes nothing. Leases compare wall clocks, which may be wrong; a wrong one
costs work that is done twice, never a second commit, because only the newest epoch commits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from servemesh import names
from servemesh.errors import ConflictError, StaleError


class Kind(StrEnum):
    """What is asked for, as it stands in the job's name."""

    CONVERSION = "conversions"
    OPTIMIZATION = "optimizations"
    EVALUATION = "evaluations"

    @property
    def noun(self) -> str:
        """The same in the singular: a token of NATS subjects and a label of metrics."""
        return self.value[:-1]


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, in words for the user."""

    reason: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRules:
    """How long a silent optimizer is believed in, and how many may be lost over one job."""

    lease: timedelta = timedelta(seconds=10)
    losses_max: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of long work. `due_time` is when it may be taken: when queued, or when its lease runs out.

    `is_decided`: nothing but registering is left, so it can no longer be cancelled. `losses` counts the optimizers
    that died over it, `worked_s` how long all of them have worked, up to the last sign of life.
    """

    kind: Kind
    job_id: str
    state: State = State.QUEUED
    epoch: int = 0
    holder: str = ""
    due_time: datetime
    is_cancelling: bool = False
    is_decided: bool = False
    losses: int = 0
    worked_s: float = 0.0
    beat_time: datetime | None = None
    progress_percent: float = 0.0
    step: str = ""
    error: JobError | None = None
    create_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def name(self) -> str:
        """For example `conversions/{conversion}`."""
        return names.job(self.kind.value, self.job_id)

    @property
    def has_ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in ENDED

    def is_due(self, now: datetime) -> bool:
        """Whether an optimizer may take it."""
        return not self.has_ended and self.due_time <= now

    def taken(self, holder: str, now: datetime, rules: LeaseRules) -> Job:
        """The job in the hands of `holder`; or ended, if it was to be cancelled or has cost too many optimizers."""
        if not self.is_due(now):
            raise StaleError(f"{self.name} is not free", reason="JOB_TAKEN", name=self.name)
        was_lost = self.state is State.RUNNING
        job = replace(self, losses=self.losses + was_lost)
        if job.is_cancelling:
            return job._ended(State.CANCELLED, now)
        if job.losses > rules.losses_max and not job.is_decided:
            return replace(job._ended(State.FAILED, now), error=_abandoned(job.losses))
        return replace(
            job,
            state=State.RUNNING,
            epoch=self.epoch + 1,
            holder=holder,
            due_time=now + rules.lease,
            beat_time=now,
            start_time=self.start_time or now,
        )

    def beaten(
        self, epoch: int, now: datetime, rules: LeaseRules, *, progress_percent: float, step: str
    ) -> Job:
        """Alive, and so far."""
        self._check_held(epoch)
        percent = min(100.0, max(self.progress_percent, progress_percent))
        since_s = (now - (self.beat_time or now)).total_seconds()
        return replace(
            self,
            due_time=now + rules.lease,
            beat_time=now,
            worked_s=self.worked_s + max(0.0, since_s),
            progress_percent=percent,
            step=step,
        )

    def decided(self, epoch: int) -> Job:
        """From here on it can no longer be cancelled."""
        self._check_held(epoch)
        if self.is_cancelling:
            raise ConflictError(f"{self.name} is being cancelled", reason="JOB_CANCELLED", name=self.name)
        return replace(self, is_decided=True)

    def succeeded(self, epoch: int, now: datetime) -> Job:
        """Ended with a result; or cancelled, if somebody asked for that before anything was decided."""
        self._check_held(epoch)
        if self.is_cancelling:
            return self._ended(State.CANCELLED, now)
        return replace(self._ended(State.SUCCEEDED, now), progress_percent=100.0, step="")

    def failed(self, epoch: int, now: datetime, error: JobError) -> Job:
        """Ended with an error; or cancelled, if somebody asked for that."""
        self._check_held(epoch)
        if self.is_cancelling:
            return self._ended(State.CANCELLED, now)
        return replace(self._ended(State.FAILED, now), error=error)

    def released(self, epoch: int, due_time: datetime) -> Job:
        """Given back, for anybody to take from `due_time` on: an optimizer stops, or something it needs is away."""
        self._check_held(epoch)
        return replace(self, state=State.QUEUED, holder="", due_time=due_time)

    def cancelled(self, now: datetime) -> Job:
        """Somebody asked to stop it: at once where nobody works on it, else by who does. Too late once decided."""
        if self.has_ended or self.is_decided:
            return self
        if self.state is State.QUEUED or self.due_time <= now:
            return self._ended(State.CANCELLED, now)
        return replace(self, is_cancelling=True)

    def _check_held(self, epoch: int) -> None:
        if self.state is not State.RUNNING or self.epoch != epoch:
            raise StaleError(
                f"{self.name} is {self.state} in epoch {self.epoch}, no longer running in epoch {epoch}",
                reason="JOB_LOST",
                name=self.name,
                expected=epoch,
                got=self.epoch,
            )

    def _ended(self, state: State, now: datetime) -> Job:
        return replace(self, state=state, holder="", is_cancelling=False, end_time=now)


def _abandoned(losses: int) -> JobError:
    return JobError(
        reason="JOB_ABANDONED",
        message=f"{losses} optimizers ended while they worked on this job, so it is not tried again: look into their "
        "logs, give the job less memory or threads, or leave out the step at which it stood",
    )
