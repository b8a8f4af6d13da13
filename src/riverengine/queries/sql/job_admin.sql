-- name: job_get
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE id = $1::bigint;

-- name: job_lock
-- The row as it is, kept from changing until the transaction ends.
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE id = $1::bigint
FOR UPDATE;

-- name: job_cancel
-- A waiting job is cancelled here; a running one by its client, which is told. Final ones stay.
WITH locked AS (
    SELECT id, queue
    FROM /* SCHEMA */river_job
    WHERE id = $1::bigint
        AND state NOT IN ('cancelled', 'completed', 'discarded')
        AND finalized_at IS NULL
    FOR UPDATE
),

told AS (
    SELECT
        id,
        pg_notify(
            concat(coalesce($2::text, current_schema()), '.', $3::text),
            json_build_object('action', 'cancel', 'job_id', id, 'queue', queue)::text
        )
    FROM locked
)

UPDATE /* SCHEMA */river_job AS job
SET
    state = CASE WHEN job.state = 'running' THEN job.state ELSE 'cancelled' END,
    finalized_at = CASE WHEN job.state = 'running' THEN job.finalized_at ELSE now() END,
    metadata = jsonb_set(job.metadata, '{cancel_attempted_at}', $4::text::jsonb, TRUE)
FROM told
WHERE job.id = told.id
RETURNING
    job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
    job.finalized_at, job.scheduled_at, job.priority, job.args::text, job.attempted_by,
    job.errors::text[], job.kind, job.metadata::text, job.queue, job.tags, job.unique_key,
    job.unique_states;

-- name: job_retry
-- Makes a job available at once, with an attempt left. Running ones, and those due, stay.
WITH locked AS (
    SELECT id
    FROM /* SCHEMA */river_job
    WHERE id = $1::bigint
        AND state <> 'running'
        AND NOT (state = 'available' AND scheduled_at < now())
    FOR UPDATE
)

UPDATE /* SCHEMA */river_job AS job
SET
    state = 'available',
    max_attempts = CASE
        WHEN job.attempt = job.max_attempts THEN job.max_attempts + 1 ELSE job.max_attempts
    END,
    finalized_at = NULL,
    scheduled_at = now(),
    metadata = job.metadata - 'cancel_attempted_at'
FROM locked
WHERE job.id = locked.id
RETURNING
    job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
    job.finalized_at, job.scheduled_at, job.priority, job.args::text, job.attempted_by,
    job.errors::text[], job.kind, job.metadata::text, job.queue, job.tags, job.unique_key,
    job.unique_states;

-- name: job_delete
DELETE FROM /* SCHEMA */river_job
WHERE id = $1::bigint
    AND state <> 'running'
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;

-- name: job_update_metadata
UPDATE /* SCHEMA */river_job
SET metadata = metadata || $2::text::jsonb
WHERE id = $1::bigint
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;
