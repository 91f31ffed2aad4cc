"""What request messages are read for: windows, spans of time, pages, filters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.errors import InvalidError
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.windows import checked
from servemesh.paging import PageRequest, page_request

PAGE_SIZE = 100
NAME_CHARS_MAX = 256
FILTERS_MAX, FILTER_VALUES_MAX = 32, 1_000


def window_of(request: Any, now_s: float, field: str = "window") -> Window:
    """The window in that field; without an end it ends now. InvalidError if it is absent, empty or too long."""
    message = getattr(request, field)
    if not request.HasField(field) or not message.HasField("start_time"):
        raise InvalidError(
            f"{field} has no start_time, expected when to begin",
            reason="WINDOW_INVALID",
            field=f"{field}.start_time",
        )
    begin_s = message.start_time.ToNanoseconds() / 1e9
    end_s = message.end_time.ToNanoseconds() / 1e9 if message.HasField("end_time") else now_s
    return checked(Window(begin_s=begin_s, end_s=end_s))


def span_of(request: Any, field: str, low_s: float, high_s: float, default_s: float) -> float:
    """The seconds in that field; InvalidError if they are out of range."""
    if not request.HasField(field):
        return default_s
    message: Duration = getattr(request, field)
    span_s = message.seconds + message.nanos / 1e9
    if not low_s <= span_s <= high_s:
        raise InvalidError(
            f"{field} is {span_s:g} s, expected {low_s:g} to {high_s:g}",
            reason="OUT_OF_RANGE",
            field=field,
            expected=f"{low_s:g} to {high_s:g}",
            got=span_s,
        )
    return span_s


def filters_of(filters: Iterable[Any], field: str = "filters") -> Mapping[str, tuple[str, ...]]:
    """The values asked for, by label; InvalidError for a label without values, or twice."""
    found: dict[str, tuple[str, ...]] = {}
    for place, one in enumerate(filters):
        values = tuple(one.values)
        if (
            not one.label
            or len(one.label) > NAME_CHARS_MAX
            or one.label in found
            or not 0 < len(values) <= FILTER_VALUES_MAX
            or place >= FILTERS_MAX
        ):
            raise InvalidError(
                f"{field}[{place}] has label {one.label[:100]!r} with {len(values)} values, expected "
                f"at most {FILTERS_MAX} labels, each once with 1 to {FILTER_VALUES_MAX} values",
                reason="FILTER_MALFORMED",
                field=f"{field}[{place}]",
                got=one.label[:100],
            )
        found[one.label] = values
    return found


def page_asked(request: Any, scope: str = "") -> PageRequest:
    """The page that a List request asks for: 100 items if it does not say."""
    return page_request(
        f"{request.DESCRIPTOR.full_name} {scope}", request.page_size or PAGE_SIZE, request.page_token
    )


def timestamp(time_s: float) -> Timestamp:
    """Return a time as messages have it, to the millisecond."""
    message = Timestamp()
    message.FromMilliseconds(round(time_s * 1000))
    return message


def duration(span_s: float) -> Duration:
    """Return a span of time as messages have it."""
    whole = math.floor(span_s)
    return Duration(seconds=whole, nanos=round((span_s - whole) * 1e9))
