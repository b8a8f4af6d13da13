-- name: execution_insert
-- Returns nothing when the idempotency key is taken.
INSERT INTO workflow_executions (
    workflow_id, workflow_type, context, definition_version, org_id, user_id, idempotency_key,
    queue, priority
)
VALUES (
    $1::text, $2::text, $3::jsonb, $4::integer, $5::text, $6::text, $7::text, $8::text,
    $9::smallint
)
ON CONFLICT (workflow_type, idempotency_key) DO NOTHING
RETURNING workflow_id;

-- name: execution_get_by_key
SELECT workflow_id
FROM workflow_executions
WHERE workflow_type = $1::text AND idempotency_key = $2::text;

-- name: execution_get
SELECT
    workflow_id, workflow_type, status, context, started_at, completed_at, created_at, updated_at,
    definition_version, org_id, user_id, idempotency_key, queue, priority, error,
    cancel_requested_at
FROM workflow_executions
WHERE workflow_id = $1::text;

-- name: execution_lock
-- Every change of an execution, its steps and its jobs starts with this lock.
SELECT
    workflow_id, workflow_type, status, context, started_at, completed_at, created_at, updated_at,
    definition_version, org_id, user_id, idempotency_key, queue, priority, error,
    cancel_requested_at
FROM workflow_executions
WHERE workflow_id = $1::text
FOR UPDATE;

-- name: execution_list
SELECT
    workflow_id, workflow_type, status, context, started_at, completed_at, created_at, updated_at,
    definition_version, org_id, user_id, idempotency_key, queue, priority, error,
    cancel_requested_at
FROM workflow_executions
WHERE ($1::text IS NULL OR workflow_type = $1::text)
    AND ($2::text IS NULL OR status = $2::text)
ORDER BY created_at DESC, workflow_id DESC
LIMIT $3::integer;

-- name: execution_set_running
UPDATE workflow_executions
SET
    status = 'running',
    started_at = coalesce(started_at, now()),
    completed_at = NULL,
    error = NULL,
    cancel_requested_at = NULL,
    updated_at = now()
WHERE workflow_id = $1::text;

-- name: execution_set_context
UPDATE workflow_executions
SET context = $2::jsonb, updated_at = now()
WHERE workflow_id = $1::text;

-- name: execution_set_completed
UPDATE workflow_executions
SET status = 'completed', completed_at = now(), updated_at = now()
WHERE workflow_id = $1::text;

-- name: execution_set_failed
UPDATE workflow_executions
SET status = 'failed', error = $2::jsonb, completed_at = now(), updated_at = now()
WHERE workflow_id = $1::text;

-- name: execution_set_cancelled
UPDATE workflow_executions
SET
    status = 'cancelled',
    error = $2::jsonb,
    cancel_requested_at = now(),
    completed_at = now(),
    updated_at = now()
WHERE workflow_id = $1::text;

-- name: execution_get_stuck
-- Running longer than the given time, the oldest first.
SELECT
    workflow_id, workflow_type, status, context, started_at, completed_at, created_at, updated_at,
    definition_version, org_id, user_id, idempotency_key, queue, priority, error,
    cancel_requested_at
FROM workflow_executions
WHERE status IN ('pending', 'running')
    AND coalesce(started_at, created_at) < now() - $1::interval
ORDER BY coalesce(started_at, created_at)
LIMIT $2::integer;

-- name: execution_delete_completed
-- Completed ones older than the given time, with their steps and events.
WITH old AS (
    SELECT workflow_id
    FROM workflow_executions
    WHERE status = 'completed' AND completed_at < now() - $1::interval
    ORDER BY completed_at
    LIMIT $2::integer
    FOR UPDATE SKIP LOCKED
)

DELETE FROM workflow_executions AS execution
USING old
WHERE execution.workflow_id = old.workflow_id
RETURNING execution.workflow_id;

-- name: execution_count
SELECT workflow_type, status, count(*) AS number
FROM workflow_executions
GROUP BY workflow_type, status
ORDER BY workflow_type, status;

-- name: execution_durations
-- Seconds from start to end of those completed within the given time.
SELECT
    workflow_type,
    count(*) AS number,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(EPOCH FROM completed_at - started_at))
        AS median,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(EPOCH FROM completed_at - started_at))
        AS p95
FROM workflow_executions
WHERE status = 'completed' AND completed_at > now() - $1::interval AND started_at IS NOT NULL
GROUP BY workflow_type
ORDER BY workflow_type;
