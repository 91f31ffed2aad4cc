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
    _create_jobs()
    _create_files()
    _create_facts()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("name", 255),
        _text("kind", 16),
        sa.Column("due_time", sa.BigInteger(), nullable=True),
        sa.Column("end_time", sa.BigInteger(), nullable=True),
        _text("source", 255),
        _text("dataset", 255),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("name", name=op.f("uq_jobs_name")),
        sqlite_autoincrement=True,
    )
    _index("jobs", "kind")
    _index("jobs", "due_time")
    _index("jobs", "end_time")
    op.create_table(
        "log_lines",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("job", 255),
        _number("log_time"),
        _number("epoch"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name=op.f("fk_log_lines_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_log_lines")),
        sqlite_autoincrement=True,
    )
    _index("log_lines", "job")


def _create_files() -> None:
    op.create_table(
        "sources",
        _text("digest", 64),
        _number("use_time"),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sources")),
    )
    _index("sources", "use_time")
    op.create_table(
        "datasets",
        _text("dataset_id", 64),
        _text("source", 255),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_datasets")),
    )
    _index("datasets", "source")
    op.create_table(
        "kept_passes",
        _text("cache_key", 255),
        _text("sha256", 64),
        _number("size_bytes"),
        _number("use_time"),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("cache_key", name=op.f("pk_kept_passes")),
    )
    _index("kept_passes", "sha256")
    _index("kept_passes", "use_time")
    op.create_table(
        "blob_owners",
        _text("owner", 64),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_blob_owners")),
    )


def _create_facts() -> None:
    op.create_table(
        "facts",
        sa.Column("row_id", _ROW_ID, nullable=False),
        _text("event_id", 36),
        _text("subject", 255),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_facts")),
        sa.UniqueConstraint("event_id", name=op.f("uq_facts_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "counters",
        _text("name", 255),
        _number("value"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "requests",
        _text("request_id", 36),
        _text("sha256", 64),
        _text("answer", 255),
        _number("create_time"),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_requests")),
    )
    _index("requests", "create_time")


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _index(table: str, column: str) -> None:
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
