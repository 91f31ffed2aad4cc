"""The subjects of the mesh: their forms, and which of them the stream stores."""

from __future__ import annotations

from collections.abc import Iterable

STREAM = "SERVEMESH"
REGISTRY_FACTS = "servemesh.v1.registry.>"
WORKER_JOINED = "servemesh.v1.fleet.worker.joined.*"
WORKER_LEFT = "servemesh.v1.fleet.worker.left.*"
JOB_FACTS = "servemesh.v1.optimizer.job.>"
JOBS_QUEUED = "servemesh.v1.optimizer.job.queued.*"
ALERT_FACTS = "servemesh.v1.metrics.alert.>"
STREAM_SUBJECTS = (REGISTRY_FACTS, WORKER_JOINED, WORKER_LEFT, JOB_FACTS, ALERT_FACTS)
WORKERS_ANNOUNCED = "servemesh.v1.fleet.worker.announced.*"
ASSIGNMENT_CHANGED_ALL = "servemesh.v1.fleet.assignment.changed.all"


def registry_fact(noun: str, participle: str, resource_id: str) -> str:
    """Return the subject of a fact of the registry, as in `registry_fact("alias", "moved", "iris")`."""
    return f"servemesh.v1.registry.{noun}.{participle}.{resource_id}"


def worker_joined(worker_id: str) -> str:
    """Return the subject of WorkerJoined."""
    return f"servemesh.v1.fleet.worker.joined.{worker_id}"


def worker_left(worker_id: str) -> str:
    """Return the subject of WorkerLeft."""
    return f"servemesh.v1.fleet.worker.left.{worker_id}"


def job_fact(participle: str, kind: str) -> str:
    """Return the subject of a fact about a job, as in `job_fact("queued", "conversion")`."""
    return f"servemesh.v1.optimizer.job.{participle}.{kind}"


def alert_fact(participle: str, rule_id: str) -> str:
    """Return the subject of a fact about an alert, as in `alert_fact("fired", "worker_lost")`."""
    return f"servemesh.v1.metrics.alert.{participle}.{rule_id}"


def worker_announced(worker_id: str) -> str:
    """Return the subject on which a worker announces itself (not stored)."""
    return f"servemesh.v1.fleet.worker.announced.{worker_id}"


def assignment_changed(worker_id: str) -> str:
    """Return the subject that nudges one worker to renew its lease now (not stored)."""
    return f"servemesh.v1.fleet.assignment.changed.{worker_id}"


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` falls under `pattern`: `*` is one token, a last `>` one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(
        want in ("*", token) for want, token in zip(wanted, tokens, strict=True)
    )


def is_streamed(subject: str, patterns: Iterable[str] = STREAM_SUBJECTS) -> bool:
    """Whether the stream stores what is published on `subject`."""
    return any(matches(pattern, subject) for pattern in patterns)
