-- name: job_complete_plain
-- The commonest outcome in its cheapest form. Rows of which the attempt lost hold are left out.
-- Attempts are compared as they are read: never below zero.
UPDATE /* SCHEMA */river_job AS job
SET state = 'completed', finalized_at = input.finalized_at
FROM unnest(
    $1::bigint[], $2::smallint[], $3::timestamptz[], $4::timestamptz[]
) AS input (id, attempt, attempted_at, finalized_at)
WHERE job.id = input.id
    AND job.state = 'running'
    AND greatest(job.attempt, 0) = input.attempt
    AND job.attempted_at = input.attempted_at
    AND job.attempted_by[array_upper(job.attempted_by, 1)] = $5::text;

-- name: job_complete_plain_returning
-- The same, for a client whose events somebody listens to.
UPDATE /* SCHEMA */river_job AS job
SET state = 'completed', finalized_at = input.finalized_at
FROM unnest(
    $1::bigint[], $2::smallint[], $3::timestamptz[], $4::timestamptz[]
) AS input (id, attempt, attempted_at, finalized_at)
WHERE job.id = input.id
    AND job.state = 'running'
    AND greatest(job.attempt, 0) = input.attempt
    AND job.attempted_at = input.attempted_at
    AND job.attempted_by[array_upper(job.attempted_by, 1)] = $5::text
RETURNING job.id, job.metadata::text;

-- name: job_finish_many
-- A retry, snooze or interruption of a job whose cancellation was asked for cancels it instead.
-- Metadata merges even into a row finished by others, as long as no later attempt took it.
WITH input AS (
    SELECT *
    FROM unnest(
        $1::bigint[],
        $2::smallint[],
        $3::timestamptz[],
        $4::/* SCHEMA */river_job_state[],
        $5::smallint[],
        $6::text[]::jsonb[],
        $7::timestamptz[],
        $8::text[]::jsonb[],
        $9::timestamptz[]
    ) AS input (
        id, attempt, attempted_at, state, new_attempt, error, finalized_at, metadata, scheduled_at
    )
),

owned AS (
    SELECT
        job.id,
        input.state,
        input.new_attempt,
        input.error,
        input.finalized_at,
        input.metadata,
        input.scheduled_at,
        job.state = 'running' AS running,
        input.state IN ('available', 'retryable', 'scheduled')
            AND job.metadata ? 'cancel_attempted_at' AS cancelling
    FROM /* SCHEMA */river_job AS job
    INNER JOIN input ON input.id = job.id
    WHERE greatest(job.attempt, 0) = input.attempt
        AND job.attempted_at = input.attempted_at
        AND job.attempted_by[array_upper(job.attempted_by, 1)] = $10::text
        AND (job.state = 'running' OR input.metadata IS NOT NULL)
    ORDER BY job.id
    FOR UPDATE OF job
),

updated AS (
    UPDATE /* SCHEMA */river_job AS job
    SET
        state = CASE
            WHEN NOT owned.running THEN job.state
            WHEN owned.cancelling THEN 'cancelled'
            ELSE owned.state
        END,
        finalized_at = CASE
            WHEN NOT owned.running THEN job.finalized_at
            WHEN owned.cancelling THEN now()
            ELSE owned.finalized_at
        END,
        attempt = CASE
            WHEN owned.running AND NOT owned.cancelling
                THEN coalesce(owned.new_attempt, job.attempt)
            ELSE job.attempt
        END,
        scheduled_at = CASE
            WHEN owned.running AND NOT owned.cancelling
                THEN coalesce(owned.scheduled_at, job.scheduled_at)
            ELSE job.scheduled_at
        END,
        errors = CASE
            WHEN owned.running AND owned.error IS NOT NULL
                THEN array_append(job.errors, owned.error)
            ELSE job.errors
        END,
        metadata = CASE
            WHEN owned.metadata IS NULL THEN job.metadata
            ELSE job.metadata || owned.metadata
        END
    FROM owned
    WHERE job.id = owned.id
    RETURNING job.*, owned.running
)

SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states,
    running AS finished
FROM updated
UNION ALL
SELECT
    job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
    job.finalized_at, job.scheduled_at, job.priority, job.args::text, job.attempted_by,
    job.errors::text[], job.kind, job.metadata::text, job.queue, job.tags, job.unique_key,
    job.unique_states,
    FALSE AS finished
FROM /* SCHEMA */river_job AS job
INNER JOIN input ON input.id = job.id
WHERE NOT EXISTS (SELECT 1 FROM updated WHERE updated.id = job.id);
