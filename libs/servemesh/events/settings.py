"""The bounds and waits of the event bus, each with its default."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.errors import InvalidError
from servemesh.events import subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The one stream that stores facts. When it is full the oldest go: readers then read the registry."""

    name: str = subjects.STREAM
    subjects: tuple[str, ...] = subjects.STREAM_SUBJECTS
    size_bytes_max: int = 256 * 1024 * 1024
    message_bytes_max: int = 64 * 1024
    duplicate_window_s: float = 600.0
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """How to reach the broker, and how long to wait for it."""

    url: str
    client_name: str = "servemesh"
    connect_timeout_s: float = 2.0
    request_timeout_s: float = 5.0
    retry_wait_s_min: float = 0.1
    retry_wait_s_max: float = 2.0
    ping_interval_s: float = 2.0
    pings_unanswered_max: int = 2
    pending_bytes_max: int = 2 * 1024 * 1024
    stream: StreamSettings = StreamSettings()


def check_fact(settings: StreamSettings, subject: str, data: bytes) -> None:
    """Refuse what the stream would not store."""
    if not subjects.is_streamed(subject, settings.subjects):
        raise InvalidError(
            f"subject is {subject!r}, expected one under {', '.join(settings.subjects)}",
            reason="SUBJECT_NOT_STREAMED",
            field="subject",
            got=subject,
            expected=", ".join(settings.subjects),
        )
    if len(data) > settings.message_bytes_max:
        raise InvalidError(
            f"data has {len(data)} bytes, expected at most {settings.message_bytes_max}",
            reason="EVENT_TOO_LARGE",
            field="data",
            got=len(data),
            expected=settings.message_bytes_max,
        )
