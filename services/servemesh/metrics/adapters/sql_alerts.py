"""Rows of alerts, their groups, silences and the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from servemesh.metrics.adapters import sql_schema as schema
from servemesh.metrics.domain.alerting.alerts import Alert
from servemesh.metrics.domain.alerting.grouping import Group
from servemesh.metrics.domain.alerting.outbox import OutboxRow
from servemesh.metrics.domain.alerting.silences import Silence
from servemesh.requests import RequestKey
from servemesh.sql import rows as sql_rows
from servemesh.sql.codec import Codec

_ALERTS, _GROUPS = Codec(Alert, figures=True), Codec(Group)
_SILENCES, _OUTBOX = Codec(Silence), Codec(OutboxRow, figures=True)
_IDS_MAX = 500


def whole_us(moment_s: float) -> int:
    """Microseconds since 1970."""
    return round(moment_s * 1e6)


class SqlAlerts:
    """Satisfies alert_storage.AlertRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list_unsettled(self) -> Sequence[Alert]:
        """Oldest first."""
        table = schema.alerts
        query = select(table.c.document).where(table.c.settled.is_(False)).order_by(table.c.row_id)
        return [_ALERTS.loads(row.document) for row in await self._connection.execute(query)]

    async def list(self, *, with_resolved: bool, before: int, limit: int) -> Sequence[tuple[int, Alert]]:
        """Newest first."""
        table = schema.alerts
        query = select(table.c.row_id, table.c.document).order_by(table.c.row_id.desc()).limit(limit)
        if before:
            query = query.where(table.c.row_id < before)
        if not with_resolved:
            query = query.where(table.c.resolve_time.is_(None))
        rows = await self._connection.execute(query)
        return [(row.row_id, _ALERTS.loads(row.document)) for row in rows]

    async def find(self, alert_ids: Sequence[str]) -> Sequence[Alert]:
        """Those of the ids that there are."""
        table = schema.alerts
        found: list[Alert] = []
        for start in range(0, len(alert_ids), _IDS_MAX):
            part = alert_ids[start : start + _IDS_MAX]
            query = select(table.c.document).where(table.c.alert_id.in_(part))
            found += [_ALERTS.loads(row.document) for row in await self._connection.execute(query)]
        return found

    async def put(self, alerts: Sequence[Alert]) -> None:
        """Insert or replace."""
        table = schema.alerts
        for alert in alerts:
            values = {
                "settled": alert.is_settled,
                "resolve_time": None if alert.resolve_s is None else whole_us(alert.resolve_s),
                "document": _ALERTS.dumps(alert),
            }
            replaced = await self._connection.execute(
                update(table).where(table.c.alert_id == alert.alert_id).values(**values)
            )
            if not replaced.rowcount:
                await self._connection.execute(insert(table).values(alert_id=alert.alert_id, **values))

    async def delete(self, alert_ids: Sequence[str]) -> None:
        """Forget."""
        table = schema.alerts
        for start in range(0, len(alert_ids), _IDS_MAX):
            part = alert_ids[start : start + _IDS_MAX]
            await self._connection.execute(delete(table).where(table.c.alert_id.in_(part)))

    async def delete_resolved(self, *, before_s: float) -> None:
        """Forget those that were settled before that."""
        table = schema.alerts
        is_old = table.c.resolve_time < whole_us(before_s)
        await self._connection.execute(delete(table).where(table.c.settled.is_(True), is_old))


class SqlGroups:
    """Satisfies alert_storage.GroupRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> Mapping[str, Group]:
        """Every one, by key."""
        rows = await self._connection.execute(select(schema.alert_groups))
        return {row.group_key: _GROUPS.loads(row.document) for row in rows}

    async def put(self, groups: Sequence[Group]) -> None:
        """Insert or replace."""
        for group in groups:
            values = {"group_key": group.key, "document": _GROUPS.dumps(group)}
            await sql_rows.put(self._connection, schema.alert_groups, values)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget."""
        table = schema.alert_groups
        for key in keys:
            await self._connection.execute(delete(table).where(table.c.group_key == key))


