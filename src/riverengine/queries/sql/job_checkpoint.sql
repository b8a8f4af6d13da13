-- name: job_checkpoint
-- Metadata of a running attempt; none is written for an attempt that lost its job.
UPDATE /* SCHEMA */river_job
SET metadata = metadata || $5::text::jsonb
WHERE id = $1::bigint
    AND state = 'running'
    AND greatest(attempt, 0) = $2::smallint
    AND attempted_at = $3::timestamptz
    AND attempted_by[array_upper(attempted_by, 1)] = $4::text
RETURNING
    id, state, attempt, max_attempts, attempted_at, created_at, finalized_at, scheduled_at,
    priority, args::text, attempted_by, errors::text[], kind, metadata::text, queue, tags,
    unique_key, unique_states;
