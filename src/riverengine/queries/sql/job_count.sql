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
