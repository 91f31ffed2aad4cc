"""The tables of the metadata store, the same on SQLite and PostgreSQL.

What is looked up or compared has a column; the rest of a value is one JSON document. Times are microseconds
since 1970 in UTC, because SQLite has no type for them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

_ID = String(64)
_NAME = String(255)
# SQLite numbers rows by itself only in a column of type INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")

counters = Table(
    "counters",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("version_id", BigInteger, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("request_id", String(36), index=True, unique=True),
    ForeignKeyConstraint(["model_id"], ["models.model_id"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("alias_id", _ID, primary_key=True),
    Column("version_id", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    ForeignKeyConstraint(["model_id", "version_id"], ["versions.model_id", "versions.version_id"]),
    Index("ix_aliases_model_id_version_id", "model_id", "version_id"),
)

# Outlives the Alias and the Model, so it refers to neither.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("alias_id", _ID, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("version_id", BigInteger),
    Column("move_time", BigInteger, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    ForeignKeyConstraint(["model_id"], ["models.model_id"]),
)

shortfalls = Table(
    "shortfalls",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("version_id", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", String(63), nullable=False),
    Column("message", Text, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("upload_id", _ID, primary_key=True),
    Column("is_open", Boolean, nullable=False),
    Column("expire_time", BigInteger, nullable=False, index=True),
    Column("document", Text, nullable=False),
)


def _uses(name: str, owners: str, owner_id: Column[int] | Column[str]) -> Table:
    """Blobs that rows of another table need; they go with their owner."""
    key = owner_id.name
    return Table(
        name,
        metadata,
        Column("model_id", _ID, primary_key=True),
        owner_id,
        Column("sha256", String(64), primary_key=True, index=True),
        ForeignKeyConstraint(
            ["model_id", key], [f"{owners}.model_id", f"{owners}.{key}"], ondelete="CASCADE"
        ),
    )


version_blobs = _uses(
    "version_blobs", "versions", Column("version_id", BigInteger, primary_key=True, autoincrement=False)
)
upload_blobs = _uses("upload_blobs", "uploads", Column("upload_id", _ID, primary_key=True))

orphan_blobs = Table(
    "orphan_blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("since_time", BigInteger, nullable=False),
    Column("is_condemned", Boolean, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(36), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("kind", String(63), nullable=False),
    Column("answer", Text, nullable=False),
    Column("create_time", BigInteger, nullable=False, index=True),
)

outbox = Table(
    "outbox",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("subject", _NAME, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("stream_sequence", BigInteger, index=True),
    Column("sent_time", BigInteger, index=True),
    sqlite_autoincrement=True,
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", _ID, primary_key=True),
    Column("live", Boolean, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("worker_id", _ID, primary_key=True),
    Column("document", Text, nullable=False),
)

demands = Table(
    "demands",
    metadata,
    Column("model_id", _ID, primary_key=True),
    Column("version_id", BigInteger, primary_key=True, autoincrement=False),
    Column("demand_time", BigInteger, nullable=False),
)

duties = Table(
    "duties",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("holder", _NAME, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
