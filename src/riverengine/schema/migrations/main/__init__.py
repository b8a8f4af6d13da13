"""River's own migrations, equal to Go River's in ``pg_dump`` at every version."""
