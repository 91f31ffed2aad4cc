"""What the outbox keeps: facts on their way to the broker, and facts kept until the broker is sure of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One encoded fact. `row_id` rises in the order of commits per resource."""

    row_id: int
    event_id: str
    subject: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMark:
    """The newest fact that the broker confirmed: its id and its place in the stream."""

    event_id: str
    stream_sequence: int
