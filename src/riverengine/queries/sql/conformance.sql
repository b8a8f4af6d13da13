-- name: conformance_reset
TRUNCATE
    /* SCHEMA */river_job,
    /* SCHEMA */river_leader,
    /* SCHEMA */river_notification,
    /* SCHEMA */river_queue
RESTART IDENTITY;

-- name: conformance_schema_definition
-- The statement that makes a schema of any name.
SELECT format('CREATE SCHEMA IF NOT EXISTS %I', $1::text);

-- name: conformance_connection_count
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database()
    AND application_name = $1::text;

-- name: conformance_disconnect_application
SELECT count(*) FILTER (WHERE ended)
FROM (
    SELECT pg_terminate_backend(pid) AS ended
    FROM pg_stat_activity
    WHERE datname = current_database()
        AND application_name = $1::text
        AND pid <> pg_backend_pid()
) AS signalled;

-- name: conformance_disconnect_backends
SELECT count(*) FILTER (WHERE ended)
FROM (
    SELECT pg_terminate_backend(pid) AS ended
    FROM pg_stat_activity
    WHERE pid = ANY ($1::integer[])
) AS signalled;

-- name: conformance_expire_leader
UPDATE /* SCHEMA */river_leader
SET expires_at = now() - interval '1 second';

-- name: conformance_fail
-- Fails, so that the transaction is aborted.
SELECT 1 / (SELECT 0);

-- name: conformance_finalize
-- Ends a running job as another client might: completed, or discarded with an error.
UPDATE /* SCHEMA */river_job
SET
    state = $2::/* SCHEMA */river_job_state,
    finalized_at = now(),
    metadata = metadata || $3::text::jsonb,
    errors = CASE WHEN $4::text::jsonb IS NULL THEN errors ELSE array_append(errors, $4::text::jsonb) END
WHERE id = $1::bigint
    AND state = 'running'
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;

-- name: conformance_insert_exact
INSERT INTO /* SCHEMA */river_job (id, args, kind, max_attempts, metadata)
VALUES (
    coalesce($1::bigint, nextval('/* SCHEMA */river_job_id_seq'::regclass)),
    $2::text::jsonb,
    $3::text,
    25,
    $4::text::jsonb
)
RETURNING id;

-- name: conformance_insert_full
INSERT INTO /* SCHEMA */river_job (
    args, attempt, attempted_at, attempted_by, created_at, errors, finalized_at, kind, max_attempts,
    metadata, priority, queue, scheduled_at, state, tags, unique_key, unique_states
)
VALUES (
    $1::text::jsonb,
    3,
    '2026-01-02T03:04:06.123456Z',
    ARRAY['go-client', 'candidate-client'],
    '2026-01-02T03:04:05.6789Z',
    ARRAY[$2::text::jsonb],
    '2026-01-02T03:04:07.000001Z',
    'conformance_full_row',
    4,
    $3::text::jsonb,
    2,
    'priority_jobs',
    '2026-01-02T03:04:05.999999Z',
    'discarded',
    ARRAY['alpha_tag', 'beta_tag'],
    $4::bytea,
    $5::integer::bit(8)
)
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;

-- name: conformance_raw_json
SELECT args::text AS args, metadata::text AS metadata
FROM /* SCHEMA */river_job
WHERE id = $1::bigint;

-- name: conformance_raw_row
SELECT
    args::text AS args,
    attempted_at::text AS attempted_at,
    attempted_by::text AS attempted_by,
    created_at::text AS created_at,
    errors::text AS errors,
    finalized_at::text AS finalized_at,
    metadata::text AS metadata,
    scheduled_at::text AS scheduled_at,
    tags::text AS tags,
    upper(encode(unique_key, 'hex')) AS unique_key,
    unique_states::text AS unique_states
FROM /* SCHEMA */river_job
WHERE id = $1::bigint;
