-- name: event_insert
INSERT INTO workflow_events (workflow_id, kind, step_name, attempt, detail)
VALUES ($1::text, $2::text, $3::text, $4::integer, $5::jsonb);

-- name: event_get_many
SELECT event_id, workflow_id, at, kind, step_name, attempt, detail
FROM workflow_events
WHERE workflow_id = $1::text
ORDER BY event_id;
