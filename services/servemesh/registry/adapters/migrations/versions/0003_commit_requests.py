"""Which commit made which Version, so that a repeated one makes no second."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; what Versions there are already stay without."""
    op.add_column("versions", sa.Column("request_id", sa.String(length=36), nullable=True))
    op.create_index(op.f("ix_versions_request_id"), "versions", ["request_id"], unique=True)
