"""Operations on jobs: read, list, watch to the end, cancel, delete, and their logs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from servemesh import names
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.client import job_parsing, jobs
from servemesh.client.models import PAGE_SIZE, pages
from servemesh.client.steps import Call, Operation, Pause, Receive
from servemesh.errors import ExpiredError, OverloadedError, UnavailableError

OnChange = Callable[[jobs.Job], None]
LOG_PAGE_SIZE = 1000
PAUSE_S = 0.5
"""Between two looks at a job where the stream of its changes has broken."""
AWAY_S_MAX = 30.0
"""An optimizer that is away for so long is not waited for."""

_GET: dict[str, tuple[Any, str, Callable[[Any], jobs.AnyJob]]] = {
    "conversions": (pb.GetConversionRequest, "conversion", job_parsing.conversion),
    "optimizations": (pb.GetOptimizationRequest, "optimization", job_parsing.optimization),
    "evaluations": (pb.GetEvaluationRequest, "evaluation", job_parsing.evaluation),
}
_LIST: dict[str, tuple[Any, Callable[[Any], jobs.AnyJob]]] = {
    "conversions": (pb.ListConversionsRequest, job_parsing.conversion),
    "optimizations": (pb.ListOptimizationsRequest, job_parsing.optimization),
    "evaluations": (pb.ListEvaluationsRequest, job_parsing.evaluation),
}


def job(name: str) -> Operation[jobs.AnyJob]:
    """Return one job with its result."""
    request_type, field, parse = _GET[names.job_ids(name)[0]]
    return parse(getattr((yield Call(request=request_type(name=name))), field))


def list_jobs() -> Operation[list[jobs.AnyJob]]:
    """Return the jobs of every kind, newest first."""
    found: list[jobs.AnyJob] = []
    for kind, (request_type, parse) in _LIST.items():
        found += yield from pages(partial(request_type, page_size=PAGE_SIZE), kind, parse)
    return sorted(found, key=lambda each: each.job.create_time, reverse=True)


def wait(name: str, on_change: OnChange, wait_s: float, now_s: Callable[[], float]) -> Operation[jobs.AnyJob]:
    """Tell of every change of a job, and return it when it has ended, whatever breaks in between."""
    seen_s = now_s()
    until_s = seen_s + wait_s
    while True:
        yield from _watched(name, on_change)
        try:
            found = yield from job(name)
        except UnavailableError:
            if now_s() >= seen_s + AWAY_S_MAX:
                raise
        else:
            seen_s = now_s()
            if found.job.is_ended:
                return found
        if now_s() >= until_s:
            raise ExpiredError(
                f"{name} has not ended when the time to wait is over; it goes on in the background, "
                f"see `servemesh job show {name}`",
                reason="JOB_PENDING",
                name=name,
            )
        yield Pause(pause_s=PAUSE_S)


def cancel(name: str) -> Operation[jobs.Job]:
    """Ask that a job be stopped."""
    names.job_ids(name)
    return job_parsing.job(name, (yield Call(request=pb.CancelJobRequest(name=name))).job)


def remove(name: str) -> Operation[None]:
    """Delete a job that has ended."""
    names.job_ids(name)
    yield Call(request=pb.DeleteJobRequest(name=name))


def log(name: str, after: str = "") -> Operation[tuple[list[jobs.LogLine], str]]:
    """Return the lines of a job's log after the place `after`, and the place to go on from."""
    names.job_ids(name)
    lines: list[jobs.LogLine] = []
    while True:
        request = pb.ListJobLogLinesRequest(parent=name, page_size=LOG_PAGE_SIZE, page_token=after)
        answer = yield Call(request=request)
        lines += [job_parsing.log_line(line) for line in answer.job_log_lines]
        if not answer.next_page_token:
            return lines, ""
        after = answer.next_page_token
        if len(answer.job_log_lines) < LOG_PAGE_SIZE:
            return lines, after


def _watched(name: str, on_change: OnChange) -> Operation[None]:
    """Follow one stream of changes to its end, or until it breaks."""

    def take(response: pb.WatchJobResponse) -> None:
        on_change(job_parsing.job(name, response.job))

    # A stream that breaks is opened again after a pause; the time to wait bounds it.
    with suppress(UnavailableError, OverloadedError, ExpiredError):
        yield Receive(request=pb.WatchJobRequest(name=name), take=take)
