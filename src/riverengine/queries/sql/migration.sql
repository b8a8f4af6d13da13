-- name: migration_table_exists
-- Read from the catalogue, since to_regclass may answer from a cache older than our lock.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relname = 'river_migration'
        AND namespace.nspname = coalesce($1::text, current_schema())
)

-- name: migration_line_exists
SELECT EXISTS (
    SELECT FROM information_schema.columns
    WHERE table_schema = coalesce($1::text, current_schema())
        AND table_name = 'river_migration' AND column_name = 'line'
)

-- name: migration_versions_by_line
SELECT version FROM /* SCHEMA */river_migration WHERE line = $1::text ORDER BY version

-- name: migration_versions_without_line
SELECT version FROM /* SCHEMA */river_migration ORDER BY version

-- name: migration_insert_by_line
INSERT INTO /* SCHEMA */river_migration (line, version) VALUES ($1::text, $2::bigint)

-- name: migration_insert_without_line
INSERT INTO /* SCHEMA */river_migration (version) VALUES ($1::bigint)

-- name: migration_delete_by_line
DELETE FROM /* SCHEMA */river_migration WHERE line = $1::text AND version = $2::bigint

-- name: migration_delete_without_line
DELETE FROM /* SCHEMA */river_migration WHERE version = $1::bigint

-- name: migration_lock
SELECT pg_advisory_xact_lock(hashtextextended('riverengine migration ' || coalesce($1::text, current_schema()), 0))