class SqlSilences:
    """Satisfies alert_storage.SilenceRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self, *, now_s: float) -> Sequence[Silence]:
        """The soonest to end first."""
        table = schema.silences
        query = select(table.c.document).where(table.c.end_time > whole_us(now_s))
        rows = await self._connection.execute(query.order_by(table.c.end_time, table.c.silence_id))
        return [_SILENCES.loads(row.document) for row in rows]

    async def find(self, silence_id: str) -> Silence | None:
        """One, also if it has ended."""
        query = select(schema.silences).where(schema.silences.c.silence_id == silence_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else _SILENCES.loads(row.document)

    async def put(self, silence: Silence) -> None:
        """Insert or replace."""
        values = {
            "silence_id": silence.silence_id,
            "end_time": whole_us(silence.end_s),
            "document": _SILENCES.dumps(silence),
        }
        await sql_rows.put(self._connection, schema.silences, values)

    async def delete_ended(self, *, before_s: float) -> None:
        """Forget those that ended before that."""
        table = schema.silences
        await self._connection.execute(delete(table).where(table.c.end_time < whole_us(before_s)))


class SqlOutbox:
    """Satisfies alert_storage.OutboxRows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[OutboxRow]) -> None:
        """Append."""
        for row in rows:
            values = {"channel": row.channel, "group_key": row.delivery.group, "document": _OUTBOX.dumps(row)}
            await self._connection.execute(insert(schema.outbox).values(**values))

    async def list_first(self) -> Sequence[OutboxRow]:
        """The oldest row of each channel and group."""
        table = schema.outbox
        first = select(func.min(table.c.row_id)).group_by(table.c.channel, table.c.group_key)
        rows = await self._connection.execute(
            select(table).where(table.c.row_id.in_(first)).order_by(table.c.row_id)
        )
        return [_with_id(row.row_id, row.document) for row in rows]

    async def put(self, row: OutboxRow) -> None:
        """Replace."""
        table = schema.outbox
        await self._connection.execute(
            update(table).where(table.c.row_id == row.row_id).values(document=_OUTBOX.dumps(row))
        )

    async def delete(self, row_ids: Sequence[int]) -> None:
        """Forget."""
        await self._connection.execute(delete(schema.outbox).where(schema.outbox.c.row_id.in_(row_ids)))

    async def trim(self, *, rows_max: int) -> int:
        """Delete the oldest rows beyond that many."""
        table = schema.outbox
        count = await sql_rows.count(self._connection, table)
        if count <= rows_max:
            return 0
        oldest = select(table.c.row_id).order_by(table.c.row_id).limit(count - rows_max)
        await self._connection.execute(delete(table).where(table.c.row_id.in_(oldest)))
        return count - rows_max


class SqlRequests:
    """Satisfies alert_storage.Requests."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, request_id: str) -> tuple[str, str] | None:
        """Digest of a request seen before, and the id that it was answered with."""
        table = schema.requests
        query = select(table).where(table.c.request_id == request_id)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else (row.sha256, row.answer)

    async def put(self, request: RequestKey, answer: str, *, create_s: float) -> None:
        """Insert or replace."""
        values = {
            "request_id": request.request_id,
            "sha256": request.sha256,
            "answer": answer,
            "create_time": whole_us(create_s),
        }
        await sql_rows.put(self._connection, schema.requests, values)

    async def delete(self, *, before_s: float) -> None:
        """Forget answers given before that."""
        table = schema.requests
        await self._connection.execute(delete(table).where(table.c.create_time < whole_us(before_s)))


def _with_id(row_id: int, document: str) -> OutboxRow:
    row = _OUTBOX.loads(document)
    return OutboxRow(
        row_id=row_id,
        channel=row.channel,
        delivery=row.delivery,
        attempt_count=row.attempt_count,
        due_s=row.due_s,
    )
