"""Metadata in SQLite or PostgreSQL: connections, transactions, migrations and rows, for adapters of services."""
