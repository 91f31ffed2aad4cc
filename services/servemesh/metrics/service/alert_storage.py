"""What is kept of alerts and reports, as the use cases need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.alerting.grouping import Group
from servemesh.metrics.domain.alerting.outbox import OutboxRow
from servemesh.metrics.domain.alerting.silences import Silence
from servemesh.metrics.domain.reporting.reports import Report
from servemesh.requests import RequestKey


class AlertRows(Protocol):
    """Rows of alerts."""

    async def list_unsettled(self) -> Sequence[Alert]:
        """Those of which something may still come, oldest first."""
        ...

    async def list(self, *, with_resolved: bool, before: int, limit: int) -> Sequence[tuple[int, Alert]]:
        """Newest first, from before a row on; 0 is the start."""
        ...

    async def find(self, alert_ids: Sequence[str]) -> Sequence[Alert]:
        """Those of the ids that there are."""
        ...

    async def put(self, alerts: Sequence[Alert]) -> None:
        """Insert or replace."""
        ...

    async def delete(self, alert_ids: Sequence[str]) -> None:
        """Forget."""
        ...

    async def delete_resolved(self, *, before_s: float) -> None:
        """Forget those that were settled before that."""
        ...


class GroupRows(Protocol):
    """Rows of groups."""

    async def all(self) -> Mapping[str, Group]: ...
    async def put(self, groups: Sequence[Group]) -> None: ...
    async def delete(self, keys: Sequence[str]) -> None: ...


class SilenceRows(Protocol):
    """Rows of silences."""

    async def list(self, *, now_s: float) -> Sequence[Silence]:
        """Those that have not ended, the soonest to end first."""
        ...

    async def find(self, silence_id: str) -> Silence | None: ...
    async def put(self, silence: Silence) -> None: ...
    async def delete_ended(self, *, before_s: float) -> None: ...


class OutboxRows(Protocol):
    """Rows of the outbox."""

    async def add(self, rows: Sequence[OutboxRow]) -> None: ...

    async def list_first(self) -> Sequence[OutboxRow]:
        """The oldest row of each channel and group."""
        ...

    async def put(self, row: OutboxRow) -> None: ...
    async def delete(self, row_ids: Sequence[int]) -> None: ...

    async def trim(self, *, rows_max: int) -> int:
        """Delete the oldest rows beyond that many; how many those were."""
        ...


class ReportRows(Protocol):
    """Rows of reports."""

    async def find(self, report_id: str) -> Report | None: ...

    async def add(self, report: Report) -> bool:
        """Insert; False if there is one of that id."""
        ...

    async def list(self, *, before: int, limit: int) -> Sequence[tuple[int, Report]]:
        """Newest first, from before a row on; 0 is the start."""
        ...

    async def known(self, report_ids: Sequence[str]) -> frozenset[str]: ...
    async def list_old(self, *, before_s: float, limit: int) -> Sequence[Report]: ...
    async def delete(self, report_id: str) -> None: ...


class Requests(Protocol):
    """Answers already given, by the caller's request id: the id of what was made."""

    async def find(self, request_id: str) -> tuple[str, str] | None: ...
    async def put(self, request: RequestKey, answer: str, *, create_s: float) -> None: ...
    async def delete(self, *, before_s: float) -> None: ...


class Transaction(Protocol):
    """All rows, as of one moment; what a writing one changes becomes visible at once or not at all."""

    @property
    def alerts(self) -> AlertRows: ...
    @property
    def groups(self) -> GroupRows: ...
    @property
    def silences(self) -> SilenceRows: ...
    @property
    def outbox(self) -> OutboxRows: ...
    @property
    def reports(self) -> ReportRows: ...
    @property
    def requests(self) -> Requests: ...


class AlertStore(Protocol):
    """The store of alerts and reports. UnavailableError while it is away."""

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """Read, all as of one moment."""
        ...

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """Read and write, one at a time. Durable once left."""
        ...
