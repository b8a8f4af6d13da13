"""A PostgreSQL server without installation, for development, demos and tests."""

from riverengine.embedded.postgres import EmbeddedPostgres, start_postgres

__all__ = ["EmbeddedPostgres", "start_postgres"]
