-- name: job_get_by_kind_many
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE kind = ANY ($1::text[])
ORDER BY id;

-- name: job_start_attempt
-- What a fetch does to a row, whatever the row's state and time.
UPDATE /* SCHEMA */river_job
SET
    state = 'running',
    attempt = attempt + 1,
    attempted_at = $2::timestamptz,
    attempted_by = array_append(attempted_by, $3::text),
    finalized_at = NULL
WHERE id = $1::bigint
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;

-- name: schema_create_command
SELECT format('CREATE SCHEMA %I', $1::text);

-- name: schema_drop_command
SELECT format('DROP SCHEMA %I CASCADE', $1::text);

-- name: schema_empty_command
-- Every table of a schema but the history of its migrations; null when there is none.
SELECT
    'TRUNCATE '
    || string_agg(format('%I.%I', schemaname, tablename), ', ' ORDER BY tablename)
    || ' RESTART IDENTITY CASCADE'
FROM pg_catalog.pg_tables
WHERE schemaname = $1::text AND tablename <> 'river_migration';

-- name: schema_names
SELECT nspname::text AS name
FROM pg_catalog.pg_namespace
WHERE starts_with(nspname::text, $1::text)
ORDER BY nspname;
