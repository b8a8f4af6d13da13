"""A PostgreSQL server without installation, for development, demos and tests."""

from riverengine.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError, start_postgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "start_postgres"]
