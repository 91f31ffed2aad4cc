"""What is kept of alerts and reports: migrations make the schema, and values come back as they went."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from servemesh.metrics.adapters.sql_schema import metadata
from servemesh.metrics.adapters.sql_store import SqlStore
from servemesh.metrics.domain.alerting.alerts import Alert, State, Told, advanced
from servemesh.metrics.domain.alerting.grouping import Delivery, Group
from servemesh.metrics.domain.alerting.outbox import OutboxRow
from servemesh.metrics.domain.alerting.silences import Silence
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.domain.reporting.reports import Order, Report, ReportFile, ReportFormat, ReportKind
from servemesh.sql.engines import StoreSettings
from tests.harness.simulated_alerts import a_rule, seen


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with SqlStore.opened(StoreSettings(url=f"sqlite:///{tmp_path / 'state.db'}")) as store:
        yield store


def an_alert(model: str = "digits", *, start_s: float = 1_000.0, **changes: object) -> Alert:
    alert = advanced(a_rule(for_s=0.0), None, seen(model, 2.0), start_s, gap_s=60.0)
    assert alert is not None
    return replace(alert, **changes)  # type: ignore[arg-type]


def a_row(group: str, channel: str = "hook") -> OutboxRow:
    delivery = Delivery(delivery_id=f"d{group}", group=group, create_s=1.0, alerts=(an_alert(),))
    return OutboxRow(channel=channel, delivery=delivery)


async def test_migrations_make_the_schema_that_the_code_expects(store: SqlStore, tmp_path: Path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'state.db'}")

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_an_alert_comes_back_as_it_went_also_without_a_number(store: SqlStore):
    alert = an_alert(value=math.inf, over_s=1_005.5, told=Told.FIRING)
    async with store.writing() as tx:
        await tx.alerts.put([alert])
    async with store.reading() as tx:
        assert await tx.alerts.list_unsettled() == [alert]
        assert await tx.alerts.find([alert.alert_id, "a1"]) == [alert]


async def test_alerts_are_listed_newest_first_and_forgotten_when_settled_long_ago(store: SqlStore):
    over = an_alert("over", state=State.RESOLVED, resolve_s=1_100.0, told=Told.RESOLVED)
    untold = an_alert("untold", state=State.RESOLVED, resolve_s=1_100.0, told=Told.FIRING)
    fires = an_alert("fires")
    async with store.writing() as tx:
        await tx.alerts.put([over, untold, fires])
    async with store.reading() as tx:
        rows = await tx.alerts.list(with_resolved=True, before=0, limit=10)
        assert [alert for _, alert in rows] == [fires, untold, over]
        assert await tx.alerts.list(with_resolved=True, before=rows[0][0], limit=1) == rows[1:2]
        assert [alert for _, alert in await tx.alerts.list(with_resolved=False, before=0, limit=10)] == [
            fires
        ]
        assert await tx.alerts.list_unsettled() == [untold, fires]
    async with store.writing() as tx:
        await tx.alerts.delete_resolved(before_s=1_200.0)
        await tx.alerts.delete([fires.alert_id])
    async with store.reading() as tx:
        assert await tx.alerts.list_unsettled() == [untold]


async def test_the_outbox_gives_the_oldest_of_each_channel_and_group_and_is_bounded(store: SqlStore):
    async with store.writing() as tx:
        await tx.outbox.add([a_row("a"), a_row("a"), a_row("b"), a_row("a", "log")])
    async with store.reading() as tx:
        first = await tx.outbox.list_first()
    assert [(row.delivery.group, row.channel) for row in first] == [
        ("a", "hook"),
        ("b", "hook"),
        ("a", "log"),
    ]
    async with store.writing() as tx:
        await tx.outbox.put(replace(first[1], attempt_count=3, due_s=9.0))
        await tx.outbox.delete([first[0].row_id])
        assert await tx.outbox.trim(rows_max=2) == 1
    async with store.reading() as tx:
        left = await tx.outbox.list_first()
    assert [(row.delivery.group, row.attempt_count) for row in left] == [("b", 3), ("a", 0)]


async def test_groups_and_silences_come_back_as_they_went(store: SqlStore):
    group = Group(key="hot/model=digits", wait_s=3.5, told_s=None)
    silence = Silence(
        silence_id="s1",
        filters={"model": ("digits", "letters")},
        end_s=2_000.0,
        comment="Why.",
        create_s=1_000.0,
    )
    async with store.writing() as tx:
        await tx.groups.put([group])
        await tx.silences.put(silence)
    async with store.writing() as tx:
        assert await tx.groups.all() == {group.key: group}
        assert await tx.silences.list(now_s=1_999.0) == [silence]
        assert await tx.silences.list(now_s=2_000.0) == []
        await tx.groups.delete([group.key])
        await tx.silences.delete_ended(before_s=2_001.0)
        assert (await tx.groups.all(), await tx.silences.find("s1")) == ({}, None)


async def test_there_is_one_report_of_an_id(store: SqlStore):
    order = Order(kind=ReportKind.DAILY, window=Window(begin_s=0.0, end_s=86_400.0))
    files = (ReportFile(format=ReportFormat.HTML, sha256="a" * 64, size_bytes=9),)
    first, second = (Report(order=order, create_s=create_s, files=files) for create_s in (1.0, 2.0))
    async with store.writing() as tx:
        assert await tx.reports.add(first)
        assert not await tx.reports.add(second)
    async with store.reading() as tx:
        assert [report for _, report in await tx.reports.list(before=0, limit=10)] == [first]
        assert await tx.reports.known([first.report_id, "daily-19700102"]) == {first.report_id}
        assert await tx.reports.list_old(before_s=1.5, limit=10) == [first]
