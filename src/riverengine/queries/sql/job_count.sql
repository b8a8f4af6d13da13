-- name: job_count_by_state
SELECT state, count(*) AS count
FROM /* SCHEMA */river_job
GROUP BY state;

-- name: job_count_by_state_at_most
-- States are written out: what PostgreSQL knows of each decides whether its rows come by index.
SELECT 'available' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'available' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'cancelled' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'cancelled' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'completed' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'completed' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'discarded' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'discarded' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'pending' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'pending' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'retryable' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'retryable' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'running' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'running' LIMIT $1::bigint
) AS counted
UNION ALL
SELECT 'scheduled' AS state, count(*) AS count
FROM (
    SELECT 1 FROM /* SCHEMA */river_job WHERE state = 'scheduled' LIMIT $1::bigint
) AS counted;

-- name: job_count_by_queue_and_state
SELECT
    queues.queue,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.queue = queues.queue AND job.state = 'available'
            LIMIT $2::bigint
        ) AS counted
    ) AS count_available,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.queue = queues.queue AND job.state = 'running'
            LIMIT $2::bigint
        ) AS counted
    ) AS count_running
FROM (SELECT DISTINCT unnest($1::text[]) AS queue) AS queues
ORDER BY queues.queue;

-- name: job_kind_list
-- From each kind on to the next one by index: PostgreSQL's DISTINCT would read every job.
WITH RECURSIVE kinds AS (
    (
        SELECT kind
        FROM /* SCHEMA */river_job
        WHERE kind > $1::text
        ORDER BY kind
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT job.kind
        FROM /* SCHEMA */river_job AS job
        WHERE job.kind > kinds.kind
        ORDER BY job.kind
        LIMIT 1
    )
    FROM kinds
    WHERE kinds.kind IS NOT NULL
)

SELECT kind
FROM kinds
WHERE kind IS NOT NULL
    AND ($2::text = '' OR kind ILIKE '%' || $2::text || '%')
    AND kind <> ALL ($3::text[])
ORDER BY kind
LIMIT $4::integer;

-- name: queue_stats
-- Of the queues named; with null, of those that have a row or a job available. A null limit counts
-- all jobs. The oldest due job of each priority is the first of its part of the fetching index.
WITH RECURSIVE waiting AS (
    (
        SELECT queue
        FROM /* SCHEMA */river_job
        WHERE state = 'available'
        ORDER BY queue
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT job.queue
        FROM /* SCHEMA */river_job AS job
        WHERE job.state = 'available' AND job.queue > waiting.queue
        ORDER BY job.queue
        LIMIT 1
    )
    FROM waiting
    WHERE waiting.queue IS NOT NULL
),

queues AS (
    SELECT unnest($1::text[]) AS queue
    UNION
    SELECT name FROM /* SCHEMA */river_queue WHERE $1::text[] IS NULL
    UNION
    SELECT queue FROM waiting WHERE $1::text[] IS NULL AND queue IS NOT NULL
)

SELECT
    queues.queue,
    river_queue.paused_at,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.state = 'available' AND job.queue = queues.queue AND job.scheduled_at <= now()
            LIMIT $2::bigint
        ) AS counted
    ) AS count_due,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.state = 'running' AND job.queue = queues.queue
            LIMIT $2::bigint
        ) AS counted
    ) AS count_running,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.state IN ('retryable', 'scheduled') AND job.queue = queues.queue
            LIMIT $2::bigint
        ) AS counted
    ) AS count_later,
    now() - least(now(), oldest.scheduled_at) AS latency
FROM queues
LEFT JOIN /* SCHEMA */river_queue ON river_queue.name = queues.queue
CROSS JOIN LATERAL (
    SELECT min(first.scheduled_at) AS scheduled_at
    FROM generate_series(1, 4) AS priorities (priority)
    CROSS JOIN LATERAL (
        SELECT job.scheduled_at
        FROM /* SCHEMA */river_job AS job
        WHERE job.state = 'available'
            AND job.queue = queues.queue
            AND job.priority = priorities.priority::smallint
        ORDER BY job.scheduled_at
        LIMIT 1
    ) AS first
) AS oldest
ORDER BY queues.queue;
