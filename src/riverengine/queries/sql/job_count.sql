-- name: job_count_by_state
SELECT state, count(*) AS count
FROM /* SCHEMA */river_job
GROUP BY state;

-- name: job_count_by_state_at_most
-- In the order of an index, so that it is read: the first rows of a rare state may be far behind.
SELECT
    states.state,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.state = states.state
            ORDER BY job.queue
            LIMIT $1::bigint
        ) AS counted
    ) AS count
FROM unnest(enum_range(NULL::/* SCHEMA */river_job_state)) AS states (state);

-- name: job_count_by_queue_and_state
-- In the order of the index, as above.
SELECT
    queues.queue,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.queue = queues.queue AND job.state = 'available'
            ORDER BY job.priority
            LIMIT $2::bigint
        ) AS counted
    ) AS count_available,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.queue = queues.queue AND job.state = 'running'
            ORDER BY job.priority
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
-- all jobs, in the order of the index as above. The oldest due job of each priority is the first of
-- its part of the fetching index.
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
            ORDER BY job.priority
            LIMIT $2::bigint
        ) AS counted
    ) AS count_due,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM /* SCHEMA */river_job AS job
            WHERE job.state = 'running' AND job.queue = queues.queue
            ORDER BY job.priority
            LIMIT $2::bigint
        ) AS counted
    ) AS count_running,
    (
        SELECT count(*)
        FROM (
            SELECT 1
            FROM (
                VALUES
                    ('retryable'::/* SCHEMA */river_job_state),
                    ('scheduled'::/* SCHEMA */river_job_state)
            ) AS later (state)
            CROSS JOIN LATERAL (
                SELECT 1
                FROM /* SCHEMA */river_job AS job
                WHERE job.state = later.state AND job.queue = queues.queue
                ORDER BY job.priority
                LIMIT $2::bigint
            ) AS waiting
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
