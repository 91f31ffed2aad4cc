"""What a child that ended badly means for its job: what happened, at which bound, and what to try."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from servemesh.errors import ExpiredError, InvalidError, OverloadedError, ServemeshError
from servemesh.optimizer.adapters.child_watch import Ending, Verdict
from servemesh.optimizer.domain.work import WorkLimits

_SUBJECTS: Mapping[str, str] = {
    "convert": "the conversion",
    "examine": "reading the data",
    "measure": "the measurement",
    "sensitivity": "the measurement of sensitivity",
    "describe": "reading the model",
}
_MIB = 1024**2


def subject(task: str, arguments: Mapping[str, Any]) -> str:
    """Return what a task is called in an error."""
    if task == "pass":
        return f"pass {str(arguments.get('pass', ''))[:100]!r}"
    return _SUBJECTS.get(task, f"task {task!r}")


def of_ending(ending: Ending, what: str, limits: WorkLimits) -> ServemeshError:
    """Return the error for a child that left no result."""
    if ending.verdict is Verdict.MEMORY:
        return _memory(
            what, f"held {ending.memory_bytes // _MIB} MiB of memory", limits, ending.memory_bytes // _MIB
        )
    if ending.verdict is Verdict.TIME:
        return _time(what, f"ran longer than {limits.time_s:g} s", limits)
    if ending.verdict is Verdict.DISK or ending.status == -signal.SIGXFSZ:
        return OverloadedError(
            f"{what} was stopped because the disk of the optimizer was nearly full, or because it wrote too "
            "large a file: free some room or raise the optimizer's bounds",
            reason="DISK_FULL",
            retry_after_s=None,
        )
    if ending.status in (-signal.SIGXCPU, -signal.SIGALRM):
        return _time(what, f"used more than {limits.time_s * limits.threads:g} s of processor time", limits)
    if ending.status == -signal.SIGKILL:  # not by us: then it is the kernel, which needs memory
        return _memory(
            what, "was killed by the system, most likely because memory ran out", limits, "unknown"
        )
    return _crashed(what, ending.status)


def of_told(error: ServemeshError, what: str, limits: WorkLimits) -> ServemeshError:
    """Return the error that a child told of, with what the child cannot know."""
    if error.reason == "MEMORY_EXCEEDED":
        return _memory(what, "could not get as much memory as it needs", limits, "more")
    if error.reason == ServemeshError.reason:
        return ServemeshError(
            f"{what} failed in a way that nobody foresaw; the optimizer's log says how", subject=what
        )
    return error


def _memory(what: str, happened: str, limits: WorkLimits, got: object) -> ServemeshError:
    most = limits.memory_bytes // _MIB
    return OverloadedError(
        f"{what} {happened}; {most} MiB are allowed. Raise limits.memory_bytes, or try it with fewer rows or a "
        "smaller model",
        reason="MEMORY_EXCEEDED",
        retry_after_s=None,
        field="limits.memory_bytes",
        subject=what,
        expected=f"at most {most} MiB",
        got=got,
    )


def _time(what: str, happened: str, limits: WorkLimits) -> ServemeshError:
    return ExpiredError(
        f"{what} {happened} and was stopped. Raise limits.time, or try it with fewer rows or fewer steps",
        reason="TIME_EXCEEDED",
        field="limits.time",
        subject=what,
        expected=f"at most {limits.time_s:g} s",
    )


def _crashed(what: str, status: int) -> ServemeshError:
    how = f"was ended by {_signal(-status)}" if status < 0 else "ended without a result"
    return InvalidError(
        f"{what} {how}: the library behind it crashed on this model or this data. The optimizer's log has its last "
        "words; try it without this step, or with other parameters",
        reason="PASS_CRASHED",
        subject=what,
        status=status,
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
