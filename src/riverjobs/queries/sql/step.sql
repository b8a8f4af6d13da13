-- name: step_insert_many
INSERT INTO workflow_steps (step_id, workflow_id, step_name, position, depends_on)
SELECT input.step_id, $1::text, input.step_name, input.position, string_to_array(input.after, ',')
FROM unnest($2::text[], $3::text[], $4::integer[], $5::text[])
    AS input (step_id, step_name, position, after);

-- name: step_get_many
SELECT
    step_id, workflow_id, step_name, status, input_data, output_data, error_message, started_at,
    completed_at, created_at, position, depends_on, attempt, job_id, next_attempt_at
FROM workflow_steps
WHERE workflow_id = $1::text
ORDER BY position;

-- name: step_set_job
UPDATE workflow_steps
SET job_id = $3::bigint, status = 'pending', completed_at = NULL, next_attempt_at = NULL
WHERE workflow_id = $1::text AND step_name = $2::text;

-- name: step_reset
UPDATE workflow_steps
SET status = 'pending', completed_at = NULL, next_attempt_at = NULL
WHERE workflow_id = $1::text AND step_name = $2::text AND job_id IS NULL;

-- name: step_set_running
UPDATE workflow_steps
SET
    status = 'running',
    job_id = $3::bigint,
    attempt = $4::integer,
    input_data = $5::jsonb,
    started_at = coalesce(started_at, now()),
    completed_at = NULL,
    next_attempt_at = NULL
WHERE workflow_id = $1::text AND step_name = $2::text;

-- name: step_set_completed
UPDATE workflow_steps
SET
    status = 'completed',
    output_data = $3::jsonb,
    error_message = NULL,
    completed_at = now(),
    next_attempt_at = NULL
WHERE workflow_id = $1::text AND step_name = $2::text;

-- name: step_set_put_off
-- To be tried again: after a failure (retrying) or by its own wish (waiting).
UPDATE workflow_steps
SET
    status = $3::text,
    error_message = coalesce($4::text, error_message),
    next_attempt_at = $5::timestamptz
WHERE workflow_id = $1::text AND step_name = $2::text;

-- name: step_set_ended
-- Failed or cancelled.
UPDATE workflow_steps
SET
    status = $3::text,
    error_message = coalesce($4::text, error_message),
    completed_at = now(),
    next_attempt_at = NULL
WHERE workflow_id = $1::text AND step_name = $2::text;

-- name: step_cancel_open
UPDATE workflow_steps
SET status = 'cancelled', completed_at = now(), next_attempt_at = NULL
WHERE workflow_id = $1::text AND status IN ('pending', 'running', 'retrying', 'waiting')
RETURNING step_name, job_id;

-- name: step_get_stranded
-- Open steps of living workflows whose job ended or vanished without telling the workflow.
SELECT step.workflow_id, step.step_name
FROM workflow_steps AS step
INNER JOIN workflow_executions AS execution ON execution.workflow_id = step.workflow_id
LEFT JOIN /* SCHEMA */river_job AS job ON job.id = step.job_id
WHERE step.status IN ('pending', 'running', 'retrying', 'waiting')
    AND step.job_id IS NOT NULL
    AND execution.status IN ('pending', 'running')
    AND (job.id IS NULL OR job.state IN ('cancelled', 'completed', 'discarded'))
ORDER BY step.workflow_id, step.position
LIMIT $1::integer;
