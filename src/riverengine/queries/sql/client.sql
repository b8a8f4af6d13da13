-- Which clients live, in a table of our own, and what becomes of the jobs of those that died.
-- An incarnation is one run of one process under a client id; the nil one stands for a client whose
-- row was missing, until the client is heard of.

-- name: client_id_lock
-- True when no other session holds the id; the lock ends with the session.
SELECT pg_try_advisory_lock(
    hashtextextended(concat('riverengine:client:', $2::text, ':', $1::text), 0)
);

-- name: client_server_pid
SELECT pg_backend_pid();

-- name: client_register
-- Takes the id, unless its last heartbeat is another one than the given; null takes it always.
INSERT INTO /* SCHEMA */riverengine_client AS client (
    id, incarnation, host, pid, started_at, heartbeat_at
)
VALUES ($1::text, $2::uuid, $3::text, $4::integer, now(), now())
ON CONFLICT (id) DO UPDATE SET
    incarnation = excluded.incarnation,
    host = excluded.host,
    pid = excluded.pid,
    started_at = excluded.started_at,
    heartbeat_at = excluded.heartbeat_at
WHERE $5::timestamptz IS NULL
    OR client.heartbeat_at = $5::timestamptz
RETURNING started_at;

-- name: client_beat
-- A heartbeat, which also restores a row that was deleted, or stands for a client that was missing:
-- true then. No row when another process took the id.
WITH former AS (
    SELECT incarnation
    FROM /* SCHEMA */riverengine_client
    WHERE id = $1::text
)

INSERT INTO /* SCHEMA */riverengine_client AS client (
    id, incarnation, host, pid, started_at, heartbeat_at
)
VALUES ($1::text, $2::uuid, $3::text, $4::integer, $5::timestamptz, now())
ON CONFLICT (id) DO UPDATE SET
    incarnation = excluded.incarnation,
    host = excluded.host,
    pid = excluded.pid,
    heartbeat_at = excluded.heartbeat_at
WHERE client.incarnation IN (
    excluded.incarnation, '00000000-0000-0000-0000-000000000000'::uuid
)
RETURNING
    xmax = 0 OR NOT EXISTS (SELECT FROM former WHERE former.incarnation = $2::uuid) AS restored;

-- name: client_last_heartbeat
SELECT heartbeat_at
FROM /* SCHEMA */riverengine_client
WHERE id = $1::text;

-- name: client_remove
DELETE FROM /* SCHEMA */riverengine_client
WHERE id = $1::text
    AND incarnation = $2::uuid;

-- name: client_claimants
-- Our clients that hold running jobs, with their last heartbeat; null where the row is missing.
WITH claimants AS MATERIALIZED (
    SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] AS id
    FROM /* SCHEMA */river_job
    WHERE state = 'running'
)

SELECT claimants.id, client.heartbeat_at
FROM claimants
LEFT JOIN /* SCHEMA */riverengine_client AS client ON client.id = claimants.id
WHERE client.id IS NOT NULL
    OR right(claimants.id, length($1::text)) = $1::text
    OR claimants.id = ANY ($2::text[]);

-- name: client_named
SELECT id
FROM /* SCHEMA */riverengine_client
WHERE right(id, length($1::text)) <> $1::text;

-- name: client_living
SELECT id
FROM /* SCHEMA */riverengine_client
WHERE id = ANY ($1::text[])
    AND heartbeat_at > now() - $2::interval;

-- name: client_expect
-- Rows for clients that have none: they must be heard of from here on, as all others.
INSERT INTO /* SCHEMA */riverengine_client (id, incarnation, host, pid)
SELECT id, '00000000-0000-0000-0000-000000000000'::uuid, '', 0
FROM unnest($1::text[]) AS missing (id)
ORDER BY id
ON CONFLICT (id) DO NOTHING;

-- name: client_bury
-- Forgets a client that was not heard of since the given heartbeat; no row when it was.
DELETE FROM /* SCHEMA */riverengine_client
WHERE id = $1::text
    AND heartbeat_at = $2::timestamptz
RETURNING id;

-- name: client_forget_silent
-- Rows without use: their clients hold no running job and are long silent.
DELETE FROM /* SCHEMA */riverengine_client AS client
WHERE client.heartbeat_at < now() - $1::interval
    AND NOT client.id = ANY ($2::text[]);

-- name: job_left_running
-- The jobs of a client that are running: those begun before an instant, or all.
SELECT id
FROM /* SCHEMA */river_job
WHERE state = 'running'
    AND attempted_by[array_upper(attempted_by, 1)] = $1::text
    AND ($2::timestamptz IS NULL OR attempted_at < $2::timestamptz)
ORDER BY id;

-- name: job_take_back
-- Ends the attempts a client left running when its process died: those begun before an instant, or
-- all; of some jobs, or of all. Locked ones are left to a later call. A job is set aside at its last
-- attempt, and when it was running at too many deaths; from the second one on, jobs that died
-- together start apart.
WITH dead AS (
    SELECT
        job.id,
        job.metadata ? 'cancel_attempted_at' AS cancelled,
        jsonb_typeof(job.metadata) = 'object' AS countable,
        1 + CASE
            WHEN jsonb_typeof(job.metadata -> 'riverengine:deaths') = 'number'
                THEN least((job.metadata ->> 'riverengine:deaths')::numeric, 1000000)::integer
            ELSE 0
        END AS deaths
    FROM /* SCHEMA */river_job AS job
    WHERE job.state = 'running'
        AND job.attempted_by[array_upper(job.attempted_by, 1)] = $1::text
        AND ($2::timestamptz IS NULL OR job.attempted_at < $2::timestamptz)
        AND ($6::bigint[] IS NULL OR job.id = ANY ($6::bigint[]))
    ORDER BY job.id
    FOR UPDATE SKIP LOCKED
), judged AS (
    SELECT
        dead.*,
        NOT dead.cancelled AND $3::integer > 0 AND dead.deaths >= $3::integer AS set_aside
    FROM dead
)
UPDATE /* SCHEMA */river_job AS job
SET
    state = CASE
        WHEN judged.cancelled THEN 'cancelled'
        WHEN judged.set_aside OR job.attempt >= job.max_attempts THEN 'discarded'
        ELSE 'available'
    END::/* SCHEMA */river_job_state,
    finalized_at = CASE
        WHEN judged.cancelled OR judged.set_aside OR job.attempt >= job.max_attempts THEN now()
    END,
    scheduled_at = CASE
        WHEN judged.cancelled OR judged.set_aside OR job.attempt >= job.max_attempts
            THEN job.scheduled_at
        WHEN judged.deaths > 1 THEN now() + random() * interval '10 seconds'
        ELSE now()
    END,
    errors = array_append(
        job.errors,
        jsonb_build_object(
            'at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'attempt', greatest(job.attempt, 0),
            'error', CASE WHEN judged.set_aside THEN format($5::text, judged.deaths) ELSE $4::text END,
            'trace', ''
        )
    ),
    metadata = CASE
        WHEN judged.countable THEN job.metadata || jsonb_build_object(
            'river:rescue_count',
            CASE
                WHEN jsonb_typeof(job.metadata -> 'river:rescue_count') = 'number'
                    THEN (job.metadata ->> 'river:rescue_count')::numeric + 1
                ELSE 1
            END,
            'riverengine:deaths',
            judged.deaths
        )
        ELSE job.metadata
    END
FROM judged
WHERE job.id = judged.id
RETURNING job.id, judged.set_aside;
