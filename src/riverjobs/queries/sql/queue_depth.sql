-- name: queue_depths
-- Unfinished jobs by queue and state; how long the oldest due one waits, in seconds.
SELECT
    queue,
    state::text AS state,
    count(*) AS number,
    coalesce(
        extract(EPOCH FROM now() - min(scheduled_at) FILTER (
            WHERE state = 'available' AND scheduled_at <= now()
        )),
        0
    ) AS oldest_wait
FROM /* SCHEMA */river_job
WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled')
GROUP BY queue, state
ORDER BY queue, state;
