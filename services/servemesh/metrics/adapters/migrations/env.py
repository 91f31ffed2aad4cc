"""Alembic's entry: runs migrations on the connection that the metrics service gives it."""

from __future__ import annotations

from alembic import context

from servemesh.metrics.adapters.sql_schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller has begun, and commits
)
context.run_migrations()
