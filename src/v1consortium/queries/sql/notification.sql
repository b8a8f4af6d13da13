-- name: notification_begin
-- One row per workflow step, recipient and channel; returns its state before this try.
INSERT INTO /* SCHEMA */notifications AS n
    (notification_id, workflow_id, step_name, order_id, recipient, channel, state, tries,
     first_tried_at)
VALUES ($1::uuid, $2::varchar, $3::varchar, $4::uuid, $5::varchar, $6::varchar, 'sending', 1,
        now())
ON CONFLICT (workflow_id, step_name, recipient, channel) DO UPDATE
    SET state = CASE WHEN n.state IN ('sent', 'held') THEN n.state ELSE 'sending' END,
        tries = CASE WHEN n.state IN ('sent', 'held') THEN n.tries ELSE n.tries + 1 END,
        first_tried_at = coalesce(n.first_tried_at, now())
RETURNING notification_id, state, tries, first_tried_at;

-- name: notification_set_sent
UPDATE /* SCHEMA */notifications
SET state = 'sent', provider_id = $2::varchar, sent_at = now(), failure_code = NULL
WHERE notification_id = $1::uuid AND state <> 'sent';

-- name: notification_set_failed
UPDATE /* SCHEMA */notifications
SET state = 'failed', failure_code = $2::varchar
WHERE notification_id = $1::uuid AND state <> 'sent';

-- name: notification_hold
INSERT INTO /* SCHEMA */notifications
    (notification_id, workflow_id, step_name, order_id, recipient, channel, state)
VALUES ($1::uuid, $2::varchar, $3::varchar, $4::uuid, $5::varchar, $6::varchar, 'held')
ON CONFLICT (workflow_id, step_name, recipient, channel) DO NOTHING;
