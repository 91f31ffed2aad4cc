"""The life of a job: every move from every state, by seeded and generated histories."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.errors import ConflictError, ServemeshError, StaleError
from servemesh.optimizer.domain.jobs import Job, JobError, LeaseRules, State
from tests.harness.optimizer_values import START, a_job

RULES = LeaseRules()
ERROR = JobError(reason="TIME_EXCEEDED", message="too slow")
LATER = START + timedelta(seconds=60)


def taken(job: Job | None = None) -> Job:
    """A job in somebody's hands."""
    return (job or a_job()).taken("o1", START, RULES)


def test_taking_a_job_counts_its_epoch_and_gives_a_lease() -> None:
    job = taken()
    assert (job.state, job.epoch, job.holder, job.start_time) == (State.RUNNING, 1, "o1", START)
    assert not job.is_due(START + timedelta(seconds=9))
    assert job.is_due(START + timedelta(seconds=10))


def test_a_job_in_somebodys_hands_cannot_be_taken() -> None:
    with pytest.raises(StaleError, match="not free"):
        taken().taken("o2", START + timedelta(seconds=5), RULES)


def test_a_beat_extends_the_lease_and_progress_never_goes_back() -> None:
    beat_time = START + timedelta(seconds=8)
    job = taken().beaten(1, beat_time, RULES, progress_percent=40, step="measuring")
    assert not job.is_due(START + timedelta(seconds=17))
    job = job.beaten(1, beat_time, RULES, progress_percent=10, step="measuring")
    assert job.progress_percent == 40


def test_the_time_of_a_job_is_that_in_which_somebody_worked_on_it() -> None:
    def at(seconds: int) -> datetime:
        return START + timedelta(seconds=seconds)

    job = taken().beaten(1, at(8), RULES, progress_percent=1, step="").released(1, at(8))
    job = job.taken("o2", at(1_000), RULES).beaten(2, at(1_005), RULES, progress_percent=1, step="")
    assert job.worked_s == 13


@pytest.mark.parametrize("move", ["beaten", "decided", "succeeded", "failed", "released"])
def test_whoever_was_thought_dead_writes_nothing(move: str) -> None:
    job = taken(replace(taken(), due_time=START))
    moves = {
        "beaten": lambda: job.beaten(1, LATER, RULES, progress_percent=1, step=""),
        "decided": lambda: job.decided(1),
        "succeeded": lambda: job.succeeded(1, LATER),
        "failed": lambda: job.failed(1, LATER, ERROR),
        "released": lambda: job.released(1, LATER),
    }
    assert job.epoch == 2
    with pytest.raises(StaleError, match="epoch 2"):
        moves[move]()


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_by_its_holder() -> None:
    assert a_job().cancelled(LATER).state is State.CANCELLED
    running = taken().cancelled(START)
    assert (running.state, running.is_cancelling) == (State.RUNNING, True)
    assert running.failed(1, LATER, ERROR).state is State.CANCELLED
    assert running.succeeded(1, LATER).state is State.CANCELLED


def test_a_job_whose_holder_is_gone_is_cancelled_at_once() -> None:
    assert taken().cancelled(LATER).state is State.CANCELLED
    assert taken().cancelled(START).taken("o2", LATER, RULES).state is State.CANCELLED


def test_a_decided_job_can_no_longer_be_cancelled_and_a_cancelled_one_not_be_decided() -> None:
    decided = taken().decided(1)
    assert decided.cancelled(START) == decided
    assert decided.succeeded(1, LATER).state is State.SUCCEEDED
    with pytest.raises(ConflictError, match="being cancelled"):
        taken().cancelled(START).decided(1)


def test_a_job_that_costs_optimizer_after_optimizer_is_given_up() -> None:
    job, now = a_job(), START
    for _ in range(RULES.losses_max + 1):
        job = job.taken("o1", now, RULES)
        assert job.state is State.RUNNING
        now = job.due_time
    job = job.taken("o1", now, RULES)
    assert (job.state, job.error and job.error.reason) == (State.FAILED, "JOB_ABANDONED")


def test_a_job_given_back_in_order_is_no_loss() -> None:
    job = a_job()
    for number in range(1, 20):
        job = job.taken("o1", START, RULES).released(number, START)
    assert job.losses == 0
    assert job.state is State.QUEUED


MOVES = st.lists(
    st.sampled_from(["take", "beat", "decide", "succeed", "fail", "release", "cancel", "wait"]), max_size=30
)


@given(MOVES, st.integers(0, 3))
def test_no_history_breaks_what_a_job_promises(moves: list[str], stale_by: int) -> None:
    """Ended jobs never change, epochs only rise, and a job that was decided is never cancelled."""
    job, now, was_decided = a_job(), START, False
    for move in moves:
        before = job
        epoch = job.epoch - (stale_by if move == "beat" else 0)
        try:
            if move == "wait":
                now += timedelta(seconds=7)
            elif move == "take":
                job = job.taken("o", now, RULES)
            elif move == "beat":
                job = job.beaten(epoch, now, RULES, progress_percent=5, step="x")
            elif move == "decide":
                job = job.decided(epoch)
            elif move == "succeed":
                job = job.succeeded(epoch, now)
            elif move == "fail":
                job = job.failed(epoch, now, ERROR)
            elif move == "release":
                job = job.released(epoch, now)
            else:
                job = job.cancelled(now)
        except ServemeshError:
            assert job == before
        was_decided = was_decided or job.is_decided
        assert job.epoch >= before.epoch
        assert not before.has_ended or job == before
        assert not (was_decided and job.state is State.CANCELLED)
        assert (job.end_time is not None) == job.has_ended
        assert (job.error is not None) == (job.state is State.FAILED)
