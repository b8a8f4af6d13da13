-- name: job_get_available
-- Claims jobs. Null kinds take any kind; the newest 100 claimants are kept in attempted_by.
WITH claimed AS (
    SELECT id
    FROM /* SCHEMA */river_job
    WHERE state = 'available'
        AND queue = $1::text
        AND scheduled_at <= now()
        AND ($2::text[] IS NULL OR kind = ANY ($2::text[]))
    ORDER BY priority ASC, scheduled_at ASC, id ASC
    LIMIT $3::integer
    FOR UPDATE SKIP LOCKED
)
UPDATE /* SCHEMA */river_job AS job
SET
    state = 'running',
    attempt = job.attempt + 1,
    attempted_at = now(),
    attempted_by = array_append(
        CASE
            WHEN array_length(job.attempted_by, 1) >= 100
                THEN job.attempted_by[array_length(job.attempted_by, 1) - 98:]
            ELSE job.attempted_by
        END,
        $4::text
    )
FROM claimed
WHERE job.id = claimed.id
RETURNING
    job.id, job.state, job.attempt, job.max_attempts, job.attempted_at, job.created_at,
    job.finalized_at, job.scheduled_at, job.priority, job.args::text, job.attempted_by,
    job.errors::text[], job.kind, job.metadata::text, job.queue, job.tags, job.unique_key,
    job.unique_states;

-- name: job_get_claimed
-- What a client holds in a queue, less the jobs it knows of.
SELECT
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states
FROM /* SCHEMA */river_job
WHERE state = 'running'
    AND queue = $1::text
    AND attempted_by[array_upper(attempted_by, 1)] = $2::text
    AND NOT id = ANY ($3::bigint[])
ORDER BY id
LIMIT $4::integer;

-- name: job_get_cancel_requested
-- Those of the given running jobs whose cancellation was asked for.
SELECT id
FROM /* SCHEMA */river_job
WHERE id = ANY ($1::bigint[])
    AND state = 'running'
    AND metadata ? 'cancel_attempted_at'
ORDER BY id;

-- name: job_get_held
-- Those of the given claims that still hold their job.
SELECT job.id
FROM unnest($1::bigint[], $2::timestamptz[]) AS claim (id, attempted_at)
INNER JOIN /* SCHEMA */river_job AS job ON job.id = claim.id
WHERE job.state = 'running'
    AND job.attempted_at = claim.attempted_at;
