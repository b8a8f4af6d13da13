-- name: history_lock
-- One migrating process at a time; the lock ends with the session or by history_unlock.
SELECT pg_advisory_lock(hashtextextended('riverjobs:supabase_migrations', 0));

-- name: history_unlock
SELECT pg_advisory_unlock(hashtextextended('riverjobs:supabase_migrations', 0));

-- name: history_schema
CREATE SCHEMA IF NOT EXISTS supabase_migrations;

-- name: history_table
-- The Supabase CLI's own table, in its own shape.
CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations (
    version text NOT NULL PRIMARY KEY,
    statements text[],
    name text
);

-- name: history_columns
ALTER TABLE supabase_migrations.schema_migrations
    ADD COLUMN IF NOT EXISTS statements text[],
    ADD COLUMN IF NOT EXISTS name text;

-- name: history_exists
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.relname = 'schema_migrations' AND namespace.nspname = 'supabase_migrations'
);

-- name: history_versions
SELECT version FROM supabase_migrations.schema_migrations ORDER BY version;

-- name: history_add
INSERT INTO supabase_migrations.schema_migrations (version, statements, name)
VALUES ($1::text, $2::text[], $3::text);

