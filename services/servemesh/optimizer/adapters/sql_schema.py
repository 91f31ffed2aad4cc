"""The tables of the optimizer's metadata, the same on SQLite and PostgreSQL.

What is looked up or compared has a column; the rest of a value is one JSON document. Times are microseconds
since 1970 in UTC, because SQLite has no type for them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_NAME = String(255)
_OWNER = String(64)
_SHA256 = String(64)
# SQLite numbers rows by itself only in a column of type INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("kind", String(16), nullable=False, index=True),
    Column("due_time", BigInteger, index=True),  # NULL once it has ended
    Column("end_time", BigInteger, index=True),  # NULL before
    Column("source", _NAME, nullable=False),
    Column("dataset", _NAME, nullable=False),
    Column("document", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("result", Text),
    sqlite_autoincrement=True,
)

log_lines = Table(
    "log_lines",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("job", _NAME, ForeignKey("jobs.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("log_time", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    sqlite_autoincrement=True,
)

sources = Table(
    "sources",
    metadata,
    Column("digest", _SHA256, primary_key=True),
    Column("use_time", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("dataset_id", String(64), primary_key=True),
    Column("source", _NAME, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

kept_passes = Table(
    "kept_passes",
    metadata,
    Column("cache_key", _NAME, primary_key=True),
    Column("sha256", _SHA256, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("use_time", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("subject", _NAME, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

counters = Table(
    "counters",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("sha256", _SHA256, nullable=False),
    Column("answer", _NAME, nullable=False),
    Column("create_time", BigInteger, nullable=False, index=True),
)

blob_owners = Table("blob_owners", metadata, Column("owner", _OWNER, primary_key=True))
