"""Which blobs are in use, and which in none."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables and write down what the Versions there are already need."""
    _create_uses("version_blobs", "versions", sa.Column("version_id", sa.BigInteger(), nullable=False))
    _create_uses("upload_blobs", "uploads", sa.Column("upload_id", sa.String(length=64), nullable=False))
    op.create_table(
        "orphan_blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("since_time", sa.BigInteger(), nullable=False),
        sa.Column("is_condemned", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_orphan_blobs")),
    )
    _fill()


def _create_uses(name: str, owners: str, owner_id: sa.Column[int] | sa.Column[str]) -> None:
    key = owner_id.name
    op.create_table(
        name,
        sa.Column("model_id", sa.String(length=64), nullable=False),
        owner_id,
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", key],
            [f"{owners}.model_id", f"{owners}.{key}"],
            name=op.f(f"fk_{name}_{owners}"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", key, "sha256", name=op.f(f"pk_{name}")),
    )
    op.create_index(op.f(f"ix_{name}_sha256"), name, ["sha256"], unique=False)


def _fill() -> None:
    versions = sa.table("versions", *[sa.column(name) for name in ("model_id", "version_id", "document")])
    uses = sa.table("version_blobs", *[sa.column(name) for name in ("model_id", "version_id", "sha256")])
    connection = op.get_bind()
    for row in connection.execute(sa.select(versions)).all():
        for sha256 in sorted({file["sha256"] for file in json.loads(row.document)["files"]}):
            values = {"model_id": row.model_id, "version_id": row.version_id, "sha256": sha256}
            connection.execute(sa.insert(uses).values(**values))
