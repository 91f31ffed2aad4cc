"""Which daily and weekly reports are due: whole days and weeks in UTC, each once, also after the service was away."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.reporting.reports import Order, ReportKind

CATCH_UP_DAYS = 7
"""Days that are made up for after the service was away; the week before as well."""
SETTLE_S = 600.0
"""After the end of a day, for points that are still on their way."""
_DAY = timedelta(days=1)


def due(now_s: float, written: Collection[str]) -> list[Order]:
    """Return the reports to write now, the oldest day first; `written` are the ids of those that were."""
    today = datetime.fromtimestamp(now_s - SETTLE_S, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    orders = []
    for days in range(CATCH_UP_DAYS, 0, -1):
        begin = today - days * _DAY
        orders.append(_order(ReportKind.DAILY, begin, begin + _DAY))
    monday = today - today.weekday() * _DAY
    orders.append(_order(ReportKind.WEEKLY, monday - 7 * _DAY, monday))
    return [order for order in orders if order.report_id not in written]


def _order(kind: ReportKind, begin: datetime, end: datetime) -> Order:
    return Order(kind=kind, window=Window(begin_s=begin.timestamp(), end_s=end.timestamp()))
