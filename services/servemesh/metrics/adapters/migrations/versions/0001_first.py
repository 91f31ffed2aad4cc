"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _create_alerts()
    _create_reports()


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("alert_id", 64),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("resolve_time", sa.BigInteger(), nullable=True),
        _document(),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("alert_id", name=op.f("uq_alerts_alert_id")),
        sqlite_autoincrement=True,
    )
    _index("alerts", "settled")
    _index("alerts", "resolve_time")
    op.create_table(
        "alert_groups",
        _text("group_key", 1024),
        _document(),
        sa.PrimaryKeyConstraint("group_key", name=op.f("pk_alert_groups")),
    )
    op.create_table(
        "silences",
        _text("silence_id", 64),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        _document(),
        sa.PrimaryKeyConstraint("silence_id", name=op.f("pk_silences")),
    )
    _index("silences", "end_time")
    op.create_table(
        "outbox",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("channel", 255),
        _text("group_key", 1024),
        _document(),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )


def _create_reports() -> None:
    op.create_table(
        "reports",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("report_id", 64),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        _document(),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_reports")),
        sa.UniqueConstraint("report_id", name=op.f("uq_reports_report_id")),
        sqlite_autoincrement=True,
    )
    _index("reports", "create_time")
    op.create_table(
        "requests",
        _text("request_id", 36),
        _text("sha256", 64),
        _text("answer", 255),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_requests")),
    )
    _index("requests", "create_time")


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _document() -> sa.Column[Any]:
    return sa.Column("document", sa.Text(), nullable=False)


def _index(table: str, column: str) -> None:
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
