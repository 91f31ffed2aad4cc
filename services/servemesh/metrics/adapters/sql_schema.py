"""The tables of alerts, their deliveries, silences and reports.

What is looked up or compared has a column; the rest of a value is one JSON document. Times are microseconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_NAME = String(255)
# SQLite numbers rows by itself only in a column of type INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")

alerts = Table(
    "alerts",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("alert_id", String(64), nullable=False, unique=True),
    Column("settled", Boolean, nullable=False, index=True),
    Column("resolve_time", BigInteger, index=True),  # NULL before
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

alert_groups = Table(
    "alert_groups",
    metadata,
    Column("group_key", String(1024), primary_key=True),
    Column("document", Text, nullable=False),
)

silences = Table(
    "silences",
    metadata,
    Column("silence_id", String(64), primary_key=True),
    Column("end_time", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("channel", _NAME, nullable=False),
    Column("group_key", String(1024), nullable=False),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

reports = Table(
    "reports",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("report_id", String(64), nullable=False, unique=True),
    Column("create_time", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("answer", _NAME, nullable=False),
    Column("create_time", BigInteger, nullable=False, index=True),
)
