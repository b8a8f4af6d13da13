"""The workflow tables, and the means to create them."""

from riverjobs.schema.migrations import (
    MigrationFile,
    applied_versions,
    apply_migrations,
    bundled_migrations,
    pending_migrations,
)

WORKFLOW_MIGRATIONS = "riverjobs.supabase.migrations"
"""Where this package keeps its migration files, for :func:`bundled_migrations`."""

__all__ = [
    "WORKFLOW_MIGRATIONS",
    "MigrationFile",
    "applied_versions",
    "apply_migrations",
    "bundled_migrations",
    "pending_migrations",
]
