"""Spans of traces, as far as they are kept: for looking one trace up, and for the causes of errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from servemesh.metrics.domain.points import Labels

MESSAGE_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span. Ids are lower hex; `parent_id` is empty for the root of a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    labels: Labels
    """Of its sender and its own, as far as they may be kept."""
    begin_ms: int
    duration_s: float
    failed: bool
    message: str = ""
    """What its status says."""


class Order(StrEnum):
    """Which spans come first."""

    SLOWEST = "slowest"
    NEWEST = "newest"
